//! Each fault of the proxy, seen from a client of a server that answers every line with itself.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are a test")]

use std::io;
use std::time::Duration;

use purlin_testkit::FaultProxy;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Long enough for a loaded machine: only tests that fail wait so long.
const LONG: Duration = Duration::from_secs(10);

struct Echo {
    proxy: FaultProxy,
    /// Every line that reached the server.
    seen: mpsc::UnboundedReceiver<String>,
}

async fn echo() -> Echo {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = listener.local_addr().unwrap().to_string();
    let (sender, seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).await.is_ok_and(|n| n > 0) {
                    let _ = sender.send(line.trim_end().to_owned());
                    stream.write_all(line.as_bytes()).await?;
                    line.clear();
                }
                io::Result::Ok(())
            });
        }
    });
    Echo {
        proxy: FaultProxy::start(upstream).await,
        seen,
    }
}

async fn connect(echo: &Echo) -> TcpStream {
    TcpStream::connect(echo.proxy.address()).await.unwrap()
}

async fn ask(stream: &mut TcpStream, line: &str) -> io::Result<String> {
    stream.write_all(format!("{line}\n").as_bytes()).await?;
    let mut answer = vec![0; line.len() + 1];
    timeout(LONG, stream.read_exact(&mut answer))
        .await
        .expect("answered, or ended")?;
    Ok(String::from_utf8(answer).unwrap().trim_end().to_owned())
}

fn is_reset(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::ConnectionReset
}

#[tokio::test]
async fn passes() {
    let echo = echo().await;
    let mut stream = connect(&echo).await;
    assert_eq!(ask(&mut stream, "one").await.unwrap(), "one");
    assert_eq!(ask(&mut stream, "two").await.unwrap(), "two");
    assert_eq!(echo.proxy.connections(), 1);
}

#[tokio::test]
async fn cuts_what_exists_and_not_what_comes() {
    let echo = echo().await;
    let mut stream = connect(&echo).await;
    ask(&mut stream, "one").await.unwrap();
    echo.proxy.cut();
    let error = timeout(LONG, stream.read_u8())
        .await
        .expect("the end is seen")
        .unwrap_err();
    assert!(is_reset(&error), "{error:?}");
    assert_eq!(ask(&mut connect(&echo).await, "two").await.unwrap(), "two");
}

#[tokio::test]
async fn swallows_and_the_server_hears_nothing() {
    let mut echo = echo().await;
    let mut stream = connect(&echo).await;
    ask(&mut stream, "one").await.unwrap();
    echo.proxy.swallow();
    stream.write_all(b"lost\n").await.unwrap();
    // A new connection gets nothing either, and is accepted.
    let mut new = connect(&echo).await;
    new.write_all(b"lost too\n").await.unwrap();
    assert!(
        timeout(Duration::from_millis(50), new.read_u8())
            .await
            .is_err()
    );
    echo.proxy.pass();
    stream.write_all(b"lost as well\n").await.unwrap();
    ask(&mut connect(&echo).await, "two").await.unwrap();
    assert!(
        timeout(Duration::from_millis(50), stream.read_u8())
            .await
            .is_err()
    );
    assert_eq!(echo.seen.recv().await.unwrap(), "one");
    assert_eq!(echo.seen.recv().await.unwrap(), "two");
}

#[tokio::test]
async fn delays() {
    let echo = echo().await;
    let mut stream = connect(&echo).await;
    echo.proxy.delay(Duration::from_millis(80));
    let begun = tokio::time::Instant::now();
    ask(&mut stream, "one").await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(80));
}

#[tokio::test]
async fn holds_the_reply_while_the_server_acts() {
    let mut echo = echo().await;
    let mut stream = connect(&echo).await;
    ask(&mut stream, "one").await.unwrap();
    echo.proxy.hold_replies();
    stream.write_all(b"two\n").await.unwrap();
    timeout(LONG, echo.proxy.held())
        .await
        .expect("the reply comes to the proxy");
    assert_eq!(echo.seen.recv().await.unwrap(), "one");
    assert_eq!(echo.seen.recv().await.unwrap(), "two");
    assert!(
        timeout(Duration::from_millis(50), stream.read_u8())
            .await
            .is_err()
    );

    echo.proxy.pass();
    let mut answer = [0; 4];
    timeout(LONG, stream.read_exact(&mut answer))
        .await
        .expect("it is let go")
        .unwrap();
    assert_eq!(&answer, b"two\n");
}

#[tokio::test]
async fn a_held_reply_can_be_lost() {
    let mut echo = echo().await;
    let mut stream = connect(&echo).await;
    echo.proxy.hold_replies();
    stream.write_all(b"one\n").await.unwrap();
    timeout(LONG, echo.proxy.held())
        .await
        .expect("the reply comes to the proxy");
    echo.proxy.cut();
    assert!(is_reset(&stream.read_u8().await.unwrap_err()));
    assert_eq!(echo.seen.recv().await.unwrap(), "one");
}

#[tokio::test]
async fn cuts_after_bytes_of_replies() {
    let echo = echo().await;
    let mut stream = connect(&echo).await;
    echo.proxy.cut_after_reply_bytes(6);
    assert_eq!(ask(&mut stream, "one").await.unwrap(), "one");
    stream.write_all(b"two\n").await.unwrap();
    // An RST may overtake the two bytes that were passed.
    let mut rest = Vec::new();
    let error = timeout(LONG, stream.read_to_end(&mut rest))
        .await
        .expect("it ends")
        .unwrap_err();
    assert!(is_reset(&error), "{error:?}");
    assert!(b"tw".starts_with(&rest), "{rest:?}");
    assert_eq!(
        ask(&mut connect(&echo).await, "three").await.unwrap(),
        "three"
    );
}

#[tokio::test]
async fn cuts_in_the_middle_of_the_nth_reply() {
    let echo = echo().await;
    let mut stream = connect(&echo).await;
    echo.proxy.cut_in_reply(3);
    ask(&mut stream, "one").await.unwrap();
    ask(&mut stream, "two").await.unwrap();
    let error = ask(&mut stream, "three").await.unwrap_err();
    assert!(is_reset(&error), "{error:?}");
    assert_eq!(
        ask(&mut connect(&echo).await, "four").await.unwrap(),
        "four"
    );
}

#[tokio::test]
async fn refuses_new_connections_and_keeps_the_old() {
    let mut echo = echo().await;
    let mut old = connect(&echo).await;
    ask(&mut old, "one").await.unwrap();
    echo.proxy.refuse().await;
    let error = TcpStream::connect(echo.proxy.address()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    ask(&mut old, "two").await.unwrap();
    echo.proxy.accept().await;
    ask(&mut connect(&echo).await, "three").await.unwrap();
}
