//! The server that is killed: this test binary, run again.

use std::{
    convert::Infallible, future::ready, io::BufRead as _, pin::pin, sync::Arc, time::Duration,
};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use purlin_idempotency::{InFlight, LeaseLost};
use tokio::{net::TcpListener, select, sync::Notify, task::yield_now};
use tower::{ServiceExt as _, service_fn};

use crate::{
    ground::Place,
    stops::{Point, Stops},
    tell,
    work::{Mode, Served, Serving, Setup, serve},
};

/// What a process is told.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    pub(crate) place: Place,
    pub(crate) setup: Setup,
    pub(crate) stop: Option<Point>,
}

pub(crate) const VARIABLE: &str = "PURLIN_IDEMPOTENCY_CHILD";

/// What it is told.
pub(crate) const GO_ON: &str = "go on";
pub(crate) const SHUT_DOWN: &str = "shut down";

/// What it says when a request has come.
pub(crate) const RECEIVED: &str = "received";
/// What it says when it waits for what it is at work on, to end then.
pub(crate) const DRAINS: &str = "drains";

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

    pub(crate) fn waiting(mut self, timeout: Duration) -> Self {
        self.setup.in_flight = InFlight::Wait { timeout };
        self
    }

    /// Gives up soon when a writer of SQLite stands still.
    pub(crate) fn impatient(mut self) -> Self {
        self.place.busy_timeout = Duration::from_millis(500);
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
            in_flight,
            ..
        } = self.setup;
        let ttl = lease_ttl.as_millis();
        let wait = match in_flight {
            InFlight::Reject => String::new(),
            InFlight::Wait { timeout } => timeout.as_millis().to_string(),
        };
        let place = self.place.to_env();
        format!("{mode:?} {lease_lost:?} {ttl} {wait} {stop} {place}")
    }

    fn from_env(text: &str) -> Self {
        let [mode, lease_lost, ttl, wait, stop, place] =
            text.splitn(6, ' ').collect::<Vec<_>>()[..]
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
        let millis = |text: &str| Duration::from_millis(text.parse().unwrap());
        let mut orders = Self::new(&Place::from_env(place), mode, lease_lost);
        orders = orders.with_lease_ttl(millis(ttl));
        if !wait.is_empty() {
            orders = orders.waiting(millis(wait));
        }
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
    let shut_down = Arc::new(Notify::new());
    obey(Arc::clone(&stops), Arc::clone(&shut_down));
    let open = orders.place.open(3).await;
    let Serving { service, drain } = serve(&open, orders.setup, Arc::clone(&stops));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    tell(&format!("listening {}", listener.local_addr().unwrap()));
    select! {
        () = accept(listener, service, stops) => {}
        () = shut_down.notified() => {}
    }
    let mut drain = pin!(drain);
    select! {
        biased;
        drained = &mut drain => panic!("{drained:?} while a handler is at work"),
        () = ready(()) => tell(DRAINS),
    }
    drain.await.unwrap();
}

fn obey(stops: Arc<Stops>, shut_down: Arc<Notify>) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            match &*line.unwrap() {
                GO_ON => stops.go_on(),
                SHUT_DOWN => shut_down.notify_one(),
                line => panic!("not an order: {line}"),
            }
        }
        // The test is gone.
        std::process::exit(1);
    });
}

async fn accept(listener: TcpListener, service: Served<Incoming>, stops: Arc<Stops>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (service, stops) = (service.clone(), Arc::clone(&stops));
        let service = service_fn(move |request: Request<Incoming>| {
            let (service, stops) = (service.clone(), Arc::clone(&stops));
            async move {
                tell(RECEIVED);
                let response = service.oneshot(request).await?;
                stops.at(Point::BeforeAnswer).await;
                Ok::<_, Infallible>(in_halves(response, stops).await)
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

/// A response that stands still when the first half of its body is sent.
async fn in_halves<B>(
    response: Response<B>,
    stops: Arc<Stops>,
) -> Response<impl Body<Data = Bytes, Error = Infallible>>
where
    B: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let (head, body) = response.into_parts();
    let mut first = body.collect().await.unwrap().to_bytes();
    let second = first.split_off(first.len() / 2);
    let second = async move {
        // What hyper has is sent while it waits for more.
        yield_now().await;
        stops.at(Point::MidAnswer).await;
        second
    };
    let halves = stream::iter([first]).chain(stream::once(second));
    let frames = halves.map(|half| Ok(Frame::data(half)));
    Response::from_parts(head, StreamBody::new(Box::pin(frames)))
}
