//! A process that stands still (`SIGSTOP`) for longer than its lease, and wakes up (`SIGCONT`).

use std::time::Duration;

use purlin_idempotency::LeaseLost;
use tokio::time::{Instant, sleep};

use crate::{
    PATIENCE,
    child::Orders,
    ground::{Ground, KEY, Kind},
    process::{Answer, BODY, Received, Server, retry, send},
    say,
    stops::Point,
    work::Mode,
};

/// Of the process that is stopped.
const SHORT: Duration = Duration::from_millis(300);

struct Scene {
    ground: Ground,
    sleeper: Server,
    other: Server,
    pending: tokio::task::JoinHandle<Received>,
}

impl Scene {
    async fn begin(kind: Kind, mode: Mode, lost: LeaseLost, point: Point) -> Option<Self> {
        Self::begin_with(kind, mode, lost, point, None).await
    }

    /// One in which the other process stops too.
    async fn begin_with(
        kind: Kind,
        mode: Mode,
        lost: LeaseLost,
        point: Point,
        other_point: Option<Point>,
    ) -> Option<Self> {
        let ground = Ground::create(kind).await?;
        let mut orders = Orders::new(&ground.place, mode, lost);
        let stopping = orders.clone().stopping(point).with_lease_ttl(SHORT);
        let mut sleeper = Server::start(&stopping).await;
        orders.stop = other_point;
        let other = Server::start(&orders.impatient()).await;
        let pending = tokio::spawn(send(sleeper.address, KEY, BODY));
        sleeper.stopped().await;
        sleeper.signal("STOP");
        Some(Self {
            ground,
            sleeper,
            other,
            pending,
        })
    }

    /// Wakes the sleeper up, and says what its client gets.
    async fn wake(&mut self) -> Answer {
        self.sleeper.go_on();
        self.sleeper.signal("CONT");
        let answer = (&mut self.pending).await.unwrap();
        answer.expect("the process lives")
    }

    /// The attempts of each process, and the effects.
    async fn end(self) -> (Vec<u64>, Vec<u64>, [i64; 2]) {
        let (sleeper, other) = (self.sleeper.kill().await, self.other.kill().await);
        (sleeper, other, self.ground.effects().await)
    }

    async fn until_lapsed(&self) {
        let begun = Instant::now();
        while !self.ground.is_lapsed().await {
            assert!(begun.elapsed() < PATIENCE);
            sleep(Duration::from_millis(10)).await;
        }
    }
}

fn report(kind: Kind, mode: Mode, lost: LeaseLost, point: Point, saw: &str) {
    let point = point.name();
    say(&format!(
        "| {kind:?} | {mode:?}, {lost:?} | stopped at {point} | {saw} |"
    ));
}

/// Somebody else does the work; what the sleeper completes is refused.
async fn is_fenced(kind: Kind, mode: Mode) {
    let points = [Point::InHandler, Point::Written];
    for point in points {
        // A writer of SQLite that stands still keeps all others out.
        if kind == Kind::Sqlite && mode == Mode::CompleteIn && point == Point::Written {
            continue;
        }
        let lost = LeaseLost::Reexecute;
        let Some(mut scene) = Scene::begin(kind, mode, lost, point).await else {
            return;
        };
        let answer = retry(scene.other.address, KEY).await;
        assert_eq!((answer.status.as_u16(), answer.replayed), (201, false));
        let late = scene.wake().await;
        assert_eq!(
            late.body, answer.body,
            "{kind:?} {mode:?} {point:?}: {late:?}"
        );
        assert!(late.replayed);
        let again = retry(scene.other.address, KEY).await;
        assert_eq!(again.body, answer.body);
        let (sleeper, other, effects) = scene.end().await;
        assert_eq!((sleeper, other), (vec![1], vec![2]));
        // Without the transaction nobody undoes what the sleeper has written.
        let expected = if mode == Mode::CompleteIn { 1 } else { 2 };
        assert_eq!(effects, [expected; 2], "{kind:?} {mode:?} {point:?}");
        let saw = format!(
            "taken over as attempt 2; awake: {}; effects {effects:?}",
            late.word()
        );
        report(kind, mode, lost, point, &saw);
    }
}

