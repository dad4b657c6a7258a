//! All statements, each of which is atomic by itself.
//!
//! `execute` and `fetch_all` step a statement to its end, where SQLite commits it. `fetch_optional`
//! stops at the first row, and a commit that fails after it would go unnoticed: it is for reads.

pub(super) const FIND: &str = "
select attempt, nonce, fingerprint, lease_until, expires_at, answer
from purlin_idempotency
where id = ?1 and visible_until > ?2";

/// Returns the attempt, or nothing when the record is in the way.
pub(super) const CLAIM: &str = "
insert into purlin_idempotency (id, scope, attempt, nonce, fingerprint, lease_until, expires_at)
values (?1, ?2, 1, ?3, ?4, ?5, ?6)
on conflict (id) do update set
    attempt = case when visible_until > ?7 then attempt + 1 else 1 end,
    nonce = excluded.nonce,
    fingerprint = case
        when visible_until > ?7 then coalesce(excluded.fingerprint, fingerprint)
        else excluded.fingerprint
    end,
    lease_until = excluded.lease_until,
    expires_at = excluded.expires_at,
    answer = null
where visible_until <= ?7
    or (?8 and lease_until <= ?7 and coalesce(fingerprint = excluded.fingerprint, true))
returning attempt";

pub(super) const EXTEND: &str = "
update purlin_idempotency
set lease_until = ?5, expires_at = max(expires_at, ?5)
where id = ?1 and attempt = ?2 and nonce = ?3 and lease_until is not null and visible_until > ?4";

/// What this very lease has completed before is written once more as it is, so that one statement
/// tells it from a lease that was lost.
pub(super) const COMPLETE: &str = "
insert into purlin_idempotency (id, scope, attempt, nonce, fingerprint, expires_at, answer)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
on conflict (id) do update set
    attempt = excluded.attempt,
    nonce = excluded.nonce,
    fingerprint = case
        when lease_until is null and visible_until > ?8 then fingerprint
        else excluded.fingerprint
    end,
    lease_until = null,
    expires_at = case
        when lease_until is null and visible_until > ?8 then expires_at
        else excluded.expires_at
    end,
    answer = case
        when lease_until is null and visible_until > ?8 then answer
        else excluded.answer
    end
where visible_until <= ?8 or (attempt = excluded.attempt and nonce = excluded.nonce)";

pub(super) const RELEASE: &str = "
delete from purlin_idempotency
where id = ?1 and attempt = ?2 and nonce = ?3 and lease_until is not null and visible_until > ?4";

pub(super) const ABANDON: &str = "
update purlin_idempotency
set lease_until = min(lease_until, ?4)
where id = ?1 and attempt = ?2 and nonce = ?3 and lease_until is not null and visible_until > ?4";

/// Returns whether the record was visible.
pub(super) const REMOVE: &str = "
delete from purlin_idempotency
where id = ?1
returning visible_until > ?2";

/// Returns for each record whether it had an answer: those are null then, and those that were empty
/// stay empty, since `returning` does not know the values from before.
pub(super) const ERASE: &str = "
update purlin_idempotency
set answer = case when answer = x'' then answer end, fingerprint = null
where scope = ?1 and lease_until is null and visible_until > ?2
    and (answer <> x'' or fingerprint is not null)
returning answer is null";

pub(super) const PURGE: &str = "
delete from purlin_idempotency
where rowid in (
    select rowid from purlin_idempotency
    where visible_until <= ?1
    order by visible_until
    limit ?2
)";

/// A completed record, unless there is a record that is visible.
pub(super) const KEEP: &str = "
insert into purlin_idempotency (id, scope, attempt, nonce, fingerprint, expires_at, answer)
values (?1, ?2, 1, ?3, ?4, ?5, ?6)
on conflict (id) do update set
    attempt = 1,
    nonce = excluded.nonce,
    fingerprint = excluded.fingerprint,
    lease_until = null,
    expires_at = excluded.expires_at,
    answer = excluded.answer
where visible_until <= ?7";

#[cfg(test)]
mod tests {
    use sqlx::sqlite::{SqlitePool, SqlitePoolOptions};
    use sqlx::{AssertSqlSafe, Executor as _, SqlSafeStr as _};

    use super::*;

    async fn in_memory() -> SqlitePool {
        let pool = SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect("sqlite::memory:").await.unwrap();
        let sql = crate::store::SqliteStore::migrator().sql(0);
        pool.execute(AssertSqlSafe(sql).into_sql_str())
            .await
            .unwrap();
        pool
    }

