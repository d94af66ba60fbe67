//! Files as decoded batches: types, times, names and everything that a row can have wrong.

use std::path::{Path, PathBuf};

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
};
use arrow::datatypes::{Float32Type, Float64Type, Int64Type, UInt32Type};
use driftd_catalog::Timestamp;
use driftd_ingest::{
    Decode as _, DecodeLimits, Decoded, FeatureField, FeatureKind, FieldPath, JsonDecoder, Message,
    ModelSchema, RejectReason, SegmentField, SourceSchema, TimeFormat, VersionField,
};
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;

use super::*;

fn path(text: &str) -> FieldPath {
    FieldPath::parse(text).unwrap()
}

/// One model `m` whose features are called and found like the columns.
fn model(name: &str, features: &[(&str, FeatureKind)]) -> ModelSchema {
    let feature = |(name, kind): &(&str, FeatureKind)| FeatureField {
        name: (*name).into(),
        path: path(&format!("features.{name}")),
        kind: *kind,
    };
    ModelSchema {
        name: name.into(),
        version: VersionField::Fixed("1".into()),
        prediction_id: None,
        features: features.iter().map(feature).collect(),
        segments: Vec::new(),
    }
}

fn source(by: Option<&str>, format: TimeFormat, models: Vec<ModelSchema>) -> Arc<SourceSchema> {
    Arc::new(SourceSchema::try_new(path("meta.at"), format, by.map(path), models).unwrap())
}

/// A source of one model `m`, of one version.
fn source_of(format: TimeFormat, features: &[(&str, FeatureKind)]) -> Arc<SourceSchema> {
    source(None, format, vec![model("m", features)])
}

fn write_parquet(folder: &TempDir, columns: Vec<(&str, ArrayRef)>) -> PathBuf {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    );
    let batch = batch.unwrap();
    let path = folder.path().join("records.parquet");
    let mut writer =
        ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path
}

fn write_csv(folder: &TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("records.csv");
    std::fs::write(&path, text).unwrap();
    path
}

fn read(path: &Path, schema: &Arc<SourceSchema>, overrides: &Overrides) -> Vec<Decoded> {
    let table = Table::open(path).unwrap();
    let layout = Layout::find(&table, schema, overrides).unwrap();
    let reader = RecordReader::new(&table, Arc::clone(schema), &layout);
    let mut next_offset = 0;
    let batches = table.batches(&layout.positions(), 3).unwrap();
    batches
        .map(|batch| {
            let decoded = reader.decode(next_offset, batch.unwrap()).unwrap();
            next_offset = decoded.to_offset;
            decoded
        })
        .collect()
}

fn read_one(path: &Path, schema: &Arc<SourceSchema>) -> Decoded {
    let mut all = read(path, schema, &Overrides::default());
    assert_eq!(all.len(), 1, "the file has one batch");
    all.remove(0)
}

/// Decodes messages in which the same records are JSON.
fn read_messages(schema: &Arc<SourceSchema>, payloads: &[String]) -> Decoded {
    let limits = DecodeLimits {
        payload_bytes_max: 1 << 20,
        rows_max: 100,
        cells_max: DecodeLimits::CELLS_MAX,
    };
    let mut decoder = JsonDecoder::new(Arc::clone(schema), limits);
    for (offset, payload) in (0..).zip(payloads) {
        let payload = Some(payload.as_bytes());
        decoder.decode(&Message { payload, offset, timestamp: None, envelope: &[] });
    }
    decoder.finish()
}

fn times(count: i64) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values((0..count).map(|it| it * 1_000_000)))
}

fn rejected(decoded: &Decoded) -> Vec<(i64, RejectReason)> {
    decoded.rejections.iter().map(|it| (it.offset, it.reason)).collect()
}

fn texts(array: &ArrayRef) -> Vec<Option<String>> {
    let array = array.as_dictionary::<UInt32Type>();
    let names = array.values().as_string::<i32>();
    let keys = array.keys().iter();
    keys.map(|key| key.map(|key| names.value(key as usize).to_owned())).collect()
}

