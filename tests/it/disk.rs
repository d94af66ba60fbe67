//! Disks that are full, and folders of state that are removed under the process that writes them,
//! against a process that reads everything in one go.
//!
//! Before: [`crate::durable`] makes the pair of jobs. After: nobody.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use driftd_fixtures::driftd::{Driftd, Ended};
use driftd_tests::crash;
use driftd_tests::job::PARTITIONS;
use serde_json::Value;

use crate::durable::{HOUR, Pair, SHORT_ROUND, running};

const DEADLINE: Duration = Duration::from_mins(2);

/// Bytes that the disk has left for the journal: none at all, less than a batch, some batches.
const LEFT: [u64; 3] = [0, 999, 60_000];

/// Where the journal of the store's first process ends. It is longer: the rest is room, of zeros.
fn journal_end(pair: &Pair) -> u64 {
    let journal = pair.job.path("state/0.jnl");
    let bytes = fs::read(&journal).unwrap_or_else(|error| panic!("{journal}: {error}"));
    let last = bytes.iter().rposition(|byte| *byte != 0).expect("it is not empty");
    u64::try_from(last + 1).expect("a length")
}

/// Waits until everything is read, and what was read of it is stored.
fn wait_for_store(daemon: &mut Driftd, status: &str) {
    let all = usize::try_from(PARTITIONS).expect("small");
    let mut stored = BTreeSet::new();
    daemon.wait_for_http(status, DEADLINE, |response| {
        let status = response.json();
        let partitions = status["sources"][0]["partitions"].as_array();
        let at_end = |it: &Vec<Value>| it.len() == all && it.iter().all(|it| it["lag"] == 0);
        if !partitions.is_some_and(at_end) {
            stored.clear();
            return false;
        }
        stored.insert(status["state_stored_at"].to_string());
        // One batch may be on its way, and the next one asks for what the one after holds.
        4 < stored.len()
    });
}

fn expect_full(ended: &Ended) {
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    for words in ["state is not stored", "cannot write the state in", "is the disk full?"] {
        assert!(ended.stderr.contains(words), "`{words}`: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

/// What a process may write into a file ends, as a disk does: a batch is cut in its middle.
#[test]
fn a_disk_that_is_full_ends_the_process_and_the_next_one_goes_on() {
    let rounds = i64::try_from(LEFT.len() + 1).expect("few");
    let mut pair = Pair::new("disk-full", SHORT_ROUND * rounds);
    pair.put(SHORT_ROUND);
    let (mut daemon, status) = running(pair.start(&[]));
    wait_for_store(&mut daemon, &status);
    let _killed = daemon.kill(DEADLINE);
    for left in LEFT {
        pair.put(SHORT_ROUND);
        let file_bytes_max = journal_end(&pair) + left;
        let daemon = Driftd::start_limited(&pair.args(), file_bytes_max);
        let place = format!("a file of {file_bytes_max} bytes");
        expect_full(&crash::wait(daemon, &place, || pair.put(HOUR)));
    }
    pair.compare();
}

/// A folder that cannot be made, for want of room.
#[test]
fn a_disk_that_is_full_from_the_start_is_told() {
    let mut pair = Pair::new("disk-none", SHORT_ROUND);
    pair.put(SHORT_ROUND);
    let ended = Driftd::start_limited(&pair.args(), 16_384).wait(DEADLINE).expect_code(1);
    assert!(ended.stderr.contains("cannot open the state in"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    pair.compare();
}

/// What the process would write would be in files without a name: it ends, and the next one finds
/// no state, reads the topic again, and sends nothing that is sent already.
#[test]
fn a_folder_that_is_removed_under_the_process_ends_it_and_loses_nothing() {
    let mut pair = Pair::new("disk-removed", SHORT_ROUND * 3);
    pair.put(SHORT_ROUND);
    let (mut daemon, status) = running(pair.start(&[]));
    wait_for_store(&mut daemon, &status);
    pair.lose_state();
    pair.put(SHORT_ROUND);
    let ended = daemon.wait(DEADLINE).expect_code(1);
    assert!(ended.stderr.contains("was removed or replaced while driftd ran"), "{}", ended.stderr);
    pair.put(SHORT_ROUND);
    pair.compare();
}
