use std::collections::{HashMap, HashSet, VecDeque};

use crate::store::{On, Parent};
use crate::{FlowError, JobId, NewJob};

/// Jobs of which some wait for others, and which are enqueued together by
/// [`Jobs::enqueue_flow`](crate::Jobs::enqueue_flow): what a [`Chain`], a [`Batch`] and a [`Workflow`] become.
///
/// A job waits until its parents are done. If one of them is dead, it goes on waiting, since that one may be
/// replayed; if one is cancelled, or purged when it was dead, it is cancelled too, and so are those that wait
/// for it. A job that waits for ends ([`Batch::on_done`], [`Workflow::finally`]) runs once its parents are
/// done, dead or cancelled, and reads in [`JobInfo::parents`](crate::JobInfo::parents) how many ended how.
/// A delay of a job that waits counts from the moment when it waits for nobody any more.
#[derive(Debug)]
pub struct Flow {
    pub(crate) steps: Result<Vec<Step>, FlowError>,
}

/// A job with those that it waits for, which stand before it.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) job: NewJob,
    pub(crate) parents: Vec<Parent>,
    /// Where it was given.
    pub(crate) place: usize,
}

/// Jobs of which each waits until the one before is done.
///
/// ```
/// # use purlin_jobs::{Chain, Job, Jobs, MemoryStore};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct Fetch; impl Job for Fetch { const KIND: &'static str = "fetch"; }
/// # #[derive(Serialize, Deserialize)] struct Index; impl Job for Index { const KIND: &'static str = "index"; }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), purlin_jobs::EnqueueError> {
/// let jobs = Jobs::new(MemoryStore::new());
/// jobs.enqueue_flow(Chain::new(Fetch).then(Index)).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Chain {
    jobs: Vec<NewJob>,
}

impl Chain {
    /// Begins with this job.
    #[must_use]
    pub fn new(first: impl Into<NewJob>) -> Self {
        Self {
            jobs: vec![first.into()],
        }
    }

    /// Lets this one follow.
    #[must_use]
    pub fn then(mut self, next: impl Into<NewJob>) -> Self {
        self.jobs.push(next.into());
        self
    }
}

impl From<Chain> for Flow {
    fn from(chain: Chain) -> Self {
        let mut before: Option<JobId> = None;
        let step = |(place, job): (usize, NewJob)| {
            let parent = before.replace(job.id());
            let parents = parents(parent, On::Done);
            Step {
                job,
                parents,
                place,
            }
        };
        let steps = chain.jobs.into_iter().enumerate().map(step).collect();
        Self { steps: Ok(steps) }
    }
}

/// Jobs that run side by side, and what runs after them.
///
/// ```
/// # use purlin_jobs::{Batch, Job, JobContext, JobError, Jobs, MemoryStore};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct Resize(u32); impl Job for Resize { const KIND: &'static str = "resize"; }
/// # #[derive(Serialize, Deserialize)] struct Report; impl Job for Report { const KIND: &'static str = "report"; }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), purlin_jobs::EnqueueError> {
/// let jobs = Jobs::new(MemoryStore::new());
/// jobs.enqueue_flow(Batch::new((0..100).map(Resize)).on_done(Report)).await?;
///
/// // In the handler of the report:
/// async fn report(_: Report, context: JobContext) -> Result<(), JobError> {
///     let ended = context.info().parents;
///     println!("{} of {} images were resized", ended.done, ended.total());
///     Ok(())
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Batch {
    jobs: Vec<NewJob>,
    after: Vec<(NewJob, On)>,
}

impl Batch {
    /// These jobs, and nothing after them.
    #[must_use]
    pub fn new<J: Into<NewJob>>(jobs: impl IntoIterator<Item = J>) -> Self {
        Self {
            jobs: jobs.into_iter().map(Into::into).collect(),
            after: Vec::new(),
        }
    }

    /// Runs this once when all of them have ended: done, dead or cancelled. Of a batch without jobs, at once.
    #[must_use]
    pub fn on_done(mut self, callback: impl Into<NewJob>) -> Self {
        self.after.push((callback.into(), On::Ended));
        self
    }

    /// Runs this once when all of them are done. While one is dead it waits for a replay; it is
    /// cancelled when one is cancelled.
    #[must_use]
    pub fn on_success(mut self, callback: impl Into<NewJob>) -> Self {
        self.after.push((callback.into(), On::Done));
        self
    }
}

impl From<Batch> for Flow {
    fn from(batch: Batch) -> Self {
        let ids: Vec<_> = batch.jobs.iter().map(NewJob::id).collect();
        let jobs = batch.jobs.into_iter().map(|job| (job, Vec::new()));
        let after = batch
            .after
            .into_iter()
            .map(|(job, on)| (job, parents(ids.iter().copied(), on)));
        let step = |(place, (job, parents))| Step {
            job,
            parents,
            place,
        };
        let steps = jobs.chain(after).enumerate().map(step).collect();
        Self { steps: Ok(steps) }
    }
}

