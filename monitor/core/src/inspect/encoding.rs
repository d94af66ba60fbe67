//! What the bytes of one message are, by their first bytes, their headers and JSON's grammar.
//!
//! Before: a [`SampledMessage`]. After: [`super::body`] and [`super::tree`] look into the JSON
//! documents that are found here, and those that bodies of the open inference protocol become;
//! every other encoding is named and counted only.

use std::fmt::Write as _;

use driftd_ingest::{INFERENCE_HEADER, InferenceMessage, Uuid, glue_value, quote_specials};
use serde_json::Value;

use super::{Show, inference};
use crate::sample::SampledMessage;

/// Bytes shown of a message that is neither text nor of a known encoding.
const SHOWN_BYTES: usize = 8;

/// Length of a schema registry's prefix: 0, and the id of the schema in four bytes.
const REGISTRY_PREFIX: usize = 5;

/// Length of the prefix of AWS Glue: 3, the compression, and the id in sixteen bytes.
const GLUE_PREFIX: usize = 18;

/// Bytes of a compressed value that is looked into.
const GLUE_VALUE_BYTES_MAX: usize = 8 << 20;

/// Headers by which a registry's schema is named without a prefix.
const REGISTRY_HEADERS: [&str; 3] =
    ["__value_schema_id", "apicurio.value.globalId", "apicurio.value.contentId"];

/// What a message is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Encoding {
    /// One JSON object.
    JsonDocument,
    /// One JSON list of objects.
    JsonList,
    /// Several JSON objects, one a line.
    JsonLines,
    /// JSON that is neither an object nor a list of them.
    JsonOther,
    /// Text that begins like JSON and is none.
    BrokenJson,
    /// The prefix of a Confluent schema registry, before bytes that are no JSON.
    Registry,
    /// That prefix, before a JSON object or a list of them.
    RegistryJson,
    /// Named by a header that a schema registry's serializer writes.
    RegistryHeader,
    /// A message of Protobuf of the Open Inference Protocol, by Seldon's header.
    InferenceMessage,
    /// Such a message by what is in it: a request or a response.
    InferenceUnsaid,
    /// JSON of that protocol with raw values of tensors behind it.
    InferenceBinary,
    /// The prefix of AWS Glue's registry.
    Glue,
    /// Avro with the fingerprint of its schema.
    AvroSingleObject,
    /// A whole file of Avro.
    AvroFile,
    /// Arrow's stream format.
    ArrowStream,
    /// Arrow's file format.
    ArrowFile,
    /// A whole file of Parquet.
    Parquet,
    /// Compressed before it was given to Kafka, by gzip.
    Gzip,
    /// Compressed before it was given to Kafka, by zstd.
    Zstd,
    /// Text of another kind.
    Text,
    /// Bytes of another kind.
    Binary,
    /// No bytes.
    Empty,
    /// No payload.
    Tombstone,
}

