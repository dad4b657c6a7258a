use std::{fmt, str::FromStr};

use purlin_store::redis::{
    RedisConfig,
    driver::{ConnectionAddr, IntoConnectionInfo as _},
};

/// Where Redis is. `Display` and `Debug` show neither user nor password.
#[derive(Clone)]
pub(crate) struct RedisUrl {
    url: String,
    shown: String,
}

impl RedisUrl {
    /// Nothing is connected yet.
    pub(crate) fn config(&self) -> RedisConfig {
        RedisConfig::node(&self.url)
    }
}

impl FromStr for RedisUrl {
    type Err = &'static str;

    fn from_str(url: &str) -> Result<Self, Self::Err> {
        const MALFORMED: &str = "is not of the form redis://user:password@host:6379/database";
        if url.starts_with("rediss:") {
            return Err("asks for TLS, which this program is built without");
        }
        let parts = url.into_connection_info().map_err(|_| MALFORMED)?;
        let ConnectionAddr::Tcp(host, port) = parts.addr() else {
            return Err(MALFORMED);
        };
        let settings = parts.redis_settings();
        let login = match (settings.username(), settings.password()) {
            (None, None) => "",
            _ => "***@",
        };
        let this = Self {
            url: url.to_owned(),
            shown: format!("redis://{login}{host}:{port}/{}", settings.db()),
        };
        this.config().open().map_err(|_| MALFORMED)?;
        Ok(this)
    }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
}
