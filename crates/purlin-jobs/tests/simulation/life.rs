//! A worker from its start to its end, and what happens to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use purlin_jobs::testing::{Call, Fault, FaultyStore};
use purlin_jobs::{Backoff, Emptied, Job as _, QueueName, Worker, WorkerHandle, handler_fn};
use purlin_store::StoreErrorKind;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::checked::Checked;
use crate::gated::Gated;
use crate::handler::{Other, Task, handle};
use crate::world::{Phase, World};

pub(crate) fn queue(n: usize) -> QueueName {
    QueueName::new(["a", "b"][n]).unwrap()
}

pub(crate) struct Life {
    pub(crate) number: u64,
    is_ending: AtomicBool,
    frozen_until: Mutex<Option<Instant>>,
    /// The last call that does not come back, or not soon: when it was made, and until when it takes.
    slow: Mutex<Option<(Instant, Option<Instant>)>>,
    /// After so many heartbeats they do not come through for a while, and the last one is answered late.
    beats_left: Mutex<Option<u32>>,
    /// After so many calls its worker is killed.
    calls_left: Mutex<Option<u32>>,
    killed: Notify,
}

/// How many heartbeats do not come through: enough for any lease.
const OUTAGE: u32 = 100;

/// How long a worker may need, once it goes on, to find that it has lost its leases.
const LAG: Duration = Duration::from_secs(2);

impl Life {
    fn new(number: u64) -> Self {
        Self {
            number,
            is_ending: AtomicBool::new(false),
            frozen_until: Mutex::default(),
            slow: Mutex::default(),
            beats_left: Mutex::default(),
            calls_left: Mutex::default(),
            killed: Notify::new(),
        }
    }

    /// Whether it comes to an end, and may give back what it has.
    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    fn end(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    pub(crate) fn frozen_until(&self) -> Option<Instant> {
        let until = *self.frozen_until.lock().unwrap();
        until.filter(|until| Instant::now() < *until)
    }

    /// Whether it is frozen or was a moment ago: then it may not know yet what it has lost.
    pub(crate) fn may_lag(&self) -> bool {
        let until = *self.frozen_until.lock().unwrap();
        until.is_some_and(|until| Instant::now() < until + LAG)
    }

    /// What becomes of a heartbeat in a life whose heartbeats fail at some time.
    fn heartbeat(&self, world: &World) -> Option<Fault> {
        let mut left = self.beats_left.lock().unwrap();
        let left = left.as_mut().filter(|_| world.phase() == Phase::Chaos)?;
        *left = left.saturating_sub(1);
        let ttl = world.lease_ttl.as_millis() as u64;
        match *left {
            // It counts from when it was sent.
            OUTAGE => {
                let (now, slow) = (Instant::now(), world.dice.millis(0..ttl * 3 / 4));
                *self.slow.lock().unwrap() = Some((now, Some(now + slow)));
                Some(Fault::none().with_reply_delay(slow))
            }
            0..OUTAGE if world.dice.chance(500) => Some(Fault::late(world.dice.millis(0..ttl * 2))),
            0..OUTAGE => Some(Fault::refused(StoreErrorKind::Unavailable)),
            _ => None,
        }
    }

    /// What becomes of a call.
    fn fault(&self, world: &World, call: Call) -> Fault {
        let dice = &world.dice;
        if let Some(left) = self.calls_left.lock().unwrap().as_mut() {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.killed.notify_one();
            }
        }
        let mut delay = dice.millis(0..world.latency);
        let now = Instant::now();
        // Clients and operators are numbered below 100; a panic would be theirs.
        let is_worker = self.number >= 100;
        if call == Call::Heartbeat
            && let Some(fault) = self.heartbeat(world)
        {
            return fault;
        }
        let is_faulty = world.phase() == Phase::Chaos && dice.chance(world.faults);
        let mut fault = match dice.below(20) {
            _ if !is_faulty => Fault::none(),
            0..=5 => Fault::refused(StoreErrorKind::Unavailable),
            6..=12 => Fault::reply_lost(),
            13 if is_worker && !matches!(call, Call::Join | Call::Leave) => Fault::panics(),
            14 => {
                *self.slow.lock().unwrap() = Some((now, None));
                [Fault::hangs(), Fault::reply_hangs()][dice.below(2)].clone()
            }
            15 if call != Call::Claim => Fault::late(dice.millis(1..20_000)),
            _ => {
                let slow = dice.millis(100..20_000);
                *self.slow.lock().unwrap() = Some((now, Some(now + slow)));
                if dice.chance(500) {
                    delay += slow;
                    Fault::none()
                } else {
                    Fault::none().with_reply_delay(slow)
                }
            }
        };
        if let Some(until) = self.frozen_until() {
            delay += until - now;
        }
        if !delay.is_zero() {
            fault = fault.with_delay(delay);
        }
        fault
    }

    /// I9: a worker is healthy unless a call does not come back, and then it says so.
    fn check_health(&self, world: &World, handle: &WorkerHandle) {
        let now = Instant::now();
        let health = handle.health();
        let slow = *self.slow.lock().unwrap();
        let long = 2 * health
            .loops
            .iter()
            .map(|it| it.interval)
            .max()
            .unwrap_or_default()
            + LAG;
        if self.may_lag() {
            return;
        }
        match slow {
            // It has not joined, and is not healthy either.
            None | Some((_, Some(_))) if health.loops.is_empty() => {}
            None if !health.is_healthy() => {
                world.violated(format!("it is well, but says {health:?} (I9)"));
            }
            Some((since, None)) if !health.is_healthy() && now - since > long => {
                self.killed.notify_one();
            }
            _ => {}
        }
    }
}

