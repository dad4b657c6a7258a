//! Which cases there are. A case that is not listed here fails the test below.

/// One `#[tokio::test]` for each clause of the contract of
/// [`IdempotencyStore`](crate::IdempotencyStore).
///
/// Takes a future of an `Option` of a [`Harness`](crate::testing::conformance::Harness), which is made
/// anew for each case; `None` skips it.
#[macro_export]
macro_rules! store_conformance {
    ($harness:expr) => {
        $crate::__conformance_tests! { $harness =>
            a_claim_of_nothing_is_the_first_attempt
            a_claim_that_is_asked_again_gets_its_lease_again
            a_claim_shows_who_is_at_work
            attempts_grow_with_every_takeover
            a_lapsed_lease_is_taken_over_only_by_who_asks_for_it
            a_takeover_is_for_the_same_request_only
            attempts_begin_anew_with_a_new_record
            scopes_and_keys_are_records_of_their_own
            extend_compares_the_whole_lease
            complete_compares_the_whole_lease
            release_compares_the_whole_lease
            abandon_compares_the_whole_lease
            a_late_owner_is_refused_after_a_takeover
            a_late_owner_is_refused_after_a_new_record
            what_is_not_there_is_not_extended_released_or_abandoned
            a_lapsed_owner_may_still_extend
            a_lapsed_owner_may_still_complete
            a_lapsed_owner_may_still_release
            a_lapsed_owner_may_still_abandon
            completing_what_has_expired_makes_a_record
            completing_what_was_never_there_makes_a_record
            completing_is_refused_when_another_holds_it
            completing_again_changes_nothing
            an_answer_is_the_same_for_all_readers_until_it_expires
            a_completed_record_is_not_extended_released_or_abandoned
            an_answer_replaces_what_was_known_of_the_request
            a_lease_lapses_at_its_end
            an_extended_lease_lapses_at_its_new_end
            a_shorter_extension_shortens
            a_completed_record_expires_at_its_end
            unresolved_work_expires_at_its_end
            a_live_lease_keeps_an_expired_record_visible
            extend_keeps_a_record_beyond_its_unresolved_ttl
            an_extension_that_ends_early_leaves_the_unresolved_ttl
            a_takeover_counts_the_unresolved_ttl_anew
            durations_of_zero_are_over_at_once
            durations_without_end_are_accepted
            an_abandoned_lease_lapses_now
            a_released_record_is_gone
            remove_forgets_in_every_state
            erase_scope_erases_the_answers_of_its_scope
            erase_scope_leaves_what_is_under_way_and_what_has_expired
            an_erased_record_still_stands_in_the_way
            purge_expired_deletes_what_nobody_sees
            purge_expired_is_bounded
            one_of_a_thousand_claims_acquires
            claims_of_different_ids_do_not_disturb_each_other
            one_of_many_takes_over
            one_of_many_begins_anew_what_has_expired
            many_completions_by_one_lease_leave_one_answer
            a_completion_and_a_takeover_exclude_each_other
            one_of_many_completions_adopts
            a_dropped_claim_is_all_or_nothing
            a_dropped_takeover_is_all_or_nothing
            a_dropped_extend_is_all_or_nothing
            a_dropped_complete_is_all_or_nothing
            a_dropped_release_is_all_or_nothing
            a_dropped_abandon_is_all_or_nothing
            a_dropped_remove_is_all_or_nothing
            a_dropped_erase_scope_is_all_or_nothing
            a_dropped_purge_or_get_changes_nothing_that_is_seen
        }
    };
}

/// One `#[tokio::test]` for each clause of the contract of
/// [`TransactionalStore`](crate::TransactionalStore).
///
/// Takes a future of an `Option` of a
/// [`TransactionalHarness`](crate::testing::conformance::TransactionalHarness), which is made anew for
/// each case; `None` skips it.
#[macro_export]
macro_rules! transactional_store_conformance {
    ($harness:expr) => {
        $crate::__conformance_tests! { $harness =>
            a_commit_keeps_the_record_and_the_effect
            a_refusal_keeps_the_record_without_the_effect
            a_roll_back_keeps_neither
            a_dropped_unit_keeps_neither
            a_unit_without_an_effect_keeps_the_record
            a_duplicate_of_work_under_way_is_busy
            a_duplicate_of_what_is_done_finds_the_answer
            leased_work_stands_in_the_way_of_a_unit
            an_expired_record_makes_way_for_a_unit
            a_transaction_that_is_kept_is_not_committed
            a_record_that_was_there_first_leaves_no_effect
            units_of_different_ids_run_side_by_side
            many_units_at_once_have_one_effect
            a_request_dropped_before_its_commit_ended_keeps_both_or_neither
            a_request_dropped_before_its_refusal_ended_keeps_no_effect
            a_request_dropped_before_its_roll_back_ended_keeps_neither
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ($harness:expr => $($case:ident)*) => {
        $(
            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                if let Some(harness) = $harness.await {
                    $crate::testing::conformance::$case(&harness).await;
                }
            }
        )*
    };
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    const LISTS: &str = include_str!("cases.rs");

    /// Reads the folder, so that a file which is added is not forgotten either.
    #[test]
    fn every_case_is_in_the_list_of_its_suite() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/testing/conformance");
        let mut listed: Vec<&str> = LISTS
            .lines()
            .filter(|line| line.starts_with("            ") && !line.contains(['(', '$', '#', '}']))
            .map(str::trim)
            .collect();
        let mut written = Vec::new();
        for entry in folder.read_dir().unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            for line in text.lines() {
                if let Some(rest) = line.strip_prefix("pub async fn ") {
                    let name = rest.split_once(['(', '<']).unwrap().0;
                    written.push(name.to_owned());
                }
            }
        }
        listed.sort_unstable();
        written.sort_unstable();
        assert!(written.len() > 60, "{written:?}");
        assert_eq!(listed, written);
    }
}
