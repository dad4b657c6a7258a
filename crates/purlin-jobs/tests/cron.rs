//! Cron lines against a model that knows of nothing but the clock on the wall, minute by minute, and
//! against dates that were looked up.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestCaseResult;
use purlin_jobs::{Cron, CronError};

fn at(time: &str) -> SystemTime {
    time.parse::<Timestamp>().unwrap().into()
}

fn cron(line: &str, zone: &str) -> Cron {
    Cron::new(line).unwrap().with_time_zone(zone).unwrap()
}

/// The fires of this line from the first of these times to the last.
fn check(zone: &str, line: &str, after: &str, expected: &[&str]) {
    let cron = cron(line, zone);
    let fires = cron.fires_after(at(after)).take(expected.len());
    let fires: Vec<_> = fires
        .map(|fire| Timestamp::try_from(fire).unwrap().to_string())
        .collect();
    assert_eq!(fires, expected, "{line} in {zone}");
    // One by one it is the same.
    let mut last = at(after);
    for expected in expected {
        last = cron.next_after(last).unwrap();
        assert_eq!(last, at(expected), "{line} in {zone}");
    }
}

#[test]
fn a_time_that_does_not_exist_is_as_much_later_as_the_clocks_went_forward() {
    check(
        "Europe/Oslo",
        "30 2 * * *",
        "2026-03-28T00:00:00Z",
        &[
            "2026-03-28T01:30:00Z",
            "2026-03-29T01:30:00Z",
            "2026-03-30T00:30:00Z",
        ],
    );
    // 2:00 and 2:30 are 3:00 and 3:30, and come before 4:00.
    check(
        "Europe/Oslo",
        "0,30 2,4 * * *",
        "2026-03-29T00:00:00Z",
        &[
            "2026-03-29T01:00:00Z",
            "2026-03-29T01:30:00Z",
            "2026-03-29T02:00:00Z",
            "2026-03-29T02:30:00Z",
        ],
    );
    // 2:15 is 3:15, later than 3:00; and 2:00 is 3:00, which is there once.
    check(
        "America/New_York",
        "0,15 2,3 * * *",
        "2026-03-08T06:00:00Z",
        &[
            "2026-03-08T07:00:00Z",
            "2026-03-08T07:15:00Z",
            "2026-03-09T06:00:00Z",
        ],
    );
    // By half an hour.
    check(
        "Australia/Lord_Howe",
        "15 2 * * *",
        "2026-10-02T20:00:00Z",
        &["2026-10-03T15:45:00Z", "2026-10-04T15:15:00Z"],
    );
    // By a day.
    check(
        "Pacific/Apia",
        "0 12 * * *",
        "2011-12-29T00:00:00Z",
        &[
            "2011-12-29T22:00:00Z",
            "2011-12-30T22:00:00Z",
            "2011-12-31T22:00:00Z",
        ],
    );
    // At midnight.
    check(
        "America/Sao_Paulo",
        "0 0 * * *",
        "2018-11-03T03:00:00Z",
        &["2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"],
    );
}

#[test]
fn a_time_that_comes_twice_is_the_first_of_the_two() {
    check(
        "Europe/Oslo",
        "30 2 * * *",
        "2026-10-24T12:00:00Z",
        &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"],
    );
    check(
        "America/New_York",
        "0,30 1 * * *",
        "2026-11-01T05:00:00Z",
        &["2026-11-01T05:30:00Z", "2026-11-02T06:00:00Z"],
    );
    check(
        "Australia/Lord_Howe",
        "45 1 * * *",
        "2026-04-04T00:00:00Z",
        &["2026-04-04T14:45:00Z", "2026-04-05T15:15:00Z"],
    );
}

#[test]
fn a_line_of_every_hour_goes_by_elapsed_time() {
    check(
        "Europe/Oslo",
        "*/30 * * * *",
        "2026-10-25T00:00:00Z",
        &[
            "2026-10-25T00:30:00Z",
            "2026-10-25T01:00:00Z",
            "2026-10-25T01:30:00Z",
            "2026-10-25T02:00:00Z",
        ],
    );
    check(
        "Europe/Oslo",
        "0 * * * *",
        "2026-03-29T00:00:00Z",
        &["2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"],
    );
    // From 2:00 to 2:30 there is nothing, and 1:45 comes twice.
    check(
        "Australia/Lord_Howe",
        "15 * * * *",
        "2026-10-03T14:00:00Z",
        &["2026-10-03T14:45:00Z", "2026-10-03T16:15:00Z"],
    );
    check(
        "Australia/Lord_Howe",
        "45 * * * *",
        "2026-04-04T14:00:00Z",
        &[
            "2026-04-04T14:45:00Z",
            "2026-04-04T15:15:00Z",
            "2026-04-04T16:15:00Z",
        ],
    );
}

