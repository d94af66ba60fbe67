//! Plays the cases of a property, and counts what they reach: a generator whose cases no longer
//! reach what the property is about fails, instead of passing for nothing.
//!
//! Before: a property says how many cases, from what, and what each has to reach. After: the cases
//! are played one by one; a floor under each count ends the test.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::simulation::cases;

/// What one case reached, each thing once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reached(BTreeSet<&'static str>);

impl Reached {
    /// Takes note of something that has happened.
    pub(crate) fn note(&mut self, what: &'static str) {
        self.0.insert(what);
    }

    /// The same where it is so.
    pub(crate) fn note_if(&mut self, is_so: bool, what: &'static str) {
        if is_so {
            self.note(what);
        }
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }
}

/// A thing, and how many of a thousand cases have to reach it.
pub(crate) type Floor = (&'static str, u32);

/// How many cases reached each thing.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    cases: u32,
    reached: BTreeMap<&'static str, u32>,
}

impl Tally {
    /// Plays `short` cases, or more in a long run; panics with the smallest one that fails.
    pub(crate) fn play<S: Strategy>(
        short: u32,
        strategy: S,
        case: impl Fn(S::Value) -> Reached,
    ) -> Self {
        let tally = RefCell::new(Self::default());
        let mut runner = TestRunner::new(cases(short));
        let played = runner.run(&strategy, |drawn| {
            let reached = case(drawn);
            let mut tally = tally.borrow_mut();
            tally.cases += 1;
            for what in reached.0 {
                *tally.reached.entry(what).or_insert(0) += 1;
            }
            Ok(())
        });
        if let Err(failure) = played {
            panic!("{failure}\n{runner}");
        }
        tally.into_inner()
    }

    /// Panics unless of a thousand cases at least so many reached each thing of all these.
    pub(crate) fn assert_floors(&self, floors: &[&[Floor]]) {
        let floors = floors.concat();
        let share = |what: &str| {
            let count = self.reached.get(what).copied().unwrap_or(0);
            u64::from(count) * 1_000 / u64::from(self.cases)
        };
        let below = floors.iter().filter(|(what, floor)| share(what) < u64::from(*floor));
        let below: Vec<_> = below.collect();
        assert!(below.is_empty(), "not reached in so many of 1000 cases: {below:?}; {self:?}");
        let unknown: Vec<_> = self.reached.keys().filter(|what| !has(&floors, what)).collect();
        assert!(unknown.is_empty(), "reached, and not asked for: {unknown:?}");
    }
}

fn has(floors: &[Floor], what: &str) -> bool {
    floors.iter().any(|(named, _)| *named == what)
}

#[test]
fn a_thing_that_too_few_cases_reach_fails() {
    let tally = |floor| {
        Tally::play(40, 0..4_u8, |drawn| {
            let mut reached = Reached::default();
            reached.note_if(drawn == 0, "nothing");
            reached
        })
        .assert_floors(&[&[("nothing", floor)]]);
    };
    tally(1);
    let failure = std::panic::catch_unwind(|| tally(999)).unwrap_err();
    let said = failure.downcast_ref::<String>().unwrap();
    assert!(said.contains(r#"("nothing", 999)"#), "{said}");
}
