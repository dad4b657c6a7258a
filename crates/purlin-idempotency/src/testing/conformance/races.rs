//! Many at the same time, through two handles (clause 1).

use std::collections::HashSet;
use std::sync::Arc;

use super::Harness;
use super::bench::{
    HOUR, MINUTE, acquire, at_once, claim, completion, get, id, id_of, in_flight, lapsed, ok,
    takeover,
};
use crate::store::{Claimed, Fenced, Lease, State};

fn leases(claimed: &[Claimed]) -> Vec<Lease> {
    let lease = |claimed: &Claimed| match claimed {
        Claimed::Acquired(lease) => Some(*lease),
        Claimed::Existing(existing) => {
            let in_flight = matches!(existing.state, State::InFlight { .. });
            assert!(in_flight, "{existing:?}");
            None
        }
    };
    claimed.iter().filter_map(lease).collect()
}

/// And 999 find somebody at work.
pub async fn one_of_a_thousand_claims_acquires(h: &impl Harness) {
    let id = id(1);
    let claims = at_once(h, 1_000, |_, store| async move {
        ok(store.claim(&claim(id)).await)
    });
    let won = leases(&claims.await);
    assert_eq!(won.len(), 1, "{won:?}");
    assert_eq!(won[0].attempt, 1);
    // The winner is the one who owns it.
    assert_eq!(ok(h.store().extend(&won[0], HOUR).await), Fenced::Applied);
    assert_eq!(get(&h.second(), id).await, in_flight(1, HOUR));
}

/// Each gets its own.
pub async fn claims_of_different_ids_do_not_disturb_each_other(h: &impl Harness) {
    let claims = at_once(h, 200, |n, store| async move {
        let scope = if n % 4 < 2 { "alice" } else { "bob" };
        let id = id_of(scope, n as u64);
        ok(store.claim(&claim(id)).await)
    });
    let won = leases(&claims.await);
    assert_eq!(won.len(), 200);
    let ids: HashSet<_> = won.iter().map(|lease| lease.id).collect();
    assert_eq!(ids.len(), 200);
}

/// Of those who want to take over a lapsed lease, again and again.
pub async fn one_of_many_takes_over(h: &impl Harness) {
    let id = id(1);
    let mut late = lapsed(&h.store(), id).await;
    for attempt in 2..=6 {
        let claims = at_once(h, 60, |_, store| async move {
            ok(store.claim(&takeover(id)).await)
        });
        let won = leases(&claims.await);
        assert_eq!(won.len(), 1, "{won:?}");
        assert_eq!(won[0].attempt, attempt);
        let fenced = ok(h.store().complete(&late, &completion("late")).await);
        assert_eq!(fenced, Fenced::Lost);
        late = won[0];
        h.clock().advance(MINUTE);
    }
}

/// An expired record is claimed by one, as one that was never there.
pub async fn one_of_many_begins_anew_what_has_expired(h: &impl Harness) {
    let id = id(1);
    acquire(&h.store(), id).await;
    for _ in 0..5 {
        h.clock().advance(HOUR);
        let claims = at_once(h, 60, |_, store| async move {
            ok(store.claim(&claim(id)).await)
        });
        let won = leases(&claims.await);
        assert_eq!(won.len(), 1, "{won:?}");
        assert_eq!(won[0].attempt, 1);
    }
}

/// All are told that it is done, and all readers see one of the answers.
pub async fn many_completions_by_one_lease_leave_one_answer(h: &impl Harness) {
    let lease = acquire(&h.store(), id(1)).await;
    let seen = at_once(h, 40, |n, store| async move {
        let fenced = ok(store.complete(&lease, &completion(vec![n as u8])).await);
        assert_eq!(fenced, Fenced::Applied);
        get(&store, id(1)).await
    });
    let seen: Vec<_> = seen.await;
    assert!(seen[0].is_some());
    assert!(seen.iter().all(|record| *record == seen[0]), "{seen:?}");
}

/// A late owner completes while others take over: either it is done and nobody works again, or one
/// works again and the owner has lost.
pub async fn a_completion_and_a_takeover_exclude_each_other(h: &impl Harness) {
    for n in 1..=20 {
        let id = id(n);
        let late = lapsed(&h.store(), id).await;
        let calls = at_once(h, 8, |n, store| async move {
            if n == 4 {
                Err(ok(store.complete(&late, &completion("late")).await))
            } else {
                Ok(ok(store.claim(&takeover(id)).await))
            }
        });
        let (mut completed, mut taken_over) = (None, 0);
        for call in calls.await {
            match call {
                Err(fenced) => completed = Some(fenced),
                Ok(Claimed::Acquired(lease)) => {
                    assert_eq!(lease.attempt, 2);
                    taken_over += 1;
                }
                Ok(Claimed::Existing(_)) => {}
            }
        }
        let expected = match completed {
            Some(Fenced::Applied) => 0,
            _ => 1,
        };
        assert_eq!(taken_over, expected, "the completion was {completed:?}");
        let found = get(&h.store(), id).await.map(|record| record.attempt);
        assert_eq!(found, Some(1 + expected));
    }
}

/// Several who lost one record after another complete at once: the first makes the record.
pub async fn one_of_many_completions_adopts(h: &impl Harness) {
    let store = h.store();
    let mut late = Vec::new();
    for _ in 0..20 {
        late.push(acquire(&store, id(1)).await);
        assert!(ok(store.remove(&id(1)).await));
    }
    let late: Arc<[Lease]> = late.into();
    let done = at_once(h, late.len(), |n, store| {
        let late = Arc::clone(&late);
        async move {
            let answer = completion(vec![n as u8]);
            (n, ok(store.complete(&late[n], &answer).await))
        }
    });
    let done = done.await;
    let won: Vec<_> = done
        .iter()
        .filter(|call| call.1 == Fenced::Applied)
        .collect();
    assert_eq!(won.len(), 1, "{done:?}");
    match get(&h.second(), id(1)).await.map(|record| record.state) {
        Some(State::Completed { answer, .. }) => assert_eq!(*answer, [won[0].0 as u8]),
        other => panic!("{other:?}"),
    }
}
