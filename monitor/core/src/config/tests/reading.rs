//! Messages of what is wrong with the file alone: syntax, keys, types, bounds, environment.

use serde_json::{Value, json};

use super::super::{ConfigErrors, load, load_kafka};
use super::{check, check_one, compare, load_tree, put, smallest};

#[track_caller]
fn check_text(text: &str, messages: &[&str]) {
    compare(&load(text, &|_| None), messages);
}

#[test]
fn the_smallest_configuration_is_valid() {
    check(&[], &[]);
}

#[test]
fn syntax_errors_have_line_and_column() {
    check_text(
        "name: job\nkafka: {brokers: [a\n",
        &["the file is not valid YAML: unclosed bracket '[' at line 2, column 18; correct the \
             syntax there; text with `: `, ` #`, `{` or `[` needs quotes"],
    );
    check_text(
        "name: a\nname: b\n",
        &["the file is not valid YAML: duplicate mapping key `name` is not allowed here at line \
             2, column 1; correct the syntax there; text with `: `, ` #`, `{` or `[` needs quotes"],
    );
    check_text(
        "name: [*nobody]",
        &["the file is not valid YAML: reference to unknown value at line 1, column 8; correct \
             the syntax there; text with `: `, ` #`, `{` or `[` needs quotes"],
    );
    check_text(
        "a: .nan",
        &["the file is not valid YAML: value `.nan` is not a finite number at line 1, column 4; \
             correct the syntax there; text with `: `, ` #`, `{` or `[` needs quotes"],
    );
    check_text(
        "a: 1\n---\nb: 2\n",
        &["the file is not valid YAML: only single YAML document expected but multiple found at \
             line 3, column 1; correct the syntax there; text with `: `, ` #`, `{` or `[` needs \
             quotes"],
    );
}

#[test]
fn an_empty_file_is_named() {
    check_text("# nothing", &["the file is empty; write keys and values, such as `name: my-job`"]);
    check_text("- a", &["the file is a list; write a mapping of keys and values"]);
}

#[test]
fn a_huge_file_is_refused() {
    let text = " ".repeat((16 << 20) + 1);
    check_text(
        &text,
        &["the file has 16777217 bytes, more than 16777216; split it into several jobs"],
    );
}

#[test]
fn unknown_keys_come_with_what_may_be_meant() {
    check_one("/nmae", json!(1), "`nmae`: is not a key here; did you mean `name`?");
    check_one(
        "/models/0/windw",
        json!(1),
        "`models[0].windw`: is not a key here; did you mean `window`?",
    );
    check_one(
        "/models/0/lateness",
        json!("1m"),
        "`models[0].lateness`: is not a key here; it belongs to `models[].window`",
    );
    check_one(
        "/models/0/window/topic_name",
        json!("1m"),
        "`models[0].window.topic_name`: is not a key here; known keys: `name`, `length`, \
         `every`, `rows`, `global`, `early`, `history`, `offset`, `lateness`, \
         `revisions`, `wait_max`, `open_max`",
    );
    check_one(
        "/models/0/window/kafka",
        json!("1m"),
        "`models[0].window.kafka`: is not a key here; it belongs to the top level",
    );
    check_one(
        "/alerts/a.b",
        json!("1m"),
        "`alerts[\"a.b\"]`: is not a key here; known keys: `raise`, `of`, `clear`",
    );
}

#[test]
fn missing_keys_come_with_what_they_are_for() {
    check(
        &[("/name", Value::Null)],
        &["`name`: is missing; add it: name of this job: its consumer group, and the source of \
             its events"],
    );
    check(
        &[("/sources/0/start", Value::Null), ("/models/0/window/length", Value::Null)],
        &[
            "`sources[0].start`: is missing; add it: where a start without stored `state` begins \
             to read; one with it goes on where the last one ended",
            "`models[0].window.length`: is missing; add it: length of a window, at least `1s`; or \
             `rows`, or `global: true`",
        ],
    );
}

