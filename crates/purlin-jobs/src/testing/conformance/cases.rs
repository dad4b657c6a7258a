//! Which cases there are. A case that is not listed here fails the test below.

/// One `#[tokio::test]` for each clause of the contract of [`JobStore`](crate::JobStore) and
/// [`JobAdmin`](crate::JobAdmin).
///
/// Takes a future of an `Option` of a [`Harness`](crate::testing::conformance::Harness), which is made
/// anew for each case; `None` skips it.
#[macro_export]
macro_rules! store_conformance {
    ($harness:expr) => {
        $crate::__conformance_tests! { $harness =>
            a_job_is_as_it_was_given
            an_id_that_is_there_is_not_added_again
            an_id_is_added_once_in_a_call
            a_call_adds_all_of_its_jobs_or_none
            a_call_without_jobs_adds_none
            many_jobs_are_added_in_one_call
            a_job_is_scheduled_for_its_time
            the_far_future_is_a_time
            a_claim_takes_no_more_than_its_limit
            a_claim_takes_the_kinds_that_are_known
            a_claim_takes_from_its_queue
            a_claim_takes_only_what_is_ready
            a_claim_that_is_asked_again_gets_its_jobs_again
            a_worker_that_is_not_alive_claims_nothing
            what_is_more_urgent_goes_first
            what_has_waited_longer_than_its_steps_goes_first
            what_was_enqueued_first_goes_first
            what_is_released_or_rescued_stands_where_it_stood
            a_lease_without_jobs_is_not_kept
            a_job_that_is_done_is_gone
            a_job_that_is_to_be_tried_again_is_scheduled
            a_job_that_failed_for_good_is_dead
            a_job_may_end_cancelled
            a_job_may_snooze
            a_job_that_is_released_is_ready
            an_error_is_shortened
            settlements_of_one_call_are_told_apart
            a_job_comes_back_after_any_time
            a_lost_lease_settles_nothing
            a_lost_lease_settles_nothing_that_is_done
            another_lease_settles_nothing
            what_is_settled_is_not_settled_again
            a_lost_lease_frees_no_key
            a_lease_that_was_given_back_settles_nothing
            a_late_worker_settles_until_it_is_rescued
            many_claimers_get_every_job_once
            one_claim_made_twice_at_once_takes_its_jobs_once
            many_enqueues_of_one_key_add_one
            many_replacements_leave_one
            calls_with_the_same_keys_do_not_block_each_other
            many_enqueues_of_one_id_add_one
            many_rescuers_count_a_crash_once
            a_settlement_and_a_rescue_exclude_each_other
            many_settlements_of_one_lease_are_each_applied_once
            settlements_of_the_same_jobs_do_not_block_each_other
            many_promoters_make_each_job_ready_once
            a_cancellation_and_a_claim_exclude_each_other
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
        assert!(written.len() > 40, "{written:?}");
        assert_eq!(listed, written);
    }
}
