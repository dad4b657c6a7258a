//! Breadth first through all worlds, so that what is found is found in the fewest steps.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::rules::Rules;
use crate::truth::Violation;
use crate::world::{Setting, Step, World};

/// A violation, and how it comes to it.
pub(crate) struct Found {
    pub(crate) violation: Violation,
    steps: Vec<Step>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.violation)?;
        self.steps
            .iter()
            .try_for_each(|step| writeln!(f, "  {step:?}"))
    }
}

/// 64 bits in place of a world: that one of a million worlds is taken for another, and missed, is to
/// be expected in one of ten million runs.
type Mark = u64;

fn mark(world: &World) -> Mark {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// How many worlds there are, in none of which anything is wrong.
pub(crate) fn search(rules: &impl Rules, setting: &Setting) -> Result<usize, Found> {
    let first = World::new(setting);
    let mut came_by: HashMap<Mark, Option<(Mark, Step)>> = HashMap::new();
    let mut open = VecDeque::from([(mark(&first), first)]);
    came_by.insert(open[0].0, None);
    let mut steps = Vec::new();
    while let Some((here, world)) = open.pop_front() {
        steps.clear();
        world.steps(rules, setting, &mut steps);
        for step in &steps {
            match world.after(*step, rules, setting) {
                Ok(next) => {
                    let there = mark(&next);
                    came_by.entry(there).or_insert_with(|| {
                        open.push_back((there, next));
                        Some((here, *step))
                    });
                }
                Err(violation) => {
                    let steps = path(&came_by, here, *step);
                    return Err(Found { violation, steps });
                }
            }
        }
    }
    Ok(came_by.len())
}

fn path(came_by: &HashMap<Mark, Option<(Mark, Step)>>, to: Mark, last: Step) -> Vec<Step> {
    let mut steps = vec![last];
    let mut at = to;
    while let Some(Some((before, step))) = came_by.get(&at) {
        steps.push(*step);
        at = *before;
    }
    steps.reverse();
    steps
}
