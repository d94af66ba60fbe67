//! Messages of every shape: each is proposed so that all of it decodes.

use driftd_fixtures::messages;
use serde_json::json;

use super::*;
use crate::config::{Config, Role, load};

/// What is expected of a proposal. Features and predictions are a path and a type in each line.
struct Expected<'a> {
    event_time: &'a str,
    columns: Option<&'a str>,
    features: &'a str,
    predictions: &'a str,
    records: u64,
}

#[track_caller]
fn check(messages: &[SampledMessage], expected: &Expected<'_>) {
    let proposal = proposal(messages);
    let yaml = &proposal.yaml;
    let config = load(yaml, &|_| None).unwrap();
    let schema = &config.sources[0].schema;
    assert_eq!(schema.event_time.as_str(), expected.event_time, "{yaml}");
    let columns = schema.columns.as_ref().map(driftd_ingest::FieldPath::as_str);
    assert_eq!(columns, expected.columns, "{yaml}");
    assert_eq!(watched(&config, 0, Role::Feature), lines(expected.features), "{yaml}");
    assert_eq!(watched(&config, 0, Role::Prediction), lines(expected.predictions), "{yaml}");
    let trial = &proposal.trial;
    assert_eq!(trial.accepted, messages.len() as u64, "{:?} {yaml}", trial.refused);
    assert_eq!(trial.records, expected.records, "{yaml}");
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

fn watched(config: &Config, model: usize, role: Role) -> Vec<String> {
    let fields = &config.sources[0].schema.models[model].features;
    let features = config.models[model].features.iter().zip(fields);
    let features = features.filter(|(feature, _)| feature.role == role);
    features.map(|(_, field)| format!("{} {:?}", field.path, field.kind).to_lowercase()).collect()
}

#[track_caller]
fn check_body(
    message: &str,
    columns: Option<&str>,
    features: &str,
    predictions: &str,
    records: u64,
) {
    let expected = Expected { event_time: "time", columns, features, predictions, records };
    check(&of_texts(&[message]), &expected);
}

#[test]
fn bodies_of_kserve_become_records() {
    let features = "data.instances[][0] float64
        data.instances[][1] float64
        data.instances[][2] float64
        data.instances[][3] float64";
    check_body(messages::KSERVE_REQUEST, None, features, "", 2);
    check_body(messages::KSERVE_RESPONSE, None, "data.predictions[] float64", "", 2);
}

#[test]
fn bodies_of_mlflow_become_records() {
    let prediction = "response.predictions[] float64";
    let features = "request.dataframe_records[].feature1 float64
        request.dataframe_records[].feature2 float64
        request.dataframe_records[].kind categorical";
    check_body(messages::MLFLOW_RECORDS, None, features, prediction, 2);
    let features = "request.inputs[][0] float64
        request.inputs[][1] float64";
    check_body(messages::MLFLOW_INPUTS, None, features, prediction, 3);
    let columns = Some("request.dataframe_split.columns");
    let features = "request.dataframe_split.data[].feature1 float64
        request.dataframe_split.data[].feature2 float64
        request.dataframe_split.data[].feature3 float64
        request.dataframe_split.data[].feature4 float64";
    check_body(messages::MLFLOW_SPLIT, columns, features, prediction, 2);
}

#[test]
fn bodies_of_tensorflow_and_seldon_become_records() {
    let features = "request.inputs.tag[] categorical
        request.inputs.signal[][0] float64
        request.inputs.signal[][1] float64
        request.inputs.signal[][2] float64
        request.inputs.signal[][3] float64
        request.inputs.signal[][4] float64";
    let prediction = "response.outputs[] float64";
    check_body(messages::TENSORFLOW_COLUMNS, None, features, prediction, 2);
    let features = "request.data.ndarray[].age float64
        request.data.ndarray[].hours float64";
    let predictions = "response.data.ndarray[][0] float64
        response.data.ndarray[][1] float64";
    check_body(messages::SELDON_NDARRAY, Some("request.data.names"), features, predictions, 2);
}

#[test]
fn tensors_with_a_column_each_are_read_by_their_place() {
    let tensor = |name: &str, data: Value| json!({"name": name, "shape": [3, 1], "datatype": "FP32", "data": data});
    let message = json!({
        "time": 1_700_000_000.5,
        "request": {"inputs": [
            tensor("age", json!([20, 30, 40])),
            tensor("place", json!([[1, 2], [3, 4], [5, 6]])),
            {"name": "flat", "shape": [3, 2], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]},
        ]},
        "response": {"outputs": [tensor("score", json!([0.1, 0.2, 0.3]))]},
    });
    let expected = Expected {
        event_time: "time",
        columns: None,
        features: "request.inputs[0].data[] float64
            request.inputs[1].data[][0] float64
            request.inputs[1].data[][1] float64
            request.inputs[2].data[][0] float64
            request.inputs[2].data[][1] float64",
        predictions: "response.outputs[0].data[] float64",
        records: 3,
    };
    let messages = of_documents(&[message]);
    check(&messages, &expected);
    let yaml = proposal(&messages).yaml;
    for name in ["name: \"age\"", "name: \"place_1\"", "name: \"flat_1\"", "name: \"score\""] {
        assert!(yaml.contains(name), "{name}: {yaml}");
    }
    assert_eq!(tensors(&yaml), ["request.inputs[2].data"]);
}

