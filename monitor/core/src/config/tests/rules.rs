//! Messages of what does not go together.

use serde_json::{Value, json};

use super::{check, check_one, load_tree, put, smallest};

fn source(topic: &str) -> Value {
    json!({"topic": topic, "start": "latest", "event_time": {"path": "at"}})
}

fn model(name: &str) -> Value {
    let mut model = smallest()["models"][0].clone();
    model["name"] = json!(name);
    model
}

fn feature(name: &str) -> Value {
    json!({"name": name, "path": "x", "type": "float64"})
}

#[test]
fn brokers_are_host_and_port() {
    for broker in
        ["kafka", "kafka:port", ":9092", "kafka:0", "SSL://kafka:9092", "[::1]9092", "k k:1"]
    {
        let message = format!(
            "`kafka.brokers[0]`: `{broker}` is not `host:port`; write it like \
             `broker-1.example.org:9092`"
        );
        check_one("/kafka/brokers", json!([broker]), &message);
    }
    check(&[("/kafka/brokers", json!(["kafka-1.example.org:9092", "[::1]:9092"]))], &[]);
}

#[test]
fn memory_is_written_with_its_unit_and_a_queue_has_bounds() {
    for limit in ["512", "512MB", "1.5GiB"] {
        let message = format!(
            "`memory.limit`: `{limit}` is no amount of memory; write a whole number with the unit \
             `KiB`, `MiB` or `GiB`, such as `512MiB`"
        );
        check(&[("/memory", json!({"limit": limit}))], &[&message]);
    }
    for queue in ["1023KiB", "2GiB"] {
        let message =
            format!("`memory.fetch_queue`: is `{queue}`; use an amount between `1MiB` and `1GiB`");
        check(&[("/memory", json!({"fetch_queue": queue}))], &[&message]);
    }
    check(&[("/memory", json!({"limit": "1GiB", "fetch_queue": "1MiB"}))], &[]);
}

#[test]
fn properties_that_driftd_owns_are_refused_with_the_reason() {
    let mut properties = serde_json::Map::new();
    for (property, _) in super::super::validate::kafka::OWNED {
        properties.insert(property.into(), json!("1"));
    }
    check(
        &[("/kafka/brokers", json!(["a:1"])), ("/kafka/properties", json!(properties))],
        &[
            "`kafka.properties.acks`: is set by driftd itself; remove it: events must reach all \
         replicas",
            "`kafka.properties[\"auto.commit.interval.ms\"]`: is set by driftd itself; remove it: \
         driftd keeps and commits its own positions",
            "`kafka.properties[\"auto.offset.reset\"]`: is set by driftd itself; remove it: \
         `sources[].start` says what the first start reads",
            "`kafka.properties[\"bootstrap.servers\"]`: is set by driftd itself; use \
         `kafka.brokers`",
            "`kafka.properties[\"client.id\"]`: is set by driftd itself; remove it: the job's \
         `name` is used",
            "`kafka.properties[\"enable.auto.commit\"]`: is set by driftd itself; remove it: \
         driftd keeps and commits its own positions",
            "`kafka.properties[\"enable.auto.offset.store\"]`: is set by driftd itself; remove it: \
         driftd keeps and commits its own positions",
            "`kafka.properties[\"enable.gapless.guarantee\"]`: is set by driftd itself; remove it: \
         producers are idempotent",
            "`kafka.properties[\"enable.idempotence\"]`: is set by driftd itself; remove it: \
         producers are idempotent",
            "`kafka.properties[\"enable.partition.eof\"]`: is set by driftd itself; remove it: idle \
         partitions are found by it",
            "`kafka.properties[\"group.id\"]`: is set by driftd itself; use `kafka.group`",
            "`kafka.properties[\"group.instance.id\"]`: is set by driftd itself; use \
         `kafka.instance`",
            "`kafka.properties[\"group.protocol\"]`: is set by driftd itself; remove it: the \
         classic protocol is used",
            "`kafka.properties[\"group.remote.assignor\"]`: is set by driftd itself; remove it: the \
         classic protocol is used",
            "`kafka.properties[\"isolation.level\"]`: is set by driftd itself; remove it: only \
         committed records count",
            "`kafka.properties[\"metadata.broker.list\"]`: is set by driftd itself; use \
         `kafka.brokers`",
            "`kafka.properties[\"offset.store.method\"]`: is set by driftd itself; remove it: \
         driftd keeps and commits its own positions",
            "`kafka.properties[\"partition.assignment.strategy\"]`: is set by driftd itself; remove \
         it: partitions move one by one",
            "`kafka.properties[\"plugin.library.paths\"]`: is set by driftd itself; remove it: \
         plugins are not loaded",
            "`kafka.properties[\"queue.buffering.max.kbytes\"]`: is set by driftd itself; remove it: \
         memory is counted with driftd's own value",
            "`kafka.properties[\"queued.max.messages.kbytes\"]`: is set by driftd itself; use \
         `memory.fetch_queue`",
            "`kafka.properties[\"queued.min.messages\"]`: is set by driftd itself; use \
         `memory.fetch_queue`",
            "`kafka.properties[\"request.required.acks\"]`: is set by driftd itself; remove it: \
         events must reach all replicas",
            "`kafka.properties[\"statistics.interval.ms\"]`: is set by driftd itself; remove it: \
         nothing reads these statistics",
            "`kafka.properties[\"transactional.id\"]`: is set by driftd itself; use \
         `kafka.instance`",
        ],
    );
}

