//! What the messages of a topic are written in, and where their schemas come from, as checked.
//!
//! Before: [`super::validate`]. After: the edge reads the files, or asks the registry.

use std::path::PathBuf;
use std::sync::Arc;

use driftd_ingest::{
    ArrowDecoder, AvroDecoder, AvroFraming, Decode, DecodeLimits, HalfForm, JsonDecoder,
    ProtobufDecoder, ProtobufFraming, RegistryFraming, SCHEMA_HEADER,
};

use super::SourceConfig;
use super::registry::{GlueConfig, RegistryConfig};

/// More than what stands around the two halves of a joined document.
const JOIN_BYTES: usize = 64;

/// What a topic's messages are written in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceFormat {
    /// JSON, framed as the schema says.
    Json,
    /// Avro, with schemas from there.
    Avro(AvroConfig),
    /// Protobuf, with types from there.
    Protobuf(ProtobufConfig),
    /// Streams and files of Arrow.
    Arrow,
}

/// Where the schemas of writers come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AvroConfig {
    /// All messages have this one, and do not name it. The file's path is as written.
    Schema(PathBuf),
    /// Messages name one of these by its fingerprint.
    Schemas(Vec<PathBuf>),
    /// Messages name it by its number in the registry.
    Registry(RegistryConfig),
    /// Messages name it by its identifier in this registry.
    Glue(GlueConfig),
}

impl AvroConfig {
    /// Returns how messages name their schema.
    pub fn framing(&self) -> AvroFraming {
        match self {
            Self::Schema(_) => AvroFraming::Bare,
            Self::Schemas(_) => AvroFraming::SingleObject,
            Self::Registry(registry) => AvroFraming::Registry(registry.framing),
            Self::Glue(_) => AvroFraming::Registry(RegistryFraming::Glue),
        }
    }
}

/// Where the types of messages come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtobufConfig {
    /// All messages are of one type, and do not name it.
    Type {
        /// What defines it.
        files: ProtobufFiles,
        /// Its full name.
        message: String,
    },
    /// Messages name a schema by its number in the registry, and one of its types by its place.
    Registry(RegistryConfig),
    /// Messages name a schema by its identifier in this registry, and one of its types by its
    /// number.
    Glue(GlueConfig),
}

/// What defines a type of messages. Paths are as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProtobufFiles {
    /// A `FileDescriptorSet`.
    Descriptors(PathBuf),
    /// Text, and folders of what it imports.
    Proto {
        /// The file.
        file: PathBuf,
        /// The folders, before the file's own.
        include: Vec<PathBuf>,
    },
}

impl ProtobufConfig {
    /// Returns how messages name their type.
    pub fn framing(&self) -> ProtobufFraming {
        match self {
            Self::Type { .. } => ProtobufFraming::Bare,
            Self::Registry(registry) => ProtobufFraming::Registry(registry.framing),
            Self::Glue(_) => ProtobufFraming::Registry(RegistryFraming::Glue),
        }
    }
}

impl SourceConfig {
    /// Returns the bounds of decoding: where two messages make a document, that of both.
    pub fn limits(&self) -> DecodeLimits {
        let message = self.message_limits();
        let bytes = message.payload_bytes_max;
        let half = self.join.as_ref().map(|join| join.half.form.text_bytes_max(bytes));
        let joined = half.map(|half| 2 * half + JOIN_BYTES);
        DecodeLimits { payload_bytes_max: joined.unwrap_or(bytes), ..message }
    }

    /// Returns how many bytes of text a message may bring, where that may be more than its payload
    /// has; else 0.
    pub fn text_bytes_max(&self) -> usize {
        let limits = self.limits();
        match self.join.as_ref().map(|join| join.half.form) {
            Some(HalfForm::InferenceJson | HalfForm::InferenceProtobuf) => limits.payload_bytes_max,
            Some(HalfForm::Json) | None => limits.text_bytes_max(&self.schema),
        }
    }

    /// Returns the header that names the schema of a message, where that is read.
    pub(super) fn schema_header(format: &SourceFormat) -> Option<&'static str> {
        let framing = match format {
            SourceFormat::Avro(AvroConfig::Registry(it))
            | SourceFormat::Protobuf(ProtobufConfig::Registry(it)) => it.framing,
            SourceFormat::Avro(_)
            | SourceFormat::Protobuf(_)
            | SourceFormat::Json
            | SourceFormat::Arrow => return None,
        };
        match framing {
            RegistryFraming::ConfluentHeader => Some(SCHEMA_HEADER),
            RegistryFraming::Confluent
            | RegistryFraming::Apicurio
            | RegistryFraming::Apicurio3
            | RegistryFraming::Glue => None,
        }
    }

    /// Returns whether values of messages may be compressed, as serializers of AWS Glue do it, and
    /// are inflated while they are read.
    pub fn may_be_compressed(&self) -> bool {
        match &self.format {
            SourceFormat::Json => true,
            SourceFormat::Avro(avro) => match avro {
                AvroConfig::Glue(_) => true,
                AvroConfig::Schema(_) | AvroConfig::Schemas(_) | AvroConfig::Registry(_) => false,
            },
            SourceFormat::Protobuf(protobuf) => match protobuf {
                ProtobufConfig::Glue(_) => true,
                ProtobufConfig::Type { .. } | ProtobufConfig::Registry(_) => false,
            },
            SourceFormat::Arrow => false,
        }
    }

    /// Returns the bounds of one message.
    pub(crate) fn message_limits(&self) -> DecodeLimits {
        DecodeLimits {
            payload_bytes_max: self.payload_bytes_max,
            rows_max: self.rows_max,
            cells_max: DecodeLimits::CELLS_MAX,
        }
    }

    /// Returns a decoder for the documents of a partition: of messages, where each is one.
    pub fn decoder(&self) -> Box<dyn Decode> {
        let (schema, limits) = (Arc::clone(&self.schema), self.limits());
        match &self.format {
            SourceFormat::Json => Box::new(JsonDecoder::new(schema, limits)),
            SourceFormat::Avro(avro) => Box::new(AvroDecoder::new(schema, avro.framing(), limits)),
            SourceFormat::Protobuf(protobuf) => {
                Box::new(ProtobufDecoder::new(schema, protobuf.framing(), limits))
            }
            SourceFormat::Arrow => Box::new(ArrowDecoder::new(schema, limits)),
        }
    }
}
