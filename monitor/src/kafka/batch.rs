//! Messages of one partition that are decoded but not counted, and how many there may be.
//!
//! Before: [`super::consumer`] polls. After: its shard counts a whole batch. Where a batch is cut
//! changes no result; the bounds keep the memory of wide records as small as that of narrow ones.

use arrow::record_batch::RecordBatch;
use driftd_catalog::Timestamp;
use driftd_core::config::{SourceConfig, SourceFormat};
use driftd_core::halves::{HALF_BYTES, Halves, JoinNews};
use driftd_core::join::JoinDecoder;
use driftd_core::loss::Mark;
use driftd_ingest::{
    ArrowDecoder, Decode, DecodeLimits, Decoded, Envelope, EnvelopeValue, FeatureKind, HalfReader,
    Message, ModelSchema, Program, Rejection, Row, SchemaId, SourceSchema,
};
use rdkafka::message::{BorrowedMessage, Message as _};

use crate::kafka::headers;

/// Messages of one partition, and rows of theirs, decoded before they are counted together. With
/// those of one more message a batch never has more versions than it can tell apart.
pub(crate) const MESSAGES_MAX: usize = 8_192;
const _: () = assert!(MESSAGES_MAX + DecodeLimits::ROWS_MAX <= 1 << 16, "versions have 16 bits");
/// Fewer than this a batch would cost more than its messages.
const MESSAGES_MIN: usize = 64;
/// Values of a batch: 4 MiB of them. Below 64 columns the number of messages comes first.
const CELLS_MAX: usize = 512 * 1_024;
/// Payloads of a batch. Texts of its columns are not more, or are counted themselves.
const PAYLOAD_BYTES_MAX: usize = 8 << 20;
/// A partial batch is counted after this long, so that a slow topic is seen soon.
const LINGER_MILLIS: i64 = 200;

/// How messages become records.
enum Reader {
    /// Each by itself.
    Single(Box<dyn Decode>),
    /// Requests together with their responses.
    Joined(Box<JoinDecoder>),
}

impl Reader {
    fn decoder(&self) -> &dyn Decode {
        match self {
            Self::Single(decoder) => &**decoder,
            Self::Joined(decoder) => &**decoder,
        }
    }

    fn decoder_mut(&mut self) -> &mut dyn Decode {
        match self {
            Self::Single(decoder) => &mut **decoder,
            Self::Joined(decoder) => &mut **decoder,
        }
    }
}

/// A message that was refused.
pub(super) struct Refused<'a> {
    pub(super) rejection: &'a Rejection,
    /// What was decoded, where that is not the message's payload.
    pub(super) document: Option<&'a [u8]>,
}

/// The open batch of a partition.
pub(super) struct OpenBatch {
    reader: Reader,
    /// With so many rows or messages it is full.
    rows_max: usize,
    payload_bytes: usize,
    /// Memory of the newest batch that was closed.
    closed_bytes: u64,
    opened_at: Timestamp,
    /// Messages before it are read already.
    next_offset: i64,
    /// What the newest message is known by.
    newest: Option<Mark>,
    /// What the newest message that was read before is known by, while it may come once more.
    before: Option<Mark>,
    /// Another message lies there: nothing more is added.
    is_other_log: bool,
    /// When the client last looked and nothing came after the newest message.
    pub(super) at_end: Option<Timestamp>,
}

impl OpenBatch {
    /// The first message has this offset, or a later one; `None`: any. Where requests and responses
    /// are joined, those wait already.
    pub(super) fn new(
        source: &SourceConfig,
        next_offset: Option<i64>,
        halves: &Halves,
        now: Timestamp,
    ) -> Self {
        let reader = match &source.join {
            Some(join) => Reader::Joined(Box::new(JoinDecoder::new(source, join, halves.clone()))),
            None => Reader::Single(source.decoder()),
        };
        Self {
            reader,
            rows_max: batch_rows_max(&source.schema),
            payload_bytes: 0,
            closed_bytes: 0,
            opened_at: now,
            next_offset: next_offset.unwrap_or(i64::MIN),
            newest: None,
            before: None,
            is_other_log: false,
            at_end: None,
        }
    }