/// Returns the tensors that a configuration names.
fn tensors(yaml: &str) -> Vec<String> {
    let config = load(yaml, &|_| None).unwrap();
    config.sources[0].schema.tensors.iter().map(ToString::to_string).collect()
}

#[test]
fn tensors_in_one_list_are_records_by_their_shape() {
    let features = "data.inputs[0].data[][0] float64
        data.inputs[0].data[][1] float64
        data.inputs[0].data[][2] float64
        data.inputs[0].data[][3] float64";
    check_body(messages::KSERVE_TENSOR, None, features, "", 2);
    let features = "request.data.tensor.values[][0] float64
        request.data.tensor.values[][1] float64";
    let predictions = "response.data.tensor.values[][0] float64
        response.data.tensor.values[][1] float64";
    check_body(messages::SELDON_TENSOR, None, features, predictions, 2);
    let found = inspect(&of_texts(&[messages::SELDON_TENSOR]), &request(Show::Values));
    let bodies: Vec<_> = found.bodies.iter().map(|it| (it.body, it.path.as_str())).collect();
    let tensor = Body::SeldonTensor;
    assert_eq!(bodies, [(tensor, "request.data.tensor"), (tensor, "response.data.tensor")]);
    let named = ["request.data.tensor.values", "response.data.tensor.values"];
    assert_eq!(tensors(&found.proposal.unwrap().yaml), named);
}

#[test]
fn tensors_whose_values_are_not_watched_are_not_named() {
    let tensor = |width: usize| json!({"shape": [1, width], "values": vec![0.5; width]});
    let document = json!({"time": 1_700_000_000, "rows": [{"x": 0.5}], "wide": tensor(100)});
    let messages = of_documents(&[document]);
    let yaml = proposal(&messages).yaml;
    assert!(yaml.contains("wide.values[]: a list of 100 values inside of a record"), "{yaml}");
    assert_eq!(tensors(&yaml), Vec::<String>::new());
}

#[test]
fn a_message_may_be_the_list_of_its_records() {
    let record =
        |at: i64| json!({"created_at": 1_700_000_000_000_i64 + at, "age": at, "score": 0.5});
    let messages = of_documents(&[json!([record(1), record(2)]), json!([record(3)])]);
    let expected = Expected {
        event_time: "[].created_at",
        columns: None,
        features: "[].age float64",
        predictions: "[].score float64",
        records: 3,
    };
    check(&messages, &expected);
    assert!(proposal(&messages).yaml.contains("format: unix_millis"));
}

#[test]
fn a_message_may_have_one_record_a_line() {
    let line = r#"{"ts": 1700000000, "x": 1.5}"#;
    let messages = of_texts(&[&format!("{line}\n{line}\n"), line]);
    let expected = Expected {
        event_time: "ts",
        columns: None,
        features: "x float64",
        predictions: "",
        records: 3,
    };
    check(&messages, &expected);
    assert!(proposal(&messages).yaml.contains("format: ndjson"));
}

#[test]
fn times_of_records_are_read_where_records_are_counted() {
    let document = |rows: Value| json!({"rows": rows});
    let row = |x: f64| json!({"time": "2026-11-24T10:15:00Z", "x": x});
    let messages = of_documents(&[document(json!([row(1.5), row(2.5)])), document(json!([]))]);
    let expected = Expected {
        event_time: "rows[].time",
        columns: None,
        features: "rows[].x float64",
        predictions: "",
        records: 2,
    };
    check(&messages, &expected);
}

