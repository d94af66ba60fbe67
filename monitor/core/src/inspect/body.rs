//! Which protocols' bodies the documents hold, by the keys that those give them.
//!
//! Before: a JSON document, and the headers of its message. After: the report names each with how
//! often it is there. What is proposed does not depend on it, but for CloudEvents.

use serde_json::Value;

use crate::sample::SampledMessage;

/// Deepest object that is looked at for a body.
const DEPTH_MAX: usize = 4;

/// A body that is known by its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Body {
    /// `CloudEvents` 1.0 with the event around the data.
    StructuredEvent,
    /// A list of them.
    BatchedEvents,
    /// `CloudEvents` 1.0 with attributes in headers that begin with `ce_`.
    BinaryEvent,
    /// Data of a `CloudEvent` as Base64.
    EncodedData,
    /// `instances`.
    Instances,
    /// `predictions`.
    Predictions,
    /// `dataframe_split`.
    Split,
    /// `dataframe_records`.
    Records,
    /// `inputs` of the open inference protocol.
    TensorInputs,
    /// `outputs` of the open inference protocol.
    TensorOutputs,
    /// `inputs`, with one list a column or one element a row.
    Inputs,
    /// `outputs`, likewise.
    Outputs,
    /// `names` beside `ndarray`.
    Seldon,
    /// `tensor` with `shape` and `values`.
    SeldonTensor,
    /// `choices` beside `usage`.
    Chat,
    /// A row before and after a change.
    Change,
}

impl Body {
    /// Returns what to call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StructuredEvent => "CloudEvents, structured",
            Self::BatchedEvents => "CloudEvents, batched",
            Self::BinaryEvent => {
                "CloudEvents, binary: attributes are headers, such as `$headers.ce_time`"
            }
            Self::EncodedData => {
                "`data_base64` of a CloudEvent: name it in `embedded` as `base64_json`"
            }
            Self::Instances => {
                "`instances`: request of the V1 protocol (KServe, TensorFlow, MLflow)"
            }
            Self::Predictions => "`predictions`: response of the V1 protocol (KServe, MLflow)",
            Self::Split => "`dataframe_split`: request of MLflow, columns by name",
            Self::Records => "`dataframe_records`: request of MLflow, one object a record",
            Self::TensorInputs => {
                "`inputs` with tensors: request of the V2 protocol (KServe, Triton)"
            }
            Self::TensorOutputs => {
                "`outputs` with tensors: response of the V2 protocol (KServe, Triton)"
            }
            Self::Inputs => "`inputs`: request of TensorFlow or MLflow, by rows or columns",
            Self::Outputs => "`outputs`: response of TensorFlow",
            Self::Seldon => "`names` and `ndarray`: Seldon Core 1",
            Self::SeldonTensor => "`tensor` with `shape` and `values`: Seldon Core 1",
            Self::Chat => "`choices` and `usage`: a completion of OpenAI's protocol",
            Self::Change => "`before` and `after`: a change of a table (Debezium)",
        }
    }
}

/// A body and the path of what tells it.
pub(super) type Seen = (Body, String);

/// Finds the bodies of a document.
pub(super) fn of_document(document: &Value) -> Vec<Seen> {
    let mut seen = Vec::new();
    let first = document.as_array().and_then(|it| it.first());
    search(first.unwrap_or(document), "", 0, &mut seen);
    let of_batch = (Body::StructuredEvent, String::new());
    if let Some(event) = seen.iter_mut().find(|it| first.is_some() && **it == of_batch) {
        event.0 = Body::BatchedEvents;
    }
    seen
}

/// Returns whether the message is an event with its attributes in headers.
pub(super) fn is_binary_event(message: &SampledMessage) -> bool {
    message.header("ce_specversion").is_some()
}

/// Attributes that every `CloudEvent` has.
pub(super) const EVENT: [&str; 4] = ["specversion", "id", "source", "type"];

fn is_event(document: &Value) -> bool {
    EVENT.iter().all(|key| document.get(key).is_some())
}

fn search(value: &Value, path: &str, depth: usize, seen: &mut Vec<Seen>) {
    let Some(entries) = value.as_object() else { return };
    if is_event(value) {
        seen.push((Body::StructuredEvent, path.to_owned()));
    }
    let has_list = |key: &str| entries.get(key).is_some_and(Value::is_array);
    let has = |key: &str| entries.contains_key(key);
    let tensors = |key: &str| {
        let first = entries.get(key).and_then(Value::as_array).and_then(|it| it.first());
        first.is_some_and(|it| it.get("datatype").is_some() && it.get("shape").is_some())
    };
    let is_tensor = |key: &str| {
        let inside = entries.get(key);
        inside.is_some_and(|it| it.get("shape").is_some() && it.get("values").is_some())
    };
    let columns = |key: &str| {
        let inside = entries.get(key).and_then(Value::as_object);
        inside.is_some_and(|it| it.values().any(Value::is_array))
    };
    let found = [
        (Body::EncodedData, "data_base64", is_event(value) && has("data_base64")),
        (Body::Instances, "instances", has_list("instances") || columns("instances")),
        (Body::Predictions, "predictions", has_list("predictions")),
        (Body::Split, "dataframe_split", has("dataframe_split")),
        (Body::Records, "dataframe_records", has_list("dataframe_records")),
        (Body::TensorInputs, "inputs", tensors("inputs")),
        (Body::TensorOutputs, "outputs", tensors("outputs")),
        (Body::Inputs, "inputs", !tensors("inputs") && (has_list("inputs") || columns("inputs"))),
        (
            Body::Outputs,
            "outputs",
            !tensors("outputs") && (has_list("outputs") || columns("outputs")),
        ),
        (Body::Seldon, "ndarray", has_list("ndarray")),
        (Body::SeldonTensor, "tensor", is_tensor("tensor")),
        (Body::Chat, "usage", has_list("choices") && has("usage")),
        (Body::Change, "after", has("before") && has("after") && has("op")),
    ];
    let at = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for (body, key, is_there) in found {
        if is_there {
            seen.push((body, at(key)));
        }
    }
    if depth < DEPTH_MAX {
        for (key, inside) in entries {
            search(inside, &at(key), depth + 1, seen);
        }
    }
}
