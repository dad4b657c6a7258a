//! One request to a service in this process, whose server is broken by the test.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use purlin_idempotency::LeaseLost;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};
use tower::ServiceExt as _;

use crate::{
    PATIENCE,
    ground::{Ground, KEY, Open},
    process::{Answer, BODY},
    say,
    stops::{Point, Stops},
    work::{Mode, Served, Setup, serve},
};

/// The deadline of a call to the store.
pub(crate) const STORE_TIMEOUT: Duration = Duration::from_millis(500);

/// One request under way, in a service of its own.
pub(crate) struct Scene {
    name: String,
    ground: Ground,
    pub(crate) service: Served<Full<Bytes>>,
    pub(crate) stops: Arc<Stops>,
}

impl Scene {
    /// Where nothing was begun, or all is done, no lease may end as one whose outcome is not known.
    pub(crate) fn setup(mode: Mode, point: Option<Point>) -> Setup {
        let lease_lost = match (mode, point) {
            (_, Some(Point::BeforeClaim)) | (Mode::Leased, Some(Point::Written)) => {
                LeaseLost::Indeterminate
            }
            _ => LeaseLost::Reexecute,
        };
        let mut setup = Setup::new(mode, lease_lost);
        setup.store_timeout = STORE_TIMEOUT;
        setup
    }

    /// A service that reaches the store through `open`.
    pub(crate) fn new(
        name: String,
        ground: Ground,
        open: &Open,
        mode: Mode,
        point: Option<Point>,
    ) -> Self {
        Self::with(Self::setup(mode, point), name, ground, open, point)
    }

    pub(crate) fn with(
        setup: Setup,
        name: String,
        ground: Ground,
        open: &Open,
        point: Option<Point>,
    ) -> Self {
        let stops = Stops::new(point);
        Self {
            name,
            ground,
            service: serve(open, setup, Arc::clone(&stops)).service,
            stops,
        }
    }

    /// A request that has come to the point where the service stands still.
    pub(crate) async fn begin(&self) -> JoinHandle<Answer> {
        let task = tokio::spawn(ask(self.service.clone()));
        self.stops.stopped().await;
        task
    }

    /// Retries until the effect is there, and that there is only one.
    pub(crate) async fn recover(&self, first: &Answer) -> Answer {
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

pub(crate) async fn ask(service: Served<Full<Bytes>>) -> Answer {
    let request = Request::post("/payments")
        .header("idempotency-key", KEY)
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

/// It ends, whatever has happened to the server.
pub(crate) async fn ended(task: JoinHandle<Answer>) -> Answer {
    let answer = timeout(PATIENCE, task).await;
    answer.expect("a request ends").unwrap()
}