#[test]
fn parquet_columns_become_the_columns_of_the_model() {
    let folder = TempDir::new().unwrap();
    let schema = source_of(
        TimeFormat::Rfc3339,
        &[
            ("narrow", FeatureKind::Float32),
            ("wide", FeatureKind::Float64),
            ("whole", FeatureKind::Integer),
            ("text", FeatureKind::Categorical),
            ("code", FeatureKind::Categorical),
            ("flag", FeatureKind::Boolean),
        ],
    );
    let file = write_parquet(
        &folder,
        vec![
            ("flag", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)]))),
            ("code", Arc::new(Int64Array::from(vec![Some(7), Some(-1), None]))),
            ("text", Arc::new(StringArray::from(vec![Some("b"), None, Some("a")]))),
            ("whole", Arc::new(Float64Array::from(vec![Some(2.0), Some(-3.0), None]))),
            ("wide", Arc::new(Float32Array::from(vec![Some(0.5), None, Some(f32::NAN)]))),
            ("narrow", Arc::new(Float64Array::from(vec![0.1, f64::NEG_INFINITY, 2.0]))),
            ("unused", Arc::new(Float64Array::from(vec![0.0, 0.0, 0.0]))),
            ("at", times(3)),
        ],
    );
    let decoded = read_one(&file, &schema);
    assert_eq!((decoded.from_offset, decoded.to_offset, decoded.messages), (0, 3, 3));
    assert_eq!(rejected(&decoded), []);
    let batch = decoded.batches[0].as_ref().unwrap();
    assert_eq!(batch.schema(), schema.models[0].arrow_schema());
    let narrow = batch.column(0).as_primitive::<Float32Type>();
    assert_eq!(narrow.values(), &[0.1, f32::NEG_INFINITY, 2.0]);
    let wide = batch.column(1).as_primitive::<Float64Type>();
    assert_eq!(
        wide.iter().map(|it| it.map(f64::is_nan)).collect::<Vec<_>>(),
        [Some(false), None, Some(true)]
    );
    let whole = batch.column(2).as_primitive::<Int64Type>();
    assert_eq!(whole.iter().collect::<Vec<_>>(), [Some(2), Some(-3), None]);
    assert_eq!(texts(batch.column(3)), [Some("b".into()), None, Some("a".into())]);
    assert_eq!(texts(batch.column(4)), [Some("7".into()), Some("-1".into()), None]);
    assert_eq!(texts(batch.column(5)), [Some("true".into()), None, Some("false".into())]);
}

#[test]
fn csv_cells_are_read_as_what_the_model_needs() {
    let folder = TempDir::new().unwrap();
    let schema = source_of(
        TimeFormat::Rfc3339,
        &[
            ("x", FeatureKind::Float64),
            ("n", FeatureKind::Integer),
            ("c", FeatureKind::Categorical),
            ("b", FeatureKind::Boolean),
        ],
    );
    let file = write_csv(
        &folder,
        "at,x,n,c,b\n\
         2013-04-01T09:00:00Z,1.5,4,01,true\n\
         2013-04-01T11:00:00.25+02:00,,,,False\n\
         2013-04-01T09:00:01Z,-inf,-4,\"a,b\",\n",
    );
    let decoded = read_one(&file, &schema);
    assert_eq!(rejected(&decoded), []);
    let millis: Vec<_> = decoded.rows.iter().map(|row| row.event_time.as_millis()).collect();
    assert_eq!(millis, [1_364_806_800_000, 1_364_806_800_250, 1_364_806_801_000]);
    let batch = decoded.batches[0].as_ref().unwrap();
    let x = batch.column(0).as_primitive::<Float64Type>();
    assert_eq!(x.iter().collect::<Vec<_>>(), [Some(1.5), None, Some(f64::NEG_INFINITY)]);
    let n = batch.column(1).as_primitive::<Int64Type>();
    assert_eq!(n.iter().collect::<Vec<_>>(), [Some(4), None, Some(-4)]);
    assert_eq!(texts(batch.column(2)), [Some("01".into()), None, Some("a,b".into())]);
    assert_eq!(texts(batch.column(3)), [Some("true".into()), Some("false".into()), None]);
}

