//! What a topic of the bench holds: the same records in each format.
//!
//! Before: `main.rs` chooses a [`Load`]. After: the topic is read by `reading.rs`, and described to
//! `driftd` by `setup.rs`. Avro and JSON are written here by hand, Arrow by `arrow-ipc`.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Array, RecordBatch, StringArray, StructArray, TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::ipc::writer::StreamWriter;
use driftd_catalog::Timestamp;
use driftd_tests::message::Message;
use driftd_tests::topic;
use serde_json::{Value, json};

pub(crate) const FEATURES: usize = 20;
pub(crate) const PARTITIONS: i32 = 4;
/// What a registry calls the schema of the messages in Avro.
pub(crate) const AVRO_ID: u32 = 1;
/// Records that are made before they are sent.
const CHUNK: u64 = 50_000;
const START_MILLIS: i64 = 1_700_000_000_000;
/// Ten records a second of event time: a window of an hour holds 36,000 of them.
const STEP_MILLIS: i64 = 100;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Avro,
    Arrow,
}

/// What is written to one topic.
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) format: Format,
    pub(crate) records: u64,
    pub(crate) records_a_message: u64,
    /// What Kafka's batches are compressed by.
    codec: &'static str,
    /// How much of a bare consumer's speed is to be left.
    pub(crate) target: Option<f64>,
}

/// Of what is read faster there are more records, so that a run takes seconds.
pub(crate) const LOADS: [Load; 5] = [
    Load {
        name: "json",
        format: Format::Json,
        records: 1_000_000,
        records_a_message: 1,
        codec: "none",
        target: Some(0.6),
    },
    Load {
        name: "json-zstd",
        format: Format::Json,
        records: 1_000_000,
        records_a_message: 1,
        codec: "zstd",
        target: None,
    },
    Load {
        name: "avro",
        format: Format::Avro,
        records: 2_000_000,
        records_a_message: 1,
        codec: "none",
        target: Some(0.8),
    },
    Load {
        name: "arrow",
        format: Format::Arrow,
        records: 8_000_000,
        records_a_message: 1_000,
        codec: "none",
        target: Some(0.8),
    },
    Load {
        name: "arrow-1",
        format: Format::Arrow,
        records: 300_000,
        records_a_message: 1,
        codec: "none",
        target: None,
    },
];

impl Load {
    pub(crate) fn messages(&self) -> u64 {
        self.records / self.records_a_message
    }

    pub(crate) fn topic(&self) -> String {
        format!("bench.{}", self.name)
    }

    /// Makes the topic and fills it; returns how many bytes a record has.
    pub(crate) fn fill(&self, bootstrap: &str) -> f64 {
        let topic = self.topic();
        topic::create(bootstrap, &topic, PARTITIONS, &[]);
        let mut uniform = Uniform(1);
        let mut bytes = 0;
        for start in (0..self.records).step_by(usize::try_from(CHUNK).expect("a small number")) {
            let end = self.records.min(start + CHUNK);
            let records: Vec<Record> =
                (start..end).map(|index| Record::new(index, &mut uniform)).collect();
            let each = usize::try_from(self.records_a_message).expect("a small number");
            let messages: Vec<Message> =
                records.chunks(each).map(|records| self.message(records)).collect();
            bytes += messages.iter().map(|it| it.payload.len()).sum::<usize>();
            topic::fill_compressed(bootstrap, &topic, &messages, self.codec);
        }
        bytes as f64 / self.records as f64
    }

    fn message(&self, records: &[Record]) -> Message {
        let first = &records[0];
        let number = first.index / self.records_a_message;
        Message {
            partition: i32::try_from(number % 4).expect("a small number"),
            key: first.id(),
            timestamp: Timestamp::from_millis(first.millis),
            payload: match self.format {
                Format::Json => first.json(),
                Format::Avro => first.avro(),
                Format::Arrow => stream(records),
            },
        }
    }
}

/// Numbers without a generator's dependency: the values only have to differ.
pub(crate) struct Uniform(pub(crate) u64);

