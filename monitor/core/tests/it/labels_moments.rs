//! Predictions and labels at moments that [`crate::labels`] draws seldom or never: silence,
//! identities that come again, other configurations, lost records, samples.

use driftd_core::loss::{Accepted, Bounds, Loss};
use serde_json::{Value, json};

use crate::labels::Process;
use crate::labels_drawn::{Case, Kind, Said, Truth, What, tree};
use crate::log::START;
use crate::model;

/// What keys of rows of cohorts begin with.
const COHORT: u8 = 24;

/// What keys of rows of missing stretches begin with.
const GAP: u8 = 17;

const CASE_END: i64 = 3_600;

fn said(id: Option<u32>, seconds: i64, what: What) -> Said {
    Said { time: START.plus_millis(seconds * 1_000).as_millis(), id, what }
}

fn guessed(id: u32, seconds: i64, guess: u8) -> Said {
    let what = What::Prediction { version: "1", country: Some("de"), guess: Some(guess) };
    said(Some(id), seconds, what)
}

fn predicted(id: u32, seconds: i64) -> Said {
    guessed(id, seconds, 5)
}

fn label(id: u32, seconds: i64) -> Said {
    said(Some(id), seconds, What::Label { revision: None, truth: Truth::Is(1) })
}

fn case(predictions: &[&[Said]], labels: &[&[Said]]) -> Case {
    let topics = [predictions, labels].map(|it| it.iter().map(|log| log.to_vec()).collect());
    Case { kind: Kind::Binary, keeps_last: true, topics }
}

fn process(case: &Case) -> Process {
    Process::new(&model::config(&tree(case.kind, case.keeps_last)), case)
}

/// Reads some messages of a partition, and hears of them.
fn read(process: &mut Process, place: usize, messages: usize) {
    process.read(place, messages);
    process.hear(0, usize::MAX);
    process.hear(1, usize::MAX);
}

/// Stores what every partition holds.
fn store(process: &mut Process) {
    for shard in 0..2 {
        process.tell(shard);
        process.hear(shard, usize::MAX);
    }
    process.store(true);
}

/// Begins and ends of final windows, in seconds.
fn finals(process: &Process) -> Vec<(i64, i64)> {
    let seconds = |time: driftd_catalog::Timestamp| (time.as_millis() - START.as_millis()) / 1_000;
    let spans = process.results.iter().map(|it| it.span);
    spans.map(|it| (seconds(it.start()), seconds(it.end()))).collect()
}

#[test]
fn an_idle_partition_holds_no_window_back() {
    let predictions = [predicted(1, 0), predicted(2, CASE_END)];
    let labels = [label(1, 10), label(2, CASE_END)];
    // One never has a record, another has an old one.
    let case = case(&[&predictions, &[]], &[&[label(1, 5)], &labels, &[]]);
    let mut process = process(&case);
    for place in 0..5 {
        read(&mut process, place, 9);
    }
    store(&mut process);
    assert_eq!(finals(&process), [], "they may still bring something");
    process.be_silent();
    store(&mut process);
    assert_eq!(finals(&process), [], "all are silent: the one that is furthest back counts");
    // One of each topic goes on.
    process.case.topics[0][0].push(predicted(3, CASE_END + 1));
    process.case.topics[1][1].push(label(3, CASE_END + 1));
    read(&mut process, 0, 9);
    read(&mut process, 3, 9);
    store(&mut process);
    assert_eq!(finals(&process), [(-13, 47)]);
}

#[test]
fn where_all_are_idle_one_without_records_says_nothing() {
    let case = case(
        &[&[predicted(1, 0), predicted(2, CASE_END)], &[]],
        &[&[label(1, 10), label(2, CASE_END)], &[]],
    );
    let mut process = process(&case);
    for place in 0..4 {
        read(&mut process, place, 9);
    }
    process.be_silent();
    store(&mut process);
    assert_eq!(finals(&process), [(-13, 47)]);
}

