//! The sections `sources[].avro`, `sources[].protobuf` and `sources[].open_inference` of the
//! configuration file as written.
//!
//! Beside [`super::source`]. After: [`super::super::validate`] sees that one origin is named.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the schemas of a topic's Avro messages come from: one of `schema`, `schemas`, `registry`
/// and `glue`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Avro")]
pub(in crate::config) struct RawAvro {
    /// File of the one schema. Each message is a value of it, and nothing else.
    pub(in crate::config) schema: Option<String>,
    /// Files of the schemas of messages in single object encoding, which begin with a schema's
    /// fingerprint.
    #[schemars(length(min = 1, max = 64))]
    pub(in crate::config) schemas: Option<Vec<String>>,
    /// Registry of the schemas of messages that begin with a schema's number.
    pub(in crate::config) registry: Option<RawRegistry>,
    /// Registry of AWS Glue, of messages that begin with the header of its serializers.
    pub(in crate::config) glue: Option<RawGlue>,
}

/// Where the types of a topic's Protobuf messages come from: one of `proto` and `descriptors`, with
/// the name of the `message`, or a `registry`, or `glue`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Protobuf")]
pub(in crate::config) struct RawProtobuf {
    /// File that defines the type (`.proto`). What it imports of `google/protobuf` is there
    /// already.
    pub(in crate::config) proto: Option<String>,
    /// Folders of the files that `proto` and those it imports import. The folder of `proto` is
    /// the last of them.
    #[schemars(length(min = 1, max = 64))]
    pub(in crate::config) include: Option<Vec<String>>,
    /// File of compiled types: what `protoc --include_imports --descriptor_set_out` writes.
    pub(in crate::config) descriptors: Option<String>,
    /// Full name of the type that each message is of, such as `shop.v1.Prediction`. Not with
    /// `registry` or `glue`: messages of one say it.
    pub(in crate::config) message: Option<String>,
    /// Registry of the schemas of messages that begin with a schema's number, and the place or name
    /// of the type in it.
    pub(in crate::config) registry: Option<RawRegistry>,
    /// Registry of AWS Glue, of messages that begin with the header of its serializers, and the
    /// number of the type in the schema.
    pub(in crate::config) glue: Option<RawGlue>,
}

/// What bodies of the Open Inference Protocol are.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "OpenInference")]
pub(in crate::config) struct RawOpenInference {
    /// What a message is that has no header `seldon-infer-type`, by which Seldon Core 2 says it:
    /// the bytes do not tell a request of Protobuf from a response. With `join` that header is not
    /// looked at.
    #[serde(default)]
    pub(in crate::config) message: RawInferenceMessage,
}

/// What a message of the Open Inference Protocol is.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(in crate::config) enum RawInferenceMessage {
    /// JSON, perhaps with raw values of tensors behind it.
    #[default]
    Json,
    /// `ModelInferRequest`, of Protobuf.
    Request,
    /// `ModelInferResponse`, of Protobuf.
    Response,
    /// With `join`: a request is a `ModelInferRequest`, a response a `ModelInferResponse`.
    Protobuf,
}

/// A schema registry with the interface of Confluent's.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Registry")]
pub(in crate::config) struct RawRegistry {
    /// Address, such as `https://registry:8081`; that of Apicurio ends in `/apis/ccompat/v7`.
    pub(in crate::config) url: String,
    /// How a message says the number of its schema.
    #[serde(default)]
    pub(in crate::config) framing: RawRegistryFraming,
    /// Who asks. With `password`.
    pub(in crate::config) username: Option<String>,
    /// Password of `username`, best as `${VARIABLE}`.
    pub(in crate::config) password: Option<Secret>,
    /// Bearer token, best as `${VARIABLE}`, in place of `username` and `password`.
    pub(in crate::config) token: Option<Secret>,
    /// File of the certificates (PEM) that the registry's has to be signed by. Left out: those that
    /// the system trusts.
    pub(in crate::config) ca_file: Option<String>,
}

/// How a message says the number of its schema.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(in crate::config) enum RawRegistryFraming {
    /// A byte of zero and four bytes: serializers of Confluent, and of others unless told
    /// otherwise.
    #[default]
    Confluent,
    /// The header `__value_schema_id`, with the schema's identifier, and of Protobuf the place of
    /// the type: serializers of Confluent that are told so. A message without the header is read as
    /// with `confluent`.
    ConfluentHeader,
    /// A byte of zero and eight bytes, and of Protobuf the name of the type: serializers of
    /// Apicurio 2, unless told otherwise.
    Apicurio,
    /// The same with four bytes: serializers of Apicurio 3, unless told otherwise. Of Avro it is
    /// what `confluent` is.
    Apicurio3,
}

/// The schema registry of AWS Glue, which is asked by `GetSchemaVersion`: `glue:GetSchemaVersion`
/// is all that is needed of rights. Messages of its serializers begin with the identifier of a
/// schema version, and may be compressed with zlib.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Glue")]
pub(in crate::config) struct RawGlue {
    /// Region of the registry, such as `eu-central-1`.
    pub(in crate::config) region: String,
    /// Address, where it is another than the region's own, such as that of an endpoint in a VPC.
    #[schemars(extend("x-default" = "https://glue.REGION.amazonaws.com"))]
    pub(in crate::config) endpoint: Option<String>,
    /// Key that requests are signed with, best as `${AWS_ACCESS_KEY_ID}`.
    pub(in crate::config) access_key_id: String,
    /// Secret of that key, best as `${AWS_SECRET_ACCESS_KEY}`.
    pub(in crate::config) secret_access_key: Secret,
    /// Token of a key that is lent, best as `${AWS_SESSION_TOKEN:-}`: an empty one is none. When it
    /// has expired, schemas that are not known yet are waited for until a restart with a new one.
    pub(in crate::config) session_token: Option<Secret>,
    /// File of the certificates (PEM) that the registry's has to be signed by. Left out: those that
    /// the system trusts.
    pub(in crate::config) ca_file: Option<String>,
}

/// A text that is never shown.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub(in crate::config) struct Secret(pub(in crate::config) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}
