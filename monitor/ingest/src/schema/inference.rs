//! Sources whose messages are bodies of the Open Inference Protocol (V2), whatever they are written
//! in.
//!
//! Beside [`super`]. After: a decoder writes them as JSON with values of tensors as lists of rows,
//! by which all paths read them.

use super::{SchemaError, SourceSchema};

/// The header by which Seldon Core 2 says what a message is.
pub const INFERENCE_HEADER: &str = "seldon-infer-type";

/// What a message is. Bytes do not tell a request of Protobuf from a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InferenceMessage {
    /// JSON, perhaps with raw values of tensors behind it.
    Json,
    /// `ModelInferRequest`, of Protobuf.
    Request,
    /// `ModelInferResponse`, of Protobuf.
    Response,
}

/// What headers say a message is, in lower case.
const KINDS: [(&str, InferenceMessage); 4] = [
    ("json/infermodelrequest", InferenceMessage::Json),
    ("json/infermodelresponse", InferenceMessage::Json),
    ("proto/infermodelrequest", InferenceMessage::Request),
    ("proto/infermodelresponse", InferenceMessage::Response),
];

impl InferenceMessage {
    /// Returns what a header says a message is, if it says that.
    pub fn of_header(header: &[u8]) -> Option<Self> {
        let found = KINDS.iter().find(|(kind, _)| header.eq_ignore_ascii_case(kind.as_bytes()));
        found.map(|(_, kind)| *kind)
    }
}

impl SourceSchema {
    /// Has messages read as bodies of the protocol, which are `message` where no header says it.
    pub fn with_inference(mut self, message: InferenceMessage) -> Result<Self, SchemaError> {
        for path in self.read_paths() {
            if let Some(tensor) = path.inference_tensor(&[])
                && !path.is_value_of(&tensor, None)
            {
                let (path, tensor) = (path.to_string(), tensor.to_string());
                return Err(SchemaError::NoTensorValue { path, tensor });
            }
        }
        self.inference = Some(message);
        Ok(self.with_header(INFERENCE_HEADER))
    }
}
