//! The guide's code: what `docs/jobs.md` shows is compiled here word for word, and run.

// The guide is laid out for reading.
#![cfg_attr(rustfmt, rustfmt_skip)]
#![expect(clippy::print_stdout, reason = "the guide shows what to print")]

use std::time::Duration;

use purlin_jobs::store::{Filter, Page, Settled, State};
use purlin_jobs::{
    Job, JobAdmin as _, JobContext, JobError, JobStore, Jobs, NewJob, Options, PostgresStore,
    QueueName, Unique, Worker, handler_fn,
};
use purlin_testkit::TestDatabase;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};
use tower::ServiceBuilder;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Serialize, Deserialize)]
struct SendReceipt {
    order: i64,
}

impl Job for SendReceipt {
    const KIND: &'static str = "send_receipt"; // stands in the database: never a type's name

    fn options() -> Options {
        Options::new().with_max_attempts(8).with_timeout(Duration::from_secs(30))
    }
}

#[derive(Serialize, Deserialize)]
struct Book {
    order: i64,
}

impl Job for Book {
    const KIND: &'static str = "book";
}

async fn insert_order(tx: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("insert into orders default values returning id").fetch_one(tx).await
}

async fn insert_booking(tx: &mut PgConnection, order: i64) -> Result<(), sqlx::Error> {
    let sql = "insert into bookings (id) values ($1)";
    sqlx::query(sql).bind(order).execute(tx).await.map(drop)
}

async fn place_order(pool: &PgPool, jobs: &Jobs<PostgresStore>) -> Result<i64, BoxError> {
    let mut tx = pool.begin().await?;
    let order = insert_order(&mut tx).await?;
    jobs.enqueue_in(&mut *tx, SendReceipt { order }).await?;
    let later = NewJob::new(&Book { order }).with(|options| {
        let unique = Unique::until_done(format!("book/{order}"));
        options.with_delay(Duration::from_millis(10)).with_unique(unique)
    });
    jobs.enqueue_in(&mut *tx, later).await?;
    tx.commit().await?; // the order and its jobs, or none of them
    Ok(order)
}

async fn send(job: SendReceipt, context: JobContext) -> Result<(), JobError> {
    let key = format!("receipt/{}", job.order); // the provider sends it once, whatever we do
    match deliver(&key, context.info().attempt).await {
        Ok(()) => Ok(()),
        Err(Refused::Busy(after)) => Err(JobError::retry_after(after, "the provider is busy")),
        Err(Refused::NoSuchAddress) => Err(JobError::discard("no such address")),
    }
}

async fn book(job: Book, context: JobContext, store: PostgresStore, pool: PgPool) -> Result<(), JobError> {
    let mut tx = pool.begin().await?;
    insert_booking(&mut tx, job.order).await?;
    if context.complete_in(&store, &mut *tx).await? == Settled::Stale {
        return Err(JobError::cancel()); // somebody else has it: dropped, the transaction rolls back
    }
    tx.commit().await?; // the booking, and the job is done: together or not at all
    Ok(())
}

fn worker(store: PostgresStore, pool: PgPool) -> Worker {
    let (inside, connections) = (store.clone(), pool);
    let book = move |job, context| book(job, context, inside.clone(), connections.clone());
    let send = ServiceBuilder::new().concurrency_limit(8).service(handler_fn(send));
    Worker::new(store)
        .register_service::<SendReceipt, _>(send)
        .register(handler_fn(book))
        .with_queue(QueueName::DEFAULT, 50)
}

async fn look(store: &PostgresStore) -> Result<(), BoxError> {
    let counts = store.counts(None).await?; // ready, scheduled, leased, dead, cancelled; the oldest
    let mut dead = Filter::default();
    dead.state = Some(State::Dead);
    for job in store.list(&dead, &Page { after: None, limit: 100 }).await? {
        let reason = job.failure.map(|failure| failure.error).unwrap_or_default();
        println!("{} of {}: {reason}", job.id, counts.dead);
        store.replay(job.id).await?; // with all its attempts
    }
    store.purge_finished(Duration::from_secs(30 * 86_400), 1_000).await?;
    Ok(())
}

enum Refused {
    Busy(Duration),
    NoSuchAddress,
}

/// Busy once, and then it does not know the address.
async fn deliver(key: &str, attempt: u16) -> Result<(), Refused> {
    match (key.ends_with("/1"), attempt) {
        (true, 1) => Err(Refused::Busy(Duration::from_millis(10))),
        (true, _) => Err(Refused::NoSuchAddress),
        _ => Ok(()),
    }
}

#[tokio::test]
async fn what_the_guide_shows_works() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let pool = PgPool::connect(&database.url()).await.unwrap();
    sqlx::raw_sql("create table orders (id bigserial); create table bookings (id bigint primary key)")
        .execute(&pool)
        .await
        .unwrap();
    let store = PostgresStore::new(pool.clone());
    store.migrate().await.unwrap();
    let jobs = Jobs::new(store.clone());
    for order in 1..=2 {
        assert_eq!(place_order(&pool, &jobs).await.unwrap(), order);
    }
    let run = async || {
        worker(store.clone(), pool.clone()).run_until_empty(Duration::from_secs(60)).await.unwrap();
        store.counts(None).await.unwrap()
    };
    // What is scheduled for a moment later is not waited for.
    let mut counts = run().await;
    while counts.scheduled > 0 {
        counts = run().await;
    }
    assert_eq!((counts.ready, counts.leased, counts.dead), (0, 0, 1));
    let booked: i64 = sqlx::query_scalar("select count(*) from bookings").fetch_one(&pool).await.unwrap();
    assert_eq!(booked, 2);
    look(&store).await.unwrap();
    assert_eq!(store.counts(None).await.unwrap().ready, 1);
    assert_eq!(store.name(), "postgres");
}

#[test]
fn the_guide_shows_nothing_else() {
    let guide = include_str!("../../../docs/jobs.md");
    let code = include_str!("guide.rs");
    let mut blocks = 0;
    for block in guide.split("```rust\n").skip(1) {
        let block = block.split("```").next().unwrap();
        assert!(code.contains(block), "the guide has code that is not compiled:\n{block}");
        blocks += 1;
    }
    assert!(blocks > 3);
}