/// Named steps of which each waits for any others.
///
/// ```
/// # use purlin_jobs::{Job, Jobs, MemoryStore, Workflow};
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize)] struct Work; impl Job for Work { const KIND: &'static str = "work"; }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), purlin_jobs::EnqueueError> {
/// # let (charge, pack, ship, clean) = (Work, Work, Work, Work);
/// let jobs = Jobs::new(MemoryStore::new());
/// let order = Workflow::new()
///     .step("charge", charge, [])
///     .step("pack", pack, [])
///     .step("ship", ship, ["charge", "pack"])
///     .finally("clean up", clean, ["ship"]);
/// jobs.enqueue_flow(order).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
pub struct Workflow {
    steps: Vec<Named>,
}

#[derive(Debug)]
struct Named {
    name: String,
    job: NewJob,
    parents: Vec<String>,
    on: On,
}

impl Workflow {
    /// Without steps.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A step that runs when these are done, which may be named before they are there. Names are for
    /// this only, and are not stored.
    #[must_use]
    pub fn step<'a>(
        self,
        name: impl Into<String>,
        job: impl Into<NewJob>,
        parents: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.named(name.into(), job.into(), parents, On::Done)
    }

    /// A step that runs when these have ended: done, dead or cancelled.
    #[must_use]
    pub fn finally<'a>(
        self,
        name: impl Into<String>,
        job: impl Into<NewJob>,
        parents: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        self.named(name.into(), job.into(), parents, On::Ended)
    }

    fn named<'a>(
        mut self,
        name: String,
        job: NewJob,
        parents: impl IntoIterator<Item = &'a str>,
        on: On,
    ) -> Self {
        let parents = parents.into_iter().map(str::to_owned).collect();
        self.steps.push(Named {
            name,
            job,
            parents,
            on,
        });
        self
    }
}

impl From<Workflow> for Flow {
    fn from(workflow: Workflow) -> Self {
        let order = order(&workflow.steps);
        let steps = order.map(|order| {
            let ids: Vec<_> = workflow.steps.iter().map(|step| step.job.id()).collect();
            let mut steps: Vec<_> = workflow.steps.into_iter().map(Some).collect();
            let step = |(place, before): (usize, Vec<usize>)| {
                let Named { job, on, .. } = steps[place].take()?;
                Some(Step {
                    job,
                    parents: parents(before.into_iter().map(|parent| ids[parent]), on),
                    place,
                })
            };
            order.into_iter().filter_map(step).collect()
        });
        Self { steps }
    }
}

/// The steps so that each stands behind those that it waits for, which are said with it.
fn order(steps: &[Named]) -> Result<Vec<(usize, Vec<usize>)>, FlowError> {
    let mut places = HashMap::with_capacity(steps.len());
    for (place, step) in steps.iter().enumerate() {
        if places.insert(step.name.as_str(), place).is_some() {
            let step = step.name.clone();
            return Err(FlowError::RepeatedStep { step });
        }
    }
    let mut waits_for: Vec<HashSet<usize>> = vec![HashSet::new(); steps.len()];
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); steps.len()];
    for (place, step) in steps.iter().enumerate() {
        for parent in &step.parents {
            let before = places.get(parent.as_str()).copied();
            let before = before.ok_or_else(|| FlowError::UnknownStep {
                step: step.name.clone(),
                parent: parent.clone(),
            })?;
            if waits_for[place].insert(before) {
                children[before].push(place);
            }
        }
    }
    let mut left: Vec<_> = waits_for.iter().map(HashSet::len).collect();
    let mut free: VecDeque<_> = (0..steps.len()).filter(|place| left[*place] == 0).collect();
    let mut order = Vec::with_capacity(steps.len());
    while let Some(place) = free.pop_front() {
        for child in &children[place] {
            left[*child] -= 1;
            if left[*child] == 0 {
                free.push_back(*child);
            }
        }
        order.push((place, waits_for[place].iter().copied().collect()));
    }
    match in_a_circle(&left, &waits_for) {
        None => Ok(order),
        Some(place) => Err(FlowError::Cycle {
            step: steps[place].name.clone(),
        }),
    }
}

/// A step that waits for itself, if some are left that wait. Others may only wait for such ones.
fn in_a_circle(left: &[usize], waits_for: &[HashSet<usize>]) -> Option<usize> {
    let mut place = left.iter().position(|left| *left > 0)?;
    let mut seen = HashSet::new();
    while seen.insert(place) {
        let blocked = waits_for[place].iter().filter(|before| left[**before] > 0);
        place = blocked.min().copied()?;
    }
    Some(place)
}

fn parents(ids: impl IntoIterator<Item = JobId>, on: On) -> Vec<Parent> {
    ids.into_iter().map(|id| Parent { id, on }).collect()
}
