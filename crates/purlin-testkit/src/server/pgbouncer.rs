use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::server::postgres::{PostgresServer, answers, give_to, url};
use crate::server::process::{Process, find, free_port, until_ready};
use crate::skip::skip;

/// PgBouncer in transaction mode before a private Postgres server, with two server sessions.
#[derive(Debug)]
pub struct PgBouncer {
    port: u16,
    // Ends before the folder goes.
    _process: Process,
    _folder: TempDir,
}

impl PgBouncer {
    /// Starts one; `None`, and a line on stderr, when `pgbouncer` is not there.
    ///
    /// # Panics
    ///
    /// When `pgbouncer` is not there although `PURLIN_TEST_REQUIRE=1`, or does not come up.
    #[must_use]
    pub fn start(server: &PostgresServer) -> Option<Self> {
        let Some(program) = find("pgbouncer", &[PathBuf::from("/usr/sbin")]) else {
            skip("the program pgbouncer");
            return None;
        };
        for _ in 0..5 {
            let folder =
                TempDir::with_prefix("purlin-bouncer-").expect("a temporary folder can be made");
            let port = free_port();
            let (users, config) = (folder.path().join("users"), folder.path().join("config"));
            let upstream = server.port();
            let text = format!(
                "[databases]\n* = host=127.0.0.1 port={upstream}\n\
                 [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
                 auth_type = trust\nauth_file = {}\npool_mode = transaction\n\
                 default_pool_size = 2\n",
                users.display()
            );
            fs::write(&users, "\"postgres\" \"\"\n").expect("the temporary folder can be written");
            fs::write(&config, text).expect("the temporary folder can be written");
            give_to(server.user(), folder.path());
            let log = folder.path().join("server.log");
            let config = config.display().to_string();
            let mut process = Process::start(&program, &[&config], server.user(), &log)
                .expect("pgbouncer can be started");
            if until_ready(&mut process, &log, || answers(port)) {
                return Some(Self {
                    port,
                    _process: process,
                    _folder: folder,
                });
            }
        }
        panic!("pgbouncer ended five times instead of coming up");
    }

    /// The URL of the database `postgres` through it.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.port)
    }
}
