//! Inference logs, made up: drafts that proptest draws and shrinks, the records they stand for, and
//! batches of them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, DictionaryArray, Float32Array, Float64Array, Int64Array};
use arrow::datatypes::UInt32Type;
use arrow::record_batch::RecordBatch;
use driftd_catalog::Timestamp;
use driftd_core::config::Config;
use driftd_ingest::{Decoded, RejectReason, Rejection, Row};
use proptest::prelude::*;
use proptest::sample::select;

/// Where event time starts: on a border of a window of `alpha`.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// How far event time may be ahead of Kafka's, in [`crate::model::tree`].
pub(crate) const FUTURE_SKEW_MILLIS: i64 = 60_000;

const YEAR_MILLIS: i64 = 365 * 24 * 3_600_000;

/// One record of a partition. Neighbours with one offset are of one message.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) offset: i64,
    pub(crate) event_time: Timestamp,
    pub(crate) kafka_time: Option<Timestamp>,
    /// Absent: the decoder refuses it.
    pub(crate) values: Option<Values>,
}

/// What a record says; each model takes its own columns.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    pub(crate) model: usize,
    pub(crate) version: &'static str,
    pub(crate) number: Option<f64>,
    pub(crate) level: Option<&'static str>,
    pub(crate) age: Option<&'static str>,
    pub(crate) country: Option<&'static str>,
}

/// One value of one column.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value {
    Number(Option<f64>),
    Text(Option<&'static str>),
}

impl Values {
    /// Returns the value of the watched column `name`.
    pub(crate) fn of(&self, name: &str) -> Value {
        match name {
            "x" | "p" => Value::Number(self.number),
            "k" => Value::Number(self.whole().map(f64::from)),
            "c" => Value::Text(self.level),
            "b" => Value::Text(self.boolean()),
            _ => panic!("no column {name}"),
        }
    }

    fn whole(&self) -> Option<i32> {
        self.number.filter(|number| number.is_finite()).map(|number| match number {
            number if number < 0.0 => -1,
            number if 9.0 < number => 10,
            _ => 5,
        })
    }

    fn boolean(&self) -> Option<&'static str> {
        self.level.map(|level| if level == "red" { "true" } else { "false" })
    }
}

/// A record, by how it differs from the one before.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    /// How far the partition's clock moves on.
    step_millis: i64,
    /// How far behind that clock the event time is.
    behind_millis: i64,
    /// How far Kafka's time is after the partition's clock; absent: Kafka gives none.
    kafka_millis: Option<i64>,
    is_poisoned: bool,
    /// How far the offset moves on; 0: the record is of the message before, where it can be.
    offset_gap: i64,
    values: Option<Values>,
}

/// Draws the records of one partition.
pub(crate) fn drafts(lengths: Range<usize>) -> impl Strategy<Value = Vec<Draft>> {
    prop::collection::vec(draft(), lengths)
}

/// Draws the logs of a topic: a few records in most partitions, which find most faults and are
/// played fast, and many in some. Where they are few, they may lie further apart, so that windows
/// end all the same.
pub(crate) fn topics(partitions: Range<usize>) -> impl Strategy<Value = Vec<Vec<Draft>>> {
    let few = prop_oneof![12 => drafts(1..20), 4 => drafts(20..60), 1 => drafts(60..200)];
    let pace = prop_oneof![2 => Just(1), 1 => Just(4)];
    (prop::collection::vec(few, partitions), pace)
        .prop_map(|(logs, pace)| logs.into_iter().map(|drafts| paced(drafts, pace)).collect())
}

/// Makes the steps from record to record so many times as long.
fn paced(drafts: Vec<Draft>, pace: i64) -> Vec<Draft> {
    let draft = |it: Draft| Draft { step_millis: (it.step_millis * pace).min(90_000), ..it };
    drafts.into_iter().map(draft).collect()
}

/// Draws the same, written down.
pub(crate) fn logs(partitions: Range<usize>) -> impl Strategy<Value = Vec<Vec<Record>>> {
    topics(partitions).prop_map(|logs| logs.iter().map(|drafts| records(drafts)).collect())
}

