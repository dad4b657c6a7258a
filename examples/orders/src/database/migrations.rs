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
    ],
);