#[test]
fn an_identity_is_known_again_within_the_horizon_however_far_labels_are() {
    let log = [
        predicted(1, 0),
        predicted(2, 139),
        // The window of the first is final.
        predicted(1, 140),
        predicted(3, 158),
        // Beyond the horizon it is another one.
        predicted(1, 160),
    ];
    for is_stored in [false, true] {
        let case = case(&[&log], &[&[label(1, 10), label(9, CASE_END)]]);
        let mut process = process(&case);
        read(&mut process, 1, 9);
        for repeated in [0, 0, 1, 1, 1] {
            read(&mut process, 0, 1);
            assert_eq!(process.counts().repeated, repeated);
            if is_stored {
                store(&mut process);
                process.start();
                process.hear(0, usize::MAX);
                process.hear(1, usize::MAX);
            }
        }
        let counts = process.counts();
        assert_eq!((counts.followed, counts.repeated), (4, 1));
        assert_eq!(counts.late_predictions, 0);
    }
}

#[test]
fn a_partition_that_wakes_up_late_changes_no_final_window() {
    let case = case(&[&[predicted(1, 0), predicted(2, 100)]], &[&[label(9, CASE_END)], &[]]);
    let mut process = process(&case);
    process.be_silent();
    read(&mut process, 0, 9);
    read(&mut process, 1, 9);
    store(&mut process);
    assert_eq!(finals(&process), [(-13, 47)]);
    process.case.topics[1][1].push(label(1, 10));
    process.case.topics[0][0].push(predicted(3, 101));
    read(&mut process, 2, 9);
    let counts = process.counts();
    assert_eq!((counts.joined, counts.unmatched), (0, 1));
    process.case.topics[1][0].push(label(9, CASE_END + 60));
    process.case.topics[1][1].push(label(9, CASE_END + 60));
    process.case.topics[0][0].push(predicted(4, CASE_END));
    process.end();
    assert_eq!(finals(&process), [(-13, 47), (47, 107)], "each once");
    let last = process.results.last().unwrap();
    assert_eq!(last.parts[0].predictions, 2);
}

#[test]
fn a_window_waits_for_predictions_that_may_be_late() {
    // The third is as far behind the watermark of 48 s as lateness allows, the fourth further.
    let log = [predicted(1, 0), predicted(2, 51), predicted(3, 46), predicted(4, 45)];
    let case = case(&[&log], &[&[label(3, 50), label(9, CASE_END)]]);
    let mut process = process(&case);
    read(&mut process, 1, 9);
    for _ in 0..log.len() {
        read(&mut process, 0, 1);
    }
    process.case.topics[0][0].push(predicted(5, CASE_END));
    process.end();
    assert_eq!(finals(&process), [(-13, 47), (47, 107)]);
    let part = &process.results[0].parts[0];
    assert_eq!((part.predictions, part.labelled), (2, 1));
    assert_eq!(process.counts().late_predictions, 1);
}

#[test]
fn labels_without_a_prediction_are_told_of_once() {
    // The second is given up with its window, which ends at 107 s.
    let case = case(
        &[&[predicted(1, 0), predicted(2, 70), predicted(3, 130)]],
        &[&[label(77, 50), label(78, 51), label(77, 60)]],
    );
    let mut process = process(&case);
    read(&mut process, 1, 2);
    read(&mut process, 0, 2);
    store(&mut process);
    process.start();
    process.hear(0, usize::MAX);
    process.hear(1, usize::MAX);
    assert_eq!((process.waiting(), process.counts().unmatched), (2, 0));
    read(&mut process, 0, 1);
    assert_eq!((process.waiting(), process.counts().unmatched), (0, 2));
    // One that comes too late for every prediction is not waited for.
    process.read(1, 1);
    process.hear(1, 1);
    assert_eq!((process.waiting(), process.counts().unmatched), (0, 3));
    store(&mut process);
    process.start();
    assert_eq!((process.waiting(), process.counts().unmatched), (0, 3));
}

