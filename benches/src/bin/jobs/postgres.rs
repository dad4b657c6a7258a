//! Postgres.

use std::{sync::Arc, time::Duration};

use purlin_benches::servers::{Postgres, execute, pool};
use sqlx::{AssertSqlSafe, PgPool};

use crate::{
    Wanted, entrant,
    measure::{self, percentile},
    peer::{Entrant, Mode, Peer, Role},
    peers::{apalis, awa, graphile, purlin, raw_postgres, underway},
    rescue,
    table::{Table, Unit},
};

pub const ENTRANTS: [Entrant; 6] = [
    entrant!("raw SQL", Ceiling, 100_000, raw_postgres::postgres),
    entrant!("purlin-jobs", Ours, 100_000, purlin::postgres),
    entrant!("graphile_worker", Peer, 100_000, graphile::postgres),
    entrant!("awa", Peer, 20_000, awa::postgres),
    entrant!("apalis-postgres", Peer, 20_000, apalis::postgres),
    entrant!("underway", Peer, 2_000, underway::postgres),
];

pub async fn run(wanted: &Wanted) {
    let Some(server) = Postgres::start().await else {
        return;
    };
    println!(
        "\n{}; pools of 16; batches of {}; {}.",
        server.describe().await,
        measure::BATCH,
        ENTRANTS
            .map(|it| format!("{} is given {} jobs to drain", it.name, it.jobs))
            .join(", "),
    );
    let entrants = wanted.entrants(&ENTRANTS);
    let mut bench = Bench {
        server,
        entrants: entrants.clone(),
        databases: 0,
    };
    let mut table = Table::new("Postgres", &entrants);
    if wanted.measure("enqueue") {
        bench.enqueue(&mut table).await;
    }
    if wanted.measure("drain") {
        bench.drain(&mut table).await;
    }
    if wanted.measure("wal") {
        bench.wal(&mut table).await;
    }
    if wanted.measure("idle") {
        bench.idle(&mut table).await;
    }
    if wanted.measure("held") {
        bench.held(&mut table, wanted).await;
    }
    if wanted.measure("rescue") {
        bench.rescue(&mut table, wanted).await;
    }
    if wanted.full && wanted.measure("million") {
        bench.million(&mut table).await;
    }
    table.print();
}

struct Bench {
    server: Postgres,
    entrants: Vec<Entrant>,
    databases: u32,
}

/// A peer, and its database for what is asked beside it.
struct Opened {
    peer: Arc<dyn Peer>,
    url: String,
    admin: PgPool,
}

impl Opened {
    async fn analyze(&self) {
        execute(&self.admin, "vacuum analyze").await;
    }
}

impl Bench {
    async fn open(&mut self, entrant: &Entrant) -> Opened {
        self.databases += 1;
        let url = self
            .server
            .database(&format!("bench_{}", self.databases))
            .await;
        let peer = (entrant.open)(url.clone()).await;
        let admin = pool(&url, 1).await;
        Opened { peer, url, admin }
    }

    async fn open_all(&mut self) -> Vec<Opened> {
        let mut opened = Vec::new();
        for entrant in &self.entrants.clone() {
            opened.push(self.open(entrant).await);
        }
        opened
    }

    async fn enqueue(&mut self, table: &mut Table<'_>) {
        let opened = self.open_all().await;
        let peers: Vec<_> = opened.iter().map(|it| Arc::clone(&it.peer)).collect();
        let one = measure::enqueue_one(&peers, 1).await;
        table.add("enqueue, 1 at a time", Unit::PerSecond, one);
        let many = measure::enqueue_one(&peers, 8).await;
        table.add("enqueue, 8 at a time", Unit::PerSecond, many);
        let many = measure::enqueue_many(&peers).await;
        table.add("enqueue_many", Unit::PerSecond, many);
    }

    async fn drain(&mut self, table: &mut Table<'_>) {
        let opened = self.open_all().await;
        let peers: Vec<_> = opened.iter().map(|it| Arc::clone(&it.peer)).collect();
        let rates = measure::drains(&self.entrants, &peers, |at| opened[at].analyze()).await;
        table.add("drain", Unit::PerSecond, rates);
    }

    /// What is left to drain when there is a million, which is less than it seems: the first 100 000, or
    /// as many as the peer does in a time.
    async fn million(&mut self, table: &mut Table<'_>) {
        let mut rates = Vec::new();
        for entrant in &self.entrants.clone() {
            let opened = self.open(entrant).await;
            measure::load(&*opened.peer, 1_000_000).await;
            opened.analyze().await;
            rates.push(Some(measure::drain(&*opened.peer, entrant.jobs).await));
        }
        table.add("drain of 1 M", Unit::PerSecond, rates);
    }

