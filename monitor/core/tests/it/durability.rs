//! A process that ends at any moment, and one that goes on from what was stored: together they
//! close every window once, and say the same as one that never ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::ModelId;
use driftd_core::PartitionState;
use driftd_core::config::Config;
use driftd_core::event::Effect;
use driftd_core::output::OutputTopic;
use driftd_core::state::{RestoreError, Restored, StoreId, restore};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::faulty::Fault;
use crate::growth::{Growth, growths};
use crate::log::{Record, START, logs, regular};
use crate::model;
use crate::moments::{Moment, moments};
use crate::recount::{LOG_FLOORS, recount};
use crate::simulation::{Outcome, Simulation, Step, steps};
use crate::tally::Tally;

/// What becomes of the process after a step.
#[derive(Clone, Copy, Debug)]
enum Fate {
    GoesOn,
    /// The shards tell what they hold; nothing is stored yet.
    Checkpoints,
    /// What changed is stored, with the checkpoints that came before.
    Commits,
    /// Some of the stored messages are sent.
    Sends(usize),
    /// The same, and the answer comes later.
    SendsAndHearsLater(usize),
    /// Some are sent, and the process ends before it hears of it.
    SendsUnheard(usize),
    Crashes,
    /// What changed cannot be stored: the process ends.
    FailsToStore(Fault),
    /// The machine ends: the newest batches were not on its disk.
    LosesBatches(usize),
    /// The disk is gone.
    LosesStore,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        3 => Just(Fate::GoesOn),
        3 => Just(Fate::Checkpoints),
        3 => Just(Fate::Commits),
        3 => (0..12_usize).prop_map(Fate::Sends),
        1 => (0..12_usize).prop_map(Fate::SendsAndHearsLater),
        2 => (0..12_usize).prop_map(Fate::SendsUnheard),
        2 => Just(Fate::Crashes),
        1 => prop_oneof![Just(Fault::NoSpace), Just(Fault::NotSynced)]
            .prop_map(Fate::FailsToStore),
        1 => (1..4_usize).prop_map(Fate::LosesBatches),
        1 => Just(Fate::LosesStore),
    ];
    prop::collection::vec(fate, 1..40)
}

/// What is drawn of a case.
#[derive(Clone, Debug)]
struct Case {
    logs: Vec<Vec<Record>>,
    growth: Option<Growth>,
    shards: usize,
    steps: Vec<Step>,
    fates: Vec<Fate>,
    moments: Vec<Option<Moment>>,
}

fn some_cases() -> impl Strategy<Value = Case> {
    let drawn = (logs(1..4), growths(), 1..4_usize, steps(), fates(), moments());
    drawn.prop_map(|(logs, growth, shards, steps, fates, moments)| {
        let growth = growth.map(|growth| Growth::of(&logs, growth));
        Case { logs, growth, shards, steps, fates, moments }
    })
}

impl Case {
    /// Returns the logs as they are in the end.
    fn grown(&self) -> Vec<Vec<Record>> {
        self.growth.as_ref().map_or_else(|| self.logs.clone(), |growth| growth.grown(&self.logs))
    }

    /// Plays the steps, with what becomes of the process where that `may_end`.
    fn play(&self, config: &Arc<Config>, may_end: bool) -> Outcome {
        let mut simulation = Simulation::durable(config, &self.logs, self.shards);
        let turns = self.steps.iter().zip(self.fates.iter().cycle());
        let mut growth = self.growth.as_ref();
        for (nth, ((step, fate), moment)) in turns.zip(self.moments.iter().cycle()).enumerate() {
            let moment = moment.filter(|_| may_end);
            let fate = if may_end { *fate } else { Fate::GoesOn };
            let grows = growth.take_if(|growth| nth == growth.at);
            simulation.turn(moment, |simulation| {
                if let Some(growth) = grows {
                    simulation.grow(&growth.more);
                }
                simulation.step(step);
                fate.befall(simulation);
            });
        }
        if let Some(growth) = growth {
            simulation.turn(None, |simulation| simulation.grow(&growth.more));
        }
        simulation.play(&[])
    }
}

