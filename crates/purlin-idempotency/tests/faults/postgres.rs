//! Postgres servers that stop, die, freeze and come back, connections that break, and pools that are
//! empty, under a service in this process.

use purlin_idempotency::LeaseLost;
use purlin_testkit::{FaultProxy, PostgresServer};
use tokio::task::JoinSet;

use crate::{
    ground::{Ground, Kind, Open, Place},
    scene::{STORE_TIMEOUT, Scene, ask, ended},
    stops::Point,
    work::Mode,
};

const MODES: [Mode; 3] = [Mode::Transactional, Mode::Leased, Mode::CompleteIn];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Break {
    Kill,
    Stop,
    Freeze,
}

impl Break {
    fn begin(self, server: &mut PostgresServer) {
        match self {
            Self::Kill => server.kill(),
            Self::Stop => server.stop(),
            Self::Freeze => server.freeze(),
        }
    }

    fn end(self, server: &mut PostgresServer) {
        match self {
            Self::Kill | Self::Stop => server.restart(),
            Self::Freeze => server.thaw(),
        }
    }
}

fn name(what: &str, mode: Mode, point: Point) -> String {
    format!("Postgres: {what} | {mode:?} | {}", point.name())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_breaks_under_requests_and_comes_back() {
    let Some(mut server) = PostgresServer::start() else {
        return;
    };
    for how in [Break::Kill, Break::Stop, Break::Freeze] {
        let mut scenes = Vec::new();
        for mode in MODES {
            for point in [Point::BeforeClaim, Point::InHandler, Point::Written] {
                // A statement that a frozen server has in its socket is executed when it thaws, and
                // outside of a transaction nobody undoes it.
                if how == Break::Freeze && mode == Mode::Leased && point == Point::InHandler {
                    continue;
                }
                let schema = format!("{how:?}{}", scenes.len()).to_lowercase();
                let ground = Ground::on_postgres(&server.url(), &schema).await;
                let place = Place {
                    // A handler waits for a connection that long while the server is down.
                    server_timeout: STORE_TIMEOUT,
                    ..ground.place.clone()
                };
                let open = place.open(2).await;
                let name = name(&format!("{how:?}"), mode, point);
                let mut setup = Scene::setup(mode, Some(point));
                if how == Break::Freeze {
                    // A claim that a frozen server has in its socket is made when it thaws, perhaps
                    // after it was undone.
                    setup.lease_lost = LeaseLost::Reexecute;
                    if mode != Mode::Leased {
                        // A handler waits for a reply for as long as it is let.
                        setup.max_execution = 4 * STORE_TIMEOUT;
                    }
                }
                scenes.push(Scene::with(setup, name, ground, &open, Some(point)));
            }
        }
        let mut tasks = Vec::new();
        for scene in &scenes {
            tasks.push(scene.begin().await);
        }
        how.begin(&mut server);
        for scene in &scenes {
            scene.stops.go_on();
        }
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(ended(task).await);
        }
        how.end(&mut server);
        for (scene, first) in scenes.iter().zip(&answers) {
            scene.recover(first).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_restarts_while_nothing_happens() {
    let Some(mut server) = PostgresServer::start() else {
        return;
    };
    let mut scenes = Vec::new();
    for mode in MODES {
        let schema = format!("{mode:?}").to_lowercase();
        let ground = Ground::on_postgres(&server.url(), &schema).await;
        let open = ground.place.open(2).await;
        let name = format!("Postgres: restarted between two requests | {mode:?} | idle");
        scenes.push(Scene::new(name, ground, &open, mode, None));
    }
    let mut answers = Vec::new();
    for scene in &scenes {
        answers.push(ask(scene.service.clone()).await);
    }
    server.kill();
    server.restart();
    for (scene, first) in scenes.iter().zip(&answers) {
        assert_eq!(first.status.as_u16(), 201);
        scene.recover(first).await;
    }
}

/// Each reply to the claim or to the completion is lost, one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_of_postgres_is_lost() {
    let mut running = JoinSet::new();
    for mode in MODES {
        for point in [Point::BeforeClaim, Point::Written] {
            running.spawn(lose_each_reply(mode, point));
        }
    }
    running.join_all().await;
}

async fn lose_each_reply(mode: Mode, point: Point) {
    // The replies after these are those to the handler.
    let replies = match (mode, point) {
        (Mode::Leased | Mode::CompleteIn, Point::BeforeClaim) => 3,
        _ => 6,
    };
    let (mut unknown, mut executed, mut replayed) = (0, 0, 0);
    for n in 1..=replies {
        let Some(ground) = Ground::create(Kind::Postgres).await else {
            return;
        };
        let proxy = FaultProxy::before(&ground.place.url).await;
        let place = Place {
            url: proxy.url(&ground.place.url),
            ..ground.place.clone()
        };
        let open = place.open(1).await;
        let name = name(&format!("reply {n} from there lost"), mode, point);
        let scene = Scene::new(name, ground, &open, mode, Some(point));
        let task = scene.begin().await;
        proxy.cut_in_reply(n);
        scene.stops.go_on();
        let first = ended(task).await;
        proxy.pass();
        let answer = scene.recover(&first).await;
        match (first.status.as_u16(), first.replayed, answer.replayed) {
            (201, false, _) => {}
            // The handler's commit has failed, and the record says that it has not.
            (201, true, _) => replayed += 1,
            (_, _, true) => (unknown, replayed) = (unknown + 1, replayed + 1),
            (_, _, false) => (unknown, executed) = (unknown + 1, executed + 1),
        }
    }
    match (mode, point) {
        // The answer is recorded later, and the client need not know.
        (Mode::Leased, Point::Written) => assert_eq!(unknown, 0),
        (_, Point::Written) => assert!(
            executed > 0 && replayed > 0,
            "{mode:?} {point:?}: {executed} executed, {replayed} replayed"
        ),
        _ => assert!(executed > 0, "{mode:?} {point:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_is_free() {
    for mode in MODES {
        let Some(ground) = Ground::create(Kind::Postgres).await else {
            return;
        };
        let open = ground.place.open(1).await;
        let Open::Postgres { pool, .. } = &open else {
            unreachable!("it is Postgres");
        };
        let name = format!(
            "Postgres: no free connection | {mode:?} | {}",
            Point::BeforeClaim.name()
        );
        let held = pool.acquire().await.unwrap();
        let scene = Scene::new(name, ground, &open, mode, None);
        let first = ask(scene.service.clone()).await;
        assert!(first.is("idempotency-store-unavailable"), "{first:?}");
        drop(held);
        scene.recover(&first).await;
    }
}