#[test]
fn a_zone_may_change_its_law() {
    // Turkey kept its summer time in 2016.
    check(
        "Europe/Istanbul",
        "0 9 15 1 *",
        "2016-01-01T00:00:00Z",
        &["2016-01-15T07:00:00Z", "2017-01-15T06:00:00Z"],
    );
    // Pyongyang went half an hour forward at 23:30, to midnight.
    check(
        "Asia/Pyongyang",
        "45 23 * * *",
        "2018-05-03T12:00:00Z",
        &[
            "2018-05-03T15:15:00Z",
            "2018-05-04T15:15:00Z",
            "2018-05-05T14:45:00Z",
        ],
    );
}

#[test]
fn days_are_those_of_posix_and_more() {
    let utc = |line, after, expected: &[&str]| check("UTC", line, after, expected);
    // Either of the two days.
    utc(
        "0 0 13 * 5",
        "2026-02-12T00:00:00Z",
        &[
            "2026-02-13T00:00:00Z",
            "2026-02-20T00:00:00Z",
            "2026-02-27T00:00:00Z",
            "2026-03-06T00:00:00Z",
        ],
    );
    utc(
        "0 0 * * 7",
        "2026-02-12T00:00:00Z",
        &["2026-02-15T00:00:00Z"],
    );
    utc(
        "0 0 29 2 *",
        "2096-03-01T00:00:00Z",
        &["2104-02-29T00:00:00Z"],
    );
    utc(
        "@monthly",
        "2026-01-31T00:00:00Z",
        &["2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"],
    );
    utc(
        "0 12 L * *",
        "2026-02-01T00:00:00Z",
        &["2026-02-28T12:00:00Z", "2026-03-31T12:00:00Z"],
    );
    utc(
        "0 0 * * FRI#2",
        "2026-02-01T00:00:00Z",
        &["2026-02-13T00:00:00Z"],
    );
    utc(
        "0 0 15W * *",
        "2026-02-01T00:00:00Z",
        &["2026-02-16T00:00:00Z"],
    );
    utc(
        "  5 4\t* jan SUN-mon ",
        "2026-01-01T00:00:00Z",
        &["2026-01-04T04:05:00Z", "2026-01-05T04:05:00Z"],
    );
}

#[test]
fn a_line_that_cannot_fire_or_does_not_parse_is_refused() {
    for line in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 30 feb *"] {
        let error = Cron::new(line).unwrap_err();
        assert_eq!(
            error,
            CronError::Never {
                line: line.to_owned()
            }
        );
        assert_eq!(
            error.to_string(),
            format!("the cron line `{line}` never fires")
        );
    }
    for line in [
        "",
        " ",
        "\0",
        "*",
        "* * * *",
        "* * * * * *",
        "0 0 * * * * 2030",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 8",
        "5-2 * * * *",
        "*/0 * * * *",
        "-1 * * * *",
        "1.5 * * * *",
        "H * * * *",
        "@reboot",
        "* * * * MON;",
        "æ * * * *",
        "@",
        "99999999999999999999 * * * *",
        "*/99999999999 * * * *",
    ] {
        match Cron::new(line) {
            Err(CronError::Line { .. }) => {}
            other => panic!("{line:?}: {other:?}"),
        }
    }
    let error = Cron::new("0 3 * *").unwrap_err().to_string();
    assert!(
        error.starts_with("`0 3 * *` is no cron line of five fields: "),
        "{error}"
    );
    let long = Cron::new(&format!("{} * * * *", "1,".repeat(1 << 20))).unwrap_err();
    assert!(long.to_string().len() < 200, "{long}");
    for zone in [
        "",
        "Europe/Atlantis",
        "+01:00",
        "EST5EDT,M3.2.0,M11.1.0",
        "../../etc/passwd",
    ] {
        let error = Cron::new("0 3 * * *")
            .unwrap()
            .with_time_zone(zone)
            .unwrap_err();
        assert_eq!(
            error,
            CronError::TimeZone {
                name: zone.to_owned()
            }
        );
    }
}

