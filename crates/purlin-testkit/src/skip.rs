use std::io::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Says on stderr that the running test is skipped because `missing` is not there, or panics when
/// `PURLIN_TEST_REQUIRE=1`.
///
/// # Panics
///
/// When nothing may be skipped.
pub fn skip(missing: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test").to_owned();
    assert!(
        std::env::var_os("PURLIN_TEST_REQUIRE").is_none_or(|value| value != "1"),
        "{test} needs {missing}, and PURLIN_TEST_REQUIRE=1 forbids to skip it"
    );
    say(&format!("skipped {test}: {missing}"));
}

fn say(line: &str) {
    // The test harness captures what goes through the print macros, not what is written to the
    // handle itself.
    let _ = std::io::stderr()
        .lock()
        .write_all(format!("{line}\n").as_bytes());
}

/// A name that no other test has, in this process or another, now or in a crashed run before:
/// `<prefix>_<seconds since 1970>_<process>_<count>`.
pub(crate) fn unique_name(prefix: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{prefix}_{}_{}_{count}", unix_seconds(), std::process::id())
}

/// Whether a name of [`unique_name`] is so old that its test must have crashed.
pub(crate) fn is_leftover(name: &str, prefix: &str) -> bool {
    const OLD_SECONDS: u64 = 3_600;
    let made = name
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('_'))
        .and_then(|rest| rest.split('_').next())
        .and_then(|seconds| seconds.parse::<u64>().ok());
    made.is_some_and(|made| made + OLD_SECONDS < unix_seconds())
}

#[expect(
    clippy::disallowed_methods,
    reason = "tells runs apart by the real time"
)]
fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_names_are_leftovers() {
        assert!(is_leftover("purlin_test_1700000000_12_0", "purlin_test"));
        assert!(!is_leftover(&unique_name("purlin_test"), "purlin_test"));
        assert!(!is_leftover("purlin_test_orders", "purlin_test"));
        assert!(!is_leftover("orders_1700000000_12_0", "purlin_test"));
    }
}
