//! Refusals as a tonic client sees them, over TCP.

use std::{
    convert::Infallible,
    error::Error,
    future::{Ready, ready},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{future::Either, stream};
use http::{HeaderMap, Request, Response, StatusCode};
use purlin_problem::{
    Challenge, GrpcCode, Problem, ProblemBody, ProblemLayer, ProblemType, Protocol, blank,
};
use tokio::net::TcpListener;
use tonic::{
    Code, Status,
    body::Body,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::Service;

static BALANCE: ProblemType =
    ProblemType::slug(StatusCode::CONFLICT, "balance", "The balance is too low")
        .with_grpc_code(GrpcCode::FailedPrecondition);

const DETAIL: &str = "100 % of 5 € are «gone»\r\n\tπ\u{1f980}";

fn problem(name: &str) -> Option<Problem> {
    Some(match name {
        "forbidden" => Problem::new(&blank::FORBIDDEN),
        "detail" => Problem::new(&blank::NOT_FOUND).with_detail(DETAIL),
        "balance" => Problem::new(&BALANCE).with_source(std::io::Error::other("shard 7")),
        "busy" => {
            Problem::new(&blank::SERVICE_UNAVAILABLE).with_retry_after(Duration::from_millis(2_100))
        }
        "who" => Problem::unauthorized(&blank::UNAUTHORIZED, Challenge::bearer()),
        _ => return None,
    })
}

/// Refuses what a request asks it to refuse, by `x-refuse`.
#[derive(Clone)]
struct Refuse<S> {
    inner: S,
    /// Whether it speaks gRPC itself, or leaves that to a problem layer.
    speaks_grpc: bool,
}

impl<S, B> Service<Request<B>> for Refuse<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Error: From<Infallible>,
{
    type Response = Response<ProblemBody<Body>>;
    type Error = S::Error;
    type Future = Either<
        Ready<Result<Self::Response, S::Error>>,
        futures_util::future::MapOk<S::Future, fn(S::Response) -> Self::Response>,
    >;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let protocol = Protocol::of(request.headers());
        let refused = request.headers().get("x-refuse");
        match refused.and_then(|name| problem(name.to_str().ok()?)) {
            Some(problem) => {
                let response = if self.speaks_grpc {
                    problem.into_http_for(&protocol)
                } else {
                    problem.into_http()
                };
                Either::Left(ready(Ok(response.map(ProblemBody::document))))
            }
            None => {
                let passed: fn(S::Response) -> Self::Response =
                    |response| response.map(ProblemBody::inner);
                Either::Right(futures_util::TryFutureExt::map_ok(
                    self.inner.call(request),
                    passed,
                ))
            }
        }
    }
}

struct Checks;

#[tonic::async_trait]
impl Health for Checks {
    type WatchStream = stream::Pending<Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        #[cfg(feature = "tonic")]
        if let Some(problem) = problem(&request.get_ref().service) {
            return Err(problem.into());
        }
        assert!(
            request.get_ref().service.is_empty(),
            "a handler that panics"
        );
        Ok(tonic::Response::new(HealthCheckResponse { status: 1 }))
    }

    async fn watch(
        &self,
        _request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("no streams here"))
    }
}

async fn client(with_problem_layer: bool) -> HealthClient<Channel> {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    let refuse = tower::layer::layer_fn(move |inner| Refuse {
        inner,
        speaks_grpc: !with_problem_layer,
    });
    let health = HealthServer::new(Checks);
    let incoming = TcpIncoming::from(listener);
    if with_problem_layer {
        let server = Server::builder().layer(ProblemLayer::new()).layer(refuse);
        let router = { server }.add_service(health);
        tokio::spawn(async move { router.serve_with_incoming(incoming).await });
    } else {
        let router = Server::builder().layer(refuse).add_service(health);
        tokio::spawn(async move { router.serve_with_incoming(incoming).await });
    }
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("a URL");
    HealthClient::new(endpoint.connect().await.expect("it listens"))
}

/// What the client gets when the layer refuses the call.
async fn refused(client: &mut HealthClient<Channel>, name: &'static str) -> Status {
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    request
        .metadata_mut()
        .insert("x-refuse", name.parse().expect("a token"));
    client
        .check(request)
        .await
        .expect_err("the layer refuses this")
}

/// Both ways to a refusal: the layer that refuses speaks gRPC, or the problem layer does.
async fn clients() -> [HealthClient<Channel>; 2] {
    [client(false).await, client(true).await]
}