#[test]
fn a_line_that_does_not_fit_the_header_rejects_its_row_and_no_other() {
    let folder = TempDir::new().unwrap();
    let schema = source_of(TimeFormat::Rfc3339, &[("x", FeatureKind::Float64)]);
    let path = folder.path().join("records.csv");
    let good = "2013-04-01T09:00:00Z,1,a\n";
    let mut content = format!("at,x,note\n{good}2013-04-01T09:00:00Z\n{good}").into_bytes();
    content.extend(b"2013-04-01T09:00:00Z,1,a,b\n2013-04-01T09:00:00Z,\xff,a\n");
    content.extend(b"2013-04-01T09:00:00Z,2,\xff\n");
    std::fs::write(&path, content).unwrap();
    let decoded = read(&path, &schema, &Overrides::default());
    let refused: Vec<_> = decoded.iter().flat_map(|it| &it.rejections).collect();
    let shown: Vec<_> =
        refused.iter().map(|it| (it.offset, it.reason, it.detail.as_str())).collect();
    assert_eq!(
        shown,
        [
            (1, RejectReason::WrongType, "line 3: 1 fields, but the header has 3"),
            (3, RejectReason::WrongType, "line 5: 4 fields, but the header has 3"),
            (
                4,
                RejectReason::InvalidUtf8,
                "line 6: invalid utf-8 sequence of 1 bytes from index 0"
            ),
        ]
    );
    let rows: Vec<_> = decoded.iter().flat_map(|it| &it.rows).map(|row| row.offset).collect();
    assert_eq!(rows, [0, 2, 5], "also where a column that is not needed is no text");
}

#[test]
fn a_refused_line_is_numbered_as_editors_number_it() {
    let schema = source_of(TimeFormat::Rfc3339, &[("x", FeatureKind::Float64)]);
    let good = "2013-04-01T09:00:00Z,1";
    for end in ["\n", "\r\n"] {
        let folder = TempDir::new().unwrap();
        // The field in quotes goes over two lines, and an empty line is no record.
        let lines = ["at,x", good, "short", "", "", "short", good, "\"a", "b\"", "short"];
        let decoded = read(&write_csv(&folder, &lines.join(end)), &schema, &Overrides::default());
        let refused = decoded.iter().flat_map(|it| &it.rejections);
        let shown: Vec<_> =
            refused.map(|it| (it.offset, it.detail.split(':').next().unwrap())).collect();
        assert_eq!(shown, [(1, "line 3"), (2, "line 6"), (4, "line 8"), (5, "line 10")], "{end:?}");
    }
}

#[test]
fn a_stray_quote_rejects_its_line_and_no_other() {
    let folder = TempDir::new().unwrap();
    let schema = source_of(TimeFormat::Rfc3339, &[("x", FeatureKind::Float64)]);
    let row = |note: &str| format!("2013-04-01T09:00:00Z,1,{note}\n");
    let long = "a".repeat(1 << 20);
    // The stray quote is never closed: with it, everything behind is one field.
    let lines = [row("a"), row(&long), row("\"b\nc\""), row("\"a"), row("a").repeat(50_000)];
    let file = write_csv(&folder, &format!("at,x,note\n{}", lines.concat()));
    let decoded = read(&file, &schema, &Overrides::default());
    let refused: Vec<_> = decoded.iter().flat_map(|it| &it.rejections).collect();
    let shown: Vec<_> =
        refused.iter().map(|it| (it.offset, it.reason, it.detail.as_str())).collect();
    assert_eq!(
        shown,
        [
            (1, RejectReason::Oversized, "line 3: a record of more than 1048576 bytes"),
            (3, RejectReason::Oversized, "line 6: a record of more than 1048576 bytes"),
        ]
    );
    assert_eq!(decoded.iter().map(|it| it.rows.len()).sum::<usize>(), 50_002);
    let exact = row(&"a".repeat((1 << 20) - row("").len()));
    assert_eq!(exact.len(), 1 << 20);
    let file = write_csv(&folder, &format!("at,x,note\n{exact}{}", exact.trim_end()));
    assert_eq!(read_one(&file, &schema).rows.len(), 2);
}

