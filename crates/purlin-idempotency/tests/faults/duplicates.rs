//! What else comes while the first request stands still: to its process, and to another one.

use std::time::Duration;

use tokio::task::JoinHandle;

use crate::{
    child::{Orders, RECEIVED},
    crash::Cell,
    ground::{KEY, Kind},
    process::{Answer, BODY, OTHER_BODY, Received, Server, send},
    stops::{ASKS, IS_BUSY, Point},
    work::Mode,
};

/// How long a duplicate waits that is to learn how the first has ended.
const LONG: Duration = Duration::from_secs(20);
/// How long one waits that is to learn nothing.
const SHORT: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duplicates {
    None,
    /// The same request, and another one under its key, which are answered while the first stands
    /// still: at once by its process, if that is past its question to the store, and after a short
    /// wait by the other one.
    Answered,
    /// The same request, which still waits when the first is killed.
    Waiting,
}

impl Duplicates {
    pub(crate) const ALL: [Self; 3] = [Self::None, Self::Answered, Self::Waiting];

    /// What the process of the first is told.
    pub(crate) fn orders(self, orders: &Orders) -> Orders {
        let orders = orders.clone();
        match self {
            Self::None | Self::Answered => orders,
            Self::Waiting => orders.waiting(LONG),
        }
    }
}

/// The other process, and what has become of the duplicates.
#[derive(Debug)]
pub(crate) struct Company {
    cell: Cell,
    second: Server,
    answers: Vec<Answer>,
    waiting_here: Vec<JoinHandle<Received>>,
    waiting_there: Option<JoinHandle<Received>>,
}

impl Company {
    /// `orders` are those of the first process.
    pub(crate) async fn start(cell: Cell, orders: &Orders) -> Option<Self> {
        let orders = match cell.duplicates {
            Duplicates::None => return None,
            Duplicates::Answered => orders.clone().waiting(SHORT).impatient(),
            Duplicates::Waiting => orders.clone(),
        };
        Some(Self {
            cell,
            second: Server::start(&orders).await,
            answers: Vec::new(),
            waiting_here: Vec::new(),
            waiting_there: None,
        })
    }

    /// Sends the duplicates, and goes on when they are answered or wait.
    pub(crate) async fn meet(&mut self, first: &mut Server) {
        match self.cell.duplicates {
            Duplicates::None => {}
            Duplicates::Answered => self.send_all(first).await,
            Duplicates::Waiting => self.send_patient(first).await,
        }
    }

    /// None is executed beside the first.
    async fn send_all(&mut self, first: &Server) {
        let cell = self.cell;
        for (body, allowed) in [(BODY, [201, 409]), (OTHER_BODY, [422, 409])] {
            for server in [first, &self.second] {
                if server.address == first.address && !cell.point.has_asked() {
                    let waiting = tokio::spawn(send(server.address, KEY, body));
                    self.waiting_here.push(waiting);
                    continue;
                }
                let answer = send(server.address, KEY, body).await.unwrap();
                let status = answer.status.as_u16();
                // Another process cannot read while a writer of SQLite stands still.
                let locked = cell.kind == Kind::Sqlite && answer.is("store-unavailable");
                assert!(
                    allowed.contains(&status) || locked,
                    "{cell:?}: {answer:?} to {body}"
                );
                self.answers.push(answer);
            }
        }
    }

    async fn send_patient(&mut self, first: &mut Server) {
        let there = self.second.address;
        match self.cell.point {
            // The first is not at the work any more.
            Point::BeforeAnswer | Point::MidAnswer => {
                for address in [first.address, there] {
                    self.answers.push(send(address, KEY, BODY).await.unwrap());
                }
            }
            // The other process finds it free, or completed.
            Point::BeforeClaim | Point::Completed => {
                self.wait_here(first).await;
                self.answers.push(send(there, KEY, BODY).await.unwrap());
            }
            _ => {
                self.wait_here(first).await;
                self.wait_there().await;
            }
        }
    }

    async fn wait_here(&mut self, first: &mut Server) {
        let waiting = tokio::spawn(send(first.address, KEY, BODY));
        self.waiting_here.push(waiting);
        first.until(RECEIVED).await;
    }

    async fn wait_there(&mut self) {
        self.waiting_there = Some(tokio::spawn(send(self.second.address, KEY, BODY)));
        let sign = match (self.cell.mode, self.cell.kind) {
            // Who waits for the write lock is told nothing.
            (Mode::Transactional, Kind::Sqlite) => ASKS,
            // It ends with its process.
            (Mode::Transactional, _) => IS_BUSY,
            // A lease does not.
            _ => ASKS,
        };
        self.second.until(sign).await;
    }

    /// The answers, when the first process is dead, and the attempts of the other one.
    pub(crate) async fn end(mut self) -> (Vec<Answer>, Vec<u64>) {
        let cell = self.cell;
        for waiting in self.waiting_here {
            let received = waiting.await.unwrap();
            received.expect_err("an answer of the dead");
        }
        if let Some(waiting) = self.waiting_there {
            let answer = waiting.await.unwrap().expect("the process lives");
            assert!(answer.is_definite(), "{cell:?}: {answer:?}");
            self.answers.push(answer);
        }
        (self.answers, self.second.kill().await)
    }
}
