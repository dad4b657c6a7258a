//! `PostgresStore` on a real Postgres.
