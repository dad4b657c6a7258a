//! How many statements and commits each call costs, as the driver and SQLite count them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use purlin_idempotency::store::{Begun, Claim};
use purlin_idempotency::{IdempotencyStore as _, Inbox, LeaseLost, TransactionalStore as _};
use purlin_testkit::TestFile;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};

use crate::harness::{
    HOUR, MINUTE, acquire, completion, effect, existing, id, insert_effect, prepare, started,
};

/// One connection that logs each statement which it is given. `BEGIN`, `COMMIT` and `ROLLBACK` of sqlx's
/// transactions are not among them.
pub(crate) async fn logged(path: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(MINUTE);
    SqlitePoolOptions::new()
        .max_connections(1)
        .connect_with(options)
        .await
        .unwrap()
}

/// Hears of each statement in this process when it has ended.
pub(crate) struct Statements<F>(F);

impl<F: Fn(&str) + Send + Sync + 'static> Statements<F> {
    /// At most once in a process, since statements are run by threads of the driver.
    pub(crate) fn watch(hear: F) {
        let subscriber = Registry::default().with(Self(hear));
        tracing::subscriber::set_global_default(subscriber).unwrap();
    }
}

impl<F: Fn(&str) + Send + Sync + 'static> Layer<Registry> for Statements<F> {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, Registry>) {
        if event.metadata().target() == "sqlx::query" {
            let mut text = Text::default();
            event.record(&mut text);
            (self.0)(&text.0);
        }
    }
}

#[derive(Default)]
struct Text(String);

impl tracing::field::Visit for Text {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if ["summary", "db.statement"].contains(&field.name()) {
            self.0 += &format!("{value:?}");
        }
    }
}

/// What was counted since it was last asked.
struct Counted {
    statements: Arc<Mutex<Vec<String>>>,
    commits: usize,
    wal: PathBuf,
}

impl Counted {
    fn on(file: &TestFile) -> Self {
        let mut wal = file.path().into_os_string();
        wal.push("-wal");
        let wal = PathBuf::from(wal);
        let statements = Arc::<Mutex<Vec<String>>>::default();
        let heard = Arc::clone(&statements);
        Statements::watch(move |statement| heard.lock().unwrap().push(statement.to_owned()));
        let commits = commits(&wal);
        Self {
            statements,
            commits,
            wal,
        }
    }

    fn since(&mut self, call: &str, statements: usize, new_commits: usize) {
        let seen = std::mem::take(&mut *self.statements.lock().unwrap());
        assert_eq!(seen.len(), statements, "{call}: {seen:?}");
        self.commits += new_commits;
        assert_eq!(commits(&self.wal), self.commits, "{call}");
    }
}

/// How many commits stand in a log that was never begun anew: the last frame of each says how large
/// the file is then (<https://sqlite.org/fileformat2.html#the_write_ahead_log>).
fn commits(wal: &Path) -> usize {
    let wal = std::fs::read(wal).unwrap();
    let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
    let page_bytes = number(&wal[8..12]) as usize;
    let frames = wal[32..].chunks_exact(24 + page_bytes);
    frames.filter(|frame| number(&frame[4..8]) > 0).count()
}

/// The table in the documentation of the store.
#[tokio::test]
async fn the_costs_are_what_the_documentation_says() {
    let file = TestFile::new();
    let pool = logged(&file.path()).await;
    let place = prepare(file, pool).await;
    let (store, pool) = (&place.store, &place.pool);
    let mut counted = Counted::on(&place.file);

    let lease = acquire(store, id(1)).await;
    counted.since("claim: new", 2, 1);
    existing(store.claim(&Claim::new(id(1), MINUTE)).await.unwrap());
    counted.since("claim: in flight", 1, 0);
    let _ = store.extend(&lease, MINUTE).await.unwrap();
    counted.since("extend", 1, 1);
    let _ = store.abandon(&lease).await.unwrap();
    counted.since("abandon", 1, 1);
    let claim = Claim::new(id(1), MINUTE).with_lease_lost(LeaseLost::Reexecute);
    store.claim(&claim).await.unwrap();
    counted.since("claim: taken over", 2, 1);
    let _ = store.release(&lease).await.unwrap();
    counted.since("release: lost", 1, 0);
    store.remove(&id(1)).await.unwrap();
    counted.since("remove", 1, 1);
    let _ = store.complete(&lease, &completion("done")).await.unwrap();
    counted.since("complete", 1, 1);
    existing(store.claim(&Claim::new(id(1), MINUTE)).await.unwrap());
    counted.since("claim: replay", 1, 0);
    store.get(&id(1)).await.unwrap();
    counted.since("get", 1, 0);
    store.erase_scope(&id(1).scope()).await.unwrap();
    counted.since("erase scope", 1, 1);
    place.clock.advance(HOUR);
    store.purge_expired(10).await.unwrap();
    counted.since("purge expired", 1, 1);

    let mut alone = pool.begin_with("begin immediate").await.unwrap();
    insert_effect(&mut alone, 1).await;
    alone.commit().await.unwrap();
    counted.since("the handler alone", 1, 1);
    let mut unit = started(store, &id(2)).await;
    counted.since("begin: new", 1, 0);
    assert!(matches!(store.begin(&id(2)).await.unwrap(), Begun::Busy));
    counted.since("begin: busy", 0, 0);
    effect(&mut *unit, 2).await;
    counted.since("the handler", 1, 0);
    let _ = unit.commit(&completion("done")).await.unwrap();
    counted.since("commit", 1, 1);
    store.begin(&id(2)).await.unwrap();
    counted.since("begin: replay", 1, 0);

    let mut unit = started(store, &id(3)).await;
    effect(&mut *unit, 3).await;
    counted.since("begin and the handler", 2, 0);
    let _ = unit.refuse(&completion("no")).await.unwrap();
    counted.since("refuse", 1, 1);
    let unit = started(store, &id(4)).await;
    unit.roll_back().await.unwrap();
    counted.since("begin and roll back", 1, 0);

    let mut work = pool.begin_with("begin immediate").await.unwrap();
    let inbox = Inbox::new("mail");
    let _ = store.receive_in(&mut work, &inbox, b"1").await.unwrap();
    counted.since("receive in", 1, 0);
    let _ = store
        .complete_in(&mut work, &lease, &completion("done"))
        .await
        .unwrap();
    counted.since("complete in", 1, 0);
    work.commit().await.unwrap();
    counted.since("the caller's commit", 0, 1);
}
