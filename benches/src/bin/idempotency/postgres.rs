//! Postgres: the transactional guarantee against the same handler in a plain transaction, the lease
//! guarantee, and replays against a `SELECT` by primary key.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use purlin_benches::load::{Load, table};
use purlin_idempotency::store::{Claim, Claimed, Completion, Fenced};
use purlin_idempotency::{
    Answer, Execution, Fingerprint, IdempotencyLayer, IdempotencyStore as _, Leased, PostgresStore,
    RecordId, RequestBody, RequestTransaction, Scope, Transactional,
};
use sqlx::{PgConnection, PgPool, Postgres as Db};
use tower::{Layer as _, service_fn};

use crate::{
    FIRST, REPLAY,
    apps::{self, App, Plain},
    servers::{CONNECTIONS, Postgres, execute},
};

type Body = Full<Bytes>;

/// As many as a stored answer has, with its head.
const ANSWER_BYTES: usize = 400;

pub async fn run(postgres: &Postgres) {
    println!("\n{}; pools of {CONNECTIONS}.", postgres.describe().await);
    let pool = postgres.pool(CONNECTIONS).await;
    execute(
        &pool,
        "create table orders (id bigserial primary key, document bytea not null)",
    )
    .await;
    let store = PostgresStore::new(pool.clone());
    store.migrate().await.expect("migrates");
    let one = postgres.pool(1).await;
    let mut more: [(&str, Vec<String>); 3] = [
        ("statements", Vec::new()),
        ("commits", Vec::new()),
        ("bytes of WAL", Vec::new()),
    ];
    for load in first(&one, &PostgresStore::new(one.clone())) {
        let costs = costs(postgres, &one, &load).await;
        for ((_, column), cost) in more.iter_mut().zip(costs) {
            column.push(cost);
        }
    }
    let title = "First request that inserts one row, Postgres";
    table(title, &[1, 16], &first(&pool, &store), FIRST, &more).await;
    let loads = replay(&pool, &store).await;
    table("Replay, Postgres", &[1, 16], &loads, REPLAY, &[]).await;
    apps::tell_conflicts();
}

pub fn leased(store: &PostgresStore) -> IdempotencyLayer<Leased> {
    IdempotencyLayer::leased(store.clone()).single_tenant()
}

pub fn transactional(store: &PostgresStore) -> IdempotencyLayer<Transactional> {
    IdempotencyLayer::transactional(store.clone()).single_tenant()
}

fn first(pool: &PgPool, store: &PostgresStore) -> Vec<Load> {
    vec![
        apps::first("no layer, `BEGIN`, `INSERT`, `COMMIT`", by_itself(pool)),
        apps::first(
            "purlin, transactional",
            in_its_transaction(&transactional(store)),
        ),
        apps::first("purlin, lease", under_lease(&leased(store), pool)),
        apps::first(
            "purlin, lease, `complete_in` the handler's transaction",
            completing(&leased(store), store, pool),
        ),
    ]
}

async fn insert(connection: &mut PgConnection, document: &[u8]) {
    let sql = "insert into orders (document) values ($1)";
    let query = sqlx::query(sql).bind(document).execute(connection);
    query.await.expect("inserts");
}

async fn read<B: http_body::Body<Error: std::fmt::Debug>>(request: Request<B>) -> Bytes {
    request
        .into_body()
        .collect()
        .await
        .expect("is read")
        .to_bytes()
}

/// The handler with a transaction of its own.
async fn place<B>(pool: PgPool, request: Request<B>) -> Result<Response<Body>, Infallible>
where
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let document = read(request).await;
    let mut transaction = pool.begin().await.expect("begins");
    insert(&mut transaction, &document).await;
    transaction.commit().await.expect("commits");
    Ok(apps::created())
}

fn by_itself(pool: &PgPool) -> impl App {
    let pool = pool.clone();
    Plain(service_fn(move |request: Request<Body>| {
        place(pool.clone(), request)
    }))
}

fn under_lease(layer: &IdempotencyLayer<Leased>, pool: &PgPool) -> impl App {
    let pool = pool.clone();
    let service = move |request: Request<RequestBody<Body>>| place(pool.clone(), request);
    Plain(layer.layer(service_fn(service)))
}

/// The handler in the layer's transaction.
fn in_its_transaction(layer: &IdempotencyLayer<Transactional>) -> impl App {
    let service = |request: Request<RequestBody<Body>>| async {
        let transaction = RequestTransaction::<Db>::take(request.extensions());
        let document = read(request).await;
        insert(&mut transaction.expect("is there"), &document).await;
        Ok::<Response<Body>, Infallible>(apps::created())
    };
    Plain(layer.layer(service_fn(service)))
}

