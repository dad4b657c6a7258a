use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;

/// What the connections of one proxy share.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) upstream: String,
    pub(super) fault: watch::Sender<Fault>,
    pub(super) accepted: watch::Sender<usize>,
    pub(super) held: watch::Sender<usize>,
    pub(super) cut_all: watch::Sender<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Pass,
    Delay(Duration),
    Swallow,
    Hold,
    Cut(Cut),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    AfterBytes(usize),
    InReply(usize),
}

impl Line {
    pub(super) fn new(upstream: String) -> Self {
        Self {
            upstream,
            fault: watch::Sender::new(Fault::Pass),
            accepted: watch::Sender::new(0),
            held: watch::Sender::new(0),
            cut_all: watch::Sender::new(0),
        }
    }

    /// How many of the next `available` bytes of a reply may pass; fewer than all means: then cut.
    fn admit(&self, available: usize, begins_reply: bool) -> usize {
        let mut admitted = available;
        self.fault.send_if_modified(|fault| {
            let Fault::Cut(cut) = fault else { return false };
            match cut {
                Cut::AfterBytes(left) if *left < available => {
                    admitted = *left;
                    *fault = Fault::Pass;
                }
                Cut::AfterBytes(left) => *left -= available,
                Cut::InReply(1) if begins_reply => {
                    admitted = available / 2;
                    *fault = Fault::Pass;
                }
                Cut::InReply(n) if begins_reply => *n -= 1,
                Cut::InReply(_) => {}
            }
            true
        });
        admitted
    }
}

/// Carries bytes until one side ends: `true` when it did so in order, `false` for a cut.
pub(super) async fn both_ways(client: &TcpStream, server: &TcpStream, line: &Line) -> bool {
    let flow = Flow::default();
    tokio::select! {
        ended = requests(client, server, line, &flow) => ended,
        ended = replies(server, client, line, &flow) => ended,
    }
    .unwrap_or(false)
}

/// What the two directions of one connection tell each other.
#[derive(Debug, Default)]
struct Flow {
    /// Set by a request, taken by the reply that begins after it.
    asked: AtomicBool,
    /// Some bytes are lost. TCP never loses bytes and goes on, so nothing passes ever again.
    lost: AtomicBool,
}

impl Flow {
    fn loses(&self, fault: Fault) -> bool {
        if fault == Fault::Swallow {
            self.lost.store(true, Ordering::SeqCst);
        }
        self.lost.load(Ordering::SeqCst)
    }
}

async fn requests(
    client: &TcpStream,
    server: &TcpStream,
    line: &Line,
    flow: &Flow,
) -> io::Result<bool> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = read(client, &mut buffer).await?;
        if read == 0 {
            return Ok(true);
        }
        let fault = *line.fault.borrow();
        if !flow.loses(fault) {
            flow.asked.store(true, Ordering::SeqCst);
            write_all(server, &buffer[..read]).await?;
        }
    }
}

async fn replies(
    server: &TcpStream,
    client: &TcpStream,
    line: &Line,
    flow: &Flow,
) -> io::Result<bool> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = read(server, &mut buffer).await?;
        if read == 0 {
            return Ok(true);
        }
        let mut faults = line.fault.subscribe();
        let fault = *faults.borrow_and_update();
        if flow.loses(fault) {
            continue;
        }
        match fault {
            Fault::Delay(by) => tokio::time::sleep(by).await,
            Fault::Hold => {
                line.held.send_modify(|bytes| *bytes += read);
                let next = faults.wait_for(|fault| *fault != Fault::Hold).await;
                if next.is_ok_and(|fault| flow.loses(*fault)) {
                    continue;
                }
            }
            Fault::Pass | Fault::Swallow | Fault::Cut(_) => {}
        }
        let admitted = line.admit(read, flow.asked.swap(false, Ordering::SeqCst));
        write_all(client, &buffer[..admitted]).await?;
        if admitted < read {
            return Ok(false);
        }
    }
}

async fn read(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => bytes = &bytes[written?..],
        }
    }
    Ok(())
}
