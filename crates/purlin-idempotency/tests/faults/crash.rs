//! `kill -9` at each point, with and without duplicates, then retries until a definite answer.

use std::sync::Arc;

use purlin_idempotency::LeaseLost;
use purlin_testkit::PostgresServer;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::{
    child::Orders,
    duplicates::{Company, Duplicates},
    ground::{Ground, KEY, Kind},
    process::{Answer, BODY, OTHER_BODY, Server, retry, send},
    say,
    stops::Point,
    work::Mode,
};

/// How many cells run at a time: each has three processes with connections of their own.
const AT_A_TIME: usize = 4;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) kind: Kind,
    pub(crate) mode: Mode,
    lease_lost: LeaseLost,
    pub(crate) point: Point,
    pub(crate) duplicates: Duplicates,
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
                Point::InHandler | Point::BetweenWrites | Point::Written | Point::Draining => {
                    end(false, &[1, 1], [1, 1])
                }
                _ => end(false, &[1], [1, 1]),
            };
        }
        let again = self.lease_lost == LeaseLost::Reexecute;
        match self.point {
            Point::BeforeClaim | Point::Completed | Point::BeforeAnswer | Point::MidAnswer => {
                end(false, &[1], [1, 1])
            }
            Point::Claimed if again => end(false, &[2], [1, 1]),
            Point::Claimed => end(true, &[], [0, 0]),
            // What was written outside of the record's transaction stays.
            Point::InHandler | Point::Extended | Point::Joined if again => {
                end(false, &[1, 2], [1, 1])
            }
            Point::InHandler | Point::Extended | Point::Joined => end(true, &[1], [0, 0]),
            _ if joins && again => end(false, &[1, 2], [1, 1]),
            _ if joins => end(true, &[1], [0, 0]),
            Point::BetweenWrites | Point::Draining if again => end(false, &[1, 2], [2, 1]),
            Point::BetweenWrites | Point::Draining => end(true, &[1], [1, 0]),
            Point::Written if again => end(false, &[1, 2], [2, 2]),
            Point::Written => end(true, &[1], [1, 1]),
        }
    }

    async fn run(self, ground: Ground) -> String {
        let orders = Orders::new(&ground.place, self.mode, self.lease_lost);
        let meeting = self.duplicates.orders(&orders);
        let mut company = Company::start(self, &meeting).await;
        let mut first = Server::start(&meeting.stopping(self.point)).await;
        let pending = tokio::spawn(send(first.address, KEY, BODY));
        first.stopped().await;
        if let Some(company) = &mut company {
            company.meet(&mut first).await;
        }
        if self.point == Point::Draining {
            first.shut_down().await;
        }
        let mut attempts = first.kill().await;
        let broken_off = pending.await.unwrap().expect_err("an answer of the dead");
        let mut seen = Vec::new();
        if let Some(company) = company {
            let (answers, more) = company.end().await;
            seen = answers;
            attempts.extend(more);
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
        // Whoever was told something was told this.
        for earlier in seen.iter().filter(|answer| answer.is_definite()) {
            assert_eq!(earlier.body, answer.body, "{self:?}");
        }
        let begun = &broken_off.body;
        assert!(answer.body.starts_with(begun), "{self:?}: {begun}");
        assert_eq!(
            !begun.is_empty(),
            self.point == Point::MidAnswer,
            "{self:?}"
        );
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
        self.row(&seen, &answer, &end)
    }

    fn row(&self, seen: &[Answer], answer: &Answer, end: &End) -> String {
        let guarantee = match (self.mode, self.lease_lost) {
            (Mode::Transactional, _) => "transactional".to_owned(),
            (Mode::Leased, lost) => format!("lease, {lost:?}"),
            (Mode::CompleteIn, lost) => format!("lease, complete_in, {lost:?}"),
        };
        let seen = seen.iter().map(Answer::word).collect::<Vec<_>>().join(", ");
        let seen = match self.duplicates {
            Duplicates::None => "none".to_owned(),
            Duplicates::Answered => seen,
            Duplicates::Waiting => format!("waiting: {seen}"),
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
    let mut server = None;
    if kind == Kind::PgBouncer {
        let Some(started) = PostgresServer::start() else {
            return;
        };
        server = Some(Arc::new(started));
    }
    let (at_a_time, mut running) = (Arc::new(Semaphore::new(AT_A_TIME)), JoinSet::new());
    for (at, cell) in cells(kind, mode).into_iter().enumerate() {
        let (at_a_time, server) = (Arc::clone(&at_a_time), server.clone());
        running.spawn(async move {
            let _permit = at_a_time.acquire().await.unwrap();
            let ground = match &server {
                Some(server) => Ground::behind_pgbouncer(server, &format!("cell{at}")).await?,
                None => Ground::create(kind).await?,
            };
            Some((at, cell.run(ground).await))
        });
    }
    let mut rows = running.join_all().await;
    rows.sort_unstable();
    say(
        "| store | guarantee | killed at | duplicates meanwhile (same to it, to another; other to it, to another) | retry | attempts | effects |",
    );
    for (_, row) in rows.into_iter().flatten() {
        say(&row);
    }
}

fn cells(kind: Kind, mode: Mode) -> Vec<Cell> {
    let policies = match mode {
        Mode::Transactional => &[LeaseLost::Indeterminate][..],
        Mode::Leased | Mode::CompleteIn => &[LeaseLost::Indeterminate, LeaseLost::Reexecute],
    };
    let mut cells = Vec::new();
    for &lease_lost in policies {
        for point in Point::ALL {
            // A transaction has no heartbeats.
            let heartbeat = point == Point::Extended;
            if (mode != Mode::CompleteIn && point == Point::Joined)
                || (mode == Mode::Transactional && heartbeat)
            {
                continue;
            }
            for duplicates in Duplicates::ALL {
                // A lease whose heartbeats stand still ends while duplicates are sent.
                if duplicates == Duplicates::Answered && heartbeat {
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
    cells
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
    pgbouncer_transactional: PgBouncer Transactional;
    pgbouncer_leased: PgBouncer Leased;
    sqlite_transactional: Sqlite Transactional;
    sqlite_leased: Sqlite Leased;
    sqlite_complete_in: Sqlite CompleteIn;
    redis_leased: Redis Leased;
}
