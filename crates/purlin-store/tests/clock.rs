//! One instant, said by every store: the override where there is one, else the store's own time.

#![expect(clippy::unwrap_used, reason = "the helpers of a test are a test")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;
use purlin_store::redis::{KeySpace, RedisConfig, Script};
use purlin_store::testing::ManualClock;
use purlin_store::{Clock, SystemClock, from_unix_micros, unix_micros};
use purlin_testkit::{TestDatabase, TestRedis};
use sqlx::{Connection as _, PgConnection};

/// A time that a double of seconds cannot hold exactly.
const ODD_MICROS: i64 = 4_102_444_799_999_999;

fn odd_clock() -> ManualClock {
    ManualClock::new(from_unix_micros(ODD_MICROS).unwrap())
}

#[expect(clippy::disallowed_methods, reason = "compares with the real time")]
async fn assert_close_to_now(micros: i64) {
    let off = (micros - unix_micros(SystemTime::now())).unsigned_abs();
    assert!(
        Duration::from_micros(off) < Duration::from_secs(60),
        "{micros} is not about now"
    );
}

#[tokio::test]
async fn postgres_takes_the_override_and_its_own_time_without_one() {
    let Some(database) = TestDatabase::create() else {
        return;
    };
    let mut connection = PgConnection::connect(&database.url()).await.unwrap();
    // The expression that the doc of `Clock` recommends.
    let sql = "select (extract(epoch from coalesce(
                   timestamptz 'epoch' + $1 * interval '1 microsecond', clock_timestamp()
               )) * 1000000)::bigint";
    let mut ask = async |clock: &dyn Clock| -> i64 {
        let micros = clock.override_micros();
        sqlx::query_scalar(sql)
            .bind(micros)
            .fetch_one(&mut connection)
            .await
            .unwrap()
    };
    assert_eq!(ask(&odd_clock()).await, ODD_MICROS);
    assert_close_to_now(ask(&SystemClock).await).await;
}

#[tokio::test]
async fn redis_takes_the_override_and_its_own_time_without_one() {
    let Some(server) = TestRedis::create() else {
        return;
    };
    let redis = RedisConfig::node(server.url()).open().unwrap();
    let key = KeySpace::new(server.prefix()).unwrap().key("clock");
    // Through a stored value and back: no digit may be lost on the way.
    let script = Script::with_clock(
        "redis.call('SET', KEYS[1], string.format('%.0f', now(ARGV[1]))) \
         return redis.call('GET', KEYS[1])",
    );
    let ask = async |clock: &dyn Clock| -> i64 {
        redis
            .run("clock", &script.on(&[&key]).clock(clock))
            .await
            .unwrap()
    };
    assert_eq!(ask(&odd_clock()).await, ODD_MICROS);
    assert_close_to_now(ask(&SystemClock).await).await;
}

proptest! {
    #[test]
    fn micros_keep_the_order_of_instants(a in any::<i32>(), b in any::<i32>(), nanos in 0..1_000_000_000_u32) {
        let at = |seconds: i32| {
            let distance = Duration::from_secs(u64::from(seconds.unsigned_abs()));
            let base = if seconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance };
            base + Duration::from_nanos(u64::from(nanos))
        };
        let (x, y) = (at(a), at(b));
        prop_assert_eq!(x.cmp(&y), unix_micros(x).cmp(&unix_micros(y)));
        let back = from_unix_micros(unix_micros(x)).unwrap();
        prop_assert!(back <= x && x.duration_since(back).unwrap() < Duration::from_micros(1));
    }
}
