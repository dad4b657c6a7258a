//! Redis.

use purlin_benches::servers::Redis;

use crate::{
    Wanted, common, entrant,
    peer::Entrant,
    peers::{apalis, bullmq, raw_redis, sidekiq},
    table::Table,
};

const ENTRANTS: [Entrant; 4] = [
    entrant!("raw Lua", Ceiling, 200_000, raw_redis::redis),
    entrant!("bullmq-official", Peer, 20_000, bullmq::redis),
    entrant!("apalis-redis", Peer, 20_000, apalis::redis),
    entrant!("rusty-sidekiq", Peer, 20_000, sidekiq::redis),
];

pub async fn run(wanted: &Wanted) {
    let Some(server) = Redis::start().await else {
        return;
    };
    println!("\n{}.", server.describe());
    let entrants = wanted.entrants(&ENTRANTS);
    let mut peers = Vec::new();
    for entrant in &entrants {
        peers.push((entrant.open)(server.url()).await);
    }
    let mut table = Table::new("Redis", &entrants);
    common(wanted, &entrants, &peers, &mut table).await;
    table.print();
}
