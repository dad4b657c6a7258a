use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool_redis::redis::{
    Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind,
};
use futures_util::FutureExt as _;
use futures_util::future::{self, BoxFuture};

use crate::redis::connection::{Connection, Source};
use crate::redis::error::needs_new_connection;
use crate::redis::scan::Scan;
use crate::redis::script::Invocation;
use crate::{StoreError, StoreErrorKind, deadline};

const STORE: &str = "redis";

/// So many calls in a row without any answer, and the connection is given up: it may be one whose
/// other end has gone without a word. One slow answer is no reason to throw it away.
const UNANSWERED_LIMIT: u32 = 3;

type Connecting = future::Shared<BoxFuture<'static, RedisResult<Connection>>>;

/// Redis, as blocks use it: one shared connection, made by the first call, that carries all calls
/// side by side. A clone is the same handle.
///
/// - Every call has a deadline ([`RedisConfig::with_timeout`](crate::redis::RedisConfig)).
/// - A connection that broke is replaced once, whoever notices; all calls wait for the same
///   new one.
/// - The call that notices fails with [`Unavailable`](StoreErrorKind::Unavailable) and is not
///   repeated: nobody knows whether the server executed it. The next call connects anew.
#[derive(Clone)]
pub struct RedisHandle {
    shared: Arc<Shared>,
    timeout: Duration,
}

struct Shared {
    source: Arc<Source>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    generation: u64,
    live: Option<Live>,
    connecting: Option<Connecting>,
}

#[derive(Clone)]
pub(super) struct Live {
    pub(super) connection: Connection,
    pub(super) generation: u64,
    unanswered: Arc<AtomicU32>,
}

enum Request<'a> {
    Command(&'a Cmd),
    Script(&'a Invocation<'a>),
}

impl Request<'_> {
    async fn send<T: FromRedisValue>(&self, connection: &mut Connection) -> RedisResult<T> {
        match self {
            Self::Command(command) => command.query_async(connection).await,
            Self::Script(invocation) => match invocation.by_hash().query_async(connection).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    invocation.by_code().query_async(connection).await
                }
                answer => answer,
            },
        }
    }
}

impl RedisHandle {
    pub(super) fn new(source: Source, timeout: Duration) -> Self {
        Self::on(Arc::new(source), timeout)
    }

    fn on(source: Arc<Source>, timeout: Duration) -> Self {
        let state = Mutex::default();
        Self {
            shared: Arc::new(Shared { source, state }),
            timeout,
        }
    }

