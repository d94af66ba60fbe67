//! Messages with several records: the shapes they have, and each reason to refuse one.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Float64Type;
use driftd_catalog::Timestamp;

use super::JsonDecoder;
use super::tests::{feature, path, segment};
use crate::decode::{CELL_BYTES, CELLS_KEPT, Decode, DecodeLimits, Decoded, Message};
use crate::rejection::RejectReason;
use crate::schema::{FeatureKind, Framing, ModelSchema, SourceSchema, TimeFormat, VersionField};

const LIMITS: DecodeLimits =
    DecodeLimits { payload_bytes_max: 1 << 20, rows_max: 4, cells_max: 12 };

pub(super) fn model(features: &[&str]) -> ModelSchema {
    ModelSchema {
        name: "m".into(),
        version: VersionField::Fixed("1".into()),
        prediction_id: None,
        features: features.iter().map(|it| feature(it, FeatureKind::Float64)).collect(),
        segments: vec![],
    }
}

pub(super) fn schema(time: &str, model: ModelSchema) -> Arc<SourceSchema> {
    let schema = SourceSchema::try_new(path(time), TimeFormat::UnixMillis, None, vec![model]);
    Arc::new(schema.unwrap())
}

pub(super) fn decode_all(schema: &Arc<SourceSchema>, payloads: &[&str]) -> Decoded {
    let mut decoder = JsonDecoder::new(Arc::clone(schema), LIMITS);
    for (offset, payload) in (100..).zip(payloads) {
        let payload = Some(payload.as_bytes());
        decoder.decode(&Message { payload, offset, timestamp: None, envelope: &[] });
    }
    decoder.finish()
}

/// The rows' values of one column of the only model.
pub(super) fn column(decoded: &Decoded, column: usize) -> Vec<Option<f64>> {
    let batch = decoded.batches[0].as_ref().unwrap();
    batch.column(column).as_primitive::<Float64Type>().iter().collect()
}

/// Takes the message as so many rows, whose features are these.
#[track_caller]
pub(super) fn takes(time: &str, features: &[&str], json: &str, expected: &[&[Option<f64>]]) {
    let decoded = decode_all(&schema(time, model(features)), &[json]);
    assert_eq!(decoded.rejections, []);
    let found: Vec<_> = (0..features.len()).map(|at| column(&decoded, at)).collect();
    assert_eq!(found, expected, "{json}");
}

/// Refuses the message whole, and takes the ones around it.
#[track_caller]
pub(super) fn refuses(features: &[&str], json: &str, reason: RejectReason, detail: &str) {
    let good = r#"{"t":1,"in":[{"a":1},{"a":2}]}"#;
    let mut features = features.to_vec();
    features.push("in[].a");
    let decoded = decode_all(&schema("t", model(&features)), &[good, json, good]);
    let offsets: Vec<_> = decoded.rows.iter().map(|row| row.offset).collect();
    assert_eq!(offsets, [100, 100, 102, 102], "{:?}", decoded.rejections);
    assert_eq!(decoded.messages, 3);
    let [rejection] = &decoded.rejections[..] else { panic!("{:?}", decoded.rejections) };
    assert_eq!((rejection.offset, rejection.reason), (101, reason), "{rejection:?}");
    assert_eq!(rejection.detail, detail);
}

