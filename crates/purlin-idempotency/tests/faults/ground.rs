//! Where records and effects are: one place for each cell, known to the test and to its processes.

use std::time::Duration;

use purlin_idempotency::{
    IdempotencyStore as _, Key, KeySyntax, PostgresStore, RecordId, RedisStore, Scope, SqliteStore,
    store::{Existing, State},
};
use purlin_store::{
    Clock as _, SchemaName, SystemClock,
    postgres::{Pooling, PostgresConfig},
    redis::{KeySpace, RedisConfig, RedisHandle, driver::cmd},
    sqlite::{Durability, SqliteConfig},
    unix_micros,
};
use purlin_testkit::{PgBouncer, PostgresServer, TestFile, TestRedis, TestSchema};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};

use crate::PATIENCE;

/// The key of all requests of a cell.
pub(crate) const KEY: &str = "k";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    /// Postgres through PgBouncer in transaction mode.
    PgBouncer,
    Sqlite,
    Redis,
}

/// What a process is told of its ground.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) name: String,
    /// How long the writers of SQLite wait for each other, and whoever opens it.
    pub(crate) busy_timeout: Duration,
    /// How long a connection to Postgres is waited for, or an answer of Redis, in this process.
    pub(crate) server_timeout: Duration,
}

/// What holds the place, for as long as the cell lasts.
#[derive(Debug)]
enum Holder {
    Schema {
        _schema: TestSchema,
    },
    Bouncer {
        _bouncer: PgBouncer,
    },
    File {
        _file: TestFile,
    },
    Keys {
        _keys: TestRedis,
    },
    /// A server of the test's own.
    Nobody,
}

/// A place with its tables.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) place: Place,
    open: Open,
    // Dropped after the connections.
    _holder: Holder,
}

/// The place, opened by one process.
#[derive(Clone, Debug)]
pub(crate) enum Open {
    Postgres {
        pool: PgPool,
        store: PostgresStore,
        effects: String,
    },
    Sqlite {
        pool: SqlitePool,
        store: SqliteStore,
    },
    Redis {
        redis: RedisHandle,
        store: RedisStore,
        effects: KeySpace,
    },
}

impl Ground {
    /// `None` without a server.
    pub(crate) async fn create(kind: Kind) -> Option<Self> {
        let (place, holder) = match kind {
            Kind::Postgres => {
                let schema = TestSchema::create()?;
                let place = Place::new(kind, &schema.url(), schema.name());
                (place, Holder::Schema { _schema: schema })
            }
            Kind::PgBouncer => unreachable!("it stands before a server of the test's own"),
            Kind::Sqlite => {
                let file = TestFile::new();
                let place = Place::new(kind, &file.path().display().to_string(), "");
                (place, Holder::File { _file: file })
            }
            Kind::Redis => {
                let keys = TestRedis::create()?;
                let place = Place::new(kind, keys.url(), keys.prefix());
                (place, Holder::Keys { _keys: keys })
            }
        };
        Some(Self::prepare(place, holder).await)
    }

    /// A schema on a server of the test's own.
    pub(crate) async fn on_postgres(url: &str, schema: &str) -> Self {
        let place = Place::new(Kind::Postgres, url, schema);
        Self::on_schema(place, Holder::Nobody).await
    }

    /// The same behind a PgBouncer, whose two sessions are for this ground alone; `None` without the
    /// program.
    pub(crate) async fn behind_pgbouncer(server: &PostgresServer, schema: &str) -> Option<Self> {
        let bouncer = PgBouncer::start(server)?;
        let bounced = bouncer.url();
        let place = Place::new(Kind::PgBouncer, &server.url(), schema);
        let holder = Holder::Bouncer { _bouncer: bouncer };
        let mut ground = Self::on_schema(place, holder).await;
        // For the processes: the test itself looks past it.
        ground.place.url = bounced;
        Some(ground)
    }

    async fn on_schema(place: Place, holder: Holder) -> Self {
        let Place { url, name, .. } = &place;
        let pool = PostgresConfig::new(url).unwrap().connect().await.unwrap();
        let sql = AssertSqlSafe(format!("create schema {name}"));
        sqlx::raw_sql(sql).execute(&pool).await.unwrap();
        pool.close().await;
        Self::prepare(place, holder).await
    }

    /// Keys of a server of the test's own.
    pub(crate) async fn on_redis(url: &str, prefix: &str) -> Self {
        Self::prepare(Place::new(Kind::Redis, url, prefix), Holder::Nobody).await
    }

    async fn prepare(place: Place, holder: Holder) -> Self {
        let open = place.open(1).await;
        match &open {
            Open::Postgres {
                pool,
                store,
                effects,
            } => {
                store.migrate().await.unwrap();
                let sql = format!("create table {effects} (part bigint, attempt bigint)");
                sqlx::raw_sql(AssertSqlSafe(sql))
                    .execute(pool)
                    .await
                    .unwrap();
            }
            Open::Sqlite { pool, store } => {
                store.migrate().await.unwrap();
                let sql = "create table effects (part bigint, attempt bigint)";
                sqlx::raw_sql(sql).execute(pool).await.unwrap();
            }
            Open::Redis { .. } => {}
        }
        Self {
            place,
            open,
            _holder: holder,
        }
    }

    /// How often each of the two halves of the effect is there.
    pub(crate) async fn effects(&self) -> [i64; 2] {
        [self.count_part(1).await, self.count_part(2).await]
    }

