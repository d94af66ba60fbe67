//! The same logs counted in the obvious way: partition by partition, record by record, with nothing
//! kept open.
//!
//! The rules of `monitor/docs/architecture.md`, written a second time and as plainly as possible.

use std::collections::{BTreeMap, BTreeSet};

use driftd_catalog::{ModelId, SegmentId, Timestamp, WindowId, WindowSpan};
use driftd_core::config::{
    Config, ModelConfig, PaneConfig, SegmentValues, WindowConfig, WindowKind,
};
use driftd_core::result::{Cells, FeatureResult, SpecialCounts, WindowResult};

use crate::log::{Record, Value, Values};
use crate::model::{REFERENCE_RANGE, TOP};
use crate::tally::{Floor, Reached};

/// Event times are held half a century away from the ends of time.
const HELD_MILLIS: i64 = 50 * 366 * 86_400_000;
const EARLIEST: Timestamp = Timestamp::MIN.plus_millis(HELD_MILLIS);
const LATEST: Timestamp = Timestamp::MAX.plus_millis(-HELD_MILLIS);

/// What a run over logs has to come to.
#[derive(Debug, Default)]
pub(crate) struct Recount {
    pub(crate) windows: BTreeMap<WindowId, Vec<Values>>,
    /// Rows of provisional results, and how many came before each.
    pub(crate) provisional: BTreeMap<(WindowId, u32), u64>,
    /// Records that were counted, whichever windows they are in.
    counted: BTreeMap<ModelId, Vec<(Timestamp, Values)>>,
    pub(crate) messages: u64,
    pub(crate) records: u64,
    pub(crate) rejected: u64,
    pub(crate) clamped: u64,
    pub(crate) over_limit: u64,
    /// Part of [`Recount::over_limit`]: those of a version too many.
    pub(crate) over_versions: u64,
    pub(crate) late: BTreeMap<ModelId, u64>,
}

/// Counts the logs of all partitions.
pub(crate) fn recount(config: &Config, logs: &[Vec<Record>]) -> Recount {
    let mut recount = Recount::default();
    for log in logs {
        recount.add(config, log);
    }
    for (id, records) in recount.counted.clone() {
        let model = config.models.iter().find(|it| *it.name == *id.name()).unwrap();
        let countries = countries(model, &id);
        for window in &model.windows {
            recount.place(&id, &records, &countries, window, &model.pane);
        }
    }
    recount
}

/// What [`Recount::reached`] tells of logs, as properties over any logs ask for it.
pub(crate) const LOG_FLOORS: [Floor; 5] = [
    ("rejected records", 500),
    ("records from the future", 400),
    ("late records", 500),
    ("too many windows", 3),
    ("too many versions", 400),
];

impl Recount {
    /// Returns which kinds of records there are.
    pub(crate) fn reached(&self) -> Reached {
        let mut reached = Reached::default();
        reached.note_if(0 < self.rejected, "rejected records");
        reached.note_if(0 < self.clamped, "records from the future");
        reached.note_if(!self.late.is_empty(), "late records");
        reached.note_if(self.over_versions < self.over_limit, "too many windows");
        reached.note_if(0 < self.over_versions, "too many versions");
        reached
    }

    fn add(&mut self, config: &Config, log: &[Record]) {
        let time = &config.sources[0].time;
        let mut newest: Option<Timestamp> = None;
        let mut opened: BTreeSet<(ModelId, WindowSpan)> = BTreeSet::new();
        self.messages += log.chunk_by(|a, b| a.offset == b.offset).count() as u64;
        for record in log {
            self.records += 1;
            let Some(values) = &record.values else {
                self.rejected += 1;
                continue;
            };
            let event_time = match record.kafka_time {
                Some(kafka) => {
                    record.event_time.min(kafka.plus_millis(time.future_skew_max_millis))
                }
                None => record.event_time,
            };
            let event_time = event_time.clamp(EARLIEST, LATEST);
            self.clamped += u64::from(event_time != record.event_time);
            let model = &config.models[values.model];
            let id = ModelId::try_new(&model.name, values.version).unwrap();
            let length = model.pane.length_millis;
            let start = border(event_time, length, &model.pane);
            let span = WindowSpan::starting_at(start, length);
            let lead = time.out_of_orderness_millis + model.pane.lateness_millis;
            let is_passed = |span: &WindowSpan| {
                newest.is_some_and(|newest| span.end().as_millis() + lead <= newest.as_millis())
            };
            let is_late = is_passed(&span);
            let unpassed: Vec<_> = opened
                .iter()
                .filter(|(it, open)| it.name() == id.name() && !is_passed(open))
                .collect();
            let windows = unpassed.iter().filter(|(it, _)| *it == id).count();
            let versions: BTreeSet<_> =
                unpassed.iter().map(|(it, _)| it).filter(|it| **it != id).collect();
            let is_known = opened.contains(&(id.clone(), span));
            let is_over_versions = model.versions_max <= versions.len();
            let is_over = is_over_versions || model.pane.open_max <= windows;
            newest = newest.max(Some(event_time));
            if is_late {
                *self.late.entry(id).or_insert(0) += 1;
            } else if is_over && !is_known {
                self.over_limit += 1;
                self.over_versions += u64::from(is_over_versions);
            } else {
                opened.insert((id.clone(), span));
                self.counted.entry(id).or_default().push((event_time, values.clone()));
            }
        }
    }