    /// Adds a message; returns why, if it is refused.
    ///
    /// One that was read before is passed over. The client has been seen to go back: an answer to
    /// the question where the log begins, asked before its broker died, moved it there once more
    /// when it had long read on.
    pub(super) fn decode(&mut self, now: Timestamp, message: &Message<'_>) -> Option<Refused<'_>> {
        let mark = mark(message);
        self.is_other_log |= self
            .before
            .take_if(|it| it.offset <= mark.offset)
            .is_some_and(|before| before.offset == mark.offset && before != mark);
        if self.is_other_log || message.offset < self.next_offset {
            return None;
        }
        self.newest = Some(mark);
        self.next_offset = message.offset.saturating_add(1);
        if self.is_empty() {
            self.opened_at = now;
        }
        self.at_end = None;
        self.payload_bytes += message.payload.map_or(0, <[u8]>::len);
        self.payload_bytes += message.envelope.iter().flatten().map(|it| it.len()).sum::<usize>();
        let (rejection, document) = match &mut self.reader {
            Reader::Single(decoder) => (decoder.decode(message)?, None),
            Reader::Joined(decoder) => decoder.decode_half(message)?,
        };
        Some(Refused { rejection, document })
    }

    /// Returns the schema that has to be brought before a message is decoded.
    pub(super) fn missing(&mut self, message: &Message<'_>) -> Option<SchemaId> {
        self.reader.decoder_mut().missing(message)
    }

    /// Brings it.
    pub(super) fn learn(&mut self, id: SchemaId, program: Program) {
        self.reader.decoder_mut().learn(id, program);
    }

    /// Has the log compared with the one that was read before, should this message come once more.
    pub(super) fn compare(&mut self, before: Option<Mark>) {
        self.before = before;
    }

    /// Whether it is another log.
    pub(super) fn is_other_log(&self) -> bool {
        self.is_other_log
    }

    /// Returns what the newest message is known by.
    pub(super) fn newest(&self) -> Option<Mark> {
        self.newest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.reader.decoder().messages() == 0
    }

    /// Returns whether it has to be counted before more is read.
    pub(super) fn is_full(&self) -> bool {
        let decoder = self.reader.decoder();
        let read = decoder.messages().max(decoder.rows());
        let bytes = self.payload_bytes.max(decoder.text_bytes());
        self.rows_max <= read || PAYLOAD_BYTES_MAX <= bytes
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.is_full() || !self.is_empty() && self.opened_at.plus_millis(LINGER_MILLIS) <= now
    }

    /// Closes the batch; the next message opens another.
    pub(super) fn finish(&mut self) -> Decoded {
        self.payload_bytes = 0;
        let decoded = self.reader.decoder_mut().finish();
        self.closed_bytes = bytes(&decoded);
        decoded
    }

    /// Returns what the messages of the batch that was closed last made of halves of records.
    pub(super) fn take_join_news(&mut self) -> Option<JoinNews> {
        match &mut self.reader {
            Reader::Single(_) => None,
            Reader::Joined(decoder) => Some(decoder.take_news()),
        }
    }

    /// Returns the memory of halves that wait, or did when the batch was opened.
    pub(super) fn halves_bytes(&self) -> u64 {
        match &self.reader {
            Reader::Single(_) => 0,
            Reader::Joined(decoder) => decoder.held_bytes(),
        }
    }

    /// Returns the memory that an open batch is on its way to: that of the newest closed one.
    pub(super) fn expected_bytes(&self) -> u64 {
        if self.is_empty() { 0 } else { self.closed_bytes }
    }
}

/// Returns what a closed batch takes.
fn bytes(decoded: &Decoded) -> u64 {
    let columns = decoded.batches.iter().flatten().map(RecordBatch::get_array_memory_size);
    let rows = decoded.rows.capacity() * size_of::<Row>();
    (columns.sum::<usize>() + rows) as u64
}

/// Returns a record as decoders take it, with what is wanted beside its payload.
pub(super) fn message<'a>(record: &'a BorrowedMessage<'_>, envelope: Envelope<'a>) -> Message<'a> {
    Message {
        payload: record.payload(),
        offset: record.offset(),
        timestamp: record.timestamp().to_millis().map(Timestamp::from_millis),
        envelope,
    }
}

/// Returns what a schema wants beside the payload: of several headers with a name the last. Nothing
/// is allocated where it wants nothing.
pub(super) fn envelope<'a>(
    record: &'a BorrowedMessage<'_>,
    schema: &SourceSchema,
) -> Vec<Option<&'a [u8]>> {
    let value = |wanted: &EnvelopeValue| match wanted {
        EnvelopeValue::Header(_) | EnvelopeValue::Time => None,
        EnvelopeValue::Key => record.key(),
    };
    let mut values: Vec<_> = schema.envelope.iter().map(value).collect();
    let is_header = |it: &EnvelopeValue| matches!(it, EnvelopeValue::Header(_));
    if schema.envelope.iter().any(is_header) {
        for header in headers::of(record) {
            let is_it = |it: &EnvelopeValue| match it {
                EnvelopeValue::Header(name) => **name == *header.key,
                EnvelopeValue::Key | EnvelopeValue::Time => false,
            };
            if let Some(slot) = schema.envelope.iter().position(is_it) {
                values[slot] = header.value;
            }
        }
    }
    values
}