    /// How SQLite goes about a statement, a line for each table that it looks at.
    async fn plan(pool: &SqlitePool, sql: &str) -> Vec<String> {
        let explain = AssertSqlSafe(format!("explain query plan {sql}"));
        let lines: Vec<(i64, i64, i64, String)> =
            sqlx::query_as(explain).fetch_all(pool).await.unwrap();
        lines.into_iter().map(|line| line.3).collect()
    }

    #[tokio::test]
    async fn no_statement_reads_the_whole_table() {
        let pool = in_memory().await;
        let by_id =
            "SEARCH purlin_idempotency USING INDEX sqlite_autoindex_purlin_idempotency_1 (id=?)";
        for sql in [FIND, EXTEND, RELEASE, ABANDON, REMOVE] {
            assert_eq!(plan(&pool, sql).await, [by_id], "{sql}");
        }
        // The unique index is what an upsert looks into, and no plan names it.
        for sql in [CLAIM, COMPLETE, KEEP] {
            assert_eq!(plan(&pool, sql).await, [""; 0], "{sql}");
        }
        assert_eq!(
            plan(&pool, ERASE).await,
            ["SEARCH purlin_idempotency USING INDEX purlin_idempotency_scope (scope=?)"]
        );
        let plan = plan(&pool, PURGE).await;
        let searches = [
            "SEARCH purlin_idempotency USING INTEGER PRIMARY KEY (rowid=?)",
            "SEARCH purlin_idempotency USING INDEX purlin_idempotency_visible (visible_until<?)",
        ];
        for search in searches {
            assert!(plan.iter().any(|line| line == search), "{plan:?}");
        }
        // Neither all records nor a sort of those that were found.
        let costly = |line: &String| line.starts_with("SCAN") || line.contains("TEMP B-TREE");
        assert!(!plan.iter().any(costly), "{plan:?}");
    }

    /// The read before it lets most of these not get so far.
    #[tokio::test]
    async fn a_claim_judges_by_itself() {
        let pool = in_memory().await;
        let fingerprints = [None, Some(&b"a"[..]), Some(&b"b"[..])];
        // Lease until, and expiry; the claim comes at 10.
        let records = [
            (Some(11), 99),
            (Some(11), 9),
            (Some(10), 99),
            (Some(9), 10),
            (None, 99),
            (None, 10),
        ];
        for (lease_until, expires_at) in records {
            for (old, new, reexecute) in fingerprints
                .into_iter()
                .flat_map(|old| fingerprints.map(|new| (old, new)))
                .flat_map(|(old, new)| [false, true].map(|reexecute| (old, new, reexecute)))
            {
                let insert = "insert or replace into purlin_idempotency
                     (id, scope, attempt, nonce, fingerprint, lease_until, expires_at)
                     values (x'01', x'', 5, x'', ?, ?, ?)";
                sqlx::query(insert)
                    .bind(old)
                    .bind(lease_until)
                    .bind(expires_at)
                    .execute(&pool)
                    .await
                    .unwrap();
                let attempt: Option<i64> = sqlx::query_scalar(CLAIM)
                    .bind(&[1_u8][..])
                    .bind(&[2_u8][..])
                    .bind(&[3_u8][..])
                    .bind(new)
                    .bind(30)
                    .bind(40)
                    .bind(10)
                    .bind(reexecute)
                    .fetch_optional(&pool)
                    .await
                    .unwrap();
                let (fingerprint, nonce): (Option<Vec<u8>>, Vec<u8>) =
                    sqlx::query_as("select fingerprint, nonce from purlin_idempotency")
                        .fetch_one(&pool)
                        .await
                        .unwrap();

                let live = lease_until.is_some_and(|until| until > 10);
                let same = old.is_none() || new.is_none() || old == new;
                let expected = match lease_until {
                    _ if !live && expires_at <= 10 => Some((1, new)),
                    Some(_) if !live && reexecute && same => Some((6, new.or(old))),
                    _ => None,
                };
                let case = (lease_until, expires_at, old, new, reexecute);
                assert_eq!(attempt, expected.map(|(attempt, _)| attempt), "{case:?}");
                let kept = expected.map_or(old, |(_, fingerprint)| fingerprint);
                assert_eq!(fingerprint.as_deref(), kept, "{case:?}");
                assert_eq!(nonce == [3], expected.is_some(), "{case:?}");
            }
        }
    }
}