    /// Puts the records of a version into the windows of one kind.
    fn place(
        &mut self,
        id: &ModelId,
        records: &[(Timestamp, Values)],
        countries: &[&str],
        window: &WindowConfig,
        pane: &PaneConfig,
    ) {
        let every = window.every_millis;
        // The ends of windows, as far as there are records.
        let longest = match window.kind {
            WindowKind::Length { length_millis } => length_millis,
            WindowKind::Rows { .. } | WindowKind::Global => every,
        };
        let ends: BTreeSet<Timestamp> = records
            .iter()
            .flat_map(|(time, _)| {
                let first = border(*time, every, pane).plus_millis(every);
                (0..longest / every).map(move |nth| first.plus_millis(nth * every))
            })
            .collect();
        let oldest = records.iter().map(|(time, _)| *time).min().unwrap();
        let mut begun = None;
        for (nth, end) in ends.iter().enumerate() {
            let from = match window.kind {
                WindowKind::Length { length_millis } => end.plus_millis(-length_millis),
                WindowKind::Global => border(oldest, pane.length_millis, pane),
                WindowKind::Rows { .. } => *begun.get_or_insert(end.plus_millis(-every)),
            };
            let inside = between(records, from, *end);
            if let WindowKind::Rows { rows } = window.kind {
                if (inside.len() as u64) < rows && nth + 1 < ends.len() {
                    continue;
                }
                begun = None;
            }
            let span = WindowSpan::starting_at(from, end.as_millis() - from.as_millis());
            let of =
                |segment| WindowId { span, model: id.clone(), segment, name: window.name.clone() };
            for values in &inside {
                for segment in segments(values, countries) {
                    self.windows.entry(of(segment)).or_default().push(values.clone());
                }
            }
            let Some(early) = window.early_millis else { continue };
            let mut before = 0;
            let mut at = end.plus_millis(early - every);
            while at < *end {
                if !between(records, at.plus_millis(-early), at).is_empty() {
                    for values in between(records, from, at) {
                        for segment in segments(&values, countries) {
                            *self.provisional.entry((of(segment), before)).or_insert(0) += 1;
                        }
                    }
                    before += 1;
                }
                at = at.plus_millis(early);
            }
        }
    }

    /// Panics unless the provisional results are exactly those of this recount, each once, and the
    /// last result of each window says how many came before.
    pub(crate) fn compare_editions(&self, results: &[impl AsRef<WindowResult>]) {
        let mut expected = self.provisional.clone();
        let mut told: BTreeMap<WindowId, u32> = BTreeMap::new();
        for result in results.iter().map(AsRef::as_ref) {
            let (id, edition) = (result.id.clone(), result.edition);
            let before = told.insert(id.clone(), edition.revision + 1);
            if edition.is_final {
                // A segment may have its first record after the last provisional result.
                let is_told = before.is_none_or(|before| before == edition.revision);
                assert!(is_told, "{id} ends with {edition:?}");
            } else {
                let rows = expected.remove(&(id.clone(), edition.revision));
                assert_eq!(rows, Some(result.rows), "rows of {id} {edition:?}");
            }
        }
        assert!(expected.is_empty(), "provisional results that never came: {expected:?}");
    }

