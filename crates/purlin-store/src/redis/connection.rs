use std::time::Duration;

use deadpool::managed::Manager as _;
use deadpool_redis::redis::aio::{ConnectionLike, MultiplexedConnection};
use deadpool_redis::redis::cluster_async::ClusterConnection;
use deadpool_redis::redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value};
use deadpool_redis::{Manager, cluster, sentinel};

/// What makes connections. The managers of deadpool, without its pools: every checkout of a pool
/// costs a round trip of its own (`UNWATCH` and `PING`), and one connection carries any number of
/// calls side by side.
pub(super) enum Source {
    Node(Manager),
    Sentinel(sentinel::Manager),
    Cluster(cluster::Manager),
}

impl Source {
    pub(super) async fn connect(&self) -> RedisResult<Connection> {
        match self {
            Self::Node(manager) => manager.create().await.map(Connection::Node),
            Self::Sentinel(manager) => {
                let mut node = manager.create().await?;
                // The driver's 500 ms would cut calls whose own deadline is longer.
                node.set_response_timeout(Duration::from_secs(24 * 60 * 60));
                Ok(Connection::Node(node))
            }
            Self::Cluster(manager) => manager.create().await.map(Connection::Cluster),
        }
    }
}

/// A connection that any number of calls share; a clone is the same connection.
#[derive(Clone)]
pub(super) enum Connection {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Node(node) => node.req_packed_command(cmd),
            Self::Cluster(cluster) => cluster.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Node(node) => node.req_packed_commands(pipeline, offset, count),
            Self::Cluster(cluster) => cluster.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Node(node) => node.get_db(),
            Self::Cluster(cluster) => cluster.get_db(),
        }
    }
}
