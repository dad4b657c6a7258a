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
            a_worker_lives_until_its_time_is_over
            a_heartbeat_says_until_when
            an_unknown_worker_is_lost
            a_worker_may_join_again
            a_worker_may_live_without_end
            a_heartbeat_tells_what_to_cancel
            who_leaves_gives_its_jobs_back
            who_leaves_gives_no_cancelled_job_back
            a_rescue_counts_a_crash
            a_job_that_crashes_too_often_is_dead
            a_cancelled_job_that_crashes_is_cancelled
            a_rescue_is_bounded
            a_job_is_ready_when_its_time_has_come
            a_promotion_is_bounded
            promoted_jobs_stand_among_the_others
            a_key_is_held_until_the_job_is_done
            a_key_is_free_when_its_job_has_ended
            a_key_may_be_held_until_the_job_starts
            a_job_frees_the_key_of_no_other
            a_key_may_be_held_for_a_period
            a_waiting_job_may_be_replaced
            a_job_that_waits_again_may_be_replaced
            a_job_that_does_not_wait_is_not_replaced
            a_replacement_begins_its_own_span
            a_key_is_one_for_all_jobs
            the_first_of_a_key_in_one_call_is_the_new_one
            a_job_that_is_not_added_takes_no_key
            a_job_that_waits_is_cancelled
            a_job_that_runs_is_told_to_end
            nothing_else_is_cancelled
            a_dead_job_is_replayed
            a_scheduled_job_is_replayed_now
            nothing_else_is_replayed
            a_dead_job_whose_key_is_taken_stays_dead
            a_dead_job_that_had_started_needs_no_key
            a_replayed_job_is_not_to_be_cancelled_any_more
            jobs_are_listed_in_pages
            lists_are_filtered
            jobs_are_counted_by_queue
            the_wait_of_the_next_job_is_told
            no_job_is_lost_or_doubled
            finished_jobs_are_purged
            keys_of_the_past_are_purged
            a_queue_is_paused_and_resumed
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
            a_dropped_enqueue_is_all_or_nothing
            a_dropped_replacement_is_all_or_nothing
            a_dropped_claim_is_all_or_nothing
            a_dropped_settlement_is_all_or_nothing
            a_dropped_leave_is_all_or_nothing
            a_dropped_rescue_is_all_or_nothing
            an_enqueue_wakes_who_waits
            a_promotion_wakes_who_waits
            a_wait_ends
        }
    };
}

/// One `#[tokio::test]` for each clause of the contract of
/// [`TransactionalJobStore`](crate::TransactionalJobStore).
///
/// Takes a future of an `Option` of a
/// [`TransactionalHarness`](crate::testing::conformance::TransactionalHarness), which is made anew for
/// each case; `None` skips it.
#[macro_export]
macro_rules! transactional_store_conformance {
    ($harness:expr) => {
        $crate::__conformance_tests! { $harness =>
            an_enqueue_is_there_when_its_transaction_commits
            a_transaction_sees_what_it_has_added
            a_replaced_job_is_back_after_a_roll_back
            a_key_that_is_being_taken_is_waited_for
            a_job_is_done_when_its_transaction_commits
            a_job_whose_completion_was_rolled_back_is_settled
            jobs_of_one_lease_are_completed_one_by_one
            a_completion_without_the_lease_is_stale
            a_job_ends_and_another_begins_in_one_transaction
            a_job_that_is_being_completed_is_nobody_elses
        }
    };
}

/// One `#[tokio::test]` for each clause of what a store does that
/// [carries flows](crate::JobStore::carries_flows). Takes what [`store_conformance!`](crate::store_conformance)
/// takes.
#[macro_export]
macro_rules! flow_conformance {
    ($harness:expr) => {
        $crate::__conformance_tests! { $harness =>
            a_job_waits_until_another_is_done
            a_job_waits_for_all_of_its_parents
            every_end_is_told
            a_job_that_waits_again_tells_nobody
            a_dead_parent_that_is_replayed_is_waited_for
            a_dead_child_that_is_replayed_knows_its_parents
            a_cancelled_job_takes_along_who_waits_for_it
            a_long_chain_is_cancelled_at_once
            a_dead_parent_that_is_purged_takes_along_who_waits_for_it
            a_stale_settlement_tells_nobody
            a_delay_counts_from_when_a_job_waits_for_nobody
            a_blocked_job_is_cancelled
            a_blocked_job_holds_its_key
            who_waits_for_a_replaced_job_waits_for_the_other
            a_flow_is_added_once
            a_flow_whose_parent_is_taken_is_refused
            a_parent_stands_before_its_child
            a_large_batch_calls_back_once
            a_callback_goes_on_once_whoever_is_the_last
            ends_and_cancellations_of_one_flow_do_not_block_each_other
            a_blocked_job_is_cancelled_or_goes_on
            a_job_that_goes_on_wakes_who_waits
            a_dropped_settlement_of_a_flow_is_all_or_nothing
            a_dropped_enqueue_of_a_flow_is_all_or_nothing
        }
    };
}

/// One `#[tokio::test]` for each clause of what a store does that
/// [carries flows](crate::JobStore::carries_flows) and keeps groups ([`LimitStore`](crate::LimitStore)).
/// Takes what [`store_conformance!`](crate::store_conformance) takes.
#[macro_export]
macro_rules! limited_flow_conformance {
    ($harness:expr) => {
        $crate::__conformance_tests! { $harness =>
            a_child_stands_in_the_line_of_its_group
            a_child_with_a_delay_stands_in_line_when_it_is_due
            the_slot_of_a_parent_passes_to_its_child
            a_purge_lets_children_stand_in_line
        }
    };
}

