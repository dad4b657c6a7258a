//! Random histories of several actors on a store and on the reference of all stores, whose results
//! must be the same, call by call. A history that fails is made as short as it can be and printed.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};
use purlin_idempotency::store::{
    Claim, Claimed, Completion, Entry, Existing, Fenced, Lease, Nonce,
};
use purlin_idempotency::testing::conformance::Harness;
use purlin_idempotency::{Fingerprint, IdempotencyStore, Inbox, LeaseLost, RecordId};
use purlin_store::{Clock as _, StoreError};

/// Two records of one scope, and one of another.
const RECORDS: usize = 3;
const ACTORS: usize = 3;

/// The greatest attempt that every store can keep.
const GREATEST: u64 = i64::MAX.cast_unsigned();

#[derive(Clone, Debug)]
enum Step {
    Claim {
        actor: usize,
        record: usize,
        /// With the nonce that this actor had the last time, whatever it was for.
        again: bool,
        fingerprint: Option<u8>,
        lease_ttl: Duration,
        unresolved_ttl: Duration,
        reexecute: bool,
    },
    Owner(Call, Of),
    Remove(usize),
    /// All of the scope of a record.
    Erase(usize),
    Purge,
    /// The clock is what all actors share.
    Wait(Duration),
    SetBack(Duration),
}

#[derive(Clone, Debug)]
enum Call {
    Extend(Duration),
    Complete(u8, &'static [u8], Duration),
    Release,
    Abandon,
}

/// Whose lease a call is made with.
#[derive(Clone, Debug)]
enum Of {
    /// One of those that were granted, counted from the last.
    Granted(usize),
    /// The same with another attempt.
    Attempt(usize, u64),
    /// The same for another record.
    Record(usize, usize),
    /// One that nobody was granted.
    Invented(usize),
}

/// What a call said.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Acquired(Lease),
    Existing(Existing),
    Fenced(Fenced),
    Removed(bool),
    Count(u64),
    Nothing,
}

