//! What a store of jobs does: the contract that all stores keep.
//!
//! # States
//!
//! A job is in exactly one of these, and every call below moves it in one atomic step:
//!
//! | state | where from | where to |
//! |---|---|---|
//! | held | what has a [`Group`](crate::Group) and would be ready: it waits in the line of its group ([`LimitStore`]) | ready, cancelled, replaced |
//! | ready | `enqueue`, `promote`, `settle` (release), `rescue`, `replay`, `signal`, a release from blocked | leased, cancelled, replaced |
//! | scheduled | `enqueue` with a time that is not there yet, `settle` (retry, snooze, await), a release from blocked | ready, cancelled, replaced |
//! | blocked | `enqueue` with parents | ready, held, scheduled, cancelled |
//! | leased | `claim` | done, scheduled, ready, dead, cancelled |
//! | dead | `settle` (discard), `rescue` of one that crashed too often | ready by `replay` |
//! | cancelled | `cancel`, `settle` (cancelled), whatever would let a leased job wait again that is to be cancelled | |
//! | done | `settle` (done): the job is gone, and with it its row and its notes | |
//!
//! # What every store keeps
//!
//! 1. What `enqueue` has confirmed is in a state of the table until somebody purges it.
//! 2. A job has at most one live lease.
//! 3. A settlement whose lease is gone, or is not on that job any more, changes nothing at all: no
//!    state, no count, no unique key.
//! 4. `failures` grows by a retry or a discard alone; `crashes` by a rescue alone.
//! 5. At most one job holds a unique key at any moment.
//! 6. One clock: the database's own. Times of callers are only ever *added* to it, but for
//!    [`Run::At`](crate::Run::At), which is compared with it.
//!
//! Order is best effort: a claim takes the jobs whose time to start plus
//! [`Priority::offset`](crate::Priority::offset) is the earliest, but may overlook one that came a
//! moment ago. A job that is released or rescued stands where it would stand if it had been due when it was
//! enqueued; one that is replayed, as if it were enqueued now.
//!
//! # Flows
//!
//! A store that [carries flows](JobStore::carries_flows) lets a job wait for others of the same call, its
//! [parents](Entry::parents). The step that ends a parent, whichever it is, is also the step in which its
//! children hear of it:
//!
//! | the parent | a child that waits until it is [done](On::Done) | one that waits until it has [ended](On::Ended) |
//! |---|---|---|
//! | is done | waits for one job less | waits for one job less |
//! | is dead | still waits: the parent may be replayed | waits for one job less |
//! | is cancelled | is cancelled, and so on | waits for one job less |
//! | was dead, and is purged | is cancelled, and so on | heard of it when it died |
//! | was replaced | waits for the job in its place | waits for the job in its place |
//!
//! A child that waits for nobody any more is ready, or scheduled if it has a time of its own: a delay
//! counts from that moment. It stands in its queue as if it were enqueued then. While it is blocked it holds
//! its unique key, and is neither replaced nor replayed. What a parent has told it is counted once, whatever
//! is repeated ([`Tally`]); a parent that is enqueued again under its id tells it nothing.
//!
//! All parents of a job that is added are added by the same call. If one is not, since its id or its unique
//! key is taken, the call fails with [`Conflict`](purlin_store::StoreErrorKind::Conflict) and adds nothing.

#[cfg(any(feature = "postgres", feature = "redis"))]
mod ear;
mod flows;
mod limits;
mod memory;
mod notes;
#[cfg(feature = "postgres")]
mod postgres;
mod records;
#[cfg(feature = "redis")]
mod redis;
mod schedules;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use purlin_store::StoreError;

pub use self::flows::{On, Parent, Tally};
pub use self::limits::{GroupView, LimitStore};
pub use self::memory::MemoryStore;
pub(crate) use self::notes::no_notes;
pub use self::notes::{Found, KeptResult, Note, NoteKind, NoteStore, Noted, Notes, Signalled};
#[cfg(feature = "postgres")]
pub use self::postgres::PostgresStore;
pub use self::records::{
    Beat, Claim, Claimed, Counts, Enqueued, Entry, Failure, Filter, JobView, Outcome, Page,
    Promoted, Rescue, Rescued, Settled, Settlement, State, Wake,
};
#[cfg(feature = "redis")]
pub use self::redis::RedisStore;
pub use self::schedules::{Firing, ScheduleEntry, ScheduleList, ScheduleRow, ScheduleStore};
#[cfg(feature = "sqlite")]
pub use self::sqlite::SqliteStore;
use crate::{JobId, LeaseId, QueueName, WorkerId};

