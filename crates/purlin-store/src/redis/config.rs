use std::fmt;
use std::time::Duration;

use deadpool_redis::redis::{AsyncConnectionConfig, Client, IntoConnectionInfo as _};
use deadpool_redis::{RedisConnectionInfo, cluster, sentinel};

use crate::ConfigError;
use crate::redis::connection::Source;
use crate::redis::handle::RedisHandle;

/// Where Redis is and how long to wait for it. Its `Debug` shows no address.
///
/// URLs are `redis://user:password@host:port/database`, or `rediss://` with one of the `tls-…`
/// features of `deadpool-redis`, which the application chooses.
pub struct RedisConfig {
    servers: Servers,
    timeout: Duration,
    connect_timeout: Duration,
}

enum Servers {
    Node(String),
    Sentinel {
        urls: Vec<String>,
        master: String,
        login: Option<(Option<String>, String)>,
    },
    Cluster(Vec<String>),
}

impl RedisConfig {
    fn new(servers: Servers) -> Self {
        Self {
            servers,
            timeout: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(1),
        }
    }

    /// One server.
    #[must_use]
    pub fn node(url: impl Into<String>) -> Self {
        Self::new(Servers::Node(url.into()))
    }

    /// The master of the name `master`, as the sentinels at `urls` know it. After a failover the
    /// first call that meets the old master fails, and the next one asks the sentinels again.
    #[must_use]
    pub fn sentinel(
        urls: impl IntoIterator<Item = impl Into<String>>,
        master: impl Into<String>,
    ) -> Self {
        let urls = urls.into_iter().map(Into::into).collect();
        Self::new(Servers::Sentinel {
            urls,
            master: master.into(),
            login: None,
        })
    }

    /// A cluster, of which the nodes at `urls` are some.
    ///
    /// The driver follows redirections and retries by itself when a node fails, so in a cluster one
    /// call may be executed more than once: a script must bear that, as it must after a timeout.
    #[must_use]
    pub fn cluster(urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::new(Servers::Cluster(urls.into_iter().map(Into::into).collect()))
    }

    /// How long one call may take, making a new connection included. Default 500 ms: a hundred
    /// times what a call takes inside one data centre, and short enough for a request to go on
    /// without it.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long to try to connect to one node. Default 1 s. It may be longer than the timeout of a
    /// call: the attempt goes on with the next call. The sentinel client has 1 s built in.
    #[must_use]
    pub fn with_connect_timeout(mut self, connect_timeout: Duration) -> Self {
        self.connect_timeout = connect_timeout;
        self
    }

    /// What the *master* behind sentinels asks for, which the sentinels' URLs do not say: a
    /// password, and the name of an ACL user. Ignored for a node or a cluster.
    #[must_use]
    pub fn with_master_login(mut self, user: Option<&str>, password: &str) -> Self {
        if let Servers::Sentinel { login, .. } = &mut self.servers {
            *login = Some((user.map(ToOwned::to_owned), password.to_owned()));
        }
        self
    }

    /// A handle on these servers. Nothing is connected or started: the first call connects.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Url`] when a URL does not parse, [`ConfigError::NoAddress`] when a list of
    /// URLs is empty.
    pub fn open(self) -> Result<RedisHandle, ConfigError> {
        // The driver's errors about a URL are dropped because they may repeat it.
        let checked = |urls: Vec<String>| {
            if urls.is_empty() {
                return Err(ConfigError::NoAddress);
            }
            let parsed = urls
                .into_iter()
                .map(|url| url.as_str().into_connection_info());
            parsed
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| ConfigError::Url)
        };
        let source = match self.servers {
            Servers::Node(url) => {
                Client::open(url.as_str()).map_err(|_| ConfigError::Url)?;
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(self.connect_timeout))
                    .set_response_timeout(None);
                let manager = deadpool_redis::Manager::new_with_config(url, config);
                Source::Node(manager.map_err(|_| ConfigError::Url)?)
            }
            Servers::Sentinel {
                urls,
                master,
                login,
            } => {
                let node = login.map(
                    |(username, password)| sentinel::SentinelNodeConnectionInfo {
                        redis_connection_info: Some(RedisConnectionInfo {
                            username,
                            password: Some(password),
                            ..RedisConnectionInfo::default()
                        }),
                        ..sentinel::SentinelNodeConnectionInfo::default()
                    },
                );
                let manager = sentinel::Manager::new(
                    checked(urls)?,
                    master,
                    node,
                    sentinel::SentinelServerType::Master,
                );
                Source::Sentinel(manager.map_err(|_| ConfigError::Url)?)
            }
            Servers::Cluster(urls) => {
                let manager = cluster::Manager::new(checked(urls)?, false);
                Source::Cluster(manager.map_err(|_| ConfigError::Url)?)
            }
        };
        Ok(RedisHandle::new(source, self.timeout))
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = match self.servers {
            Servers::Node(_) => "node",
            Servers::Sentinel { .. } => "sentinel",
            Servers::Cluster(_) => "cluster",
        };
        f.debug_struct("RedisConfig")
            .field("servers", &servers)
            .field("timeout", &self.timeout)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}
