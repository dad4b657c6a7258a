//! What stands in Redis: the bytes that later releases must read, and what cannot be read.

use bytes::Bytes;
use purlin_idempotency::store::{Claim, Completion, Fenced, Lease, Nonce};
use purlin_idempotency::{IdempotencyStore as _, LeaseLost};
use purlin_store::StoreErrorKind;
use purlin_store::redis::driver::cmd;

use crate::harness::{DAY, MINUTE, Place, acquired, answer, completion, fingerprint, id, lease};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Version, state, whether the fingerprint is known, attempt, nonce, two deadlines, fingerprint, answer.
#[tokio::test]
async fn the_bytes_of_a_record_are_these() {
    let Some(place) = Place::create() else {
        return;
    };
    let mut claim = Claim::new(id(1), MINUTE).with_unresolved_ttl(DAY);
    claim.nonce = Nonce::from_bytes(&[0xab; 16]).unwrap();
    let lease = acquired(place.store.claim(&claim).await.unwrap());
    let nonce = "ab".repeat(16);
    let unknown = "00".repeat(41);
    assert_eq!(
        hex(&place.value(&id(1)).await.unwrap()),
        format!("0100000000000000000001{nonce}0006652b4671c241000665172c2de941{unknown}")
    );
    let completion = Completion::new(fingerprint(7), Bytes::from_static(b"\x00answer"), DAY);
    let done = place.store.complete(&lease, &completion).await.unwrap();
    assert_eq!(done, Fenced::Applied);
    let known = "07".repeat(41);
    assert_eq!(
        hex(&place.value(&id(1)).await.unwrap()),
        format!(
            "0101010000000000000001{nonce}0006652b4671c2410006652b4671c241{known}00616e73776572"
        )
    );
    assert_eq!(place.store.erase_scope(&id(1).scope()).await.unwrap(), 1);
    assert_eq!(
        hex(&place.value(&id(1)).await.unwrap()),
        format!("0101000000000000000001{nonce}0006652b4671c2410006652b4671c241{unknown}")
    );
}

#[tokio::test]
async fn the_key_holds_scope_and_id() {
    let Some(place) = Place::create() else {
        return;
    };
    let _ = lease(&place.store, id(1)).await;
    let key = format!("{}:{{{}:{}}}", place.server.prefix(), id(1).scope(), id(1));
    let command = cmd("EXISTS").arg(key).clone();
    assert_eq!(
        place.redis.query::<i64>("exists", &command).await.unwrap(),
        1
    );
}

/// Whatever stands there that is no record: nobody acquires it, and nothing changes it.
#[tokio::test]
async fn a_value_that_is_no_record_is_corrupt() {
    let Some(place) = Place::create() else {
        return;
    };
    let owner = lease(&place.store, id(1)).await;
    let in_flight = place.value(&id(1)).await.unwrap();
    let with = |at: usize, byte: u8| {
        let mut value = in_flight.clone();
        value[at] = byte;
        value
    };
    let broken = [
        b"x".to_vec(),
        in_flight[..83].to_vec(),
        [&in_flight[..], b"x"].concat(),
        with(0, 2),
        with(1, 2),
        with(2, 2),
    ];
    // Also when its lease has lapsed, and when it has expired.
    for pass in [MINUTE / 2, MINUTE, DAY * 40] {
        place.clock.advance(pass);
        for value in &broken {
            place.set_value(&id(1), value).await;
            is_corrupt(&place, &owner).await;
            assert_eq!(place.value(&id(1)).await.as_ref(), Some(value));
            assert!(place.store.remove(&id(1)).await.unwrap());
            assert_eq!(place.value(&id(1)).await, None);
        }
    }
}

#[tokio::test]
async fn a_value_of_another_type_is_corrupt() {
    let Some(place) = Place::create() else {
        return;
    };
    let owner = lease(&place.store, id(1)).await;
    assert!(place.store.remove(&id(1)).await.unwrap());
    let push = cmd("RPUSH").arg(place.key(&id(1))).arg("x").clone();
    let _: i64 = place.redis.query("push", &push).await.unwrap();
    is_corrupt(&place, &owner).await;
    let error = place.store.remove(&id(1)).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error:?}");
}

async fn is_corrupt(place: &Place, owner: &Lease) {
    let store = &place.store;
    let claim = Claim::new(id(1), MINUTE).with_lease_lost(LeaseLost::Reexecute);
    let errors = [
        ("claim", store.claim(&claim).await.map(drop)),
        ("extend", store.extend(owner, MINUTE).await.map(drop)),
        (
            "complete",
            store.complete(owner, &completion("x")).await.map(drop),
        ),
        ("release", store.release(owner).await.map(drop)),
        ("abandon", store.abandon(owner).await.map(drop)),
        ("get", store.get(&id(1)).await.map(drop)),
        (
            "erase scope",
            store.erase_scope(&id(1).scope()).await.map(drop),
        ),
    ];
    for (operation, result) in errors {
        let error = result.expect_err(operation);
        assert_eq!(
            error.kind(),
            StoreErrorKind::Corrupt,
            "{operation}: {error:?}"
        );
        assert_eq!(error.operation(), Some(operation));
    }
}

#[tokio::test]
async fn a_record_that_cannot_be_read_does_not_keep_others_from_being_erased() {
    let Some(place) = Place::create() else {
        return;
    };
    for key in 0..20 {
        let lease = lease(&place.store, id(key)).await;
        let done = place
            .store
            .complete(&lease, &completion("x"))
            .await
            .unwrap();
        assert_eq!(done, Fenced::Applied);
    }
    place.set_value(&id("broken"), b"x").await;
    let error = place.store.erase_scope(&id(0).scope()).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error:?}");
    for key in 0..20 {
        assert_eq!(answer(&place.store, &id(key)).await, Some(Bytes::new()));
    }
}