#[test]
fn a_value_that_does_not_fit_rejects_its_row_and_no_other() {
    let folder = TempDir::new().unwrap();
    let schema = source_of(
        TimeFormat::Rfc3339,
        &[
            ("x", FeatureKind::Float32),
            ("n", FeatureKind::Integer),
            ("c", FeatureKind::Categorical),
            ("b", FeatureKind::Boolean),
        ],
    );
    let long = "é".repeat(129);
    let file = write_csv(
        &folder,
        &format!(
            "at,x,n,c,b\n\
             ,1,1,a,true\n\
             2013-04-01,1,1,a,true\n\
             2013-04-01T09:00:00Z,x,1,a,true\n\
             2013-04-01T09:00:00Z,1e39,1,a,true\n\
             2013-04-01T09:00:00Z,1,1.5,a,true\n\
             2013-04-01T09:00:00Z,1,9223372036854775808,a,true\n\
             2013-04-01T09:00:00Z,1,1,{long},true\n\
             2013-04-01T09:00:00Z,1,1,a,yes\n\
             2013-04-01T09:00:00Z,1,1,a,true\n"
        ),
    );
    let decoded = read(&file, &schema, &Overrides::default());
    let refused: Vec<_> = decoded.iter().flat_map(rejected).collect();
    assert_eq!(
        refused,
        [
            (0, RejectReason::MissingField),
            (1, RejectReason::InvalidTime),
            (2, RejectReason::WrongType),
            (3, RejectReason::NumberOutOfRange),
            (4, RejectReason::WrongType),
            (5, RejectReason::NumberOutOfRange),
            (6, RejectReason::InvalidName),
            (7, RejectReason::WrongType),
        ]
    );
    assert_eq!(decoded[2].rejections[0].detail, "`c`: a category of more than 256 bytes");
    let rows: Vec<_> = decoded.iter().flat_map(|it| &it.rows).map(|row| row.offset).collect();
    assert_eq!(rows, [8]);
    let batch = decoded[2].batches[0].as_ref().unwrap();
    assert_eq!(batch.num_rows(), 1);
    assert!(decoded[0].batches[0].is_none());
}

#[test]
fn event_times_of_every_unit_are_rounded_down_to_milliseconds() {
    use TimeFormat::{Rfc3339, UnixMicros, UnixMillis, UnixSeconds};

    let schema = |format| source_of(format, &[("x", FeatureKind::Float64)]);
    let check = |column: ArrayRef, format: TimeFormat, expected: &[Option<i64>]| {
        let folder = TempDir::new().unwrap();
        let x = Arc::new(Float64Array::from(vec![0.0; column.len()]));
        let file = write_parquet(&folder, vec![("at", column), ("x", x)]);
        let decoded = read_one(&file, &schema(format));
        let mut found = vec![None; usize::try_from(decoded.messages).unwrap()];
        for row in &decoded.rows {
            found[usize::try_from(row.offset).unwrap()] = Some(row.event_time.as_millis());
        }
        assert_eq!(found, expected);
    };
    let zoned = TimestampNanosecondArray::from(vec![1_999_999, -1]).with_timezone("+05:00");
    check(Arc::new(zoned), Rfc3339, &[Some(1), Some(-1)]);
    let micros = TimestampMicrosecondArray::from(vec![Some(1_001), Some(i64::MAX), None]);
    check(Arc::new(micros), Rfc3339, &[Some(1), None, None]);
    let seconds = TimestampSecondArray::from(vec![2, i64::MAX]);
    check(Arc::new(seconds), UnixMillis, &[Some(2_000), None]);
    check(Arc::new(Int64Array::from(vec![1_500, -1])), UnixMicros, &[Some(1), Some(-1)]);
    check(Arc::new(UInt64Array::from(vec![7, u64::MAX])), UnixMillis, &[Some(7), None]);
    let fractions = Float64Array::from(vec![1_364_806_800.123, f64::NAN]);
    check(Arc::new(fractions), UnixSeconds, &[Some(1_364_806_800_123), None]);
    let texts = StringArray::from(vec!["1.5", "2", "x"]);
    check(Arc::new(texts), UnixSeconds, &[Some(1_500), Some(2_000), None]);
}

