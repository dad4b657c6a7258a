//! As `raw_postgres`, for SQLite.

use std::time::Duration;

use async_trait::async_trait;
use purlin_store::sqlite::{SqliteConfig, begin_immediate};
use sqlx::SqlitePool;

use crate::{
    peer::{Mode, Peer, Running},
    tally::{self, Payload},
};

pub struct Raw(SqlitePool);

const CREATE: &str = "create table raw_jobs (
        id integer primary key,
        run_at integer not null default (unixepoch()),
        queue text not null,
        kind text not null,
        payload blob not null
    ) strict;
    create index raw_jobs_order on raw_jobs (queue, run_at, id)";

const INSERT: &str = "insert into raw_jobs (queue, kind, payload)
    select 'default', 'bench', cast(value as blob) from json_each($1)";

const TAKE: &str = "delete from raw_jobs where id in (
    select id from raw_jobs where queue = 'default' order by run_at, id limit 1000)
    returning payload";

pub async fn sqlite(path: String) -> Raw {
    let pool = SqliteConfig::new(path).connect().await.expect("opens");
    sqlx::raw_sql(CREATE).execute(&pool).await.expect("creates");
    Raw(pool)
}

#[async_trait]
impl Peer for Raw {
    async fn enqueue(&self, jobs: Vec<Payload>) {
        let json = |job| serde_json::to_string(job).expect("is JSON");
        let payloads: Vec<String> = jobs.iter().map(json).collect();
        let payloads = serde_json::to_string(&payloads).expect("is JSON");
        let mut transaction = begin_immediate(&self.0).await.expect("begins");
        let inserted = sqlx::query(INSERT)
            .bind(payloads)
            .execute(&mut *transaction);
        inserted.await.expect("are inserted");
        transaction.commit().await.expect("commits");
    }

    async fn start(&self, _: Mode) -> Running {
        let pool = self.0.clone();
        let run = tokio::spawn(async move {
            loop {
                let mut transaction = begin_immediate(&pool).await.expect("begins");
                let taken = sqlx::query_scalar::<_, Vec<u8>>(TAKE).fetch_all(&mut *transaction);
                let taken = taken.await.expect("are taken");
                transaction.commit().await.expect("commits");
                for payload in &taken {
                    tally::run(serde_json::from_slice(payload).expect("is JSON")).await;
                }
                if taken.is_empty() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        });
        Running::new(async move {
            run.abort();
            let _ = run.await;
        })
    }

    async fn left(&self) -> u64 {
        let left = sqlx::query_scalar::<_, i64>("select count(*) from raw_jobs").fetch_one(&self.0);
        left.await.expect("counts").unsigned_abs()
    }
}