#[test]
fn a_property_has_one_place_and_a_file_a_name() {
    check(
        &[
            ("/kafka/brokers", json!(["a:1"])),
            ("/kafka/properties", json!({"sasl.password": "a", "linger.ms": 5})),
            (
                "/kafka/property_files",
                json!({"sasl.password": "a", "ssl.key.password": "", "group.id": "f"}),
            ),
        ],
        &[
            "`kafka.property_files[\"group.id\"]`: is set by driftd itself; use `kafka.group`",
            "`kafka.property_files[\"sasl.password\"]`: is also in `kafka.properties`; keep one \
             of the two",
            "`kafka.property_files[\"ssl.key.password\"]`: names no file; write the path of the \
             file that holds the value",
        ],
    );
}

#[test]
fn topics_models_features_and_segments_have_names_of_their_own() {
    check_one(
        "/sources/1",
        source("logs"),
        "`sources[1].topic`: names the topic `logs` again, after `sources[0].topic`; give it a \
         name of its own, or remove one of the two",
    );
    check(
        &[("/models/1", model("m")), ("/sources/0/model", json!("m"))],
        &[
            "`models[1].name`: names the model `m` again, after `models[0].name`; give it a name of \
         its own, or remove one of the two",
        ],
    );
    check(
        &[("/models/0/features/1", feature("x")), ("/models/0/predictions", json!([feature("x")]))],
        &[
            "`models[0].features[1].name`: names the feature or prediction `x` again, after \
             `models[0].features[0].name`; give it a name of its own, or remove one of the two",
            "`models[0].predictions[0].name`: names the feature or prediction `x` again, after \
             `models[0].features[0].name`; give it a name of its own, or remove one of the two",
        ],
    );
    let split = json!({"name": "s", "path": "s", "values": ["a", "a"]});
    check(
        &[("/models/0/segments", json!([split, split]))],
        &[
            "`models[0].segments[1].name`: names the segment `s` again, after \
         `models[0].segments[0].name`; give it a name of its own, or remove one of the two",
            "`models[0].segments[0].values[1]`: names the value `a` again, after \
         `models[0].segments[0].values[0]`; give it a name of its own, or remove one of the two",
            "`models[0].segments[1].values[1]`: names the value `a` again, after \
         `models[0].segments[1].values[0]`; give it a name of its own, or remove one of the two",
        ],
    );
    let policy = json!({"name": "p", "features": ["x", "x"]});
    check(
        &[("/retraining/policies", json!([policy, policy]))],
        &[
            "`retraining.policies[1].name`: names the policy `p` again, after \
         `retraining.policies[0].name`; give it a name of its own, or remove one of the two",
            "`retraining.policies[0].features[1]`: names the feature `x` again, after \
         `retraining.policies[0].features[0]`; give it a name of its own, or remove one of the \
         two",
            "`retraining.policies[1].features[1]`: names the feature `x` again, after \
         `retraining.policies[1].features[0]`; give it a name of its own, or remove one of the \
         two",
        ],
    );
}

#[test]
fn names_are_bounded_in_bytes() {
    let long = "ü".repeat(100);
    check(
        &[
            ("/models/0/name", json!(long)),
            ("/models/0/version", json!(long)),
            ("/models/0/features/0/name", json!(long)),
            ("/models/0/segments", json!([{"name": "s", "path": "s", "values": [long]}])),
        ],
        &[
            "`models[0].name`: a name has 200 bytes, more than 128; use a shorter name",
            "`models[0].version`: a name has 200 bytes, more than 128; use a shorter name",
            "`models[0].features[0].name`: a name has 200 bytes, more than 128; use a shorter \
             name",
            "`models[0].segments[0].values[0]`: a name has 202 bytes, more than 128; use a \
             shorter name",
        ],
    );
}