    async fn count_part(&self, part: i64) -> i64 {
        match &self.open {
            Open::Postgres { pool, effects, .. } => {
                let sql = format!("select count(*) from {effects} where part = $1");
                let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(part);
                query.fetch_one(pool).await.unwrap()
            }
            Open::Sqlite { pool, .. } => {
                let query = sqlx::query_scalar("select count(*) from effects where part = $1");
                query.bind(part).fetch_one(pool).await.unwrap()
            }
            Open::Redis { redis, effects, .. } => {
                let mut length = cmd("LLEN");
                length.arg(effects.key(&part.to_string()));
                redis.query("count", &length).await.unwrap()
            }
        }
    }

    /// How many completed records there are.
    pub(crate) async fn completed(&self) -> i64 {
        match &self.open {
            Open::Postgres { pool, .. } => {
                let name = &self.place.name;
                let sql = format!(
                    "select count(*) from {name}.purlin_idempotency_records where state = 1"
                );
                let query = sqlx::query_scalar(AssertSqlSafe(sql));
                query.fetch_one(pool).await.unwrap()
            }
            Open::Sqlite { pool, .. } => {
                let sql = "select count(*) from purlin_idempotency where lease_until is null";
                sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
            }
            Open::Redis { store, .. } => {
                let key = Key::parse(KEY.as_bytes(), KeySyntax::Lenient).unwrap();
                let id = RecordId::new("", &Scope::single_tenant(), &key);
                let record = store.get(&id).await.unwrap();
                let is_completed =
                    |record: &Existing| matches!(record.state, State::Completed { .. });
                i64::from(record.as_ref().is_some_and(is_completed))
            }
        }
    }

    /// Whether the lease of its only record has ended.
    pub(crate) async fn is_lapsed(&self) -> bool {
        match &self.open {
            Open::Postgres { pool, .. } => {
                let name = &self.place.name;
                let sql = format!(
                    "select lease_until <= clock_timestamp() from {name}.purlin_idempotency_records"
                );
                let query = sqlx::query_scalar(AssertSqlSafe(sql));
                query.fetch_one(pool).await.unwrap()
            }
            Open::Sqlite { pool, .. } => {
                let sql = "select lease_until <= $1 from purlin_idempotency";
                let query = sqlx::query_scalar(sql).bind(unix_micros(SystemClock.now()));
                query.fetch_one(pool).await.unwrap()
            }
            Open::Redis { .. } => unreachable!("no transaction stands still there"),
        }
    }
}

impl Place {
    fn new(kind: Kind, url: &str, name: &str) -> Self {
        Self {
            kind,
            url: url.to_owned(),
            name: name.to_owned(),
            busy_timeout: PATIENCE,
            server_timeout: PATIENCE,
        }
    }

    pub(crate) fn to_env(&self) -> String {
        let millis = self.busy_timeout.as_millis();
        format!("{:?}|{}|{}|{millis}", self.kind, self.url, self.name)
    }

    pub(crate) fn from_env(text: &str) -> Self {
        let [kind, url, name, millis] = text.split('|').collect::<Vec<_>>()[..] else {
            panic!("not a place: {text}");
        };
        let kind = match kind {
            "Postgres" => Kind::Postgres,
            "PgBouncer" => Kind::PgBouncer,
            "Sqlite" => Kind::Sqlite,
            "Redis" => Kind::Redis,
            _ => panic!("not a kind: {kind}"),
        };
        let mut place = Self::new(kind, url, name);
        place.busy_timeout = Duration::from_millis(millis.parse().unwrap());
        place
    }

    pub(crate) async fn open(&self, max_connections: u32) -> Open {
        match self.kind {
            Kind::Postgres | Kind::PgBouncer => {
                let pooling = match self.kind {
                    Kind::PgBouncer => Pooling::Transaction,
                    _ => Pooling::Session,
                };
                let config = PostgresConfig::new(&self.url).unwrap();
                let config = config
                    .with_pooling(pooling)
                    .with_max_connections(max_connections)
                    .with_acquire_timeout(self.server_timeout);
                let pool = config.connect().await.unwrap();
                let schema = SchemaName::new(&self.name).unwrap();
                let store = PostgresStore::new(pool.clone())
                    .with_schema(schema)
                    .with_pooling(pooling);
                let effects = format!("{}.effects", self.name);
                Open::Postgres {
                    pool,
                    store,
                    effects,
                }
            }
            Kind::Sqlite => {
                let config = SqliteConfig::new(&self.url)
                    .with_max_connections(max_connections)
                    // A machine that loses power is not part of this matrix.
                    .with_durability(Durability::ProcessCrash)
                    .with_busy_timeout(self.busy_timeout);
                let pool = config.connect().await.unwrap();
                let store = SqliteStore::new(pool.clone());
                Open::Sqlite { pool, store }
            }
            Kind::Redis => {
                let redis = RedisConfig::node(&*self.url)
                    .with_timeout(self.server_timeout)
                    .open()
                    .unwrap();
                let records = KeySpace::new(&format!("{}:records", self.name)).unwrap();
                let store = RedisStore::new(redis.clone()).with_key_prefix(records);
                let effects = KeySpace::new(&format!("{}:effects", self.name)).unwrap();
                Open::Redis {
                    redis,
                    store,
                    effects,
                }
            }
        }
    }
}
