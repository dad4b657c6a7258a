//! Calls that are dropped at every await. The answer is lost, and so may be the call; made again to its
//! end it has taken place once.

use std::cell::RefCell;
use std::sync::Arc;

use purlin_store::testing::{Dropped, drop_at_every_await};

use super::Harness;
use super::bench::{HOUR, KIND, Store, job_with, ok, outcomes, rescue};
use crate::store::{Claim, Entry, Filter, On, Page, Parent, Settlement, State};
use crate::{JobId, LeaseId, Priority, QueueName, Unique, WorkerId};

/// On real connections one run does not meet every place.
const RUNS: u64 = 5;

/// What one call is about. Each has a queue, a worker and jobs of its own: a call that was dropped may
/// still reach the server, after what comes next.
#[derive(Debug, Clone)]
struct Round {
    claim: Claim,
    entries: Vec<Entry>,
}

/// State, failures and crashes of each job.
type Seen = Vec<Option<(State, u16, u16)>>;

impl Round {
    /// The first of its jobs holds a key, and the order in which they are claimed is theirs.
    fn new() -> Self {
        let name = JobId::new().to_string();
        let queue = QueueName::new(name.clone()).expect("hexadecimal digits");
        let entries = (0..8).map(|n| {
            let priority = Priority::new(n);
            job_with(|o| o.with_queue(queue.clone()).with_priority(priority))
        });
        let mut entries: Vec<_> = entries.collect();
        entries[0].options.unique = Some(Unique::until_done(&name).or_replace());
        Self {
            claim: Claim {
                worker: WorkerId::new(),
                lease: LeaseId::new(),
                queue,
                kinds: vec![KIND.to_owned()],
                limit: 6,
            },
            entries,
        }
    }

    /// Two of the eight wait for some of those that are claimed.
    fn of_a_flow() -> Self {
        let mut round = Self::new();
        let parent = |at: usize, on| Parent {
            id: round.entries[at].id,
            on,
        };
        let told = [0, 2, 3].map(|at| parent(at, On::Ended)).to_vec();
        let next = vec![parent(0, On::Done), parent(3, On::Done)];
        (round.entries[6].parents, round.entries[7].parents) = (told, next);
        round
    }

    /// In one call, since one that was dropped may arrive between two.
    async fn look(&self, store: &Store) -> Seen {
        let filter = Filter {
            queue: Some(self.claim.queue.clone()),
            ..Filter::default()
        };
        let page = Page {
            after: None,
            limit: 100,
        };
        let views = ok(store.list(&filter, &page).await);
        let view = |entry: &Entry| views.iter().find(|view| view.id == entry.id);
        let seen = self.entries.iter().map(view);
        seen.map(|view| view.map(|view| (view.state, view.failures, view.crashes)))
            .collect()
    }

    async fn enqueue(self, store: Store) {
        ok(store.enqueue(&self.entries).await);
    }

    async fn enqueue_some(self, store: Store) {
        ok(store.enqueue(&self.entries[..4]).await);
    }

    /// Adds the rest, of which one takes the place of the first.
    async fn replace(mut self, store: Store) {
        self.entries[4].options.unique = self.entries[0].options.unique;
        ok(store.enqueue(&self.entries[4..]).await);
    }

    async fn join(self, store: Store) {
        ok(store.join(self.claim.worker, HOUR).await);
        self.enqueue(store).await;
    }

    /// Six of the eight.
    async fn claim(self, store: Store) {
        let claimed = ok(store.claim(&self.claim).await);
        let claimed: Vec<_> = claimed.into_iter().map(|job| job.id).collect();
        let expected: Vec<_> = self.entries[..6].iter().map(|entry| entry.id).collect();
        assert_eq!(claimed, expected);
    }

    async fn join_and_claim(self, store: Store) {
        self.clone().join(Arc::clone(&store)).await;
        self.claim(store).await;
    }

    /// Each of the six in another way.
    async fn settle(self, store: Store) {
        let jobs = self.entries.iter().zip(outcomes());
        let settlement = |(entry, outcome): (&Entry, _)| Settlement {
            id: entry.id,
            outcome,
        };
        let settlements: Vec<_> = jobs.map(settlement).collect();
        ok(store.settle(self.claim.lease, &settlements).await);
    }