impl Fate {
    fn befall(self, simulation: &mut Simulation) {
        match self {
            Self::GoesOn => {}
            Self::Checkpoints => simulation.checkpoint(),
            Self::Commits => simulation.commit(),
            Self::Sends(count) => simulation.send_and_hear(count),
            Self::SendsAndHearsLater(count) => simulation.send_and_hear_later(count),
            Self::SendsUnheard(count) => {
                simulation.send(count);
                simulation.crash();
            }
            Self::Crashes => simulation.crash(),
            Self::FailsToStore(fault) => simulation.fail_to_store(fault),
            Self::LosesBatches(count) => {
                simulation.lose_batches(count);
                simulation.crash();
            }
            Self::LosesStore => {
                simulation.lose_store();
                simulation.crash();
            }
        }
    }
}

/// Windows, episodes and requests, without the wall-clock times of one run.
fn decisions(outcome: &Outcome) -> Vec<String> {
    let said = outcome.effects.iter().filter_map(|effect| match effect {
        Effect::Window(result) => {
            Some(format!("window {} {} {:?}", result.id, result.rows, result.edition))
        }
        Effect::Episode(transition) => Some(format!("{transition:?}")),
        Effect::Retrain(event) => Some(format!("{} {:?}", event.id, event.data.request)),
        Effect::Performance(_)
        | Effect::Publish(_)
        | Effect::Flush(_)
        | Effect::Pause(_)
        | Effect::Resume(_) => None,
    });
    let mut said: Vec<String> = said.collect();
    said.sort_unstable();
    said
}

/// What the topics hold, in order of names. Of an event only the name: it expires by the clock on
/// the wall.
pub(crate) fn published(outcome: &Outcome) -> Vec<(&str, &[u8])> {
    let named = outcome.published.iter().map(|message| {
        let is_line = message.topic == OutputTopic::Results;
        (&*message.id, if is_line { &*message.payload } else { &[] })
    });
    let mut named: Vec<_> = named.collect();
    named.sort_unstable();
    named
}

/// Adds lines of results and requests for retraining.
pub(crate) fn sending(mut tree: Value) -> Value {
    tree["outputs"] = json!({"results_topic": "results"});
    tree["retraining"] = json!({
        "policies": [{"name": "moved", "cooldown": "1m", "expiry": "5m"}],
    });
    tree
}

/// A process that has stored windows in every place: open, waiting and closed.
fn stored(tree: &Value) -> Simulation {
    stored_after(tree, 100, [1_500, 900])
}

/// A process that has stored what so many records of two partitions come to, one each
/// `step_millis`.
pub(crate) fn stored_after(tree: &Value, step_millis: i64, reads: [usize; 2]) -> Simulation {
    let config = model::config(tree);
    let value = |row| f64::from(i32::try_from(row % 10).unwrap());
    let log = || regular("1", value, 0..200_000, step_millis);
    let mut simulation = Simulation::durable(&config, &[log(), log()], 1);
    simulation.read(0, reads[0]);
    simulation.read(1, reads[1]);
    simulation.tick(1);
    simulation.checkpoint();
    simulation.commit();
    simulation
}

fn restored(tree: &Value, rows: BTreeMap<Vec<u8>, Vec<u8>>) -> Result<Restored, RestoreError> {
    let config = model::config(tree);
    let find = |_: usize, id: &ModelId| model::reference(&config, id);
    restore(&config, rows, &find, StoreId(7), START)
}

#[test]
fn nothing_new_is_nothing_to_store() {
    let mut simulation = stored(&model::kinds());
    let before = simulation.stored().clone();
    simulation.tick(1);
    simulation.commit();
    assert_eq!(*simulation.stored(), before);
    assert!(simulation.windows().len() > 4, "windows are closed, and older ones than are kept");
}

#[test]
fn rows_of_another_format_are_refused() {
    let mut rows = stored(&model::kinds()).stored().clone();
    // The first key is that of the format, which is the first number of its row.
    rows.first_entry().unwrap().insert(vec![9]);
    let error = restored(&model::kinds(), rows).unwrap_err().to_string();
    assert!(error.contains("format 9") && error.contains("remove the state folder"), "{error}");
}

#[test]
fn damaged_rows_are_refused_and_named() {
    let rows = stored(&model::kinds()).stored().clone();
    for key in rows.keys() {
        let mut rows = rows.clone();
        let row = rows.get_mut(key).unwrap();
        row.truncate(row.len() - 1);
        let error = restored(&model::kinds(), rows).unwrap_err().to_string();
        assert!(error.contains("damaged"), "{error}");
    }
    let rows = BTreeMap::from([(vec![77], vec![])]);
    assert!(restored(&model::kinds(), rows).unwrap_err().to_string().contains("a key"));
}

