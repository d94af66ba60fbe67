//! The same logs counted in the obvious way: partition by partition, record by record, with nothing
//! kept open.
//!
//! The rules of `monitor/docs/architecture.md`, written a second time and as plainly as possible.

use std::collections::{BTreeMap, BTreeSet};

use driftd_catalog::{ModelId, SegmentId, Timestamp, WindowId, WindowSpan};
use driftd_core::config::Config;
use driftd_core::result::{Cells, FeatureResult, SpecialCounts, WindowResult};

use crate::log::{Record, Value, Values};
use crate::model::REFERENCE_RANGE;

/// What a run over logs has to come to.
#[derive(Debug, Default)]
pub(crate) struct Recount {
    pub(crate) windows: BTreeMap<WindowId, Vec<Values>>,
    pub(crate) messages: u64,
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
    recount
}

impl Recount {
    fn add(&mut self, config: &Config, log: &[Record]) {
        let time = &config.sources[0].time;
        let mut newest: Option<Timestamp> = None;
        let mut opened: BTreeSet<(ModelId, WindowSpan)> = BTreeSet::new();
        for record in log {
            self.messages += 1;
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
            self.clamped += u64::from(event_time != record.event_time);
            let model = &config.models[values.model];
            let id = ModelId::try_new(&model.name, values.version).unwrap();
            let length = model.window.length_millis;
            let since = event_time.as_millis() - model.window.offset_millis;
            let start = since.div_euclid(length) * length + model.window.offset_millis;
            let span = WindowSpan::starting_at(Timestamp::from_millis(start), length);
            let lead = time.out_of_orderness_millis + model.window.lateness_millis;
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
            let is_over = is_over_versions || model.window.open_max <= windows;
            newest = newest.max(Some(event_time));
            if is_late {
                *self.late.entry(id).or_insert(0) += 1;
            } else if is_over && !is_known {
                self.over_limit += 1;
                self.over_versions += u64::from(is_over_versions);
            } else {
                opened.insert((id.clone(), span));
                for segment in segments(values) {
                    let window = WindowId { span, model: id.clone(), segment };
                    self.windows.entry(window).or_default().push(values.clone());
                }
            }
        }
    }

    /// Panics unless `results` are exactly the windows of this recount, each once.
    pub(crate) fn compare(&self, results: &[impl AsRef<WindowResult>]) {
        let mut closed = BTreeMap::new();
        for result in results {
            let result = result.as_ref();
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

fn segments(values: &Values) -> Vec<SegmentId> {
    let mut segments = vec![SegmentId::all()];
    if values.model == 0 {
        let age = values.age.filter(|age| *age == "old").unwrap_or("__other__");
        let country = values.country.filter(|it| ["de", "fr"].contains(it));
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