    /// Without the pages that are copied after a checkpoint, and without vacuum.
    async fn wal(&mut self, table: &mut Table<'_>) {
        const JOBS: u64 = 10_000;
        self.settings("off").await;
        let mut costs = Vec::new();
        for entrant in &self.entrants.clone() {
            let opened = self.open(entrant).await;
            let jobs = JOBS.min(entrant.jobs);
            measure::load(&*opened.peer, jobs / 10).await;
            measure::drain(&*opened.peer, jobs / 10).await;
            let before = self.position().await;
            measure::load(&*opened.peer, jobs).await;
            measure::drain(&*opened.peer, jobs).await;
            let bytes = self.position().await - before;
            costs.push(Some(bytes as f64 / jobs as f64));
        }
        self.settings("on").await;
        table.add("bytes of WAL per job", Unit::Bytes, costs);
    }

    async fn settings(&self, value: &str) {
        for name in ["full_page_writes", "autovacuum"] {
            let set = AssertSqlSafe(format!("alter system set {name} = {value}"));
            sqlx::raw_sql(set)
                .execute(&self.server.admin)
                .await
                .expect("is set");
        }
        execute(&self.server.admin, "select pg_reload_conf()").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }

    async fn position(&self) -> i64 {
        let sql = "select (pg_current_wal_insert_lsn() - '0/0')::bigint";
        let position = sqlx::query_scalar(sql).fetch_one(&self.server.admin);
        position.await.expect("is there")
    }

    /// The first job after a while, and what a worker asks when there is none.
    async fn idle(&mut self, table: &mut Table<'_>) {
        const ROUNDS: usize = 2;
        let opened = self.open_all().await;
        let mut times = vec![Vec::new(); opened.len()];
        let mut queries = vec![Vec::new(); opened.len()];
        for round in 0..ROUNDS {
            for turn in 0..opened.len() {
                let at = (turn + round) % opened.len();
                let worker = opened[at].peer.start(Mode::Idle).await;
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                times[at].extend(measure::latencies(&*opened[at].peer, 150).await);
                tokio::time::sleep(Duration::from_millis(500)).await;
                let before = self.statements(&opened[at].url).await;
                tokio::time::sleep(Duration::from_secs(4)).await;
                let asked = self.statements(&opened[at].url).await - before;
                queries[at].push(asked as f64 / 4.0);
                worker.stop().await;
            }
        }
        for percent in [50, 99] {
            let times = times
                .iter_mut()
                .map(|times| Some(percentile(times, percent)));
            table.add(format!("start, p{percent}"), Unit::Seconds, times.collect());
        }
        let queries = queries
            .into_iter()
            .map(|it| Some(purlin_benches::load::median(it)));
        table.add("queries/s idle", Unit::Number, queries.collect());
    }

    /// Statements that were executed in the database of this URL.
    async fn statements(&self, url: &str) -> i64 {
        let sql = "select coalesce(sum(calls), 0)::bigint from pg_stat_statements s
            join pg_database d on d.oid = s.dbid
            where toplevel and position('/' || d.datname || '?' in $1) > 0
                and query !~* '^(begin|commit|rollback)'";
        let calls = sqlx::query_scalar(sql)
            .bind(url)
            .fetch_one(&self.server.admin);
        calls.await.expect("can be asked")
    }

    /// The speed at the end of a time in which somebody holds a snapshot, as a share of that at its
    /// beginning without one. Jobs come and go all the time.
    async fn held(&mut self, table: &mut Table<'_>, wanted: &Wanted) {
        const JOBS: u64 = 20_000;
        let mut shares = Vec::new();
        for entrant in &self.entrants.clone() {
            let is_close = matches!(entrant.name, "purlin-jobs" | "graphile_worker");
            if !is_close && !wanted.full {
                shares.push(None);
                continue;
            }
            let jobs = JOBS.min(entrant.jobs);
            let opened = self.open(entrant).await;
            let round = async || {
                measure::load(&*opened.peer, jobs).await;
                measure::drain(&*opened.peer, jobs).await
            };
            round().await;
            let mut clean = Vec::new();
            for _ in 0..5 {
                clean.push(round().await);
            }
            let mut holder = opened.admin.begin().await.expect("begins");
            let hold =
                "set transaction isolation level repeatable read; select count(*) from pg_class";
            sqlx::raw_sql(hold)
                .execute(&mut *holder)
                .await
                .expect("has a snapshot");
            let begun = std::time::Instant::now();
            let mut held = Vec::new();
            while begun.elapsed() < wanted.held {
                held.push(round().await);
            }
            holder.rollback().await.expect("ends");
            let last = held.split_off(held.len().saturating_sub(5));
            shares.push(Some(
                purlin_benches::load::median(last) / purlin_benches::load::median(clean),
            ));
        }
        let title = format!("speed after {} s of a held snapshot", wanted.held.as_secs());
        table.add(title, Unit::Share, shares);
    }

    async fn rescue(&mut self, table: &mut Table<'_>, wanted: &Wanted) {
        let mut times = Vec::new();
        for entrant in &self.entrants.clone() {
            let is_asked = entrant.role == Role::Ours || wanted.full;
            if entrant.role == Role::Ceiling || !is_asked {
                times.push(None);
                continue;
            }
            let opened = self.open(entrant).await;
            times.push(rescue::time(entrant, &*opened.peer, &opened.url).await);
        }
        table.add(
            format!(
                "rescue after kill -9, if within {} s",
                rescue::LIMIT.as_secs()
            ),
            Unit::Seconds,
            times,
        );
    }
}
