//! What a queue cannot do without, in Lua: a list of ids and a hash of payloads, taken and deleted a hundred
//! at a time by one script. Nobody has a lease, and a job whose worker dies is lost.

use std::time::Duration;

use async_trait::async_trait;
use redis::{Script, aio::MultiplexedConnection};

use crate::{
    peer::{Mode, Peer, Running},
    tally::{self, Payload},
};

pub struct Raw(MultiplexedConnection);

const PUSH: &str = "for i = 1, #ARGV, 2 do
    redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
    redis.call('RPUSH', KEYS[1], ARGV[i])
end";

const TAKE: &str = "local ids = redis.call('LPOP', KEYS[1], 100)
if not ids then return {} end
local jobs = redis.call('HMGET', KEYS[2], unpack(ids))
redis.call('HDEL', KEYS[2], unpack(ids))
return jobs";

pub async fn redis(url: String) -> Raw {
    let client = redis::Client::open(url).expect("is a URL");
    let connection = client.get_multiplexed_async_connection().await;
    Raw(connection.expect("connects"))
}

fn script(code: &str) -> Script {
    Script::new(code)
}

/// Two of these keep the two sides busy.
const TAKERS: usize = 2;

#[async_trait]
impl Peer for Raw {
    async fn enqueue(&self, jobs: Vec<Payload>) {
        for jobs in jobs.chunks(100) {
            let push = script(PUSH);
            let mut call = push.key("{raw}:ready");
            call.key("{raw}:jobs");
            for job in jobs {
                let id = uuid::Uuid::now_v7();
                call.arg(&id.as_bytes()[..]);
                call.arg(serde_json::to_vec(job).expect("is JSON"));
            }
            let pushed = call.invoke_async::<()>(&mut self.0.clone()).await;
            pushed.expect("are pushed");
        }
    }

    async fn start(&self, _: Mode) -> Running {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..TAKERS {
            let mut connection = self.0.clone();
            tasks.spawn(async move {
                let take = script(TAKE);
                loop {
                    let mut call = take.key("{raw}:ready");
                    call.key("{raw}:jobs");
                    let taken = call.invoke_async::<Vec<Vec<u8>>>(&mut connection).await;
                    let taken = taken.expect("are taken");
                    for payload in &taken {
                        tally::run(serde_json::from_slice(payload).expect("is JSON")).await;
                    }
                    if taken.is_empty() {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
            });
        }
        Running::new(async move { tasks.shutdown().await })
    }

    async fn left(&self) -> u64 {
        let mut count = redis::cmd("HLEN");
        let left = count
            .arg("{raw}:jobs")
            .query_async(&mut self.0.clone())
            .await;
        left.expect("counts")
    }
}