/// How a worker ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Shutdown(Duration),
    /// Dropped after so much time, or in the course of a call.
    Kill(Duration, Option<u32>),
    Empty(Duration),
    /// With the world.
    Over,
}

fn end(world: &World) -> End {
    let dice = &world.dice;
    let time = dice.millis(10..30_000);
    match (world.phase(), dice.below(10)) {
        (Phase::Calm | Phase::Over, _) => End::Over,
        (_, 0..=2) => End::Shutdown(time),
        (_, 3..=4) => End::Kill(time, None),
        (_, 5..=7) => End::Kill(time, Some(dice.below(2_000) as u32)),
        _ => End::Empty(time),
    }
}

pub(crate) fn store(world: &Arc<World>, life: &Arc<Life>) -> FaultyStore<Checked> {
    let checked = Checked {
        inner: world.store.clone(),
        world: Arc::clone(world),
        caller: life.number,
    };
    let (world, life) = (Arc::clone(world), Arc::clone(life));
    FaultyStore::new(checked).with_faults(move |call| life.fault(&world, call))
}

/// A store for somebody who is no worker.
pub(crate) fn client_store(world: &Arc<World>, number: u64) -> FaultyStore<Checked> {
    store(world, &Arc::new(Life::new(number)))
}

fn worker(world: &Arc<World>, life: &Arc<Life>, kinds: usize) -> Worker {
    let dice = &world.dice;
    let beating = Arc::clone(life);
    let mut worker = Worker::new(store(world, life))
        .with_heartbeat_spawner(|heartbeat| {
            drop(tokio::spawn(Gated::new(beating, heartbeat)));
        })
        .with_backoff(Backoff::from_fn(|job| {
            Duration::from_millis(200) * job.attempt.into()
        }))
        .with_lease_ttl(world.lease_ttl)
        .with_grace(Duration::from_secs(2))
        .with_cancel_grace(Duration::from_secs(1));
    for n in 0..2 {
        worker = worker.with_queue(queue(n), 5 + dice.below(40));
    }
    let (here, now) = (Arc::clone(world), Arc::clone(life));
    if kinds != 1 {
        let (here, now) = (Arc::clone(&here), Arc::clone(&now));
        worker = worker.register(handler_fn(move |job: Task, context| {
            handle(Arc::clone(&here), Arc::clone(&now), job.0, context)
        }));
    }
    if kinds != 0 {
        worker = worker.register(handler_fn(move |job: Other, context| {
            handle(Arc::clone(&here), Arc::clone(&now), job.0, context)
        }));
    }
    worker
}

/// Runs a worker until what is to happen to it has happened.
pub(crate) async fn live(world: &Arc<World>, number: u64) {
    let life = Arc::new(Life::new(number));
    let end = end(world);
    let kinds = if matches!(end, End::Over) {
        2
    } else {
        world.dice.below(6)
    };
    let worker = worker(world, &life, kinds);
    let handle = worker.handle();
    world.trace(number, "born", &[]);
    if let End::Kill(_, Some(calls)) = end {
        *life.calls_left.lock().unwrap() = Some(calls + 1);
    }
    if world.dice.chance(200) {
        *life.beats_left.lock().unwrap() = Some(OUTAGE + 1 + world.dice.below(4) as u32);
    }
    let is_watched = matches!(end, End::Kill(..) | End::Over);
    let run = async {
        match end {
            End::Shutdown(after) => {
                let shutdown = async {
                    sleep(after).await;
                    life.end();
                };
                worker.run_until(shutdown).await.map(|()| Emptied::Deadline)
            }
            End::Empty(deadline) => {
                life.end();
                worker.run_until_empty(deadline).await
            }
            End::Kill(..) => worker
                .run_until(std::future::pending::<()>())
                .await
                .map(|()| Emptied::Deadline),
            End::Over => {
                let over = async {
                    world.reached(Phase::Over).await;
                    life.end();
                };
                worker.run_until(over).await.map(|()| Emptied::Deadline)
            }
        }
    };
    let killed = async {
        match end {
            End::Kill(after, None) => sleep(after).await,
            End::Kill(_, Some(_)) => {
                tokio::select! {
                    biased;
                    () = life.killed.notified() => {}
                    () = world.reached(Phase::Calm) => {}
                }
            }
            _ => life.killed.notified().await,
        }
    };
    let watch = async {
        loop {
            sleep(Duration::from_millis(700)).await;
            if is_watched {
                life.check_health(world, &handle);
            }
        }
    };
    let freeze = async {
        if !matches!(end, End::Over) && world.dice.chance(250) {
            sleep(world.dice.millis(0..10_000)).await;
            let until = Instant::now() + world.lease_ttl * (1 + world.dice.below(3) as u32);
            *life.frozen_until.lock().unwrap() = Some(until);
            world.trace(number, "freeze", &[]);
        }
        std::future::pending::<()>().await;
    };
    let since = world.micros();
    tokio::select! {
        biased;
        () = killed => world.trace(number, "killed", &[]),
        ended = run => {
            world.trace(number, "ended", &[ended.is_ok().into()]);
            let kinds: &[&str] = match kinds {
                0 => &[Task::KIND],
                1 => &[Other::KIND],
                _ => &[Task::KIND, Other::KIND],
            };
            if let (End::Empty(_), Ok(Emptied::Empty)) = (end, &ended)
                && let Some(job) = world.overlooked(kinds, since)
            {
                world.violated(format!("life {number} says that nothing is left, but {job} is"));
            }
            if let (End::Over, Err(error)) = (end, ended) {
                world.violated(format!("life {number} could not end: {error}"));
            }
        }
        () = watch => {}
        () = freeze => {}
    }
}