fn draft() -> impl Strategy<Value = Draft> {
    let step = prop_oneof![20 => 0..2_000_i64, 1 => 10_000..90_000_i64];
    let behind = prop_oneof![6 => Just(0_i64), 3 => 0..6_000_i64, 1 => 0..120_000_i64];
    let kafka = prop_oneof![12 => (0..1_000_i64).prop_map(Some), 1 => Just(None)];
    let poison = prop::bool::weighted(0.03);
    let gap = prop_oneof![8 => Just(1_i64), 2 => Just(0_i64), 1 => 2..20_i64];
    let values = prop::option::weighted(0.95, values());
    (step, behind, kafka, poison, gap, values).prop_map(
        |(step_millis, behind_millis, kafka_millis, poison, offset_gap, values)| Draft {
            step_millis,
            behind_millis,
            kafka_millis,
            // Without Kafka's time a date far ahead is believed, and everything after it is late.
            is_poisoned: poison && kafka_millis.is_some(),
            offset_gap,
            values,
        },
    )
}

fn values() -> impl Strategy<Value = Values> {
    let model = prop_oneof![
        10 => Just((0, "1")),
        4 => Just((0, "2")),
        2 => Just((0, "3")),
        1 => Just((0, "4")),
        1 => Just((0, "5")),
        6 => Just((1, "1")),
        1 => Just((1, "9")),
    ];
    let numbers = vec![
        None,
        Some(f64::NAN),
        Some(f64::INFINITY),
        Some(f64::NEG_INFINITY),
        Some(-1.5),
        Some(-0.0),
        Some(0.0),
        Some(2.0),
        Some(2.5),
        Some(5.0),
        Some(9.0),
        Some(9.5),
    ];
    let levels = vec![None, Some("red"), Some("green"), Some("blue"), Some("mauve"), Some("")];
    let ages = vec![None, Some("old"), Some("young")];
    let countries = vec![None, Some("de"), Some("fr"), Some("it")];
    (model, select(numbers), select(levels), select(ages), select(countries)).prop_map(
        |((model, version), number, level, age, country)| Values {
            model,
            version,
            number,
            level,
            age,
            country,
        },
    )
}

/// Returns the event time of a record as it is used.
pub(crate) fn used_time(record: &Record) -> Timestamp {
    let latest = record.kafka_time.map(|it| it.plus_millis(FUTURE_SKEW_MILLIS));
    latest.map_or(record.event_time, |latest| record.event_time.min(latest))
}

/// Returns the drafts with no record so far behind that it could be late.
pub(crate) fn punctual(drafts: Vec<Draft>) -> Vec<Draft> {
    let draft =
        |it: Draft| Draft { behind_millis: it.behind_millis.min(3_000), is_poisoned: false, ..it };
    drafts.into_iter().map(draft).collect()
}

/// Writes drafts down as a partition's log.
pub(crate) fn records(drafts: &[Draft]) -> Vec<Record> {
    let mut clock = START;
    let mut offset = -1;
    let mut records: Vec<Record> = Vec::with_capacity(drafts.len());
    for draft in drafts {
        clock = clock.plus_millis(draft.step_millis);
        let model = |values: &Option<Values>| values.as_ref().map(|it| it.model);
        // A message is taken or refused whole, so its records are alike in that.
        let message = records.last().filter(|it| {
            draft.offset_gap == 0
                && it.values.is_some()
                && model(&it.values) == model(&draft.values)
        });
        let poison = if draft.is_poisoned { 10 * YEAR_MILLIS } else { 0 };
        let kafka_time = match message {
            Some(before) => before.kafka_time,
            None => draft.kafka_millis.map(|millis| clock.plus_millis(millis)),
        };
        // Without Kafka's time nothing would hold the date back.
        let poison = if kafka_time.is_some() { poison } else { 0 };
        offset += if message.is_some() { 0 } else { draft.offset_gap.max(1) };
        records.push(Record {
            offset,
            event_time: clock.plus_millis(poison - draft.behind_millis),
            kafka_time,
            values: draft.values.clone(),
        });
    }
    records
}

/// Returns the end of the message that the record before `to` is of.
pub(crate) fn message_end(log: &[Record], to: usize) -> usize {
    let Some(offset) = to.checked_sub(1).map(|last| log[last].offset) else { return 0 };
    to + log[to..].iter().take_while(|it| it.offset == offset).count()
}

