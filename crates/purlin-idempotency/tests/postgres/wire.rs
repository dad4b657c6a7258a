//! A proxy that counts what a client says to Postgres.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf};

/// One message of a client, as far as anybody counts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Prepares a statement.
    Parse(String),
    /// Runs a prepared statement.
    Bind,
    /// Text that is run as it is, `BEGIN` and its like.
    Query(String),
    /// Asks for an answer, which is a round trip.
    Sync,
}

/// What was said since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) statements: usize,
    pub(crate) queries: Vec<String>,
    pub(crate) round_trips: usize,
    pub(crate) parsed: Vec<String>,
}

pub(crate) struct Wire {
    address: String,
    messages: Arc<Mutex<Vec<Message>>>,
}

impl Wire {
    pub(crate) async fn before(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let messages = Arc::default();
        let (upstream, log) = (upstream.to_owned(), Arc::clone(&messages));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&upstream).await.unwrap();
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let (from_client, mut to_client) = client.into_split();
                let (mut from_server, to_server) = server.into_split();
                tokio::spawn(listen(from_client, to_server, Arc::clone(&log)));
                tokio::spawn(async move {
                    let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
                });
            }
        });
        Self { address, messages }
    }

    /// `url` with this proxy in place of host and port.
    pub(crate) fn url(&self, url: &str) -> String {
        let at = url.find('@').unwrap() + 1;
        let end = url[at..].find('/').unwrap() + at;
        format!("{}{}{}", &url[..at], self.address, &url[end..])
    }

    /// What was said since the last call. A `Sync` with nothing before it is the pool's, which looks
    /// whether a connection is alive, and so is what cleans one that has come back; neither is counted.
    pub(crate) fn take(&self) -> Said {
        let mut said = Said::default();
        let mut asked = false;
        for message in self.messages.lock().unwrap().drain(..) {
            match message {
                Message::Parse(sql) => {
                    said.parsed.push(sql);
                    asked = true;
                }
                Message::Bind => {
                    said.statements += 1;
                    asked = true;
                }
                Message::Query(sql) if sql == "begin; rollback" => {}
                Message::Query(sql) => {
                    said.queries.push(sql);
                    said.round_trips += 1;
                }
                Message::Sync => said.round_trips += usize::from(std::mem::take(&mut asked)),
            }
        }
        said
    }
}

async fn listen(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    log: Arc<Mutex<Vec<Message>>>,
) -> std::io::Result<()> {
    // The first message has no type.
    let mut typed = false;
    loop {
        let mut head = vec![0; 4 + usize::from(typed)];
        client.read_exact(&mut head).await?;
        let length = u32::from_be_bytes(head[head.len() - 4..].try_into().unwrap());
        let mut body = vec![0; usize::try_from(length).unwrap() - 4];
        client.read_exact(&mut body).await?;
        if typed {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let message = match head[0] {
                b'P' => body
                    .split(|byte| *byte == 0)
                    .nth(1)
                    .map(text)
                    .map(Message::Parse),
                b'B' => Some(Message::Bind),
                b'Q' => Some(Message::Query(text(&body[..body.len() - 1]))),
                b'S' => Some(Message::Sync),
                _ => None,
            };
            log.lock().unwrap().extend(message);
        }
        typed = true;
        server.write_all(&head).await?;
        server.write_all(&body).await?;
    }
}
