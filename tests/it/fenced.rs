//! Members that hang amid a transaction, are replaced, and go on with it: what is in it counts once,
//! whether it is theirs or that of whoever has replaced them.
//!
//! Before: [`crate::scale_out`] makes the job. After: nobody.

use std::time::Duration;

use driftd_fixtures::trials::rounds;
use driftd_tests::job::Job;

use crate::scale_out::{Member, ROUND, compare, prepare, put, settle, shared};

const DEADLINE: Duration = Duration::from_mins(2);

/// Behind the positions nothing fences a member any more: the transaction may still take place.
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
    let put = |round: i64| put(&job, round * ROUND..(round + 1) * ROUND, ROUND * count / 2);
    let mut members = vec![Member::start(&config, &[])];
    settle(&mut members, "one alone");
    for (place, round) in places.iter().zip((0..).step_by(2)) {
        // The first transaction says only that it is there.
        let armed = format!("{place}:2:stop");
        members.push(Member::start(&config, &[("DRIFTD_FAILPOINT", &armed)]));
        put(round);
        members[1].daemon.wait_for_stop(DEADLINE);
        put(round + 1);
        settle(&mut members[..1], place);
        members[1].daemon.resume();
        settle(&mut members, "it is back");
        let _left = members.remove(1).daemon.terminate(DEADLINE).expect_code(0);
        settle(&mut members, "it has left");
    }
    compare(&job, members, ROUND * count, |_| {});
}