#[test]
fn a_model_reads_a_known_topic_and_a_topic_has_a_model() {
    check(
        &[("/models/0/source", json!("log"))],
        &[
            "`models[0].source`: `log` is not the topic of a source; use one of `logs`, or add it \
         to `sources`",
            "`sources[0].topic`: `logs` is read by no model; name it as `source` of a model or \
         of its labels, or remove it",
        ],
    );
    check_one(
        "/sources/1",
        source("more"),
        "`sources[1].topic`: `more` is read by no model; name it as `source` of a model or \
         of its labels, or remove it",
    );
}

#[test]
fn records_of_several_models_are_told_apart() {
    check_one(
        "/models/1",
        model("n"),
        "`sources[0]`: carries 2 models, which its records do not tell apart; add `model`: the \
         path to the model's name in a record",
    );
    check(&[("/models/1", model("n")), ("/sources/0/model", json!("m.name"))], &[]);
}

#[test]
fn a_model_has_exactly_one_source_of_its_version() {
    check_one(
        "/models/0/version",
        Value::Null,
        "`models[0]`: has no version; add `version: \"1\"`, or `version_path` if the records \
         tell it",
    );
    check_one(
        "/models/0/version_path",
        json!("v"),
        "`models[0].version`: is given as well as `version_path`; keep `version` if all records \
         are of one version, else `version_path`",
    );
}

#[test]
fn references_have_known_placeholders_and_a_file_a_version() {
    check_one(
        "/models/0/references",
        json!("{modell}.json"),
        "`models[0].references`: `{modell}.json` has a placeholder that is not known; use \
         `{model}` and `{version}` only",
    );
    check(
        &[("/models/0/version", Value::Null), ("/models/0/version_path", json!("v"))],
        &["`models[0].references`: `m.json` is one file for all versions of the records; put \
         `{version}` into the path: each version has a reference of its own"],
    );
}

#[test]
fn paths_into_records_are_parsed() {
    check(
        &[
            ("/sources/0/event_time/path", json!("a..b")),
            ("/sources/0/model", json!("a[x]")),
            ("/models/0/prediction_id", json!("")),
            ("/models/0/version", Value::Null),
            ("/models/0/version_path", json!("a.")),
            ("/models/0/features/0/path", json!("a]")),
            ("/models/0/references", json!("{version}")),
            ("/models/0/segments", json!([{"name": "s", "path": "\\x", "values": ["a"]}])),
        ],
        &[
            "`models[0].version_path`: is `a.`: expected a key, at character 3; write keys \
             joined by `.`, list places as `[2]`, a dot inside a key as `\\.`",
            "`models[0].prediction_id`: is ``: expected a key, at character 1; write keys \
             joined by `.`, list places as `[2]`, a dot inside a key as `\\.`",
            "`models[0].features[0].path`: is `a]`: expected `.`, `[` or the end; write `\\]` \
             when it belongs to the key, at character 2; write keys joined by `.`, list places \
             as `[2]`, a dot inside a key as `\\.`",
            "`models[0].segments[0].path`: is `\\x`: a backslash stands before `.`, `[`, `]`, \
             `\\`, a leading `$` or `=` in brackets only, at character 2; write keys joined by \
             `.`, list places as `[2]`, a dot inside a key as `\\.`",
            "`sources[0].event_time.path`: is `a..b`: expected a key, at character 3; write \
             keys joined by `.`, list places as `[2]`, a dot inside a key as `\\.`",
            "`sources[0].model`: is `a[x]`: expected an array index from 0 to 65535 and `]`, or \
             `[key=text]`, at character 4; write keys joined by `.`, list places as `[2]`, a dot \
             inside a key as `\\.`",
        ],
    );
}

#[test]
fn waiting_takes_time() {
    check_one(
        "/sources/0/time/idle_timeout",
        json!("0s"),
        "`sources[0].time.idle_timeout`: is zero; write a length of time above zero, such as \
         `1m`",
    );
    check_one(
        "/sources/0/time/drift_max",
        json!("0s"),
        "`sources[0].time.drift_max`: is zero; write a length of time above zero, such as `1m`",
    );
    check_one(
        "/sources/0/time/out_of_orderness",
        json!("4000d"),
        "`sources[0].time.out_of_orderness`: `4000d` is longer than ten years; write whole \
         numbers with the units `d`, `h`, `m`, `s`, `ms`, the longest first, such as `1h30m`",
    );
}

