//! A thousand identical requests to two processes.

use purlin_idempotency::LeaseLost;
use tokio::task::JoinSet;

use crate::{
    PATIENCE,
    child::Orders,
    ground::{Ground, KEY, Kind},
    process::{Server, retry},
    say,
    work::Mode,
};

const REQUESTS: usize = 1_000;

async fn storm(kind: Kind, mode: Mode) {
    let Some(ground) = Ground::create(kind).await else {
        return;
    };
    // A loaded machine lets no lease lapse.
    let mut orders = Orders::new(&ground.place, mode, LeaseLost::Indeterminate);
    orders.setup.lease_ttl = PATIENCE;
    let servers = [Server::start(&orders).await, Server::start(&orders).await];
    let mut requests = JoinSet::new();
    for n in 0..REQUESTS {
        requests.spawn(retry(servers[n % 2].address, KEY));
    }
    let answers = requests.join_all().await;
    let first_hand = answers.iter().filter(|answer| !answer.replayed).count();
    for answer in &answers {
        assert_eq!(
            (answer.status.as_u16(), &answer.body),
            (201, &answers[0].body)
        );
    }
    let mut attempts = Vec::new();
    for server in servers {
        attempts.extend(server.kill().await);
    }
    assert_eq!((attempts, first_hand), (vec![1], 1), "{kind:?} {mode:?}");
    assert_eq!(ground.effects().await, [1, 1]);
    say(&format!(
        "| {kind:?} | {mode:?} | {REQUESTS} requests to two processes | 1 execution, {REQUESTS} times its answer |"
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_executes_once() {
    storm(Kind::Postgres, Mode::Transactional).await;
    storm(Kind::Postgres, Mode::Leased).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite_executes_once() {
    storm(Kind::Sqlite, Mode::Transactional).await;
    storm(Kind::Sqlite, Mode::Leased).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_executes_once() {
    storm(Kind::Redis, Mode::Leased).await;
}
