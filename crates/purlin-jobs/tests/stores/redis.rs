use std::sync::Arc;
use std::time::Duration;

use purlin_jobs::testing::conformance::{Harness, start};
use purlin_jobs::{JobAdmin, RedisStore};
use purlin_store::redis::{KeySpace, RedisConfig};
use purlin_store::testing::ManualClock;
use purlin_testkit::TestRedis;

/// One server, with a connection for each handle.
struct Server {
    store: RedisStore,
    second: RedisStore,
    clock: ManualClock,
    _server: TestRedis,
}

async fn server() -> Option<Server> {
    let server = TestRedis::create()?;
    let clock = ManualClock::new(start());
    let connect = || {
        let config = RedisConfig::node(server.url()).with_timeout(Duration::from_secs(60));
        RedisStore::new(config.open().unwrap())
            .with_key_prefix(KeySpace::new(server.prefix()).unwrap())
            .with_clock(clock.clone())
    };
    Some(Server {
        store: connect(),
        second: connect(),
        clock,
        _server: server,
    })
}

impl Harness for Server {
    fn store(&self) -> Arc<dyn JobAdmin> {
        Arc::new(self.store.clone())
    }

    fn second(&self) -> Arc<dyn JobAdmin> {
        Arc::new(self.second.clone())
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }
}

mod contract {
    purlin_jobs::store_conformance!(super::server());
}

#[test]
fn histories() {
    crate::model::compare(64, server);
}
