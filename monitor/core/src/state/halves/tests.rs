//! Rows of halves: what is written, and what is not taken for whole.

use serde_json::{Value, json};

use super::*;
use crate::config::load;
use crate::halves::{JoinCounts, JoinNews};
use crate::loss::{Accepted, Bounds, Loss};
use crate::state::{PartitionSaver, Row, restore_partition};

const NOW: Timestamp = Timestamp::from_millis(1_000);

fn tree() -> Value {
    json!({
        "name": "job",
        "sources": [{
            "topic": "logs",
            "start": "earliest",
            "event_time": {"path": "$headers.at", "format": "unix_millis"},
            "join": {
                "id": "$headers.id", "side": "$headers.side", "request": "q", "response": "r",
            },
        }],
        "models": [{
            "name": "m",
            "source": "logs",
            "version": "1",
            "references": "m.json",
            "window": {"length": "1h"},
            "features": [{"name": "x", "path": "request.x", "type": "float64"}],
        }],
    })
}

fn config(tree: &Value) -> Arc<Config> {
    Arc::new(load(&tree.to_string(), &|_| None).unwrap_or_else(|errors| panic!("{errors}")))
}

fn id() -> PartitionId {
    PartitionId { topic: "logs".into(), partition: 3 }
}

fn half(offset: i64) -> Arc<WaitingHalf> {
    let side = if offset % 3 == 0 { Side::Response } else { Side::Request };
    Arc::new(WaitingHalf {
        side,
        id: format!("id-{offset}").into(),
        offset,
        since: NOW,
        time: Some(Timestamp::from_millis(900 + offset)),
        payload: (*b"{}").into(),
        envelope: vec![None, Some(b"at".as_slice().into())],
    })
}

/// A partition whose rows are kept, as its reader keeps them where others decide.
struct Kept {
    state: PartitionState,
    saver: PartitionSaver,
    rows: BTreeMap<Vec<u8>, Vec<u8>>,
    next_offset: i64,
    newest: Timestamp,
}

impl Kept {
    fn new() -> Self {
        let (state, saver) = restored(&tree(), &BTreeMap::new()).unwrap();
        let state = state.starting_at(0);
        Self { state, saver, rows: BTreeMap::new(), next_offset: 0, newest: NOW }
    }

    /// Takes halves that come, and those that go.
    fn join(&mut self, added: i64, removed: &[i64]) {
        let offsets = self.next_offset..self.next_offset + added;
        self.next_offset = offsets.end;
        let news = JoinNews {
            newest: Some(self.newest),
            added: offsets.map(|offset| (offset, half(offset))).collect(),
            removed: removed.to_vec(),
            removed_bytes: 0,
            counts: JoinCounts::default(),
        };
        self.state.join(NOW, 1, news);
    }

    /// Stores what changed; returns which rows of halves were written, and which removed.
    fn store(&mut self) -> (Vec<Key>, Vec<Key>) {
        let (mut written, mut removed) = (Vec::new(), Vec::new());
        for change in self.saver.batch(self.state.checkpoint().unwrap()) {
            let key = super::super::restore::key(&change.key).unwrap();
            let is_of_halves = matches!(key, Key::Join(_) | Key::Half(..));
            if let Some(value) = change.value {
                written.extend(is_of_halves.then_some(key));
                self.rows.insert(change.key, value);
            } else {
                removed.extend(is_of_halves.then_some(key));
                assert!(self.rows.remove(&change.key).is_some(), "it was written before");
            }
        }
        (written, removed)
    }
}

fn restored(
    tree: &Value,
    rows: &BTreeMap<Vec<u8>, Vec<u8>>,
) -> Result<(PartitionState, PartitionSaver), RestoreError> {
    let rows = rows.iter().map(|(key, value)| -> Row { (key.clone(), value.clone()) });
    restore_partition(&config(tree), (id(), 0), rows, &|_, _| None, (None, NOW))
}

fn join_row() -> Key {
    Key::Join(id())
}

fn half_row(offset: i64) -> Key {
    Key::Half(id(), offset)
}

fn offsets(state: &PartitionState) -> Vec<i64> {
    state.halves().iter().map(|half| half.offset).collect()
}

#[test]
fn a_row_is_written_when_a_half_comes_and_removed_when_it_goes() {
    let mut kept = Kept::new();
    kept.join(3, &[]);
    let written = vec![join_row(), half_row(0), half_row(1), half_row(2)];
    assert_eq!(kept.store(), (written, vec![]));
    assert_eq!(kept.store(), (vec![], vec![]), "nothing has changed");
    kept.join(2, &[1]);
    kept.join(1, &[3]);
    let written = vec![join_row(), half_row(4), half_row(5)];
    assert_eq!(kept.store(), (written, vec![half_row(1)]), "nobody has heard of the fourth");
    // A process that goes on knows what is stored.
    (kept.state, kept.saver) = restored(&tree(), &kept.rows).unwrap();
    assert_eq!(offsets(&kept.state), [0, 2, 4, 5]);
    assert_eq!(kept.store(), (vec![], vec![]));
    kept.join(0, &[0, 5]);
    assert_eq!(kept.store(), (vec![join_row()], vec![half_row(0), half_row(5)]));
    let (state, _) = restored(&tree(), &kept.rows).unwrap();
    assert_eq!(offsets(&state), [2, 4]);
    assert_eq!(state.halves().iter().next(), Some(&half(2)), "all of it");
}

