//! Plays what came true: when each flight of the log has arrived, its label goes to a topic of its
//! own.
//!
//! Before: [`super::stage_set`] writes the file. After: the daemon joins labels with the
//! predictions that [`super::player`] sends.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use driftd_catalog::Timestamp;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};

use super::player::{text, value};
use crate::table::{BATCH_ROWS, Rows, Table};

/// The topic of labels.
pub(super) const TOPIC: &str = "labels.flights";

/// The broker in this process takes what there is within it.
const FLUSH_MAX: Duration = Duration::from_mins(2);

/// Labels in the order of their times.
pub(super) struct Labels {
    all: Vec<Label>,
    next: usize,
}

struct Label {
    id: String,
    time: Timestamp,
    late: serde_json::Value,
}

impl Labels {
    /// Reads the labels of predictions that are played.
    pub(super) fn read(path: &Path, played: &HashSet<&str>) -> anyhow::Result<Self> {
        let table = Table::open(path)?;
        let columns: Vec<usize> = (0..table.columns().fields().len()).collect();
        let mut all = Vec::new();
        for rows in table.batches(&columns, BATCH_ROWS)? {
            let rows = Rows::into_columns(rows?);
            let column = |name: &str| {
                rows.column_by_name(name).with_context(|| format!("no column `{name}` of labels"))
            };
            let (ids, late) = (column("prediction_id")?, column("late")?);
            let times = column("label_time")?
                .as_primitive_opt::<TimestampMicrosecondType>()
                .context("`label_time` is not in microseconds")?;
            for row in 0..rows.num_rows() {
                let id = text(ids, row).unwrap_or_default();
                if played.contains(id) && times.is_valid(row) {
                    let time = Timestamp::from_millis(times.value(row).div_euclid(1_000));
                    let late = value(late, row)?;
                    all.push(Label { id: id.to_owned(), time, late });
                }
            }
        }
        all.sort_by_key(|label| label.time);
        Ok(Self { all, next: 0 })
    }

    /// Sends those that are given before a time, and were not sent yet.
    pub(super) fn send_before(
        &mut self,
        end: Timestamp,
        producer: &ThreadedProducer<DefaultProducerContext>,
    ) -> anyhow::Result<()> {
        let due = self.all.iter().skip(self.next).take_while(|label| label.time < end);
        let mut sent = 0;
        for label in due {
            let Label { id, time, late } = label;
            let payload =
                format!(r#"{{"prediction_id":"{id}","label_time":"{time}","late":{late}}}"#);
            let message = BaseRecord::to(TOPIC)
                .key(id.as_str())
                .payload(payload.as_str())
                .partition(i32::try_from(sent % 4)?)
                .timestamp(time.as_millis());
            super::player::send(producer, message)?;
            sent += 1;
        }
        self.next += sent;
        producer.flush(FLUSH_MAX).context("the in-process broker does not take the labels")
    }
}