/// Keeps jobs and gives them to workers. The module says what must be atomic.
///
/// Every call may be repeated when it is not known whether it took effect, and if it did, the second
/// one changes nothing. What a repeated [`settle`](Self::settle), [`cancel`](JobAdmin::cancel) or
/// [`replay`](JobAdmin::replay) says of it may then be that there was nothing to do.
#[async_trait]
pub trait JobStore: Debug + Send + Sync + 'static {
    /// Its name in errors and traces, in lower case.
    fn name(&self) -> &'static str;

    /// Adds these jobs, all or none. Says for each, in order, whether it is new.
    ///
    /// One of an id that is there already, in whatever state, is not added: [`Enqueued::Existing`].
    /// Otherwise it is as if they were enqueued one after the other, but of several with one unique key
    /// in one call the first is the new one, and no later one replaces it.
    async fn enqueue(&self, jobs: &[Entry]) -> Result<Vec<Enqueued>, StoreError>;

    /// Whether it keeps what [`Entry::parents`] says. One that does not is not given such entries.
    fn carries_flows(&self) -> bool {
        false
    }

    /// Makes a worker known, alive for `ttl` from now.
    async fn join(&self, worker: WorkerId, ttl: Duration) -> Result<(), StoreError>;

    /// Leases up to [`Claim::limit`] ready jobs of the kinds that the worker knows, from a queue that
    /// is not paused. They come in the order of the queue. Repeated with the same lease it gives what
    /// the first one was given, as far as that has not been settled; a lease that has no jobs left is
    /// forgotten. A worker that is not known or whose time is over gets nothing:
    /// [`Conflict`](purlin_store::StoreErrorKind::Conflict).
    async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, StoreError>;

    /// Ends the work on jobs of one lease. Says for each, in order, whether it was leased by it. A
    /// worker whose time is over may still settle, until it is rescued.
    async fn settle(
        &self,
        lease: LeaseId,
        settlements: &[Settlement],
    ) -> Result<Vec<Settled>, StoreError>;

    /// Says that the worker is alive for `ttl` more, and hears which of its jobs are to be
    /// cancelled. [`Beat::Lost`] when its time is over or it is not known: it is to stop its work.
    async fn heartbeat(&self, worker: WorkerId, ttl: Duration) -> Result<Beat, StoreError>;

    /// Gives back all leases of a worker that ends: their jobs are ready again, and neither a
    /// failure nor a crash is counted. The worker is not known any more.
    async fn leave(&self, worker: WorkerId) -> Result<(), StoreError>;

    /// Makes the jobs of dead workers ready again and counts a crash for each; one that has crashed
    /// [`Rescue::max_crashes`] times is dead, with [`Failure::CRASHED`]. Up to [`Rescue::limit`] workers. Any process may call
    /// it, several at once.
    async fn rescue(&self, rescue: &Rescue) -> Result<Rescued, StoreError>;

    /// Makes up to `limit` scheduled jobs ready whose time has come, and says when the next one's will.
    async fn promote(&self, limit: u32) -> Result<Promoted, StoreError>;

    /// The same jobs, over a connection of its own that is made when it is first used. Heartbeats have
    /// one: they run on another thread, in a runtime of their own, and must not wait until handlers give
    /// a connection back.
    fn apart(&self) -> Arc<dyn JobStore>;

    /// Hears of jobs in these queues from now on. Whoever claims after this call has returned, and
    /// then waits, misses nothing but what the next one of his polls will find.
    async fn wakeups(&self, queues: &[QueueName]) -> Result<Box<dyn Wakeups>, StoreError>;

    /// What it keeps of schedules; `None` when it keeps none.
    fn schedules(&self) -> Option<&dyn ScheduleStore> {
        None
    }

    /// Groups and the rates of queues, if it keeps them.
    fn limits(&self) -> Option<&dyn LimitStore> {
        None
    }

    /// Its power to keep results, progress, steps, timers and signals, if it has it.
    fn notes(&self) -> Option<&dyn NoteStore> {
        None
    }
}

