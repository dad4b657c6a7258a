use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::QueueName;

/// How far each queue has been claimed, so that a claim does not begin with what is gone.
///
/// While somebody holds an old snapshot, the server cannot forget rows that were deleted, and a
/// claim that began at the first of them would read all again. So it begins at the last one that this store
/// has claimed, and only now and then at the very first: what stands before is found a little later,
/// never overlooked for good.
#[derive(Debug, Default)]
pub(super) struct LowWater(Mutex<HashMap<QueueName, Mark>>);

#[derive(Debug)]
struct Mark {
    /// Microseconds since 1970.
    rank: i64,
    looked_at: Instant,
    look_took: Duration,
}

/// How often the whole of a queue that is never empty is looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A look that takes longer is made more seldom.
const CHEAP_LOOK: Duration = Duration::from_millis(50);
/// How many times as long as a look took there is none.
const LOOK_SHARE: u32 = 20;

impl Mark {
    /// Whether the next claim may begin at the very first job.
    fn may_look(&self) -> bool {
        self.look_took <= CHEAP_LOOK || self.looked_at.elapsed() >= self.look_took * LOOK_SHARE
    }

    fn must_look(&self) -> bool {
        self.may_look() && self.looked_at.elapsed() >= LOOK_INTERVAL
    }
}

impl LowWater {
    fn marks(&self) -> MutexGuard<'_, HashMap<QueueName, Mark>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the next claim begins; `None` for the very first job.
    pub(super) fn start(&self, queue: &QueueName) -> Option<i64> {
        let marks = self.marks();
        let mark = marks.get(queue).filter(|mark| !mark.must_look())?;
        Some(mark.rank)
    }

    /// Whether a claim that has found too few may look at what stands before the mark.
    pub(super) fn may_look(&self, queue: &QueueName) -> bool {
        self.marks().get(queue).is_none_or(Mark::may_look)
    }

    /// A claim that began at `start` has taken jobs up to the rank `highest`.
    pub(super) fn claimed(
        &self,
        queue: &QueueName,
        start: Option<i64>,
        highest: i64,
        took: Duration,
    ) {
        let mut marks = self.marks();
        match marks.get_mut(queue) {
            Some(mark) => {
                mark.rank = highest;
                if start.is_none() {
                    (mark.looked_at, mark.look_took) = (Instant::now(), took);
                }
            }
            None => {
                let mark = Mark {
                    rank: highest,
                    looked_at: Instant::now(),
                    look_took: took,
                };
                marks.insert(queue.clone(), mark);
            }
        }
    }

    /// A job stands at `rank` now.
    pub(super) fn lower(&self, queue: &QueueName, rank: i64) {
        if let Some(mark) = self.marks().get_mut(queue) {
            mark.rank = mark.rank.min(rank);
        }
    }

    /// A job stands at `rank` now, whatever its queue.
    pub(super) fn lower_all(&self, rank: i64) {
        for mark in self.marks().values_mut() {
            mark.rank = mark.rank.min(rank);
        }
    }

    /// Jobs stand anywhere now, in this queue or, without one, in any.
    pub(super) fn forget(&self, queue: Option<&QueueName>) {
        let mut marks = self.marks();
        match queue {
            Some(queue) => drop(marks.remove(queue)),
            None => marks.clear(),
        }
    }
}
