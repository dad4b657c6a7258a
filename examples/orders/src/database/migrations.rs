use purlin_store::{Migration, Migrations};

/// The tables on Postgres.
pub(super) const POSTGRES: Migrations = Migrations::new(
    "orders",
    &[
        Migration::new(
            1,
            "create",
            1,
            include_str!("../../migrations/postgres/0001_create.sql"),
            include_str!("../../migrations/postgres/0001_create.down.sql"),
        ),
        Migration::new(
            2,
            "payments",
            1,
            include_str!("../../migrations/postgres/0002_payments.sql"),
            include_str!("../../migrations/postgres/0002_payments.down.sql"),
        ),
        Migration::new(
            3,
            "refusals",
            1,
            include_str!("../../migrations/postgres/0003_refusals.sql"),
            include_str!("../../migrations/postgres/0003_refusals.down.sql"),
        ),
        Migration::new(
            4,
            "receipts",
            1,
            include_str!("../../migrations/postgres/0004_receipts.sql"),
            include_str!("../../migrations/postgres/0004_receipts.down.sql"),
        ),
        Migration::new(
            5,
            "webhooks",
            1,
            include_str!("../../migrations/postgres/0005_webhooks.sql"),
            include_str!("../../migrations/postgres/0005_webhooks.down.sql"),
        ),
    ],
);

/// The same tables on SQLite.
pub(super) const SQLITE: Migrations = Migrations::new(
    "orders",
    &[
        Migration::new(
            1,
            "create",
            1,
            include_str!("../../migrations/sqlite/0001_create.sql"),
            include_str!("../../migrations/sqlite/0001_create.down.sql"),
        ),
        Migration::new(
            2,
            "payments",
            1,
            include_str!("../../migrations/sqlite/0002_payments.sql"),
            include_str!("../../migrations/sqlite/0002_payments.down.sql"),
        ),
        Migration::new(
            3,
            "refusals",
            1,
            include_str!("../../migrations/sqlite/0003_refusals.sql"),
            include_str!("../../migrations/sqlite/0003_refusals.down.sql"),
        ),
        Migration::new(
            4,
            "receipts",
            1,
            include_str!("../../migrations/sqlite/0004_receipts.sql"),
            include_str!("../../migrations/sqlite/0004_receipts.down.sql"),
        ),
        Migration::new(
            5,
            "webhooks",
            1,
            include_str!("../../migrations/sqlite/0005_webhooks.sql"),
            include_str!("../../migrations/sqlite/0005_webhooks.down.sql"),
        ),
    ],
);

#[cfg(test)]
mod tests {
    use purlin_store::{
        PostgresMigrator, SchemaName, SqliteMigrator, postgres::PostgresConfig,
        sqlite::SqliteConfig,
    };
    use purlin_testkit::TestDatabase;

    use super::*;

    #[tokio::test]
    async fn the_way_back_and_forth_on_sqlite() {
        let folder = tempfile::tempdir().unwrap();
        let config = SqliteConfig::new(folder.path().join("orders.db"));
        let pool = config.connect().await.unwrap();
        let migrator = SqliteMigrator::new(SQLITE);
        for version in (0..SQLITE.latest()).rev() {
            migrator.migrate(&pool).await.unwrap();
            migrator.revert_to(&pool, version).await.unwrap();
        }
        migrator.migrate(&pool).await.unwrap();
        migrator.check_schema(&pool).await.unwrap();
    }

    #[tokio::test]
    async fn the_way_back_and_forth_on_postgres() {
        let Some(database) = TestDatabase::create() else {
            return;
        };
        let config = PostgresConfig::new(&database.url()).unwrap();
        let pool = config.connect().await.unwrap();
        let migrator = PostgresMigrator::new(POSTGRES, SchemaName::default());
        for version in (0..POSTGRES.latest()).rev() {
            migrator.migrate(&pool).await.unwrap();
            migrator.revert_to(&pool, version).await.unwrap();
        }
        migrator.migrate(&pool).await.unwrap();
        migrator.check_schema(&pool).await.unwrap();
    }
}