/// A store whose calls can join a transaction of the caller's, on a connection `C` of sqlx.
#[async_trait]
pub trait TransactionalJobStore<C: Send>: JobStore {
    /// As [`enqueue`](JobStore::enqueue), in the transaction of `connection`.
    async fn enqueue_in(
        &self,
        connection: &mut C,
        jobs: &[Entry],
    ) -> Result<Vec<Enqueued>, StoreError>;

    /// Settles one job as done in the transaction of `connection`: it is done when that commits, with
    /// the effect. Once this has said [`Settled::Applied`], nobody else gets the job until the
    /// transaction ends. On [`Settled::Stale`] roll it back: somebody else has the job by now.
    async fn complete_in(
        &self,
        connection: &mut C,
        lease: LeaseId,
        job: JobId,
    ) -> Result<Settled, StoreError>;

    /// As [`NoteStore::recall`], over `connection`: who has a transaction must not wait for another one. By
    /// default an error: for a store that keeps no notes.
    async fn recall_in(&self, connection: &mut C, job: JobId) -> Result<Option<Notes>, StoreError> {
        let _ = (connection, job);
        Err(no_notes(self.name(), "recall in"))
    }

    /// As [`NoteStore::note`], in the transaction of `connection`. Once this has said anything but
    /// [`Noted::Stale`], nobody else gets the job until the transaction ends. By default an error: for a store that keeps no notes.
    async fn note_in(
        &self,
        connection: &mut C,
        lease: LeaseId,
        job: JobId,
        note: &Note,
    ) -> Result<Noted, StoreError> {
        let _ = (connection, lease, job, note);
        Err(no_notes(self.name(), "note in"))
    }

    /// Keeps the result of a job that [`complete_in`](Self::complete_in) has completed in this
    /// transaction. By default an error: for a store that keeps no notes.
    async fn keep_in(
        &self,
        connection: &mut C,
        job: JobId,
        result: &KeptResult,
    ) -> Result<(), StoreError> {
        let _ = (connection, job, result);
        Err(no_notes(self.name(), "keep in"))
    }
}

/// What tells a worker that there may be something to claim.
#[async_trait]
pub trait Wakeups: Debug + Send {
    /// Returns when there may be something, or after `up_to`. A hint only: it may come without need,
    /// or not come, for instance while a connection is made anew.
    ///
    /// # Cancel safety
    ///
    /// What was heard when it is dropped is heard again by the next call, or is lost: poll.
    async fn next(&mut self, up_to: Duration) -> Wake;
}

/// What operators do, and what tests ask.
#[async_trait]
pub trait JobAdmin: JobStore {
    /// A job and its state; `None` when it is done or was never there.
    async fn get(&self, id: JobId) -> Result<Option<JobView>, StoreError>;

    /// Jobs in the order of their ids, after the one that the last page ended with.
    async fn list(&self, filter: &Filter, page: &Page) -> Result<Vec<JobView>, StoreError>;

    /// How many jobs are in each state, and how long the oldest ready one has waited. Of one queue,
    /// or of all. Reads every job that is not done.
    async fn counts(&self, queue: Option<&QueueName>) -> Result<Counts, StoreError>;

    /// Cancels a job that waits; tells the worker of one that runs, by its next heartbeat. If that does
    /// not end it, it is cancelled when it would wait again. `false` when it neither waits nor runs.
    async fn cancel(&self, id: JobId) -> Result<bool, StoreError>;

    /// Makes a dead job ready again with all its attempts, or a scheduled one now. `false` when it is
    /// neither. A dead one that is to be unique until it is done takes its key again; if another job
    /// holds it by now it stays dead: [`Conflict`](purlin_store::StoreErrorKind::Conflict).
    async fn replay(&self, id: JobId) -> Result<bool, StoreError>;

    /// Stops claims from a queue, until it is resumed. What runs goes on. `true` when it was not so before.
    async fn pause(&self, queue: &QueueName) -> Result<bool, StoreError>;

    /// Lets claims from a queue go on. `true` when it was paused.
    async fn resume(&self, queue: &QueueName) -> Result<bool, StoreError>;

    /// Deletes up to `limit` dead or cancelled jobs that ended at least `age` ago, and unique keys
    /// whose period is over. Says how many rows. Jobs that wait until one of them is done are cancelled.
    async fn purge_finished(&self, age: Duration, limit: u32) -> Result<u64, StoreError>;
}
