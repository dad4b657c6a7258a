//! Clients, what they have sent, and the steps that each can take.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use purlin_idempotency::store::{Claim, Claimed, Completion, Fenced, Lease, Nonce};
use purlin_idempotency::{Fingerprint, Inbox, LeaseLost, RecordId};

use crate::rules::{Rules, Slot};
use crate::truth::{Asked, LEASE, RETENTION, Truth, UNRESOLVED, Violation, Write};

pub(crate) struct Setting {
    pub(crate) clients: Vec<Habit>,
    /// How much time passes, at any moments.
    pub(crate) ticks: u8,
}

pub(crate) struct Habit {
    pub(crate) lease_lost: LeaseLost,
    /// What its request is; what is not known to its claims is when it completes.
    pub(crate) fingerprint: Option<u8>,
    /// How often it claims, with a new nonce each time.
    pub(crate) claims: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Doing {
    Nothing,
    /// It has claimed and heard nothing.
    Asking,
    Working {
        lease: Lease,
        /// In the life that the record has now.
        is_current: bool,
        has_effect: bool,
    },
    /// Its work is completed.
    Done(Lease),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Client {
    doing: Doing,
    /// How often it has claimed.
    claims: u8,
    /// What it has sent and does not wait for any more. It may still arrive, whatever became of the
    /// client; then nobody hears the answer.
    wire: Option<Message>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Message {
    Claim(Nonce),
    Write(Lease, Write),
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Tick,
    Purge,
    /// By a client, which hears the answer.
    Claim(usize),
    Write(usize, Write),
    /// By a client, which gives up waiting.
    SendClaim(usize),
    SendWrite(usize, Write),
    Arrive(usize),
    Effect(usize),
    /// Stops asking, and may claim anew.
    GiveUp(usize),
    Crash(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    now: u8,
    slot: Slot,
    truth: Truth,
    clients: Vec<Client>,
}

const TICK: Duration = Duration::from_secs(1);
/// Of who completes for a second time.
const OTHER_ANSWER: u8 = 99;

impl World {
    pub(crate) fn new(setting: &Setting) -> Self {
        let client = Client {
            doing: Doing::Nothing,
            claims: 0,
            wire: None,
        };
        Self {
            now: 0,
            slot: Slot::default(),
            truth: Truth::default(),
            clients: vec![client; setting.clients.len()],
        }
    }

    pub(crate) fn steps(&self, rules: &impl Rules, setting: &Setting, steps: &mut Vec<Step>) {
        if self.now < setting.ticks {
            steps.push(Step::Tick);
        }
        if rules.may_purge(&self.slot, self.time()) {
            steps.push(Step::Purge);
        }
        for (n, client) in self.clients.iter().enumerate() {
            client.steps(n, &setting.clients[n], steps);
        }
    }

    /// The world after `step`, in which everything still holds.
    pub(crate) fn after(
        &self,
        step: Step,
        rules: &impl Rules,
        setting: &Setting,
    ) -> Result<Self, Violation> {
        let mut world = self.clone();
        world.take(step, rules, setting)?;
        world.forget_lives();
        world.slot.holder = world.truth.holder(world.now);
        let found = rules.get(&world.slot, world.time());
        world.truth.seen(world.now, found.as_ref())?;
        Ok(world)
    }

    /// Work of a record that is gone is nothing to the one that came after it.
    fn forget_lives(&mut self) {
        if std::mem::take(&mut self.truth.began_anew) {
            for client in &mut self.clients {
                if let Doing::Working {
                    lease, is_current, ..
                } = &mut client.doing
                {
                    *is_current = Some(*lease) == self.truth.holder(self.now);
                }
            }
        }
    }

    fn time(&self) -> SystemTime {
        UNIX_EPOCH + TICK * u32::from(self.now)
    }

    fn take(&mut self, step: Step, rules: &impl Rules, setting: &Setting) -> Result<(), Violation> {
        match step {
            Step::Tick => self.now += 1,
            Step::Purge => {
                self.slot.entry = None;
                self.truth.purged(self.now)?;
            }
            Step::Claim(n) => {
                let nonce = self.clients[n].asks(n);
                let claimed = self.claim(nonce, &setting.clients[n], rules)?;
                self.clients[n].doing = match claimed {
                    Claimed::Acquired(lease) => Doing::Working {
                        lease,
                        is_current: true,
                        has_effect: false,
                    },
                    Claimed::Existing(_) => Doing::Nothing,
                };
            }
            Step::SendClaim(n) => {
                let nonce = self.clients[n].asks(n);
                self.clients[n].wire = Some(Message::Claim(nonce));
                self.clients[n].doing = Doing::Asking;
            }
            Step::Write(n, write) => {
                let lease = self.clients[n].lease();
                let fenced = self.write(n, lease, write, rules, setting)?;
                self.clients[n].has_written(lease, write, Some(fenced));
            }
            Step::SendWrite(n, write) => {
                let lease = self.clients[n].lease();
                self.clients[n].wire = Some(Message::Write(lease, write));
                self.clients[n].has_written(lease, write, None);
            }
            Step::Arrive(n) => match self.clients[n].wire.take().unwrap() {
                Message::Claim(nonce) => {
                    self.claim(nonce, &setting.clients[n], rules)?;
                }
                Message::Write(lease, write) => {
                    let (Fenced::Applied | Fenced::Lost) =
                        self.write(n, lease, write, rules, setting)?;
                }
            },
            Step::Effect(n) => {
                if let Doing::Working {
                    is_current,
                    has_effect,
                    ..
                } = &mut self.clients[n].doing
                {
                    *has_effect = true;
                    if *is_current {
                        self.truth.effect()?;
                    }
                }
            }
            Step::GiveUp(n) => self.clients[n].doing = Doing::Nothing,
            Step::Crash(n) => {
                // What it has sent may still arrive.
                self.clients[n].doing = Doing::Nothing;
                self.clients[n].claims = setting.clients[n].claims;
            }
        }
        Ok(())
    }

    fn claim(
        &mut self,
        nonce: Nonce,
        habit: &Habit,
        rules: &impl Rules,
    ) -> Result<Claimed, Violation> {
        let mut claim = Claim::new(*ID, TICK * u32::from(LEASE))
            .with_unresolved_ttl(TICK * u32::from(UNRESOLVED))
            .with_fingerprint(habit.fingerprint.map(fingerprint))
            .with_lease_lost(habit.lease_lost);
        claim.nonce = nonce;
        let now = self.time();
        let claimed = rules.claim(&mut self.slot, now, &claim);
        let asked = Asked {
            fingerprint: habit.fingerprint,
            lease_lost: habit.lease_lost,
            is_live_of_nonce: (self.truth).is_live_of(self.now, |lease| lease.nonce == nonce),
        };
        self.truth.claimed(self.now, asked, &claimed)?;
        Ok(claimed)
    }

    fn write(
        &mut self,
        n: usize,
        lease: Lease,
        write: Write,
        rules: &impl Rules,
        setting: &Setting,
    ) -> Result<Fenced, Violation> {
        let (now, slot) = (self.time(), &mut self.slot);
        let before = slot.entry.clone();
        let whole = setting.clients[n].fingerprint.unwrap_or(1);
        let fenced = match write {
            Write::Extend => rules.extend(slot, now, &lease, TICK * u32::from(LEASE)),
            Write::Complete(answer) => {
                let kept = TICK * u32::from(RETENTION);
                let completion = Completion::new(fingerprint(whole), vec![answer].into(), kept);
                rules.complete(slot, now, &lease, &completion)
            }
            Write::Release => rules.release(slot, now, &lease),
            Write::Abandon => rules.abandon(slot, now, &lease),
        };
        let changed = slot.entry != before;
        let asked = (write, whole);
        self.truth.wrote(self.now, &lease, asked, fenced, changed)?;
        Ok(fenced)
    }
}

impl Client {
    fn steps(&self, n: usize, habit: &Habit, steps: &mut Vec<Step>) {
        let is_free = self.wire.is_none();
        if !is_free {
            steps.push(Step::Arrive(n));
        }
        let both = |write: Write, steps: &mut Vec<Step>| {
            steps.push(Step::Write(n, write));
            if is_free {
                steps.push(Step::SendWrite(n, write));
            }
        };
        match &self.doing {
            Doing::Nothing if self.claims < habit.claims => {
                steps.push(Step::Claim(n));
                if is_free {
                    steps.push(Step::SendClaim(n));
                }
            }
            Doing::Nothing => {}
            Doing::Asking => steps.extend([Step::Claim(n), Step::GiveUp(n), Step::Crash(n)]),
            Doing::Working { has_effect, .. } => {
                both(Write::Extend, steps);
                both(Write::Abandon, steps);
                if *has_effect {
                    both(Write::Complete(n as u8), steps);
                } else {
                    steps.push(Step::Effect(n));
                    both(Write::Release, steps);
                }
                steps.push(Step::Crash(n));
            }
            Doing::Done(_) => {
                let again = Write::Complete(OTHER_ANSWER);
                let writes = [again, Write::Extend, Write::Release, Write::Abandon];
                steps.extend(writes.map(|write| Step::Write(n, write)));
            }
        }
    }

    /// The nonce of a claim: the same one for as long as it is asked for the same work.
    fn asks(&mut self, n: usize) -> Nonce {
        if self.doing == Doing::Nothing {
            self.claims += 1;
        }
        Nonce::from_bytes(&[n as u8 * 16 + self.claims; 16]).unwrap()
    }

    fn lease(&self) -> Lease {
        match self.doing {
            Doing::Working { lease, .. } | Doing::Done(lease) => lease,
            _ => unreachable!("only an owner writes"),
        }
    }

    fn has_written(&mut self, lease: Lease, write: Write, heard: Option<Fenced>) {
        if let Doing::Done(_) = self.doing {
            return;
        }
        match (write, heard) {
            // Its work goes on, and it may ask again.
            (Write::Extend, Some(Fenced::Applied)) | (Write::Extend | Write::Complete(_), None) => {
            }
            (Write::Complete(_), Some(Fenced::Applied)) => self.doing = Doing::Done(lease),
            _ => self.doing = Doing::Nothing,
        }
    }
}

/// Made once, since a digest takes longer than all else in a debug build.
static ID: LazyLock<RecordId> = LazyLock::new(|| Inbox::new("model").record_id(b"1"));

fn fingerprint(n: u8) -> Fingerprint {
    Fingerprint::from_bytes(&[n; Fingerprint::BYTES]).unwrap()
}