#[test]
fn wrong_types_say_what_to_write() {
    check_one(
        "/models/0/version",
        json!(1),
        "`models[0].version`: is the number 1; write text, in quotes: `\"1\"`",
    );
    check_one(
        "/models/0/version",
        json!(true),
        "`models[0].version`: is true; write text, in quotes: `\"true\"`",
    );
    check_one("/models/0/version", json!(["1"]), "`models[0].version`: is a list; write text");
    check_one(
        "/kafka/brokers",
        json!("127.0.0.1:9092"),
        "`kafka.brokers`: is the text `127.0.0.1:9092`; write a list: `[127.0.0.1:9092]`",
    );
    check_one(
        "/alerts/raise",
        json!("2"),
        "`alerts.raise`: is the text `2`; write a whole number, without quotes or unit",
    );
    check_one(
        "/alerts/raise",
        json!(1.5),
        "`alerts.raise`: is the number 1.5; write a whole number",
    );
    check_one("/alerts", json!([1]), "`alerts`: is a list; write a mapping of keys and values");
    check_one(
        "/kafka",
        json!({"brokers": ["a:1"], "properties": {"linger.ms": [1]}}),
        "`kafka.properties[\"linger.ms\"]`: is a list; write text, a number, `true` or `false`",
    );
    check_one(
        "/detection/confidence",
        json!("high"),
        "`detection.confidence`: is the text `high`; write a number, without quotes or unit",
    );
    check_text(
        "name:\n",
        &[
            "`sources`: is missing; add it: topics of inference logs",
            "`models`: is missing; add it: watched models",
            "`name`: is empty; write text, or remove the line if the key can be left out",
        ],
    );
}

#[test]
fn texts_of_a_fixed_form_say_which() {
    check_one(
        "/name",
        json!("Flights Monitor"),
        "`name`: `Flights Monitor` cannot be a name; use 1 to 63 lower-case letters, digits and \
         `-`, with no `-` at either end",
    );
    check_one(
        "/sources/0/topic",
        json!("a b"),
        "`sources[0].topic`: `a b` cannot be a topic; use 1 to 249 letters, digits, `.`, `_` and \
         `-`",
    );
    check_one(
        "/sources/0/topic",
        json!(".."),
        "`sources[0].topic`: `..` cannot be a topic; use 1 to 249 letters, digits, `.`, `_` and \
         `-`",
    );
    check_one(
        "/models/0/name",
        json!(""),
        "`models[0].name`: `` cannot be a name; use 1 to 128 characters, none of them a control \
         character",
    );
    check_one(
        "/models/0/name",
        json!("a\nb"),
        "`models[0].name`: `a\\nb` cannot be a name; use 1 to 128 characters, none of them a \
         control character",
    );
    check_one(
        "/models/0/window/length",
        json!("1 hour"),
        "`models[0].window.length`: `1 hour` has the unknown unit `hour`; write whole numbers \
         with the units `d`, `h`, `m`, `s`, `ms`, the longest first, such as `1h30m`",
    );
    check_one(
        "/models/0/window/length",
        json!("-1h"),
        "`models[0].window.length`: `-1h` is negative; write whole numbers with the units `d`, \
         `h`, `m`, `s`, `ms`, the longest first, such as `1h30m`",
    );
    check_one(
        "/models/0/window/length",
        json!("90"),
        "`models[0].window.length`: `90` has no unit after 90; write whole numbers with the units \
         `d`, `h`, `m`, `s`, `ms`, the longest first, such as `1h30m`",
    );
    check_one(
        "/models/0/window/length",
        json!("5m1h"),
        "`models[0].window.length`: `5m1h` has `h` out of order; write whole numbers with the \
         units `d`, `h`, `m`, `s`, `ms`, the longest first, such as `1h30m`",
    );
    check_one(
        "/models/0/window/length",
        json!("0000000001h"),
        "`models[0].window.length`: `0000000001h` has more than 9 digits in a row; write whole \
         numbers with the units `d`, `h`, `m`, `s`, `ms`, the longest first, such as `1h30m`",
    );
}

