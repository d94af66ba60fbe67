//! Values beside the payload, documents inside of text, and elements found by theirs.

use driftd_ingest::{EmbeddedForm, EnvelopeValue, TimeFormat};
use serde_json::{Value, json};

use super::{check, check_one, load_tree, put, smallest};

#[test]
fn paths_lead_beside_the_payload() {
    let mut tree = smallest();
    for (pointer, value) in [
        ("/sources/0/event_time/path", json!("$time")),
        ("/sources/0/model", json!("$headers.ce_type")),
        ("/models/0/segments", json!([{"name": "region", "path": "$key", "top": 3}])),
        ("/models/0/prediction_id", json!("$headers.ce_id")),
    ] {
        put(&mut tree, pointer, value);
    }
    let config = load_tree(&tree).unwrap();
    let schema = &config.sources[0].schema;
    let header = EnvelopeValue::Header("ce_type".into());
    assert_eq!(schema.envelope, [header, EnvelopeValue::Key, EnvelopeValue::Time]);
    put(&mut tree, "/sources/0/event_time", json!({"path": "$headers.t", "format": "unix_millis"}));
    let schema = &load_tree(&tree).unwrap().sources[0].schema;
    assert_eq!(schema.time_format, TimeFormat::UnixMillis);
}

#[test]
fn kafkas_time_is_the_event_time_only_and_has_no_format() {
    check_one(
        "/models/0/features/0/path",
        json!("$time"),
        "`models[0].features[0].path`: is `$time`: Kafka's time, which is read as the event time \
         only; name another value",
    );
    check_one(
        "/sources/0/event_time",
        json!({"path": "$time", "format": "unix_millis"}),
        "`sources[0].event_time.format`: is beside `path: $time`, which is Kafka's time and not \
         written in a format; remove it",
    );
    check_one(
        "/sources/0/event_time/path",
        json!("$headers"),
        "`sources[0].event_time.path`: is `$headers`: beside the payload there are \
         `$headers.NAME`, `$key` and `$time`; write `\\$` when it belongs to a key of the payload, \
         at character 9; write `$headers.ce_time` for a header, a dot inside its name as `\\.`",
    );
}

#[test]
fn what_is_beside_the_payload_says_nothing_about_it() {
    let list = ("/models/0/features/0/path", json!("[].x"));
    check(&[("/sources/0/event_time/path", json!("$time")), list.clone()], &[]);
    let segment = json!([{"name": "s", "path": "s", "top": 2}]);
    check(
        &[("/sources/0/event_time/path", json!("$time")), list, ("/models/0/segments", segment)],
        &[
            "`models[0].segments[0].path`: is `s` beside `[].x` at `models[0].features[0].path`, by \
           which a message is a list; begin all paths of the topic with `[]` if its messages are \
           lists, or none",
        ],
    );
}