#[test]
fn what_lies_on_a_border_of_time_is_on_its_late_side_only_behind_it() {
    // The second label is as old as the watermark of its partition.
    let case = case(&[&[predicted(1, 0)]], &[&[label(9, 100), label(1, 80)]]);
    let mut process = process(&case);
    process.end();
    assert_eq!((process.counts().joined, process.counts().late_labels), (1, 0));
    // Others wait, until predictions have passed 107 s, where their window ends.
    process.case.topics[0][0].push(predicted(2, 52));
    process.case.topics[1][0].extend([label(77, 90), label(78, 91)]);
    process.end();
    assert_eq!((process.waiting(), process.counts().unmatched), (3, 0));
    process.case.topics[0][0].push(predicted(3, 112));
    read(&mut process, 0, 9);
    assert_eq!((process.waiting(), process.counts().unmatched), (0, 3));
    process.case.topics[1][0].push(label(79, 92));
    process.read(1, 1);
    process.hear(1, 1);
    assert_eq!((process.waiting(), process.counts().unmatched), (0, 4));
}

/// A process that has stored two predictions and a label of the first.
fn stored() -> Process {
    let predictions = [predicted(1, 0), predicted(2, 1)];
    let mut process = process(&case(&[&predictions], &[&[label(1, 10)]]));
    read(&mut process, 0, 9);
    read(&mut process, 1, 9);
    store(&mut process);
    assert_eq!((process.counts().joined, process.rows(COHORT)), (1, 1));
    process
}

fn restart(process: &mut Process, tree: &Value) {
    process.config = model::config(tree);
    process.start();
    process.hear(0, usize::MAX);
    process.hear(1, usize::MAX);
}

#[test]
fn another_task_begins_anew_and_the_one_before_is_not_gone_on_with() {
    let mut process = stored();
    restart(&mut process, &tree(Kind::Binary, true));
    assert_eq!((process.counts().followed, process.open().len()), (2, 1));
    restart(&mut process, &tree(Kind::Regression, true));
    assert_eq!((process.counts().followed, process.open().len()), (0, 0));
    store(&mut process);
    // A version that the task before had no number for, and one more message of both topics.
    let what = What::Prediction { version: "2", country: None, guess: Some(3) };
    process.case.kind = Kind::Regression;
    process.case.topics[0][0].push(said(Some(3), 2, what));
    process.case.topics[1][0].push(label(3, 11));
    read(&mut process, 0, 9);
    read(&mut process, 1, 9);
    store(&mut process);
    restart(&mut process, &tree(Kind::Regression, true));
    assert_eq!((process.counts().followed, process.counts().joined), (1, 1));
    let parts = &process.open()[0].parts;
    assert_eq!(parts.len(), 1);
    assert_eq!((&*parts[0].version, parts[0].labelled), ("2", 1));
    restart(&mut process, &tree(Kind::Binary, true));
    assert_eq!((process.counts().followed, process.open().len()), (0, 0), "it was left behind");
    // What is stored by then is of no use: a label finds nothing of it.
    process.case.kind = Kind::Binary;
    process.case.topics[1][0].push(label(2, 12));
    read(&mut process, 1, 9);
    assert_eq!((process.counts().joined, process.waiting()), (0, 1));
}

#[test]
fn versions_of_another_task_are_removed_from_the_store() {
    let mut process = stored();
    let what = What::Prediction { version: "2", country: None, guess: Some(3) };
    process.case.topics[0][0].push(said(Some(3), 2, what));
    read(&mut process, 0, 9);
    store(&mut process);
    assert_eq!(process.rows(COHORT), 2);
    restart(&mut process, &tree(Kind::Regression, true));
    process.case.kind = Kind::Regression;
    process.case.topics[0][0].push(predicted(4, 3));
    read(&mut process, 0, 9);
    store(&mut process);
    restart(&mut process, &tree(Kind::Regression, true));
    store(&mut process);
    assert_eq!(process.rows(COHORT), 1);
    assert_eq!(process.open()[0].parts.len(), 2, "all, and one segment");
}

