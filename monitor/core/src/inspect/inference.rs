//! Bodies of the Open Inference Protocol as documents, whatever they are written in.
//!
//! Before: the payload of a message that [`super::encoding`] or [`super::proposal`] takes for one.
//! After: [`super::tree`] looks into the document, in which values of tensors are lists of rows, as
//! a decoder reads them.

use driftd_ingest::{InferenceMessage, inference_document, quote_specials};
use serde_json::Value;

/// The lists of tensors.
const LISTS: [&str; 2] = ["inputs", "outputs"];

/// Ends of names of topics with responses, as Seldon Core 2 has them.
const RESPONSES: [&str; 2] = ["outputs", "responses"];

/// Returns the document of a body of one kind.
pub(super) fn document(payload: &[u8], message: InferenceMessage) -> Option<Value> {
    let document = inference_document(payload, message)?;
    serde_json::from_str(&quote_specials(&document)).ok()
}

/// Returns what bytes of Protobuf may be that no header tells: both where they have values of
/// Protobuf's types, and nothing where they have no tensors with values.
pub(super) fn kinds(payload: &[u8]) -> Vec<(InferenceMessage, Value)> {
    let kinds = [InferenceMessage::Request, InferenceMessage::Response].into_iter();
    let kinds = kinds.filter_map(|kind| Some((kind, document(payload, kind)?)));
    kinds.filter(|(_, document)| is_body(document, has_values)).collect()
}

/// Whether a document of JSON is a body of the protocol.
pub(super) fn is_document(document: &Value) -> bool {
    is_body(document, |tensor| tensor.get("shape").is_some())
}

/// Tells requests from responses by the bytes of all messages, or else by the name of the topic.
pub(super) fn told<'a>(payloads: impl Iterator<Item = &'a [u8]>, topic: &str) -> InferenceMessage {
    let (mut requests, mut responses) = (0_u64, 0_u64);
    for payload in payloads {
        match &kinds(payload)[..] {
            [(InferenceMessage::Request, _)] => requests += 1,
            [(InferenceMessage::Response, _)] => responses += 1,
            // Either, or none.
            _ => {}
        }
    }
    let topic = topic.to_ascii_lowercase();
    let sounds_answered = RESPONSES.iter().any(|it| topic.ends_with(it));
    let is_response = if requests == responses { sounds_answered } else { requests < responses };
    if is_response { InferenceMessage::Response } else { InferenceMessage::Request }
}

fn is_body(document: &Value, is_tensor: impl Fn(&Value) -> bool) -> bool {
    let mut lists = LISTS.iter().filter_map(|list| document.get(list)?.as_array());
    lists.any(|list| !list.is_empty() && list.iter().all(|it| has_type(it) && is_tensor(it)))
}

fn has_type(tensor: &Value) -> bool {
    tensor.get("datatype").is_some()
}

fn has_values(tensor: &Value) -> bool {
    tensor.get("data").is_some_and(Value::is_array)
}

#[cfg(test)]
mod tests {
    use driftd_fixtures::messages;
    use driftd_ingest::InferenceMessage::{Request, Response};

    use super::*;

    /// The message with values of Protobuf's types is either.
    #[test]
    fn messages_of_protobuf_are_told_by_their_raw_values_and_else_by_the_topic() {
        let found = |payload| kinds(payload).into_iter().map(|it| it.0).collect::<Vec<_>>();
        assert_eq!(found(messages::TRITON_REQUEST), [Request]);
        assert_eq!(found(messages::TRITON_RESPONSE), [Request, Response]);
        for payload in [&b""[..], b"\x0a\x01m", b"hello", messages::TRITON_BINARY] {
            assert_eq!(found(payload), [], "{payload:?}");
        }
        let (raw, typed) = (messages::TRITON_REQUEST, messages::TRITON_RESPONSE);
        for (payloads, topic, expected) in [
            (&[typed, typed, raw][..], "seldon.ns.model.iris.outputs", Request),
            (&[typed], "seldon.ns.model.iris.outputs", Response),
            (&[typed], "seldon.ns.model.iris.inputs", Request),
        ] {
            assert_eq!(told(payloads.iter().copied(), topic), expected, "{topic}");
        }
    }
}
