//! Members that hang amid a transaction, are replaced, and go on with it: what is in it counts
//! once. Whoever replaces them waits until the coordinator has aborted what they left open.
//!
//! Before: [`crate::scale_out`] makes the job. After: nobody.

use std::time::Duration;

use driftd_fixtures::trials::rounds;
use driftd_tests::job::Job;

use crate::scale_out::{Member, ROUND, compare, prepare, put, settle, shared};

const DEADLINE: Duration = Duration::from_mins(2);
/// Records of a round come in so many pieces, so that they are in several transactions.
const PIECES: i64 = 8;
/// Several intervals of commits.
const TRANSACTIONS: Duration = Duration::from_secs(1);

/// Behind the positions no group fences a member any more, only the coordinator of transactions.
const POSITIONED: [&str; 2] = ["sharing.positioned", "lanes.positioned"];
const ALL: [&str; 6] = [
    "sharing.filled",
    "lanes.filled",
    "sharing.flushed",
    "lanes.flushed",
    "sharing.positioned",
    "lanes.positioned",
];

#[test]
fn a_member_that_is_replaced_amid_a_transaction_says_everything_once() {
    let job = Job::new("fenced");
    let config = prepare(&job, &shared(&job));
    let places = rounds(POSITIONED.to_vec(), ALL.to_vec());
    let count = 2 * i64::try_from(places.len()).expect("few");
    let put = |from: i64, to: i64| put(&job, from..to, ROUND * count / 2);
    let mut members: Vec<Member> = Vec::new();
    for (place, round) in places.iter().zip((0..).step_by(2)) {
        // Who owns everything comes to every place; its first transactions say only that it is
        // there.
        let armed = format!("{place}:4:stop");
        let hung = Member::start(&config, &[("DRIFTD_FAILPOINT", &armed)]);
        for before in members.drain(..) {
            let _left = before.daemon.terminate(DEADLINE).expect_code(0);
        }
        let mut alone = [hung];
        settle(&mut alone, "it owns everything");
        let [mut hung] = alone;
        let (start, end) = (round * ROUND, (round + 1) * ROUND);
        let mut has_stopped = false;
        for piece in 0..PIECES {
            put(start + ROUND / PIECES * piece, start + ROUND / PIECES * (piece + 1));
            has_stopped = has_stopped || hung.daemon.stops_within(TRANSACTIONS);
        }
        assert!(has_stopped, "{place}: {}", hung.daemon.report());
        members.push(Member::start(&config, &[]));
        put(end, end + ROUND);
        settle(&mut members, place);
        hung.daemon.resume();
        members.push(hung);
        settle(&mut members, "it is back");
        let _left = members.remove(1).daemon.terminate(DEADLINE).expect_code(0);
        settle(&mut members, "it has left");
    }
    compare(&job, members, ROUND * count, |_| {});
}
