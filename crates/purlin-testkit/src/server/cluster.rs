use std::time::Instant;

use crate::server::process::{PATIENCE, free_port, pause};
use crate::server::redis::RedisServer;
use crate::server::resp;

/// A Redis cluster of three masters without replicas, of this test's own.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
}

impl RedisCluster {
    /// Starts one; `None` when `redis-server` is not there (see [`skip`](crate::skip())).
    ///
    /// # Panics
    ///
    /// When it does not come up.
    #[must_use]
    pub fn start() -> Option<Self> {
        let node = || {
            RedisServer::start_on(free_port, |_, _| {
                // By default the bus is at the port + 10000, which may not exist.
                let bus = free_port().to_string();
                let args = [
                    "--cluster-enabled",
                    "yes",
                    "--cluster-port",
                    &bus,
                    "--cluster-node-timeout",
                    "2000",
                    "--cluster-require-full-coverage",
                    "no",
                ];
                args.map(ToOwned::to_owned).to_vec()
            })
        };
        let nodes = vec![node()?, node()?, node()?];
        let first = &nodes[0];
        for (node, slots) in
            nodes
                .iter()
                .zip([("0", "5460"), ("5461", "10922"), ("10923", "16383")])
        {
            node.command(&["CLUSTER", "ADDSLOTSRANGE", slots.0, slots.1]);
        }
        for (node, epoch) in nodes.iter().zip(["1", "2", "3"]) {
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", epoch]);
            if node.port() != first.port() {
                // The bus port must be told, since it is not at its usual distance.
                let config = node.command(&["CONFIG", "GET", "cluster-port"]);
                let bus = config.lines().nth(1).expect("its value follows the name");
                first.command(&[
                    "CLUSTER",
                    "MEET",
                    "127.0.0.1",
                    &node.port().to_string(),
                    bus,
                ]);
            }
        }
        let cluster = Self { nodes };
        cluster.until_ok();
        Some(cluster)
    }

    /// The URLs of its nodes.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(RedisServer::url).collect()
    }

    /// Its nodes, to be stopped, frozen, killed and restarted.
    pub fn nodes(&mut self) -> &mut [RedisServer] {
        &mut self.nodes
    }

    /// Waits until every node sees all three, as after a restart of one.
    ///
    /// # Panics
    ///
    /// When they do not after half a minute.
    pub fn until_ok(&self) {
        let begun = Instant::now();
        let agree = |node: &RedisServer| {
            resp::command(&node.url(), &["CLUSTER", "INFO"]).is_ok_and(|info| {
                info.contains("cluster_state:ok")
                    && info.contains("cluster_slots_ok:16384")
                    && info.contains("cluster_known_nodes:3")
            })
        };
        while !self.nodes.iter().all(agree) {
            assert!(
                begun.elapsed() < PATIENCE,
                "the nodes of the cluster do not agree"
            );
            pause(20);
        }
    }
}
