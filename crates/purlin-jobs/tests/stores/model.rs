//! Random histories of several workers on a store and on the memory store, whose answers must be the
//! same, call by call; and what holds of every store whatever the other says: no job is lost, each has one
//! lease. A history that fails is made as short as it can be and printed.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use purlin_jobs::store::{
    Beat, Claim, Claimed, Counts, Enqueued, Entry, Filter, JobView, On, Outcome, Page, Parent,
    Promoted, Rescue, Rescued, Settled, Settlement, State,
};
use purlin_jobs::testing::conformance::{Harness, start};
use purlin_jobs::{
    Group, JobAdmin, JobId, LeaseId, MemoryStore, Options, Priority, QueueName, Rate, Unique,
    WorkerId,
};
use purlin_store::{
    Clock as _, StoreError, StoreErrorKind, from_unix_micros, testing::ManualClock, unix_micros,
};

const SECOND: Duration = Duration::from_secs(1);
const KINDS: [&str; 2] = ["a", "b"];
const QUEUES: [&str; 2] = ["one", "two"];

/// How far the clock goes with each step, so that no two steps have the same time. A store may put
/// the jobs of one call a few microseconds apart.
const TICK: Duration = Duration::from_micros(10);

#[derive(Debug, Clone)]
enum Step {
    Enqueue(Vec<New>, bool),
    /// A call that was made before, as it was. Counted from the last.
    EnqueueAgain(usize),
    Join(Duration),
    Heartbeat(usize, Duration),
    Leave(usize),
    Claim {
        worker: usize,
        queue: usize,
        kinds: usize,
        limit: u16,
    },
    ClaimAgain(usize),
    Settle(usize, Vec<(usize, End)>),
    Rescue(u16),
    Promote(u32),
    Cancel(usize),
    Replay(usize),
    Pause(usize),
    Resume(usize),
    Purge(Duration),
    Wait(Duration),
}

#[derive(Debug, Clone)]
struct New {
    queue: usize,
    kind: usize,
    run: Run,
    key: Option<(u8, Span)>,
    /// For those so many places before it in the call, as far as there are any.
    parents: BTreeMap<usize, bool>,
    group: Option<u8>,
}

#[derive(Debug, Clone)]
enum Run {
    Now,
    After(Duration),
    /// So much after a time that is past.
    At(Duration),
}

#[derive(Debug, Clone)]
enum Span {
    Start,
    Done,
    For(Duration),
}

#[derive(Debug, Clone)]
enum End {
    Done,
    Retry(Duration),
    Discard,
    Cancelled,
    Snooze(Duration),
    Release,
}

/// What a call said.
#[derive(Debug, PartialEq)]
enum Said {
    Enqueued(Vec<Enqueued>),
    Claimed(Vec<Claimed>),
    Settled(Vec<Settled>),
    Beat(Beat),
    Rescued(Rescued),
    Promoted(Promoted),
    Was(bool),
    Purged(u64),
    Conflict,
    Nothing,
}

/// What is seen after a step.
#[derive(Debug, PartialEq)]
struct Seen {
    jobs: Vec<JobView>,
    counts: Vec<Counts>,
}

fn seconds(range: std::ops::Range<u32>) -> impl Strategy<Value = Duration> {
    range.prop_map(|n| n * SECOND)
}

