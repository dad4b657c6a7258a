//! Postgres servers that stop, die, freeze and come back, connections that break, and pools that are
//! empty, under a service in this process.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use purlin_idempotency::LeaseLost;
use purlin_testkit::{FaultProxy, PostgresServer};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, timeout},
};
use tower::ServiceExt as _;

use crate::{
    PATIENCE,
    ground::{Ground, Kind, Open, Place},
    process::{Answer, BODY},
    say,
    stops::{Point, Stops},
    work::{Mode, Served, Setup, service},
};

/// The deadline of a call to the store.
const STORE_TIMEOUT: Duration = Duration::from_millis(500);

const MODES: [Mode; 3] = [Mode::Transactional, Mode::Leased, Mode::CompleteIn];

/// One request under way, in a service of its own.
struct Scene {
    name: String,
    ground: Ground,
    service: Served<Full<Bytes>>,
    stops: Arc<Stops>,
}

impl Scene {
    /// A service that reaches the store through `open`.
    fn new(name: String, ground: Ground, open: &Open, mode: Mode, point: Option<Point>) -> Self {
        let mut setup = Setup::new(mode, LeaseLost::Reexecute);
        setup.store_timeout = STORE_TIMEOUT;
        // A handler waits for the database for as long as it is let. That is also how long an answer
        // is kept in memory that cannot be recorded.
        if (mode, point) != (Mode::Leased, Some(Point::Written)) {
            setup.max_execution = 6 * STORE_TIMEOUT;
        }
        let stops = Stops::new(point);
        Self {
            name,
            ground,
            service: service(open, setup, Arc::clone(&stops)),
            stops,
        }
    }

    /// A request that has come to the point where the service stands still.
    async fn begin(&self) -> JoinHandle<Answer> {
        let task = tokio::spawn(ask(self.service.clone()));
        self.stops.stopped().await;
        task
    }

    /// Retries until the effect is there, and that there is only one.
    async fn recover(&self, first: &Answer) -> Answer {
        let begun = Instant::now();
        let answer = loop {
            let answer = ask(self.service.clone()).await;
            if answer.is_definite() {
                break answer;
            }
            let name = &self.name;
            assert!(begun.elapsed() < PATIENCE, "{name}: {answer:?}");
            sleep(Duration::from_millis(20)).await;
        };
        let name = &self.name;
        assert_eq!(answer.status.as_u16(), 201, "{name}: {first:?}, {answer:?}");
        assert_eq!(self.ground.effects().await, [1, 1], "{name}: {first:?}");
        assert_eq!(self.ground.completed().await, 1, "{name}: {first:?}");
        if first.status.as_u16() == 201 {
            assert_eq!(first.body, answer.body, "{name}");
            assert!(answer.replayed, "{name}: {answer:?}");
        }
        self.report(first, &answer);
        answer
    }

    fn report(&self, first: &Answer, answer: &Answer) {
        let (name, first, answer) = (&self.name, first.word(), answer.word());
        say(&format!("| {name} | {first} | {answer} | 1+1 |"));
    }
}

async fn ask(service: Served<Full<Bytes>>) -> Answer {
    let request = Request::post("/payments")
        .header("idempotency-key", "k")
        .body(Full::from(BODY))
        .unwrap();
    let response = timeout(PATIENCE, service.oneshot(request)).await;
    let (head, body) = response.expect("a request ends").unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status,
        replayed: head.headers.contains_key("idempotent-replayed"),
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

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

/// It ends, whatever has happened to the server.
async fn ended(task: JoinHandle<Answer>) -> Answer {
    let answer = timeout(PATIENCE, task).await;
    answer.expect("a request ends").unwrap()
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
                let ground = Ground::on_postgres(&server.url()).await;
                let open = ground.place.open(2).await;
                let name = name(&format!("{how:?}"), mode, point);
                scenes.push(Scene::new(name, ground, &open, mode, Some(point)));
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
        let ground = Ground::on_postgres(&server.url()).await;
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
    // The replies after these are those to writes of the handler, which nobody undoes.
    let replies = match (mode, point) {
        (Mode::Leased, Point::BeforeClaim) => 3,
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
        if first.status.as_u16() != 201 {
            unknown += 1;
            *(if answer.replayed {
                &mut replayed
            } else {
                &mut executed
            }) += 1;
        }
    }
    match (mode, point) {
        // The answer is recorded later, and the client need not know.
        (Mode::Leased, Point::Written) => assert_eq!(unknown, 0),
        (_, Point::Written) => assert!(executed > 0 && replayed > 0, "{mode:?} {point:?}"),
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