#[test]
fn models_versions_and_segments_are_told_apart_by_row() {
    let folder = TempDir::new().unwrap();
    let mut one = model("one", &[("x", FeatureKind::Float64)]);
    one.version = VersionField::Path(path("model.version"));
    one.segments = vec![SegmentField { name: "site".into(), path: path("meta.site") }];
    let two = model("two", &[("y", FeatureKind::Categorical)]);
    let schema = source(Some("model.name"), TimeFormat::Rfc3339, vec![one, two]);
    let names = vec![Some("one"), Some("two"), Some("one"), Some("three"), None, Some("one")];
    let versions = vec![Some("7"), None, Some("8"), Some("7"), Some("7"), None];
    let file = write_parquet(
        &folder,
        vec![
            ("at", times(6)),
            ("name", Arc::new(StringArray::from(names))),
            ("version", Arc::new(StringArray::from(versions))),
            ("site", Arc::new(StringArray::from(vec!["a", "\n", "b", "a", "a", "a"]))),
            ("x", Arc::new(Float64Array::from(vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]))),
            ("y", Arc::new(StringArray::from(vec!["a", "b", "c", "d", "e", "f"]))),
        ],
    );
    let decoded = read(&file, &schema, &Overrides::default());
    let refused: Vec<_> = decoded.iter().flat_map(rejected).collect();
    assert_eq!(
        refused,
        [
            (3, RejectReason::UnknownModel),
            (4, RejectReason::MissingField),
            (5, RejectReason::MissingField),
        ]
    );
    let rows: Vec<_> = decoded[0]
        .rows
        .iter()
        .map(|row| (row.model, &*decoded[0].versions[usize::from(row.version)]))
        .collect();
    assert_eq!(rows, [(0, "7"), (1, "1"), (0, "8")]);
    let one = decoded[0].batches[0].as_ref().unwrap();
    assert_eq!(one.column(0).as_primitive::<Float64Type>().values(), &[0.0, 2.0]);
    assert_eq!(texts(one.column(1)), [Some("a".into()), Some("b".into())]);
    let two = decoded[0].batches[1].as_ref().unwrap();
    assert_eq!(texts(two.column(0)), [Some("b".into())]);
}

#[test]
fn the_command_line_stands_in_for_columns_that_are_missing() {
    let folder = TempDir::new().unwrap();
    let mut one = model("one", &[("x", FeatureKind::Float64)]);
    one.version = VersionField::Path(path("model.version"));
    let two = model("two", &[("y", FeatureKind::Float64)]);
    let schema = source(Some("model.name"), TimeFormat::Rfc3339, vec![one, two]);
    let file = write_csv(&folder, "at,x\n2013-04-01T09:00:00Z,1\n");
    let table = Table::open(&file).unwrap();
    let error =
        |overrides: &Overrides| Layout::find(&table, &schema, overrides).unwrap_err().to_string();
    let shown = file.display();
    assert_eq!(
        error(&Overrides::default()),
        format!(
            "`{shown}` has no column for the model's name (or give `--model`): expected `name`; its \
             columns are `at`, `x`"
        )
    );
    let named = Overrides { model: Some("one".into()), version: None };
    assert!(error(&named).contains("the version of model `one` (or give `--version`)"));
    let given = Overrides { version: Some("9".into()), ..named };
    let decoded = read(&file, &schema, &given);
    assert_eq!(decoded[0].versions, ["9".into()]);
    assert_eq!(decoded[0].rows.len(), 1);
}

#[test]
fn columns_are_found_by_the_features_name_or_the_end_of_its_path() {
    let ends = [
        ("a", "a"),
        ("a.b", "b"),
        (r"a.b\.c", "b.c"),
        ("a.b[2]", "b[2]"),
        (r"a\\.b", "b"),
        ("a[].b", "b"),
        ("[].b", "b"),
        ("a.b[]", "b"),
        ("a[][3]", "a[3]"),
        (r"a.\[\]", "[]"),
    ];
    for (text, end) in ends {
        assert_eq!(last_element(&path(text)), end, "{text}");
    }
    let folder = TempDir::new().unwrap();
    let mut schema = model("m", &[("renamed", FeatureKind::Float64)]);
    schema.features[0].path = path("features.x");
    let schema = source(None, TimeFormat::Rfc3339, vec![schema]);
    let by_path = write_csv(&folder, "at,x\n2013-04-01T09:00:00Z,1\n");
    assert_eq!(read_one(&by_path, &schema).rows.len(), 1);
    let by_name = write_csv(&folder, "at,x,renamed\n2013-04-01T09:00:00Z,1,2\n");
    let decoded = read_one(&by_name, &schema);
    let column = decoded.batches[0].as_ref().unwrap().column(0);
    assert_eq!(column.as_primitive::<Float64Type>().values(), &[2.0]);
}

