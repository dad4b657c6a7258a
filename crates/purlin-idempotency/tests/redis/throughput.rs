//! A measurement, to be run by hand with `--release --run-ignored only`: claim and complete against
//! the two commands that they amount to.

use std::time::{Duration, Instant};

use bytes::Bytes;
use purlin_idempotency::store::{Claim, Completion};
use purlin_idempotency::{IdempotencyStore as _, RedisStore};
use purlin_store::redis::driver::{Value, cmd};
use purlin_testkit::RedisServer;

use crate::harness::{MINUTE, acquired, fingerprint, handle, id};

const PAIRS: usize = 500;
const ROUNDS: usize = 11;

async fn timed<F: Future<Output = ()> + Send + 'static>(
    tasks: usize,
    task: impl Fn(usize) -> F,
) -> Duration {
    let begun = Instant::now();
    let tasks: Vec<_> = (0..tasks).map(|n| tokio::spawn(task(n))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    begun.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn claim_and_complete_against_the_raw_commands() {
    let Some(server) = RedisServer::start_with(&["--appendonly", "no"]) else {
        return;
    };
    let redis = handle(server.url());
    let store = RedisStore::new(redis.clone());
    for (tasks, bytes) in [(1, 300), (64, 300), (64, 100_000), (64, 1 << 20)] {
        let pairs = (PAIRS * 300 / bytes).clamp(3, PAIRS);
        let answer = Bytes::from(vec![7_u8; bytes]);
        let (mut raw, mut ours) = (Vec::new(), Vec::new());
        let mut spent = [0.0; 2];
        for _ in 0..ROUNDS {
            let before = cpu_seconds(&server);
            let plain = timed(tasks, |task| {
                let (redis, answer) = (redis.clone(), answer.clone());
                async move {
                    for pair in 0..pairs {
                        let key = format!("raw:{{{task:016}{pair:080}}}");
                        let mut set = cmd("SET");
                        set.arg(&key).arg([7_u8; 84].as_slice());
                        set.arg("NX").arg("PX").arg(60_000).arg("GET");
                        let _: Value = redis.query("claim", &set).await.unwrap();
                        let mut set = cmd("SET");
                        set.arg(&key).arg(&*answer).arg("PX").arg(60_000);
                        let _: Value = redis.query("complete", &set).await.unwrap();
                    }
                }
            });
            raw.push(plain.await);
            let between = cpu_seconds(&server);
            server.command(&["FLUSHALL"]);
            let start = cpu_seconds(&server);
            let whole = timed(tasks, |task| {
                let (store, answer) = (store.clone(), answer.clone());
                async move {
                    for pair in 0..pairs {
                        let claim = Claim::new(id(format!("{task}-{pair}")), MINUTE)
                            .with_fingerprint(Some(fingerprint(1)));
                        let lease = acquired(store.claim(&claim).await.unwrap());
                        let completion = Completion::new(fingerprint(1), answer.clone(), MINUTE);
                        let _ = store.complete(&lease, &completion).await.unwrap();
                    }
                }
            });
            ours.push(whole.await);
            spent[0] += between - before;
            spent[1] += cpu_seconds(&server) - start;
            server.command(&["FLUSHALL"]);
        }
        let (raw, ours) = (median(raw), median(ours));
        let each = |time: Duration| time / u32::try_from(tasks * pairs).unwrap();
        eprintln!(
            "{tasks} tasks, {bytes} bytes: raw {:?}, store {:?} a pair, ratio {:.2}; the server's time {:.2}",
            each(raw),
            each(ours),
            ours.as_secs_f64() / raw.as_secs_f64(),
            spent[1] / spent[0],
        );
    }
}

fn cpu_seconds(server: &RedisServer) -> f64 {
    let info = server.command(&["INFO", "cpu"]);
    let times = info.lines().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        let counted = ["used_cpu_sys", "used_cpu_user"].contains(&name);
        counted.then(|| value.parse::<f64>().unwrap())
    });
    times.sum()
}
