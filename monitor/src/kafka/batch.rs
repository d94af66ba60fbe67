//! Messages of one partition that are decoded but not counted, and how many there may be.
//!
//! Before: [`super::consumer`] polls. After: its shard counts a whole batch. Where a batch is cut
//! changes no result; the bounds keep the memory of wide records as small as that of narrow ones.

use std::sync::Arc;

use driftd_catalog::Timestamp;
use driftd_core::config::SourceConfig;
use driftd_ingest::{
    Decode, DecodeLimits, Decoded, FeatureKind, JsonDecoder, Message, Rejection, Row, SourceSchema,
};

/// Messages of one partition decoded before they are counted together.
pub(crate) const MESSAGES_MAX: usize = 8_192;
/// Fewer than this a batch would cost more than its messages.
const MESSAGES_MIN: usize = 64;
/// Values of a batch: 4 MiB of them. Below 64 columns the number of messages comes first.
const CELLS_MAX: usize = 512 * 1_024;
/// Payloads of a batch. Texts of its columns are not more.
const PAYLOAD_BYTES_MAX: usize = 8 << 20;
/// A partial batch is counted after this long, so that a slow topic is seen soon.
const LINGER_MILLIS: i64 = 200;

/// The open batch of a partition.
pub(super) struct OpenBatch {
    decoder: Box<dyn Decode>,
    messages_max: usize,
    payload_bytes: usize,
    opened_at: Timestamp,
    /// Messages before it are read already.
    next_offset: i64,
    /// Nothing came after the newest message when the client last looked.
    pub(super) is_at_end: bool,
}

impl OpenBatch {
    /// The first message has this offset, or a later one; `None`: any.
    pub(super) fn new(source: &SourceConfig, next_offset: Option<i64>, now: Timestamp) -> Self {
        let limits = DecodeLimits { payload_bytes_max: source.payload_bytes_max };
        Self {
            decoder: Box::new(JsonDecoder::new(Arc::clone(&source.schema), limits)),
            messages_max: messages_max(&source.schema),
            payload_bytes: 0,
            opened_at: now,
            next_offset: next_offset.unwrap_or(i64::MIN),
            is_at_end: false,
        }
    }

    /// Adds a message; returns its rejection if it is refused.
    ///
    /// One that was read before is passed over. The client has been seen to go back: an answer to
    /// the question where the log begins, asked before its broker died, moved it there once more
    /// when it had long read on.
    pub(super) fn decode(&mut self, now: Timestamp, message: &Message<'_>) -> Option<&Rejection> {
        if message.offset < self.next_offset {
            return None;
        }
        self.next_offset = message.offset.saturating_add(1);
        if self.is_empty() {
            self.opened_at = now;
        }
        self.is_at_end = false;
        self.payload_bytes += message.payload.map_or(0, <[u8]>::len);
        self.decoder.decode(message)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.decoder.messages() == 0
    }

    /// Returns whether it has to be counted before more is read.
    pub(super) fn is_full(&self) -> bool {
        self.messages_max <= self.decoder.messages() || PAYLOAD_BYTES_MAX <= self.payload_bytes
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.is_full() || !self.is_empty() && self.opened_at.plus_millis(LINGER_MILLIS) <= now
    }

    /// Closes the batch; the next message opens another.
    pub(super) fn finish(&mut self) -> Decoded {
        self.payload_bytes = 0;
        self.decoder.finish()
    }
}

/// Returns the most that a batch takes: columns grow by doubling, and texts are not more than the
/// payloads. A single payload above [`PAYLOAD_BYTES_MAX`] is not counted.
pub(crate) fn bytes_max(schema: &SourceSchema) -> u64 {
    let row = size_of::<Row>() + columns(schema) * size_of::<f64>();
    let has_texts = schema.models.iter().any(|model| {
        !model.segments.is_empty()
            || model.features.iter().any(|it| it.kind == FeatureKind::Categorical)
    });
    let texts = if has_texts { PAYLOAD_BYTES_MAX } else { 0 };
    (2 * messages_max(schema) * row + texts) as u64
}

fn messages_max(schema: &SourceSchema) -> usize {
    (CELLS_MAX / columns(schema).max(1)).clamp(MESSAGES_MIN, MESSAGES_MAX)
}

/// Columns of the widest model: a record is of one.
fn columns(schema: &SourceSchema) -> usize {
    let models = schema.models.iter();
    models.map(|model| model.features.len() + model.segments.len()).max().unwrap_or(0)
}
