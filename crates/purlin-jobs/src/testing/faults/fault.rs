use std::future::{Future, pending};
use std::time::Duration;

use purlin_store::{StoreError, StoreErrorKind};

/// A call to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "they are named like the methods of the traits")]
pub enum Call {
    Enqueue,
    Join,
    Claim,
    Settle,
    Heartbeat,
    Leave,
    Rescue,
    Promote,
    Wakeups,
    /// Something that a worker was to hear: one that fails is not heard.
    Wakeup,
    EnqueueIn,
    CompleteIn,
    Get,
    List,
    Counts,
    Cancel,
    Replay,
    Pause,
    Resume,
    PurgeFinished,
}

impl Call {
    /// The method's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Enqueue => "enqueue",
            Self::Join => "join",
            Self::Claim => "claim",
            Self::Settle => "settle",
            Self::Heartbeat => "heartbeat",
            Self::Leave => "leave",
            Self::Rescue => "rescue",
            Self::Promote => "promote",
            Self::Wakeups => "wakeups",
            Self::Wakeup => "wakeup",
            Self::EnqueueIn => "enqueue_in",
            Self::CompleteIn => "complete_in",
            Self::Get => "get",
            Self::List => "list",
            Self::Counts => "counts",
            Self::Cancel => "cancel",
            Self::Replay => "replay",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::PurgeFinished => "purge_finished",
        }
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    delay: Duration,
    effect: Effect,
    reply_delay: Duration,
    reply: Reply,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Done,
    NotDone,
    /// So much after the caller was told that it has failed.
    Late(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reply {
    Told,
    /// An error of this kind.
    Error(StoreErrorKind),
    Never,
    Panic,
}

impl Fault {
    fn new(effect: Effect, reply: Reply) -> Self {
        Self {
            delay: Duration::ZERO,
            effect,
            reply_delay: Duration::ZERO,
            reply,
        }
    }

    /// None: the call works.
    #[must_use]
    pub fn none() -> Self {
        Self::new(Effect::Done, Reply::Told)
    }

    /// It is answered by an error of this kind, and nothing is done.
    #[must_use]
    pub fn refused(kind: StoreErrorKind) -> Self {
        Self::new(Effect::NotDone, Reply::Error(kind))
    }

    /// It is done, but answered by an error: as when a connection breaks after the commit.
    #[must_use]
    pub fn reply_lost() -> Self {
        Self::new(Effect::Done, Reply::Error(StoreErrorKind::Unavailable))
    }

    /// It is answered by an error, and done so much later after all: as when a server works off what a
    /// client has given up long ago. In a transaction it is not done at all.
    #[must_use]
    pub fn late(by: Duration) -> Self {
        Self::new(Effect::Late(by), Reply::Error(StoreErrorKind::Timeout))
    }

    /// It is not done, and never answered.
    #[must_use]
    pub fn hangs() -> Self {
        Self::new(Effect::NotDone, Reply::Never)
    }

    /// It is done, but never answered.
    #[must_use]
    pub fn reply_hangs() -> Self {
        Self::new(Effect::Done, Reply::Never)
    }

    /// It panics, and nothing is done.
    #[must_use]
    pub fn panics() -> Self {
        Self::new(Effect::NotDone, Reply::Panic)
    }

    /// The same, but so much time passes before it is done.
    #[must_use]
    pub fn with_delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The same, but so much time passes between what it does and the answer.
    #[must_use]
    pub fn with_reply_delay(mut self, delay: Duration) -> Self {
        self.reply_delay = delay;
        self
    }

    pub(super) fn late_by(&self) -> Option<Duration> {
        match self.effect {
            Effect::Late(by) => Some(by + self.delay),
            Effect::Done | Effect::NotDone => None,
        }
    }

    pub(super) fn error(call: Call) -> StoreError {
        StoreError::new(StoreErrorKind::Timeout, "faulty", call.name())
    }

    pub(super) async fn apply<T>(
        self,
        call: Call,
        effect: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        pass(self.delay).await;
        let done = match self.effect {
            Effect::Done => Some(effect.await),
            Effect::NotDone | Effect::Late(_) => None,
        };
        pass(self.reply_delay).await;
        match (self.reply, done) {
            (Reply::Told, Some(done)) => done,
            (Reply::Error(kind), _) => Err(StoreError::new(kind, "faulty", call.name())),
            (Reply::Panic, _) => std::panic::resume_unwind(Box::new("a fault was injected")),
            (Reply::Never | Reply::Told, _) => pending().await,
        }
    }
}

async fn pass(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}
