use std::fs;
use std::time::Instant;

use crate::server::process::{PATIENCE, free_port, pause};
use crate::server::redis::RedisServer;
use crate::server::resp;

/// A Redis master, a replica of it and one sentinel that watches them, of this test's own.
///
/// One sentinel is enough to promote the replica here (its quorum is 1).
#[derive(Debug)]
pub struct RedisSentinel {
    sentinel: RedisServer,
    master: RedisServer,
    replica: RedisServer,
}

impl RedisSentinel {
    /// The name of the master, as clients ask for it.
    pub const MASTER: &'static str = "purlin";

    /// Starts them; `None` when `redis-server` is not there (see [`skip`](crate::skip())).
    ///
    /// # Panics
    ///
    /// When they do not come up.
    #[must_use]
    pub fn start() -> Option<Self> {
        let master = RedisServer::start()?;
        let port = master.port().to_string();
        let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port])?;
        let sentinel = RedisServer::start_on(free_port, |_, folder| {
            let name = Self::MASTER;
            let file = folder.join("sentinel.conf");
            let text = format!(
                "sentinel monitor {name} 127.0.0.1 {port} 1\n\
                 sentinel down-after-milliseconds {name} 500\n\
                 sentinel failover-timeout {name} 3000\n"
            );
            fs::write(&file, text).expect("the temporary folder can be written");
            vec![file.display().to_string(), "--sentinel".to_owned()]
        })?;
        let this = Self {
            sentinel,
            master,
            replica,
        };
        this.until("the replica is in step and known", || {
            this.replica
                .command(&["INFO", "replication"])
                .contains("master_link_status:up")
                && this
                    .sentinel
                    .command(&["SENTINEL", "REPLICAS", Self::MASTER])
                    .contains("slave")
        });
        Some(this)
    }

    /// The URLs of the sentinels.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        vec![self.sentinel.url()]
    }

    /// The server that is master at first, to be killed.
    pub fn master(&mut self) -> &mut RedisServer {
        &mut self.master
    }

    /// Waits until the sentinel names the replica as the master, and it agrees.
    ///
    /// # Panics
    ///
    /// When it has not happened after half a minute.
    pub fn until_failed_over(&self) {
        let port = self.replica.port().to_string();
        self.until("the replica was promoted", || {
            resp::command(
                &self.sentinel.url(),
                &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::MASTER],
            )
            .is_ok_and(|answer| answer.lines().nth(1) == Some(&port))
                && self
                    .replica
                    .command(&["INFO", "replication"])
                    .contains("role:master")
        });
    }

    fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let begun = Instant::now();
        while !condition() {
            assert!(begun.elapsed() < PATIENCE, "it did not happen that {what}");
            pause(20);
        }
    }
}
