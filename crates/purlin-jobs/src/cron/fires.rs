use std::collections::BTreeSet;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

use super::Cron;

/// No clock goes forward by more. Samoa's went by a whole day in 2011.
const LONGEST_GAP: SignedDuration = SignedDuration::from_hours(25);

/// The times of a line after one, in their order.
pub(super) enum Fires<'a> {
    /// Each instant at which the clock on the wall shows what the line names.
    Elapsed { cron: &'a Cron, last: Timestamp },
    /// One instant for each time on the wall that the line names.
    OnTheWall {
        cron: &'a Cron,
        after: Timestamp,
        /// The next one to be looked at.
        wall: Option<DateTime>,
        /// Those that were, as far as an earlier one may still be found: the ones that do not exist come
        /// later than some of those that follow them.
        found: BTreeSet<Timestamp>,
    },
}

impl<'a> Fires<'a> {
    pub(super) fn after(cron: &'a Cron, after: Timestamp) -> Self {
        if cron.is_every_hour() {
            return Self::Elapsed { cron, last: after };
        }
        let from = cron.zone.to_datetime(after);
        let from = from.checked_sub(LONGEST_GAP).unwrap_or(DateTime::MIN);
        Self::OnTheWall {
            cron,
            after,
            wall: cron.pattern.find_next_occurrence(&from, true).ok(),
            found: BTreeSet::new(),
        }
    }
}

impl Iterator for Fires<'_> {
    type Item = Timestamp;

    fn next(&mut self) -> Option<Timestamp> {
        match self {
            Self::Elapsed { cron, last } => {
                *last = elapsed(cron, *last)?;
                Some(*last)
            }
            Self::OnTheWall {
                cron,
                after,
                wall,
                found,
            } => loop {
                let Some(next) = *wall else {
                    return found.pop_first();
                };
                // Whatever comes from now on is shown by the clock at `next` or later.
                if let Some(first) = found.first()
                    && cron.zone.to_datetime(*first) < next
                {
                    return found.pop_first();
                }
                let instant = cron.zone.to_ambiguous_timestamp(next).compatible();
                found.extend(instant.ok().filter(|instant| instant > after));
                *wall = cron.pattern.find_next_occurrence(&next, false).ok();
            },
        }
    }
}

/// The first instant after this one whose time on the wall the line names.
fn elapsed(cron: &Cron, after: Timestamp) -> Option<Timestamp> {
    let (mut from, mut is_inclusive) = (after, false);
    loop {
        let offset = cron.zone.to_offset(from);
        let wall = offset.to_datetime(from);
        let wall = cron.pattern.find_next_occurrence(&wall, is_inclusive);
        let found = offset.to_timestamp(wall.ok()?).ok()?;
        match cron.zone.following(from).next() {
            // By then the clock shows something else.
            Some(change) if change.timestamp() <= found => {
                (from, is_inclusive) = (change.timestamp(), true);
            }
            _ => return Some(found),
        }
    }
}