fn new() -> impl Strategy<Value = New> {
    let run = prop_oneof![
        4 => Just(Run::Now),
        1 => seconds(0..8).prop_map(Run::After),
        1 => seconds(0..16).prop_map(Run::At),
    ];
    let span = prop_oneof![
        1 => Just(Span::Start),
        2 => Just(Span::Done),
        1 => seconds(0..8).prop_map(Span::For),
    ];
    let key = prop::option::of((0..2_u8, span));
    let group = prop::option::of(0..3_u8);
    let parents = prop_oneof![
        2 => Just(BTreeMap::new()),
        1 => prop::collection::btree_map(1..4_usize, any::<bool>(), 1..3),
    ];
    let parts = (0..2_usize, 0..2_usize, run, key, group, parents);
    parts.prop_map(|(queue, kind, run, key, group, parents)| New {
        queue,
        kind,
        run,
        key,
        parents,
        group,
    })
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        3 => Just(End::Done),
        2 => seconds(0..6).prop_map(End::Retry),
        2 => Just(End::Discard),
        1 => Just(End::Cancelled),
        1 => seconds(0..6).prop_map(End::Snooze),
        1 => Just(End::Release),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let claim = (0..3_usize, 0..2_usize, 0..3_usize, 1..5_u16);
    let waits = prop_oneof![8 => seconds(1..6), 1 => Just(Priority::STEP)];
    prop_oneof![
        10 => (vec(new(), 1..6), any::<bool>()).prop_map(|(new, replace)| Step::Enqueue(new, replace)),
        1 => (0..3_usize).prop_map(Step::EnqueueAgain),
        3 => seconds(1..12).prop_map(Step::Join),
        3 => (0..3_usize, seconds(0..8)).prop_map(|(worker, ttl)| Step::Heartbeat(worker, ttl)),
        1 => (0..3_usize).prop_map(Step::Leave),
        9 => claim.prop_map(|(worker, queue, kinds, limit)| Step::Claim { worker, queue, kinds, limit }),
        1 => (0..3_usize).prop_map(Step::ClaimAgain),
        9 => (0..4_usize, vec((0..5_usize, end()), 1..5)).prop_map(|(lease, ends)| Step::Settle(lease, ends)),
        2 => (1..4_u16).prop_map(Step::Rescue),
        3 => prop_oneof![1..3_u32, Just(1_000)].prop_map(Step::Promote),
        2 => (0..8_usize).prop_map(Step::Cancel),
        2 => (0..8_usize).prop_map(Step::Replay),
        1 => (0..2_usize).prop_map(Step::Pause),
        1 => (0..2_usize).prop_map(Step::Resume),
        1 => seconds(0..6).prop_map(Step::Purge),
        6 => waits.prop_map(Step::Wait),
    ]
}

/// The limits of a group are always the same: which declaration is the last one in a call is no matter.
fn group(n: u8) -> Group {
    let group = Group::new(format!("group {n}"));
    match n {
        0 => group.with_at_most(1),
        1 => group.with_at_most(3),
        _ => group
            .with_at_most(3)
            .with_rate(Rate::new(1, 2 * SECOND).with_burst(2)),
    }
}

/// One history, on both sides.
struct History<'a> {
    clock: &'a ManualClock,
    stores: [Arc<dyn JobAdmin>; 2],
    reference: MemoryStore,
    /// Whether the store has groups.
    is_limited: bool,
    calls: Vec<Vec<Entry>>,
    workers: Vec<WorkerId>,
    claims: Vec<(Claim, Vec<JobId>)>,
    /// All that are in some state, and the lease of those that are leased.
    jobs: BTreeMap<JobId, Option<LeaseId>>,
    steps: usize,
}

fn link(entries: &mut [Entry], new: &[New]) {
    for (at, new) in new.iter().enumerate() {
        let before = new.parents.iter().filter(|(back, _)| **back <= at);
        let parents = before.map(|(back, ended)| Parent {
            id: entries[at - back].id,
            on: if *ended { On::Ended } else { On::Done },
        });
        entries[at].parents = parents.collect();
    }
}

/// Counted from the last, or an unknown one.
fn back<T: Clone>(of: &[T], n: usize) -> Option<T> {
    of.iter().rev().nth(n).cloned()
}

impl<'a> History<'a> {
    fn new<H: Harness>(h: &'a H) -> Self {
        Self {
            clock: h.clock(),
            stores: [h.store(), h.second()],
            reference: MemoryStore::new().with_clock(h.clock().clone()),
            is_limited: h.store().limits().is_some(),
            calls: Vec::new(),
            workers: Vec::new(),
            claims: Vec::new(),
            jobs: BTreeMap::new(),
            steps: 0,
        }
    }

    /// Jobs of one call have each another rank and another time to start.
    fn entry(&self, position: u8, new: &New, replace: bool) -> Entry {
        let apart = u32::from(position) * Duration::from_millis(1);
        let options = Options::new()
            .with_queue(QueueName::new(QUEUES[new.queue]).unwrap())
            .with_priority(Priority::new(3 + position));
        let options = match new.run {
            Run::Now => options,
            Run::After(delay) => options.with_delay(delay + apart),
            Run::At(after) => options.with_run_at(self.clock.now() + after + apart - 8 * SECOND),
        };
        let options = match new.group.filter(|_| self.is_limited) {
            None => options,
            Some(n) => options.with_group(group(n)),
        };
        let unique = new.key.as_ref().map(|(key, span)| match span {
            Span::Start => Unique::until_start([*key]),
            Span::Done => Unique::until_done([*key]),
            Span::For(period) => Unique::for_period([*key], *period),
        });
        Entry {
            id: JobId::new(),
            kind: KINDS[new.kind].to_owned(),
            version: 1,
            payload: Bytes::from(vec![position]),
            traceparent: None,
            parents: Vec::new(),
            options: match unique {
                None => options,
                Some(unique) if replace => options.with_unique(unique.or_replace()),
                Some(unique) => options.with_unique(unique),
            },
        }
    }