#[test]
fn errors_say_which_file_and_column_and_what_to_do() {
    let folder = TempDir::new().unwrap();
    let schema = |format| source_of(format, &[("x", FeatureKind::Float64)]);
    let columns = || {
        vec![
            ("at", Arc::new(Int64Array::from(vec![0])) as ArrayRef),
            ("x", Arc::new(BooleanArray::from(vec![true])) as ArrayRef),
        ]
    };
    let file = write_parquet(&folder, columns());
    let table = Table::open(&file).unwrap();
    let error = |format| {
        Layout::find(&table, &schema(format), &Overrides::default()).unwrap_err().to_string()
    };
    let shown = file.display();
    assert_eq!(
        error(TimeFormat::Rfc3339),
        format!(
            "column `at` of `{shown}` is of type Int64, but the event time needs a date with time, \
             RFC 3339 text, or a number of a Unix time format: set the source's \
             `event_time.format`, or store the column as one of these"
        )
    );
    assert_eq!(
        error(TimeFormat::UnixMillis),
        format!(
            "column `x` of `{shown}` is of type Boolean, but `x` needs numbers: change its `type` in the \
             configuration, or the column in the file"
        )
    );
    let missing = folder.path().join("none.parquet");
    let error = Table::open(&missing).unwrap_err().to_string();
    assert_eq!(error, format!("cannot read `{}`", missing.display()));
    let other = folder.path().join("records.txt");
    std::fs::write(&other, "").unwrap();
    let error = Table::open(&other).unwrap_err().to_string();
    assert!(error.ends_with("has no known format: name it *.parquet or *.csv"), "{error}");
    let broken = folder.path().join("broken.parquet");
    std::fs::write(&broken, "PAR1 no PAR1").unwrap();
    let error = Table::open(&broken).unwrap_err().to_string();
    assert_eq!(error, format!("`{}` cannot be read as Parquet", broken.display()));
}

#[test]
fn rows_are_numbered_and_counted_over_batches() {
    let folder = TempDir::new().unwrap();
    let schema = source_of(TimeFormat::Rfc3339, &[("x", FeatureKind::Float64)]);
    let x = Arc::new(Float64Array::from_iter_values((0..10).map(f64::from)));
    let file = write_parquet(&folder, vec![("at", times(10)), ("x", x)]);
    assert_eq!(Table::open(&file).unwrap().rows(), Some(10));
    let decoded = read(&file, &schema, &Overrides::default());
    let spans: Vec<_> = decoded.iter().map(|it| (it.from_offset, it.to_offset)).collect();
    assert_eq!(spans, [(0, 3), (3, 6), (6, 9), (9, 10)]);
    let offsets: Vec<_> = decoded.iter().flat_map(|it| &it.rows).map(|it| it.offset).collect();
    assert_eq!(offsets, (0..10).collect::<Vec<_>>());
    assert_eq!(decoded[3].rows[0].event_time, Timestamp::from_millis(9_000));
}