#[test]
fn state_is_stored_now_and_then() {
    check_one(
        "/state",
        json!({"folder": "state", "commit_interval": "0s"}),
        "`state.commit_interval`: is zero; write a length of time above zero, such as `1m`",
    );
    check_one(
        "/state",
        json!({"folder": "state", "durability": "none"}),
        "`state.durability`: is `none`; use one of `process`, `power`",
    );
}

#[test]
fn a_detector_suits_the_type_and_its_effect_the_detector() {
    let x = "/models/0/features/0";
    check(
        &[
            ("/models/0/features/0/type", json!("boolean")),
            ("/models/0/features/0/detector", json!("ks")),
        ],
        &["`models[0].features[0].detector`: `ks` needs an order of the values, which \
             categories do not have; use `psi`, `kl` or `js`"],
    );
    check_one(
        "/detection/categorical/detector",
        json!("ks"),
        "`detection.categorical.detector`: `ks` needs an order of the values, which categories \
         do not have; use `psi`, `kl` or `js`",
    );
    check_one(
        "/detection/numeric/minimum_effect",
        json!(1),
        "`detection.numeric.minimum_effect`: is 1, which `ks` never exceeds; use a value \
         between 0 and 1",
    );
    check_one(
        &format!("{x}/minimum_effect"),
        json!(1.5),
        "`models[0].features[0].minimum_effect`: is 1.5, which `ks` never exceeds; use a value \
         between 0 and 1",
    );
    check_one(
        "/detection/categorical",
        json!({"detector": "js", "minimum_effect": 0.7}),
        "`detection.categorical.minimum_effect`: is 0.7, which `js` never exceeds; use a value \
         between 0 and 0.69",
    );
    check(&[("/detection/categorical/minimum_effect", json!(7))], &[]);
    check_one(
        &format!("{x}/unseen_rate_effect"),
        json!(0.1),
        "`models[0].features[0].unseen_rate_effect`: is for `categorical` and `boolean` \
         features; remove it",
    );
}

#[test]
fn segments_keep_to_their_notation_and_bound() {
    let split = |name: &str, values: Value| json!([{"name": name, "path": "s", "values": values}]);
    check_one(
        "/models/0/segments",
        split("a=b", json!(["c"])),
        "`models[0].segments[0].name`: `a=b` has a `=`, which parts name and value of a \
         segment; use another character",
    );
    check_one(
        "/models/0/segments",
        split("a", json!(["__other__"])),
        "`models[0].segments[0].values[0]`: `__other__` is the segment of all other values; \
         remove it",
    );
    let values: Vec<String> = (0..1_000).map(|it| it.to_string()).collect();
    let features: Vec<Value> = (0..100).map(|it| feature(&format!("f{it}"))).collect();
    check(
        &[
            ("/models/0/segments", split("a", json!(values))),
            ("/models/0/features", json!(features)),
        ],
        &["`models[0].segments`: make 1002 segments of 100 features and predictions, more \
             than 100000 counts in a window; watch fewer values, or fewer features"],
    );
}

#[test]
fn segments_are_of_values_that_are_listed_or_counted() {
    let split = |keys: Value| {
        let mut split = json!({"name": "s", "path": "s"});
        split.as_object_mut().unwrap().extend(keys.as_object().unwrap().clone());
        json!([split])
    };
    check(&[("/models/0/segments", split(json!({"top": 1000})))], &[]);
    for (keys, message) in [
        (
            json!({"top": 2, "values": ["a"]}),
            "`models[0].segments[0].top`: is given as well as `values`; keep `values` to say \
             which values, or `top` to say how many",
        ),
        (
            json!({}),
            "`models[0].segments[0]`: has neither `values` nor `top`; add `values` with the \
             values to watch, or `top: 10` for the most frequent ones",
        ),
    ] {
        check_one("/models/0/segments", split(keys), message);
    }
    for top in [json!(0), json!(1001), json!("2")] {
        let mut tree = smallest();
        put(&mut tree, "/models/0/segments", split(json!({"top": top})));
        let errors = load_tree(&tree).unwrap_err();
        let [error] = errors.as_slice() else { panic!("{errors}") };
        assert_eq!(error.path, "models[0].segments[0].top");
    }
    let features: Vec<Value> = (0..100).map(|it| feature(&format!("f{it}"))).collect();
    check(
        &[
            ("/models/0/segments", split(json!({"top": 1000}))),
            ("/models/0/features", json!(features)),
        ],
        &["`models[0].segments`: make 1002 segments of 100 features and predictions, more \
             than 100000 counts in a window; watch fewer values, or fewer features"],
    );
}

