//! Some messages of a topic, and what a configured source makes of them.
//!
//! Before: the edge has read a bounded number of messages. After: `driftd check` and
//! [`mod@crate::inspect`] say how many are good, why the others are not, and show one record.
//! Nothing is counted: what is decided about a message here is what a run decides about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use driftd_catalog::Timestamp;
use driftd_detectors::NumericValues;
use driftd_ingest::{
    Decode, Decoded, EnvelopeValue, FeatureKind, Message, Program, RejectReason, Rejection,
    SchemaId, SourceSchema, categorical_column, numeric_column,
};

use crate::config::{Config, Content, Role, SourceConfig};
use crate::halves::Halves;
use crate::join::JoinDecoder;

/// One message that was read to be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SampledMessage {
    /// Partition of the topic.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// Time that Kafka attached to the message, if any.
    pub timestamp: Option<Timestamp>,
    /// The bytes; `None` for a tombstone.
    pub payload: Option<Vec<u8>>,
    /// The message's key.
    pub key: Option<Vec<u8>>,
    /// Headers in their order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl SampledMessage {
    /// Returns the last header of this name, if it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.header_bytes(name)?).ok()
    }

    fn header_bytes(&self, name: &str) -> Option<&[u8]> {
        let (_, value) = self.headers.iter().rfind(|(key, _)| key == name)?;
        value.as_deref()
    }

    /// Returns what a schema wants beside the payload.
    fn envelope(&self, schema: &SourceSchema) -> Vec<Option<&[u8]>> {
        let value = |wanted: &EnvelopeValue| match wanted {
            EnvelopeValue::Header(name) => self.header_bytes(name),
            EnvelopeValue::Key => self.key.as_deref(),
            EnvelopeValue::Time => None,
        };
        schema.envelope.iter().map(value).collect()
    }
}

/// What a source makes of some messages.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trial {
    /// Messages tried.
    pub messages: u64,
    /// Those that become records, or none because their lists are empty.
    pub accepted: u64,
    /// Records of the accepted ones.
    pub records: u64,
    /// The refused ones by reason.
    pub refused: BTreeMap<RejectReason, Refused>,
    /// The first record of the last message that has one.
    pub record: Option<Record>,
}

/// Messages that are refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// How many.
    pub count: u64,
    /// Partition of the first one.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// What is wrong with it, without text of its payload.
    pub detail: String,
}

/// One record as it would be counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Partition of its message.
    pub partition: i32,
    /// Offset of its message.
    pub offset: i64,
    /// Name of its model.
    pub model: Arc<str>,
    /// Version of the model.
    pub version: Arc<str>,
    /// When the prediction was made, as the record says.
    pub event_time: Timestamp,
    /// Every watched column, in the order of the configuration.
    pub values: Vec<RecordValue>,
}

/// The value of one watched column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordValue {
    /// Name of the feature or prediction.
    pub name: Arc<str>,
    /// Which of the two it is.
    pub role: Option<Role>,
    /// Type of the column.
    pub kind: FeatureKind,
    /// The value as text; `None` where it is absent or null.
    pub value: Option<String>,
}

/// Tells how to read messages that name a schema; `None` where there is no such schema.
pub type Schemas<'a> = &'a mut dyn FnMut(&SchemaId) -> Option<Program>;

/// Decodes messages by the source at `index` of [`Config::sources`]. Where requests and responses
/// are joined, each that is none by itself is good, and two of a partition are a record.
pub fn try_out(
    config: &Config,
    index: usize,
    messages: &[SampledMessage],
    schemas: Schemas<'_>,
) -> Trial {
    let source = &config.sources[index];
    let mut decoders = BTreeMap::new();
    let mut trial = Trial::default();
    for message in messages {
        let payload = message.payload.as_deref();
        let envelope = message.envelope(&source.schema);
        // Messages of several partitions share a decoder, which knows of one, where none needs
        // another: the offset is ours.
        let is_joined = source.join.is_some();
        let (partition, offset) =
            if is_joined { (message.partition, message.offset) } else { (0, 0) };
        let decoder = decoders.entry(partition).or_insert_with(|| decoder(source));
        let lent = Message { payload, offset, timestamp: message.timestamp, envelope: &envelope };
        trial.messages += 1;
        if let Some(id) = decoder.missing(&lent)
            && let Some(program) = schemas(&id)
        {
            decoder.learn(id, program);
        }
        if let Some(rejection) = decoder.decode(&lent) {
            trial.refuse(message, rejection);
        }
        let decoded = decoder.finish();
        if decoded.rejections.is_empty() {
            trial.accepted += 1;
        }
        trial.records += decoded.rows.len() as u64;
        if let Some(record) = first_record(config, index, message, &decoded) {
            trial.record = Some(record);
        }
    }
    trial
}

fn decoder(source: &SourceConfig) -> Box<dyn Decode> {
    match &source.join {
        Some(join) => Box::new(JoinDecoder::new(source, join, Halves::default())),
        None => source.decoder(),
    }
}

impl Trial {
    /// Returns whether there were messages, and none of them was good.
    pub fn is_hopeless(&self) -> bool {
        0 < self.messages && self.accepted == 0
    }

    fn refuse(&mut self, message: &SampledMessage, rejection: &Rejection) {
        let first = || Refused {
            count: 0,
            partition: message.partition,
            offset: message.offset,
            detail: rejection.detail.clone(),
        };
        self.refused.entry(rejection.reason).or_insert_with(first).count += 1;
    }
}