#[test]
fn the_end_of_the_calendar_is_none() {
    let yearly = cron("0 0 1 1 *", "Europe/Oslo");
    assert_eq!(
        yearly.next_after(at("4998-06-01T00:00:00Z")),
        Some(at("4998-12-31T23:00:00Z"))
    );
    let last = Duration::from_secs(u64::MAX / 4);
    for line in ["0 0 1 1 *", "* * * * *", "30 2 * * *", "* 0-22 * * *"] {
        let cron = cron(line, "America/New_York");
        for late in [
            at("5001-01-01T00:00:00Z"),
            at("9999-12-30T22:00:00Z"),
            UNIX_EPOCH + last,
            UNIX_EPOCH - last,
        ] {
            assert_eq!(cron.next_after(late), None, "{line}");
        }
        assert!(cron.next_after(at("1900-01-01T00:00:00Z")).is_some());
    }
}

#[test]
fn a_cron_tells_its_line_and_zone() {
    let nightly = cron(" 0 3 * * * ", "europe/oslo");
    assert_eq!(
        (nightly.line(), nightly.time_zone()),
        ("0 3 * * *", "Europe/Oslo")
    );
    assert_eq!(nightly.to_string(), "0 3 * * * (Europe/Oslo)");
    assert_eq!("0 3 * * *".parse::<Cron>().unwrap().time_zone(), "UTC");
}

/// A field: its text, and the numbers that it stands for.
#[derive(Debug, Clone)]
struct Field {
    text: String,
    numbers: BTreeSet<i8>,
}

impl Field {
    fn is_any(&self) -> bool {
        self.text == "*"
    }

    fn has(&self, number: i8) -> bool {
        self.numbers.contains(&number)
    }
}

fn any_of(low: i8, high: i8) -> Field {
    Field {
        text: "*".to_owned(),
        numbers: (low..=high).collect(),
    }
}

fn some_of(low: i8, high: i8) -> impl Strategy<Value = Field> {
    let list = proptest::collection::btree_set(low..=high, 1..4).prop_map(|numbers| {
        let text: Vec<_> = numbers.iter().map(ToString::to_string).collect();
        Field {
            text: text.join(","),
            numbers,
        }
    });
    let range = (low..=high, low..=high).prop_map(|(a, b)| {
        let (a, b) = (a.min(b), a.max(b));
        Field {
            text: format!("{a}-{b}"),
            numbers: (a..=b).collect(),
        }
    });
    prop_oneof![2 => list, 1 => range]
}

fn minutes() -> impl Strategy<Value = Field> {
    let steps = select(vec![5_i8, 7, 15, 20, 30]).prop_map(|step| Field {
        text: format!("*/{step}"),
        numbers: (0..60).filter(|minute| minute % step == 0).collect(),
    });
    prop_oneof![2 => steps, 1 => Just(any_of(0, 59)), 3 => some_of(0, 59)]
}

#[derive(Debug, Clone)]
struct Line([Field; 5]);

impl Line {
    fn text(&self) -> String {
        self.0.each_ref().map(|field| field.text.as_str()).join(" ")
    }

    /// POSIX: where both days are restricted, either is enough.
    fn names(&self, wall: DateTime) -> bool {
        let [minute, hour, day, month, weekday] = &self.0;
        let is_day = day.has(wall.day());
        let is_weekday = weekday.has(wall.weekday().to_sunday_zero_offset());
        let is_right_day = if day.is_any() || weekday.is_any() {
            is_day && is_weekday
        } else {
            is_day || is_weekday
        };
        minute.has(wall.minute())
            && hour.has(wall.hour())
            && month.has(wall.month())
            && is_right_day
    }

    fn is_every_hour(&self) -> bool {
        self.0[1].numbers.len() == 24
    }
}

fn lines() -> impl Strategy<Value = Line> {
    // Mostly the small hours, and such days that there is something to see in a week.
    let hours = prop_oneof![1 => Just(any_of(0, 23)), 3 => some_of(0, 3), 2 => some_of(0, 23)];
    let days = prop_oneof![4 => Just(any_of(1, 31)), 1 => some_of(1, 31)];
    let weekdays = prop_oneof![4 => Just(any_of(0, 6)), 1 => some_of(0, 6)];
    (minutes(), hours, days, weekdays)
        .prop_map(|(minute, hour, day, weekday)| Line([minute, hour, day, any_of(1, 12), weekday]))
}

const MINUTE: SignedDuration = SignedDuration::from_secs(60);

/// The clock on the wall of this zone, minute by minute.
fn walls(zone: &TimeZone, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, DateTime)> {
    let mut walls = Vec::new();
    let mut now = from;
    while now <= to {
        walls.push((now, zone.to_datetime(now)));
        now += MINUTE;
    }
    walls
}