#[test]
fn answers_beside_the_features_of_one_record_are_parts_of_one_answer() {
    let document = json!({
        "time": "2026-11-24T10:15:00Z",
        "features": {"age": 41.5},
        "predictions": [0.25, 0.75],
    });
    let expected = Expected {
        event_time: "time",
        columns: None,
        features: "features.age float64",
        predictions: "predictions[0] float64
            predictions[1] float64",
        records: 1,
    };
    check(&of_documents(&[document]), &expected);
}

#[test]
fn columns_that_are_not_in_all_messages_are_left_out() {
    let document = |names: &[&str]| {
        let row: Vec<_> = (0..names.len()).collect();
        let split = json!({"columns": names, "data": [row]});
        json!({"time": "2026-11-24T10:15:00Z", "dataframe_split": split})
    };
    let messages = of_documents(&[document(&["a", "b"]), document(&["c", "a"])]);
    let expected = Expected {
        event_time: "time",
        columns: Some("dataframe_split.columns"),
        features: "dataframe_split.data[].a float64",
        predictions: "",
        records: 2,
    };
    check(&messages, &expected);
}

#[test]
fn requests_and_responses_in_one_topic_of_which_no_two_belong_together_are_two_models() {
    let response = messages::KSERVE_RESPONSE.replace("0009174a", "0009174b");
    let texts = [messages::KSERVE_REQUEST, &response];
    let proposal = proposal(&of_texts(&texts));
    let config = load(&proposal.yaml, &|_| None).unwrap();
    let names: Vec<_> = config.models.iter().map(|it| &*it.name).collect();
    let kind = |part: &str| format!("org.kubeflow.serving.inference.{part}");
    assert_eq!(names, [kind("request"), kind("response")]);
    let model = config.sources[0].schema.model.as_ref();
    assert_eq!(model.map(driftd_ingest::FieldPath::as_str), Some("type"));
    assert_eq!(watched(&config, 0, Role::Feature).len(), 4);
    assert_eq!(watched(&config, 1, Role::Feature), ["data.predictions[] float64"]);
    assert_eq!(proposal.trial.accepted, 2);
}

#[test]
fn attributes_of_events_are_no_features_in_batches_of_events_either() {
    let event = |id: &str| {
        json!({
            "specversion": "1.0",
            "id": id,
            "source": "/here",
            "type": "scored",
            "time": "2026-11-24T10:15:00Z",
            "data": {"age": 41.5, "score": 0.25},
        })
    };
    let messages = of_documents(&[json!([event("a"), event("b")]), json!([event("c")])]);
    let expected = Expected {
        event_time: "[].time",
        columns: None,
        features: "[].data.age float64",
        predictions: "[].data.score float64",
        records: 3,
    };
    check(&messages, &expected);
    let bodies = inspect(&messages, &request(Show::Values)).bodies;
    let bodies: Vec<_> = bodies.iter().map(|it| (it.body, it.count)).collect();
    assert_eq!(bodies, [(Body::BatchedEvents, 2)]);
}

#[test]
fn models_of_one_topic_have_the_features_of_their_own_messages() {
    let document = |index: u64| {
        let time = "2026-11-24T10:15:00Z";
        if index.is_multiple_of(2) {
            json!({"time": time, "model_name": "a", "model_version": index % 6, "features": {"x": 0.5}})
        } else {
            json!({"time": time, "model_name": "b", "model_version": "v1", "features": {"y": true}})
        }
    };
    let proposal = proposal(&of_documents(&(0..30).map(document).collect::<Vec<_>>()));
    let config = load(&proposal.yaml, &|_| None).unwrap();
    assert_eq!(watched(&config, 0, Role::Feature), ["features.x float64"]);
    assert_eq!(watched(&config, 1, Role::Feature), ["features.y boolean"]);
    assert_eq!(proposal.trial.accepted, 30, "{:?}", proposal.trial.refused);
}

#[test]
fn large_messages_raise_the_bounds() {
    let rows: Vec<_> = (0..10_001).map(|it| json!([it, "x".repeat(99)])).collect();
    let document = json!({"time": "2026-11-24T10:15:00Z", "instances": rows});
    let proposal = proposal(&of_documents(&[document]));
    let config = load(&proposal.yaml, &|_| None).unwrap();
    assert_eq!(config.sources[0].payload_bytes_max, 2 << 20);
    assert_eq!(config.sources[0].rows_max, 20_002);
    assert_eq!(proposal.trial.records, 10_001, "{:?}", proposal.trial.refused);
}

