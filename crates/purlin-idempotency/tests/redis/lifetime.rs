//! How long records live: by Redis' own clock, and in Redis' memory.

use std::time::Duration;

use bytes::Bytes;
use purlin_idempotency::store::{Claim, Completion, Fenced, State};
use purlin_idempotency::{IdempotencyStore as _, LeaseLost, RedisStore};

use crate::harness::{DAY, MINUTE, Place, acquired, completion, existing, fingerprint, id, lease};

const MONTH: Duration = Duration::from_secs(30 * 86_400);

fn by_redis(place: &Place) -> RedisStore {
    RedisStore::new(place.redis.clone()).with_key_prefix(place.keys.clone())
}

/// Redis' own clock, which no test can move: what ends in an hour is live, what has ended is not.
#[tokio::test]
async fn without_a_test_clock_redis_tells_the_time() {
    let Some(place) = Place::create() else {
        return;
    };
    let store = by_redis(&place);
    let claim = |ttl| Claim::new(id(1), ttl).with_lease_lost(LeaseLost::Reexecute);
    let first = acquired(store.claim(&claim(Duration::ZERO)).await.unwrap());
    assert_eq!(first.attempt, 1);
    assert_eq!(
        store.get(&id(1)).await.unwrap().unwrap().state,
        State::Lapsed
    );
    let second = acquired(store.claim(&claim(MINUTE * 60)).await.unwrap());
    assert_eq!(second.attempt, 2);
    let third = existing(store.claim(&claim(MINUTE)).await.unwrap());
    let State::InFlight { remaining } = third.state else {
        panic!("{third:?}")
    };
    assert!(remaining > MINUTE && remaining <= MINUTE * 60);
    assert_eq!(store.abandon(&second).await.unwrap(), Fenced::Applied);
    assert_eq!(
        store.get(&id(1)).await.unwrap().unwrap().state,
        State::Lapsed
    );

    let gone = Completion::new(fingerprint(1), Bytes::new(), Duration::ZERO);
    assert_eq!(
        store.complete(&second, &gone).await.unwrap(),
        Fenced::Applied
    );
    while store.get(&id(1)).await.unwrap().is_some() {
        // A millisecond, which is the least that Redis keeps a key.
    }
    assert!(!store.remove(&id(1)).await.unwrap());
    let again = acquired(store.claim(&claim(MINUTE)).await.unwrap());
    assert_eq!(again.attempt, 1);
    let done = store.complete(&again, &completion("x")).await.unwrap();
    assert_eq!(done, Fenced::Applied);
    let kept = existing(store.claim(&claim(MINUTE)).await.unwrap());
    assert_eq!(store.get(&id(1)).await.unwrap().unwrap().attempt, 1);
    let State::Completed { remaining, .. } = kept.state else {
        panic!("{kept:?}")
    };
    assert!(
        remaining > DAY - MINUTE && remaining <= DAY + Duration::from_millis(1),
        "{remaining:?}"
    );
    let pttl = Duration::from_millis(u64::try_from(place.pttl(&id(1)).await).unwrap());
    assert!(pttl <= remaining, "Redis collects it when it is over");
}

/// For as long as it is visible and a minute more, give or take how slow this machine is.
async fn is_kept_for(place: &Place, expected: Duration) {
    let pttl = Duration::from_millis(u64::try_from(place.pttl(&id(1)).await).unwrap());
    assert!(pttl > expected, "{pttl:?} is too short for {expected:?}");
    assert!(
        pttl <= expected + MINUTE + Duration::from_millis(1),
        "{pttl:?} is more than {expected:?} and a minute"
    );
}

#[tokio::test]
async fn redis_collects_every_record_and_none_too_early() {
    let Some(place) = Place::create() else {
        return;
    };
    let store = &place.store;
    let owner = lease(store, id(1)).await;
    is_kept_for(&place, MONTH).await;
    let extend = async |ttl| {
        let extended = store.extend(&owner, ttl).await.unwrap();
        assert_eq!(extended, Fenced::Applied);
    };
    extend(DAY).await;
    is_kept_for(&place, MONTH).await;
    extend(MONTH + DAY).await;
    is_kept_for(&place, MONTH + DAY).await;
    assert_eq!(store.abandon(&owner).await.unwrap(), Fenced::Applied);
    is_kept_for(&place, MONTH + DAY).await;
    let done = store.complete(&owner, &completion("x")).await.unwrap();
    assert_eq!(done, Fenced::Applied);
    is_kept_for(&place, DAY).await;
    assert_eq!(store.erase_scope(&id(1).scope()).await.unwrap(), 1);
    is_kept_for(&place, DAY).await;

    assert!(store.remove(&id(1)).await.unwrap());
    let claim = Claim::new(id(1), DAY).with_unresolved_ttl(MINUTE);
    let owner = acquired(store.claim(&claim).await.unwrap());
    is_kept_for(&place, DAY).await;
    assert_eq!(store.release(&owner).await.unwrap(), Fenced::Applied);
    assert_eq!(place.pttl(&id(1)).await, -2);
    // And one that nobody claimed before.
    let done = store.complete(&owner, &completion("x")).await.unwrap();
    assert_eq!(done, Fenced::Applied);
    is_kept_for(&place, DAY).await;
    assert_eq!(store.purge_expired(u32::MAX).await.unwrap(), 0);
}

#[tokio::test]
async fn no_duration_is_too_long_for_redis() {
    let Some(place) = Place::create() else {
        return;
    };
    for store in [place.store.clone(), by_redis(&place)] {
        let claim = Claim::new(id(1), Duration::MAX).with_unresolved_ttl(Duration::MAX);
        let owner = acquired(store.claim(&claim).await.unwrap());
        assert_eq!(
            store.extend(&owner, Duration::MAX).await.unwrap(),
            Fenced::Applied
        );
        let for_ever = Completion::new(fingerprint(1), Bytes::new(), Duration::MAX);
        assert_eq!(
            store.complete(&owner, &for_ever).await.unwrap(),
            Fenced::Applied
        );
        assert!(place.pttl(&id(1)).await > 0);
        assert!(store.remove(&id(1)).await.unwrap());
    }
}
