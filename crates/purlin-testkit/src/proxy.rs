mod pump;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use pump::{Cut, Fault, Line};

/// A TCP proxy before one server, that breaks connections in the ways in which networks do.
///
/// What it does to connections is one of [`pass`](Self::pass), [`delay`](Self::delay),
/// [`swallow`](Self::swallow), [`hold_replies`](Self::hold_replies),
/// [`cut_after_reply_bytes`](Self::cut_after_reply_bytes) and [`cut_in_reply`](Self::cut_in_reply);
/// the last one called holds, for connections that exist and for new ones. [`cut`](Self::cut)
/// ends those that exist, and [`refuse`](Self::refuse) lets no new ones in.
///
/// It runs on the runtime that it was started on and ends when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    line: Arc<Line>,
    listening: Option<JoinHandle<()>>,
}

impl FaultProxy {
    /// Starts one before the server at `upstream` (`127.0.0.1:5432`), which passes everything.
    ///
    /// # Panics
    ///
    /// When no port can be opened.
    pub async fn start(upstream: impl Into<String>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let line = Arc::new(Line::new(upstream.into()));
        let listening = Some(listen(listener, Arc::clone(&line)));
        Self {
            address,
            line,
            listening,
        }
    }

    /// Starts one before the server that `url` names.
    ///
    /// # Panics
    ///
    /// When `url` has no host and port, or no port can be opened.
    pub async fn before(url: &str) -> Self {
        let host = host(url).expect("a URL with host and port");
        Self::start(&url[host]).await
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `url` with this proxy in place of its host and port.
    ///
    /// # Panics
    ///
    /// When `url` has no host and port.
    #[must_use]
    pub fn url(&self, url: &str) -> String {
        let host = host(url).expect("a URL with host and port");
        format!("{}{}{}", &url[..host.start], self.address, &url[host.end..])
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.line.accepted.borrow()
    }

    /// Passes everything, replies that were held included.
    pub fn pass(&self) {
        self.set(Fault::Pass);
    }

    /// Passes everything, each piece of a reply `by` later.
    pub fn delay(&self, by: Duration) {
        self.set(Fault::Delay(by));
    }

    /// Half open: takes what the client sends, passes nothing to the server and answers nothing.
    /// New connections are accepted and treated alike. A connection that has lost bytes this way
    /// stays silent whatever is called later, as one whose other host has gone.
    pub fn swallow(&self) {
        self.set(Fault::Swallow);
    }

    /// Passes requests and keeps the replies: the server acts, and the client does not hear of it.
    pub fn hold_replies(&self) {
        self.line.held.send_replace(0);
        self.set(Fault::Hold);
    }

    /// Waits until bytes of a reply are held back, so that the server has acted.
    pub async fn held(&self) {
        let mut held = self.line.held.subscribe();
        held.wait_for(|bytes| *bytes > 0)
            .await
            .expect("the sender is in this proxy");
    }

    /// Passes `bytes` more bytes of replies, over all connections, then cuts the connection
    /// whose turn it is; afterwards passes everything.
    pub fn cut_after_reply_bytes(&self, bytes: usize) {
        self.set(Fault::Cut(Cut::AfterBytes(bytes)));
    }

    /// Cuts in the middle of the `n`-th reply from now (counted from 1, over all connections), then
    /// passes everything. A reply begins with the first bytes from the server after bytes of the
    /// client; of its first piece one half is passed.
    ///
    /// # Panics
    ///
    /// When `n` is 0.
    pub fn cut_in_reply(&self, n: usize) {
        assert!(n > 0, "replies are counted from 1");
        self.set(Fault::Cut(Cut::InReply(n)));
    }

    /// Ends all connections that exist, on both sides and without a farewell (RST).
    pub fn cut(&self) {
        self.line.cut_all.send_modify(|round| *round += 1);
    }

    /// Stops listening: new connections are refused. Those that exist go on.
    pub async fn refuse(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
            let _ = listening.await;
        }
    }

    /// Listens again, on the same port.
    ///
    /// # Panics
    ///
    /// When somebody else has the port meanwhile.
    pub async fn accept(&mut self) {
        if self.listening.is_none() {
            let listener = TcpListener::bind(self.address)
                .await
                .expect("the port is still free");
            self.listening = Some(listen(listener, Arc::clone(&self.line)));
        }
    }

    fn set(&self, fault: Fault) {
        self.line.fault.send_replace(fault);
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
        self.cut();
    }
}

fn listen(listener: TcpListener, line: Arc<Line>) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            // Subscribed before it is counted: a cut after that is not missed.
            let cut_all = line.cut_all.subscribe();
            line.accepted.send_modify(|count| *count += 1);
            tokio::spawn(carry(client, Arc::clone(&line), cut_all));
        }
    })
}

async fn carry(client: TcpStream, line: Arc<Line>, mut cut_all: watch::Receiver<u64>) {
    let Ok(server) = TcpStream::connect(&line.upstream).await else {
        return reset(&client);
    };
    // As a network would not: no waiting for more bytes.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ended_in_order = tokio::select! {
        ended = pump::both_ways(&client, &server, &line) => ended,
        _ = cut_all.changed() => false,
    };
    if !ended_in_order {
        reset(&client);
        reset(&server);
    }
}

/// Makes the close that follows an RST in place of a FIN.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// Where in `url` host and port stand.
fn host(url: &str) -> Option<std::ops::Range<usize>> {
    let authority = url.find("://")? + 3;
    let end = url[authority..]
        .find(['/', '?'])
        .map_or(url.len(), |at| authority + at);
    let start = url[authority..end]
        .rfind('@')
        .map_or(authority, |at| authority + at + 1);
    url[start..end].contains(':').then_some(start..end)
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn host_and_port_of_a_url() {
        for (url, expected) in [
            ("redis://127.0.0.1:6379", Some("127.0.0.1:6379")),
            ("postgres://u:p@h:5432/db?x=y", Some("h:5432")),
            ("postgres://h:1?x=a@b", Some("h:1")),
            ("postgres://h/db", None),
        ] {
            assert_eq!(host(url).map(|range| &url[range]), expected, "{url}");
        }
    }
}
