//! Processes that share a topic and are killed, hang, leave and come at times that are drawn, while
//! records come in. Together they say what one process says.

use std::time::Duration;

use driftd_fixtures::trials::{Choices, rounds};
use driftd_tests::job::Job;

use crate::scale_out::{Member, ROUND, compare, prepare, put, settle, shared};

const DEADLINE: Duration = Duration::from_mins(2);

const MEMBERS: usize = 3;

/// Changes of the group: each once, and then as they are drawn; half of those are crashes.
const CHANGES: (i64, i64) = (3, 40);

/// A change comes while the records put in before it are read, or soon after.
const CALM_MILLIS_MAX: u64 = 3_000;

/// Twice what the group waits for a member: some are expelled, others are not.
const HANG_MILLIS_MAX: u64 = 12_000;

/// What happens to a member.
#[derive(Clone, Copy, Debug)]
enum Change {
    Killed,
    Hanging,
    Leaving,
}

const EACH: [Change; 3] = [Change::Killed, Change::Leaving, Change::Hanging];
const DRAWN: [Change; 4] = [Change::Killed, Change::Killed, Change::Hanging, Change::Leaving];

fn draw(choices: &mut Choices, below: usize) -> usize {
    let below = u64::try_from(below).expect("small");
    usize::try_from(choices.below(below)).expect("small")
}

fn millis(choices: &mut Choices, max: u64) -> Duration {
    Duration::from_millis(choices.below(max))
}

/// Lets the change happen to one of the members; who ended gets a successor.
fn suffer(change: Change, choices: &mut Choices, members: &mut Vec<Member>, config: &str) {
    let at = draw(choices, members.len());
    match change {
        Change::Killed => drop(members.remove(at).daemon.kill(DEADLINE)),
        Change::Leaving => {
            let _left = members.remove(at).daemon.terminate(DEADLINE).expect_code(0);
        }
        Change::Hanging => {
            let daemon = &mut members[at].daemon;
            daemon.pause();
            assert!(!daemon.ends_within(millis(choices, HANG_MILLIS_MAX)));
            daemon.resume();
        }
    }
    if members.len() < MEMBERS {
        members.push(Member::start(config, &[]));
    }
}

#[test]
fn members_that_end_or_hang_at_any_time_say_what_one_says() {
    let mut choices = Choices::new();
    let job = Job::new("churn");
    let config = prepare(&job, &shared(&job));
    let changes = rounds(CHANGES.0, CHANGES.1);
    let mut members: Vec<Member> = (0..MEMBERS).map(|_| Member::start(&config, &[])).collect();
    for round in 0..changes {
        put(&job, round * ROUND..(round + 1) * ROUND, ROUND * changes / 2);
        let calm = millis(&mut choices, CALM_MILLIS_MAX);
        assert!(!members[0].daemon.ends_within(calm), "{}", members[0].daemon.report());
        let each = usize::try_from(round).ok().and_then(|round| EACH.get(round));
        let drawn = || DRAWN[draw(&mut choices, DRAWN.len())];
        let change = each.copied().unwrap_or_else(drawn);
        suffer(change, &mut choices, &mut members, &config);
    }
    settle(&mut members, "all are there");
    compare(&job, members, ROUND * changes, |_| {});
}
