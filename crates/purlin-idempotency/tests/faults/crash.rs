//! `kill -9` at each point, with and without duplicates, then retries until a definite answer.

use std::sync::Arc;

use purlin_idempotency::LeaseLost;
use tokio::{
    sync::Semaphore,
    task::{JoinHandle, JoinSet},
};

use crate::{
    child::Orders,
    ground::{Ground, KEY, Kind},
    process::{Answer, BODY, OTHER_BODY, Server, retry, send},
    say,
    stops::Point,
    work::Mode,
};

/// How many cells run at a time: each has three processes with connections of their own.
const AT_A_TIME: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Cell {
    kind: Kind,
    mode: Mode,
    lease_lost: LeaseLost,
    point: Point,
    duplicates: bool,
}

/// What must be there in the end.
#[derive(Debug, PartialEq, Eq)]
struct End {
    indeterminate: bool,
    attempts: Vec<u64>,
    effects: [i64; 2],
}

impl Cell {
    fn expected(&self) -> End {
        let end = |indeterminate, attempts: &[u64], effects| End {
            indeterminate,
            attempts: attempts.to_vec(),
            effects,
        };
        let joins = self.mode == Mode::CompleteIn;
        if self.mode == Mode::Transactional {
            // Nothing of what was killed is left, so that it is no attempt.
            return match self.point {
                Point::InHandler | Point::BetweenWrites | Point::Written => {
                    end(false, &[1, 1], [1, 1])
                }
                _ => end(false, &[1], [1, 1]),
            };
        }
        let again = self.lease_lost == LeaseLost::Reexecute;
        match self.point {
            Point::BeforeClaim | Point::Completed | Point::BeforeAnswer => end(false, &[1], [1, 1]),
            Point::Claimed if again => end(false, &[2], [1, 1]),
            Point::Claimed => end(true, &[], [0, 0]),
            // What was written outside of the record's transaction stays.
            Point::InHandler | Point::Extended | Point::Joined if again => {
                end(false, &[1, 2], [1, 1])
            }
            Point::InHandler | Point::Extended | Point::Joined => end(true, &[1], [0, 0]),
            _ if joins && again => end(false, &[1, 2], [1, 1]),
            _ if joins => end(true, &[1], [0, 0]),
            Point::BetweenWrites if again => end(false, &[1, 2], [2, 1]),
            Point::BetweenWrites => end(true, &[1], [1, 0]),
            Point::Written if again => end(false, &[1, 2], [2, 2]),
            Point::Written => end(true, &[1], [1, 1]),
        }
    }

    async fn run(self) -> Option<String> {
        let ground = Ground::create(self.kind).await?;
        let orders = Orders::new(&ground.place, self.mode, self.lease_lost);
        let mut first = Server::start(&orders.clone().stopping(self.point)).await;
        let mut attempts = Vec::new();
        let pending = tokio::spawn(send(first.address, KEY, BODY));
        first.stopped().await;
        let (mut seen, mut unanswered) = (Vec::new(), vec![pending]);
        if self.duplicates {
            let second = Server::start(&orders).await;
            seen = self.send_duplicates(&first, &second, &mut unanswered).await;
            attempts.extend(second.kill().await);
        }
        attempts.extend(first.kill().await);
        for request in unanswered {
            assert_eq!(
                request.await.unwrap(),
                None,
                "{self:?}: an answer of the dead"
            );
        }
        if self.mode == Mode::Transactional {
            let (effects, record) = (ground.effects().await, ground.completed().await);
            assert_eq!(
                effects, [record; 2],
                "{self:?}: record without effect or the reverse"
            );
        }

        let heir = Server::start(&orders).await;
        let answer = retry(heir.address, KEY).await;
        // Known now: to everybody, and for good.
        let after = Server::start(&orders).await;
        let again = retry(after.address, KEY).await;
        assert_eq!(again.body, answer.body, "{self:?}");
        assert_eq!(again.status, answer.status, "{self:?}");
        let other = send(after.address, KEY, OTHER_BODY).await.unwrap();
        assert_eq!(other.status.as_u16(), 422, "{self:?}: {other:?}");
        for server in [heir, after] {
            attempts.extend(server.kill().await);
        }
        attempts.sort_unstable();
        let end = End {
            indeterminate: answer.is("idempotency-indeterminate"),
            attempts,
            effects: ground.effects().await,
        };
        assert_eq!(
            end,
            self.expected(),
            "{self:?}: {answer:?}, duplicates {seen:?}"
        );
        Some(self.row(&seen, &answer, &end))
    }

