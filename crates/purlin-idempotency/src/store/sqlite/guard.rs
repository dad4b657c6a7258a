//! Keeps a transaction from being committed in parts.
//!
//! SQLite ends a transaction by itself when the disk is full, for instance, and sqlx does not notice. From
//! then on the connection would commit each statement at once: an effect without a record, should the
//! handler go on. Only the unit of work commits, and nothing else can while its hooks are set.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::{Sqlite, Transaction};
use tokio::runtime::Handle;

use crate::transaction::Lent;

/// Whether what was begun is over, although the unit of work has not ended it.
#[derive(Debug)]
pub(super) struct RolledBack(Arc<AtomicBool>);

impl RolledBack {
    pub(super) fn seen(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

pub(super) async fn set(
    mut transaction: Transaction<'static, Sqlite>,
) -> Result<(Lent<Sqlite>, RolledBack), sqlx::Error> {
    let seen = Arc::new(AtomicBool::new(false));
    let in_hook = Arc::clone(&seen);
    let mut handle = transaction.lock_handle().await?;
    handle.set_rollback_hook(move || in_hook.store(true, Ordering::Release));
    // Turns every commit into a rollback.
    handle.set_commit_hook(|| false);
    drop(handle);
    Ok((Lent::new(transaction, lift_later), RolledBack(seen)))
}

/// The transaction, to be ended now.
pub(super) async fn lift(
    mut transaction: Lent<Sqlite>,
) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
    remove_hooks(&mut transaction).await?;
    Ok(transaction.into_inner())
}

/// Rolls back what was dropped. The statement at which its owner was dropped may still be running.
fn lift_later(mut transaction: Transaction<'static, Sqlite>) {
    // Without a runtime there is no pool either to which the connection could go back.
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(async move { remove_hooks(&mut transaction).await });
    }
}

/// Waits for its turn behind all statements that were begun, those that nobody waits for included.
async fn remove_hooks(transaction: &mut Transaction<'static, Sqlite>) -> Result<(), sqlx::Error> {
    let mut handle = transaction.lock_handle().await?;
    handle.remove_commit_hook();
    handle.remove_rollback_hook();
    Ok(())
}