    async fn leave(self, store: Store) {
        ok(store.leave(self.claim.worker).await);
    }
}

/// Drops `call` at every await after `set_up`. What is seen of the jobs is then as before it or as after
/// it, and once the same call has been made to its end, as after it.
async fn all_or_nothing(
    h: &impl Harness,
    new: fn() -> Round,
    set_up: impl AsyncFn(Round, Store),
    call: impl AsyncFn(Round, Store),
) {
    let store = h.store();
    let whole = new();
    set_up(whole.clone(), h.store()).await;
    let before = whole.look(&store).await;
    call(whole.clone(), h.store()).await;
    let after = whole.look(&store).await;
    assert_ne!(before, after);

    let rounds = RefCell::new(vec![new()]);
    let last = || rounds.borrow().last().expect("there is one").clone();
    set_up(last(), h.store()).await;
    for _ in 0..RUNS {
        drop_at_every_await(
            || call(last(), h.store()),
            async |at| {
                let round = last();
                let found = round.look(&store).await;
                if at == Dropped::Completed {
                    assert_eq!(found, after);
                } else {
                    assert!(found == before || found == after, "{found:?} at {at:?}");
                    call(round.clone(), h.store()).await;
                    assert_eq!(round.look(&store).await, after, "repeated, at {at:?}");
                }
                rounds.borrow_mut().push(new());
                set_up(last(), h.store()).await;
            },
        )
        .await;
    }
    // What arrived late has changed nothing.
    let mut rounds = rounds.into_inner();
    rounds.pop();
    for round in rounds {
        assert_eq!(round.look(&store).await, after);
    }
}

/// All jobs are there or none.
pub async fn a_dropped_enqueue_is_all_or_nothing(h: &impl Harness) {
    all_or_nothing(h, Round::new, async |_, _| {}, Round::enqueue).await;
}

/// The old job is there, or the new one and all that came with it.
pub async fn a_dropped_replacement_is_all_or_nothing(h: &impl Harness) {
    all_or_nothing(h, Round::new, Round::enqueue_some, Round::replace).await;
}

/// Asked again under the same lease it gets all that it has, whether or not the first had arrived.
pub async fn a_dropped_claim_is_all_or_nothing(h: &impl Harness) {
    all_or_nothing(h, Round::new, Round::join, Round::claim).await;
}

/// All of its jobs are settled or none, and each once.
pub async fn a_dropped_settlement_is_all_or_nothing(h: &impl Harness) {
    all_or_nothing(h, Round::new, Round::join_and_claim, Round::settle).await;
}

/// And with them those go on, or are cancelled, that wait for them.
pub async fn a_dropped_settlement_of_a_flow_is_all_or_nothing(h: &impl Harness) {
    all_or_nothing(h, Round::of_a_flow, Round::join_and_claim, Round::settle).await;
}

/// All of it is there, blocked jobs too, or nothing.
pub async fn a_dropped_enqueue_of_a_flow_is_all_or_nothing(h: &impl Harness) {
    all_or_nothing(h, Round::of_a_flow, async |_, _| {}, Round::enqueue).await;
}

/// The worker is there with its jobs, or has left.
pub async fn a_dropped_leave_is_all_or_nothing(h: &impl Harness) {
    all_or_nothing(h, Round::new, Round::join_and_claim, Round::leave).await;
}

/// Each crash is counted once.
pub async fn a_dropped_rescue_is_all_or_nothing(h: &impl Harness) {
    let die = async |round: Round, store: Store| {
        round.join_and_claim(store).await;
        h.clock().advance(HOUR);
    };
    // While the call that was dropped is at it, others may leave the worker to it.
    let rescue = async |round: Round, store: Store| {
        let queue = Some(&round.claim.queue);
        while ok(store.counts(queue).await).leased > 0 {
            rescue(&store, 9).await;
            tokio::task::yield_now().await;
        }
    };
    all_or_nothing(h, Round::new, die, rescue).await;
}
