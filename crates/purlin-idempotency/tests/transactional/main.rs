//! The layer over a database: what of the handler's writes and of the record is there afterwards.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

/// Each test once on each database.
macro_rules! on_both {
    ($($test:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(crate::harness::Db::sqlite().await.unwrap()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                let Some(db) = crate::harness::Db::postgres().await else { return };
                super::$test(db).await;
            })*
        }
    };
}

mod copies;
mod duplicates;
mod harness;
mod joined;
mod outcomes;