#[test]
fn a_row_that_is_missing_or_old_is_found() {
    let mut simulation = stored(&model::tree());
    let before = simulation.stored().clone();
    simulation.read(0, 100);
    simulation.tick(1);
    simulation.checkpoint();
    simulation.commit();
    let rows = simulation.stored().clone();
    let refused = |rows| {
        let error = restored(&model::tree(), rows).unwrap_err().to_string();
        assert!(error.contains("a row is missing") || error.contains("torn"), "{error}");
    };
    let mut old = 0;
    for (key, row) in &rows {
        let mut damaged = rows.clone();
        damaged.remove(key);
        refused(damaged);
        if let Some(before) = before.get(key).filter(|before| *before != row) {
            refused(rows.clone().into_iter().chain([(key.clone(), before.clone())]).collect());
            old += 1;
        }
    }
    assert!(0 < old);
    assert!(restored(&model::tree(), rows).is_ok());
}

#[test]
fn windows_that_were_counted_otherwise_are_left_behind() {
    let simulation = stored(&model::tree());
    let whole = restored(&model::tree(), simulation.stored().clone()).unwrap();
    assert_eq!(whole.dropped, []);
    let offsets = |restored: &Restored| -> Vec<_> {
        restored.partitions.iter().map(PartitionState::next_offset).collect()
    };
    for (place, value) in [("/window/length", "40s"), ("/version_path", "other")] {
        let mut tree = model::tree();
        *tree["models"][0].pointer_mut(place).unwrap() = value.into();
        let restored = restored(&tree, simulation.stored().clone()).unwrap();
        let [dropped] = &restored.dropped[..] else { panic!("{place}: {:?}", restored.dropped) };
        assert_eq!(dropped.model.to_string(), "alpha/1");
        assert!(8 < dropped.windows, "{dropped:?}");
        assert_eq!(offsets(&restored), offsets(&whole), "nothing is read twice or skipped");
    }
}

/// Which values `top` means, the reference says; how many, the configuration.
#[test]
fn segments_that_are_chosen_otherwise_are_counted_anew() {
    let simulation = stored(&model::kinds());
    let country = json!({"name": "country", "path": "country"});
    for (key, value) in [("top", json!(1)), ("values", json!(["2"]))] {
        let mut tree = model::kinds();
        let mut segment = country.clone();
        segment[key] = value;
        tree["models"][0]["segments"][1] = segment;
        let restored = restored(&tree, simulation.stored().clone()).unwrap();
        let [dropped] = &restored.dropped[..] else { panic!("{:?}", restored.dropped) };
        assert_eq!(dropped.model.to_string(), "alpha/1");
    }
}

#[test]
fn what_is_stored_and_goes_on_is_what_never_ended() {
    let trees = [model::tree(), model::kinds(), model::revised()].map(sending);
    let configs = trees.each_ref().map(model::config);
    let drawn = (0..configs.len(), some_cases());
    let tally = Tally::play(2_000, drawn, |(config, case)| {
        let config = &configs[config];
        let expected = recount(config, &case.grown());
        let whole = case.play(config, false);
        let outcome = case.play(config, true);
        expected.compare(&outcome.windows());
        assert_eq!(outcome.snapshot.digest, whole.snapshot.digest);
        assert_eq!(outcome.snapshot.totals.windows_closed, whole.snapshot.totals.windows_closed);
        assert_eq!(decisions(&outcome), decisions(&whole));
        expected.compare_editions(&outcome.windows());
        assert_eq!(published(&outcome), published(&whole), "every message once");
        let mut reached = outcome.reached;
        reached.extend(&expected.reached());
        reached
    });
    tally.assert_floors(&[
        &LOG_FLOORS,
        &[
            ("windows before the end", 500),
            ("episodes", 100),
            ("retraining events", 100),
            ("ends with stored windows", 60),
            ("ends with forgotten windows", 80),
            ("topics that are read back", 30),
            ("stores amid a step", 300),
            ("stores and ends amid a step", 300),
            ("ends amid a step", 100),
            ("ends amid a start", 100),
            ("more partitions", 200),
        ],
    ]);
}