#[test]
fn chat_completions_become_counts_of_tokens() {
    let seen = inspect(&of_texts(&[messages::OPENAI_CHAT]), &request(Show::Values)).bodies;
    assert_eq!(seen[0].body, Body::Chat);
    let features = "request.model categorical
        request.temperature float64";
    let predictions = "response.object categorical
        response.usage.prompt_tokens float64
        response.usage.completion_tokens float64
        response.usage.total_tokens float64
        response.usage.prompt_tokens_details.cached_tokens float64
        response.usage.prompt_tokens_details.audio_tokens float64
        response.usage.completion_tokens_details.reasoning_tokens float64
        response.usage.completion_tokens_details.audio_tokens float64
        response.usage.completion_tokens_details.accepted_prediction_tokens float64
        response.usage.completion_tokens_details.rejected_prediction_tokens float64
        response.service_tier categorical";
    check_body(messages::OPENAI_CHAT, None, features, predictions, 1);
}

/// Requests and responses of `KServe`'s logger, all of one partition, or each of a side.
fn events(is_binary: bool, partition_of: impl Fn(&str) -> i32) -> Vec<SampledMessage> {
    let event = |(offset, (index, side)): (i64, (u64, &str))| {
        let body = match side {
            "request" => json!({"instances": [[index as f64 + 0.5, 2], [3.5, index]]}),
            _ => json!({"predictions": [index % 3, 1]}),
        };
        let kind = format!("org.kubeflow.serving.inference.{side}");
        let (id, time) = (format!("id-{index}"), format!("2026-11-24T10:15:{index:02}Z"));
        let plain = SampledMessage {
            partition: partition_of(side),
            offset,
            timestamp: Some(Timestamp::from_millis(1_795_000_000_000)),
            ..SampledMessage::default()
        };
        if is_binary {
            let header = |name: &str, value: &str| (name.to_owned(), Some(value.into()));
            let payload = Some(body.to_string().into_bytes());
            let headers = vec![
                header("ce_specversion", "1.0"),
                header("ce_id", &id),
                header("ce_type", &kind),
                header("ce_time", &time),
            ];
            return SampledMessage { payload, headers, ..plain };
        }
        let event = json!({
            "specversion": "1.0", "id": id, "source": "http://x/", "type": kind, "time": time,
            "inferenceservicename": "iris", "namespace": "default", "data": body,
        });
        SampledMessage { payload: Some(event.to_string().into_bytes()), ..plain }
    };
    let sides = |index: u64| {
        let first = if index.is_multiple_of(2) { "response" } else { "request" };
        let second = if index.is_multiple_of(2) { "request" } else { "response" };
        [(index, first), (index, second)]
    };
    // The last request has no answer.
    let all = (0..30).flat_map(sides).chain([(30, "request")]);
    (0..).zip(all).map(event).collect()
}

#[test]
fn requests_and_responses_that_are_messages_of_their_own_are_joined() {
    let messages = events(true, |_| 2);
    let Proposal { yaml, trial } = proposal(&messages);
    let expected = r#"    event_time:
      path: "$headers.ce_time" # in 30 of 30 messages
      format: rfc3339
    join: # 30 pairs in 61 messages
      id: "$headers.ce_id"
      side: "$headers.ce_type"
      request: "org.kubeflow.serving.inference.request"
      response: "org.kubeflow.serving.inference.response"
"#;
    assert!(yaml.contains(expected), "{yaml}");
    assert_eq!((trial.messages, trial.accepted, trial.records), (61, 61, 60), "{yaml}");
    let expected = Expected {
        event_time: "$headers.ce_time",
        columns: None,
        features: "request.instances[][0] float64
            request.instances[][1] integer",
        predictions: "response.predictions[] integer",
        records: 60,
    };
    check(&messages, &expected);
}

#[test]
fn structured_events_are_joined_without_their_attributes() {
    let messages = events(false, |_| 0);
    let Proposal { yaml, trial } = proposal(&messages);
    for line in ["      id: \"id\"\n", "      side: \"type\"\n", "    model: \"response.inf"] {
        assert!(yaml.contains(line), "{line}: {yaml}");
    }
    assert_eq!((trial.accepted, trial.records), (61, 60), "{yaml}");
    let expected = Expected {
        event_time: "response.time",
        columns: None,
        features: "request.data.instances[][0] float64
            request.data.instances[][1] integer",
        predictions: "response.data.predictions[] integer",
        records: 60,
    };
    check(&messages, &expected);
}

