use std::io;

use crate::server::resp;
use crate::skip::{skip, unique_name};

const VARIABLE: &str = "PURLIN_TEST_REDIS_URL";

/// Redis with a key prefix that only this test has. Its keys are deleted with it.
#[derive(Debug)]
pub struct TestRedis {
    url: String,
    prefix: String,
}

impl TestRedis {
    /// A new prefix on the server of `PURLIN_TEST_REDIS_URL`; `None` when there is none (see
    /// [`skip`]).
    #[must_use]
    pub fn create() -> Option<Self> {
        let Ok(url) = std::env::var(VARIABLE) else {
            skip(&format!("a Redis server named by {VARIABLE}"));
            return None;
        };
        Some(Self {
            url,
            prefix: unique_name("purlin_test"),
        })
    }

    /// The URL of the server.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The prefix with which each key of the test begins.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    fn delete_keys(&self) -> io::Result<()> {
        let script = "local c = '0' repeat \
             local r = redis.call('SCAN', c, 'MATCH', ARGV[1] .. '*', 'COUNT', 1000) \
             c = r[1] for _, k in ipairs(r[2]) do redis.call('UNLINK', k) end \
             until c == '0' return 'OK'";
        resp::command(&self.url, &["EVAL", script, "0", &self.prefix]).map(drop)
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        // A server that is gone has taken the keys with it.
        let _ = self.delete_keys();
    }
}
