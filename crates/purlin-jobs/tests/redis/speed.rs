//! How fast the store is in batches, and how fast Redis is with the least that could be done. Asserts
//! nothing about time; run it alone and in release:
//!
//! `cargo nextest run -p purlin-jobs --release --features redis,testing --run-ignored only --no-capture speed`

use std::time::Instant;

use purlin_jobs::store::Entry;
use purlin_jobs::{JobStore as _, RedisStore};
use purlin_store::redis::{RedisHandle, Script};
use purlin_testkit::RedisServer;

use crate::harness::{claim_of, drain, ends, handle, job, worker};

const JOBS: usize = 200_000;
const WORKERS: usize = 4;

/// Claims jobs and keeps which ones until they are done; a job is a field of a hash.
const RAW_CLAIM: &str = "
local ids = redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1)
if #ids == 0 then return ids end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, #ids - 1)
redis.call('SET', KEYS[3], table.concat(ids))
return {ids, redis.call('HMGET', KEYS[2], unpack(ids))}";

const RAW_SETTLE: &str = "
redis.call('DEL', KEYS[2])
return redis.call('HDEL', KEYS[1], unpack(ARGV))";

const RAW_ENQUEUE: &str = "
local ready, jobs = {}, {}
for i = 1, #ARGV, 2 do
  ready[i], ready[i + 1], jobs[i], jobs[i + 1] = 1, ARGV[i], ARGV[i], ARGV[i + 1]
end
redis.call('ZADD', KEYS[1], unpack(ready))
redis.call('HSET', KEYS[2], unpack(jobs))
return 1";

/// What a phase took: how many jobs a second, and how much of the server's processor for each.
struct Took {
    per_second: f64,
    cpu_micros: f64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; run by hand"]
async fn jobs_in_batches() {
    for fsync in ["everysec", "always"] {
        for batch in [100, 500] {
            for _ in 0..3 {
                let server = RedisServer::start_with(&["--appendfsync", fsync]).unwrap();
                let redis = handle(server.url());
                let store = RedisStore::new(redis.clone());
                let ours = measure(&server, &store, batch).await;
                let raw = measure_raw(&server, &redis, batch).await;
                for (what, ours, raw) in
                    [("enqueued", &ours.0, &raw.0), ("drained", &ours.1, &raw.1)]
                {
                    eprintln!(
                        "{fsync}, batches of {batch}, {what}: {:.0}/s ({:.2} of raw {:.0}/s), \
                         {:.1} µs of the server's processor (raw {:.1})",
                        ours.per_second,
                        ours.per_second / raw.per_second,
                        raw.per_second,
                        ours.cpu_micros,
                        raw.cpu_micros,
                    );
                }
            }
        }
    }
}

/// How long the server has been working since it started, in microseconds.
fn cpu_micros(server: &RedisServer) -> f64 {
    let info = server.command(&["INFO", "cpu"]);
    let lines = info.lines().filter_map(|line| {
        let (name, seconds) = line.split_once(':')?;
        let counts = ["used_cpu_sys", "used_cpu_user"].contains(&name);
        counts.then(|| seconds.trim().parse::<f64>().unwrap() * 1e6)
    });
    lines.sum()
}

fn payload() -> bytes::Bytes {
    vec![b'x'; 100].into()
}

/// Several at a time: each call is made by one that waits for the answer to the one before.
async fn at_once<F: Future<Output = usize> + Send + 'static>(
    server: &RedisServer,
    work: impl Fn() -> F,
) -> Took {
    let (begun, cpu) = (Instant::now(), cpu_micros(server));
    let tasks: Vec<_> = (0..WORKERS).map(|_| tokio::spawn(work())).collect();
    let mut done = 0;
    for task in tasks {
        done += task.await.unwrap();
    }
    assert_eq!(done, JOBS);
    Took {
        per_second: JOBS as f64 / begun.elapsed().as_secs_f64(),
        cpu_micros: (cpu_micros(server) - cpu) / JOBS as f64,
    }
}

async fn measure(server: &RedisServer, store: &RedisStore, batch: usize) -> (Took, Took) {
    let enqueued = at_once(server, || {
        let store = store.clone();
        async move {
            for _ in 0..JOBS / batch / WORKERS {
                let entry = |_| Entry {
                    payload: payload(),
                    ..job()
                };
                let entries: Vec<_> = (0..batch).map(entry).collect();
                store.enqueue(&entries).await.unwrap();
            }
            JOBS / WORKERS
        }
    })
    .await;
    let drained = at_once(server, || {
        let store = store.clone();
        async move {
            let worker = worker(&store).await;
            let mut done = 0;
            loop {
                let claim = claim_of(worker, u16::try_from(batch).unwrap());
                let jobs = store.claim(&claim).await.unwrap();
                if jobs.is_empty() {
                    return done;
                }
                done += jobs.len();
                let ends = ends(&jobs, &purlin_jobs::store::Outcome::Done);
                let _ = store.settle(claim.lease, &ends).await.unwrap();
            }
        }
    })
    .await;
    assert_eq!(drain(store).await, []);
    (enqueued, drained)
}

async fn measure_raw(server: &RedisServer, redis: &RedisHandle, batch: usize) -> (Took, Took) {
    let key = |part: &str| format!("{{raw}}:{part}");
    let enqueued = at_once(server, || {
        let redis = redis.clone();
        async move {
            let script = Script::new(RAW_ENQUEUE);
            for _ in 0..JOBS / batch / WORKERS {
                let mut call = script.on(&[key("ready"), key("jobs")]);
                for _ in 0..batch {
                    let id = purlin_jobs::JobId::new();
                    call = call.arg(&id.as_uuid().as_bytes()[..]).arg(&payload()[..]);
                }
                let _: i64 = redis.run("enqueue", &call).await.unwrap();
            }
            JOBS / WORKERS
        }
    })
    .await;
    let drained = at_once(server, || {
        let redis = redis.clone();
        async move {
            let (claim, settle) = (Script::new(RAW_CLAIM), Script::new(RAW_SETTLE));
            let lease = key(&purlin_jobs::JobId::new().to_string());
            let mut done = 0;
            loop {
                let call = claim
                    .on(&[key("ready"), key("jobs"), lease.clone()])
                    .arg(batch);
                let claimed: Vec<Vec<Vec<u8>>> = redis.run("claim", &call).await.unwrap();
                let Some(ids) = claimed.first() else {
                    return done;
                };
                done += ids.len();
                let mut call = settle.on(&[key("jobs"), lease.clone()]);
                for id in ids {
                    call = call.arg(id);
                }
                let _: i64 = redis.run("settle", &call).await.unwrap();
            }
        }
    })
    .await;
    (enqueued, drained)
}