    /// What is asked of both sides.
    fn call(&mut self, step: &Step) -> Call {
        let any_job = |n: usize| {
            let entries: Vec<_> = self.calls.iter().flatten().map(|entry| entry.id).collect();
            back(&entries, n).unwrap_or_else(JobId::new)
        };
        let worker = |n: usize| back(&self.workers, n).unwrap_or_else(WorkerId::new);
        let queue = |n: usize| QueueName::new(QUEUES[n]).unwrap();
        match step {
            Step::Enqueue(jobs, replace) => {
                let new = jobs;
                let jobs = (0..).zip(new);
                let entry = |(position, new): (u8, &New)| self.entry(position, new, *replace);
                let mut entries: Vec<_> = jobs.map(entry).collect();
                if self.stores[0].carries_flows() {
                    link(&mut entries, new);
                }
                self.calls.push(entries.clone());
                Call::Enqueue(entries)
            }
            Step::EnqueueAgain(n) => Call::Enqueue(back(&self.calls, *n).unwrap_or_default()),
            Step::Join(ttl) => {
                let id = WorkerId::new();
                self.workers.push(id);
                Call::Join(id, *ttl)
            }
            Step::Heartbeat(n, ttl) => Call::Heartbeat(worker(*n), *ttl),
            Step::Leave(n) => Call::Leave(worker(*n)),
            Step::Claim {
                worker: by,
                queue: from,
                kinds,
                limit,
            } => Call::Claim(Claim {
                worker: worker(*by),
                lease: LeaseId::new(),
                queue: queue(*from),
                kinds: KINDS
                    .iter()
                    .map(|kind| (*kind).to_owned())
                    .skip(*kinds % 2)
                    .collect(),
                limit: *limit,
            }),
            Step::ClaimAgain(n) => match back(&self.claims, *n) {
                Some((claim, _)) => Call::Claim(claim),
                None => Call::Nothing,
            },
            Step::Settle(n, ends) => {
                let Some((claim, jobs)) = back(&self.claims, *n) else {
                    return Call::Nothing;
                };
                let settlement = |(position, (job, end)): (u32, &(usize, End))| Settlement {
                    // One more than it has, which is another's.
                    id: jobs.get(*job).copied().unwrap_or_else(|| any_job(*job)),
                    outcome: outcome(end, position * Duration::from_millis(1)),
                };
                let settlements = (1..).zip(ends).map(settlement).collect();
                Call::Settle(claim.lease, settlements)
            }
            Step::Rescue(max_crashes) => Call::Rescue(Rescue {
                limit: 1_000,
                max_crashes: *max_crashes,
            }),
            Step::Promote(limit) => Call::Promote(*limit),
            Step::Cancel(n) => Call::Cancel(any_job(*n)),
            Step::Replay(n) => Call::Replay(any_job(*n)),
            Step::Pause(n) => Call::Pause(queue(*n)),
            Step::Resume(n) => Call::Resume(queue(*n)),
            Step::Purge(age) => Call::Purge(*age),
            Step::Wait(by) => {
                self.clock.advance(*by);
                Call::Nothing
            }
        }
    }