#[test]
fn values_outside_a_choice_or_bound_say_which() {
    check_one(
        "/sources/0/start",
        json!("newest"),
        "`sources[0].start`: is `newest`; use one of `earliest`, `latest`",
    );
    check_one(
        "/sources/0/format",
        json!("thrift"),
        "`sources[0].format`: is `thrift`; use one of `json`, `ndjson`, `avro`, `protobuf`, `arrow`, \
         `open_inference`",
    );
    check_one(
        "/models/0/features/0/type",
        json!("double"),
        "`models[0].features[0].type`: is `double`; use one of `float32`, `float64`, `integer`, \
         `categorical`, `boolean`",
    );
    check_one("/alerts/raise", json!(0), "`alerts.raise`: is 0; use at least 1");
    check_one("/alerts/of", json!(65), "`alerts.of`: is 65; use at most 64");
    check_one(
        "/detection/confidence",
        json!(0.3),
        "`detection.confidence`: is 0.3; use at least 0.5",
    );
    check_one("/detection/confidence", json!(1), "`detection.confidence`: is 1; use less than 1");
    check_one(
        "/detection/false_discovery_rate",
        json!(0),
        "`detection.false_discovery_rate`: is 0; use more than 0",
    );
    check_one(
        "/detection/numeric/minimum_effect",
        json!(-1),
        "`detection.numeric.minimum_effect`: is -1; use more than 0",
    );
    check_one(
        "/models/0/features",
        json!([]),
        "`models[0].features`: has 0 entries; list at least 1",
    );
    check(
        &[
            ("/launcher/command", json!(vec!["x"; 257])),
            ("/retraining/policies", json!([{"name": "p"}])),
        ],
        &["`launcher.command`: has 257 entries; list at most 256"],
    );
    check_one(
        "/models/0/references",
        json!(""),
        "`models[0].references`: has 0 characters; use at least 1",
    );
    check_one(
        "/kafka",
        json!({"brokers": ["a:1"], "group": "g".repeat(250)}),
        "`kafka.group`: has 250 characters; use at most 249",
    );
}

#[test]
fn more_features_than_the_bound_are_refused() {
    let features: Vec<Value> = (0..10_001)
        .map(|index| json!({"name": format!("f{index}"), "path": "x", "type": "float32"}))
        .collect();
    check_one(
        "/models/0/features",
        json!(features),
        "`models[0].features`: has 10001 entries; list at most 10000",
    );
}

#[test]
fn unset_variables_are_all_named_beside_other_problems() {
    check(
        &[
            ("/name", json!("${JOB}")),
            ("/models/0/references", json!("${DIR")),
            ("/models/0/features/0/path", json!("${1}")),
            ("/alerts/raise", json!(0)),
        ],
        &[
            "`name`: needs the environment variable `JOB`, which is not set; set it, or give \
                 a default: `${JOB:-default}`",
            "`models[0].references`: has `${` without a `}`; close it, or write `$${` for a \
                 literal `${`",
            "`models[0].features[0].path`: has `1` where the name of an environment variable \
                 belongs; use letters, digits and `_` as in `${HOME}`, or write `$${` for a \
                 literal `${`",
            "`alerts.raise`: is 0; use at least 1",
        ],
    );
}

#[test]
fn variables_become_the_type_that_the_key_wants() {
    let mut tree = smallest();
    put(&mut tree, "/alerts", json!({"raise": "${RAISE}", "of": "${OF:-4}"}));
    put(&mut tree, "/models/0/version", json!("${RAISE}"));
    put(&mut tree, "/detection/confidence", json!("${CONFIDENCE:-0.9}"));
    let environment = |name: &str| (name == "RAISE").then(|| "3".to_owned());
    let config = load(&tree.to_string(), &environment).unwrap();
    assert_eq!((config.hysteresis.raise(), config.hysteresis.of()), (3, 4));
    assert_eq!(config.decision.confidence, 0.9);
    put(&mut tree, "/alerts/raise", json!("${WORD:-three}"));
    let errors = load(&tree.to_string(), &environment).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "`alerts.raise`: is the text `${…}`; write a whole number, without quotes or unit"
    );
}

