use std::borrow::Cow;
use std::fmt;

use deadpool_redis::redis::{self, Arg, Cmd, ToRedisArgs};

use crate::Clock;

const NOW: &str = "\
local function now(override)
  if override ~= '' then return tonumber(override) end
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
";

/// A Lua script, called by its hash: `EVALSHA`, and when the server does not know it (it was
/// restarted, or is another node of a cluster) once more by `EVAL`, which teaches it. One round
/// trip, two the first time.
#[derive(Debug, Clone)]
pub struct Script {
    code: Cow<'static, str>,
    hash: String,
}

impl Script {
    /// The script `code`.
    #[must_use]
    pub fn new(code: &'static str) -> Self {
        Self::of(Cow::Borrowed(code))
    }

    /// The script `code` with a function `now(override)` before it, that gives microseconds since
    /// 1970 as a number: the argument added by [`Invocation::clock`], or Redis' own time.
    ///
    /// A double holds microseconds exactly until the year 2255. Joining strings in Lua rounds to 14
    /// digits: write `string.format('%.0f', t)`, never `t .. ''`.
    #[must_use]
    pub fn with_clock(code: &str) -> Self {
        Self::of(Cow::Owned([NOW, code].concat()))
    }

    fn of(code: Cow<'static, str>) -> Self {
        let hash = redis::Script::new(&code).get_hash().to_owned();
        Self { code, hash }
    }

    /// A call with `keys` as `KEYS`. There must be one at least, which says which node of a cluster
    /// it goes to, and all must have one hash tag (see [`KeySpace`](crate::redis::KeySpace)).
    #[must_use]
    pub fn on<K: ToRedisArgs>(&self, keys: &[K]) -> Invocation<'_> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.hash).arg(keys.len());
        for key in keys {
            command.arg(key);
        }
        Invocation {
            script: self,
            command,
        }
    }
}

/// A [`Script`] with its keys and arguments, to be run by
/// [`RedisHandle::run`](crate::redis::RedisHandle::run). Its `Debug` does not show them.
pub struct Invocation<'a> {
    script: &'a Script,
    command: Cmd,
}

impl Invocation<'_> {
    /// Adds the next of `ARGV`.
    #[must_use]
    pub fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.command.arg(arg);
        self
    }

    /// Adds the time of `clock` as the next of `ARGV`, for `now` of [`Script::with_clock`]: empty
    /// when Redis shall use its own.
    #[must_use]
    pub fn clock(self, clock: &dyn Clock) -> Self {
        match clock.override_micros() {
            Some(micros) => self.arg(micros),
            None => self.arg(""),
        }
    }

    pub(super) fn by_hash(&self) -> &Cmd {
        &self.command
    }

    pub(super) fn by_code(&self) -> Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(&*self.script.code);
        for arg in self.command.args_iter().skip(2) {
            if let Arg::Simple(bytes) = arg {
                command.arg(bytes);
            }
        }
        command
    }
}

impl fmt::Debug for Invocation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invocation")
            .field("script", &self.script.hash)
            .finish_non_exhaustive()
    }
}
