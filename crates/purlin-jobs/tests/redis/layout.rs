//! What stands in Redis.

use std::time::Duration;

use bytes::Bytes;
use purlin_jobs::store::{Enqueued, Entry, Outcome, Settled};
use purlin_jobs::{
    JobAdmin as _, JobId, JobStore as _, LeaseId, Options, Priority, QueueName, Unique, WorkerId,
};
use purlin_store::StoreErrorKind;
use purlin_store::redis::driver::{FromRedisValue, cmd};

use crate::harness::{
    HOUR, MINUTE, Place, claim_of, discard, drain, ends, job, job_with, jobs, retry, unique, worker,
};

impl Place {
    async fn ask<T: FromRedisValue>(&self, words: &[&[u8]]) -> T {
        let mut command = cmd(std::str::from_utf8(words[0]).unwrap());
        for word in &words[1..] {
            command.arg(word);
        }
        self.redis.query("ask", &command).await.unwrap()
    }

    fn key(&self, part: &str) -> String {
        self.keys.part("jobs", part)
    }

    /// The parts that exist.
    async fn parts(&self) -> Vec<String> {
        let mut scan = self.redis.scan("scan", &self.keys.beginning_with(""));
        let mut parts = Vec::new();
        while let Some(keys) = scan.next().await.unwrap() {
            for key in keys {
                let key = String::from_utf8(key).unwrap();
                let part = key.strip_prefix(&self.key("")).expect("all have one tag");
                parts.push(part.to_owned());
            }
        }
        parts.sort_unstable();
        parts.dedup();
        parts
    }
}

/// Other processes, older and newer ones too, read these bytes.
#[tokio::test]
async fn a_job_is_these_bytes() {
    let Some(place) = Place::create() else {
        return;
    };
    let id = JobId::from_uuid(uuid::Uuid::from_bytes([7; 16]));
    let options = Options::new()
        .with_queue(QueueName::new("mail").unwrap())
        .with_priority(Priority::URGENT)
        .with_max_attempts(258)
        .with_timeout(Duration::from_micros(259))
        .with_unique(Unique::until_done("key"));
    let entry = Entry {
        parents: Vec::new(),
        id,
        kind: "send".to_owned(),
        version: 513,
        payload: Bytes::from_static(b"payload"),
        traceparent: Some("trace".to_owned()),
        options,
    };
    place
        .store
        .enqueue(std::slice::from_ref(&entry))
        .await
        .unwrap();
    let id = worker(&place.store).await;
    let mut claim = claim_of(id, 1);
    (claim.queue, claim.kinds) = (entry.options.queue.clone(), vec!["send".to_owned()]);
    let claimed = place.store.claim(&claim).await.unwrap();
    let settled = place
        .store
        .settle(claim.lease, &ends(&claimed, &discard()))
        .await
        .unwrap();
    assert_eq!(settled, [Settled::Applied]);

    let found: Vec<u8> = place
        .ask(&[b"HGET", place.key("jobs").as_bytes(), &[7; 16]])
        .await;
    let now = 1_800_000_000_123_457_i64.to_be_bytes();
    let mut expected = Vec::new();
    expected.extend(now);
    expected.extend(now);
    expected.extend([1, 0, 1, 0, 0]);
    expected.extend(now);
    expected.extend(now);
    expected.extend([0, 2]);
    expected.extend([1, 0, 0, 0, 2, 1, 2, 2, 1]);
    expected.extend(259_i64.to_be_bytes());
    expected.extend([4, 0, 4, 0, 0, 0, 5]);
    expected.extend(entry.options.unique.unwrap().key().as_bytes());
    expected.extend(b"mailsendtracenopayload");
    assert_eq!(found, expected);
}

/// A store in which nothing is left has no more keys than one that was never used, but for the stream.
#[tokio::test]
async fn nothing_is_left_of_jobs_that_have_ended() {
    let Some(place) = Place::create() else {
        return;
    };
    let store = &place.store;
    let large = Entry {
        payload: vec![b'x'; 10_000].into(),
        ..unique(Unique::for_period("1", HOUR))
    };
    let others = [
        unique(Unique::until_done("2")),
        unique(Unique::until_start("3")),
        job_with(|o| o.with_delay(MINUTE)),
        job_with(|o| o.with_queue(QueueName::new("mail").unwrap())),
        job(),
    ];
    store.enqueue(&[large]).await.unwrap();
    store.enqueue(&others).await.unwrap();
    let id = worker(store).await;
    let claim = claim_of(id, 10);
    let claimed = store.claim(&claim).await.unwrap();
    assert_eq!(claimed.len(), 4);
    assert!(store.cancel(claimed[0].id).await.unwrap());
    assert!(store.cancel(others[3].id).await.unwrap());
    store.pause(&QueueName::DEFAULT).await.unwrap();
    assert_eq!(
        place.parts().await,
        [
            "cancels",
            "counts",
            "finished",
            "ids",
            "jobs",
            "leased",
            "leases",
            "left",
            "owned",
            "paused",
            "payloads",
            "periods",
            "scheduled",
            "unique",
            "wake",
            "workers",
        ]
    );
    store.resume(&QueueName::DEFAULT).await.unwrap();
    let mut settlements = ends(&claimed, &Outcome::Done);
    settlements[0].outcome = retry();
    settlements[1].outcome = discard();
    let _ = store.settle(claim.lease, &settlements).await.unwrap();
    place.clock.advance(HOUR);
    assert_eq!(store.promote(10).await.unwrap().jobs, 1);
    assert_eq!(drain(store).await, [others[2].id]);
    // Three jobs and a key.
    assert_eq!(store.purge_finished(Duration::ZERO, 10).await.unwrap(), 4);
    store.leave(id).await.unwrap();
    // That of `drain`.
    place.clock.advance(48 * HOUR);
    let rescue = purlin_jobs::store::Rescue {
        limit: 9,
        max_crashes: 3,
    };
    assert_eq!(store.rescue(&rescue).await.unwrap().workers, 1);
    assert_eq!(place.parts().await, ["wake"]);
}

