//! What a queue cannot do without, by hand: one table with an index in the order of the queue, jobs that are
//! inserted by one statement and taken and deleted by one statement. Nobody has a lease, and a job whose worker
//! dies is lost.

use async_trait::async_trait;
use purlin_benches::servers::{execute, pool};
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::{
    peer::{Mode, Peer, Running},
    tally::{self, Payload},
};

pub struct Raw {
    pool: PgPool,
}

const CREATE: &str = "create table raw_jobs (
        id bigint generated always as identity primary key,
        run_at timestamptz not null default now(),
        queue text not null,
        kind text not null,
        payload bytea not null
    );
    create index raw_jobs_order on raw_jobs (queue, run_at, id);
    create function told() returns trigger language plpgsql as $$
        begin perform pg_notify('raw_jobs', ''); return null; end $$;
    create trigger told after insert on raw_jobs for each statement execute function told()";

const INSERT: &str = "insert into raw_jobs (queue, kind, payload)
    select 'default', 'bench', payload from unnest($1::bytea[]) as e(payload)";

const TAKE: &str = "delete from raw_jobs where id = any (array (
    select id from raw_jobs where queue = 'default' order by run_at, id
    limit 1000 for update skip locked))
    returning payload";

pub async fn postgres(url: String) -> Raw {
    let pool = pool(&url, 16).await;
    execute(&pool, CREATE).await;
    Raw { pool }
}

/// Two of these keep the two sides busy.
const TAKERS: usize = 2;

#[async_trait]
impl Peer for Raw {
    async fn enqueue(&self, jobs: Vec<Payload>) {
        let json = |job| serde_json::to_vec(job).expect("is JSON");
        let payloads: Vec<Vec<u8>> = jobs.iter().map(json).collect();
        let inserted = sqlx::query(INSERT).bind(payloads).execute(&self.pool);
        inserted.await.expect("are inserted");
    }

    async fn start(&self, _: Mode) -> Running {
        let mut listener = sqlx::postgres::PgListener::connect_with(&self.pool)
            .await
            .expect("connects");
        listener.listen("raw_jobs").await.expect("listens");
        let (told, _) = tokio::sync::watch::channel(());
        let mut tasks = JoinSet::new();
        for _ in 0..TAKERS {
            let (pool, mut news) = (self.pool.clone(), told.subscribe());
            tasks.spawn(async move {
                loop {
                    news.mark_unchanged();
                    let taken = sqlx::query_scalar::<_, Vec<u8>>(TAKE)
                        .fetch_all(&pool)
                        .await;
                    let taken = taken.expect("are taken");
                    for payload in &taken {
                        let payload = serde_json::from_slice(payload).expect("is JSON");
                        tally::run(payload).await;
                    }
                    if taken.is_empty() {
                        let _ = news.changed().await;
                    }
                }
            });
        }
        tasks.spawn(async move {
            while listener.recv().await.is_ok() {
                told.send_replace(());
            }
        });
        Running::new(async move { tasks.shutdown().await })
    }

    async fn left(&self) -> u64 {
        let left =
            sqlx::query_scalar::<_, i64>("select count(*) from raw_jobs").fetch_one(&self.pool);
        left.await.expect("counts").unsigned_abs()
    }
}