/// Somebody else is still at the work when the sleeper wakes up.
async fn does_not_end_the_work_of_another(kind: Kind, mode: Mode) {
    let (lost, point) = (LeaseLost::Reexecute, Point::InHandler);
    let scene = Scene::begin_with(kind, mode, lost, point, Some(point)).await;
    let Some(mut scene) = scene else { return };
    let taking_over = tokio::spawn(retry(scene.other.address, KEY));
    scene.other.stopped().await;
    let late = scene.wake().await;
    assert!(
        late.is("idempotency-in-flight"),
        "{kind:?} {mode:?}: {late:?}"
    );
    assert_eq!(scene.ground.completed().await, 0, "{kind:?} {mode:?}");
    scene.other.go_on();
    let answer = taking_over.await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.replayed), (201, false));
    let again = retry(scene.sleeper.address, KEY).await;
    assert_eq!((again.body, again.replayed), (answer.body, true));
    let (sleeper, other, effects) = scene.end().await;
    assert_eq!((sleeper, other), (vec![1], vec![2]));
    let expected = if mode == Mode::CompleteIn { 1 } else { 2 };
    assert_eq!(effects, [expected; 2], "{kind:?} {mode:?}");
    let saw = format!(
        "taken over as attempt 2; awake while that works: {}; effects {effects:?}",
        late.word()
    );
    report(kind, mode, lost, point, &saw);
}

/// Nobody else does the work, and the sleeper completes it after all.
async fn is_not_executed_again(kind: Kind, mode: Mode) {
    let (lost, point) = (LeaseLost::Indeterminate, Point::InHandler);
    let Some(mut scene) = Scene::begin(kind, mode, lost, point).await else {
        return;
    };
    let answer = retry(scene.other.address, KEY).await;
    assert!(answer.is("idempotency-indeterminate"), "{answer:?}");
    let late = scene.wake().await;
    assert_eq!((late.status.as_u16(), late.replayed), (201, false));
    let again = retry(scene.other.address, KEY).await;
    assert_eq!((again.body, again.replayed), (late.body.clone(), true));
    let (sleeper, other, effects) = scene.end().await;
    assert_eq!((sleeper, other, effects), (vec![1], vec![], [1, 1]));
    let saw = format!(
        "elsewhere {}; awake: {}, then replayed; effects {effects:?}",
        answer.word(),
        late.word()
    );
    report(kind, mode, lost, point, &saw);
}

/// Nobody takes the work over from a transaction that is about to end it, lapsed or not.
async fn is_not_overtaken(kind: Kind, mode: Mode, point: Point) {
    let lost = LeaseLost::Reexecute;
    let Some(mut scene) = Scene::begin(kind, mode, lost, point).await else {
        return;
    };
    if mode != Mode::Transactional {
        scene.until_lapsed().await;
    }
    let answer = send(scene.other.address, KEY, BODY).await.unwrap();
    let locked = kind == Kind::Sqlite && answer.is("store-unavailable");
    assert!(answer.is("idempotency-in-flight") || locked, "{answer:?}");
    let late = scene.wake().await;
    assert_eq!((late.status.as_u16(), late.replayed), (201, false));
    let again = retry(scene.other.address, KEY).await;
    assert_eq!((again.body, again.replayed), (late.body.clone(), true));
    let (sleeper, other, effects) = scene.end().await;
    assert_eq!((sleeper, other, effects), (vec![1], vec![], [1, 1]));
    let saw = format!(
        "elsewhere {}; awake: {}, then replayed; effects {effects:?}",
        answer.word(),
        late.word()
    );
    report(kind, mode, lost, point, &saw);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_was_taken_over_is_fenced() {
    tokio::join!(
        is_fenced(Kind::Postgres, Mode::Leased),
        is_fenced(Kind::Postgres, Mode::CompleteIn),
        is_fenced(Kind::Sqlite, Mode::Leased),
        is_fenced(Kind::Sqlite, Mode::CompleteIn),
        is_fenced(Kind::Redis, Mode::Leased),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_that_is_being_worked_on_is_fenced() {
    tokio::join!(
        does_not_end_the_work_of_another(Kind::Postgres, Mode::Leased),
        does_not_end_the_work_of_another(Kind::Postgres, Mode::CompleteIn),
        does_not_end_the_work_of_another(Kind::Sqlite, Mode::Leased),
        does_not_end_the_work_of_another(Kind::Sqlite, Mode::CompleteIn),
        does_not_end_the_work_of_another(Kind::Redis, Mode::Leased),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_indeterminate_lease_is_left_to_its_owner() {
    tokio::join!(
        is_not_executed_again(Kind::Postgres, Mode::Leased),
        is_not_executed_again(Kind::Postgres, Mode::CompleteIn),
        is_not_executed_again(Kind::Sqlite, Mode::Leased),
        is_not_executed_again(Kind::Sqlite, Mode::CompleteIn),
        is_not_executed_again(Kind::Redis, Mode::Leased),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_stands_still_is_not_overtaken() {
    tokio::join!(
        is_not_overtaken(Kind::Postgres, Mode::CompleteIn, Point::Joined),
        is_not_overtaken(Kind::Postgres, Mode::Transactional, Point::Written),
        is_not_overtaken(Kind::Sqlite, Mode::CompleteIn, Point::Joined),
        is_not_overtaken(Kind::Sqlite, Mode::Transactional, Point::Written),
    );
}
