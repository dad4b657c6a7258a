use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use deadpool_redis::redis::aio::ConnectionLike as _;
use deadpool_redis::redis::cluster_async::ClusterConnection;
use deadpool_redis::redis::cluster_routing::{
    MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo,
};
use deadpool_redis::redis::{
    Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, Value, cmd, from_redis_value,
};

use crate::StoreError;
use crate::redis::connection::Connection;
use crate::redis::handle::{Live, RedisHandle};

/// How many keys a server looks at for one answer: less than a millisecond of its one thread.
const COUNT: usize = 1_000;

/// A walk over the keys of all masters, made by [`RedisHandle::scan`].
pub struct Scan {
    redis: RedisHandle,
    operation: &'static str,
    pattern: String,
    walk: Option<Walk>,
}

/// A cursor means something to the process that gave it alone: each hashes in its own way. So a walk
/// keeps to one connection, and to the same processes.
struct Walk {
    live: Live,
    servers: Option<Servers>,
    todo: Vec<Part>,
}

/// What is left of one server; the address is that of a node of a cluster.
struct Part {
    address: Option<String>,
    cursor: u64,
}

/// The masters of a cluster.
#[derive(PartialEq, Eq)]
struct Servers {
    /// Address and process of those that are connected.
    runs: BTreeMap<String, String>,
    /// First slot, last slot, node.
    slots: BTreeSet<(u16, u16, String)>,
}

impl Scan {
    pub(super) fn new(redis: RedisHandle, operation: &'static str, pattern: &str) -> Self {
        Self {
            redis,
            operation,
            pattern: pattern.to_owned(),
            walk: None,
        }
    }

    /// Some more keys, which may be none; `None` at the end. One round trip, in a cluster two more
    /// to each node at the begin and at the end.
    ///
    /// # Errors
    ///
    /// As [`RedisHandle::query`]; [`Unavailable`](crate::StoreErrorKind::Unavailable) also when a
    /// master is not connected, or when masters were restarted, replaced or given other slots since
    /// the begin. After an error keys may be missing: begin anew.
    ///
    /// # Cancel safety
    ///
    /// Reads only. When it was dropped, the next call gives the same keys.
    pub async fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
        let redis = self.redis.clone();
        let pinned = self.walk.as_ref().map(|walk| walk.live.clone());
        redis
            .with(self.operation, pinned, async |live| self.step(live).await)
            .await
    }

    async fn step(&mut self, live: &Live) -> RedisResult<Option<Vec<Vec<u8>>>> {
        let mut connection = live.connection.clone();
        let walk = match &mut self.walk {
            Some(walk) => walk,
            empty => empty.insert(Walk::begin(live, &mut connection).await?),
        };
        let Some(part) = walk.todo.last_mut() else {
            if let (Connection::Cluster(cluster), Some(then)) = (&mut connection, &walk.servers)
                && Servers::of(cluster).await? != *then
            {
                self.redis.give_up(live.generation);
                return Err(changed());
            }
            return Ok(None);
        };
        let mut command = cmd("SCAN");
        command.arg(part.cursor).arg("MATCH").arg(&self.pattern);
        command.arg("COUNT").arg(COUNT);
        let answer = match (&mut connection, &part.address) {
            (Connection::Cluster(cluster), Some(address)) => at(cluster, address, command).await?,
            _ => connection.req_packed_command(&command).await?,
        };
        let (cursor, keys) = from_redis_value(answer)?;
        part.cursor = cursor;
        if cursor == 0 {
            walk.todo.pop();
        }
        Ok(Some(keys))
    }
}

impl Walk {
    async fn begin(live: &Live, connection: &mut Connection) -> RedisResult<Self> {
        let part = |address| Part { address, cursor: 0 };
        let (servers, todo) = match connection {
            Connection::Node(_) => (None, vec![part(None)]),
            Connection::Cluster(cluster) => {
                let servers = Servers::of(cluster).await?;
                let todo = servers.runs.keys().cloned().map(Some).map(part).collect();
                (Some(servers), todo)
            }
        };
        Ok(Self {
            live: live.clone(),
            servers,
            todo,
        })
    }
}

impl Servers {
    async fn of(cluster: &mut ClusterConnection) -> RedisResult<Self> {
        let mut command = cmd("INFO");
        command.arg("server");
        let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let infos: BTreeMap<String, String> = routed(cluster, command, masters).await?;
        let mut runs = BTreeMap::new();
        for (address, info) in infos {
            let run = info.lines().find_map(|line| line.strip_prefix("run_id:"));
            runs.insert(address, run.ok_or_else(changed)?.to_owned());
        }

        let mut command = cmd("CLUSTER");
        command.arg("SLOTS");
        let table: Vec<Vec<Value>> = from_redis_value(cluster.req_packed_command(&command).await?)?;
        let slots = table.into_iter().map(|range| {
            let [first, last, master] =
                <[Value; 3]>::try_from(range.into_iter().take(3).collect::<Vec<_>>())
                    .map_err(|_| changed())?;
            // Its address, its port, its id; newer servers say more.
            let master: Vec<Value> = from_redis_value(master)?;
            let id = master.into_iter().nth(2).ok_or_else(changed)?;
            Ok((
                from_redis_value(first)?,
                from_redis_value(last)?,
                from_redis_value(id)?,
            ))
        });
        let slots = slots.collect::<RedisResult<BTreeSet<(u16, u16, String)>>>()?;
        // The driver leaves out a master to which it has no connection.
        let masters: BTreeSet<&str> = slots.iter().map(|(_, _, id)| id.as_str()).collect();
        if masters.len() != runs.len() {
            return Err(changed());
        }
        Ok(Self { runs, slots })
    }
}

/// Sends a command to the node at `address`, or fails when it is not connected.
async fn at(cluster: &mut ClusterConnection, address: &str, command: Cmd) -> RedisResult<Value> {
    let (host, port) = address.rsplit_once(':').ok_or_else(changed)?;
    let node = SingleNodeRoutingInfo::ByAddress {
        host: host.to_owned(),
        port: port.parse().map_err(|_| changed())?,
    };
    routed(cluster, command, RoutingInfo::SingleNode(node)).await
}

async fn routed<T: FromRedisValue>(
    cluster: &mut ClusterConnection,
    command: Cmd,
    routing: RoutingInfo,
) -> RedisResult<T> {
    Ok(from_redis_value(
        cluster
            .route_command(command, routing)
            .await?
            .extract_error()?,
    )?)
}

fn changed() -> RedisError {
    let what = "the masters of the cluster are not all connected, or not the same as before";
    (ErrorKind::ClusterConnectionNotFound, what).into()
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan")
            .field("redis", &self.redis)
            .field("operation", &self.operation)
            .finish_non_exhaustive()
    }
}