/// The times by which halves wait go on, whether or not one comes or goes.
#[test]
fn how_far_time_has_come_is_written_by_itself() {
    let mut kept = Kept::new();
    kept.join(1, &[]);
    kept.store();
    kept.newest = NOW.plus_millis(7);
    kept.join(0, &[]);
    assert_eq!(kept.store(), (vec![join_row()], vec![]));
    let (state, _) = restored(&tree(), &kept.rows).unwrap();
    assert_eq!(state.halves().newest(), Some(kept.newest));
}

#[test]
fn bytes_that_no_checkpoint_has_had_are_those_of_fresh_halves_and_of_names() {
    let mut kept = Kept::new();
    kept.join(3, &[]);
    assert_eq!(kept.state.unsaved_bytes(), 3 * half(0).bytes());
    kept.join(0, &[1]);
    assert_eq!(kept.state.unsaved_bytes(), 2 * half(0).bytes());
    kept.store();
    assert_eq!(kept.state.unsaved_bytes(), 0);
    kept.join(1, &[0]);
    assert!(half(3).bytes() < kept.state.unsaved_bytes(), "and a row that is removed");
    kept.store();
    assert_eq!(kept.state.unsaved_bytes(), 0);
}

#[test]
fn rows_of_which_one_is_lost_or_came_back_are_torn() {
    let mut kept = Kept::new();
    kept.join(4, &[]);
    kept.store();
    let before = kept.rows.clone();
    kept.join(1, &[2]);
    kept.store();
    assert_eq!(offsets(&restored(&tree(), &kept.rows).unwrap().0), [0, 1, 3, 4]);
    let is_torn = |rows: &BTreeMap<Vec<u8>, Vec<u8>>| {
        let error = restored(&tree(), rows).unwrap_err();
        matches!(error, RestoreError::Torn { partition } if partition == id())
    };
    for offset in [0, 1, 3, 4] {
        let mut lost = kept.rows.clone();
        assert!(lost.remove(&half_row(offset).encode()).is_some());
        assert!(is_torn(&lost), "{offset} is lost");
        // Another one in its place.
        let gone = half_row(2).encode();
        lost.insert(gone.clone(), before[&gone].clone());
        assert!(is_torn(&lost), "{offset} is lost, and another there");
    }
    let (mut back, gone) = (kept.rows.clone(), half_row(2).encode());
    back.insert(gone.clone(), before[&gone].clone());
    assert!(is_torn(&back));
    let (mut old, join) = (kept.rows.clone(), join_row().encode());
    old.insert(join.clone(), before[&join].clone());
    assert!(is_torn(&old));
}

#[test]
fn halves_without_a_word_of_how_they_are_joined_are_torn() {
    let mut kept = Kept::new();
    kept.join(4, &[]);
    kept.store();
    assert!(kept.rows.remove(&join_row().encode()).is_some());
    let error = restored(&tree(), &kept.rows).unwrap_err();
    assert!(matches!(&error, RestoreError::Torn { partition } if *partition == id()), "{error}");
    // Also where nothing says how far the partition was read.
    assert!(kept.rows.remove(&Key::Partition(id()).encode()).is_some());
    let error = restored(&tree(), &kept.rows).unwrap_err();
    assert!(matches!(error, RestoreError::Torn { .. }), "{error}");
}

#[test]
fn halves_that_are_not_gone_on_with_are_counted_and_removed() {
    let mut kept = Kept::new();
    kept.join(4, &[]);
    kept.store();
    let (mut otherwise, mut single) = (tree(), tree());
    otherwise["sources"][0]["join"]["within"] = "2s".into();
    single["sources"][0].as_object_mut().unwrap().remove("join");
    let accepted = Accepted {
        partition: id(),
        loss: Loss::of(0, Bounds { start: 10, end: 20 }).unwrap(),
        start: 10,
        at: NOW,
    };
    for (tree, accepted) in [(otherwise, None), (single, None), (tree(), Some(&accepted))] {
        let rows = kept.rows.clone().into_iter();
        let begin = (accepted, NOW);
        let restored = restore_partition(&config(&tree), (id(), 0), rows, &|_, _| None, begin);
        let (mut state, mut saver) = restored.unwrap();
        assert_eq!(offsets(&state), [0; 0]);
        assert_eq!(state.halves_left_behind(), BySide { request: 2, response: 2 });
        let told = state.progress(&config(&tree), None).joined.left_behind;
        assert_eq!((told.sum(), state.halves_left_behind().sum()), (4, 0), "once");
        let checkpoint = state.starting_at(10).checkpoint().unwrap();
        let removed = saver.batch(checkpoint).into_iter().filter(|it| it.value.is_none());
        let removed: Vec<_> = removed.map(|it| it.key).collect();
        assert!((0..4).all(|offset| removed.contains(&half_row(offset).encode())));
    }
}
