//! Clients that behave, and clients that leave in every way there is.

use std::{
    any::Any,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::timeout,
};

use super::server::{PATIENCE, Seen, Server};

/// The body of all requests; what differs is what becomes of the connection.
pub(crate) const BODY: &str = r#"{"amount":12}"#;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) replayed: bool,
    pub(crate) body: Bytes,
}

pub(crate) fn request(key: Option<&str>) -> Request<Full<Bytes>> {
    let mut request = Request::post("http://localhost/payments").header("host", "localhost");
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.body(Full::from(BODY)).unwrap()
}

/// One request on a connection of its own.
pub(crate) async fn send(address: SocketAddr, key: &str) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let response = timeout(PATIENCE, sender.send_request(request(Some(key)))).await;
    let response = response.expect("an answer comes").unwrap();
    let (head, body) = response.into_parts();
    let body = timeout(PATIENCE, body.collect()).await;
    Answer {
        status: head.status,
        replayed: head.headers.contains_key("idempotent-replayed"),
        body: body.expect("the body comes").unwrap().to_bytes(),
    }
}

/// A way to leave while the request is being worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    Http1Fin,
    Http1HalfClose,
    Http1Rst,
    Http1FinAfterContinue,
    Http1FinAfterChunks,
    Http2RstStream,
    Http2Fin,
    Http2Rst,
}

impl Leave {
    pub(crate) const ALL: [Self; 8] = [
        Self::Http1Fin,
        Self::Http1HalfClose,
        Self::Http1Rst,
        Self::Http1FinAfterContinue,
        Self::Http1FinAfterChunks,
        Self::Http2RstStream,
        Self::Http2Fin,
        Self::Http2Rst,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http1Fin => "HTTP/1.1, FIN",
            Self::Http1HalfClose => "HTTP/1.1, half-close",
            Self::Http1Rst => "HTTP/1.1, RST",
            Self::Http1FinAfterContinue => "HTTP/1.1, Expect: 100-continue, FIN after the body",
            Self::Http1FinAfterChunks => "HTTP/1.1, chunked upload, FIN after the last chunk",
            Self::Http2RstStream => "HTTP/2, RST_STREAM",
            Self::Http2Fin => "HTTP/2, FIN of the connection",
            Self::Http2Rst => "HTTP/2, RST of the connection",
        }
    }

    /// Sends a request, waits until the handler has begun, and leaves. What is returned is what the client
    /// still holds of its connection.
    pub(crate) async fn send_and_leave(self, server: &Server, key: Option<&str>) -> Box<dyn Any> {
        match self {
            Self::Http2RstStream | Self::Http2Fin | Self::Http2Rst => {
                self.over_http2(server, key).await
            }
            _ => self.over_http1(server, key).await,
        }
    }

    async fn over_http1(self, server: &Server, key: Option<&str>) -> Box<dyn Any> {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        match self {
            Self::Http1FinAfterContinue => {
                write(
                    &mut stream,
                    &head(key, "content-length: 13\r\nexpect: 100-continue"),
                )
                .await;
                read_continue(&mut stream).await;
                write(&mut stream, BODY).await;
            }
            Self::Http1FinAfterChunks => {
                write(&mut stream, &head(key, "transfer-encoding: chunked")).await;
                write(&mut stream, &format!("5\r\n{}\r\n", &BODY[..5])).await;
                write(&mut stream, &format!("8\r\n{}\r\n0\r\n\r\n", &BODY[5..])).await;
            }
            _ => write(&mut stream, &(head(key, "content-length: 13") + BODY)).await,
        }
        assert_eq!(server.next().await, Seen::Begun);
        match self {
            Self::Http1HalfClose => {
                stream.shutdown().await.unwrap();
                return Box::new(stream);
            }
            Self::Http1Rst => stream.set_zero_linger().unwrap(),
            _ => {}
        }
        Box::new(())
    }

    async fn over_http2(self, server: &Server, key: Option<&str>) -> Box<dyn Any> {
        let stream = TcpStream::connect(server.address).await.unwrap();
        if self == Self::Http2Rst {
            stream.set_zero_linger().unwrap();
        }
        let tasks = Tasks::default();
        let handshake = http2::handshake(tasks.clone(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        let connection = tokio::spawn(connection);
        let response = tokio::spawn(sender.send_request(request(key)));
        assert_eq!(server.next().await, Seen::Begun);
        if self == Self::Http2RstStream {
            // A response that nobody waits for any more is reset with CANCEL; the connection stays.
            response.abort();
            return Box::new((sender, connection));
        }
        // Nothing is said any more: the socket is closed under it.
        tasks.abort().await;
        Box::new((sender, response, connection))
    }
}

/// What hyper spawns for a connection, the task that owns the socket included.
#[derive(Clone, Default)]
struct Tasks(Arc<Mutex<Vec<JoinHandle<()>>>>);

impl Tasks {
    async fn abort(self) {
        let tasks = std::mem::take(&mut *self.0.lock().unwrap());
        assert!(!tasks.is_empty());
        for task in tasks {
            task.abort();
            let _ = task.await;
        }
    }
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tasks {
    fn execute(&self, future: F) {
        let task = tokio::spawn(async move {
            future.await;
        });
        self.0.lock().unwrap().push(task);
    }
}

/// The head of a request, with the fields that say how its body comes.
pub(crate) fn head(key: Option<&str>, framing: &str) -> String {
    let key = key.map_or_else(String::new, |key| format!("idempotency-key: {key}\r\n"));
    format!("POST /payments HTTP/1.1\r\nhost: localhost\r\n{key}{framing}\r\n\r\n")
}

pub(crate) async fn write(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

pub(crate) async fn read_continue(stream: &mut TcpStream) {
    let mut line = [0; 25];
    let read = timeout(PATIENCE, stream.read_exact(&mut line)).await;
    read.expect("the server lets the body come").unwrap();
    assert_eq!(&line, b"HTTP/1.1 100 Continue\r\n\r\n");
}