/// Returns a regular log: one record of `alpha` `version` each `step_millis` of `times`,
/// milliseconds after [`START`].
///
/// Categories are as frequent as in the reference.
pub(crate) fn regular(
    version: &'static str,
    number: impl Fn(i64) -> f64,
    times: Range<i64>,
    step_millis: i64,
) -> Vec<Record> {
    (0..(times.end - times.start) / step_millis)
        .map(|row| {
            let at = START.plus_millis(times.start + row * step_millis);
            Record {
                offset: row,
                event_time: at,
                kafka_time: Some(at),
                values: Some(Values {
                    model: 0,
                    version,
                    number: Some(number(row)),
                    level: Some(
                        [
                            "blue", "blue", "blue", "blue", "blue", "green", "green", "green",
                            "red", "red",
                        ][tenth(row)],
                    ),
                    age: None,
                    country: Some("de"),
                }),
            }
        })
        .collect()
}

fn tenth(row: i64) -> usize {
    usize::try_from(row % 10).unwrap()
}

/// Decodes consecutive records, which may not be none, of whole messages.
pub(crate) fn decode(config: &Config, records: &[Record]) -> Decoded {
    let messages = records.chunk_by(|a, b| a.offset == b.offset).count() as u64;
    let mut decoded = Decoded {
        from_offset: records.first().unwrap().offset,
        to_offset: records.last().unwrap().offset + 1,
        messages,
        bytes: 10 * messages,
        rows: Vec::new(),
        versions: Vec::new(),
        batches: Vec::new(),
        rejections: Vec::new(),
        skipped: BTreeMap::new(),
    };
    for record in records {
        match record.values.as_ref().filter(|it| it.model < config.models.len()) {
            Some(values) => {
                let row = row(record, values, &mut decoded.versions);
                decoded.rows.push(row);
            }
            None if decoded.rejections.last().is_some_and(|it| it.offset == record.offset) => {}
            None => decoded.rejections.push(Rejection {
                offset: record.offset,
                reason: RejectReason::InvalidJson,
                detail: String::new(),
                path: None,
            }),
        }
    }
    decoded.batches = (0..config.models.len()).map(|model| batch(config, model, records)).collect();
    decoded
}

fn row(record: &Record, values: &Values, versions: &mut Vec<Arc<str>>) -> Row {
    let known = versions.iter().position(|version| &**version == values.version);
    let version = known.unwrap_or_else(|| {
        versions.push(values.version.into());
        versions.len() - 1
    });
    Row {
        offset: record.offset,
        event_time: record.event_time,
        timestamp: record.kafka_time,
        model: u16::try_from(values.model).unwrap(),
        version: u16::try_from(version).unwrap(),
    }
}

fn batch(config: &Config, model: usize, records: &[Record]) -> Option<RecordBatch> {
    let rows: Vec<&Values> = records
        .iter()
        .filter_map(|record| record.values.as_ref())
        .filter(|values| values.model == model)
        .collect();
    if rows.is_empty() {
        return None;
    }
    let columns = match model {
        0 => vec![
            Arc::new(rows.iter().map(|it| it.number).collect::<Float64Array>()) as ArrayRef,
            dictionary(rows.iter().map(|it| it.level)),
            Arc::new(rows.iter().map(|it| it.number.map(narrow)).collect::<Float32Array>()),
            dictionary(rows.iter().map(|it| it.age)),
            dictionary(rows.iter().map(|it| it.country)),
        ],
        _ => vec![
            Arc::new(rows.iter().map(|it| it.whole().map(i64::from)).collect::<Int64Array>())
                as ArrayRef,
            dictionary(rows.iter().map(|it| it.boolean())),
        ],
    };
    let schema = config.sources[0].schema.models[model].arrow_schema();
    Some(RecordBatch::try_new(schema, columns).unwrap())
}

fn dictionary(values: impl Iterator<Item = Option<&'static str>>) -> ArrayRef {
    Arc::new(values.collect::<DictionaryArray<UInt32Type>>())
}

#[expect(clippy::cast_possible_truncation, reason = "every number drawn is exact in both widths")]
fn narrow(number: f64) -> f32 {
    number as f32
}