fn embedded(embedded: Value) -> [(&'static str, Value); 1] {
    [("/sources/0/embedded", embedded)]
}

#[test]
fn texts_may_be_documents() {
    let mut tree = smallest();
    let fields = json!([{"path": "request"}, {"path": "capture.data", "as": "base64_csv"}]);
    put(&mut tree, "/sources/0/embedded", fields);
    put(&mut tree, "/models/0/features/0/path", json!("request.rows[].x"));
    let segment = json!([{"name": "s", "path": "capture.data[][1]", "top": 2}]);
    put(&mut tree, "/models/0/segments", segment);
    let config = load_tree(&tree).unwrap();
    let found = config.sources[0].schema.embedded.iter().map(|it| (it.path.as_str(), it.form));
    let expected = [("request", EmbeddedForm::Json), ("capture.data", EmbeddedForm::Base64Csv)];
    assert_eq!(found.collect::<Vec<_>>(), expected);
}

#[test]
fn each_text_is_one_of_the_payload_and_named_once() {
    let hint = "name one, such as `request`";
    check(
        &embedded(json!([{"path": "a[]"}, {"path": "$headers.body"}, {"path": "a[k=t]"}])),
        &[
            &format!(
                "`sources[0].embedded[0].path`: is `a[]`, which is not one text of the payload; {hint}"
            ),
            &format!(
                "`sources[0].embedded[1].path`: is `$headers.body`, which is not one text of the \
                 payload; {hint}"
            ),
            &format!(
                "`sources[0].embedded[2].path`: is `a[k=t]`, which is not one text of the payload; \
                 {hint}"
            ),
        ],
    );
    let feature = ("/models/0/features/0/path", json!("a.b.x"));
    check(
        &[feature, ("/sources/0/embedded", json!([{"path": "a.b"}, {"path": "a"}]))],
        &["`sources[0].embedded[0].path`: is `a.b`, which is `a` or inside of it; name each text \
           once, the outer one where they nest"],
    );
    let avro = [
        ("/sources/0/format", json!("avro")),
        ("/sources/0/avro", json!({"schema": "a.avsc"})),
        ("/sources/0/embedded", json!([{"path": "a"}])),
    ];
    let unread = "`sources[0].embedded[0].path`: is `a`, and no path leads into it; read a value of \
                  it, as `a.age`, or remove it";
    check(&embedded(json!([{"path": "a"}])), &[unread]);
    let message = "`sources[0].embedded`: is for texts of JSON; remove it, or read another topic";
    check(&avro, &[message]);
}

#[test]
fn values_of_tensors_are_at_a_key_and_read_by_rows() {
    let feature = ("/models/0/features/0/path", json!("in[name=x].data[][0]"));
    let tensors = |tensors: Value| [feature.clone(), ("/sources/0/tensors", tensors)];
    let mut tree = smallest();
    for (pointer, value) in tensors(json!(["in[name=x].data"])) {
        put(&mut tree, pointer, value);
    }
    let config = load_tree(&tree).unwrap();
    let found = config.sources[0].schema.tensors.iter().map(ToString::to_string);
    assert_eq!(found.collect::<Vec<_>>(), ["in[name=x].data"]);
    let no_key = |at: usize, path: &str| {
        format!(
            "`sources[0].tensors[{at}]`: is `{path}`, which is no key of the payload with a `shape` \
             beside it; name the values of one tensor, such as `inputs[0].data`"
        )
    };
    check(
        &tensors(json!(["in[0]", "in[].data", "$headers.data", "shape"])),
        &[
            &no_key(0, "in[0]"),
            &no_key(1, "in[].data"),
            &no_key(2, "$headers.data"),
            &no_key(3, "shape"),
        ],
    );
    let unread = "`sources[0].tensors[1]`: is `out.data`, and no path reads a value of its records; \
                  read one, as `out.data[][0]`, or remove it";
    check(&tensors(json!(["in[name=x].data", "out.data"])), &[unread]);
    let twice = |at| {
        format!(
            "`sources[0].tensors[{at}]`: is `in[name=x].data`, which is named twice; name each \
             tensor once"
        )
    };
    check(&tensors(json!(["in[name=x].data", "in[name=x].data"])), &[&twice(0), &twice(1)]);
    let inside = "`sources[0].tensors[1]`: is `in[name=x].data[0].y`, which is inside of \
                  `in[name=x].data`; name each tensor once";
    check(&tensors(json!(["in[name=x].data", "in[name=x].data[0].y"])), &[inside]);
    let avro = [
        ("/sources/0/format", json!("avro")),
        ("/sources/0/avro", json!({"schema": "a.avsc"})),
        ("/sources/0/tensors", json!(["a.data"])),
    ];
    let message = "`sources[0].tensors`: is for lists of JSON; remove it, or read another topic";
    check(&avro, &[message]);
}

#[test]
fn of_tensors_values_of_records_are_read() {
    let changes = |path: &str| {
        let beside = json!({"name": "s", "path": "t.data[0][0]", "top": 2});
        [
            ("/models/0/features/0/path", json!(path)),
            ("/models/0/segments", json!([beside])),
            ("/sources/0/tensors", json!(["t.data"])),
        ]
    };
    for path in ["t.data[][1]", "t.data[0][1]", "t.shape[1]"] {
        check(&changes(path), &[]);
    }
    for path in ["t.data", "t.data[]", "t.data[].x", "t.data[][0][1]", "t.data[3]"] {
        let message = format!(
            "`models[0].features[0].path`: is `{path}`, and `t.data` is a tensor; write \
             `t.data[][0]` for the first value of each record"
        );
        check(&changes(path), &[&message]);
    }
    let mut named = changes("t.data[].x").to_vec();
    named.push(("/sources/0/columns", json!("t.names")));
    check(&named, &[]);
}

#[test]
fn elements_are_found_by_a_text_in_json_only() {
    let path = ("/models/0/features/0/path", json!("inputs[name=x].data[]"));
    check(std::slice::from_ref(&path), &[]);
    let message = "`models[0].features[0].path`: is `inputs[name=x].data[]`: an element is found by \
                   its text in JSON only; name its place, such as `[0]`";
    let format = ("/sources/0/format", json!("avro"));
    check(&[path, format, ("/sources/0/avro", json!({"schema": "a.avsc"}))], &[message]);
}

#[test]
fn messages_that_are_changes_say_so_in_one_value() {
    let changes = |format: &str, op: &str| {
        let mut tree = smallest();
        put(&mut tree, "/sources/0/format", json!(format));
        put(&mut tree, "/sources/0/change_events", json!({"op": op}));
        if format != "json" {
            put(
                &mut tree,
                &format!("/sources/0/{format}"),
                json!({"registry": {"url": "http://r"}}),
            );
        }
        load_tree(&tree).map_err(|errors| errors.to_string())
    };
    for format in ["json", "avro", "protobuf"] {
        let config = changes(format, "payload.op").unwrap();
        let change = config.sources[0].schema.change.as_ref().map(ToString::to_string);
        assert_eq!(change.as_deref(), Some("payload.op"));
    }
    let config = changes("json", "$headers.__op").unwrap();
    assert_eq!(config.sources[0].schema.envelope, [EnvelopeValue::Header("__op".into())]);
    let several = "is `rows[].op`, which is not one value of a message";
    assert!(changes("json", "rows[].op").unwrap_err().contains(several));
    for format in ["ndjson", "open_inference"] {
        check(
            &[
                ("/sources/0/format", json!(format)),
                ("/sources/0/change_events", json!({"op": "op"})),
            ],
            &["`sources[0].change_events`: is beside this `format`, of which messages are no \
               changes of rows; keep one of the two"],
        );
    }
}