    /// Panics unless each of `results` that passes for complete holds the rows of this recount, and
    /// no window ends twice.
    pub(crate) fn compare_complete(&self, results: &[impl AsRef<WindowResult>]) {
        let mut closed = BTreeSet::new();
        for result in results.iter().map(AsRef::as_ref).filter(|it| it.edition.is_final) {
            assert!(closed.insert(result.id.clone()), "{} twice", result.id);
            let rows = self.windows.get(&result.id).map_or(0, Vec::len) as u64;
            assert!(!result.complete || result.rows == rows, "{result:?}: not {rows} rows");
        }
    }

    /// Panics unless `results` are exactly the windows of this recount, each once.
    pub(crate) fn compare(&self, results: &[impl AsRef<WindowResult>]) {
        let mut closed = BTreeMap::new();
        for result in results {
            let result = result.as_ref();
            if !result.edition.is_final {
                continue;
            }
            assert!(closed.insert(result.id.clone(), result).is_none(), "{} twice", result.id);
        }
        for (id, rows) in &self.windows {
            let result = closed.remove(id).unwrap_or_else(|| panic!("{id} never closed"));
            assert_eq!(result.rows, rows.len() as u64, "rows of {id}");
            for feature in &result.features {
                compare_feature(id, feature, rows);
            }
        }
        assert!(closed.is_empty(), "windows without records: {:?}", closed.keys());
    }
}

/// Returns the border at or before a time.
fn border(time: Timestamp, every_millis: i64, pane: &PaneConfig) -> Timestamp {
    let since = time.as_millis() - pane.offset_millis;
    let border = since.div_euclid(every_millis) * every_millis + pane.offset_millis;
    Timestamp::from_millis(border)
}

fn between(records: &[(Timestamp, Values)], from: Timestamp, to: Timestamp) -> Vec<Values> {
    let inside = records.iter().filter(|(time, _)| from <= *time && *time < to);
    inside.map(|(_, values)| values.clone()).collect()
}

/// Returns the countries that have segments of their own.
fn countries<'a>(model: &'a ModelConfig, id: &ModelId) -> Vec<&'a str> {
    let Some(segmentation) = model.segments.iter().find(|it| &*it.name == "country") else {
        return Vec::new();
    };
    match &segmentation.values {
        SegmentValues::Listed(values) => values.iter().map(|it| &**it).collect(),
        SegmentValues::Top(_) => {
            let chosen = TOP.iter().find(|(version, _)| *version == id.version());
            chosen.map_or(Vec::new(), |(_, countries)| countries.to_vec())
        }
    }
}

fn segments(values: &Values, countries: &[&str]) -> Vec<SegmentId> {
    let mut segments = vec![SegmentId::all()];
    if values.model == 0 {
        let age = values.age.filter(|age| *age == "old").unwrap_or("__other__");
        let country = values.country.filter(|it| countries.contains(it));
        let country = country.unwrap_or("__other__");
        segments.push(SegmentId::try_new("age", age).unwrap());
        segments.push(SegmentId::try_new("country", country).unwrap());
    }
    segments
}

fn compare_feature(id: &WindowId, feature: &FeatureResult, rows: &[Values]) {
    let Some(histogram) = &feature.histogram else { return };
    let mut cells = vec![0_u64; histogram.current.len()];
    let mut special = SpecialCounts::default();
    for row in rows {
        match (row.of(&feature.name), &histogram.cells) {
            (Value::Number(None) | Value::Text(None), _) => special.null += 1,
            (Value::Number(Some(number)), Cells::Edges(edges)) => {
                add_number(&mut cells, &mut special, edges, number);
            }
            (Value::Text(Some(text)), Cells::Levels(levels)) => {
                match levels.names().iter().position(|name| &**name == text) {
                    Some(level) => cells[level] += 1,
                    None => special.unseen += 1,
                }
            }
            (value, cells) => panic!("{value:?} in {cells:?}"),
        }
    }
    assert_eq!(histogram.current, cells, "counts of {} in {id}", feature.name);
    assert_eq!(histogram.current_special, special, "special counts of {} in {id}", feature.name);
}

fn add_number(cells: &mut [u64], special: &mut SpecialCounts, edges: &[f64], number: f64) {
    if number.is_nan() {
        special.nan += 1;
    } else if number == f64::INFINITY {
        special.pos_inf += 1;
    } else if number == f64::NEG_INFINITY {
        special.neg_inf += 1;
    } else {
        let (least, greatest) = REFERENCE_RANGE;
        special.out_of_range += u64::from(number < least || greatest < number);
        cells[edges.iter().filter(|edge| **edge < number).count()] += 1;
    }
}
