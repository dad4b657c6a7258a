use purlin_store::redis::Script;

/// One script for each call of a store.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) enqueue: Script,
    pub(super) join: Script,
    pub(super) claim: Script,
    pub(super) settle: Script,
    pub(super) heartbeat: Script,
    /// Of `leave` and `rescue`.
    pub(super) forget: Script,
    pub(super) promote: Script,
    pub(super) get: Script,
    pub(super) list: Script,
    pub(super) counts: Script,
    pub(super) cancel: Script,
    pub(super) replay: Script,
    pub(super) pause: Script,
    pub(super) purge: Script,
    pub(super) check: Script,
    pub(super) subscribe: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        const RECORD: &str = include_str!("record.lua");
        const PLACE: &str = include_str!("place.lua");
        const LEASE: &str = include_str!("lease.lua");
        const CANCELS: &str = include_str!("cancels.lua");
        const STATE: &str = include_str!("state.lua");
        let script = |parts: &[&str]| {
            let code = [&[include_str!("keys.lua")], parts].concat();
            Script::with_clock(&code.join("\n"))
        };
        Self {
            enqueue: script(&[RECORD, PLACE, include_str!("enqueue.lua")]),
            join: script(&[include_str!("join.lua")]),
            claim: script(&[RECORD, LEASE, include_str!("claim.lua")]),
            settle: script(&[RECORD, PLACE, LEASE, CANCELS, include_str!("settle.lua")]),
            heartbeat: script(&[include_str!("heartbeat.lua")]),
            forget: script(&[RECORD, PLACE, LEASE, CANCELS, include_str!("forget.lua")]),
            promote: script(&[RECORD, PLACE, include_str!("promote.lua")]),
            get: script(&[RECORD, STATE, include_str!("get.lua")]),
            list: script(&[RECORD, STATE, include_str!("list.lua")]),
            counts: script(&[RECORD, include_str!("counts.lua")]),
            cancel: script(&[RECORD, PLACE, include_str!("cancel.lua")]),
            replay: script(&[RECORD, PLACE, include_str!("replay.lua")]),
            pause: script(&[RECORD, PLACE, include_str!("pause.lua")]),
            purge: script(&[RECORD, PLACE, include_str!("purge.lua")]),
            check: script(&[include_str!("check.lua")]),
            subscribe: script(&[include_str!("subscribe.lua")]),
        }
    }
}