impl From<Claimed> for Said {
    fn from(claimed: Claimed) -> Self {
        match claimed {
            Claimed::Acquired(lease) => Self::Acquired(lease),
            Claimed::Existing(existing) => Self::Existing(existing),
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
const MICRO: Duration = Duration::from_micros(1);

/// Few of them, and sums of each other, so that ends are met to the microsecond.
fn ttl() -> impl Strategy<Value = Duration> {
    prop_oneof![
        1 => Just(Duration::ZERO),
        1 => Just(MICRO),
        6 => (1..6_u32).prop_map(|n| SECOND * n),
        1 => (0..5_000_000_u64).prop_map(Duration::from_micros),
        1 => Just(Duration::MAX),
    ]
}

fn waited() -> impl Strategy<Value = Duration> {
    prop_oneof![
        1 => Just(MICRO),
        4 => (1..4_u32).prop_map(|n| SECOND * n),
        1 => (1..4_u32).prop_map(|n| SECOND * n - MICRO),
    ]
}

fn call() -> impl Strategy<Value = Call> {
    let answers: &[&[u8]] = &[b"", b"one", b"\0\xff'", &[7; 5_000]];
    let answer = prop::sample::select(answers);
    prop_oneof![
        3 => ttl().prop_map(Call::Extend),
        4 => (1..3_u8, answer, ttl()).prop_map(|(of, answer, kept)| Call::Complete(of, answer, kept)),
        1 => Just(Call::Release),
        2 => Just(Call::Abandon),
    ]
}

fn lease() -> impl Strategy<Value = Of> {
    let attempts = prop::sample::select(&[0, 1, 2, 3, GREATEST][..]);
    prop_oneof![
        8 => (0..3_usize).prop_map(Of::Granted),
        1 => (0..3_usize, attempts).prop_map(|(back, attempt)| Of::Attempt(back, attempt)),
        1 => (0..3_usize, 0..RECORDS).prop_map(|(back, record)| Of::Record(back, record)),
        1 => (0..RECORDS).prop_map(Of::Invented),
    ]
}

fn claim() -> impl Strategy<Value = Step> {
    let fingerprint = prop::sample::select(&[None, Some(1), Some(1), Some(2)][..]);
    (
        (0..ACTORS, 0..RECORDS, prop::bool::weighted(0.3)),
        (fingerprint, ttl(), ttl(), any::<bool>()),
    )
        .prop_map(
            |((actor, record, again), (fingerprint, lease_ttl, unresolved_ttl, reexecute))| {
                Step::Claim {
                    actor,
                    record,
                    again,
                    fingerprint,
                    lease_ttl,
                    unresolved_ttl,
                    reexecute,
                }
            },
        )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => claim(),
        12 => (call(), lease()).prop_map(|(call, of)| Step::Owner(call, of)),
        1 => (0..RECORDS).prop_map(Step::Remove),
        1 => (0..RECORDS).prop_map(Step::Erase),
        1 => Just(Step::Purge),
        5 => waited().prop_map(Step::Wait),
        1 => waited().prop_map(Step::SetBack),
    ]
}

/// One history, on both sides.
struct History {
    store: [Arc<dyn IdempotencyStore>; 2],
    entries: HashMap<RecordId, Option<Entry>>,
    records: [RecordId; RECORDS],
    granted: Vec<Lease>,
    /// What each actor claimed with the last time.
    nonces: [Nonce; ACTORS],
    calls: usize,
}

impl History {
    /// In scopes of its own.
    fn new(h: &impl Harness) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let record = |scope: &str, n: u8| Inbox::new(format!("{scope} {count}")).record_id(&[n]);
        Self {
            store: [h.store(), h.second()],
            entries: HashMap::new(),
            records: [record("a", 1), record("a", 2), record("b", 1)],
            granted: Vec::new(),
            nonces: std::array::from_fn(|_| Nonce::new()),
            calls: 0,
        }
    }

    /// Through either handle.
    fn store(&mut self) -> Arc<dyn IdempotencyStore> {
        self.calls += 1;
        Arc::clone(&self.store[self.calls / 2 % 2])
    }

    fn entry(&mut self, id: RecordId) -> &mut Option<Entry> {
        self.entries.entry(id).or_default()
    }

    async fn step(&mut self, h: &impl Harness, step: &Step) -> Result<(Said, Said), StoreError> {
        let now = h.clock().now();
        let store = self.store();
        Ok(match step {
            Step::Claim { .. } => {
                let claim = self.claim_of(step);
                let said = store.claim(&claim).await?;
                if let Claimed::Acquired(lease) = said {
                    self.granted.push(lease);
                }
                let expected = Entry::claim(self.entry(claim.id), now, &claim);
                (said.into(), expected.into())
            }
            Step::Owner(call, of) => {
                let lease = self.lease(of);
                self.owner(h, call, &lease).await?
            }
            Step::Remove(record) => {
                let id = self.records[*record];
                let said = store.remove(&id).await?;
                let expected = Entry::remove(self.entry(id), now);
                (Said::Removed(said), Said::Removed(expected))
            }
            Step::Erase(record) => {
                let scope = self.records[*record].scope();
                let said = store.erase_scope(&scope).await?;
                let entries = self.entries.iter_mut();
                let mut expected = 0;
                for (_, entry) in entries.filter(|(id, _)| id.scope() == scope) {
                    expected += u64::from(entry.as_mut().is_some_and(|entry| entry.erase(now)));
                }
                (Said::Count(said), Said::Count(expected))
            }
            Step::Purge => {
                let said = store.purge_expired(u32::MAX).await?;
                let mut expected = 0;
                // What a store collects itself is there until it does.
                let entries = self.entries.values_mut().filter(|_| !h.collects_garbage());
                for entry in entries {
                    let purged = entry.take_if(|entry| entry.is_expired(now)).is_some();
                    expected += u64::from(purged);
                }
                (Said::Count(said), Said::Count(expected))
            }
            Step::Wait(by) => {
                h.clock().advance(*by);
                (Said::Nothing, Said::Nothing)
            }
            Step::SetBack(by) => {
                h.clock().set(now - *by);
                (Said::Nothing, Said::Nothing)
            }
        })
    }

    fn claim_of(&mut self, step: &Step) -> Claim {
        let Step::Claim {
            actor,
            record,
            again,
            fingerprint: of,
            lease_ttl,
            unresolved_ttl,
            reexecute,
        } = step
        else {
            unreachable!("{step:?}");
        };
        let mut claim = Claim::new(self.records[*record], *lease_ttl)
            .with_fingerprint(of.map(fingerprint))
            .with_unresolved_ttl(*unresolved_ttl)
            .with_lease_lost(if *reexecute {
                LeaseLost::Reexecute
            } else {
                LeaseLost::Indeterminate
            });
        if *again {
            claim.nonce = self.nonces[*actor];
        }
        self.nonces[*actor] = claim.nonce;
        claim
    }

    fn lease(&self, of: &Of) -> Lease {
        let invented = |record: usize| Lease {
            id: self.records[record],
            attempt: 1,
            nonce: self.nonces[0],
        };
        let granted = |back: usize| match self.granted.len() {
            0 => invented(0),
            many => self.granted[many - 1 - back.min(many - 1)],
        };
        match *of {
            Of::Granted(back) => granted(back),
            Of::Attempt(back, attempt) => Lease {
                attempt,
                ..granted(back)
            },
            Of::Record(back, record) => Lease {
                id: self.records[record],
                ..granted(back)
            },
            Of::Invented(record) => invented(record),
        }
    }

    async fn owner(
        &mut self,
        h: &impl Harness,
        call: &Call,
        lease: &Lease,
    ) -> Result<(Said, Said), StoreError> {
        let (now, store) = (h.clock().now(), self.store());
        let entry = self.entry(lease.id);
        let (said, expected) = match call {
            Call::Extend(ttl) => (
                store.extend(lease, *ttl).await,
                Entry::extend(entry, now, lease, *ttl),
            ),
            Call::Complete(of, answer, kept) => {
                let completion = Completion::new(fingerprint(*of), (*answer).into(), *kept);
                (
                    store.complete(lease, &completion).await,
                    Entry::complete(entry, now, lease, &completion),
                )
            }
            Call::Release => (
                store.release(lease).await,
                Entry::release(entry, now, lease),
            ),
            Call::Abandon => (
                store.abandon(lease).await,
                Entry::abandon(entry, now, lease),
            ),
        };
        Ok((Said::Fenced(said?), Said::Fenced(expected)))
    }

    /// What is seen of all records afterwards.
    async fn look(&mut self, h: &impl Harness) -> Result<(), TestCaseError> {
        for id in self.records {
            let now = h.clock().now();
            let found = self.store().get(&id).await;
            let found = found.map_err(|error| failed("get", &error))?;
            let expected = Entry::get(self.entry(id), now);
            same("get", &found, &expected)?;
        }
        Ok(())
    }

    async fn run(&mut self, h: &impl Harness, steps: &[Step]) -> Result<(), TestCaseError> {
        for (n, step) in steps.iter().enumerate() {
            let what = format!("step {n}: {step:?}");
            let said = self.step(h, step).await;
            let (said, expected) = said.map_err(|error| failed(&what, &error))?;
            same(&what, &said, &expected)?;
            self.look(h).await.map_err(|error| {
                TestCaseError::fail(format!("after step {n}: {step:?}\n{error}"))
            })?;
        }
        Ok(())
    }

    /// What is left over would be purged in another history.
    async fn clean_up(&self) {
        for id in &self.records {
            self.store[0].remove(id).await.unwrap();
        }
    }
}

fn same<T: Debug + PartialEq>(what: &str, store: &T, reference: &T) -> Result<(), TestCaseError> {
    if store == reference {
        return Ok(());
    }
    Err(TestCaseError::fail(format!(
        "{what}\n    the store: {store:?}\nthe reference: {reference:?}"
    )))
}

fn failed(what: &str, error: &StoreError) -> TestCaseError {
    TestCaseError::fail(format!("{what}\nthe store failed: {error:?}"))
}

fn fingerprint(n: u8) -> Fingerprint {
    Fingerprint::from_bytes(&[n; Fingerprint::BYTES]).unwrap()
}

/// Runs `cases` histories of up to 40 steps.
pub(crate) fn compare<H: Harness>(cases: u32, harness: impl AsyncFn() -> Option<H>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(h) = runtime.block_on(harness()) else {
        return;
    };
    let mut config = ProptestConfig::with_cases(cases);
    config.failure_persistence = None;
    let result = TestRunner::new(config).run(&vec(step(), 1..40), |steps| {
        runtime.block_on(async {
            let mut history = History::new(&h);
            let result = history.run(&h, &steps).await;
            history.clean_up().await;
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
