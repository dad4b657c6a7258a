#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod hints;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use purlin_store::StoreError;

#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(super) use self::hints::Hints;
use crate::{Limits, QueueName, Rate};

/// How many jobs of a group that declares no limit are ready or leased at a time, unless a store is told
/// otherwise.
pub(super) const GROUP_WINDOW: u32 = 16;

/// What a store keeps of groups and of the rates of queues, beside the contract of
/// [`JobStore`](crate::JobStore).
///
/// # Groups
///
/// A job with a [`Group`](crate::Group) is not ready when its time has come, but *held*
/// ([`State::Held`](super::State::Held)) in the line of its group, by its rank. It is *admitted* to the ready
/// line when the group has fewer admitted jobs than it may have, and a token of its rate for one more.
/// An admitted job has a slot, which is recorded with it: it has it while it is ready or leased, and
/// loses it in the step by which it leaves these states, in whatever way. In that step the next
/// ones are admitted. So at no moment more jobs of a group are leased than it may have, but for those that
/// were when its limit was lowered.
///
/// An admitted job stands in its queue as if it had become due when it was admitted: it stands behind the
/// jobs of others that were ready by then. What is released or rescued stands in the line of its group again.
///
/// A start is a claim: a job that is ready has a token reserved, and spends it when it is claimed.
///
/// A group is forgotten when it has no jobs that are held or admitted and its rate has nothing to remember, but for one
/// whose limits an operator has set. When one of its jobs comes back, from a retry or a replay, what was declared with
/// that job holds.
#[async_trait]
pub trait LimitStore: Debug + Send + Sync {
    /// Sets the limits of a group, whatever is declared of it; with `None` what is declared next holds
    /// again, and until then what has held. A lower limit takes nothing from who runs.
    async fn limit_group(&self, group: &str, limits: Option<Limits>) -> Result<(), StoreError>;

    /// A group; `None` when it has no jobs that are held or admitted, and nothing to remember.
    async fn group(&self, name: &str) -> Result<Option<GroupView>, StoreError>;

    /// Lets jobs of a queue start no faster; with `None` as they come.
    ///
    /// Claims from a queue with a rate wait for each other; from one without they do not.
    async fn limit_queue(&self, queue: &QueueName, rate: Option<Rate>) -> Result<(), StoreError>;

    /// How long it is until the rate of the queue lets one more start, as the last claim through this
    /// handle has found it. `None` when it is not the rate that there was nothing more.
    fn more_in(&self, queue: &QueueName) -> Option<Duration>;

    /// How long it is until the rate of some group lets [`promote`](crate::JobStore::promote) admit one
    /// more, as calls through this handle have found it since this was asked last.
    fn admits_in(&self) -> Option<Duration>;
}

/// A group, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupView {
    /// What holds of it.
    pub limits: Limits,
    /// Whether an operator has set that.
    pub is_set: bool,
    /// How many of its jobs wait in its line.
    pub held: u64,
    /// How many are ready or leased.
    pub admitted: u64,
}

/// How a group stands, in a store that decides in Rust what it admits. Postgres does the same in a function of its
/// own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) limits: Limits,
    pub(super) window: u32,
    pub(super) tat: Option<i64>,
    pub(super) admitted: u32,
    /// Admitted jobs with a token that they have not spent.
    pub(super) reserved: u32,
}

impl Standing {
    fn places(self) -> u32 {
        let allowance = self.limits.at_most.unwrap_or(self.window);
        allowance.saturating_sub(self.admitted)
    }

    /// How many more may be admitted now.
    pub(super) fn room(self, now: i64) -> u32 {
        let tokens = self.limits.rate.map_or(u32::MAX, |rate| {
            rate.tokens(self.tat, now).saturating_sub(self.reserved)
        });
        self.places().min(tokens)
    }

    /// When it is to be looked at without other cause, once all are admitted for whom there is room.
    pub(super) fn due_at(self, now: i64, has_held: bool) -> Option<i64> {
        let rate = self.limits.rate?;
        if has_held && self.places() > 0 {
            rate.next_at(self.tat, now, self.reserved)
        } else if !has_held && self.admitted == 0 {
            self.tat.filter(|tat| *tat > now)
        } else {
            None
        }
    }
}