fn first_record(
    config: &Config,
    source: usize,
    message: &SampledMessage,
    decoded: &Decoded,
) -> Option<Record> {
    let row = decoded.rows.first()?;
    let of_source = usize::from(row.model);
    // The first row of the message is the first one of its model.
    let batch = decoded.batches.get(of_source)?.as_ref()?;
    let model = &config.models[config.sources[source].models[of_source]];
    let fields = config.sources[source].schema.models[of_source].features.iter().enumerate();
    let values = fields.map(|(column, field)| RecordValue {
        name: Arc::clone(&field.name),
        role: match config.sources[source].content {
            Content::Predictions => Some(model.features[column].role),
            Content::Labels => None,
        },
        kind: field.kind,
        value: first_value(batch, column),
    });
    Some(Record {
        partition: message.partition,
        offset: message.offset,
        model: Arc::clone(&model.name),
        version: Arc::clone(&decoded.versions[usize::from(row.version)]),
        event_time: row.event_time,
        values: values.collect(),
    })
}

fn first_value(batch: &RecordBatch, column: usize) -> Option<String> {
    let array = batch.column(column);
    if array.is_null(0) {
        return None;
    }
    // Columns of integers are counted as `f64`, and shown as they are.
    if let Some(whole) = array.as_primitive_opt::<Int64Type>() {
        return Some(whole.value(0).to_string());
    }
    if let Ok(numbers) = numeric_column(array.as_ref()) {
        return match numbers.column().values {
            NumericValues::F32(values) => values.first().map(ToString::to_string),
            NumericValues::F64(values) => values.first().map(ToString::to_string),
        };
    }
    let levels = categorical_column(array.as_ref()).ok()?;
    let levels = levels.column();
    let key = usize::try_from(*levels.keys.first()?).ok()?;
    levels.levels.get(key).map(|level| (*level).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;

    const CONFIG: &str = r#"
name: job
sources:
  - {topic: logs, start: earliest, event_time: {path: at, format: unix_seconds}}
models:
  - name: m
    source: logs
    version_path: version
    references: "{version}.json"
    window: {length: 1h}
    features:
      - {name: amount, path: amount, type: float64}
      - {name: items, path: items, type: integer}
      - {name: country, path: country, type: categorical}
    predictions:
      - {name: late, path: late, type: boolean}
"#;

    fn tried(payloads: &[Option<&str>]) -> Trial {
        let config = load(CONFIG, &|_| None).unwrap();
        let message = |(offset, payload): (i64, Option<&str>)| SampledMessage {
            partition: 3,
            offset,
            payload: payload.map(|it| it.as_bytes().to_vec()),
            ..SampledMessage::default()
        };
        let messages: Vec<_> = (7..).zip(payloads.iter().copied()).map(message).collect();
        try_out(&config, 0, &messages, &mut |_| None)
    }

    #[test]
    fn one_record_is_shown_with_every_value() {
        let text = r#"{"at": 0, "version": 2, "amount": 0.5, "items": 9007199254740993,
                       "country": null, "late": true}"#;
        let trial = tried(&[Some(text), Some("{}")]);
        assert_eq!((trial.messages, trial.accepted, trial.records), (2, 1, 1));
        let record = trial.record.unwrap();
        assert_eq!((record.partition, record.offset), (3, 7));
        assert_eq!((&*record.model, &*record.version), ("m", "2"));
        assert_eq!(record.event_time, Timestamp::from_millis(0));
        let values: Vec<_> =
            record.values.iter().map(|it| (&*it.name, it.value.as_deref())).collect();
        let expected = [
            ("amount", Some("0.5")),
            ("items", Some("9007199254740993")),
            ("country", None),
            ("late", Some("true")),
        ];
        assert_eq!(values, expected);
        assert_eq!(record.values[3].role, Some(Role::Prediction));
    }

    #[test]
    fn requests_and_responses_of_a_partition_are_one_record() {
        let join = "join: {id: id, side: type, request: q, response: r}}";
        let text = CONFIG.replace("unix_seconds}}", &format!("unix_seconds}}, {join}"));
        let text = text
            .replace("path: at", "path: response.at")
            .replace("path: late", "path: response.late");
        let text =
            ["amount", "items", "country", "version"].into_iter().fold(text, |text, name| {
                text.replace(&format!("path: {name}"), &format!("path: request.{name}"))
            });
        let config = load(&text, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
        let message = |partition, offset, payload: &str| SampledMessage {
            partition,
            offset,
            payload: Some(payload.as_bytes().to_vec()),
            ..SampledMessage::default()
        };
        let request = r#"{"id": 1, "type": "q", "version": "2", "amount": 0.5}"#;
        let response = r#"{"id": 1, "type": "r", "at": 0, "late": true}"#;
        let messages = [message(1, 7, response), message(2, 4, request), message(1, 9, request)];
        let trial = try_out(&config, 0, &messages, &mut |_| None);
        assert_eq!((trial.messages, trial.accepted, trial.records), (3, 3, 1));
        let record = trial.record.unwrap();
        assert_eq!((record.partition, record.offset), (1, 9));
    }

    #[test]
    fn refusals_are_counted_by_reason_with_the_first_of_each() {
        let trial = tried(&[Some("{"), None, Some("[]"), Some("{"), Some("")]);
        assert!(trial.is_hopeless() && trial.record.is_none());
        let counts: Vec<_> =
            trial.refused.iter().map(|(reason, it)| (*reason, it.count, it.offset)).collect();
        let expected = [
            (RejectReason::EmptyPayload, 2, 8),
            (RejectReason::InvalidJson, 2, 7),
            (RejectReason::WrongType, 1, 9),
        ];
        assert_eq!(counts, expected);
        assert!(!tried(&[]).is_hopeless(), "an empty topic is no mistake");
    }
}
