use purlin_store::redis::Script;

/// One script for each call of a store.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) claim: Script,
    pub(super) extend: Script,
    pub(super) complete: Script,
    pub(super) release: Script,
    pub(super) abandon: Script,
    pub(super) get: Script,
    pub(super) remove: Script,
    pub(super) erase: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        const RECORD: &str = include_str!("record.lua");
        const OWNED: &str = include_str!("owned.lua");
        let script = |parts: &[&str]| Script::with_clock(&parts.concat());
        Self {
            // What is done most often comes before the functions that it does not need.
            claim: script(&[
                include_str!("claim.lua"),
                RECORD,
                include_str!("claim_found.lua"),
            ]),
            extend: script(&[RECORD, OWNED, include_str!("extend.lua")]),
            complete: script(&[
                include_str!("complete.lua"),
                RECORD,
                include_str!("complete_other.lua"),
            ]),
            release: script(&[RECORD, OWNED, include_str!("release.lua")]),
            abandon: script(&[RECORD, OWNED, include_str!("abandon.lua")]),
            get: script(&[RECORD, include_str!("get.lua")]),
            remove: script(&[RECORD, include_str!("remove.lua")]),
            erase: script(&[RECORD, include_str!("erase.lua")]),
        }
    }
}