/// The same of one that joins transactions. Takes what
/// [`transactional_store_conformance!`](crate::transactional_store_conformance) takes.
#[macro_export]
macro_rules! transactional_limited_flow_conformance {
    ($harness:expr) => {
        $crate::__conformance_tests! { $harness =>
            a_child_stands_in_line_with_the_commit
        }
    };
}

/// One `#[tokio::test]` for each clause of the contract of
/// [`ScheduleStore`](crate::store::ScheduleStore).
///
/// Takes a future of an `Option` of a [`Harness`](crate::testing::conformance::Harness), which is made
/// anew for each case; `None` skips it.
#[macro_export]
macro_rules! schedule_conformance {
    ($harness:expr) => {
        $crate::__conformance_tests! { $harness =>
            a_schedule_begins_when_it_is_put
            a_schedule_that_is_changed_begins_anew
            schedules_are_listed_by_name
            a_fire_moves_its_schedule_and_adds_its_jobs
            a_fire_without_jobs_moves_its_schedule
            nothing_fires_before_its_time
            a_paused_schedule_does_not_fire
            a_removed_schedule_is_not_known
            a_fire_whose_key_is_taken_adds_no_job
            a_fire_is_not_repeated_when_its_jobs_are_gone
            many_workers_fire_each_time_once
            a_dropped_fire_is_all_or_nothing
        }
    };
}

/// One `#[tokio::test]` for each clause of the contract of [`NoteStore`](crate::store::NoteStore).
///
/// Takes a future of an `Option` of a [`Harness`](crate::testing::conformance::Harness), which is made
/// anew for each case; `None` skips it.
#[macro_export]
macro_rules! note_store_conformance {
    ($harness:expr) => {
        $crate::__conformance_tests! { $harness =>
            a_note_is_as_it_was_given
            a_note_that_is_kept_stays
            progress_is_what_was_reported_last
            a_note_needs_the_lease
            notes_outlive_an_attempt
            notes_go_with_their_job
            a_result_is_there_when_its_job_is_done
            a_job_may_leave_no_result
            a_lost_lease_leaves_no_result
            results_of_the_past_are_purged
            a_signal_is_kept_for_its_job
            a_signal_makes_a_waiting_job_ready
            a_signal_is_kept_once
            an_ended_job_takes_no_signal
            a_signal_before_the_settlement_is_not_missed
            a_job_that_is_to_be_cancelled_does_not_wait
            a_signal_and_a_wait_never_miss_each_other
            a_signal_and_whoever_moves_the_job_exclude_each_other
            a_signal_is_of_one_job_only
            a_dropped_signal_is_all_or_nothing
        }
    };
}

/// One `#[tokio::test]` for each clause of what a store does that
/// [carries flows](crate::JobStore::carries_flows) and joins transactions. Takes what
/// [`transactional_store_conformance!`](crate::transactional_store_conformance) takes.
#[macro_export]
macro_rules! transactional_flow_conformance {
    ($harness:expr) => {
        $crate::__conformance_tests! { $harness =>
            who_waits_for_a_completed_job_goes_on_with_the_commit
            a_flow_is_there_when_its_transaction_commits
        }
    };
}

/// One `#[tokio::test]` for each clause of what [`TransactionalJobStore`](crate::TransactionalJobStore)
/// says of notes.
///
/// Takes a future of an `Option` of a
/// [`TransactionalHarness`](crate::testing::conformance::TransactionalHarness), which is made anew for
/// each case; `None` skips it.
#[macro_export]
macro_rules! transactional_note_store_conformance {
    ($harness:expr) => {
        $crate::__conformance_tests! { $harness =>
            a_note_is_there_when_its_transaction_commits
            a_note_in_a_transaction_needs_the_lease
            a_result_is_there_when_its_transaction_commits
        }
    };
}

/// One `#[tokio::test]` for each clause of the contract of [`LimitStore`](crate::LimitStore).
///
/// Takes what [`store_conformance`](crate::store_conformance) takes.
#[macro_export]
macro_rules! limit_store_conformance {
    ($harness:expr) => {
        $crate::__conformance_tests! { $harness =>
            a_group_has_no_more_jobs_admitted_than_it_may
            a_held_job_is_visible
            every_way_out_admits_the_next
            a_full_group_holds_back_no_other
            a_held_job_is_cancelled_or_replaced
            a_replayed_job_stands_in_line
            a_scheduled_job_stands_in_line_when_its_time_has_come
            a_lost_lease_frees_no_slot
            a_repeated_call_admits_nothing
            the_last_declaration_holds
            what_an_operator_sets_stands_above_declarations
            an_empty_group_is_forgotten
            a_forgotten_group_is_as_its_jobs_have_declared_it
            a_group_is_in_the_order_of_a_queue
            a_large_group_does_not_starve_others
            a_group_starts_no_more_than_its_rate
            starts_are_counted_by_time
            a_rate_outlives_its_jobs
            a_queue_starts_no_more_than_its_rate
            many_workers_never_run_more_of_a_group_than_it_may
            many_enqueues_at_once_share_the_room_of_a_group
            many_settlements_of_many_groups_end
        }
    };
}

/// One `#[tokio::test]` for each clause of what [`LimitStore`](crate::LimitStore) says of transactions of the
/// caller's.
///
/// Takes what [`transactional_store_conformance`](crate::transactional_store_conformance) takes.
#[macro_export]
macro_rules! transactional_limit_store_conformance {
    ($harness:expr) => {
        $crate::__conformance_tests! { $harness =>
            a_line_moves_on_when_its_transaction_commits
            an_open_transaction_does_not_block_its_group
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
        assert!(written.len() > 80, "{written:?}");
        assert_eq!(listed, written);
    }
}