    async fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        self.clock.advance(TICK);
        self.steps += 1;
        let [store, reader] = if self.steps.is_multiple_of(3) {
            [1, 0]
        } else {
            [0, 1]
        };
        let (store, reader) = (
            Arc::clone(&self.stores[store]),
            Arc::clone(&self.stores[reader]),
        );
        let call = self.call(step);
        let said = call.make(&*store).await?;
        same(&said, &call.make(&self.reference).await?)?;
        let seen = see(&*reader).await?;
        same(&seen, &see(&self.reference).await?)?;
        self.follow(&call, &said, &seen);
        Ok(())
    }

    /// What holds of every store.
    fn follow(&mut self, call: &Call, said: &Said, seen: &Seen) {
        let states: BTreeMap<_, _> = seen.jobs.iter().map(|job| (job.id, job.state)).collect();
        match (call, said) {
            (_, Said::Enqueued(enqueued)) => {
                for enqueued in enqueued {
                    if let Enqueued::Replaced { old, .. } = enqueued {
                        assert_eq!(self.jobs.remove(old), Some(None), "it waited");
                    }
                    if !matches!(enqueued, Enqueued::Existing(_)) {
                        let known = self.jobs.insert(enqueued.id(), None);
                        assert_eq!(known, None, "it is new");
                    }
                }
            }
            (Call::Claim(claim), Said::Claimed(claimed)) => {
                for job in claimed {
                    let lease = self.jobs.get_mut(&job.id).expect("it was enqueued");
                    assert!(
                        lease.is_none_or(|lease| lease == claim.lease),
                        "it has a lease"
                    );
                    *lease = Some(claim.lease);
                }
                let ids = claimed.iter().map(|job| job.id).collect();
                self.claims.push((claim.clone(), ids));
            }
            (Call::Settle(lease, settlements), Said::Settled(settled)) => {
                for (settlement, settled) in settlements.iter().zip(settled) {
                    let held = self.jobs.get(&settlement.id).copied().flatten();
                    let is_held = held == Some(*lease);
                    assert_eq!(*settled == Settled::Applied, is_held);
                    if is_held && settlement.outcome == Outcome::Done {
                        self.jobs.remove(&settlement.id);
                    } else if is_held {
                        self.jobs.insert(settlement.id, None);
                    }
                }
            }
            (Call::Leave(_) | Call::Rescue(_), _) => {
                for (id, lease) in &mut self.jobs {
                    lease.take_if(|_| states.get(id) != Some(&State::Leased));
                }
            }
            (Call::Purge(_), _) => self.jobs.retain(|id, lease| {
                assert!(lease.is_none() || states.contains_key(id), "it runs");
                states.contains_key(id)
            }),
            _ => {}
        }
        let found: Vec<_> = states
            .iter()
            .map(|(id, state)| (*id, *state == State::Leased))
            .collect();
        let expected: Vec<_> = self
            .jobs
            .iter()
            .map(|(id, lease)| (*id, lease.is_some()))
            .collect();
        assert_eq!(found, expected, "no job is lost");
        let counts = &seen.counts[0];
        let counted = [
            counts.ready,
            counts.scheduled,
            counts.blocked,
            counts.leased,
            counts.dead,
            counts.cancelled,
            counts.held,
        ];
        let listed = [
            State::Ready,
            State::Scheduled,
            State::Blocked,
            State::Leased,
            State::Dead,
            State::Cancelled,
            State::Held,
        ];
        let listed = listed.map(|state| states.values().filter(|s| **s == state).count() as u64);
        assert_eq!(counted, listed);
    }
}

/// Whatever the last history has left is gone.
async fn empty(h: &impl Harness) {
    let store = h.store();
    h.clock().advance(86_400 * SECOND);
    let rescue = Rescue {
        limit: 1_000,
        max_crashes: 9,
    };
    store.rescue(&rescue).await.unwrap();
    for job in see(&*store).await.unwrap().jobs {
        store.cancel(job.id).await.unwrap();
    }
    for queue in QUEUES {
        store.resume(&QueueName::new(queue).unwrap()).await.unwrap();
    }
    store.purge_finished(Duration::ZERO, 10_000).await.unwrap();
    // Groups that have nothing to remember any more.
    store.promote(1).await.unwrap();
    assert_eq!(see(&*store).await.unwrap().jobs, []);
}

#[derive(Debug)]
enum Call {
    Enqueue(Vec<Entry>),
    Join(WorkerId, Duration),
    Heartbeat(WorkerId, Duration),
    Leave(WorkerId),
    Claim(Claim),
    Settle(LeaseId, Vec<Settlement>),
    Rescue(Rescue),
    Promote(u32),
    Cancel(JobId),
    Replay(JobId),
    Pause(QueueName),
    Resume(QueueName),
    Purge(Duration),
    Nothing,
}

