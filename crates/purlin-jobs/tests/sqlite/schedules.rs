//! What a schedule is in the table.

use std::time::Duration;

use purlin_jobs::store::{Firing, ScheduleEntry, ScheduleStore as _};

use crate::harness::{MINUTE, job, place};

fn entry(name: &str) -> ScheduleEntry {
    ScheduleEntry {
        name: name.to_owned(),
        cron: "0 3 * * *".to_owned(),
        time_zone: "Europe/Oslo".to_owned(),
    }
}

/// A release must be able to read what the one before it has written.
#[tokio::test]
async fn rows_are_what_they_were() {
    let db = place().await;
    for name in ["hourly", "nightly"] {
        db.store.put_schedule(&entry(name)).await.unwrap();
    }
    let since = db.store.list_schedules().await.unwrap().now;
    db.clock.advance(MINUTE);
    let firing = Firing {
        name: "nightly".to_owned(),
        since,
        until: since + Duration::from_micros(1),
        jobs: vec![job(1)],
    };
    assert!(db.store.fire_schedule(&firing).await.unwrap().is_some());
    assert!(db.store.pause_schedule("hourly").await.unwrap());
    let rows: Vec<String> = sqlx::query_scalar(
        "select concat_ws(' ', quote(name), quote(cron), quote(time_zone), quote(since),
            quote(last_at), quote(paused)) from purlin_jobs_schedules order by name",
    )
    .fetch_all(&db.pool)
    .await
    .unwrap();
    let expected = [
        "'hourly' '0 3 * * *' 'Europe/Oslo' 1700000000000000 NULL 1",
        "'nightly' '0 3 * * *' 'Europe/Oslo' 1700000000000001 1700000000000001 0",
    ];
    assert_eq!(rows, expected);
    let now = db.store.list_schedules().await.unwrap().now;
    let seen: Vec<_> = db.store.list_schedules().await.unwrap().schedules;
    let times = seen
        .iter()
        .map(|row| (row.since, row.last_at, row.is_paused));
    let fired = since + Duration::from_micros(1);
    let expected = [(since, None, true), (fired, Some(fired), false)];
    assert!(times.eq(expected));
    assert_eq!(now, since + MINUTE);
}
