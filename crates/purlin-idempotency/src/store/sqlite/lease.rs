use std::time::Duration;

use async_trait::async_trait;
use purlin_store::{StoreError, deadline};

use super::row::{Row, after};
use super::{NAME, SqliteStore, fenced, sql};
use crate::store::{
    Claim, Claimed, Completion, Existing, Fenced, IdempotencyStore, Lease, LeaseLost,
};
use crate::{RecordId, ScopeId};

#[async_trait]
impl IdempotencyStore for SqliteStore {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        deadline(NAME, "claim", self.timeout, self.try_claim(claim)).await
    }

    async fn extend(&self, lease: &Lease, ttl: Duration) -> Result<Fenced, StoreError> {
        let extend = async {
            let statement = self.owned(sql::EXTEND, lease);
            let lease_until = after(self.now(), ttl);
            statement.bind(lease_until).execute(&self.pool).await
        };
        Ok(fenced(&self.write("extend", extend).await?))
    }

    async fn complete(&self, lease: &Lease, completion: &Completion) -> Result<Fenced, StoreError> {
        let complete = async {
            let statement = self.completing(lease, completion);
            statement.execute(&self.pool).await
        };
        Ok(fenced(&self.write("complete", complete).await?))
    }

    async fn release(&self, lease: &Lease) -> Result<Fenced, StoreError> {
        let release = async { self.owned(sql::RELEASE, lease).execute(&self.pool).await };
        Ok(fenced(&self.write("release", release).await?))
    }

    async fn abandon(&self, lease: &Lease) -> Result<Fenced, StoreError> {
        let abandon = async { self.owned(sql::ABANDON, lease).execute(&self.pool).await };
        Ok(fenced(&self.write("abandon", abandon).await?))
    }

    async fn get(&self, id: &RecordId) -> Result<Option<Existing>, StoreError> {
        deadline(NAME, "get", self.timeout, async {
            let now = self.now();
            let row = Row::find(&self.pool, id, now).await?;
            row.map(|row| row.into_existing(now)).transpose()
        })
        .await
    }

    async fn remove(&self, id: &RecordId) -> Result<bool, StoreError> {
        let remove = async {
            sqlx::query_scalar(sql::REMOVE)
                .bind(&id.as_bytes()[..])
                .bind(self.now())
                .fetch_all(&self.pool)
                .await
        };
        let removed: Vec<bool> = self.write("remove", remove).await?;
        Ok(removed == [true])
    }

    /// Holds the write lock while it changes all records of the scope. The bytes stay in unused
    /// pages of the file until these are used again, unless the pool sets `pragma secure_delete`.
    async fn erase_scope(&self, scope: &ScopeId) -> Result<u64, StoreError> {
        let erase = async {
            sqlx::query_scalar(sql::ERASE)
                .bind(&scope.as_bytes()[..])
                .bind(self.now())
                .fetch_all(&self.pool)
                .await
        };
        let had_answer: Vec<bool> = self.write("erase scope", erase).await?;
        let erased = had_answer.into_iter().filter(|had| *had).count();
        Ok(u64::try_from(erased).unwrap_or(u64::MAX))
    }

    async fn purge_expired(&self, limit: u32) -> Result<u64, StoreError> {
        let purge = async {
            let statement = sqlx::query(sql::PURGE).bind(self.now()).bind(limit);
            statement.execute(&self.pool).await
        };
        Ok(self.write("purge expired", purge).await?.rows_affected())
    }
}

impl SqliteStore {
    async fn try_claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        loop {
            let now = self.now();
            if let Some(row) = Row::find(&self.pool, &claim.id, now).await? {
                if let Some(lease) = row.lease_of(claim.id, claim.nonce, now) {
                    return Ok(Claimed::Acquired(lease));
                }
                if !row.may_be_taken_over(claim, now)? {
                    return Ok(Claimed::Existing(row.into_existing(now)?));
                }
            }
            let upsert = async {
                let now = self.now();
                sqlx::query_scalar(sql::CLAIM)
                    .bind(&claim.id.as_bytes()[..])
                    .bind(&claim.id.scope().as_bytes()[..])
                    .bind(&claim.nonce.as_bytes()[..])
                    .bind(claim.fingerprint.as_ref().map(|f| &f.as_bytes()[..]))
                    .bind(after(now, claim.lease_ttl))
                    .bind(after(now, claim.unresolved_ttl))
                    .bind(now)
                    .bind(claim.lease_lost == LeaseLost::Reexecute)
                    .fetch_all(&self.pool)
                    .await
            };
            let attempt: Vec<i64> = self.write("claim", upsert).await?;
            // None: somebody was faster since the read, and the next one finds what they did.
            if let [attempt] = attempt[..] {
                return Ok(Claimed::Acquired(Lease {
                    id: claim.id,
                    attempt: attempt.cast_unsigned(),
                    nonce: claim.nonce,
                }));
            }
        }
    }
}