#[tokio::test]
async fn a_call_that_is_not_refused_passes() {
    for mut client in clients().await {
        let request = HealthCheckRequest::default();
        let response = client.check(request).await.unwrap();
        assert_eq!(response.get_ref().status, 1);
    }
}

#[tokio::test]
async fn a_refusal_is_the_code_of_the_type_and_its_title() {
    for mut client in clients().await {
        let status = refused(&mut client, "forbidden").await;
        assert_eq!(status.code(), Code::PermissionDenied);
        assert_eq!(status.message(), "Forbidden");

        let status = refused(&mut client, "balance").await;
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.message(), "The balance is too low");
    }
}

#[tokio::test]
async fn the_message_survives_the_header() {
    for mut client in clients().await {
        let status = refused(&mut client, "detail").await;
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(status.message(), DETAIL);
    }
}

#[tokio::test]
async fn header_fields_arrive_as_metadata() {
    for mut client in clients().await {
        let status = refused(&mut client, "busy").await;
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.metadata().get("retry-after").unwrap(), "3");

        let status = refused(&mut client, "who").await;
        assert_eq!(status.code(), Code::Unauthenticated);
        assert_eq!(status.metadata().get("www-authenticate").unwrap(), "Bearer");
    }
}

#[tokio::test]
async fn a_refusal_does_not_break_the_connection() {
    for mut client in clients().await {
        for _ in 0..3 {
            refused(&mut client, "forbidden").await;
            client.check(HealthCheckRequest::default()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_panic_is_an_internal_error_without_its_text() {
    let mut client = client(true).await;
    let request = HealthCheckRequest {
        service: "no such name".to_owned(),
    };
    let status = client.check(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert_eq!(status.message(), "Internal Server Error");
    client.check(HealthCheckRequest::default()).await.unwrap();
}

#[tokio::test]
async fn tonic_answers_that_are_grpc_already_stay_as_they_are() {
    let mut client = client(true).await;
    let status = client
        .watch(HealthCheckRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    assert_eq!(status.message(), "no streams here");
}

#[test]
fn grpc_web_is_refused_in_http() {
    for content_type in ["application/grpc-web", "application/grpc-web-text+proto"] {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", content_type.parse().unwrap());
        assert_eq!(Protocol::of(&headers), Protocol::Http);
    }
}

#[cfg(feature = "tonic")]
mod as_status {
    use purlin_problem::ProblemDetails;

    use super::*;

    #[tokio::test]
    async fn a_handler_returns_a_problem() {
        let mut client = client(false).await;
        let mut ask = async |name: &str| {
            let service = name.to_owned();
            client
                .check(HealthCheckRequest { service })
                .await
                .unwrap_err()
        };
        let status = ask("detail").await;
        assert_eq!((status.code(), status.message()), (Code::NotFound, DETAIL));
        let status = ask("busy").await;
        assert_eq!(status.metadata().get("retry-after").unwrap(), "3");
        let status = ask("balance").await;
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.message(), "The balance is too low");
        assert!(!format!("{status:?}").contains("shard"));
    }

    #[test]
    fn the_source_stays_with_the_status() {
        let status = Status::from(problem("balance").unwrap());
        assert_eq!(status.source().unwrap().to_string(), "shard 7");
        let sent: Response<Bytes> = status.into_http();
        assert!(!format!("{:?}", sent.headers()).contains("shard"));
    }

    #[test]
    fn a_status_is_a_problem_of_the_http_status_of_its_code() {
        for (code, http) in [
            (Code::Cancelled, 499),
            (Code::Unknown, 500),
            (Code::InvalidArgument, 400),
            (Code::DeadlineExceeded, 504),
            (Code::NotFound, 404),
            (Code::AlreadyExists, 409),
            (Code::PermissionDenied, 403),
            (Code::ResourceExhausted, 429),
            (Code::FailedPrecondition, 400),
            (Code::Aborted, 409),
            (Code::OutOfRange, 400),
            (Code::Unimplemented, 501),
            (Code::Internal, 500),
            (Code::Unavailable, 503),
            (Code::DataLoss, 500),
            (Code::Unauthenticated, 401),
        ] {
            let details = ProblemDetails::from(&Status::new(code, "why"));
            assert_eq!(details.status, Some(http), "{code:?}");
            assert_eq!(details.type_uri(), "about:blank");
            assert_eq!(details.detail.as_deref(), Some("why"));
            assert_eq!(ProblemDetails::from(&Status::new(code, "")).detail, None);
        }
    }
}