#[test]
fn lists_of_objects_of_arrays_and_of_values_are_rows() {
    let some = |values: &[f64]| values.iter().copied().map(Some).collect::<Vec<_>>();
    let (one, two) = (some(&[1.0, 2.0]), some(&[3.0, 4.0]));
    for (features, json) in [
        (["in[].a", "out[]"], r#"{"t":1,"in":[{"a":1},{"a":2}],"out":[3,4]}"#),
        (["in[].a", "in[].b"], r#"{"in":[{"b":3,"a":1},{"a":2,"b":4}],"t":1}"#),
        (["cols.a[]", "cols.b[]"], r#"{"t":1,"cols":{"b":[3,4],"a":[1,2]}}"#),
        (["in[][0]", "in[][2]"], r#"{"t":1,"in":[[1,0,3],[2,0,4]]}"#),
        (
            ["in[].x[1]", "out[].y.z"],
            r#"{"t":1,"in":[{"x":[0,1]},{"x":[0,2]}],
            "out":[{"y":{"z":3}},{"y":{"z":4}}]}"#,
        ),
        (["in[2][]", "in[0][]"], r#"{"t":1,"in":[[3,4],[],[1,2]]}"#),
    ] {
        takes("t", &features, json, &[&one, &two]);
    }
    takes(
        "[].t",
        &["[].a", "[].b[0]"],
        r#"[{"t":1,"a":1,"b":[3]},{"t":1,"a":2,"b":[4]}]"#,
        &[&one, &two],
    );
}

#[test]
fn what_a_message_says_once_is_so_in_each_row() {
    let mut model = model(&["in[].a", "k", "in[0].a"]);
    model.version = VersionField::Path(path("v"));
    model.segments = vec![segment("s"), segment("in[].s")];
    let json = r#"{"t":7,"v":"é\u00e9","k":9,"s":"x\ty","in":[{"a":1,"s":"p"},{"s":"\u0071"}]}"#;
    let json = json.replace(r"x\ty", "xy");
    let decoded = decode_all(&schema("t", model), &[&json]);
    assert_eq!(decoded.rejections, []);
    assert_eq!(decoded.versions, ["éé".into()]);
    assert_eq!(column(&decoded, 0), [Some(1.0), None]);
    assert_eq!(column(&decoded, 1), [Some(9.0), Some(9.0)]);
    assert_eq!(column(&decoded, 2), [Some(1.0), Some(1.0)]);
    for row in &decoded.rows {
        assert_eq!((row.offset, row.event_time), (100, Timestamp::from_millis(7)));
    }
    let batch = decoded.batches[0].as_ref().unwrap();
    let levels = |column: usize| {
        let view = crate::columns::categorical_column(batch.column(column)).unwrap();
        let view = view.column();
        let texts = view.keys.iter().map(|key| view.levels[*key as usize].to_owned());
        texts.collect::<Vec<_>>()
    };
    assert_eq!(levels(3), ["xy", "xy"]);
    assert_eq!(levels(4), ["p", "q"]);
}

#[test]
fn each_row_may_have_its_own_time_version_and_model() {
    let named = |name: &str, feature_path: &str| ModelSchema {
        name: name.into(),
        version: VersionField::Path(path("in[].v")),
        ..model(&[feature_path])
    };
    let models = vec![named("one", "in[].a"), named("two", "out[]")];
    let by = Some(path("in[].m"));
    let schema = SourceSchema::try_new(path("in[].t"), TimeFormat::UnixMillis, by, models);
    let json = r#"{"in":[{"m":"two","t":3,"v":"b"},{"m":"one","t":1,"v":"a","a":5},
        {"m":"two","t":2,"v":"a"}],"out":[7,8,9]}"#;
    let schema = Arc::new(schema.unwrap());
    let decoded = decode_all(&schema, &[json]);
    let rows: Vec<_> = decoded
        .rows
        .iter()
        .map(|row| (row.model, &*decoded.versions[usize::from(row.version)], row.event_time))
        .collect();
    let at = Timestamp::from_millis;
    assert_eq!(rows, [(1, "b", at(3)), (0, "a", at(1)), (1, "a", at(2))]);
    assert_eq!(column(&decoded, 0), [Some(5.0)]);
    let two = decoded.batches[1].as_ref().unwrap().column(0);
    assert_eq!(two.as_primitive::<Float64Type>().values(), &[7.0, 9.0]);
    // A list that no row's model reads may have any length.
    let alone = r#"{"in":[{"m":"one","t":1,"v":"a","a":5}],"out":[7,8,9]}"#;
    assert_eq!(decode_all(&schema, &[alone]).rows.len(), 1);
    let unequal = r#"{"in":[{"m":"one","t":1,"v":"a"},{"m":"two","t":1,"v":"a"}],"out":[7]}"#;
    let detail = &decode_all(&schema, &[unequal]).rejections[0].detail;
    assert_eq!(detail, "`out[]` has 1 elements, but `in[]` has 2");
}

#[test]
fn values_of_a_message_are_bounded() {
    // Four columns: three rows have twelve values.
    let features = ["in[].a", "in[].b", "k", "in[].c"];
    let json = |rows: usize| format!(r#"{{"t":1,"in":[{}]}}"#, vec!["{}"; rows].join(","));
    let nulls = [None; 3];
    takes("t", &features, &json(3), &[&nulls[..]; 4]);
    refuses(
        &features[1..],
        &json(4),
        RejectReason::TooManyRows,
        "rows with 16 values, more than 12",
    );
    // Of lines together.
    let lined = Arc::new((*schema("t", model(&features))).clone().with_framing(Framing::Lines));
    let two = [json(1), json(2)].join("\n");
    let lines = [json(2), json(2)].join("\n");
    let decoded = decode_all(&lined, &[&lines, &two]);
    assert_eq!(decoded.rows.len(), 3);
    assert_eq!(decoded.rejections[0].detail, "line 2: rows with 16 values, more than 12");
    // Of models together: `a` and `b` have three columns each.
    let rows = |names: &str| {
        let rows: Vec<_> = names.chars().map(|name| format!(r#"{{"m":"{name}"}}"#)).collect();
        format!(r#"{{"t":1,"v":"1","in":[{}]}}"#, rows.join(","))
    };
    assert_eq!(decode_all(&mixed(), &[&rows("abba")]).rows.len(), 4);
    let limits = DecodeLimits { cells_max: 11, ..LIMITS };
    let mut decoder = JsonDecoder::new(mixed(), limits);
    let payload = rows("abba");
    let payload = Some(payload.as_bytes());
    let rejection =
        decoder.decode(&Message { payload, offset: 1, timestamp: None, envelope: &[] }).unwrap();
    assert_eq!(rejection.reason, RejectReason::TooManyRows);
    assert_eq!(rejection.detail, "row 3: rows with 12 values, more than 11");
}

#[test]
fn a_large_message_leaves_little_memory_behind() {
    let features: Vec<_> = (0..500).map(|at| format!("in[].f{at}")).collect();
    let features: Vec<_> = features.iter().map(String::as_str).collect();
    let limits = DecodeLimits {
        payload_bytes_max: 1 << 20,
        rows_max: 10_000,
        cells_max: DecodeLimits::CELLS_MAX,
    };
    let schema = schema("t", model(&features));
    let mut decoder = JsonDecoder::new(Arc::clone(&schema), limits);
    let json = |rows: usize| format!(r#"{{"t":1,"in":[{}]}}"#, vec!["{}"; rows].join(","));
    for (offset, rows) in (0..).zip([10_000, 2_097, 1]) {
        let payload = json(rows);
        let payload = Some(payload.as_bytes());
        decoder.decode(&Message { payload, offset, timestamp: None, envelope: &[] });
        let bytes = decoder.rows.cells.capacity() * CELL_BYTES;
        assert!(bytes <= limits.message_bytes_max(&schema), "{bytes}");
    }
    assert!(decoder.rows.cells.capacity() <= CELLS_KEPT);
    let decoded = decoder.finish();
    assert_eq!((decoded.rows.len(), decoded.rejections.len()), (2_098, 1));
    assert_eq!(decoded.rejections[0].detail, "rows with 5000000 values, more than 1048576");
}

/// A source of two models that the elements of `in` name, with what all rows share.
fn mixed() -> Arc<SourceSchema> {
    let named = |name: &str| ModelSchema {
        name: name.into(),
        version: VersionField::Path(path("v")),
        segments: vec![segment("s")],
        ..model(&["in[].a", "k"])
    };
    let by = Some(path("in[].m"));
    let models = vec![named("a"), named("b")];
    Arc::new(SourceSchema::try_new(path("t"), TimeFormat::UnixMillis, by, models).unwrap())
}

#[test]
fn what_rows_of_several_models_share_is_read_once_a_model() {
    let escaped = |letter: char, count| format!("\\u{:04x}", u32::from(letter)).repeat(count);
    let rows = [r#"{"m":"a","a":1}"#, r#"{"m":"b","a":2}"#].join(",");
    let rows = vec![rows; 2].join(",");
    let (version, value) = (escaped('v', 120), escaped('s', 120));
    let json = format!(r#"{{"t":7,"v":"{version}","s":"{value}","k":9,"in":[{rows}]}}"#);
    let mut decoder = JsonDecoder::new(mixed(), LIMITS);
    decoder.decode(&Message {
        payload: Some(json.as_bytes()),
        offset: 100,
        timestamp: None,
        envelope: &[],
    });
    assert_eq!(decoder.rows.added.len(), 2 * (120 + 120));
    assert!(decoder.rows.added.len() <= json.len());
    let decoded = decoder.finish();
    assert_eq!(decoded.rejections, []);
    let models: Vec<_> = decoded.rows.iter().map(|row| row.model).collect();
    assert_eq!((models, decoded.versions.len()), (vec![0, 1, 0, 1], 1));
    assert_eq!(column(&decoded, 0), [Some(1.0); 2]);
    assert_eq!(column(&decoded, 1), [Some(9.0); 2]);
    // Rows of another message share nothing with these.
    let other = r#"{"t":7,"v":"2","k":8,"in":[{"m":"b"},{"m":"a"},{"m":"b"}]}"#;
    let decoded = decode_all(&mixed(), &[&json, other]);
    assert_eq!(column(&decoded, 1), [Some(9.0), Some(9.0), Some(8.0)]);
}

#[test]
fn a_version_longer_than_any_is_refused_before_it_is_read() {
    for (letters, detail) in [
        (129, "row 0: the model's version has 129 bytes"),
        (100_000, "row 0: the model's version has 600002 bytes as it is written"),
    ] {
        let version = "\\u0076".repeat(if letters == 129 { 1 } else { letters });
        let version = if letters == 129 { version + &"v".repeat(128) } else { version };
        let json = format!(r#"{{"t":7,"v":"{version}","in":[{{"m":"a"}},{{"m":"b"}}]}}"#);
        let mut decoder = JsonDecoder::new(mixed(), LIMITS);
        let message =
            Message { payload: Some(json.as_bytes()), offset: 100, timestamp: None, envelope: &[] };
        let rejection = decoder.decode(&message).unwrap();
        assert_eq!((rejection.reason, &*rejection.detail), (RejectReason::InvalidName, detail));
        assert!(decoder.rows.added.len() <= 129);
    }
}

#[test]
fn empty_lists_are_a_message_without_rows() {
    let schema = schema("t", model(&["in[].a", "out[]"]));
    let decoded = decode_all(&schema, &[r#"{"t":1,"in":[],"out":[]}"#, r#"{"in":[],"out":null}"#]);
    assert_eq!((decoded.messages, decoded.rows.len()), (2, 0));
    assert_eq!(decoded.rejections, []);
    assert_eq!((decoded.from_offset, decoded.to_offset), (100, 102));
    assert!(decoded.batches[0].is_none());
}

#[test]
fn a_list_that_is_absent_or_null_is_null_in_every_row() {
    for out in ["", r#","out":null"#] {
        let json = format!(r#"{{"t":1,"in":[{{"a":1}},{{"a":2}}]{out}}}"#);
        let expected: &[&[_]] = &[&[Some(1.0), Some(2.0)], &[None, None]];
        takes("t", &["in[].a", "out[]"], &json, expected);
    }
    let nulls = r#"{"t":1,"in":[null,{},{"a":null}]}"#;
    takes("t", &["in[].a", "in[].b.c"], nulls, &[&[None; 3], &[None; 3]]);
    for json in [r#"{"t":1}"#, r#"{"t":1,"in":null}"#] {
        refuses(&["in[].b"], json, RejectReason::MissingField, "`in[]`: absent or null");
    }
}

#[test]
fn lists_of_different_lengths_refuse_the_message() {
    let detail = "`out[]` has 1 elements, but `in[]` has 2";
    // The features are looked at in their order.
    let schema = schema("t", model(&["in[].a", "out[]"]));
    let decoded = decode_all(&schema, &[r#"{"t":1,"out":[3],"in":[{"a":1},{"a":2}]}"#]);
    assert_eq!(decoded.rejections[0].reason, RejectReason::UnequalLists);
    assert_eq!(decoded.rejections[0].detail, detail);
    let empty = r#"{"t":1,"out":[],"in":[{"a":1}]}"#;
    let detail = "`in[]` has 1 elements, but `out[]` has 0";
    refuses(&["out[]"], empty, RejectReason::UnequalLists, detail);
}

#[test]
fn what_is_no_list_refuses_the_message() {
    for (value, found) in [("3", "a number"), ("{}", "an object"), ("\"x\"", "text")] {
        let json = format!(r#"{{"t":1,"in":{value}}}"#);
        let detail = format!("`in`: expected an array, found {found}");
        refuses(&[], &json, RejectReason::WrongType, &detail);
    }
    let detail = "the message: expected an array, found an object; the paths of one record begin \
                  with a key";
    let top = schema("[].t", model(&["[].a"]));
    assert_eq!(decode_all(&top, &[r#"{"t":1,"a":1}"#]).rejections[0].detail, detail);
}

#[test]
fn one_bad_row_refuses_the_message_and_is_named() {
    let float = "a number, \"NaN\", \"Infinity\" or \"-Infinity\"";
    for (rows, reason, detail) in [
        (
            r#"{"a":1},{"a":[]}"#,
            RejectReason::WrongType,
            format!("row 1: `in[].a`: expected {float}, found an array"),
        ),
        (
            r#"{"a":1},{"a":2},7"#,
            RejectReason::WrongType,
            "row 2: `in[]`: expected an object, found a number".to_owned(),
        ),
        (
            r#"{"a":1e999}"#,
            RejectReason::NumberOutOfRange,
            "row 0: `in[].a`: a number beyond the range of f64".to_owned(),
        ),
    ] {
        refuses(&[], &format!(r#"{{"t":1,"in":[{rows}]}}"#), reason, &detail);
    }
    refuses(
        &[],
        r#"{"t":1,"in":[{"a":1},]}"#,
        RejectReason::InvalidJson,
        "trailing comma at line 1 column 22",
    );
    let own = schema("in[].t", model(&["in[].a"]));
    let decoded = decode_all(&own, &[r#"{"in":[{"t":1},{}]}"#]);
    assert_eq!(decoded.rejections[0].detail, "row 1: `in[].t`: absent or null");
}

#[test]
fn a_bad_version_of_one_row_leaves_nothing_of_the_message() {
    let mut model = model(&["in[].a"]);
    model.version = VersionField::Path(path("in[].v"));
    let schema = schema("t", model);
    let bad = r#"{"t":1,"in":[{"v":"new"},{"v":""}]}"#;
    let decoded = decode_all(&schema, &[bad, r#"{"t":1,"in":[{"v":"2"}]}"#]);
    assert_eq!(decoded.versions, ["2".into()]);
    assert_eq!((decoded.rows.len(), decoded.rows[0].offset), (1, 101));
    assert_eq!(decoded.rejections[0].detail, "row 1: the model's version is empty");
}

#[test]
fn rows_of_a_message_are_bounded() {
    let json = |rows: usize| format!(r#"{{"t":1,"in":[{}]}}"#, vec!["{}"; rows].join(","));
    takes("t", &["in[].a"], &json(4), &[&[None; 4]]);
    let detail = "`in[]` has 5 elements: more than 4 rows";
    refuses(&[], &json(5), RejectReason::TooManyRows, detail);
    // Lists that nothing is read from are not counted.
    let other = format!(r#"{{"t":1,"in":[{{}}],"x":[{}]}}"#, ["1"; 9].join(","));
    takes("t", &["in[].a"], &other, &[&[None]]);
}

#[test]
fn of_repeated_lists_the_last_counts() {
    for (json, expected) in [
        (r#"{"t":1,"in":[{"a":1}],"in":[{"a":2},{"a":3}]}"#, &[Some(2.0), Some(3.0)][..]),
        (r#"{"t":1,"in":3,"in":[{"a":2}]}"#, &[Some(2.0)]),
        (r#"{"t":1,"in":[{"a":1,"a":4}]}"#, &[Some(4.0)]),
    ] {
        takes("t", &["in[].a"], json, &[expected]);
    }
    let null = r#"{"t":1,"in":[{"a":1}],"in":null}"#;
    refuses(&[], null, RejectReason::MissingField, "`in[]`: absent or null");
}

#[test]
fn a_list_and_a_place_in_it_are_both_read() {
    let features = ["in[].a", "in[1].a", "in[3].a"];
    let json = r#"{"t":1,"in":[{"a":1},{"a":2}]}"#;
    let expected: &[&[_]] = &[&[Some(1.0), Some(2.0)], &[Some(2.0); 2], &[None; 2]];
    takes("t", &features, json, expected);
}

/// Rows of the list beside `s.columns`, with features `s.data[].a` and `s.data[].b.x`.
fn named() -> Arc<SourceSchema> {
    let model = model(&["s.data[].a", "s.data[].b.x", "out[]"]);
    let schema = SourceSchema::try_new(path("t"), TimeFormat::UnixMillis, None, vec![model]);
    Arc::new(schema.unwrap().with_columns(path("s.columns")).unwrap())
}

#[test]
fn columns_are_found_by_name_whatever_their_order() {
    let payloads = [
        r#"{"t":1,"s":{"columns":["a","b"],"data":[[1,{"x":2}],[3,null]]},"out":[5,6]}"#,
        r#"{"s":{"data":[["?",{"x":4},7]],"index":[0],"columns":["id","b","a"]},"t":1,"out":[8]}"#,
        r#"{"t":1,"s":{"columns":["\u0061","b"],"data":[null,[9,{}]]}}"#,
        r#"{"t":1,"s":{"columns":["nothing"],"data":[]}}"#,
    ];
    let decoded = decode_all(&named(), &payloads);
    assert_eq!(decoded.rejections, []);
    let some = |values: [f64; 3]| values.map(Some);
    assert_eq!(column(&decoded, 0)[..3], some([1.0, 3.0, 7.0]));
    assert_eq!(column(&decoded, 0)[3..], [None, Some(9.0)]);
    assert_eq!(column(&decoded, 1), [Some(2.0), None, Some(4.0), None, None]);
    assert_eq!(column(&decoded, 2)[..3], some([5.0, 6.0, 8.0]));
}

#[test]
fn a_named_list_that_is_absent_or_null_is_null_in_every_row() {
    let decodes = |json: &str| {
        let decoded = decode_all(&named(), &[json]);
        assert_eq!(decoded.rejections, [], "{json}");
        [0, 1, 2].map(|at| column(&decoded, at))
    };
    let expected = [vec![None, None], vec![None, None], vec![Some(5.0), Some(6.0)]];
    for table in ["", r#""s":null,"#, r#""s":{},"#, r#""s":{"data":null,"columns":3},"#] {
        assert_eq!(decodes(&format!(r#"{{"t":1,{table}"out":[5,6]}}"#)), expected);
    }
    let none = r#"{"t":1,"s":{"columns":["a","b"]}}"#;
    assert_eq!(decode_all(&named(), &[none]).rejections[0].reason, RejectReason::MissingField);
    // Of two lists only the one that is there needs its names.
    let model = model(&["d.q[].a", "d.r[].b"]);
    let schema = SourceSchema::try_new(path("t"), TimeFormat::UnixMillis, None, vec![model]);
    let schema = Arc::new(schema.unwrap().with_columns(path("d.c")).unwrap());
    let decoded = decode_all(&schema, &[r#"{"t":1,"d":{"c":["b"],"r":[[1],[2]]}}"#]);
    assert_eq!(decoded.rejections, []);
    assert_eq!(column(&decoded, 1), [Some(1.0), Some(2.0)]);
}

#[test]
fn what_a_model_takes_does_not_depend_on_the_others() {
    let named = |name: &str, feature: &str| ModelSchema { name: name.into(), ..model(&[feature]) };
    let models = || vec![named("place", "d.r[][1]"), named("name", "d.r[].a")];
    // Each message is of one model.
    let schema =
        SourceSchema::try_new(path("t"), TimeFormat::UnixMillis, Some(path("m")), models());
    let schema = Arc::new(schema.unwrap().with_columns(path("d.c")).unwrap());
    let json = [
        r#"{"t":1,"m":"place","d":{"r":[[1,2],[3]]}}"#,
        r#"{"t":1,"m":"name","d":{"r":[[1,2]]}}"#,
        r#"{"t":1,"m":"name","d":{"r":[[1,4]],"c":["b","a"]}}"#,
    ];
    let decoded = decode_all(&schema, &json);
    assert_eq!(column(&decoded, 0), [Some(2.0), None]);
    let [rejection] = &decoded.rejections[..] else { panic!("{:?}", decoded.rejections) };
    assert_eq!((rejection.offset, rejection.reason), (101, RejectReason::InvalidColumns));
    assert_eq!(decoded.batches[1].as_ref().unwrap().num_rows(), 1);
    // Each row is of one, and names it at a place.
    let by = Some(path("d.r[][0]"));
    let schema = SourceSchema::try_new(path("t"), TimeFormat::UnixMillis, by, models());
    let schema = Arc::new(schema.unwrap().with_columns(path("d.c")).unwrap());
    let json = [
        r#"{"t":1,"d":{"r":[["place",2],["place",3,4]]}}"#,
        r#"{"t":1,"d":{"r":[["place",5],["name",6]],"c":["m","a"]}}"#,
        r#"{"t":1,"d":{"r":[["place",5],["name",6]]}}"#,
    ];
    let decoded = decode_all(&schema, &json);
    assert_eq!(column(&decoded, 0), [Some(2.0), Some(3.0), Some(5.0)]);
    let name = decoded.batches[1].as_ref().unwrap().column(0).as_primitive::<Float64Type>();
    assert_eq!(name.values(), &[6.0]);
    assert_eq!(decoded.rejections[0].detail, "`d.c`: absent or null");
}

#[test]
fn columns_and_places_of_a_row_are_both_read() {
    let model = model(&["data[].a", "data[][0]", "data[][4]"]);
    let schema = SourceSchema::try_new(path("t"), TimeFormat::UnixMillis, None, vec![model]);
    let schema = Arc::new(schema.unwrap().with_columns(path("names")).unwrap());
    let json = r#"{"t":1,"names":["a","b"],"data":[[1,2],[3,4]]}"#;
    let decoded = decode_all(&schema, &[json]);
    assert_eq!(column(&decoded, 0), [Some(1.0), Some(3.0)]);
    assert_eq!(column(&decoded, 1), [Some(1.0), Some(3.0)]);
    assert_eq!(column(&decoded, 2), [None, None]);
}

#[test]
fn rows_that_do_not_fit_the_names_of_columns_refuse_the_message() {
    let list = "expected a list of names";
    for (columns, data, detail) in [
        ("null", "[[1,2]]", "`s.columns`: absent or null".to_owned()),
        ("3", "[[1,2]]", format!("`s.columns`: {list}")),
        (r#"["a",1]"#, "[[1,2]]", format!("`s.columns`: {list}")),
        (r#"["b"]"#, "[[1]]", "`s.columns`: no column is named `a`".to_owned()),
        (
            r#"["a","b","x","b"]"#,
            "[[1,{},2,{}]]",
            "`s.columns`: the names at 1 and 3 are the same".to_owned(),
        ),
        (r#"["a","b"]"#, "[[1,{}],[1]]", "row 1: `s.data[]`: 1 values for 2 columns".to_owned()),
        (r#"["a","b"]"#, "[[1,{},3]]", "row 0: `s.data[]`: 3 values for 2 columns".to_owned()),
    ] {
        let json = format!(r#"{{"t":1,"s":{{"columns":{columns},"data":{data}}}}}"#);
        let good = r#"{"t":1,"s":{"columns":["a","b"],"data":[[1,{}]]}}"#;
        let decoded = decode_all(&named(), &[good, &json, good]);
        assert_eq!(decoded.rows.len(), 2, "{json}");
        let rejection = &decoded.rejections[0];
        let found = (rejection.offset, rejection.reason, &rejection.detail);
        assert_eq!(found, (101, RejectReason::InvalidColumns, &detail));
    }
    let object = r#"{"t":1,"s":{"columns":["a","b"],"data":[{"a":1}]}}"#;
    let rejections = decode_all(&named(), &[object]).rejections;
    assert_eq!(rejections[0].reason, RejectReason::WrongType);
    assert_eq!(rejections[0].detail, "row 0: `s.data[]`: expected an array, found an object");
}

fn lines(model: ModelSchema) -> Arc<SourceSchema> {
    Arc::new((*schema("t", model)).clone().with_framing(Framing::Lines))
}

#[test]
fn each_line_that_is_not_blank_is_a_document() {
    let schema = lines(model(&["a"]));
    let payloads = ["{\"t\":1,\"a\":1}\n{\"t\":2,\"a\":2}\n", "\r\n{\"a\":3,\"t\":3}\r\n \t"];
    let decoded = decode_all(&schema, &payloads);
    assert_eq!(decoded.rejections, []);
    assert_eq!(column(&decoded, 0), [Some(1.0), Some(2.0), Some(3.0)]);
    let places: Vec<_> =
        decoded.rows.iter().map(|row| (row.offset, row.event_time.as_millis())).collect();
    assert_eq!(places, [(100, 1), (100, 2), (101, 3)]);
    assert_eq!(decoded.messages, 2);
}

#[test]
fn a_line_may_hold_several_rows() {
    let schema = lines(model(&["in[].a"]));
    let json = "{\"t\":1,\"in\":[{\"a\":1},{\"a\":2}]}\n{\"t\":2,\"in\":[]}\n{\"t\":3,\"in\":[{}]}";
    let decoded = decode_all(&schema, &[json]);
    assert_eq!(column(&decoded, 0), [Some(1.0), Some(2.0), None]);
}

#[test]
fn one_bad_line_refuses_the_message_and_is_named() {
    let good = r#"{"t":1,"v":"1","a":1}"#;
    let mut model = model(&["a"]);
    model.version = VersionField::Path(path("v"));
    let schema = lines(model);
    for (lines, reason, detail) in [
        (
            [good, "{", good],
            RejectReason::InvalidJson,
            "line 2: EOF while parsing an object at line 1 column 1",
        ),
        ([good, "", r#"{"t":1}"#], RejectReason::MissingField, "line 3: `v`: absent or null"),
        (
            [good, good, "[]"],
            RejectReason::WrongType,
            "line 3: the message: expected an object, found an array; the paths of a list of \
             records begin with `[]`",
        ),
        (
            [good, r#"{"t":1,"v":""}"#, good],
            RejectReason::InvalidName,
            "row 1: the model's version is empty",
        ),
        (["", " \t", "\r"], RejectReason::EmptyPayload, "a payload of blank lines"),
    ] {
        let payload = lines.join("\n");
        let decoded = decode_all(&schema, &[good, &payload, good]);
        assert_eq!(decoded.rows.len(), 2, "{payload}");
        let rejection = &decoded.rejections[0];
        let found = (rejection.offset, rejection.reason, &*rejection.detail);
        assert_eq!(found, (101, reason, detail));
    }
}

#[test]
fn rows_of_all_lines_are_bounded() {
    let schema = lines(model(&["a"]));
    let text = |lines: usize| vec![r#"{"t":1}"#; lines].join("\n");
    let decoded = decode_all(&schema, &[&text(4), &text(5)]);
    assert_eq!(decoded.rows.len(), 4);
    assert_eq!(decoded.rejections[0].reason, RejectReason::TooManyRows);
    assert_eq!(decoded.rejections[0].detail, "line 5: more than 4 rows up to here");
    // Before the rows that are too many are read.
    let schema = lines(model(&["in[].a"]));
    let line = r#"{"t":1,"in":[{},{},{}]}"#;
    let mut decoder = JsonDecoder::new(schema, LIMITS);
    let payload = [line, line].join("\n");
    let payload = Some(payload.as_bytes());
    let rejection =
        decoder.decode(&Message { payload, offset: 1, timestamp: None, envelope: &[] }).unwrap();
    assert_eq!(rejection.detail, "line 2: more than 4 rows up to here");
    assert_eq!(decoder.rows.heads.len(), 3);
}

#[test]
fn deep_and_hostile_elements_are_refused_without_a_panic() {
    let deep = format!(r#"{{"t":1,"in":[{}{}]}}"#, "[".repeat(9_000), "]".repeat(9_000));
    refuses(
        &[],
        &deep,
        RejectReason::WrongType,
        "row 0: `in[]`: expected an object, found an array",
    );
    let open = format!(r#"{{"t":1,"in":[{}"#, "{\"a\":[".repeat(9_000));
    let mut decoder = JsonDecoder::new(schema("t", model(&["in[].a"])), LIMITS);
    for offset in 0..2 {
        decoder.decode(&Message {
            payload: Some(open.as_bytes()),
            offset,
            timestamp: None,
            envelope: &[],
        });
    }
    assert_eq!((decoder.messages(), decoder.rows()), (2, 0));
    let reasons: Vec<_> = decoder.finish().rejections.iter().map(|it| it.reason).collect();
    assert_eq!(reasons, [RejectReason::InvalidJson; 2]);
    let surrogate = r#"{"t":1,"in":[{"\ud800":1}]}"#;
    let detail = "row 0: unexpected end of hex escape at line 1 column 9";
    refuses(&[], surrogate, RejectReason::InvalidJson, detail);
}
