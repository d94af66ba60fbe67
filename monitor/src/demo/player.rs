//! Plays ten weeks of flights into the topic, with their real event times, compressed.
//!
//! It also plays the part of whoever deploys: when a job has registered a new version, the records
//! after it are that version's. The log waits at each Monday for the week to be decided, and for a
//! job that was asked for: an hour of training is nothing against a week, but not when the week
//! takes two seconds.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float32Type, Float64Type, TimestampMicrosecondType, UInt32Type};
use arrow::record_batch::RecordBatch;
use driftd_catalog::Timestamp;
use driftd_core::snapshot::Snapshot;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::clock::Stopwatch;
use crate::demo::labels::Labels;
use crate::demo::narrator::Narrator;
use crate::demo::stage_set::StageSet;
use crate::table::{BATCH_ROWS, Rows, Table};

const DAY_MILLIS: i64 = 86_400_000;
const WEEK_MILLIS: i64 = 7 * DAY_MILLIS;
/// Monday 2013-07-01: the first week that is played.
const FIRST: Timestamp = Timestamp::from_millis(1_372_636_800_000);
const WEEKS: i64 = 10;
/// Records played past a Monday so that every partition has passed it.
const RECORDS_PAST_MONDAY: usize = 40;
/// A week, or a job, that is not decided after this long is a failure of the demo.
const WAIT_MAX: Duration = Duration::from_mins(2);
const POLL: Duration = Duration::from_millis(20);
/// Columns of the prediction; all others that are not named here are features.
const PREDICTIONS: [&str; 3] = ["late_probability", "late_predicted", "arr_delay_predicted"];

/// Plays the log.
pub(super) struct Player {
    producer: ThreadedProducer<DefaultProducerContext>,
    batches: Vec<RecordBatch>,
    labels: PathBuf,
    week_seconds: f64,
}

/// One record, ready to be sent.
struct Record {
    id: String,
    event_time: Timestamp,
    batch: usize,
    row: usize,
}

impl Player {
    /// Reads the log and connects to the broker.
    pub(super) fn new(set: &StageSet, brokers: &str, week_seconds: f64) -> anyhow::Result<Self> {
        let table = Table::open(&set.current_path())?;
        let columns: Vec<usize> = (0..table.columns().fields().len()).collect();
        let rows = table.batches(&columns, BATCH_ROWS)?;
        let batches = rows.map(|rows| rows.map(Rows::into_columns)).collect::<Result<_, _>>()?;
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .create()
            .context("cannot connect the player")?;
        Ok(Self { producer, batches, labels: set.labels_path(), week_seconds })
    }

    /// Plays until the last week is decided, or until `stopping` is set.
    pub(super) fn play(
        &self,
        snapshot: &watch::Receiver<Arc<Snapshot>>,
        narrator: &Narrator,
        stopping: &AtomicBool,
    ) -> anyhow::Result<()> {
        let records = self.records()?;
        let played = records.iter().map(|record| record.id.as_str()).collect();
        let mut labels = Labels::read(&self.labels, &played)?;
        let mut version = "1".to_owned();
        let mut next = 0;
        for week in 0..=WEEKS {
            let monday = FIRST.plus_millis(week * WEEK_MILLIS);
            let stopwatch = Stopwatch::start();
            let past = records[next..]
                .iter()
                .take_while(|record| record.event_time < monday)
                .count()
                .saturating_add(next)
                .saturating_add(RECORDS_PAST_MONDAY)
                .min(records.len());
            self.send_paced(&records[next..past], &version, &stopwatch, week, stopping)?;
            next = past;
            if stopping.load(Ordering::Relaxed) {
                return Ok(());
            }
            labels.send_before(monday, &self.producer)?;
            if 0 < week {
                wait_for(stopping, "the week was not decided", || is_decided(snapshot, monday))?;
                wait_for(stopping, "labels of the week before were not joined", || {
                    i64::try_from(windows_labelled(&snapshot.borrow())) == Ok(week - 1)
                })?;
            }
            if let Some(deployed) = wait_for_job(snapshot, stopping)?
                && deployed != version
            {
                narrator.deployed(&version, &deployed);
                version = deployed;
            }
        }
        Ok(())
    }

    /// Lists the records of the story, in order of event time.
    fn records(&self) -> anyhow::Result<Vec<Record>> {
        let end = FIRST.plus_millis((WEEKS + 1) * WEEK_MILLIS);
        let mut records = Vec::new();
        for (batch, rows) in self.batches.iter().enumerate() {
            let column = |name: &str| {
                rows.column_by_name(name).with_context(|| format!("the log has no column `{name}`"))
            };
            let times = column("event_time")?
                .as_primitive_opt::<TimestampMicrosecondType>()
                .context("`event_time` is not in microseconds")?
                .clone();
            let ids = column("prediction_id")?;
            for row in 0..rows.num_rows() {
                let event_time = Timestamp::from_millis(times.value(row).div_euclid(1_000));
                if FIRST <= event_time && event_time < end {
                    let id = text(ids, row).unwrap_or_default().to_owned();
                    records.push(Record { id, event_time, batch, row });
                }
            }
        }
        Ok(records)
    }

