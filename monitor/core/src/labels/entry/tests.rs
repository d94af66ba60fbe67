//! What becomes of labels and their prediction in every order, against the greatest of them that a
//! naive look at all finds.

use driftd_fixtures::trials::cases;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::*;
use crate::config::{BinaryClasses, LabelsConfig, Sample, Task};

const HORIZON: i64 = 1_000;

/// When the prediction of these tests was made.
const AT: i64 = 10_000;

fn config(keep: Keep) -> PerformanceConfig {
    PerformanceConfig {
        task: Task::Binary {
            score: None,
            predicted: Some(0),
            threshold: 0.5,
            classes: BinaryClasses { positive: Vec::new(), negative: Vec::new() },
        },
        labels: LabelsConfig {
            source: 1,
            has_row: false,
            has_revision: true,
            has_deleted: true,
            keep,
        },
        window_millis: 500,
        offset_millis: 0,
        horizon_millis: HORIZON,
        sample: Sample::of(1.0),
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(AT + millis)
}

fn predicted() -> Predicted {
    let guess = Guess::Binary { score: None, predicted: true };
    Predicted { time: at(0), cohort: 0, guess }
}

fn label(millis: i64, revision: i64, positive: bool) -> Label {
    Label { time: at(millis), revision, truth: Some(Truth::Positive(positive)) }
}

fn gone(millis: i64, revision: i64) -> Label {
    Label { truth: None, ..label(millis, revision, false) }
}

/// A prediction or a label, as they come.
#[derive(Clone, Copy, Debug)]
enum News {
    Prediction(Predicted),
    Label(Label),
}

/// An identity, and what was said of it so far.
#[derive(Debug, Default)]
struct Course {
    entry: Option<Entry>,
    /// Outcomes that were added and not removed.
    outcomes: Vec<Outcome>,
    fates: Vec<Fate>,
    /// Labels that are told to wait, less those that are told to wait no more.
    waiting: usize,
}

impl Course {
    fn of(news: &[News], config: &PerformanceConfig) -> Self {
        let mut course = Self::default();
        for it in news {
            course.take(*it, config);
        }
        course
    }

    fn take(&mut self, news: News, config: &PerformanceConfig) {
        let kept = self.entry.clone();
        let change = match news {
            News::Prediction(predicted) => Entry::predict(kept, predicted, config),
            News::Label(label) => Entry::label(kept, label, config),
        };
        if let Some(removed) = change.removed {
            let place = self.outcomes.iter().position(|it| *it == removed);
            self.outcomes.remove(place.expect("only what was added is removed"));
        }
        self.outcomes.extend(change.added);
        self.waiting += usize::from(change.fate == Fate::Waits);
        self.waiting -= change.others.len();
        self.fates.push(change.fate);
        self.fates.extend(change.others.iter().map(|(_, fate)| *fate));
        self.entry = change.entry.or(self.entry.take());
    }

    fn label(&self) -> Option<Label> {
        match self.entry.as_ref()? {
            Entry::Predicted(_, label) => *label,
            Entry::Waiting(_) => panic!("there is a prediction"),
        }
    }
}

/// Plays labels before and behind the prediction.
#[track_caller]
fn check(keep: Keep, labels: &[Label], counts: Option<Label>, before: &[Fate], behind: &[Fate]) {
    let config = config(keep);
    let all: Vec<News> = labels.iter().copied().map(News::Label).collect();
    let prediction = [News::Prediction(predicted())];
    let outcome = counts.and_then(|it| predicted().outcome(&it));
    for (news, fates) in
        [([&all[..], &prediction].concat(), before), ([&prediction, &all[..]].concat(), behind)]
    {
        let course = Course::of(&news, &config);
        assert_eq!(course.label(), counts);
        assert_eq!(course.outcomes, Vec::from_iter(outcome));
        assert_eq!(course.fates, fates);
        assert_eq!(course.waiting, 0);
    }
}

#[test]
fn a_label_counts_from_its_prediction_to_the_horizon() {
    use Fate::{Joined, Kept, Unmatched, Waits};
    for millis in [0, 1, HORIZON] {
        let it = label(millis, 0, true);
        check(Keep::Last, &[it], Some(it), &[Waits, Kept, Joined], &[Kept, Joined]);
    }
    for millis in [-1, HORIZON + 1] {
        let it = label(millis, 0, true);
        check(Keep::Last, &[it], None, &[Waits, Kept, Unmatched], &[Kept, Unmatched]);
    }
}

#[test]
fn of_two_times_the_last_or_the_first_counts() {
    use Fate::{Joined, Kept, Revised, Superseded, Waits};
    let (one, two) = (label(1, 7, true), label(2, 0, false));
    let before = |fates: [Fate; 2]| [&[Waits, Waits, Kept], &fates[..]].concat();
    let [newer, older] = [[two, one], [one, two]];
    let waited = before([Joined, Superseded]);
    check(Keep::Last, &older, Some(two), &waited, &[Kept, Joined, Revised]);
    check(Keep::Last, &newer, Some(two), &waited, &[Kept, Joined, Superseded]);
    check(Keep::First, &older, Some(one), &waited, &[Kept, Joined, Superseded]);
    check(Keep::First, &newer, Some(one), &waited, &[Kept, Joined, Revised]);
}

#[test]
fn of_one_time_the_greater_revision_counts_whichever_is_kept() {
    use Fate::{Joined, Kept, Revised, Superseded, Waits};
    let (one, two) = (label(5, 1, true), label(5, 2, false));
    for keep in [Keep::Last, Keep::First] {
        let waited = [Waits, Waits, Kept, Joined, Superseded];
        check(keep, &[one, two], Some(two), &waited, &[Kept, Joined, Revised]);
        check(keep, &[two, one], Some(two), &waited, &[Kept, Joined, Superseded]);
    }
}

#[test]
fn a_label_that_is_taken_away_leaves_none_and_comes_back_with_a_later_one() {
    use Fate::{Joined, Kept, Revised, Superseded, Waits};
    let (one, taken, again) = (label(1, 0, true), gone(2, 0), label(3, 0, true));
    let behind = [Kept, Joined, Revised];
    check(
        Keep::Last,
        &[one, taken],
        Some(taken),
        &[Waits, Waits, Kept, Joined, Superseded],
        &behind,
    );
    check(
        Keep::Last,
        &[one, taken, again],
        Some(again),
        &[Waits, Waits, Waits, Kept, Joined, Superseded, Superseded],
        &[Kept, Joined, Revised, Revised],
    );
}

#[test]
fn an_equal_label_changes_nothing() {
    use Fate::{Duplicate, Joined, Kept, Waits};
    let it = label(4, 2, true);
    let (waited, behind) = ([Waits, Duplicate, Kept, Joined], [Kept, Joined, Duplicate]);
    check(Keep::Last, &[it, it], Some(it), &waited, &behind);
    let config = config(Keep::Last);
    let kept = Entry::Predicted(predicted(), Some(it));
    assert_eq!(Entry::label(Some(kept), it, &config), Change::none(Duplicate));
}

#[test]
fn the_first_prediction_of_an_identity_stays() {
    let config = config(Keep::Last);
    let kept = Entry::Predicted(predicted(), Some(label(1, 0, true)));
    let other = Predicted { time: at(3), cohort: 4, ..predicted() };
    let change = Entry::predict(Some(kept), other, &config);
    assert_eq!(change, Change::none(Fate::Repeated));
}

#[test]
fn labels_of_one_time_that_say_different_things_have_an_order() {
    let truths = [
        None,
        Some(Truth::Positive(false)),
        Some(Truth::Positive(true)),
        Some(Truth::Class(1)),
        Some(Truth::Class(2)),
        Some(Truth::Number(-0.0)),
        Some(Truth::Number(0.0)),
        Some(Truth::Number(7.5)),
    ];
    for (place, one) in truths.iter().enumerate() {
        for (other_place, other) in truths.iter().enumerate() {
            let of = |truth: &Option<Truth>| Label { truth: *truth, ..label(1, 0, true) };
            let found = of(one).precedence(&of(other), Keep::Last);
            assert_eq!(found, place.cmp(&other_place), "{one:?} and {other:?}");
        }
    }
}

#[test]
fn of_labels_that_wait_those_stay_that_would_count_first() {
    let config = config(Keep::Last);
    let labels: Vec<Label> = (0..12).map(|it| label(it, 0, true)).collect();
    let course = Course::of(&labels.iter().copied().map(News::Label).collect::<Vec<_>>(), &config);
    let kept: Vec<Label> = labels.iter().rev().take(8).copied().collect();
    assert_eq!(course.entry, Some(Entry::Waiting(kept)));
    let dropped = course.fates.iter().filter(|it| **it == Fate::Superseded);
    assert_eq!((dropped.count(), course.waiting), (4, 8));
    let mut backwards = Course::default();
    for it in labels.iter().rev() {
        backwards.take(News::Label(*it), &config);
    }
    assert_eq!(backwards.entry, course.entry);
}

#[test]
fn an_entry_is_as_old_as_the_newest_that_it_has() {
    let waiting = Entry::Waiting(vec![label(4, 0, true), label(9, 0, true), label(2, 0, true)]);
    assert_eq!(waiting.time(), at(9));
    assert_eq!(Entry::Predicted(predicted(), Some(label(9, 0, true))).time(), at(0));
}

/// Labels around a prediction: of few times, revisions and truths, so that many are nearly alike.
fn labels() -> impl Strategy<Value = Vec<Label>> {
    let time = prop_oneof![6 => 0..4_i64, 1 => Just(-1), 1 => HORIZON..HORIZON + 2];
    let truth = prop_oneof![
        1 => Just(None),
        4 => any::<bool>().prop_map(|it| Some(Truth::Positive(it))),
    ];
    let one = (time, 0..3_i64, truth)
        .prop_map(|(millis, revision, truth)| Label { truth, ..label(millis, revision, true) });
    prop::collection::vec(one, 0..6)
}

/// Every order of a few things.
fn orders(news: &[News]) -> Vec<Vec<News>> {
    if news.len() < 2 {
        return vec![news.to_vec()];
    }
    let first = |place: usize| {
        let mut rest = news.to_vec();
        let first = rest.remove(place);
        orders(&rest).into_iter().map(move |rest| [&[first], &rest[..]].concat())
    };
    (0..news.len()).flat_map(first).collect()
}

/// The label that counts, by the words of decision 0018.
fn naive(labels: &[Label], keep: Keep) -> Option<Label> {
    let in_time = labels.iter().filter(|it| at(0) <= it.time && it.time <= at(HORIZON));
    in_time.copied().max_by_key(|it| {
        let time = it.time.as_millis();
        let time = if keep == Keep::Last { time } else { -time };
        let said = match it.truth {
            None => 2,
            Some(Truth::Positive(false)) => 1,
            Some(Truth::Positive(true) | Truth::Class(_) | Truth::Number(_)) => 0,
        };
        (time, it.revision, said)
    })
}

#[test]
fn every_order_of_arrival_gives_the_same_label_and_outcome() {
    let keep = prop_oneof![Just(Keep::Last), Just(Keep::First)];
    let mut runner = TestRunner::new(cases(150));
    let played = runner.run(&(labels(), keep), |(labels, keep)| {
        let config = config(keep);
        let expected = naive(&labels, keep);
        let outcome = expected.and_then(|it| predicted().outcome(&it));
        let labels = labels.iter().copied().map(News::Label);
        let news: Vec<News> = labels.chain([News::Prediction(predicted())]).collect();
        for order in orders(&news) {
            let course = Course::of(&order, &config);
            assert_eq!(course.label(), expected, "{order:?}");
            assert_eq!(course.outcomes, Vec::from_iter(outcome), "{order:?}");
            assert_eq!(course.waiting, 0, "{order:?}");
            let joined = course.fates.iter().filter(|it| **it == Fate::Joined).count();
            assert_eq!(joined, usize::from(expected.is_some()), "{order:?}");
        }
        Ok(())
    });
    if let Err(failure) = played {
        panic!("{failure}\n{runner}");
    }
}
