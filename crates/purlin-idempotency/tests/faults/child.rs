//! The server that is killed: this test binary, run again.

use std::{io::BufRead as _, sync::Arc, time::Duration};

use http::Request;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use purlin_idempotency::LeaseLost;
use tokio::net::TcpListener;
use tower::{ServiceExt as _, service_fn};

use crate::{
    ground::Place,
    stops::{Point, Stops},
    tell,
    work::{Mode, Setup, service},
};

/// What a process is told.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    pub(crate) place: Place,
    pub(crate) setup: Setup,
    pub(crate) stop: Option<Point>,
}

pub(crate) const VARIABLE: &str = "PURLIN_IDEMPOTENCY_CHILD";

impl Orders {
    pub(crate) fn new(place: &Place, mode: Mode, lease_lost: LeaseLost) -> Self {
        Self {
            place: place.clone(),
            setup: Setup::new(mode, lease_lost),
            stop: None,
        }
    }

    pub(crate) fn with_lease_ttl(mut self, ttl: Duration) -> Self {
        self.setup.lease_ttl = ttl;
        self
    }

    pub(crate) fn stopping(mut self, point: Point) -> Self {
        self.stop = Some(point);
        self
    }

    pub(crate) fn to_env(&self) -> String {
        let stop = self.stop.map_or_else(String::new, |stop| stop.to_string());
        let Setup {
            mode,
            lease_lost,
            lease_ttl,
            ..
        } = self.setup;
        let millis = lease_ttl.as_millis();
        format!(
            "{mode:?} {lease_lost:?} {millis} {stop} {}",
            self.place.to_env()
        )
    }

    fn from_env(text: &str) -> Self {
        let [mode, lease_lost, millis, stop, place] = text.splitn(5, ' ').collect::<Vec<_>>()[..]
        else {
            panic!("no orders: {text}");
        };
        let mode = match mode {
            "Transactional" => Mode::Transactional,
            "Leased" => Mode::Leased,
            "CompleteIn" => Mode::CompleteIn,
            _ => panic!("not a mode: {mode}"),
        };
        let lease_lost = match lease_lost {
            "Indeterminate" => LeaseLost::Indeterminate,
            "Reexecute" => LeaseLost::Reexecute,
            _ => panic!("not a policy: {lease_lost}"),
        };
        let orders = Self::new(&Place::from_env(place), mode, lease_lost)
            .with_lease_ttl(Duration::from_millis(millis.parse().unwrap()));
        Self {
            stop: (!stop.is_empty()).then(|| stop.parse().unwrap()),
            ..orders
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run and killed by other tests, in processes of its own"]
async fn serving_child() {
    let Ok(orders) = std::env::var(VARIABLE) else {
        return;
    };
    let orders = Orders::from_env(&orders);
    let stops = Stops::new(orders.stop);
    let in_thread = Arc::clone(&stops);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            assert_eq!(line.unwrap(), "go on");
            in_thread.go_on();
        }
        // The test is gone.
        std::process::exit(1);
    });
    let open = orders.place.open(3).await;
    let service = service(&open, orders.setup, Arc::clone(&stops));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    tell(&format!("listening {}", listener.local_addr().unwrap()));
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (service, stops) = (service.clone(), Arc::clone(&stops));
        let service = service_fn(move |request: Request<Incoming>| {
            let (service, stops) = (service.clone(), Arc::clone(&stops));
            async move {
                let response = service.oneshot(request).await;
                stops.at(Point::BeforeAnswer).await;
                response
            }
        });
        let service = TowerToHyperService::new(service);
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // A client that is gone is an error of its connection.
            let _ = connection.await;
        });
    }
}