impl Encoding {
    /// Returns what to call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::JsonDocument => "JSON, one object a message",
            Self::JsonList => "JSON, a list of objects",
            Self::JsonLines => "JSON, one object a line",
            Self::JsonOther => "JSON without an object",
            Self::BrokenJson => "text that begins like JSON and is none",
            Self::Registry => "schema registry's prefix (Confluent wire format)",
            Self::RegistryJson => "JSON behind a schema registry's prefix (JSON Schema)",
            Self::RegistryHeader => "schema registry, by a header",
            Self::InferenceMessage => "Protobuf of the open inference protocol, by a header",
            Self::InferenceUnsaid => "Protobuf of the open inference protocol, by its tensors",
            Self::InferenceBinary => "JSON of the open inference protocol, with bytes behind it",
            Self::Glue => "AWS Glue registry's prefix",
            Self::AvroSingleObject => "Avro, single object",
            Self::AvroFile => "Avro, a whole file",
            Self::ArrowStream => "Arrow IPC stream",
            Self::ArrowFile => "Arrow IPC file",
            Self::Parquet => "Parquet, a whole file",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Text => "other text",
            Self::Binary => "other bytes",
            Self::Empty => "no bytes",
            Self::Tombstone => "tombstone",
        }
    }

    /// Returns the values of `sources[].format` that read it; none where driftd cannot.
    pub const fn formats(self) -> &'static [&'static str] {
        match self {
            Self::JsonDocument | Self::JsonList | Self::RegistryJson => &["json", "ndjson"],
            Self::JsonLines => &["ndjson"],
            Self::Registry | Self::RegistryHeader | Self::Glue => &["avro", "protobuf"],
            Self::AvroSingleObject => &["avro"],
            Self::ArrowStream | Self::ArrowFile => &["arrow"],
            Self::InferenceMessage | Self::InferenceUnsaid | Self::InferenceBinary => {
                &["open_inference"]
            }
            Self::JsonOther
            | Self::BrokenJson
            | Self::AvroFile
            | Self::Parquet
            | Self::Gzip
            | Self::Zstd
            | Self::Text
            | Self::Binary
            | Self::Empty
            | Self::Tombstone => &[],
        }
    }

    /// Returns what to know or to do where driftd cannot read it, or not by itself.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::JsonDocument | Self::JsonList | Self::JsonLines => "",
            Self::RegistryJson => "the prefix is passed over",
            Self::JsonOther => "a record is an object: nothing in it can be named by a path",
            Self::BrokenJson => "each is one rejection `invalid_json`",
            Self::Registry => {
                "or `protobuf`: the registry can tell which; name it in the section of that name"
            }
            Self::RegistryHeader => {
                "or `protobuf`: the registry can tell which; `__value_schema_id` is read with its \
                 `framing: confluent_header`, headers of Apicurio are not"
            }
            Self::InferenceMessage => "the header says whether it is a request or a response",
            Self::InferenceUnsaid => {
                "with `open_inference.message`: the bytes do not always tell a request from a \
                 response"
            }
            Self::InferenceBinary => "with paths such as `inputs[name=x].data[][0]`",
            Self::Glue => {
                "or `protobuf`: only Glue can tell which; name it in `avro.glue` or `protobuf.glue`"
            }
            Self::AvroSingleObject => {
                "with the schemas that have these fingerprints in `avro.schemas`"
            }
            Self::AvroFile | Self::Parquet => "`driftd replay` reads Parquet files, not messages",
            Self::ArrowStream | Self::ArrowFile => {
                "with paths that begin with `[]`: each row is a record"
            }
            Self::Gzip | Self::Zstd => {
                "have the producer set `compression.type` instead: Kafka then undoes it"
            }
            Self::Text => "such as CSV, or a line of a log",
            Self::Binary => {
                "such as Protobuf without a prefix, which `format: protobuf` reads by its type: \
                 only its producer can tell"
            }
            Self::Empty | Self::Tombstone => "each is one rejection `empty_payload`",
        }
    }

    /// Returns whether it is JSON that paths lead into.
    pub(super) fn has_documents(self) -> bool {
        use Encoding::{JsonDocument, JsonLines, JsonList, RegistryJson};
        matches!(self, JsonDocument | JsonList | JsonLines | RegistryJson)
    }

    /// Returns whether it is a body of the open inference protocol that is more than JSON.
    pub(super) fn is_inference(self) -> bool {
        use Encoding::{InferenceBinary, InferenceMessage, InferenceUnsaid};
        matches!(self, InferenceMessage | InferenceUnsaid | InferenceBinary)
    }
}

/// Tells the encoding of a message, and the JSON documents in it.
pub(super) fn look(message: &SampledMessage) -> (Encoding, Vec<Value>) {
    let none = |encoding| (encoding, Vec::new());
    let Some(payload) = message.payload.as_deref() else { return none(Encoding::Tombstone) };
    if payload.is_empty() {
        return none(Encoding::Empty);
    }
    if let Some(kind @ (InferenceMessage::Request | InferenceMessage::Response)) = said(message) {
        let document = inference::document(payload, kind);
        return (Encoding::InferenceMessage, document.into_iter().collect());
    }
    match by_magic(payload) {
        Some(Encoding::Registry) => {
            return behind_prefix(payload.get(REGISTRY_PREFIX..), Encoding::Registry);
        }
        Some(Encoding::Glue) => {
            let value = glue_value(payload, GLUE_VALUE_BYTES_MAX);
            return behind_prefix(value.as_deref(), Encoding::Glue);
        }
        Some(encoding) => return none(encoding),
        None => {}
    }
    if message.headers.iter().any(|(key, _)| REGISTRY_HEADERS.contains(&key.as_str())) {
        return none(Encoding::RegistryHeader);
    }
    let found = match std::str::from_utf8(payload) {
        Ok(text) => of_text(&quote_specials(text)),
        Err(_) => none(Encoding::Binary),
    };
    match found {
        (Encoding::Text | Encoding::BrokenJson | Encoding::Binary, _) => {
            of_inference(payload).unwrap_or(found)
        }
        _ => found,
    }
}

/// Returns what the header of a message says it is.
pub(super) fn said(message: &SampledMessage) -> Option<InferenceMessage> {
    InferenceMessage::of_header(message.header(INFERENCE_HEADER)?.as_bytes())
}

/// Looks whether bytes that are no JSON are a body of the open inference protocol.
fn of_inference(payload: &[u8]) -> Option<(Encoding, Vec<Value>)> {
    if is_inference_binary(payload) {
        let document = inference::document(payload, InferenceMessage::Json);
        return Some((Encoding::InferenceBinary, document.into_iter().collect()));
    }
    let (_, document) = inference::kinds(payload).into_iter().next()?;
    Some((Encoding::InferenceUnsaid, vec![document]))
}

/// Whether bytes that are no JSON begin with some that says how many bytes its tensors have.
fn is_inference_binary(payload: &[u8]) -> bool {
    const SIZE: &[u8] = b"\"binary_data_size\"";
    let has_size = || payload.windows(SIZE.len()).any(|it| it == SIZE);
    payload.starts_with(b"{") && has_size()
}