/// It is written when the job is added, and not when it moves.
#[tokio::test]
async fn a_large_payload_stands_apart() {
    let Some(place) = Place::create() else {
        return;
    };
    let store = &place.store;
    for (bytes, apart) in [(4 << 10, false), ((4 << 10) + 1, true), (1 << 20, true)] {
        let payload: Vec<u8> = (0..bytes).map(|n: usize| n.to_le_bytes()[0]).collect();
        let entry = Entry {
            payload: payload.into(),
            ..job()
        };
        store.enqueue(std::slice::from_ref(&entry)).await.unwrap();
        let id = worker(store).await;
        for failures in 0..2 {
            let claim = claim_of(id, 1);
            let claimed = store.claim(&claim).await.unwrap();
            assert_eq!(claimed[0].payload, entry.payload);
            assert_eq!(claimed[0].failures, failures);
            let _ = store
                .settle(claim.lease, &ends(&claimed, &retry()))
                .await
                .unwrap();
            let view = store.get(entry.id).await.unwrap().unwrap();
            assert_eq!(view.payload, entry.payload);
            place.clock.advance(MINUTE);
            store.promote(1).await.unwrap();
        }
        let of = |part: &str| place.key(part);
        let field = entry.id.as_uuid().as_bytes();
        let record: usize = place.ask(&[b"HSTRLEN", of("jobs").as_bytes(), field]).await;
        assert_eq!(record < 200, apart);
        let payloads: usize = place.ask(&[b"HLEN", of("payloads").as_bytes()]).await;
        assert_eq!(payloads, usize::from(apart));
        assert_eq!(drain(store).await, [entry.id]);
        assert!(!place.parts().await.contains(&"payloads".to_owned()));
    }
}

/// Lua's stack has room for some thousand arguments.
#[tokio::test]
async fn a_call_may_have_any_number_of_jobs() {
    let Some(place) = Place::create() else {
        return;
    };
    let entries = jobs(9_001);
    let added = place.store.enqueue(&entries).await.unwrap();
    assert!(added.iter().all(|added| matches!(added, Enqueued::New(_))));
    let again = place.store.enqueue(&entries).await.unwrap();
    assert!(
        again
            .iter()
            .all(|again| matches!(again, Enqueued::Existing(_)))
    );
    let worker = worker(&place.store).await;
    let claimed = place.store.claim(&claim_of(worker, 1_000)).await.unwrap();
    assert_eq!(claimed.len(), 1_000);
    assert_eq!(drain(&place.store).await.len(), 8_001);
}

/// As one of a later version may be.
#[tokio::test]
async fn what_is_not_a_job_is_corrupt() {
    let Some(place) = Place::create() else {
        return;
    };
    let store = &place.store;
    let id = worker(store).await;
    for (byte, value) in [(39, 2), (56, 200)] {
        let entry = job();
        store.enqueue(std::slice::from_ref(&entry)).await.unwrap();
        let (key, field) = (place.key("jobs"), entry.id.as_uuid().as_bytes());
        let mut record: Vec<u8> = place.ask(&[b"HGET", key.as_bytes(), field]).await;
        record[byte] = value;
        let _: i64 = place.ask(&[b"HSET", key.as_bytes(), field, &record]).await;
        let got = store.get(entry.id).await.unwrap_err();
        let claimed = store.claim(&claim_of(id, 1)).await.unwrap_err();
        for (error, operation) in [(got, "get"), (claimed, "claim")] {
            assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error:?}");
            assert_eq!(error.operation(), Some(operation));
        }
    }
    // A job that somebody has deleted.
    let entry = job_with(|o| o.with_queue(QueueName::new("mail").unwrap()));
    store.enqueue(std::slice::from_ref(&entry)).await.unwrap();
    let (key, field) = (place.key("jobs"), entry.id.as_uuid().as_bytes());
    let _: i64 = place.ask(&[b"HDEL", key.as_bytes(), field]).await;
    let mut claim = claim_of(id, 1);
    claim.queue = entry.options.queue.clone();
    let error = store.claim(&claim).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt, "{error:?}");
    let unknown = store
        .claim(&claim_of(WorkerId::new(), 1))
        .await
        .unwrap_err();
    assert_eq!(unknown.kind(), StoreErrorKind::Conflict);
    let settled = store
        .settle(LeaseId::new(), &ends(&[], &retry()))
        .await
        .unwrap();
    assert_eq!(settled, []);
}
