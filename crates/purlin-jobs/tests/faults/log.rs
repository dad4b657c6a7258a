//! What happened to jobs, in a file that no fault touches: handlers, stores and tests only append.

use std::fmt;
use std::path::Path;

use purlin_jobs::store::Outcome;
use purlin_jobs::{JobContext, JobError, JobId, LeaseId};
use purlin_store::sqlite::{Durability, SqliteConfig};
use sqlx::Row as _;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use crate::PATIENCE;

/// A line of the log. They stand in the order in which they were written.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) seq: i64,
    /// Milliseconds since 1970, by the clock of the file.
    pub(crate) at: i64,
    pub(crate) process: i64,
    pub(crate) what: String,
    pub(crate) job: String,
    pub(crate) lease: String,
    pub(crate) attempt: i64,
    pub(crate) crashes: i64,
    pub(crate) detail: String,
}

impl Line {
    fn read(row: &SqliteRow) -> Self {
        Self {
            seq: row.get("seq"),
            at: row.get("at"),
            process: row.get("process"),
            what: row.get("what"),
            job: row.get("job"),
            lease: row.get("lease"),
            attempt: row.get("attempt"),
            crashes: row.get("crashes"),
            detail: row.get("detail"),
        }
    }

    pub(crate) fn is(&self, what: &str, job: JobId) -> bool {
        self.what == what && self.job == job.to_string()
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seq,
            at,
            process,
            what,
            job,
            lease,
            attempt,
            crashes,
            detail,
        } = self;
        // The ids of one time begin alike.
        let short = |id: &str| id.chars().rev().take(6).collect::<String>();
        let (job, lease) = (short(job), short(lease));
        write!(
            f,
            "{seq} {at} {process} {what} {job} {lease} {attempt} {crashes} {detail}"
        )
    }
}

/// A process as a fault has met it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Killed,
    /// Its leases may have ended while it stood still.
    Stopped,
}

#[derive(Clone, Debug)]
pub(crate) struct Log(SqlitePool);

impl Log {
    pub(crate) async fn create(path: &Path) -> Self {
        let log = Self::open(path).await;
        let sql = "create table log (
            seq integer primary key autoincrement,
            at integer not null default (cast(unixepoch('subsec') * 1000 as integer)),
            process integer not null, what text not null, job text not null, lease text not null,
            attempt integer not null, crashes integer not null, detail text not null)";
        sqlx::raw_sql(sql).execute(&log.0).await.unwrap();
        log
    }

    pub(crate) async fn open(path: &Path) -> Self {
        let config = SqliteConfig::new(path)
            .with_max_connections(1)
            .with_durability(Durability::ProcessCrash)
            .with_busy_timeout(PATIENCE);
        Self(config.connect().await.unwrap())
    }

    async fn append(&self, process: u32, what: &str, of: &Of, detail: &str) {
        let sql = "insert into log (process, what, job, lease, attempt, crashes, detail)
            values (?, ?, ?, ?, ?, ?, ?)";
        sqlx::query(sql)
            .bind(process)
            .bind(what)
            .bind(of.job.map(|id| id.to_string()).unwrap_or_default())
            .bind(
                of.lease
                    .map(|id| id.as_uuid().to_string())
                    .unwrap_or_default(),
            )
            .bind(of.attempt)
            .bind(of.crashes)
            .bind(detail)
            .execute(&self.0)
            .await
            .unwrap();
    }

    async fn own(&self, what: &str, of: &Of, detail: &str) {
        self.append(std::process::id(), what, of, detail).await;
    }

    /// The store has confirmed it, or its transaction is committed.
    pub(crate) async fn enqueued(&self, ids: impl IntoIterator<Item = JobId>) {
        for id in ids {
            self.own("enqueued", &Of::job(id), "").await;
        }
    }

    /// Nobody may ever run it.
    pub(crate) async fn rolled_back(&self, id: JobId) {
        self.own("rolled back", &Of::job(id), "").await;
    }

    pub(crate) async fn claimed(&self, id: JobId, lease: LeaseId) {
        self.own("claimed", &Of::leased(id, lease), "").await;
    }

    pub(crate) async fn begun(&self, context: &JobContext) {
        self.own("begun", &Of::attempt(context), "").await;
    }

    pub(crate) async fn ended(&self, context: &JobContext, result: &Result<(), JobError>) {
        let detail = match result {
            Ok(()) => "ok",
            Err(_) => "failed",
        };
        self.own("ended", &Of::attempt(context), detail).await;
    }

    pub(crate) async fn told(&self, context: &JobContext, what: &str) {
        self.own("told", &Of::attempt(context), what).await;
    }

    pub(crate) async fn settling(&self, id: JobId, lease: LeaseId, outcome: &Outcome) {
        let detail = match outcome {
            Outcome::Done => "done",
            Outcome::Release => "release",
            Outcome::Retry { .. } => "retry",
            _ => "other",
        };
        self.own("settling", &Of::leased(id, lease), detail).await;
    }

    /// `applied` or `stale`.
    pub(crate) async fn settled(&self, id: JobId, lease: LeaseId, how: &str) {
        self.own(how, &Of::leased(id, lease), "").await;
    }

    pub(crate) async fn fault(&self, process: u32, fault: Fault) {
        let detail = format!("{fault:?}");
        self.append(process, "fault", &Of::default(), &detail).await;
    }

    pub(crate) async fn lines(&self) -> Vec<Line> {
        let sql = "select * from log order by seq";
        let rows = sqlx::query(sql).fetch_all(&self.0).await.unwrap();
        rows.iter().map(Line::read).collect()
    }

    /// The attempt and the number of crashes of each time that a job was begun.
    pub(crate) async fn begun_of(&self, id: JobId) -> Vec<(i64, i64)> {
        let lines = self.lines().await.into_iter();
        let begun = lines.filter(|line| line.is("begun", id));
        begun.map(|line| (line.attempt, line.crashes)).collect()
    }
}

#[derive(Default)]
struct Of {
    job: Option<JobId>,
    lease: Option<LeaseId>,
    attempt: u16,
    crashes: u16,
}

impl Of {
    fn job(id: JobId) -> Self {
        Self {
            job: Some(id),
            ..Self::default()
        }
    }

    fn leased(id: JobId, lease: LeaseId) -> Self {
        Self {
            lease: Some(lease),
            ..Self::job(id)
        }
    }

    fn attempt(context: &JobContext) -> Self {
        Self {
            attempt: context.info().attempt,
            crashes: context.info().crashes,
            ..Self::leased(context.info().id, context.lease())
        }
    }
}