    fn send_paced(
        &self,
        records: &[Record],
        version: &str,
        stopwatch: &Stopwatch,
        week: i64,
        stopping: &AtomicBool,
    ) -> anyhow::Result<()> {
        // Before the first Monday there is nothing to pace.
        let seconds = if week == 0 { 0.0 } else { self.week_seconds.max(0.0) };
        for (index, record) in records.iter().enumerate() {
            self.send(record, version)?;
            let due = Duration::from_secs_f64(seconds * index as f64 / records.len() as f64);
            while stopwatch.elapsed() < due && !stopping.load(Ordering::Relaxed) {
                std::thread::park_timeout(POLL.min(due.saturating_sub(stopwatch.elapsed())));
            }
        }
        self.producer.flush(WAIT_MAX).context("the in-process broker does not take the records")
    }

    fn send(&self, record: &Record, version: &str) -> anyhow::Result<()> {
        let payload = message(&self.batches[record.batch], record, version)?;
        let partition = i32::try_from(record.row % 4)?;
        let message = BaseRecord::to("inference.flights")
            .key(record.id.as_str())
            .payload(payload.as_str())
            .partition(partition)
            .timestamp(record.event_time.as_millis());
        send(&self.producer, message)
    }
}

/// Sends a message, when there is room for it.
pub(super) fn send(
    producer: &ThreadedProducer<DefaultProducerContext>,
    mut message: BaseRecord<'_, str, str>,
) -> anyhow::Result<()> {
    loop {
        match producer.send(message) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                message = refused;
                producer.poll(POLL);
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

/// Returns how many weeks have all their labels.
pub(super) fn windows_labelled(snapshot: &Snapshot) -> usize {
    let windows = snapshot.performance.values().flat_map(|model| &model.windows);
    windows.filter(|window| window.is_final).count()
}

/// Returns whether the week that ends at `monday` has been decided.
fn is_decided(snapshot: &watch::Receiver<Arc<Snapshot>>, monday: Timestamp) -> bool {
    let snapshot = snapshot.borrow();
    snapshot
        .models
        .iter()
        .filter_map(driftd_core::snapshot::ModelSnapshot::latest)
        .any(|window| monday <= window.id.span.end())
}

/// Waits for a job that was asked for; returns the version that the newest one registered.
fn wait_for_job(
    snapshot: &watch::Receiver<Arc<Snapshot>>,
    stopping: &AtomicBool,
) -> anyhow::Result<Option<String>> {
    wait_for(stopping, "the job did not end", || {
        let snapshot = snapshot.borrow();
        let mut open = BTreeSet::new();
        for entry in snapshot.retraining.iter() {
            match &*entry.state {
                "succeeded" | "failed" | "rejected" => open.remove(&*entry.id),
                _ => open.insert(&*entry.id),
            };
        }
        open.is_empty()
    })?;
    let snapshot = snapshot.borrow();
    let newest = snapshot.retraining.iter().rev().find(|entry| &*entry.state == "succeeded");
    Ok(newest.and_then(|entry| entry.new_version.as_deref()).map(str::to_owned))
}

fn wait_for(
    stopping: &AtomicBool,
    failure: &'static str,
    mut is_reached: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    let stopwatch = Stopwatch::start();
    while !is_reached() && !stopping.load(Ordering::Relaxed) {
        if WAIT_MAX < stopwatch.elapsed() {
            bail!("{failure} within {} s; see the log above", WAIT_MAX.as_secs());
        }
        std::thread::park_timeout(POLL);
    }
    Ok(())
}

/// Writes one row as the record that a serving system would log.
fn message(rows: &RecordBatch, record: &Record, version: &str) -> anyhow::Result<String> {
    let mut features = Map::new();
    let mut prediction = Map::new();
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        match field.name().as_str() {
            "prediction_id" | "event_time" => {}
            name if PREDICTIONS.contains(&name) => {
                prediction.insert(name.to_owned(), value(column, record.row)?);
            }
            name => {
                features.insert(name.to_owned(), value(column, record.row)?);
            }
        }
    }
    let mut text = String::new();
    write!(
        text,
        r#"{{"model":{{"name":"flights","version":"{version}"}},"prediction_id":"{}","event_time":"{}","features":{},"prediction":{}}}"#,
        record.id,
        record.event_time,
        Value::Object(features),
        Value::Object(prediction),
    )?;
    Ok(text)
}

pub(super) fn value(column: &dyn Array, row: usize) -> anyhow::Result<Value> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    if let Some(singles) = column.as_primitive_opt::<Float32Type>() {
        // The shortest decimal that reads back as the same single.
        return Ok(serde_json::from_str(&singles.value(row).to_string())?);
    }
    if let Some(doubles) = column.as_primitive_opt::<Float64Type>() {
        return Ok(doubles.value(row).into());
    }
    if let Some(booleans) = column.as_boolean_opt() {
        return Ok(booleans.value(row).into());
    }
    text(column, row).map(Value::from).context("the log has a column of an unexpected type")
}

pub(super) fn text(column: &dyn Array, row: usize) -> Option<&str> {
    let dictionary = column.as_dictionary_opt::<UInt32Type>()?;
    let levels = dictionary.values().as_string_opt::<i32>()?;
    Some(levels.value(dictionary.keys().value(row) as usize))
}
