//! What needs no server: SQLite and memory.

use purlin_testkit::TestFile;

use crate::{
    Wanted, common, entrant,
    peer::Entrant,
    peers::{apalis, purlin, raw_sqlite},
    table::Table,
};

const SQLITE: [Entrant; 3] = [
    entrant!("raw SQL", Ceiling, 100_000, raw_sqlite::sqlite),
    entrant!("purlin-jobs", Ours, 100_000, purlin::sqlite),
    entrant!("apalis-sqlite", Peer, 5_000, apalis::sqlite),
];

const MEMORY: [Entrant; 1] = [entrant!("purlin-jobs", Ours, 200_000, purlin::memory)];

pub async fn sqlite(wanted: &Wanted) {
    println!("\nSQLite, synchronous = FULL, WAL.");
    let entrants = wanted.entrants(&SQLITE);
    let files: Vec<_> = entrants.iter().map(|_| TestFile::new()).collect();
    let mut peers = Vec::new();
    for (entrant, file) in entrants.iter().zip(&files) {
        peers.push((entrant.open)(file.path().display().to_string()).await);
    }
    let mut table = Table::new("SQLite", &entrants);
    common(wanted, &entrants, &peers, &mut table).await;
    table.print();
}

pub async fn memory(wanted: &Wanted) {
    let peers = [(MEMORY[0].open)(String::new()).await];
    let mut table = Table::new("Memory", &MEMORY);
    common(wanted, &MEMORY, &peers, &mut table).await;
    table.print();
}