/// What the documentation says, by looking at each minute.
fn model(line: &Line, walls: &[(Timestamp, DateTime)]) -> BTreeSet<Timestamp> {
    if line.is_every_hour() {
        let named = walls.iter().filter(|(_, wall)| line.names(*wall));
        return named.map(|(now, _)| *now).collect();
    }
    let mut first = BTreeMap::new();
    for (now, wall) in walls {
        first.entry(*wall).or_insert(*now);
    }
    let mut fires = BTreeSet::new();
    let mut wall = walls[0].1;
    let last = walls.iter().map(|(_, wall)| *wall).max().unwrap();
    let mut before = (walls[0].0, wall);
    while wall <= last {
        match first.get(&wall) {
            Some(now) => {
                before = (*now, wall);
                if line.names(wall) {
                    fires.insert(*now);
                }
            }
            // As if the clock had gone on.
            None if line.names(wall) => {
                let later = wall.duration_since(before.1);
                fires.insert(before.0 + later);
            }
            None => {}
        }
        wall += MINUTE;
    }
    fires
}

/// Zones, and moments at which something happens to their clocks.
const CHANGES: [(&str, &[&str]); 12] = [
    ("UTC", &["2026-03-01T00:00:00Z"]),
    (
        "Europe/Oslo",
        &[
            "2026-03-29T01:00:00Z",
            "2026-10-25T01:00:00Z",
            "2040-03-25T01:00:00Z",
        ],
    ),
    (
        "America/New_York",
        &["2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z"],
    ),
    (
        "Australia/Lord_Howe",
        &["2026-04-04T15:00:00Z", "2026-10-03T15:30:00Z"],
    ),
    ("Pacific/Apia", &["2011-12-30T10:00:00Z"]),
    (
        "Asia/Pyongyang",
        &["2015-08-14T15:00:00Z", "2018-05-04T15:00:00Z"],
    ),
    (
        "Europe/Istanbul",
        &["2016-03-27T01:00:00Z", "2016-10-30T01:00:00Z"],
    ),
    (
        "America/Sao_Paulo",
        &["2018-11-04T03:00:00Z", "2019-02-17T02:00:00Z"],
    ),
    ("America/Caracas", &["2016-05-01T07:00:00Z"]),
    (
        "Africa/Casablanca",
        &["2026-02-15T02:00:00Z", "2026-03-22T02:00:00Z"],
    ),
    (
        "America/St_Johns",
        &["2010-03-14T03:31:00Z", "2010-11-07T02:31:00Z"],
    ),
    (
        "Antarctica/Troll",
        &["2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"],
    ),
];

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What comes within two days of a change, after a moment that is so far from it.
fn compare(line: &Line, zone: &str, change: &str, from: SignedDuration) -> TestCaseResult {
    let cron = cron(&line.text(), zone);
    let zone = TimeZone::get(zone).unwrap();
    let change: Timestamp = change.parse().unwrap();
    let walls = walls(&zone, change - 3 * DAY, change + 3 * DAY);
    let (from, to) = (change + from, change + 2 * DAY);
    let within = |fire: &Timestamp| *fire > from && *fire <= to;
    let expected: Vec<_> = model(line, &walls).into_iter().filter(within).collect();
    let timestamp = |fire: SystemTime| Timestamp::try_from(fire).unwrap();
    let fires = cron.fires_after(from.into()).map(timestamp);
    let fires: Vec<_> = fires.take_while(|fire| *fire <= to).collect();
    let mut both = fires.iter().zip(&expected);
    let differ = both.find(|(fire, expected)| fire != expected);
    let is_same = differ.is_none() && fires.len() == expected.len();
    prop_assert!(is_same, "{cron} after {from}: {differ:?}");
    let next = cron.next_after(from.into()).map(timestamp);
    prop_assert_eq!(next.filter(within), expected.first().copied());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn fires_are_those_of_the_clock_on_the_wall(
        line in lines(),
        (zone, changes) in select(CHANGES.to_vec()),
        change in any::<Index>(),
        minutes in prop_oneof![-120..120_i64, -2_880..2_880_i64],
        micros in 0..60_000_000_i64,
    ) {
        // A line of days that no month has is another test's.
        prop_assume!(Cron::new(&line.text()).is_ok());
        let from = SignedDuration::from_mins(minutes) + SignedDuration::from_micros(micros);
        compare(&line, zone, changes[change.index(changes.len())], from)?;
    }
}
