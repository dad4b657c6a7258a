use std::time::Duration;

use purlin_jobs::{Cron, Fire, Job, JobError, Options, Schedule, Unique};
use purlin_store::unix_micros;
use serde::{Deserialize, Serialize};

use crate::{
    database::Database,
    domain::Timestamp,
    repository::reconciliation::{self, Finding},
};

/// How long one attempt may take: longer than its statement may.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(15);

/// What is younger may still be under way.
const SETTLED_AFTER: Duration = Duration::from_secs(3600);

/// How many are named in one report. Those that are left are in the next one, when these are dealt with.
const NAMED: i64 = 100;

/// The job to compare orders and payments.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reconcile {
    fire: Fire,
}

impl Job for Reconcile {
    const KIND: &'static str = "reconcile";

    /// One at a time: while one waits or runs, the next one is left out.
    fn options() -> Options {
        Options::new()
            .with_timeout(ATTEMPT_LIMIT)
            .with_unique(Unique::until_done(Self::KIND))
    }
}

impl Reconcile {
    /// At three in the morning. When nobody was there then, as soon as somebody is, once.
    pub(crate) fn nightly() -> Schedule {
        let cron = Cron::new("0 3 * * *").and_then(|cron| cron.with_time_zone("Europe/Oslo"));
        let cron = cron.expect("Norway has a clock that shows three");
        Schedule::new("nightly-reconciliation", cron, |fire| Self {
            fire: fire.clone(),
        })
        .expect("letters and a dash")
    }
}

/// Looks for payments that do not fit their orders. It changes nothing: what is to be done about them
/// is for people.
#[derive(Debug, Clone)]
pub(crate) struct Reconciliation {
    database: Database,
}

impl Reconciliation {
    pub(crate) fn new(database: Database) -> Self {
        Self { database }
    }

    /// Writes a report to the log. An attempt that fails has written none, or the same one before.
    pub(crate) async fn run(&self, job: &Reconcile) -> Result<(), JobError> {
        let fire = &job.fire;
        let before = fire.at() - SETTLED_AFTER;
        let before = Timestamp::from_unix_micros(unix_micros(before));
        let before = before.ok_or_else(|| JobError::discard("a time out of range"))?;
        let mut work = self.database.begin_read().await?;
        let findings = reconciliation::find(work.connection(), before, NAMED).await?;
        for Finding {
            payment,
            order,
            what,
        } in &findings
        {
            tracing::warn!(%payment, %order, "reconciliation: {what}");
        }
        let (schedule, findings) = (fire.schedule(), findings.len());
        tracing::info!(schedule, %before, findings, "reconciliation: orders and payments are compared");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use purlin_store::{Clock as _, SystemClock};
    use purlin_testkit::TestDatabase;

    use super::*;
    use crate::database::{DatabaseUrl, on_both};

    /// Orders of all kinds with payments of all kinds, two hours old and new.
    async fn finds_what_does_not_fit(url: DatabaseUrl) {
        let database = Database::open(&url).await.unwrap();
        let now = SystemClock.now();
        let old = Timestamp::from_unix_micros(unix_micros(now - 2 * SETTLED_AFTER)).unwrap();
        let new = Timestamp::from_unix_micros(unix_micros(now)).unwrap();
        let mut work = database.begin().await.unwrap();
        let mut expected = Vec::new();
        for (at, order_status, status, is_found) in [
            (old, "pending", "started", true),
            (old, "pending", "declined", false),
            (old, "paid", "captured", false),
            (old, "cancelled", "captured", true),
            (old, "cancelled", "refund_due", true),
            (new, "pending", "started", false),
            (new, "cancelled", "refund_due", false),
        ] {
            let [order, payment] = [uuid::Uuid::now_v7(), uuid::Uuid::now_v7()];
            let is_open = status == "started";
            on_both!(work.connection(), c => sqlx::query("
                insert into orders (id, customer, status, total_cents, created_at)
                values ($1, 'demo', $2, 100, $3)")
                .bind(order).bind(order_status).bind(at).execute(c).await.map(drop))
            .unwrap();
            on_both!(work.connection(), c => sqlx::query("
                insert into payments (id, order_id, amount_cents, status, charge_key, settled_by,
                    provider_ref, created_at) values ($1, $2, 100, $3, 'k', $4, $4, $5)")
                .bind(payment).bind(order).bind(status).bind((!is_open).then_some("k")).bind(at)
                .execute(c).await.map(drop))
            .unwrap();
            if is_found {
                expected.push((payment, crate::domain::OrderId(order)));
            }
        }
        work.commit().await.unwrap();

        let before = Timestamp::from_unix_micros(unix_micros(now - SETTLED_AFTER)).unwrap();
        let mut work = database.begin_read().await.unwrap();
        let found = reconciliation::find(work.connection(), before, 10)
            .await
            .unwrap();
        let ids: Vec<_> = found.iter().map(|it| (it.payment, it.order)).collect();
        assert_eq!(ids, expected);
        let begins: Vec<_> = found
            .iter()
            .map(|it| it.what.split(',').next().unwrap())
            .collect();
        assert_eq!(begins, ["started", "captured", "captured"]);
        let first = reconciliation::find(work.connection(), before, 1)
            .await
            .unwrap();
        assert_eq!(first, found[..1]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_report_has_what_does_not_fit_on_sqlite() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("orders.db").display());
        finds_what_does_not_fit(url.parse().unwrap()).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_report_has_what_does_not_fit_on_postgres() {
        let Some(database) = TestDatabase::create() else {
            return;
        };
        finds_what_does_not_fit(database.url().parse().unwrap()).await;
    }

    #[test]
    fn it_is_at_three_by_the_clocks_of_norway() {
        let nightly = Reconcile::nightly();
        let first = nightly.cron().next_after(UNIX_EPOCH);
        assert_eq!(first, Some(UNIX_EPOCH + Duration::from_secs(2 * 3600)));
    }
}
