//! How the server executes the statements once the tables are large.

use sqlx::{AssertSqlSafe, PgPool, Row as _};

use crate::harness::{Db, use_it};

/// A million jobs of each of three states, and what no planner may take for a small table.
const ROWS: &str = "
    alter table purlin_jobs_jobs set unlogged;
    alter table purlin_jobs_ready set unlogged;
    alter table purlin_jobs_scheduled set unlogged;
    alter table purlin_jobs_finished set unlogged;
    alter table purlin_jobs_children set unlogged;
    alter table purlin_jobs_edges set unlogged;
    insert into purlin_jobs_jobs
        (id, enqueued_at, version, priority, max_attempts, queue, kind, payload)
    select lpad(n::text, 32, '0')::uuid, timestamptz 'epoch' + n * interval '1 second',
        1, 4, 20, 'default', 'send_receipt', ''
    from generate_series(1, 1000000) n;
    insert into purlin_jobs_ready (queue, rank, id, kind)
    select queue, enqueued_at + interval '40 minutes', id, kind from purlin_jobs_jobs;
    insert into purlin_jobs_scheduled (id, run_at) select id, enqueued_at from purlin_jobs_jobs;
    insert into purlin_jobs_finished (id, enqueued_at, ended_at, version, priority, max_attempts,
        failures, crashes, state, queue, kind, payload)
    select id, enqueued_at, enqueued_at, 1, 4, 20, 1, 0, 3, queue, kind, payload
    from purlin_jobs_jobs;
    insert into purlin_jobs_children (id, waits_for) select id, 2 from purlin_jobs_jobs;
    insert into purlin_jobs_edges (parent, child, on_ended)
    select lpad(n::text, 32, '0')::uuid, lpad(child, 32, '0')::uuid, n % 2 = 0
    from generate_series(1, 1000000) n
        cross join lateral (values ((n + 1)::text), ('f' || n % 100)) children (child);
    alter table purlin_jobs_notes set unlogged;
    alter table purlin_jobs_results set unlogged;
    insert into purlin_jobs_notes (job, enqueued_at, kind, name)
    select id, enqueued_at, 2, 'approved' from purlin_jobs_jobs;
    insert into purlin_jobs_results (job, expires_at, value)
    select id, enqueued_at, '' from purlin_jobs_jobs;
    analyze";

/// Not by `truncate`, which takes the pages too.
const EMPTY: &str = "delete from purlin_jobs_jobs; delete from purlin_jobs_ready;
    delete from purlin_jobs_scheduled; delete from purlin_jobs_leases;
    delete from purlin_jobs_unique; delete from purlin_jobs_finished;
    delete from purlin_jobs_children; delete from purlin_jobs_edges;
    delete from purlin_jobs_notes; delete from purlin_jobs_results;
    delete from purlin_jobs_held; delete from purlin_jobs_slots;
    delete from purlin_jobs_groups; delete from purlin_jobs_mail";

/// What only operators and purges call, and whoever replaces a job that has failed before: to find a ready
/// job by its id all of them may have to be read.
const SELDOM: [&str; 5] = [
    "set is_cancelled = true",
    "set job = $3",
    "from seen v",
    "oldest_ready",
    "is distinct from n.enqueued_at",
];

struct Statement {
    name: String,
    text: String,
    parameters: usize,
}

/// The statements of the store that the one connection of this pool has prepared.
async fn prepared(pool: &PgPool) -> Vec<Statement> {
    let rows = sqlx::query(
        "select name, statement, cardinality(parameter_types)::bigint from pg_prepared_statements
         where statement like '%purlin\\_jobs\\_%' and statement not like '%migrations%'
            and statement not like '%pg_prepared_statements%'",
    )
    .fetch_all(pool)
    .await
    .unwrap();
    let statement = |row: &sqlx::postgres::PgRow| Statement {
        name: row.get(0),
        text: row.get(1),
        parameters: usize::try_from(row.get::<i64, _>(2)).unwrap(),
    };
    rows.iter().map(statement).collect()
}

/// A plan that holds for all values of the parameters, which are null here.
async fn generic_plan(pool: &PgPool, statement: &Statement) -> Vec<String> {
    let nulls = vec!["null"; statement.parameters].join(", ");
    let explain = format!("explain execute \"{}\"({nulls})", statement.name);
    let plan = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_all(pool).await;
    plan.unwrap().iter().map(|row| row.get(0)).collect()
}

/// The statements that are not [`SELDOM`] use indexes, and there are so many of them.
async fn use_indexes(pool: &PgPool, statements: &[Statement]) -> usize {
    let large = [
        "jobs",
        "ready",
        "scheduled",
        "leases",
        "unique",
        "finished",
        "children",
        "edges",
        "notes",
        "results",
        "held",
        "slots",
        "groups",
        "mail",
    ]
    .map(|table| format!("Seq Scan on purlin_jobs_{table}"));
    let mut often = 0;
    for statement in statements {
        if SELDOM.iter().any(|part| statement.text.contains(part)) {
            continue;
        }
        often += 1;
        let plan = generic_plan(pool, statement).await;
        let reads_all = |line: &String| large.iter().any(|scan| line.contains(scan));
        assert!(!plan.iter().any(reads_all), "{}\n{plan:#?}", statement.text);
        // It takes seconds, each time.
        let is_compiled = plan.iter().any(|line| line.contains("JIT"));
        assert!(!is_compiled, "{}\n{plan:#?}", statement.text);
    }
    often
}

/// And does so with a plan that was made when they were empty, which is kept when they grow.
#[tokio::test]
async fn every_statement_that_runs_often_uses_the_indexes_of_large_tables() {
    let Some(db) = Db::with_connections(1).await else {
        return;
    };
    use_it(&db.store, &db.pool, Some(&db.clock)).await;
    let statements = prepared(&db.pool).await;
    assert_eq!(statements.len(), 50, "every statement of the store");
    let run = async |sql: &'static str| {
        sqlx::raw_sql(sql).execute(&db.pool).await.unwrap();
    };
    run("set plan_cache_mode = force_generic_plan").await;
    assert_eq!(use_indexes(&db.pool, &statements).await, 44);
    run(EMPTY).await;
    run("vacuum analyze").await;
    assert_eq!(use_indexes(&db.pool, &statements).await, 44);
    run(ROWS).await;
    assert_eq!(use_indexes(&db.pool, &statements).await, 44);
}
