//! Batches of records with and without values, and what is told of them.

use driftd_catalog::{ModelId, Timestamp};
use driftd_detectors::{Grid, NumericCounts, NumericReference, Precision};
use driftd_ingest::Message;
use serde_json::{Value, json};

use super::*;
use crate::config::{Config, load};
use crate::profile::Profile;

/// Two models of one topic, both with `a`.
fn config() -> Config {
    config_of("t", [&["in.a", "in.b"], &["in.a", "in.c"]])
}

/// Two models of one topic, with features at these paths.
fn config_of(time: &str, paths: [&[&str]; 2]) -> Config {
    let model = |name: &str, paths: &[&str]| {
        let feature = |(number, path): (usize, &&str)| {
            let name = format!("f{number}");
            json!({"name": name, "path": path, "type": "float64"})
        };
        let features: Vec<Value> = paths.iter().enumerate().map(feature).collect();
        json!({
            "name": name,
            "source": "logs",
            "version_path": "v",
            "references": "{model}-{version}.json",
            "window": {"length": "1h"},
            "features": features,
        })
    };
    let tree = json!({
        "name": "job",
        "sources": [{
            "topic": "logs",
            "start": "earliest",
            "model": "m",
            "event_time": {"path": time, "format": "unix_millis"},
        }],
        "models": [model("one", paths[0]), model("two", paths[1])],
    });
    load(&tree.to_string(), &|_| None).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The reference of a model with 1,000 rows, of which `missing` have no value.
fn reference(config: &Config, model: usize, missing: u64) -> ModelReference {
    let grid = Arc::new(Grid::from_sorted(Precision::F64, &[1.0, 2.0, 3.0], 2).unwrap());
    let mut cells = vec![0; grid.cells()];
    cells[1] = 1_000 - missing;
    let counts =
        NumericCounts { cells: cells.into(), null: missing, ..NumericCounts::empty(&grid) };
    let feature = FeatureReference::Numeric(NumericReference { grid, counts });
    let config = &config.models[model];
    let names = config.features.iter().map(|it| it.name.to_string());
    let profile = Profile {
        digest: "d".into(),
        model: config.name.to_string(),
        version: "1".to_owned(),
        created: Timestamp::from_millis(0),
        rows: 1_000,
        origin: Vec::new(),
        features: names.map(|name| (name, feature.clone())).collect(),
        segments: BTreeMap::new(),
    };
    let id = ModelId::try_new(&config.name, "1").unwrap();
    ModelReference::try_new(&id, config, profile).unwrap()
}

/// Records of one partition.
struct Played {
    config: Config,
    fields: Fields,
    offset: i64,
    /// Of each model, where it has one.
    references: [Option<ModelReference>; 2],
    /// What is beside all payloads, in the order of the schema.
    beside: Vec<Option<&'static str>>,
}

impl Played {
    fn new(missing: [Option<u64>; 2]) -> Self {
        Self::of(config(), missing)
    }

    fn of(config: Config, missing: [Option<u64>; 2]) -> Self {
        let of = |model: usize| missing[model].map(|it| reference(&config, model, it));
        let references = [of(0), of(1)];
        Self { config, fields: Fields::default(), offset: 0, references, beside: Vec::new() }
    }

    /// Reads a batch: so many times each of the records.
    fn read(&mut self, records: &[(u64, Value)]) {
        let source = &self.config.sources[0];
        let mut decoder = source.decoder();
        let envelope: Vec<_> = self.beside.iter().map(|it| it.map(str::as_bytes)).collect();
        for (times, record) in records {
            let payload = record.to_string();
            for _ in 0..*times {
                let payload = Some(payload.as_bytes());
                let offset = self.offset;
                let (timestamp, envelope) = (None, &envelope[..]);
                let _told = decoder.decode(&Message { payload, offset, timestamp, envelope });
                self.offset += 1;
            }
        }
        let decoded = decoder.finish();
        let batch = |model: usize| decoded.batches[model].as_ref();
        let rows = |model: usize| batch(model).map_or(0, arrow::array::RecordBatch::num_rows);
        let counted = || {
            let known = self.references.iter().enumerate();
            let known = known.filter_map(|(model, it)| Some((model, it.as_ref()?)));
            known.map(|(model, it)| (model, vec![(rows(model) as u64, it)])).collect()
        };
        self.fields.update(&source.schema, &decoded, counted);
    }

    /// Returns path, problem, records and first offset of what stands.
    fn standing(&self) -> Vec<(String, FieldProblem, u64, i64)> {
        let changes = self.fields.changes().into_iter();
        changes.map(|it| (it.path.to_string(), it.problem, it.records, it.from_offset)).collect()
    }
}

fn record(model: &str, inputs: &Value) -> Value {
    json!({"m": model, "v": "1", "t": 1_700_000_000_000_i64, "in": inputs})
}

fn whole() -> Value {
    record("one", &json!({"a": 1, "b": 2}))
}

#[test]
fn a_field_that_no_record_has_any_more_is_told_until_one_has() {
    let mut played = Played::new([Some(10), Some(10)]);
    let without = record("one", &json!({"a": 1}));
    played.read(&[(500, whole())]);
    played.read(&[(99, without.clone())]);
    assert_eq!(played.standing(), []);
    played.read(&[(1, without.clone())]);
    let change = ("in.b".to_owned(), FieldProblem::Absent, 100, 500);
    assert_eq!(played.standing(), [change]);
    let (news, over) = played.fields.take_news();
    assert_eq!((news.len(), over.len()), (1, 0));
    played.read(&[(5, record("one", &json!({"a": 1, "b": null})))]);
    assert_eq!(played.standing()[0].2, 105, "null is as absent");
    assert_eq!(played.fields.take_news(), (Vec::new(), Vec::new()), "it was told");
    played.read(&[(300, without), (1, whole())]);
    assert_eq!(played.standing(), []);
    assert_eq!(played.fields.take_news(), (Vec::new(), vec!["in.b".into()]));
}

#[test]
fn values_that_are_often_missing_take_more_records() {
    // ((900.5 + n) / (1001 + n))^n is below 1e-9 from 247 on.
    for (records, is_told) in [(246, false), (247, true)] {
        let mut played = Played::new([Some(900), None]);
        played.read(&[(records, record("one", &json!({"a": 1})))]);
        assert_eq!(played.standing().len(), usize::from(is_told), "{records}");
    }
    // A value in a thousand rows says little of how rare it is.
    let mut played = Played::new([Some(999), None]);
    for _ in 0..50 {
        played.read(&[(1_000, record("one", &json!({"a": 1})))]);
    }
    assert_eq!(played.standing(), []);
}

#[test]
fn what_the_reference_never_had_or_does_not_tell_is_not_missed() {
    let mut played = Played::new([Some(1_000), None]);
    played.read(&[(900, record("one", &json!({"a": 1}))), (900, record("two", &json!({"a": 1})))]);
    assert_eq!(played.standing(), []);
}

#[test]
fn records_without_a_reference_do_not_make_others_many() {
    let mut played = Played::new([None, Some(0)]);
    played.read(&[(900, record("one", &json!({}))), (99, record("two", &json!({"c": 1})))]);
    assert_eq!(played.standing(), []);
    played.read(&[(1, record("two", &json!({"c": 1})))]);
    assert_eq!(played.standing(), [("in.a".to_owned(), FieldProblem::Absent, 100, 0)]);
}

#[test]
fn a_field_that_another_model_reads_is_there() {
    let mut played = Played::new([Some(0), Some(0)]);
    let without = record("one", &json!({"b": 1}));
    let other = record("two", &json!({"a": 1, "c": 1}));
    played.read(&[(200, without.clone()), (1, other)]);
    assert_eq!(played.standing(), []);
    played.read(&[(200, without.clone()), (200, record("two", &json!({"c": 1})))]);
    assert_eq!(played.standing(), [("in.a".to_owned(), FieldProblem::Absent, 400, 201)]);
}

#[test]
fn records_that_are_refused_for_a_field_tell_of_it() {
    let mut played = Played::new([None, None]);
    let text = record("one", &json!({"a": 1, "b": "2"}));
    played.read(&[(1, whole()), (100, text.clone())]);
    assert_eq!(played.standing(), [], "the same batch has a value");
    played.read(&[(100, text)]);
    assert_eq!(played.standing(), [("in.b".to_owned(), FieldProblem::Unreadable, 100, 101)]);
    played.read(&[(3, record("one", &json!({"a": 1})))]);
    assert_eq!(played.standing().len(), 1, "no value is no sign of a change back");
    played.read(&[(1, whole())]);
    assert_eq!(played.standing(), []);
}

#[test]
fn what_lies_in_something_else_is_told_by_the_part_that_is() {
    let mut played = Played::new([None, None]);
    played.read(&[(100, record("one", &json!([1, 2])))]);
    assert_eq!(played.standing(), [("in".to_owned(), FieldProblem::Unreadable, 100, 0)]);
    played.read(&[(1, record("two", &json!({"c": 1})))]);
    assert_eq!(played.standing(), [], "a value in it is one of it");
}

#[test]
fn the_time_of_records_is_a_field_too() {
    let mut played = Played::new([None, None]);
    let mut timeless = whole();
    timeless.as_object_mut().unwrap().shift_remove("t");
    let mut named = whole();
    named["t"] = json!("yesterday");
    played.read(&[(100, timeless)]);
    let absent = ("t".to_owned(), FieldProblem::Absent, 100, 0);
    assert_eq!(played.standing(), std::slice::from_ref(&absent));
    played.read(&[(100, named)]);
    let unreadable = ("t".to_owned(), FieldProblem::Unreadable, 100, 100);
    assert_eq!(played.standing(), [absent, unreadable], "neither has a value");
    played.read(&[(1, whole())]);
    assert_eq!(played.standing(), []);
}

/// A record that has all that paths beginning with `$` lead to, but for headers.
fn with_dollars() -> Value {
    let mut record = whole();
    for (key, inside) in [("$oid", "a"), ("$key", "b"), ("$headers", "c")] {
        record[key] = json!({inside: 1});
    }
    record
}

/// Keys of payloads, of which one needs no backslash, and a header.
const DOLLARS: [&str; 4] = ["$oid.a", r"\$key.b", r"\$headers.c", "$headers.h"];

#[test]
fn fields_whose_paths_begin_with_a_dollar_are_told_as_others() {
    let config = config_of("t", [&DOLLARS, &["$headers.h"]]);
    let mut played = Played::of(config, [Some(0), None]);
    let change = |path: &str, problem, offset| (path.to_owned(), problem, 100, offset);
    let absent = |path: &str| change(path, FieldProblem::Absent, 0);
    played.beside = vec![None];
    played.read(&[(100, whole())]);
    let all = ["$headers.h", "$oid.a", r"\$headers.c", r"\$key.b"].map(absent);
    assert_eq!(played.standing(), all);
    played.read(&[(1, with_dollars())]);
    assert_eq!(played.standing().len(), 1, "the header is still missing");
    played.beside = vec![Some("0.5")];
    played.read(&[(1, whole())]);
    assert_eq!(played.standing(), [], "and came");

    // What has others inside is told with its sign escaped, however the path was written.
    for (key, part) in [("$oid", r"\$oid"), ("$key", r"\$key")] {
        let mut other = with_dollars();
        other[key] = json!(5);
        let offset = played.offset;
        played.read(&[(100, other)]);
        assert_eq!(played.standing(), [change(part, FieldProblem::Unreadable, offset)]);
        played.read(&[(1, with_dollars())]);
        assert_eq!(played.standing(), []);
    }
}

#[test]
fn a_header_is_no_key_of_the_payload_that_is_called_so() {
    let config = config_of("t", [&DOLLARS, &["$headers.h"]]);
    let mut played = Played::of(config, [None, None]);
    played.beside = vec![Some("0.5")];
    let mut other = with_dollars();
    other["$headers"] = json!(5);
    // The second has the header, and nothing at the key.
    played.read(&[(100, other), (1, record("two", &json!({})))]);
    let change = (r"\$headers".to_owned(), FieldProblem::Unreadable, 100, 0);
    assert_eq!(played.standing(), std::slice::from_ref(&change));
    played.read(&[(1, with_dollars())]);
    assert_eq!(played.standing(), []);

    played.beside = vec![Some("text")];
    played.read(&[(100, with_dollars())]);
    let change = ("$headers.h".to_owned(), FieldProblem::Unreadable, 100, 102);
    assert_eq!(played.standing(), std::slice::from_ref(&change));
    played.beside = vec![None];
    played.read(&[(100, with_dollars())]);
    assert_eq!(played.standing(), [change], "keys of the payload say nothing of it");
}

#[test]
fn a_time_beside_the_payload_is_a_field_too() {
    for (path, text) in [("$headers.t", "1700000000000"), ("$key", "1700000000000")] {
        let mut played = Played::of(config_of(path, [&["in.a"], &["in.a"]]), [None, None]);
        let change = |problem, offset| (path.to_owned(), problem, 100, offset);
        played.beside = vec![None];
        played.read(&[(100, whole())]);
        let absent = change(FieldProblem::Absent, 0);
        assert_eq!(played.standing(), std::slice::from_ref(&absent));
        played.beside = vec![Some("yesterday")];
        played.read(&[(100, whole())]);
        assert_eq!(played.standing(), [absent, change(FieldProblem::Unreadable, 100)]);
        played.beside = vec![Some(text)];
        played.read(&[(1, whole())]);
        assert_eq!(played.standing(), []);
    }
}