impl Call {
    async fn make(&self, store: &dyn JobAdmin) -> Result<Said, TestCaseError> {
        let said = match self {
            Self::Enqueue(entries) => store.enqueue(entries).await.map(Said::Enqueued),
            Self::Join(worker, ttl) => store.join(*worker, *ttl).await.map(|()| Said::Nothing),
            Self::Heartbeat(worker, ttl) => store.heartbeat(*worker, *ttl).await.map(|mut beat| {
                if let Beat::Alive { cancel } = &mut beat {
                    cancel.sort_unstable();
                }
                Said::Beat(beat)
            }),
            Self::Leave(worker) => store.leave(*worker).await.map(|()| Said::Nothing),
            Self::Claim(claim) => store.claim(claim).await.map(|mut claimed| {
                for job in &mut claimed {
                    job.enqueued_at = about(job.enqueued_at);
                }
                Said::Claimed(claimed)
            }),
            Self::Settle(lease, ends) => store.settle(*lease, ends).await.map(Said::Settled),
            Self::Rescue(rescue) => store.rescue(rescue).await.map(Said::Rescued),
            Self::Promote(limit) => store.promote(*limit).await.map(Said::Promoted),
            Self::Cancel(id) => store.cancel(*id).await.map(Said::Was),
            Self::Replay(id) => store.replay(*id).await.map(Said::Was),
            Self::Pause(queue) => store.pause(queue).await.map(Said::Was),
            Self::Resume(queue) => store.resume(queue).await.map(Said::Was),
            Self::Purge(age) => store.purge_finished(*age, 1_000).await.map(Said::Purged),
            Self::Nothing => Ok(Said::Nothing),
        };
        match said {
            Err(error) if error.kind() == StoreErrorKind::Conflict => Ok(Said::Conflict),
            said => said.map_err(|error| failed(&error)),
        }
    }
}

fn outcome(end: &End, apart: Duration) -> Outcome {
    let error = "no".to_owned();
    match end {
        End::Done => Outcome::Done,
        End::Retry(after) => Outcome::Retry {
            after: *after + apart,
            error,
        },
        End::Discard => Outcome::Discard { error },
        End::Cancelled => Outcome::Cancelled,
        End::Snooze(after) => Outcome::Snooze {
            after: *after + apart,
        },
        End::Release => Outcome::Release,
    }
}

/// To the tick, since the clock began.
fn about(at: SystemTime) -> SystemTime {
    let micros = unix_micros(at);
    let since = micros - unix_micros(start());
    from_unix_micros(micros - since.rem_euclid(10)).unwrap()
}

async fn see(store: &dyn JobAdmin) -> Result<Seen, TestCaseError> {
    let page = Page {
        after: None,
        limit: 1_000,
    };
    let jobs = store.list(&Filter::default(), &page).await;
    let mut jobs = jobs.map_err(|error| failed(&error))?;
    for job in &mut jobs {
        job.enqueued_at = about(job.enqueued_at);
        job.run_at = job.run_at.map(about);
    }
    let one = QueueName::new(QUEUES[0]).unwrap();
    let mut counts = Vec::new();
    for queue in [None, Some(&one)] {
        let mut count = store.counts(queue).await.map_err(|error| failed(&error))?;
        count.oldest_ready = count
            .oldest_ready
            .map(|waited| TICK * (waited.as_micros().div_ceil(10) as u32));
        counts.push(count);
    }
    Ok(Seen { jobs, counts })
}

fn same<T: Debug + PartialEq>(store: &T, reference: &T) -> Result<(), TestCaseError> {
    if store == reference {
        return Ok(());
    }
    Err(TestCaseError::fail(format!(
        "\n    the store: {store:?}\nthe reference: {reference:?}"
    )))
}

fn failed(error: &StoreError) -> TestCaseError {
    TestCaseError::fail(format!("the store failed: {error:?}"))
}

/// Runs `cases` histories of up to 60 steps.
pub(crate) fn compare<H: Harness>(cases: u32, harness: impl AsyncFn() -> Option<H>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(h) = runtime.block_on(harness()) else {
        return;
    };
    let mut config = ProptestConfig::with_cases(cases);
    config.failure_persistence = None;
    let result = TestRunner::new(config).run(&vec(step(), 1..60), |steps| {
        runtime.block_on(async {
            empty(&h).await;
            let mut history = History::new(&h);
            let mut result = Ok(());
            for (n, step) in steps.iter().enumerate() {
                result = history
                    .step(step)
                    .await
                    .map_err(|error| TestCaseError::fail(format!("step {n}: {step:?}\n{error}")));
                if result.is_err() {
                    break;
                }
            }
            result
        })
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, steps)) => panic!("{reason}\nin the history {steps:#?}"),
        Err(aborted) => panic!("{aborted}"),
    }
    // Outside the runtime its connections would have nobody to close them.
    runtime.block_on(async { drop(h) });
}
