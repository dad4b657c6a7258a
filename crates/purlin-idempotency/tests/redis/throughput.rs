//! A measurement, to be run by hand with `--release --run-ignored only`: claim and complete against
//! the two commands that they amount to.

use std::time::{Duration, Instant};

use bytes::Bytes;
use purlin_idempotency::IdempotencyStore as _;
use purlin_idempotency::store::{Claim, Completion};
use purlin_store::redis::driver::{Value, cmd};

use crate::harness::{MINUTE, Place, acquired, fingerprint, id_of};

const TASKS: usize = 64;
const PAIRS: usize = 500;
const ROUNDS: usize = 11;

async fn timed<F: Future<Output = ()> + Send + 'static>(task: impl Fn(usize) -> F) -> Duration {
    let begun = Instant::now();
    let tasks: Vec<_> = (0..TASKS).map(|n| tokio::spawn(task(n))).collect();
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
    for bytes in [300, 100_000, 1 << 20] {
        let Some(place) = Place::create() else {
            return;
        };
        let pairs = (PAIRS * 300 / bytes).clamp(3, PAIRS);
        let answer = Bytes::from(vec![7_u8; bytes]);
        let (mut raw, mut ours) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let plain = timed(|task| {
                let (redis, answer) = (place.redis.clone(), answer.clone());
                let prefix = place.server.prefix().to_owned();
                async move {
                    for pair in 0..pairs {
                        let key =
                            format!("{prefix}:{{raw-{round}-{task}-{pair}-{}}}", "x".repeat(80));
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
            let whole = timed(|task| {
                let (store, answer) = (place.store.clone(), answer.clone());
                async move {
                    for pair in 0..pairs {
                        let id = id_of("bench", format!("{round}-{task}-{pair}"));
                        let claim = Claim::new(id, MINUTE).with_fingerprint(Some(fingerprint(1)));
                        let lease = acquired(store.claim(&claim).await.unwrap());
                        let completion = Completion::new(fingerprint(1), answer.clone(), MINUTE);
                        let _ = store.complete(&lease, &completion).await.unwrap();
                    }
                }
            });
            ours.push(whole.await);
        }
        let (raw, ours) = (median(raw), median(ours));
        let each = |time: Duration| time / u32::try_from(TASKS * pairs).unwrap();
        eprintln!(
            "{bytes} bytes: raw {:?}, store {:?} a pair, ratio {:.2}",
            each(raw),
            each(ours),
            ours.as_secs_f64() / raw.as_secs_f64()
        );
    }
}
