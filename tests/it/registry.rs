//! Schemas from a registry: what it is asked, what is remembered, and what is told apart of its
//! answers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use driftd::registry::{RegistryError, Writers};
use driftd_core::config::{self, Config};
use driftd_fixtures::kafka::secured::SecuredBroker;
use driftd_fixtures::wait;
use driftd_fixtures::work_dir::WorkDir;
use driftd_ingest::{AvroSchema, MessageName, Program, SchemaId, SchemaName, Uuid};
use driftd_tests::registry::Registry;
use serde_json::{Value, json};

/// Far above the two seconds that one that did not answer is left alone for.
const DEADLINE: Duration = Duration::from_mins(1);

fn config(avro: &Value) -> Config {
    config_of("avro", avro)
}

fn config_of(format: &str, section: &Value) -> Config {
    let config = json!({
        "name": "job",
        "sources": [{
            "topic": "logs",
            "start": "earliest",
            "format": format,
            format: section,
            "event_time": {"path": "t", "format": "unix_seconds"},
        }],
        "models": [{
            "name": "m",
            "source": "logs",
            "version": "1",
            "references": "m.json",
            "window": {"length": "1h"},
            "features": [{"name": "x", "path": "in.x", "type": "float64"}],
        }],
    });
    config::load(&config.to_string(), &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
}

fn open(registry: &Value) -> Writers {
    let config = config(&json!({"registry": registry}));
    let writers = Writers::open(&config.sources[0], Path::new("."));
    writers.expect("nothing is read").expect("the format is Avro")
}

fn ask(writers: &Writers, id: u64) -> Result<Option<Program>, Arc<RegistryError>> {
    writers.program(&SchemaId::registered(id), &|| ())
}

fn record(name: &str, fields: &Value) -> Value {
    json!({"type": "record", "name": name, "fields": fields})
}

#[test]
fn a_schema_is_asked_for_once_with_all_that_it_refers_to() {
    let registry = Registry::start();
    registry.rise();
    let inner = json!([{"name": "x", "type": "D"}]);
    registry.register_subject("D", &json!({"type": "fixed", "name": "D", "size": 8}), &[]);
    registry.register_subject("n.In", &record("In", &inner), &["D"]);
    let outer = json!([
        {"name": "t", "type": "long"}, {"name": "in", "type": "In"}, {"name": "d", "type": "D"},
    ]);
    registry.register(7, &record("Out", &outer), &["n.In", "D"]);
    let writers = open(&json!({"url": registry.url()}));
    let first = ask(&writers, 7).expect("it answers").expect("there is one");
    let expected = ["/schemas/ids/7", "/subjects/n.In/versions/1", "/subjects/D/versions/1"];
    assert_eq!(registry.asked(), expected);
    let again = ask(&writers, 7).expect("it is known").expect("there is one");
    let (Program::Avro(first), Program::Avro(again)) = (&first, &again) else {
        panic!("they are of Avro")
    };
    assert!(Arc::ptr_eq(first, again));
    assert_eq!(registry.asked(), [""; 0]);
}

#[test]
fn schemas_that_refer_to_each_other_end_and_serve_nobody() {
    let registry = Registry::start();
    registry.rise();
    registry.register_subject("A", &record("A", &json!([{"name": "b", "type": "B"}])), &["B"]);
    registry.register_subject("B", &record("B", &json!([{"name": "a", "type": "A"}])), &["A"]);
    registry.register(1, &json!("A"), &["A"]);
    // A schema of another kind.
    registry.put(
        "/schemas/ids/2",
        200,
        &json!({"schema": "message M {}", "schemaType": "PROTOBUF"}),
    );
    let writers = open(&json!({"url": registry.url()}));
    assert!(ask(&writers, 1).expect("it answers").is_none());
    assert!(ask(&writers, 2).expect("it answers").is_none());
}

#[test]
fn that_there_is_no_schema_is_another_answer_than_none() {
    let registry = Registry::start();
    registry.rise();
    let writers = open(&json!({"url": registry.url()}));
    assert!(ask(&writers, 9).expect("it answers").is_none());
    assert!(ask(&writers, 9).expect("it is known").is_none());
    assert_eq!(registry.asked(), ["/schemas/ids/9"]);
    for (status, body, expected) in [
        // Of something that is no registry, or not the right path of one.
        (404, json!("no such page"), "answers 404 Not Found when asked for `/schemas/ids/3`"),
        (404, json!({"error_code": 404}), "answers 404 Not Found when asked for"),
        (500, json!({"error_code": 50001}), "answers 500 Internal Server Error when asked for"),
        (302, json!({}), "answers 302 Found when asked for"),
        (200, json!({"scheme": ""}), "does not answer like a schema registry"),
    ] {
        let writers = open(&json!({"url": registry.url()}));
        registry.put("/schemas/ids/3", status, &body);
        let error = ask(&writers, 3).expect_err("it does not say").to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn one_that_does_not_answer_is_asked_again_after_a_pause() {
    let registry = Registry::start();
    let fields = json!([{"name": "t", "type": "long"}]);
    registry.register(5, &record("R", &fields), &[]);
    let writers = open(&json!({"url": registry.url()}));
    let error = ask(&writers, 5).expect_err("it is down");
    assert!(error.to_string().ends_with("does not answer"), "{error}");
    registry.rise();
    // Of the same silence, for other schemas too.
    assert!(ask(&writers, 6).is_err());
    assert_eq!(registry.asked(), ["/schemas/ids/5"]);
    let found = wait::until("an answer", DEADLINE, || ask(&writers, 5).ok());
    assert!(found.is_some());
}

#[test]
fn who_asks_says_who_it_is() {
    let registry = Registry::start();
    registry.rise();
    // `driftd:Hunter 2`
    registry.ask_for("Basic ZHJpZnRkOkh1bnRlciAy");
    let url = registry.url();
    let error = ask(&open(&json!({"url": url})), 4).expect_err("it does not say").to_string();
    assert!(error.contains("401 Unauthorized"), "{error}");
    let known = json!({"url": url, "username": "driftd", "password": "Hunter 2"});
    assert!(ask(&open(&known), 4).expect("it answers").is_none());
    registry.ask_for("Bearer abc.def");
    let known = json!({"url": url, "token": "abc.def"});
    assert!(ask(&open(&known), 4).expect("it answers").is_none());
}

#[test]
fn schemas_in_files_are_known_from_the_start_by_their_fingerprints() {
    let dir = WorkDir::new("schemas");
    let time = json!({"name": "t", "type": "long"});
    let older = record("S", &json!([time])).to_string();
    let inner = record("In", &json!([{"name": "x", "type": "double"}]));
    let first = record("R", &json!([time, {"name": "in", "type": inner}])).to_string();
    dir.write("first.avsc", &first);
    dir.write("second.avsc", &older);
    dir.write("none.avsc", "{}");
    let open = |avro: &Value| {
        let config = config(avro);
        Writers::open(&config.sources[0], dir.path()).map(|it| it.expect("the format is Avro"))
    };
    let one = open(&json!({"schema": "first.avsc"})).expect("it is a schema");
    assert!(one.program(&SchemaId::ONLY, &|| ()).expect("nobody is asked").is_some());
    let both = open(&json!({"schemas": ["first.avsc", "second.avsc"]})).expect("they are schemas");
    let fingerprint = AvroSchema::parse(&first, &[]).expect("a schema").fingerprint();
    let known = SchemaId::of_fingerprint(fingerprint.expect("it refers to no other"));
    assert!(both.program(&known, &|| ()).expect("nobody is asked").is_some());
    let SchemaName::Fingerprint(number) = known.schema() else { panic!("{known}") };
    let other = SchemaId::of_fingerprint(number ^ 1);
    assert!(both.program(&other, &|| ()).expect("nobody is asked").is_none());
    for (file, expected) in [
        ("none.avsc", "is no Avro schema"),
        ("absent.avsc", "cannot read"),
        ("second.avsc", "has no field for `in`"),
    ] {
        let error = open(&json!({"schema": file})).expect_err("it is no schema").to_string();
        assert!(error.contains(expected) && error.contains(file), "{error}");
    }
}

#[test]
fn a_registry_with_tls_is_one_whose_certificate_is_trusted() {
    // It speaks TLS, if not HTTP.
    let broker = SecuredBroker::shared();
    for (authority, is_trusted) in [("ca.pem", true), ("other-ca.pem", false)] {
        let url = format!("https://{}", broker.tls());
        let writers = open(&json!({"url": url, "ca_file": broker.file(authority)}));
        let error = ask(&writers, 1).expect_err("it is no registry");
        let RegistryError::Silent { url: _, source } = &*error else { panic!("{error}") };
        let is_refused = source.to_string().contains("certificate verify failed");
        assert_eq!(is_refused, !is_trusted, "{source}");
    }
}

/// Whoever writes to the topic writes such numbers, and a registry has other words for them.
#[test]
fn a_number_that_no_registry_gives_is_no_schema_and_not_asked_for() {
    let registry = Registry::start();
    registry.rise();
    let confluent = open(&json!({"url": registry.url()}));
    assert!(ask(&confluent, 1 << 31).expect("it is known").is_none());
    assert!(ask(&confluent, (1 << 31) - 1).expect("it answers").is_none());
    let apicurio = open(&json!({"url": registry.url(), "framing": "apicurio"}));
    assert!(ask(&apicurio, u64::MAX).expect("it is known").is_none());
    assert!(ask(&apicurio, 1 << 31).expect("it answers").is_none());
    assert_eq!(registry.asked(), ["/schemas/ids/2147483647", "/schemas/ids/2147483648"]);
}

#[test]
fn an_identifier_in_a_header_and_the_name_of_a_type_are_asked_for() {
    let registry = Registry::start();
    registry.rise();
    let guid = "b7b4a7f0-9c96-4e4a-a687-fb5de9ef0c63";
    let uuid = SchemaName::Uuid(Uuid(0xb7b4_a7f0_9c96_4e4a_a687_fb5d_e9ef_0c63));
    let fields = json!([{"name": "t", "type": "long"}]);
    let schema = json!({"schema": record("R", &fields).to_string()});
    registry.put(&format!("/schemas/guids/{guid}"), 200, &schema);
    let writers = open(&json!({"url": registry.url(), "framing": "confluent_header"}));
    let ask = |writers: &Writers, id: SchemaId| writers.program(&id, &|| ()).expect("it answers");
    assert!(ask(&writers, SchemaId::of(uuid)).is_some());
    assert!(ask(&writers, SchemaId::of(SchemaName::Uuid(Uuid(1)))).is_none());
    let zero = "/schemas/guids/00000000-0000-0000-0000-000000000001";
    assert_eq!(registry.asked(), [format!("/schemas/guids/{guid}"), zero.to_owned()]);

    let text = "syntax = \"proto3\"; package shop; message Other {}
        message Out { message Inner { int64 t = 1; } int64 t = 1; Inner in = 2; }";
    registry.register_proto(7, text, &[]);
    let section = json!({"registry": {"url": registry.url(), "framing": "apicurio3"}});
    let config = config_of("protobuf", &section);
    let writers = Writers::open(&config.sources[0], Path::new("."));
    let writers = writers.expect("nothing is read").expect("the format is Protobuf");
    let called = |name: &str| {
        ask(&writers, SchemaId::registered(7).with_message(MessageName::Called(name.into())))
    };
    assert!(matches!(called("Out"), Some(Program::Protobuf(_))));
    assert!(called("Other").is_some());
    for name in ["Inner", "shop.Out", "out", ""] {
        assert!(called(name).is_none(), "{name}");
    }
    assert_eq!(registry.asked(), ["/schemas/ids/7"]);
}

#[test]
fn what_is_wrong_with_one_schema_does_not_hold_up_the_others() {
    let registry = Registry::start();
    registry.rise();
    registry.put("/schemas/ids/3", 403, &json!({"error_code": 40301}));
    registry.register(4, &record("R", &json!([{"name": "t", "type": "long"}])), &[]);
    let writers = open(&json!({"url": registry.url()}));
    ask(&writers, 3).expect_err("it is refused");
    ask(&writers, 3).expect_err("it is still");
    assert_eq!(registry.asked(), ["/schemas/ids/3"]);
    assert!(ask(&writers, 4).expect("it answers").is_some());
}

#[test]
fn a_message_of_a_schema_is_found_by_its_place_with_what_it_imports() {
    let registry = Registry::start();
    registry.rise();
    registry.register_proto_subject(
        "inner",
        "syntax = \"proto3\"; message D { double x = 1; }",
        &[],
    );
    let imports = [("shop/inner.proto", "inner")];
    let text = "syntax = \"proto3\"; import \"shop/inner.proto\";
        import \"google/protobuf/timestamp.proto\"; import \"confluent/meta.proto\";
        message Other { option (confluent.message_meta).doc = \"other\"; }
        message Out { message In { D in = 1; } google.protobuf.Timestamp t = 1; D in = 2; }";
    registry.register_proto(7, text, &imports);
    registry.register_proto(8, "message {", &[]);
    let deep = "message A {".repeat(10_000) + &"}".repeat(10_000);
    registry.register_proto(9, &deep, &[]);
    registry.register(10, &record("R", &json!([])), &[]);
    let config = config_of("protobuf", &json!({"registry": {"url": registry.url()}}));
    let writers = Writers::open(&config.sources[0], Path::new("."));
    let writers = writers.expect("nothing is read").expect("the format is Protobuf");
    let ask = |schema: u64, places: &[u64]| {
        let id = SchemaId::registered(schema).at(places).expect("few places");
        writers.program(&id, &|| ()).expect("it answers")
    };
    assert!(matches!(ask(7, &[1]), Some(Program::Protobuf(_))));
    let expected = ["/schemas/ids/7", "/subjects/inner/versions/1"];
    assert_eq!(registry.asked(), expected);
    assert!(ask(7, &[1]).is_some());
    assert_eq!(registry.asked(), [""; 0]);
    assert!(ask(7, &[1, 0]).is_some());
    for place in 2..100 {
        assert!(ask(7, &[place]).is_none(), "there is no such message");
    }
    assert_eq!(registry.asked(), [""; 0], "whatever messages are named of a schema, it is known");
    for place in 0..100 {
        assert!(ask(8, &[place]).is_none(), "the schema is none");
    }
    assert_eq!(registry.asked(), ["/schemas/ids/8"]);
    for (schema, places) in [(7, &[2][..]), (7, &[1, 1]), (8, &[0]), (9, &[0]), (10, &[0])] {
        assert!(ask(schema, places).is_none(), "{schema} {places:?}");
    }
}

#[test]
fn types_in_files_are_known_from_the_start() {
    let dir = WorkDir::new("types");
    std::fs::create_dir_all(dir.join("types/shop")).expect("there is a folder");
    dir.write(
        "types/shop/inner.proto",
        "syntax = \"proto3\"; package shop; message In { double x = 1; }",
    );
    dir.write(
        "a.proto",
        "syntax = \"proto3\"; import \"shop/inner.proto\"; message A { shop.In in = 1; int64 t = 2; }",
    );
    dir.write("none.proto", "message {");
    dir.write("none.pb", "none");
    let open = |protobuf: &Value| {
        let config = config_of("protobuf", protobuf);
        Writers::open(&config.sources[0], dir.path())
            .map(|it| it.expect("the format is Protobuf"))
            .map_err(|error| with_causes(&error))
    };
    let found = open(&json!({"proto": "a.proto", "include": ["types"], "message": "A"}));
    let found = found.expect("it is a type").program(&SchemaId::ONLY, &|| ());
    assert!(found.expect("nobody is asked").is_some());
    for (section, expected) in [
        (json!({"proto": "a.proto", "message": "A"}), "import 'shop/inner.proto' not found"),
        (
            json!({"proto": "a.proto", "include": ["types"], "message": "B"}),
            "defines no message `B`",
        ),
        (
            json!({"proto": "types/shop/inner.proto", "message": "shop.In"}),
            "has no field for `in`, `t`",
        ),
        (json!({"proto": "none.proto", "message": "A"}), "none.proto` cannot be compiled"),
        (json!({"proto": "absent.proto", "message": "A"}), "cannot read"),
        (json!({"descriptors": "none.pb", "message": "A"}), "has no descriptors of Protobuf"),
        (json!({"descriptors": "absent.pb", "message": "A"}), "cannot read"),
    ] {
        let error = open(&section).expect_err("it cannot be used");
        assert!(error.contains(expected), "{error}");
    }
}

/// Says an error with its causes.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
