//! Processes that end at a named place (`DRIFTD_FAILPOINT`), at its first time or a later one.
//!
//! Before: records are put in, and a process is started with a place armed. After: it has ended,
//! however many records it took to come there.

use std::time::Duration;

use driftd_fixtures::driftd::{Driftd, Ended};

/// A place, and up to which time of coming there it is to be tested.
pub type Place = (&'static str, u64);

/// Within this a process starts and reads what is there.
const START_PATIENCE: Duration = Duration::from_secs(3);

/// What a process gets for more records, so that they come in transactions of their own.
const PATIENCE: Duration = Duration::from_millis(400);

/// A place that is not come to after so many times more records is never come to.
const TIMES_MAX: usize = 200;

/// Spells each place as often as it is to be tested: for its first time, its second, and so on.
pub fn every_time(places: &[Place]) -> Vec<String> {
    let times = |&(place, times): &Place| (1..=times).map(move |nth| format!("{place}:{nth}"));
    places.iter().flat_map(times).collect()
}

/// Waits until the process has ended at `place`, and puts in more whenever it does not end.
pub fn wait(mut daemon: Driftd, place: &str, mut put: impl FnMut()) -> Ended {
    let mut patience = START_PATIENCE;
    for _ in 0..TIMES_MAX {
        if daemon.ends_within(patience) {
            return daemon.wait(PATIENCE);
        }
        put();
        patience = PATIENCE;
    }
    panic!("it never came to `{place}`: {}", daemon.report());
}