/// Looks at what follows a registry's prefix: of three languages only JSON can be told.
fn behind_prefix(value: Option<&[u8]>, prefix: Encoding) -> (Encoding, Vec<Value>) {
    let text = value.map(std::str::from_utf8);
    let Some(Ok(text)) = text else { return (prefix, Vec::new()) };
    match of_text(&quote_specials(text)) {
        (Encoding::JsonDocument | Encoding::JsonList, documents) => {
            (Encoding::RegistryJson, documents)
        }
        _ => (prefix, Vec::new()),
    }
}

fn by_magic(payload: &[u8]) -> Option<Encoding> {
    let is = |magic: &[u8]| payload.starts_with(magic);
    match payload {
        _ if is(&[0xC3, 0x01]) && 10 <= payload.len() => Some(Encoding::AvroSingleObject),
        _ if is(b"Obj\x01") => Some(Encoding::AvroFile),
        _ if is(&[0xFF; 4]) => Some(Encoding::ArrowStream),
        _ if is(b"ARROW1") => Some(Encoding::ArrowFile),
        _ if is(b"PAR1") => Some(Encoding::Parquet),
        _ if is(&[0x1F, 0x8B]) => Some(Encoding::Gzip),
        _ if is(&[0x28, 0xB5, 0x2F, 0xFD]) => Some(Encoding::Zstd),
        [0, ..] if REGISTRY_PREFIX <= payload.len() => Some(Encoding::Registry),
        [3, 0 | 5, ..] if GLUE_PREFIX <= payload.len() => Some(Encoding::Glue),
        _ => None,
    }
}

fn of_text(text: &str) -> (Encoding, Vec<Value>) {
    match serde_json::from_str::<Value>(text) {
        Ok(document @ Value::Object(_)) => (Encoding::JsonDocument, vec![document]),
        Ok(Value::Array(items)) if items.iter().all(Value::is_object) => {
            (Encoding::JsonList, vec![Value::Array(items)])
        }
        Ok(_) => (Encoding::JsonOther, Vec::new()),
        Err(_) => match lines(text) {
            Some(documents) => (Encoding::JsonLines, documents),
            None if text.trim_start().starts_with(['{', '[']) => (Encoding::BrokenJson, Vec::new()),
            None => (Encoding::Text, Vec::new()),
        },
    }
}

/// Reads one object a line, if every line that is not blank is one.
fn lines(text: &str) -> Option<Vec<Value>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let documents: Option<Vec<Value>> =
        lines.map(|line| serde_json::from_str(line).ok().filter(Value::is_object)).collect();
    documents.filter(|it| !it.is_empty())
}

/// Says which schema the prefix of a registry names.
fn prefix(payload: &[u8]) -> String {
    let bytes = payload.len();
    let number = |from: usize, to: usize| {
        let id = payload.get(from..to).unwrap_or_default();
        id.iter().fold(0, |id, byte| (id << 8) | u128::from(*byte))
    };
    if by_magic(payload) == Some(Encoding::Glue) {
        let version = Uuid(number(2, GLUE_PREFIX));
        return format!("{bytes} bytes, first 3, then schema version {version}");
    }
    let id = number(1, REGISTRY_PREFIX);
    format!("{bytes} bytes, first 0, then schema id {id}")
}

/// Says in one line by what an encoding was told.
pub(super) fn evidence(encoding: Encoding, message: &SampledMessage, show: Show) -> String {
    let payload = message.payload.as_deref().unwrap_or_default();
    let bytes = payload.len();
    match encoding {
        Encoding::Registry | Encoding::RegistryJson | Encoding::Glue => prefix(payload),
        Encoding::RegistryHeader => {
            let found = REGISTRY_HEADERS
                .iter()
                .find(|it| message.headers.iter().any(|(key, _)| key == *it));
            format!("{bytes} bytes, header `{}`", found.unwrap_or(&""))
        }
        Encoding::Binary | Encoding::AvroSingleObject if show == Show::Shapes => {
            format!("{bytes} bytes")
        }
        Encoding::Binary | Encoding::AvroSingleObject => {
            let first = payload.iter().take(SHOWN_BYTES).fold(String::new(), |mut text, byte| {
                // Writing to a text cannot fail.
                _ = write!(text, " {byte:02x}");
                text
            });
            format!("{bytes} bytes, first{first}")
        }
        Encoding::JsonLines => {
            let lines = payload.split(|byte| *byte == b'\n').count();
            format!("{bytes} bytes in {lines} lines")
        }
        Encoding::JsonDocument
        | Encoding::JsonList
        | Encoding::JsonOther
        | Encoding::BrokenJson
        | Encoding::AvroFile
        | Encoding::ArrowStream
        | Encoding::ArrowFile
        | Encoding::InferenceMessage
        | Encoding::InferenceUnsaid
        | Encoding::InferenceBinary
        | Encoding::Parquet
        | Encoding::Gzip
        | Encoding::Zstd
        | Encoding::Text
        | Encoding::Empty
        | Encoding::Tombstone => format!("{bytes} bytes"),
    }
}