impl Uniform {
    /// Returns a number from 0 to 1 with six digits.
    pub(crate) fn next(&mut self) -> f64 {
        // Knuth's MMIX.
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let exact = (self.0 >> 11) as f64 / 9_007_199_254_740_992.0;
        (exact * 1e6).round() / 1e6
    }
}

struct Record {
    index: u64,
    millis: i64,
    features: [f64; FEATURES],
}

impl Record {
    fn new(index: u64, uniform: &mut Uniform) -> Self {
        let millis = START_MILLIS + i64::try_from(index).expect("a small number") * STEP_MILLIS;
        Self { index, millis, features: [(); FEATURES].map(|()| uniform.next()) }
    }

    fn id(&self) -> String {
        format!("{:012}", self.index)
    }

    fn json(&self) -> Vec<u8> {
        let mut features = String::new();
        for (feature, value) in self.features.iter().enumerate() {
            let comma = if feature == 0 { "" } else { "," };
            write!(features, "{comma}\"f{feature:02}\":{value:.6}").expect("a String takes all");
        }
        let (id, millis) = (self.id(), self.millis);
        format!(
            "{{\"model\":\"bench\",\"version\":\"1\",\"id\":\"{id}\",\"at\":{millis},\
             \"features\":{{{features}}}}}"
        )
        .into_bytes()
    }

    fn avro(&self) -> Vec<u8> {
        let mut out = [&[0][..], &AVRO_ID.to_be_bytes()].concat();
        for text in ["bench", "1", &self.id()] {
            long(i64::try_from(text.len()).expect("a short text"), &mut out);
            out.extend(text.bytes());
        }
        long(self.millis, &mut out);
        out.extend(self.features.iter().flat_map(|it| it.to_le_bytes()));
        out
    }
}

fn long(value: i64, out: &mut Vec<u8>) {
    let mut bits = (value << 1 ^ value >> 63).cast_unsigned();
    while 0x7f < bits {
        out.push(bits.to_le_bytes()[0] | 0x80);
        bits >>= 7;
    }
    out.push(bits.to_le_bytes()[0]);
}

/// Returns the schema that messages in Avro are written with.
pub(crate) fn avro_schema() -> Value {
    let double = |feature| json!({"name": feature_name(feature), "type": "double"});
    let features: Vec<Value> = (0..FEATURES).map(double).collect();
    let features = json!({"type": "record", "name": "Features", "fields": features});
    let time = json!({"type": "long", "logicalType": "timestamp-millis"});
    json!({"type": "record", "name": "Prediction", "fields": [
        {"name": "model", "type": "string"},
        {"name": "version", "type": "string"},
        {"name": "id", "type": "string"},
        {"name": "at", "type": time},
        {"name": "features", "type": features},
    ]})
}

pub(crate) fn feature_name(feature: usize) -> String {
    format!("f{feature:02}")
}

/// Writes records as one stream with one batch.
fn stream(records: &[Record]) -> Vec<u8> {
    let column = |feature: usize| -> ArrayRef {
        Arc::new(records.iter().map(|it| Some(it.features[feature])).collect::<Float64Array>())
    };
    let field =
        |feature: usize| Arc::new(Field::new(feature_name(feature), DataType::Float64, true));
    let fields: Fields = (0..FEATURES).map(field).collect();
    let features = StructArray::new(fields, (0..FEATURES).map(column).collect(), None);
    let texts = |text: &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(records.iter().map(|_| text)))
    };
    let ids = StringArray::from_iter_values(records.iter().map(Record::id));
    let at = records.iter().map(|it| Some(it.millis)).collect::<TimestampMillisecondArray>();
    let batch = RecordBatch::try_from_iter([
        ("model", texts("bench")),
        ("version", texts("1")),
        ("id", Arc::new(ids)),
        ("at", Arc::new(at)),
        ("features", Arc::new(features)),
    ]);
    let batch = batch.expect("columns of one length");
    StreamWriter::try_new(Vec::new(), &batch.schema())
        .and_then(|mut writer| {
            writer.write(&batch)?;
            writer.into_inner()
        })
        .expect("a list of bytes takes all")
}