#[test]
fn a_file_says_what_the_messages_of_the_same_records_say() {
    let folder = TempDir::new().unwrap();
    let mut schema = model(
        "m",
        &[
            ("x", FeatureKind::Float32),
            ("y", FeatureKind::Float64),
            ("n", FeatureKind::Integer),
            ("c", FeatureKind::Categorical),
            ("b", FeatureKind::Boolean),
        ],
    );
    schema.version = VersionField::Path(path("model.version"));
    let schema = source(None, TimeFormat::UnixMicros, vec![schema]);
    // x, y, n, c, b, version, time: as JSON and as CSV.
    let records = [
        ["0.1", "0.1", "1", "\"a\"", "true", "\"1\"", "1999"],
        ["null", "null", "null", "null", "null", "\"1\"", "-1"],
        ["\"NaN\"", "\"-Infinity\"", "-9", "\"é\"", "false", "\"2\"", "0"],
        ["3.5e38", "0", "0", "\"a\"", "true", "\"1\"", "0"],
        ["0", "0", "1.5", "\"a\"", "true", "\"1\"", "0"],
        ["0", "0", "5.0", "\"a\"", "true", "\"1\"", "0"],
        ["0", "0", "-1e3", "\"a\"", "true", "\"1\"", "0"],
        ["0", "0", "9007199254740992.0", "\"a\"", "true", "\"1\"", "0"],
        ["0", "1e308", "9223372036854775808", "\"a\"", "true", "\"1\"", "0"],
        ["0", "0", "0", "12", "true", "null", "0"],
        ["0", "0", "0", "12", "true", "3", "null"],
        ["16777217", "1e-320", "9223372036854775807", "12", "false", "3", "253402207200000000"],
        ["0", "0", "0", "12", "true", "3", "253402207200001000"],
    ];
    let mut payloads = Vec::new();
    let mut csv = "x,y,n,c,b,version,at\n".to_owned();
    for [x, y, n, c, b, version, at] in records {
        payloads.push(format!(
            r#"{{"features":{{"x":{x},"y":{y},"n":{n},"c":{c},"b":{b}}},"model":{{"version":{version}}},
                "meta":{{"at":{at}}}}}"#
        ));
        let line = [x, y, n, c, b, version, at].join(",").replace("null", "").replace('"', "");
        csv.push_str(&line);
        csv.push('\n');
    }
    let messages = read_messages(&schema, &payloads);
    let table = Table::open(&write_csv(&folder, &csv)).unwrap();
    let layout = Layout::find(&table, &schema, &Overrides::default()).unwrap();
    let batch = table.batches(&layout.positions(), BATCH_ROWS).unwrap().next().unwrap().unwrap();
    let file = RecordReader::new(&table, schema, &layout).decode(0, batch).unwrap();
    assert_eq!(rejected(&file), rejected(&messages));
    assert_eq!(file.rows, messages.rows);
    assert_eq!(file.versions, messages.versions);
    let (file, messages) =
        (file.batches[0].as_ref().unwrap(), messages.batches[0].as_ref().unwrap());
    assert_eq!(file.schema(), messages.schema());
    for column in 0..3 {
        // By their text: NaN is not equal to itself.
        let shown = |batch: &RecordBatch| format!("{:?}", batch.column(column));
        assert_eq!(shown(file), shown(messages));
    }
    for column in 3..5 {
        assert_eq!(texts(file.column(column)), texts(messages.column(column)));
    }
}

#[test]
fn a_file_says_what_messages_say_about_the_edges_of_event_times() {
    use TimeFormat::{Rfc3339, UnixMicros, UnixMillis, UnixNanos, UnixSeconds};

    let texts = [
        "1869-12-31T23:59:59.999Z",
        "1870-01-01T00:00:00Z",
        "2013-04-01T11:00:00.2509+02:00",
        "9999-12-30T22:00:00Z",
        "9999-12-30T22:00:00.001Z",
        "2013-04-01",
    ];
    let numbers = "0 -0 -1 -1.0 1999 1999.5 0.0005 -0.0005 1364806800.123 1.5e15 1e400 \
                   -3155673600 -3155673601 253402207200 253402207201 -3155673600000 \
                   -3155673600001 253402207200000 253402207200001 -3155673600000001 \
                   253402207200000999 253402207200001000 9223372036854775807 9223372036854775808 \
                   -9223372036854775809";
    let numbers: Vec<_> = numbers.split(' ').collect();
    let check = |format, written: &[&str], quote: &str| {
        let folder = TempDir::new().unwrap();
        let schema = source_of(format, &[("x", FeatureKind::Float64)]);
        let json =
            |time| format!(r#"{{"features":{{"x":1}},"meta":{{"at":{quote}{time}{quote}}}}}"#);
        let payloads: Vec<_> = written.iter().map(json).collect();
        let messages = read_messages(&schema, &payloads);
        let file = write_csv(&folder, &format!("x,at\n1,{}\n", written.join("\n1,")));
        let file = read(&file, &schema, &Overrides::default());
        let rows: Vec<_> = file.iter().flat_map(|it| it.rows.clone()).collect();
        assert_eq!(rows, messages.rows, "{format:?}");
        assert_eq!(file.iter().flat_map(rejected).collect::<Vec<_>>(), rejected(&messages));
    };
    check(Rfc3339, &texts, "\"");
    for format in [UnixSeconds, UnixMillis, UnixMicros, UnixNanos] {
        check(format, &numbers, "");
    }
}