    /// A handle on the same servers with a connection of its own, which its first call makes: for
    /// commands that block, since all that is sent after one on its connection waits for it, and for
    /// another runtime, since a connection ends with the one that it was made in.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self::on(Arc::clone(&self.shared.source), self.timeout)
    }

    /// How long one call may take.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The same connection, with another deadline for each call of this handle.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends one command and reads its answer. One round trip.
    ///
    /// `operation` is what the error calls it.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](StoreErrorKind::Unavailable), [`Timeout`](StoreErrorKind::Timeout);
    /// [`Refused`](StoreErrorKind::Refused) when Redis does not accept the command, the password
    /// or the user; [`Corrupt`](StoreErrorKind::Corrupt) when the answer is not a `T`.
    ///
    /// # Cancel safety
    ///
    /// Once sent, a command is executed, whether or not somebody waits for the answer. Dropping
    /// the call does not disturb the calls beside it.
    pub async fn query<T: FromRedisValue>(
        &self,
        operation: &'static str,
        command: &Cmd,
    ) -> Result<T, StoreError> {
        self.call(operation, Request::Command(command)).await
    }

    /// Runs one script. One round trip, two when the server does not know the script yet.
    ///
    /// # Errors
    ///
    /// As [`query`](Self::query); an error that the script raises is
    /// [`Refused`](StoreErrorKind::Refused).
    ///
    /// # Cancel safety
    ///
    /// As [`query`](Self::query).
    pub async fn run<T: FromRedisValue>(
        &self,
        operation: &'static str,
        invocation: &Invocation<'_>,
    ) -> Result<T, StoreError> {
        self.call(operation, Request::Script(invocation)).await
    }

    /// Walks over the keys that match `pattern` (a glob, as `SCAN` has it), on every master of a
    /// cluster; [`KeySpace::beginning_with`](crate::redis::KeySpace::beginning_with) makes one.
    ///
    /// A key that is there from the begin to the end is given once at least, others perhaps. A key
    /// that a cluster moves from one node to another meanwhile may be missed.
    ///
    /// Every server looks at all of its keys, a thousand at a time: for maintenance, not for requests.
    ///
    /// ```no_run
    /// # use purlin_store::{StoreError, redis::{KeySpace, RedisHandle}};
    /// # async fn count(redis: &RedisHandle, keys: &KeySpace) -> Result<usize, StoreError> {
    /// let mut found = 0;
    /// let mut scan = redis.scan("count", &keys.beginning_with("customer-7:"));
    /// while let Some(keys) = scan.next().await? {
    ///     found += keys.len();
    /// }
    /// # Ok(found) }
    /// ```
    #[must_use]
    pub fn scan(&self, operation: &'static str, pattern: &str) -> Scan {
        Scan::new(self.clone(), operation, pattern)
    }

    async fn call<T: FromRedisValue>(
        &self,
        operation: &'static str,
        request: Request<'_>,
    ) -> Result<T, StoreError> {
        self.with(operation, None, async |live| {
            request.send(&mut live.connection.clone()).await
        })
        .await
    }

    /// Runs `work` on the connection of all, or on one that it began with, within the deadline.
    pub(super) async fn with<T>(
        &self,
        operation: &'static str,
        begun_on: Option<Live>,
        work: impl AsyncFnOnce(&Live) -> RedisResult<T>,
    ) -> Result<T, StoreError> {
        let mut used = None;
        let result = deadline(STORE, operation, self.timeout, async {
            let live = match begun_on {
                Some(live) => live,
                None => self.live().await?,
            };
            let live = used.insert(live);
            let answer = work(live).await;
            self.learn(live, answer.as_ref().err());
            answer
        })
        .await;
        if let (Err(error), Some(live)) = (&result, &used)
            && error.kind() == StoreErrorKind::Timeout
            && live.unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= UNANSWERED_LIMIT
        {
            self.give_up(live.generation);
        }
        result
    }

    /// The connection that calls use now, or the next one.
    ///
    /// Connecting belongs to nobody: it is a future that every waiting call polls, so it goes on
    /// while one of them is left, is never done twice, and needs no task of its own.
    async fn live(&self) -> RedisResult<Live> {
        let mut joined_before = false;
        loop {
            let (connecting, joined) = {
                let mut state = self.state();
                if let Some(live) = &state.live {
                    return Ok(live.clone());
                }
                match &state.connecting {
                    Some(connecting) => (connecting.clone(), true),
                    None => (state.connecting.insert(self.connecting()).clone(), false),
                }
            };
            let connected = connecting.clone().await;
            let mut state = self.state();
            // The first to come here settles it for all who waited.
            if state
                .connecting
                .as_ref()
                .is_some_and(|current| current.ptr_eq(&connecting))
            {
                state.connecting = None;
                if let Ok(connection) = &connected {
                    state.generation += 1;
                    state.live = Some(Live {
                        connection: connection.clone(),
                        generation: state.generation,
                        unanswered: Arc::default(),
                    });
                }
            }
            drop(state);
            if let Err(error) = connected {
                // An attempt that was under way may have been left alone for long, by calls that
                // ran out of time, and its failure be old: one of our own follows.
                if !joined || joined_before {
                    return Err(error);
                }
                joined_before = true;
            }
        }
    }

    fn connecting(&self) -> Connecting {
        let source = Arc::clone(&self.shared.source);
        async move { source.connect().await }.boxed().shared()
    }

    /// Draws the conclusions from an answer, or from an error in place of one.
    fn learn(&self, live: &Live, error: Option<&RedisError>) {
        match error {
            Some(error) if needs_new_connection(error) => self.give_up(live.generation),
            Some(error) if error.is_timeout() => {}
            _ => live.unanswered.store(0, Ordering::Relaxed),
        }
    }

    /// Lets the next call connect anew, unless somebody has seen to it already.
    pub(super) fn give_up(&self, generation: u64) {
        let mut state = self.state();
        if state
            .live
            .as_ref()
            .is_some_and(|live| live.generation == generation)
        {
            state.live = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RedisHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The driver's own `Debug` would show the address, user and password included.
        f.debug_struct("RedisHandle")
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