#[test]
fn episodes_can_open() {
    check_one(
        "/alerts",
        json!({"raise": 4, "of": 3}),
        "`alerts`: `raise` is 4, more than the 3 windows of `of`; choose `raise` up to `of`",
    );
}

#[test]
fn retraining_policies_count_features_that_exist() {
    let policy = |policy: Value| json!([policy]);
    let place = "/retraining/policies";
    check_one(
        place,
        policy(json!({"name": "p", "features": ["y"]})),
        "`retraining.policies[0].features[0]`: `y` is no feature or prediction of any model; \
         use a name from `models[].features` or `models[].predictions`",
    );
    check_one(
        place,
        policy(json!({"name": "p", "minimum_features": 2})),
        "`retraining.policies[0].minimum_features`: is 2, but only 1 features count; use at \
         most 1",
    );
    check_one(
        place,
        policy(json!({"name": "p", "cooldown": "5000d"})),
        "`retraining.policies[0].cooldown`: `5000d` is longer than ten years; write whole \
         numbers with the units `d`, `h`, `m`, `s`, `ms`, the longest first, such as `1h30m`",
    );
    check_one(
        "/retraining",
        json!({"topic": "t"}),
        "`retraining.policies`: is missing; add it: which episodes make a request",
    );
}

#[test]
fn a_launcher_answers_requests() {
    let policies = json!([{"name": "p"}]);
    check_one(
        "/launcher",
        json!({"command": ["x"]}),
        "`launcher`: has no requests to answer, because there is no `retraining`; add \
         `retraining`, or remove `launcher`",
    );
    check(
        &[
            ("/retraining/policies", policies.clone()),
            ("/launcher", json!({"command": [""], "timeout": "0s"})),
        ],
        &[
            "`launcher.command[0]`: names no program; write the path of a program",
            "`launcher.timeout`: is zero; write a length of time above zero, such as `1m`",
        ],
    );
    check(
        &[
            ("/retraining/policies", policies),
            ("/kafka/brokers", json!(["a:1"])),
            ("/launcher", json!({"command": ["x"], "group": "job"})),
        ],
        &["`launcher.group`: `job` is the consumer group of the watching job too; give the \
             launcher a group of its own"],
    );
}

#[test]
fn addresses_of_outputs_are_addresses() {
    check_one(
        "/outputs/listen",
        json!("9464"),
        "`outputs.listen`: `9464` is not `host:port`; write it like `127.0.0.1:9464`, or \
         `0.0.0.0:9464` for all interfaces",
    );
    check(&[("/outputs/listen", json!("[::]:0"))], &[]);
    check_one(
        "/telemetry/otlp_endpoint",
        json!("collector:4318"),
        "`telemetry.otlp_endpoint`: `collector:4318` is not an HTTP address; write it like \
         `http://127.0.0.1:4318`",
    );
}

#[test]
fn written_topics_are_apart_from_read_ones_and_from_each_other() {
    check_one(
        "/sources/0/dead_letter_topic",
        json!("logs"),
        "`sources[0].dead_letter_topic`: `logs` is the topic of `sources[0].topic` too; give \
         each a topic of its own",
    );
    check(
        &[
            (
                "/retraining",
                json!({"topic": "a", "status_topic": "a", "policies": [{"name": "p"}]}),
            ),
            ("/outputs/results_topic", json!("logs")),
            ("/sources/0/dead_letter_topic", json!("a")),
        ],
        &[
            "`retraining.status_topic`: `a` is the topic of `retraining.topic` too; give each a \
             topic of its own",
            "`outputs.results_topic`: `logs` is the topic of `sources[0].topic` too; give each \
             a topic of its own",
            "`sources[0].dead_letter_topic`: `a` is the topic of `retraining.topic` too; give \
             each a topic of its own",
        ],
    );
}