#[test]
fn what_came_from_the_environment_is_never_repeated() {
    let mut tree = smallest();
    put(&mut tree, "/name", json!("${SECRET}"));
    put(&mut tree, "/sources/0/start", json!("${SECRET}"));
    put(&mut tree, "/alerts/of", json!("${SECRET}"));
    put(&mut tree, "/sources/0/format", json!({"key": "${SECRET}"}));
    let errors = load(&tree.to_string(), &|_| Some("Hunter 2".into())).unwrap_err().to_string();
    assert!(!errors.contains("Hunter"), "{errors}");
    assert_eq!(errors.lines().count(), 4, "{errors}");
}

#[test]
fn whole_numbers_may_be_written_with_a_point() {
    let mut tree = smallest();
    put(&mut tree, "/alerts/of", json!(3.0));
    put(&mut tree, "/detection/minimum_rows", json!(1e3));
    assert_eq!(load_tree(&tree).map(|it| it.models[0].features[0].policy.minimum_rows), Ok(1_000));
}

#[test]
fn any_value_anywhere_is_taken_or_refused_at_its_place() {
    let mut tree = smallest();
    put(&mut tree, "/kafka", json!({"brokers": ["a:1"], "consumers": 1, "properties": {"a": 1}}));
    put(&mut tree, "/sources/0/payload_bytes_max", json!(1));
    put(&mut tree, "/sources/0/rows_max", json!(1));
    put(&mut tree, "/sources/0/time", json!({"drift_max": "1h"}));
    put(&mut tree, "/models/0/window/history", json!(1));
    put(&mut tree, "/models/0/features/0/minimum_rows", json!(1));
    put(&mut tree, "/models/0/segments", json!([{"name": "s", "path": "s", "values": ["v"]}]));
    put(&mut tree, "/detection/numeric", json!({"detector": "js", "minimum_effect": 0.1}));
    put(&mut tree, "/alerts/clear", json!(1));
    put(&mut tree, "/retraining/policies", json!([{"name": "p", "features": ["x"]}]));
    put(&mut tree, "/launcher", json!({"command": ["x"], "concurrency_max": 1}));
    put(&mut tree, "/memory", json!({"limit": "1GiB", "fetch_queue": "1MiB"}));
    put(&mut tree, "/outputs", json!({"features_exported_max": 1}));
    assert!(load_tree(&tree).is_ok());
    let mut places = Vec::new();
    pointers(&tree, "", &mut places);
    for place in places {
        for value in [json!(1e19), json!(7.5), json!("\u{0}${"), json!({"": [null]}), json!([])] {
            let mut changed = tree.clone();
            put(&mut changed, &place, value.clone());
            let errors = load_tree(&changed).err();
            let errors = errors.iter().flat_map(ConfigErrors::as_slice);
            for error in errors {
                assert!(!error.path.is_empty(), "{place} = {value}: {error}");
            }
        }
    }
}

fn pointers(tree: &Value, pointer: &str, found: &mut Vec<String>) {
    let inside: Vec<(String, &Value)> = match tree {
        Value::Object(entries) => entries.iter().map(|(key, it)| (key.clone(), it)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, it)| (index.to_string(), it)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for (key, value) in inside {
        let place = format!("{pointer}/{key}");
        pointers(value, &place, found);
        found.push(place);
    }
}

#[test]
fn the_connection_can_be_read_from_a_file_that_has_nothing_else() {
    let read = |text: &str| {
        let variable = |name: &str| (name == "USER").then(|| "me".to_owned());
        load_kafka(text, &variable).map_err(|errors| errors.to_string())
    };
    let text = "{name: job, kafka: {brokers: ['k:1'], properties: {sasl.username: '${USER}'}}}";
    let kafka = read(text).unwrap();
    assert_eq!((&*kafka.brokers, &*kafka.group), ("k:1", "job"));
    assert_eq!(kafka.properties, [("sasl.username".to_owned(), "me".to_owned())]);
    assert_eq!(
        read("{name: job, kafka: {brokers: ['k:1']}, models: wrong}").unwrap().brokers,
        "k:1"
    );
    for (text, message) in [
        ("name: job", "`kafka`: is not there; add it, with `brokers`"),
        (
            "{name: job, kafka: {brokers: [k]}}",
            "`kafka.brokers[0]`: `k` is not `host:port`; write it like `broker-1.example.org:9092`",
        ),
    ] {
        assert_eq!(read(text).unwrap_err(), message);
    }
}
