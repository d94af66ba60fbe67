//! Messages of Avro and Protobuf: where their schemas come from.

use std::path::PathBuf;

use driftd_ingest::{AvroFraming, EnvelopeValue, ProtobufFraming};
use serde_json::{Value, json};

use super::super::{
    AvroConfig, Credentials, ProtobufConfig, ProtobufFiles, RegistryConfig, RegistryFraming,
    SourceFormat,
};
use super::{check, load_tree, put, smallest};

const ORIGINS: &str = "write one of `schema` (a file), `schemas` (files), `registry` and `glue`";
const TYPES: &str = "write `message` with one of `proto` (a file) and `descriptors` (a file), or \
                     one of `registry` and `glue`";

fn avro(avro: Value) -> [(&'static str, Value); 2] {
    [("/sources/0/format", json!("avro")), ("/sources/0/avro", avro)]
}

fn loaded(section: Value) -> AvroConfig {
    let mut tree = smallest();
    for (pointer, value) in avro(section) {
        put(&mut tree, pointer, value);
    }
    let config = load_tree(&tree).unwrap();
    let SourceFormat::Avro(found) = config.sources[0].format.clone() else {
        panic!("the format is Avro")
    };
    found
}

#[test]
fn schemas_come_from_a_file_from_files_or_from_a_registry() {
    let config = loaded(json!({"schema": "a.avsc"}));
    assert_eq!(config, AvroConfig::Schema("a.avsc".into()));
    assert_eq!(config.framing(), AvroFraming::Bare);
    let config = loaded(json!({"schemas": ["a.avsc", "b.avsc"]}));
    assert_eq!(config, AvroConfig::Schemas(vec!["a.avsc".into(), "b.avsc".into()]));
    assert_eq!(config.framing(), AvroFraming::SingleObject);
    let config = loaded(json!({"registry": {"url": "http://registry:8081/"}}));
    let expected = RegistryConfig {
        url: "http://registry:8081".to_owned(),
        framing: RegistryFraming::Confluent,
        credentials: Credentials::None,
        ca_file: None,
    };
    assert_eq!(config, AvroConfig::Registry(expected));
}

#[test]
fn a_registry_may_ask_who_it_is() {
    let registry = |registry: Value| match loaded(json!({"registry": registry})) {
        AvroConfig::Registry(found) => found,
        AvroConfig::Schema(_) | AvroConfig::Schemas(_) | AvroConfig::Glue(_) => {
            panic!("it is a registry")
        }
    };
    let found = registry(json!({
        "url": "https://r/apis/ccompat/v7", "framing": "apicurio", "ca_file": "ca.pem",
        "username": "driftd", "password": "Hunter 2",
    }));
    assert_eq!(found.framing, RegistryFraming::Apicurio);
    let framing = AvroConfig::Registry(found.clone()).framing();
    assert_eq!(framing, AvroFraming::Registry(RegistryFraming::Apicurio));
    assert_eq!(found.ca_file, Some(PathBuf::from("ca.pem")));
    let (username, password) = ("driftd".to_owned(), "Hunter 2".to_owned());
    assert_eq!(found.credentials, Credentials::Password { username, password });
    assert!(!format!("{found:?}").contains("Hunter"), "{found:?}");
    let found = registry(json!({"url": "https://r", "token": "Hunter2"}));
    assert_eq!(found.credentials, Credentials::Token("Hunter2".to_owned()));
    assert!(!format!("{found:?}").contains("Hunter"), "{found:?}");
}

#[test]
fn one_origin_of_schemas_is_named_and_no_other_format() {
    check(
        &[("/sources/0/format", json!("avro"))],
        &[&format!("`sources[0].avro`: is missing; {ORIGINS}")],
    );
    check(
        &[("/sources/0/avro", json!({"schema": "a.avsc"}))],
        &["`sources[0].avro`: is of another format than the topic's; write `format: avro` beside \
           it, or remove it"],
    );
    check(&avro(json!({})), &[&format!("`sources[0].avro`: names no schemas; {ORIGINS}")]);
    check(
        &avro(json!({"schema": "a", "schemas": ["b"]})),
        &[&format!("`sources[0].avro`: names more than one origin of schemas; {ORIGINS}")],
    );
    check(
        &avro(json!({"schemas": ["a", ""]})),
        &["`sources[0].avro.schemas[1]`: names no file; write the path of a schema's file"],
    );
}

#[test]
fn names_of_columns_are_of_json() {
    let mut changes = avro(json!({"schema": "a.avsc"})).to_vec();
    changes.push(("/sources/0/columns", json!("split.columns")));
    changes.push(("/models/0/features/0/path", json!("split.data[].x")));
    check(
        &changes,
        &["`sources[0].columns`: is for lists of JSON: fields of Avro have their names; remove \
           it, and write the names of fields into the paths"],
    );
}

#[test]
fn a_registry_has_an_address_without_secrets_and_one_way_to_sign_in() {
    let address = "write it like `https://registry.example.org:8081`";
    for (registry, message) in [
        (
            json!({"url": "registry:8081"}),
            format!(".url`: `registry:8081` is not an HTTP address; {address}"),
        ),
        (
            json!({"url": "http:///x"}),
            format!(".url`: `http:///x` is not an HTTP address; {address}"),
        ),
        (
            json!({"url": "http://user:Hunter2@r"}),
            ".url`: holds an `@`, as before a password; use `username` and `password`".to_owned(),
        ),
        (
            json!({"url": "http://r", "ca_file": "ca.pem"}),
            ".ca_file`: is not used without TLS; write `https://` in the address, or remove it"
                .to_owned(),
        ),
        (
            json!({"url": "http://r", "username": "u"}),
            "`: has only one of `username` and `password`; write both, or neither".to_owned(),
        ),
        (
            json!({"url": "http://r", "username": "u:v", "password": "p"}),
            ".username`: has a `:`; write the name alone; it cannot have one".to_owned(),
        ),
        (
            json!({"url": "http://r", "token": "t", "password": "p"}),
            ".token`: is beside another way to sign in; keep the token, or both `username` and \
             `password`"
                .to_owned(),
        ),
        (
            json!({"url": "http://r", "token": "t\n"}),
            ".token`: has a character that no token has, such as a space or line break; write \
             the token alone"
                .to_owned(),
        ),
    ] {
        let message = format!("`sources[0].avro.registry{message}");
        check(&avro(json!({"registry": registry})), &[&message]);
    }
}

fn glue() -> Value {
    json!({
        "region": "eu-central-1", "access_key_id": "AKIDEXAMPLE",
        "secret_access_key": "Hunter2", "session_token": "Token2",
    })
}

#[test]
fn the_registry_of_aws_has_a_region_and_keys_that_are_not_shown() {
    let read = |change: &dyn Fn(&mut Value)| {
        let mut section = glue();
        change(&mut section);
        match loaded(json!({"glue": section})) {
            AvroConfig::Glue(found) => found,
            AvroConfig::Schema(_) | AvroConfig::Schemas(_) | AvroConfig::Registry(_) => {
                panic!("it is of AWS")
            }
        }
    };
    let found = read(&|_| ());
    assert_eq!(found.endpoint, "https://glue.eu-central-1.amazonaws.com");
    assert_eq!(found.keys.session_token.as_deref(), Some("Token2"));
    let shown = format!("{found:?}");
    assert!(shown.contains("AKIDEXAMPLE"), "{shown}");
    assert!(!shown.contains("Hunter2") && !shown.contains("Token2"), "{shown}");
    let framing = AvroConfig::Glue(found).framing();
    assert_eq!(framing, AvroFraming::Registry(RegistryFraming::Glue));
    let found = read(&|section| {
        section["endpoint"] = json!("http://127.0.0.1:4566/");
        section["session_token"] = json!("");
    });
    assert_eq!(found.endpoint, "http://127.0.0.1:4566");
    assert_eq!(found.keys.session_token, None);
    let found = loaded_protobuf(json!({"glue": glue()}));
    assert_eq!(found.framing(), ProtobufFraming::Registry(RegistryFraming::Glue));
    for (key, value, problem) in [
        ("region", "EU", "`EU` is no name of a region"),
        ("region", "", "`` is no name of a region"),
        ("endpoint", "https://a/b", "`https://a/b` has a path"),
        ("endpoint", "https://a:b@c", "holds an `@`, as before a password"),
        ("access_key_id", "", "is empty, or has a character"),
        ("secret_access_key", "a\n", "is empty, or has a character"),
        ("session_token", "a b", "is empty, or has a character"),
    ] {
        let mut section = glue();
        section[key] = json!(value);
        let mut tree = smallest();
        for (pointer, value) in avro(json!({"glue": section})) {
            put(&mut tree, pointer, value);
        }
        let problems = load_tree(&tree).unwrap_err().to_string();
        let expected = format!("`sources[0].avro.glue.{key}`: {problem}");
        assert!(problems.contains(&expected), "{problems}");
        assert!(!problems.contains("Hunter2"), "{problems}");
    }
}

fn protobuf(protobuf: Value) -> [(&'static str, Value); 2] {
    [("/sources/0/format", json!("protobuf")), ("/sources/0/protobuf", protobuf)]
}

fn loaded_protobuf(section: Value) -> ProtobufConfig {
    let mut tree = smallest();
    for (pointer, value) in protobuf(section) {
        put(&mut tree, pointer, value);
    }
    let config = load_tree(&tree).unwrap();
    let SourceFormat::Protobuf(found) = config.sources[0].format.clone() else {
        panic!("the format is Protobuf")
    };
    found
}

#[test]
fn types_come_from_files_with_a_name_or_from_a_registry() {
    let message = "shop.v1.Prediction".to_owned();
    let section = json!({"proto": "a.proto", "include": ["b", "c"], "message": message});
    let found = loaded_protobuf(section);
    let include = vec!["b".into(), "c".into()];
    let files = ProtobufFiles::Proto { file: "a.proto".into(), include };
    assert_eq!(found, ProtobufConfig::Type { files, message: message.clone() });
    assert_eq!(found.framing(), ProtobufFraming::Bare);
    let found = loaded_protobuf(json!({"descriptors": "a.pb", "message": message}));
    let files = ProtobufFiles::Descriptors("a.pb".into());
    assert_eq!(found, ProtobufConfig::Type { files, message });
    let found = loaded_protobuf(json!({"registry": {"url": "http://registry:8081"}}));
    assert_eq!(found.framing(), ProtobufFraming::Registry(RegistryFraming::Confluent));
}

/// The header is brought beside the payload only where it is read.
#[test]
fn every_framing_of_registries_is_of_both_formats() {
    for (text, framing, has_header) in [
        ("confluent", RegistryFraming::Confluent, false),
        ("confluent_header", RegistryFraming::ConfluentHeader, true),
        ("apicurio", RegistryFraming::Apicurio, false),
        ("apicurio3", RegistryFraming::Apicurio3, false),
    ] {
        let registry = json!({"registry": {"url": "http://r", "framing": text}});
        assert_eq!(loaded(registry.clone()).framing(), AvroFraming::Registry(framing));
        assert_eq!(loaded_protobuf(registry.clone()).framing(), ProtobufFraming::Registry(framing));
        for changes in [avro(registry.clone()), protobuf(registry)] {
            let mut tree = smallest();
            for (pointer, value) in changes {
                put(&mut tree, pointer, value);
            }
            let config = load_tree(&tree).unwrap();
            let is_it = |it: &EnvelopeValue| {
                *it == EnvelopeValue::Header(driftd_ingest::SCHEMA_HEADER.into())
            };
            assert_eq!(config.sources[0].schema.envelope.iter().any(is_it), has_header, "{text}");
        }
    }
}

#[test]
fn one_origin_of_types_is_named_with_what_it_needs() {
    let registry = json!({"url": "http://r"});
    let name = "write the full name of a message, such as `shop.v1.Prediction`";
    for (section, message) in [
        (json!({}), format!("`: names no types; {TYPES}")),
        (
            json!({"proto": "a", "descriptors": "b", "message": "M"}),
            format!("`: names more than one origin of types; {TYPES}"),
        ),
        (json!({"proto": "a"}), format!(".message`: is missing; {name}")),
        (
            json!({"descriptors": "a", "message": ""}),
            format!(".message`: names no message; {name}"),
        ),
        (
            json!({"descriptors": "a", "include": ["b"], "message": "M"}),
            ".include`: is of use with `proto` only; write `proto` beside it, or remove it"
                .to_owned(),
        ),
        (
            json!({"registry": registry, "message": "M"}),
            ".message`: is of no use with a registry: its messages say of which type they are; \
             remove it"
                .to_owned(),
        ),
    ] {
        check(&protobuf(section), &[&format!("`sources[0].protobuf{message}")]);
    }
    check(
        &[("/sources/0/format", json!("protobuf"))],
        &[&format!("`sources[0].protobuf`: is missing; {TYPES}")],
    );
    let mut changes = protobuf(json!({"registry": registry})).to_vec();
    changes.push(("/sources/0/event_time/path", json!("[].at")));
    changes.push(("/models/0/features/0/path", json!("[].x")));
    check(
        &changes,
        &["`sources[0].event_time.path`: begins with `[]`, and a message of Protobuf is no list; \
           write the name of the repeated field before it"],
    );
    changes.push(("/sources/0/event_time/path", json!("$time")));
    check(
        &changes,
        &["`models[0].features[0].path`: begins with `[]`, and a message of Protobuf is no list; \
           write the name of the repeated field before it"],
    );
}

#[test]
fn what_is_of_json_only_is_refused_of_protobuf() {
    let section = json!({"proto": "a.proto", "message": "A"});
    let mut changes = protobuf(section.clone()).to_vec();
    changes.push(("/sources/0/embedded", json!([{"path": "a"}])));
    let message = "`sources[0].embedded`: is for texts of JSON; remove it, or read another topic";
    check(&changes, &[message]);
    let mut changes = protobuf(section).to_vec();
    changes.push(("/models/0/features/0/path", json!("inputs[name=x].data[]")));
    let message = "`models[0].features[0].path`: is `inputs[name=x].data[]`: an element is found \
                   by its text in JSON only; name its place, such as `[0]`";
    check(&changes, &[message]);
}
