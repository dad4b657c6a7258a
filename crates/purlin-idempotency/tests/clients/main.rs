//! Clients over real connections: those that hang up, which the handler does not notice, and those
//! that read to the end.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are a test")]

mod client;
mod server;
mod trailers;

use std::time::Duration;

use http::StatusCode;
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

use client::{Answer, BODY, Leave, head, read_continue, send, write};
use server::{Options, PATIENCE, Seen, Server};

fn created(body: &str, replayed: bool) -> Answer {
    Answer {
        status: StatusCode::CREATED,
        replayed,
        body: body.to_owned().into(),
    }
}

#[expect(clippy::print_stdout, reason = "the table of what was seen")]
fn report(cell: &str, saw: &str) {
    println!("| {cell} | {saw} |");
}

#[tokio::test]
async fn the_handler_of_a_client_that_left_completes_and_the_retry_gets_its_answer() {
    for leave in Leave::ALL {
        for streamed in [false, true] {
            let server = Server::start(Options {
                streamed,
                ..Options::default()
            })
            .await;
            let held = leave.send_and_leave(&server, Some("k")).await;
            // The server knows before the handler goes on.
            let seen = server.until(&[Seen::HungUp]).await;
            assert_eq!(seen, [Seen::Detached, Seen::HungUp], "{leave:?}");
            assert_eq!(server.effects(), 0);
            server.go_on();
            assert_eq!(server.next().await, Seen::Completed, "{leave:?}");
            server.drained().await;
            assert!(server.is_completed().await, "{leave:?}: no record");

            let retry = send(server.address, "k").await;
            assert_eq!(retry, created("effect 1", true), "{leave:?}");
            assert_eq!((server.effects(), server.rest().await), (1, vec![]));
            drop(held);
            let how = if streamed { "streamed" } else { "read before" };
            report(
                &format!("{}, body {how}", leave.name()),
                "1 effect, completed, retry replayed",
            );
        }
    }
}

/// What the servers of this workspace do without the layer, and why it carries on.
#[tokio::test]
async fn the_handler_of_a_client_that_left_is_dropped_when_there_is_no_key() {
    for leave in Leave::ALL {
        let server = Server::start(Options::default()).await;
        let held = leave.send_and_leave(&server, None).await;
        let seen = server.until(&[Seen::HungUp]).await;
        assert_eq!(seen, [Seen::HandlerDropped, Seen::HungUp], "{leave:?}");
        assert_eq!(server.effects(), 0);
        drop(held);
        report(&format!("{}, no key", leave.name()), "handler dropped");
    }
}

#[tokio::test]
async fn a_retry_that_comes_while_the_first_is_carried_on_is_told_so() {
    for leave in Leave::ALL {
        let server = Server::start(Options::default()).await;
        let held = leave.send_and_leave(&server, Some("k")).await;
        server.until(&[Seen::HungUp]).await;
        let retry = send(server.address, "k").await;
        assert_eq!(
            (retry.status, retry.replayed),
            (StatusCode::CONFLICT, false)
        );
        server.go_on();
        server.until(&[Seen::Completed]).await;
        server.drained().await;
        let retry = send(server.address, "k").await;
        assert_eq!(retry, created("effect 1", true), "{leave:?}");
        drop(held);
    }
}

#[tokio::test]
async fn a_timeout_layer_outside_answers_and_the_work_goes_on() {
    let server = Server::start(Options {
        outer_timeout: Duration::from_millis(50),
        ..Options::default()
    })
    .await;
    // On a busy machine the timeout may come before the handler has begun: then nothing was done.
    loop {
        let answer = send(server.address, "k").await;
        assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
        if server.until(&[Seen::HungUp]).await.contains(&Seen::Begun) {
            break;
        }
    }
    server.go_on();
    assert_eq!(server.next().await, Seen::Completed);
    server.drained().await;
    let retry = send(server.address, "k").await;
    assert_eq!(retry, created("effect 1", true));
    report(
        "timeout layer outside",
        "504, then 1 effect, retry replayed",
    );
}

/// How far a client gets that leaves before its request is complete.
#[derive(Clone, Copy, Debug)]
enum Unfinished {
    NoBody,
    HalfOfTheLength,
    HalfOfTheChunks,
}

#[tokio::test]
async fn a_request_that_never_came_whole_is_not_executed_and_its_retry_is() {
    for how in [
        Unfinished::NoBody,
        Unfinished::HalfOfTheLength,
        Unfinished::HalfOfTheChunks,
    ] {
        for streamed in [false, true] {
            for rst in [false, true] {
                let server = Server::start(Options {
                    streamed,
                    ..Options::default()
                })
                .await;
                leave_half_way(&server, how, rst).await;
                // Read before, the request ends there, answered with 400 or dropped by the server;
                // streamed, the handler reads the error.
                let seen = if streamed {
                    server.until(&[Seen::Completed]).await
                } else {
                    server.until(&[Seen::Refused, Seen::HungUp]).await
                };
                server.drained().await;
                assert_eq!(server.effects(), 0, "{how:?}: {seen:?}");
                assert_eq!(server.record().await, None, "{how:?}: {seen:?}");
                server.rest().await;

                server.go_on();
                let retry = send(server.address, "k").await;
                assert_eq!(retry, created("effect 1", false), "{how:?}");
                let body = if streamed { "streamed" } else { "read before" };
                let end = if rst { "RST" } else { "FIN" };
                report(
                    &format!("{how:?}, {end}, body {body}"),
                    "0 effects, no record, retry executed once",
                );
            }
        }
    }
}

async fn leave_half_way(server: &Server, how: Unfinished, rst: bool) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let (framing, sent) = match how {
        Unfinished::NoBody => ("content-length: 13", String::new()),
        Unfinished::HalfOfTheLength => ("content-length: 13", BODY[..5].to_owned()),
        Unfinished::HalfOfTheChunks => (
            "transfer-encoding: chunked",
            format!("5\r\n{}\r\n", &BODY[..5]),
        ),
    };
    // That the body is asked for says that the request has reached the layer.
    let framing = format!("{framing}\r\nexpect: 100-continue");
    write(&mut stream, &head(Some("k"), &framing)).await;
    read_continue(&mut stream).await;
    write(&mut stream, &sent).await;
    if rst {
        stream.set_zero_linger().unwrap();
    }
}

/// The answer is longer than the buffers between, so that the client leaves while it is sent.
#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_its_answer_gets_it_whole_on_retry() {
    const LONG: usize = 1_000_000;
    for rst in [false, true] {
        let server = Server::start(Options {
            answer_bytes: LONG,
            ..Options::default()
        })
        .await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        write(&mut stream, &(head(Some("k"), "content-length: 13") + BODY)).await;
        server.go_on();
        let mut first = [0; 100];
        let read = timeout(PATIENCE, stream.read_exact(&mut first)).await;
        read.expect("the answer begins").unwrap();
        if rst {
            stream.set_zero_linger().unwrap();
        }
        drop(stream);
        let retry = send(server.address, "k").await;
        assert_eq!((retry.status, retry.replayed), (StatusCode::CREATED, true));
        assert_eq!(retry.body.len(), "effect 1".len() + LONG);
        assert_eq!(server.effects(), 1);
    }
    report(
        "left in the middle of the answer",
        "1 effect, retry replayed whole",
    );
}
