//! The batch that a decoder holds open: rows, versions, columns and rejections, in offset order.
//!
//! Before: a format's decoder accepts or refuses each message. After: [`OpenBatch::finish`] gives
//! the [`Decoded`] batch to the core. Shared by all formats; owns the invariants of [`Decoded`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use driftd_catalog::{ModelId, NameError, Timestamp};

use super::builders::{Cell, Chunk, ModelBuilder, Span, Texts};
use super::change::ChangeKind;
use super::{Decoded, Message, Row};
use crate::rejection::{Refusal, RejectReason, Rejection};
use crate::schema::SourceSchema;

/// Most distinct versions of one batch: rows name their version by a 16-bit index. A batch of no
/// more rows never meets the bound, so that where batches are cut decides nothing.
const VERSIONS_MAX: usize = 1 << 16;

/// One row of a message, but for its cells.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// Index of the model in the schema.
    pub(super) model: usize,
    pub(super) event_time: Timestamp,
    pub(super) version: Span,
}

/// A message whose every value has been read and checked.
pub(super) struct Accepted<'a> {
    pub(super) heads: &'a [Head],
    /// For each row one a column of its model.
    pub(super) cells: &'a [Cell],
    pub(super) texts: Texts<'a>,
}

/// A message whose every column has been read and checked: rows of one model.
pub(super) struct Columnar<'a> {
    pub(super) model: usize,
    /// One a row.
    pub(super) times: Vec<Timestamp>,
    /// The versions, each with how many rows one after the other have it.
    pub(super) versions: Vec<(usize, Cow<'a, str>)>,
    /// Some rows after the other: how many, and one chunk a column of the model.
    pub(super) batches: Vec<(usize, Vec<Chunk<'a>>)>,
}

pub(super) struct OpenBatch {
    schema: Arc<SourceSchema>,
    from_offset: i64,
    to_offset: i64,
    messages: usize,
    /// Messages that were accepted, with or without rows.
    accepted: usize,
    bytes: u64,
    rows: Vec<Row>,
    versions: Versions,
    models: Vec<ModelBuilder>,
    rejections: Vec<Rejection>,
    skipped: BTreeMap<ChangeKind, u64>,
}

impl OpenBatch {
    pub(super) fn new(schema: Arc<SourceSchema>) -> Self {
        let models = schema.models.iter().map(ModelBuilder::new).collect();
        Self {
            schema,
            from_offset: 0,
            to_offset: 0,
            messages: 0,
            accepted: 0,
            bytes: 0,
            rows: Vec::new(),
            versions: Versions::default(),
            models,
            rejections: Vec::new(),
            skipped: BTreeMap::new(),
        }
    }

    pub(super) fn messages(&self) -> usize {
        self.messages
    }

    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Takes a message's coordinates; `accept` or `reject` must follow.
    pub(super) fn begin(&mut self, message: &Message<'_>) {
        self.begin_at(message.offset, message.payload.map_or(0, <[u8]>::len));
    }

    /// The same of a message whose payload is not the one that is read.
    pub(super) fn begin_at(&mut self, offset: i64, payload_bytes: usize) {
        if self.messages == 0 {
            self.from_offset = offset;
        } else {
            assert!(self.to_offset <= offset, "offsets of a partition increase");
        }
        self.to_offset = offset + 1;
        self.messages += 1;
        self.bytes += payload_bytes as u64;
    }

    /// Takes a message that has no rows.
    pub(super) fn pass(&mut self, message: &Message<'_>) {
        self.begin(message);
        self.accepted += 1;
    }

    /// Takes a message without a payload, where that says what became of a row; returns whether it
    /// does.
    pub(super) fn take_tombstone(&mut self, message: &Message<'_>) -> bool {
        let is_one = message.payload.is_none() && self.schema.change.is_some();
        if is_one {
            self.begin(message);
            self.skip(ChangeKind::Tombstone);
        }
        is_one
    }

    /// Takes that the message that was begun is a change and no record.
    pub(super) fn skip(&mut self, kind: ChangeKind) {
        *self.skipped.entry(kind).or_insert(0) += 1;
        self.accepted += 1;
    }

    /// Appends the message's rows, or refuses the message for the version of the returned one of
    /// them and leaves the batch as it was.
    pub(super) fn accept(
        &mut self,
        message: &Message<'_>,
        accepted: &Accepted<'_>,
    ) -> Result<(), (usize, Refusal)> {
        let Accepted { heads, cells, texts } = *accepted;
        let rows_before = self.rows.len();
        let versions_before = self.versions.names.len();
        for (row, head) in heads.iter().enumerate() {
            let model_name = &self.schema.models[head.model].name;
            match self.versions.index(model_name, texts.get(&head.version)) {
                Ok(version) => self.rows.push(Row {
                    offset: message.offset,
                    event_time: head.event_time,
                    timestamp: message.timestamp,
                    model: u16::try_from(head.model).expect("the schema bounds its models"),
                    version,
                }),
                Err(refusal) => {
                    self.rows.truncate(rows_before);
                    self.versions.truncate(versions_before);
                    return Err((row, refusal));
                }
            }
        }
        let mut cells = cells;
        for head in heads {
            cells = self.models[head.model].append(cells, texts);
        }
        assert!(cells.is_empty(), "rows have one cell a column");
        self.accepted += 1;
        Ok(())
    }

    /// Appends the message's rows, or leaves the batch as it was where one of their versions cannot
    /// be taken; returns whether it did.
    ///
    /// # Panics
    /// When there are not as many times, versions and values as rows.
    pub(super) fn accept_columns(&mut self, message: &Message<'_>, found: &Columnar<'_>) -> bool {
        let Columnar { model, times, versions, batches } = found;
        let rows_before = self.rows.len();
        let versions_before = self.versions.names.len();
        let index = u16::try_from(*model).expect("the schema bounds its models");
        let mut times = times.iter();
        for (rows, version) in versions {
            let Ok(version) = self.versions.index(&self.schema.models[*model].name, version) else {
                self.rows.truncate(rows_before);
                self.versions.truncate(versions_before);
                return false;
            };
            let row = |event_time: &Timestamp| Row {
                offset: message.offset,
                event_time: *event_time,
                timestamp: message.timestamp,
                model: index,
                version,
            };
            self.rows.extend(times.by_ref().take(*rows).map(row));
        }
        assert_eq!(times.len(), 0, "every row has a version");
        let appended: usize = batches.iter().map(|(rows, _)| rows).sum();
        assert_eq!(self.rows.len(), rows_before + appended, "every row has a time");
        for (rows, chunks) in batches {
            self.models[*model].append_columns(*rows, chunks);
        }
        self.accepted += 1;
        true
    }

    pub(super) fn reject(&mut self, message: &Message<'_>, refusal: Refusal) -> Option<&Rejection> {
        self.refuse(refusal.at(message.offset))
    }

    pub(super) fn refuse(&mut self, rejection: Rejection) -> Option<&Rejection> {
        self.rejections.push(rejection);
        self.rejections.last()
    }

    /// Returns what was taken since the last call, and starts anew behind it.
    pub(super) fn finish(&mut self) -> Decoded {
        let decoded = Decoded {
            from_offset: self.from_offset,
            to_offset: self.to_offset,
            messages: self.messages as u64,
            bytes: std::mem::take(&mut self.bytes),
            rows: std::mem::take(&mut self.rows),
            versions: self.versions.take(),
            batches: self.models.iter_mut().map(ModelBuilder::finish).collect(),
            rejections: std::mem::take(&mut self.rejections),
            skipped: std::mem::take(&mut self.skipped),
        };
        assert_eq!(
            self.messages,
            self.accepted + decoded.rejections.len(),
            "every message is accepted or one rejection"
        );
        let batch_rows: usize = decoded.batches.iter().flatten().map(RecordBatch::num_rows).sum();
        assert_eq!(batch_rows, decoded.rows.len(), "every row is in its model's batch");
        assert!(decoded.rows.is_sorted_by_key(|row| row.offset), "rows are in offset order");
        self.messages = 0;
        self.accepted = 0;
        self.from_offset = self.to_offset;
        decoded
    }
}

/// The distinct versions of the batch's rows.
#[derive(Default)]
struct Versions {
    names: Vec<Arc<str>>,
    indexes: BTreeMap<Arc<str>, u16>,
}

impl Versions {
    /// Returns the index of `version`, listing it when it is new and a valid name.
    fn index(&mut self, model: &str, version: &str) -> Result<u16, Refusal> {
        if let Some(&index) = self.indexes.get(version) {
            return Ok(index);
        }
        ModelId::try_new(model, version).map_err(|error| invalid_version(&error))?;
        let Ok(index) = u16::try_from(self.names.len()) else {
            return Err(Refusal::new(
                RejectReason::TooManyVersions,
                format_args!("the batch already has {VERSIONS_MAX} versions"),
            ));
        };
        let name: Arc<str> = version.into();
        self.names.push(Arc::clone(&name));
        self.indexes.insert(name, index);
        Ok(index)
    }

    /// Forgets the versions from the `length`-th on.
    fn truncate(&mut self, length: usize) {
        for name in self.names.drain(length..) {
            self.indexes.remove(&name);
        }
    }

    fn take(&mut self) -> Vec<Arc<str>> {
        self.indexes.clear();
        std::mem::take(&mut self.names)
    }
}

/// Says what is wrong without repeating the name, which is the record's own text.
fn invalid_version(error: &NameError) -> Refusal {
    let reason = RejectReason::InvalidName;
    match error {
        NameError::Empty => Refusal::new(reason, format_args!("the model's version is empty")),
        NameError::TooLong { bytes } => {
            Refusal::new(reason, format_args!("the model's version has {bytes} bytes"))
        }
        NameError::Control { name: _ } => {
            Refusal::new(reason, format_args!("the model's version has a control character"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_listed_once_in_order_of_appearance() {
        let mut versions = Versions::default();
        let indexes: Vec<_> =
            ["b", "a", "b"].iter().map(|it| versions.index("m", it).unwrap()).collect();
        assert_eq!(indexes, [0, 1, 0]);
        assert_eq!(versions.take(), ["b".into(), "a".into()]);
        assert_eq!(versions.index("m", "a").unwrap(), 0);
    }

    #[test]
    fn versions_of_a_refused_message_are_forgotten() {
        let mut versions = Versions::default();
        versions.index("m", "a").unwrap();
        versions.index("m", "b").unwrap();
        versions.truncate(1);
        assert_eq!(versions.index("m", "c").unwrap(), 1);
        assert_eq!(versions.take(), ["a".into(), "c".into()]);
    }

    #[test]
    fn versions_beyond_the_index_are_refused_and_known_ones_still_taken() {
        let mut versions = Versions::default();
        for number in 0..VERSIONS_MAX {
            versions.index("m", &number.to_string()).unwrap();
        }
        let rejection = versions.index("m", "one more").unwrap_err().at(0);
        assert_eq!(rejection.reason, RejectReason::TooManyVersions);
        assert_eq!(versions.index("m", "65535").unwrap(), u16::MAX);
    }
}