#[test]
fn what_lies_in_two_partitions_is_not_joined_and_told() {
    let told = "to have them\n# joined (`join`), make the id the topic's key.";
    let yaml = proposal(&events(true, |side| i32::from(side == "request"))).yaml;
    assert!(!yaml.contains("join:") && yaml.contains(told), "{yaml}");
    // Some in one, by chance.
    let mut messages = events(true, |_| 0);
    messages[0].partition = 1;
    let yaml = proposal(&messages).yaml;
    assert!(yaml.contains("join: # 29 pairs in 61 messages; 1 more in two partitions"), "{yaml}");
    // Among others a source with `join` would refuse most.
    let others = (0..20).map(|_| json!({"time": 1_700_000_000, "x": 1.5})).collect::<Vec<_>>();
    let others = of_documents(&others);
    let yaml = proposal(&[events(true, |_| 0), others].concat()).yaml;
    assert!(!yaml.contains("join"), "{yaml}");
}

#[test]
fn pairs_of_large_messages_have_room() {
    let mut messages = events(true, |_| 2);
    let payload = messages[0].payload.as_mut().unwrap();
    payload.resize(9 << 20, b' ');
    let yaml = proposal(&messages).yaml;
    assert!(yaml.contains("      bytes_max: 32MiB\n"), "{yaml}");
}

/// Values of the two records of Triton's client.
const TRITON: &str = "inputs[0].data[][0] float64
    inputs[0].data[][1] float64
    inputs[0].data[][2] float64
    inputs[1].data[][0] float64
    inputs[2].data[][0] integer
    inputs[3].data[][0] categorical
    inputs[4].data[][0] boolean";

/// Checks what is proposed for some messages with these bytes, in a topic of this name.
fn check_inference(payload: &[u8], topic: &str, section: Option<&str>, features: &str) {
    let at = payload.windows(2).position(|it| it == b"42").unwrap();
    let with_id = |id: u8| {
        let mut payload = payload.to_vec();
        payload[at..at + 2].copy_from_slice(id.to_string().as_bytes());
        Some(payload)
    };
    let messages = of_bytes((10..30).map(with_id).collect());
    let request = Request { topic: topic.to_owned(), ..request(Show::Values) };
    let proposal = inspect(&messages, &request).proposal.unwrap();
    let yaml = &proposal.yaml;
    assert!(yaml.contains("    format: open_inference\n"), "{yaml}");
    assert!(yaml.contains("    prediction_id: \"id\" # in all 20 records"), "{yaml}");
    let found = yaml.lines().find(|it| it.contains("open_inference: "));
    let found = found.and_then(|it| it.trim().split_once(" #")).map(|(section, _)| section);
    assert_eq!(found, section, "{yaml}");
    let config = load(yaml, &|_| None).unwrap();
    assert_eq!(watched(&config, 0, Role::Feature), lines(features), "{yaml}");
    assert_eq!(proposal.trial.accepted, 20, "{:?} {yaml}", proposal.trial.refused);
    assert_eq!(proposal.trial.records, 40, "{yaml}");
}

#[test]
fn bodies_of_the_open_inference_protocol_become_records_whatever_they_are_written_in() {
    check_inference(messages::TRITON_BINARY, "logs", None, TRITON);
    let request = Some("open_inference: {message: request}");
    check_inference(messages::TRITON_REQUEST, "logs", request, TRITON);
    let response = Some("open_inference: {message: response}");
    let features = "outputs[0].data[][0] float64
        outputs[0].data[][1] float64
        outputs[1].data[][0] categorical";
    check_inference(messages::TRITON_RESPONSE, "seldon.model.iris.outputs", response, features);
}

/// Some clients write values behind the JSON and others in it.
#[test]
fn json_of_the_open_inference_protocol_is_read_beside_that_with_bytes_behind_it() {
    let json = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[2,2],"data":[1,2,3,4]}]}"#;
    let mut binary = json.replace("\"data\":[1,2,3,4]", r#""parameters":{"binary_data_size":16}"#);
    let mut messages = of_texts(&[json, json]);
    binary.push_str(&"\u{0}\u{0}@?".repeat(4));
    messages.extend(of_texts(&[&binary]));
    let found = inspect(&messages, &request(Show::Values));
    let bodies: Vec<_> = found.bodies.iter().map(|it| (it.body, &*it.path, it.count)).collect();
    assert_eq!(bodies, [(Body::TensorInputs, "inputs", 3)]);
    let proposal = found.proposal.unwrap();
    assert_eq!((proposal.trial.accepted, proposal.trial.records), (3, 6), "{}", proposal.yaml);
    let config = load(&proposal.yaml, &|_| None).unwrap();
    let expected = ["inputs[0].data[][0] float64", "inputs[0].data[][1] float64"];
    assert_eq!(watched(&config, 0, Role::Feature), expected);
}
