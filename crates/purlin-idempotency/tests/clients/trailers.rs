//! What comes after a body, over both protocols.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version, header};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use purlin_idempotency::{IdempotencyLayer, Leased, MemoryStore, RequestBody};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tower::{Layer as _, service_fn};

use super::{
    client::{BODY, request},
    server::PATIENCE,
};

fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    for (name, value) in [("checksum", "1"), ("checksum", "2"), ("rows", "3")] {
        trailers.append(name, HeaderValue::from_static(value));
    }
    trailers
}

/// Answers as those do that know the length of their body, with trailers.
async fn handle(
    _: Request<RequestBody<Incoming>>,
) -> Result<Response<UnsyncBoxBody<Bytes, Infallible>>, Infallible> {
    let body = Full::from(BODY).with_trailers(async { Some(Ok(trailers())) });
    let mut response = Response::new(body.boxed_unsync());
    let length = HeaderValue::from(BODY.len());
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length);
    Ok(response)
}

async fn serve(layer: IdempotencyLayer<Leased>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(layer.layer(service_fn(handle)));
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    address
}

/// Whether it is a replay, and what came.
async fn send(address: SocketAddr, version: Version, key: &str) -> (bool, Bytes, HeaderMap) {
    let mut request = request(Some(key));
    let te = HeaderValue::from_static("trailers");
    request.headers_mut().insert(header::TE, te);
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let response = if version == Version::HTTP_2 {
        let handshake = http2::handshake(TokioExecutor::new(), stream).await;
        let (mut sender, connection) = handshake.unwrap();
        tokio::spawn(connection);
        timeout(PATIENCE, sender.send_request(request)).await
    } else {
        let (mut sender, connection) = http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        timeout(PATIENCE, sender.send_request(request)).await
    };
    let response = response.expect("an answer comes").unwrap();
    assert_eq!(response.version(), version);
    let is_replay = response.headers().contains_key("idempotent-replayed");
    let body = timeout(PATIENCE, response.into_body().collect()).await;
    let body = body.expect("the body comes").unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    (is_replay, body.to_bytes(), trailers)
}

#[tokio::test]
async fn trailers_come_with_the_first_answer_and_with_replays() {
    let layer = IdempotencyLayer::leased(MemoryStore::new()).single_tenant();
    let address = serve(layer).await;
    for first in [Version::HTTP_11, Version::HTTP_2] {
        let key = format!("{first:?}");
        let executed = send(address, first, &key).await;
        assert_eq!(executed, (false, BODY.into(), trailers()));
        for again in [Version::HTTP_11, Version::HTTP_2] {
            let replay = send(address, again, &key).await;
            assert_eq!(replay, (true, BODY.into(), trailers()), "{again:?}");
        }
    }
}