/// The handler whose own transaction completes the lease.
fn completing(layer: &IdempotencyLayer<Leased>, store: &PostgresStore, pool: &PgPool) -> impl App {
    let (store, pool) = (store.clone(), pool.clone());
    let service = move |request: Request<RequestBody<Body>>| {
        let (store, pool) = (store.clone(), pool.clone());
        async move {
            let execution = Execution::of(request.extensions())
                .expect("is there")
                .clone();
            let document = read(request).await;
            let mut transaction = pool.begin().await.expect("begins");
            insert(&mut transaction, &document).await;
            let answer = Answer::from(apps::created::<Bytes>());
            let completed = execution
                .complete_in(&store, &mut *transaction, &answer)
                .await;
            completed.expect("completes");
            transaction.commit().await.expect("commits");
            Ok::<_, Infallible>(Response::from(answer).map(Full::new))
        }
    };
    Plain(layer.layer(service_fn(service)))
}

async fn replay(pool: &PgPool, store: &PostgresStore) -> Vec<Load> {
    let leased = leased(store).with_replay_cache_bytes(0);
    let transactional = transactional(store).with_replay_cache_bytes(0);
    // The newest record is the one that the next line makes.
    let by_lease = apps::replay("purlin, lease", under_lease(&leased, pool)).await;
    let newest = "select id from purlin_idempotency_records order by expires_at desc limit 1";
    let id: Vec<u8> = sqlx::query_scalar(newest)
        .fetch_one(pool)
        .await
        .expect("is there");
    let connections = pool.clone();
    let select = Load::new("`SELECT` of the answer by primary key", move || {
        let (pool, id) = (connections.clone(), id.clone());
        async move {
            let sql = "select answer from purlin_idempotency_records where id = $1";
            let answer = sqlx::query_scalar::<_, Vec<u8>>(sql).bind(&id);
            let answer = answer.fetch_one(&pool).await.expect("is there");
            assert!(answer.ends_with(&apps::ANSWER));
        }
    });
    let id = RecordId::new(
        "bench",
        &Scope::principal("bench"),
        &apps::Key::fresh().parsed(),
    );
    let claim = Claim::new(id, Duration::from_secs(30));
    let Ok(Claimed::Acquired(lease)) = store.claim(&claim).await else {
        panic!("nobody else has it")
    };
    let fingerprint = Fingerprint::from_bytes(&[7; 41]).expect("is one");
    let answer = Bytes::from(vec![7; ANSWER_BYTES]);
    let completion = Completion::new(fingerprint, answer, Duration::from_secs(86_400));
    let completed = store.complete(&lease, &completion).await;
    assert_eq!(completed.expect("completes"), Fenced::Applied);
    let unwrapped = store.clone();
    let by_itself = Load::new("purlin, `PostgresStore` without the layer", move || {
        let (store, claim) = (unwrapped.clone(), claim.clone());
        async move {
            let found = store.claim(&claim).await.expect("is there");
            assert!(matches!(found, Claimed::Existing(_)));
        }
    });
    vec![
        select,
        by_itself,
        by_lease,
        apps::replay("purlin, transactional", in_its_transaction(&transactional)).await,
    ]
}

/// Statements, commits and bytes of the write-ahead log of one request. All of them go over the one
/// connection of `pool`, whose statements are prepared by then.
async fn costs(postgres: &Postgres, pool: &PgPool, load: &Load) -> [String; 3] {
    const REQUESTS: u64 = 100;
    load.repeat(REQUESTS).await;
    let before = counters(postgres, pool).await;
    load.repeat(REQUESTS).await;
    let after = counters(postgres, pool).await;
    // Asking for the first counters was one statement and one commit.
    let per_request = |at: usize, own: i64| (after[at] - before[at] - own) as f64 / REQUESTS as f64;
    [
        per_request(0, 1).to_string(),
        per_request(1, 1).to_string(),
        format!("{:.0}", per_request(2, 0)),
    ]
}

async fn counters(postgres: &Postgres, pool: &PgPool) -> [i64; 3] {
    // A session reports its statistics only now and then, or when it is told to.
    execute(pool, "select pg_stat_force_next_flush()").await;
    let sql = "select
        (select sum(calls)::bigint from pg_stat_statements s
            where s.dbid = d.datid and toplevel),
        xact_commit,
        (pg_current_wal_insert_lsn() - '0/0')::bigint
        from pg_stat_database d where datname = 'bench'";
    let row: (i64, i64, i64) = sqlx::query_as(sql)
        .fetch_one(&postgres.admin)
        .await
        .expect("can be asked");
    row.into()
}