#[test]
fn a_partition_whose_loss_is_accepted_is_taken_from_its_beginning() {
    let mut process = stored();
    let place = driftd_catalog::PartitionId { topic: "truth".into(), partition: 0 };
    // The topic was made anew: it ends before where it was read up to.
    process.case.topics[1][0].clear();
    let loss = Loss::of(1, Bounds { start: 0, end: 0 }).unwrap();
    process.accepted = vec![Accepted { partition: place, loss, start: 0, at: process.now }];
    process.start();
    process.accepted.clear();
    process.case.topics[1][0].push(label(2, 11));
    read(&mut process, 1, 9);
    assert_eq!(process.counts().joined, 2, "its first offset was taken of the one before");
    store(&mut process);
    process.start();
    assert_eq!(process.counts().joined, 2);
    assert_eq!(process.open()[0].parts[0].labelled, 2);
}

#[test]
fn windows_that_are_cut_otherwise_begin_with_the_first_whole_one() {
    let log = [predicted(1, 0), predicted(2, 70), predicted(3, 139)];
    let case = case(&[&log], &[&[label(9, 2 * CASE_END)]]);
    let mut process = process(&case);
    read(&mut process, 1, 9);
    read(&mut process, 0, 9);
    store(&mut process);
    assert_eq!(finals(&process), [(-13, 47), (47, 107)]);
    let mut other = tree(Kind::Binary, true);
    other["models"][0]["performance"]["window"] = "2m".into();
    restart(&mut process, &other);
    assert!(process.open().is_empty(), "half of it was told of already");
    process.case.topics[0][0].extend([predicted(4, 150), predicted(5, 170)]);
    process.case.topics[0][0].push(predicted(6, CASE_END));
    process.end();
    assert_eq!(finals(&process), [(-13, 47), (47, 107), (167, 287)]);
    assert_eq!(process.counts().late_predictions, 1);
}

#[test]
fn a_sample_has_the_same_identities_wherever_they_are_read() {
    let count = 1_000_u32;
    let guess = |id: u32| u8::try_from(id % 9).unwrap();
    let all: Vec<Said> = (0..count).map(|id| guessed(id, i64::from(id) / 100, guess(id))).collect();
    let labels: Vec<Said> = (0..count).map(|id| label(id, 20)).collect();
    let mut sampled = tree(Kind::Binary, true);
    sampled["models"][0]["performance"]["sample"] = 0.1.into();
    let config = model::config(&sampled);
    let whole = case(&[&all], &[&labels]);
    let [even, odd] = [0, 1].map(|odd| {
        let own = all.iter().filter(|it| it.id.is_some_and(|id| id % 2 == odd));
        own.cloned().collect::<Vec<_>>()
    });
    let split = case(&[&odd, &even], &[&[], &labels]);
    let [one, other] = [whole, split].map(|case| {
        let mut process = Process::new(&config, &case);
        // Labels first: those of others do not wait.
        read(&mut process, case.topics[0].len() + case.topics[1].len() - 1, usize::MAX / 2);
        let waiting = process.waiting();
        process.end();
        assert_eq!(process.waiting(), 0);
        let performance = process.pipeline.snapshot(process.now).performance[&0].clone();
        assert_eq!(performance.sample, 0.1, "it is said wherever it is shown");
        assert_eq!(performance.counts.followed, waiting);
        (process.counts(), process.open())
    });
    assert_eq!(one, other);
    let (counts, _) = one;
    assert_eq!(counts.followed + counts.not_sampled, u64::from(count));
    assert!((70..=130).contains(&counts.followed), "{} of {count}", counts.followed);
    assert_eq!(counts.joined, counts.followed);
}

