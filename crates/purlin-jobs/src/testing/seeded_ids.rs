use std::cell::Cell;
use std::marker::PhantomData;

use uuid::Uuid;

thread_local! {
    static NEXT: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

/// While it lives, all new ids of jobs, leases and workers that are made on this thread follow from a seed,
/// so that a test which is repeated meets the same ones, in the same order.
///
/// ```
/// use purlin_jobs::{JobId, testing::SeededIds};
///
/// let first = {
///     let _ids = SeededIds::new(7);
///     JobId::new()
/// };
/// let _ids = SeededIds::new(7);
/// assert_eq!(JobId::new(), first);
/// assert_ne!(JobId::new(), first);
/// ```
#[derive(Debug)]
pub struct SeededIds {
    before: Option<(u64, u64)>,
    /// It is this thread's.
    is_not_send: PhantomData<*const ()>,
}

impl SeededIds {
    /// Ids of this seed, from the first one.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            before: NEXT.replace(Some((seed, 0))),
            is_not_send: PhantomData,
        }
    }
}

impl Drop for SeededIds {
    fn drop(&mut self) {
        NEXT.set(self.before);
    }
}

pub(crate) fn seeded_id() -> Option<Uuid> {
    let (seed, count) = NEXT.get()?;
    NEXT.set(Some((seed, count.wrapping_add(1))));
    // Ascending, as those of version 7 are.
    Some(Uuid::from_u64_pair(count, mixed(seed.wrapping_add(count))))
}

/// The mixing step of `SplitMix64` (<https://prng.di.unimi.it/splitmix64.c>).
fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