    /// The same request and another one under its key, to the process that stands still and to
    /// another one: none is executed beside the first. What waits for the answer of the store to the
    /// first is `unanswered`.
    async fn send_duplicates(
        &self,
        first: &Server,
        second: &Server,
        unanswered: &mut Vec<JoinHandle<Option<Answer>>>,
    ) -> Vec<String> {
        let mut seen = Vec::new();
        let has_asked = !matches!(self.point, Point::BeforeClaim | Point::Claimed);
        for (body, allowed) in [(BODY, [201, 409]), (OTHER_BODY, [422, 409])] {
            for server in [first, second] {
                if server.address == first.address && !has_asked {
                    unanswered.push(tokio::spawn(send(server.address, KEY, body)));
                    seen.push("waits".to_owned());
                    continue;
                }
                let answer = send(server.address, KEY, body).await.unwrap();
                let status = answer.status.as_u16();
                // Another process cannot read while a writer of SQLite stands still.
                let locked = self.kind == Kind::Sqlite && answer.is("store-unavailable");
                assert!(
                    allowed.contains(&status) || locked,
                    "{self:?}: {answer:?} to {body}"
                );
                seen.push(answer.word());
            }
        }
        seen
    }

    fn row(&self, seen: &[String], answer: &Answer, end: &End) -> String {
        let guarantee = match (self.mode, self.lease_lost) {
            (Mode::Transactional, _) => "transactional".to_owned(),
            (Mode::Leased, lost) => format!("lease, {lost:?}"),
            (Mode::CompleteIn, lost) => format!("lease, complete_in, {lost:?}"),
        };
        let seen = if seen.is_empty() {
            "none".to_owned()
        } else {
            seen.join(", ")
        };
        format!(
            "| {:?} | {guarantee} | {} | {seen} | {} | {:?} | {}+{} |",
            self.kind,
            self.point.name(),
            answer.word(),
            end.attempts,
            end.effects[0],
            end.effects[1]
        )
    }
}

async fn matrix(kind: Kind, mode: Mode) {
    let mut cells = Vec::new();
    for lease_lost in [LeaseLost::Indeterminate, LeaseLost::Reexecute] {
        if mode == Mode::Transactional && lease_lost == LeaseLost::Reexecute {
            continue;
        }
        for point in Point::ALL {
            if mode != Mode::CompleteIn && point == Point::Joined {
                continue;
            }
            // A transaction has no heartbeats, and a lease whose heartbeats stand still ends while
            // duplicates are sent.
            let heartbeat = point == Point::Extended;
            if mode == Mode::Transactional && heartbeat {
                continue;
            }
            for duplicates in [false, true] {
                if duplicates && heartbeat {
                    continue;
                }
                cells.push(Cell {
                    kind,
                    mode,
                    lease_lost,
                    point,
                    duplicates,
                });
            }
        }
    }
    let (at_a_time, mut running) = (Arc::new(Semaphore::new(AT_A_TIME)), JoinSet::new());
    for (at, cell) in cells.into_iter().enumerate() {
        let at_a_time = Arc::clone(&at_a_time);
        running.spawn(async move {
            let _permit = at_a_time.acquire().await.unwrap();
            (at, cell.run().await)
        });
    }
    let mut rows = running.join_all().await;
    rows.sort_unstable();
    say(
        "| store | guarantee | killed at | duplicates meanwhile (same to it, to another; other to it, to another) | retry | attempts | effects |",
    );
    for row in rows.into_iter().filter_map(|(_, row)| row) {
        say(&row);
    }
}

macro_rules! matrices {
    ($($name:ident: $kind:ident $mode:ident;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            matrix(Kind::$kind, Mode::$mode).await;
        }
    )*};
}

matrices! {
    postgres_transactional: Postgres Transactional;
    postgres_leased: Postgres Leased;
    postgres_complete_in: Postgres CompleteIn;
    sqlite_transactional: Sqlite Transactional;
    sqlite_leased: Sqlite Leased;
    sqlite_complete_in: Sqlite CompleteIn;
    redis_leased: Redis Leased;
}