#[test]
fn records_of_one_message_with_one_identity_are_told_apart_by_their_place() {
    let mut tree = tree(Kind::Binary, true);
    let model = &mut tree["models"][0];
    model["features"][0]["path"] = "rows[].x".into();
    model["predictions"] = json!([{"name": "score", "path": "rows[].score", "type": "float64"}]);
    model["performance"]["labels"]["row"] = "row".into();
    let raw = |message: Value| said(None, 0, What::Raw(message.to_string()));
    let at = START.as_millis();
    let row = |score: f64| json!({"x": 1, "score": score});
    let predictions = [
        raw(json!({"at": at, "id": "a", "version": "1", "rows": [row(0.1), row(0.9), row(0.8)]})),
        raw(json!({"at": at, "id": "b", "version": "1", "rows": [row(0.2)]})),
    ];
    let label = |id: &str, row: Value, value: u8| {
        raw(json!({"at": at, "id": id, "row": row, "value": value}))
    };
    let labels = [
        label("a", json!(1), 1),
        label("a", json!(0), 0),
        label("a", json!(7), 0),
        label("b", json!(0), 0),
        label("b", Value::Null, 1),
        label("b", json!(-1), 1),
    ];
    let case = case(&[&predictions], &[&labels]);
    let mut process = Process::new(&model::config(&tree), &case);
    process.end();
    let counts = process.counts();
    assert_eq!((counts.followed, counts.joined, process.waiting()), (4, 3, 1));
    assert_eq!(counts.unusable_labels, 2, "it says no place, or none that there is");
    let window = &process.open()[0];
    let accuracy = window.parts[0].metrics.iter().find(|it| it.name == "accuracy").unwrap();
    assert_eq!(accuracy.value, 1.0);
}

#[test]
fn an_error_that_no_number_holds_is_counted_beside_and_taken_away_again() {
    let huge = |seconds: i64| {
        let at = START.plus_millis(seconds * 1_000).as_millis();
        let message = json!({"at": at, "id": "prediction-1", "value": 1e100});
        said(None, seconds, What::Raw(message.to_string()))
    };
    let mut case = case(&[&[predicted(1, 0)]], &[&[huge(1), label(1, 2), huge(3), label(1, 4)]]);
    case.kind = Kind::Regression;
    let mut process = process(&case);
    read(&mut process, 0, 9);
    for (uncountable, metrics) in [(1, false), (0, true), (1, false), (0, true)] {
        read(&mut process, 1, 1);
        let part = process.open()[0].parts[0].clone();
        assert_eq!((part.labelled, part.uncountable), (1, uncountable));
        assert_eq!(part.metrics.iter().any(|it| it.name == "mean_error"), metrics);
        assert_eq!(part.delay_median_millis.is_some(), metrics);
    }
    store(&mut process);
    process.start();
    let part = process.open()[0].parts[0].clone();
    assert_eq!((part.labelled, part.uncountable), (1, 0));
}

#[test]
fn a_model_whose_labels_share_a_topic_later_lacks_nothing() {
    let at = START.as_millis();
    let raw = |model: &str, id: &str| {
        let message = json!({"at": at, "model": model, "id": id, "value": 1});
        said(None, 0, What::Raw(message.to_string()))
    };
    let case = case(&[&[predicted(1, 0)]], &[&[raw("m", "prediction-1")]]);
    let mut own = tree(Kind::Binary, true);
    own["sources"][1]["model"] = "model".into();
    let mut process = Process::new(&model::config(&own), &case);
    read(&mut process, 0, 9);
    read(&mut process, 1, 9);
    store(&mut process);
    assert_eq!(process.counts().joined, 1);
    let mut shared = own.clone();
    let mut source = own["sources"][0].clone();
    source["topic"] = "other".into();
    let mut other = own["models"][0].clone();
    other["name"] = "n".into();
    other["source"] = "other".into();
    shared["sources"].as_array_mut().unwrap().push(source);
    shared["models"].as_array_mut().unwrap().push(other);
    restart(&mut process, &shared);
    process.case.topics[1][0].extend([raw("n", "a"), raw("m", "b")]);
    read(&mut process, 1, 9);
    store(&mut process);
    let performance = process.pipeline.snapshot(process.now).performance;
    assert_eq!((performance[&0].waiting, performance[&1].waiting), (1, 1));
    assert_eq!(process.rows(GAP), 0, "nothing of its records is missing");
}
