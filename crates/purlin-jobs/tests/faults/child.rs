//! The processes that are killed: this test binary, run again.

use std::io::BufRead as _;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use purlin_jobs::{Event, JobId, NewJob, Observer, QueueName, Worker, handler_fn};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::ground::{Open, Place};
use crate::log::Log;
use crate::stops::{Point, Stops, Watched};
use crate::tell;
use crate::work::{Act, Hand, Work, job, victim, victim_that};

pub(crate) const VARIABLE: &str = "PURLIN_JOBS_CHILD";

/// What it is told.
pub(crate) const GO_ON: &str = "go on";
pub(crate) const UNBLOCK: &str = "unblock";
pub(crate) const SHUT_DOWN: &str = "shut down";

/// How many jobs a process enqueues in one call.
pub(crate) const MANY: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    Worker,
    /// Enqueues the victim in a transaction, which it commits when the test lets it go on.
    EnqueuesIn,
    /// Enqueues many jobs at a time, over and over.
    EnqueuesMany,
}

/// What a process is told of its work.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Orders {
    pub(crate) place: Place,
    role: Role,
    stop: Option<Point>,
    lease: Duration,
    slots: usize,
    connections: u32,
    poll: Duration,
    is_one_thread: bool,
}

impl Orders {
    pub(crate) fn new(place: &Place, role: Role) -> Self {
        Self {
            place: place.clone(),
            role,
            stop: None,
            lease: crate::LONG_LEASE,
            slots: 4,
            connections: 3,
            poll: Duration::from_millis(200),
            is_one_thread: false,
        }
    }

    /// A worker that is to live.
    pub(crate) fn worker(place: &Place) -> Self {
        Self::new(place, Role::Worker)
    }

    /// A worker that is to die at this point, or to stand still there.
    pub(crate) fn dying(place: &Place, stop: Option<Point>) -> Self {
        Self {
            stop,
            lease: crate::SHORT_LEASE,
            ..Self::worker(place)
        }
    }

    pub(crate) fn stopping(self, point: Point) -> Self {
        Self {
            stop: Some(point),
            ..self
        }
    }

    pub(crate) fn with_lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    pub(crate) fn with_slots(self, slots: usize) -> Self {
        Self { slots, ..self }
    }

    /// Finds jobs by their notifications, or not at all as far as the test is patient.
    pub(crate) fn without_polling(self) -> Self {
        Self {
            poll: 10 * crate::PATIENCE,
            ..self
        }
    }

    pub(crate) fn on_one_thread(self) -> Self {
        Self {
            is_one_thread: true,
            ..self
        }
    }

    pub(crate) fn to_env(&self) -> String {
        serde_json::to_string(self).unwrap()
    }
}

#[test]
#[ignore = "run and killed by other tests, in processes of its own"]
fn child() {
    let Ok(orders) = std::env::var(VARIABLE) else {
        return;
    };
    let orders: Orders = serde_json::from_str(&orders).unwrap();
    let mut runtime = if orders.is_one_thread {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(obey(orders));
}

async fn obey(orders: Orders) {
    let stops = Stops::new(orders.stop);
    let told = Told::default();
    let shut_down = Arc::new(Notify::new());
    listen(Arc::clone(&stops), told.clone(), Arc::clone(&shut_down));
    let open = orders.place.open(orders.connections).await;
    let log = Log::open(&orders.place.log).await;
    match orders.role {
        Role::EnqueuesIn => enqueue_in(&open, &stops).await,
        Role::EnqueuesMany => enqueue_many(&open, &log).await,
        Role::Worker => {
            let store = Watched {
                store: open.store(),
                stops: Arc::clone(&stops),
                log: log.clone(),
            };
            let hand = Hand {
                open,
                stops,
                log,
                told,
            };
            let handler = handler_fn(move |work: Work, context| hand.clone().run(work, context));
            let worker = Worker::new(store)
                .register(handler)
                .with_queue(QueueName::DEFAULT, orders.slots)
                .with_lease_ttl(orders.lease)
                .with_poll_interval(orders.poll)
                .with_rescue_interval(Duration::from_millis(200))
                .with_observer(Teller);
            let handle = worker.handle();
            let shut_down = async {
                tell("works");
                shut_down.notified().await;
                // Whatever it has met, no loop of it has stopped.
                while !handle.health().is_healthy() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                tell("is healthy");
            };
            worker.run_until(shut_down).await.unwrap();
            tell("has left");
        }
    }
}

fn listen(stops: Arc<Stops>, told: Told, shut_down: Arc<Notify>) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            match &*line.unwrap() {
                GO_ON => stops.go_on(),
                UNBLOCK => told.unblock(),
                SHUT_DOWN => shut_down.notify_one(),
                line => panic!("not an order: {line}"),
            }
        }
        // The test is gone.
        std::process::exit(1);
    });
}

/// What lets a handler go on that blocks its thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told(Arc<(Mutex<bool>, Condvar)>);

impl Told {
    fn unblock(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    pub(crate) fn block(&self) {
        let told = self.0.0.lock().unwrap();
        drop(self.0.1.wait_while(told, |told| !*told).unwrap());
    }
}

#[derive(Debug)]
struct Teller;

impl Observer for Teller {
    fn on_event(&self, event: &Event<'_>) {
        match event {
            Event::LeaseLost { .. } | Event::Rescued { .. } | Event::LoopRestarted { .. } => {
                tell(&format!("event {}", event.name()));
            }
            Event::StoreFailed { part, .. } => tell(&format!("event store_failed {part}")),
            Event::Settled { job, .. } if job.id == victim() => tell(event.name()),
            _ => {}
        }
    }
}

async fn enqueue_in(open: &Open, stops: &Stops) {
    let mut transaction = open.begin().await;
    transaction.enqueue(victim_that(Act::Work)).await;
    stops.at(Point::Enqueued).await;
    transaction.commit().await.unwrap();
    stops.at(Point::Committed).await;
}

async fn enqueue_many(open: &Open, log: &Log) {
    loop {
        let jobs: Vec<_> = (0..MANY).map(|_| job(Act::Work)).collect();
        let ids: Vec<JobId> = jobs.iter().map(NewJob::id).collect();
        tell("enqueues");
        open.enqueue_many(jobs).await.unwrap();
        // One of them says it of all: all were added, or none.
        log.enqueued([ids[0]]).await;
        tell("enqueued");
    }
}