/// Returns what a message is known by. Its payload is not read for that.
pub(super) fn mark(message: &Message<'_>) -> Mark {
    let bytes = message.payload.map_or(0, <[u8]>::len) as u64;
    Mark { offset: message.offset, time: message.timestamp, bytes }
}

/// Returns what a batch is expected to take: columns grow by doubling, and texts are not more than
/// the payloads. A single payload above [`PAYLOAD_BYTES_MAX`] is not counted.
///
/// The message that fills a batch may bring many rows, which are held twice while it is read.
pub(crate) fn bytes_expected(source: &SourceConfig) -> u64 {
    let schema = &source.schema;
    let row = size_of::<Row>() + columns(schema) * size_of::<f64>();
    let mut models = schema.models.iter();
    let has_texts = models.any(|model| {
        !model.segments.is_empty()
            || model.prediction_id.is_some()
            || model.features.iter().any(|it| it.kind == FeatureKind::Categorical)
    });
    let limits = source.limits();
    // The message that fills a batch is not counted by its payload where its texts may be more.
    let message_texts = match &source.format {
        SourceFormat::Json => source.text_bytes_max(),
        SourceFormat::Avro(_) | SourceFormat::Protobuf(_) => 0,
        SourceFormat::Arrow => ArrowDecoder::TEXT_BYTES_MAX,
    };
    let texts = if has_texts { PAYLOAD_BYTES_MAX + message_texts } else { 0 };
    let message = limits.message_rows_max(schema) * size_of::<Row>()
        + limits.message_cells_max(schema) * size_of::<f64>();
    let own = match &source.format {
        SourceFormat::Json | SourceFormat::Avro(_) | SourceFormat::Protobuf(_) => 0,
        SourceFormat::Arrow => ArrowDecoder::message_bytes_max(&limits),
    };
    let read = limits.message_bytes_max(schema) + own;
    (2 * (batch_rows_max(schema) * row + message) + read + texts) as u64
}

/// Returns what halves take at most that come with one batch: while it is open, those that they
/// make an end of are held beside them.
pub(crate) fn halves_bytes_max(source: &SourceConfig) -> u64 {
    let payloads = PAYLOAD_BYTES_MAX + source.payload_bytes_max;
    let payloads =
        source.join.as_ref().map_or(payloads, |join| join.half.form.text_bytes_max(payloads));
    let each = HALF_BYTES + HalfReader::ID_BYTES_MAX as u64;
    payloads as u64 + batch_rows_max(&source.schema) as u64 * each
}

fn batch_rows_max(schema: &SourceSchema) -> usize {
    (CELLS_MAX / columns(schema).max(1)).clamp(MESSAGES_MIN, MESSAGES_MAX)
}

/// Columns of the widest model: a record is of one.
fn columns(schema: &SourceSchema) -> usize {
    schema.models.iter().map(ModelSchema::columns).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use driftd_core::config::load;

    use super::*;

    const CONFIG: &str = r#"{
        "name": "test",
        "sources": [{
            "topic": "logs",
            "start": "earliest",
            "event_time": {"path": "at"},
            "model": "model"
        }],
        "models": [{
            "name": "alpha",
            "source": "logs",
            "version": "1",
            "references": "{model}-{version}.json",
            "window": {"length": "1h"},
            "features": [{"name": "x", "path": "x", "type": "float64"}]
        }]
    }"#;

    const fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn message(offset: i64, time: i64) -> Message<'static> {
        Message { payload: Some(b"{}"), offset, timestamp: Some(at(time)), envelope: &[] }
    }

    /// Reads messages after the one at offset 7 was read, of time 70; returns how many were added,
    /// and whether it is another log.
    fn read(messages: &[Message<'_>]) -> (usize, bool) {
        let config = load(CONFIG, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
        let mut batch = OpenBatch::new(&config.sources[0], Some(8), &Halves::default(), at(0));
        batch.compare(Some(mark(&message(7, 70))));
        for message in messages {
            batch.decode(at(0), message);
        }
        (batch.reader.decoder().messages(), batch.is_other_log())
    }

    #[test]
    fn a_log_that_holds_the_same_message_goes_on() {
        assert_eq!(read(&[message(7, 70), message(8, 80)]), (1, false));
    }

    #[test]
    fn nothing_of_another_log_is_added() {
        assert_eq!(read(&[message(7, 71), message(8, 80)]), (0, true));
        let longer = Message { payload: Some(b"{ }"), ..message(7, 70) };
        assert_eq!(read(&[longer, message(8, 80)]), (0, true));
    }

    #[test]
    fn a_log_without_the_message_goes_on_without_a_comparison() {
        assert_eq!(read(&[message(9, 90), message(10, 100)]), (2, false));
        // It can be seen once more when the client goes back, and is no other than it was.
        assert_eq!(read(&[message(8, 80), message(7, 71), message(9, 90)]), (2, false));
    }
}