#[test]
fn all_problems_are_found_at_once() {
    let mut tree = smallest();
    put(&mut tree, "/kafka/brokers", json!(["nowhere"]));
    put(&mut tree, "/sources/0/event_time/path", json!(""));
    put(&mut tree, "/models/0/source", json!("other"));
    put(&mut tree, "/models/0/window/length", json!("1ms"));
    put(&mut tree, "/alerts/raise", json!(9));
    put(&mut tree, "/outputs/listen", json!("here"));
    let errors = load_tree(&tree).unwrap_err();
    let places: Vec<_> = errors.as_slice().iter().map(|it| it.path.as_str()).collect();
    assert_eq!(
        places,
        [
            "kafka.brokers[0]",
            "models[0].source",
            "models[0].window.length",
            "sources[0].topic",
            "sources[0].event_time.path",
            "alerts",
            "outputs.listen",
        ]
    );
}

#[test]
fn a_file_that_does_not_fit_the_schema_is_checked_further() {
    let mut tree = smallest();
    put(&mut tree, "/nmae", json!("job"));
    put(&mut tree, "/name", json!(null));
    put(&mut tree, "/kafka/brokers", json!(["nowhere"]));
    put(&mut tree, "/kafka/consumers", json!("two"));
    put(&mut tree, "/models/0/version", json!(1));
    put(&mut tree, "/models/0/window/length", json!("an hour"));
    put(&mut tree, "/models/0/window/wait_max", json!("0s"));
    put(&mut tree, "/models/0/features/0/minimum_effect", json!(-1));
    put(&mut tree, "/models/0/features/0/detector", json!("chi"));
    put(&mut tree, "/models/0/features/0/path", json!("a..b"));
    put(&mut tree, "/models/0/segments", json!([{"name": "a=b", "path": "a"}]));
    put(&mut tree, "/outputs/listen", json!("here"));
    let errors = load_tree(&tree).unwrap_err();
    let mut places: Vec<_> = errors.as_slice().iter().map(|it| it.path.as_str()).collect();
    places.sort_unstable();
    assert_eq!(
        places,
        [
            "kafka.brokers[0]",
            "kafka.consumers",
            "models[0].features[0].detector",
            "models[0].features[0].minimum_effect",
            "models[0].features[0].path",
            "models[0].segments[0]",
            "models[0].segments[0].name",
            "models[0].version",
            "models[0].window.length",
            "models[0].window.wait_max",
            "name",
            "nmae",
            "outputs.listen",
        ]
    );
}

/// What stands in for a wrong value must not be taken for the user's.
#[test]
fn a_mismatch_has_no_consequences_elsewhere() {
    let policy = json!({"name": "p", "minimum_features": 2, "features": ["x", "y"]});
    let retraining = json!({"policies": [policy]});
    for (pointer, value, place) in [
        ("/sources/0/topic", json!(7), "sources[0].topic"),
        ("/sources/0/topic", json!(null), "sources[0].topic"),
        ("/sources", json!("logs"), "sources"),
        ("/models/0/source", json!(["logs"]), "models[0].source"),
        ("/models/0/features/0/name", json!(true), "models[0].features[0].name"),
        ("/models/0/features", json!("x"), "models[0].features"),
        ("/models/0/features", json!([]), "models[0].features"),
        ("/models", json!({}), "models"),
        ("/models/0", json!("m"), "models[0]"),
        ("/models/0/window", json!("1h"), "models[0].window"),
        ("/sources/0/event_time", json!("at"), "sources[0].event_time"),
        ("/sources/0/start", json!("now"), "sources[0].start"),
        ("/retraining/policies", json!("p"), "retraining.policies"),
        ("/retraining", json!(true), "retraining"),
        ("/detection", json!([]), "detection"),
        ("/models/0/predictoins", json!([]), "models[0].predictoins"),
        ("/retrainin", json!({"policies": []}), "retrainin"),
        ("/alerts/raise", json!(0), "alerts.raise"),
    ] {
        let mut tree = smallest();
        // Where the list of predictions is misspelled, `y` was meant to be there.
        if place != "models[0].predictoins" {
            let second = json!({"name": "y", "path": "y", "type": "float64"});
            put(&mut tree, "/models/0/features/1", second);
        }
        if place != "retrainin" {
            put(&mut tree, "/retraining", retraining.clone());
        }
        put(&mut tree, "/launcher", json!({"command": ["true"]}));
        put(&mut tree, pointer, value.clone());
        let errors = load_tree(&tree).unwrap_err();
        let places: Vec<_> = errors.as_slice().iter().map(|it| it.path.as_str()).collect();
        assert_eq!(places, [place], "{pointer}: {value}: {errors}");
    }
}
