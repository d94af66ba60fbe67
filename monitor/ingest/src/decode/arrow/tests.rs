//! What single messages become, one rule at a time.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use arrow::ipc::writer::{DictionaryHandling, FileWriter, IpcWriteOptions, StreamWriter};
use arrow::ipc::{CompressionType, MetadataVersion};
use arrow::record_batch::RecordBatch;

use super::*;
use crate::columns::categorical_column;
use crate::path::FieldPath;
use crate::rejection::RejectReason;
use crate::schema::{
    FeatureField, FeatureKind, ModelSchema, SegmentField, TimeFormat, VersionField,
};

pub(super) const LIMITS: DecodeLimits =
    DecodeLimits { payload_bytes_max: 1 << 20, rows_max: 100, cells_max: 1_000 };

pub(super) fn path(text: &str) -> FieldPath {
    FieldPath::parse(text).unwrap()
}

pub(super) fn model(name: &str, features: &[(&str, FeatureKind)]) -> ModelSchema {
    let feature = |(text, kind): &(&str, FeatureKind)| FeatureField {
        name: (*text).into(),
        path: path(text),
        kind: *kind,
    };
    ModelSchema {
        name: name.into(),
        version: VersionField::Fixed("1".into()),
        prediction_id: None,
        features: features.iter().map(feature).collect(),
        segments: vec![],
    }
}

pub(super) fn source(
    time_format: TimeFormat,
    features: &[(&str, FeatureKind)],
) -> Arc<SourceSchema> {
    let models = vec![model("m", features)];
    Arc::new(SourceSchema::try_new(path("[].t"), time_format, None, models).unwrap())
}

pub(super) const FLOAT: FeatureKind = FeatureKind::Float64;
pub(super) const NUMBER: (&str, FeatureKind) = ("[].x", FeatureKind::Float64);
const SINGLE: (&str, FeatureKind) = ("[].x", FeatureKind::Float32);
const WHOLE: (&str, FeatureKind) = ("[].x", FeatureKind::Integer);
pub(super) const TEXT: (&str, FeatureKind) = ("[].x", FeatureKind::Categorical);
const BOOLEAN: (&str, FeatureKind) = ("[].x", FeatureKind::Boolean);

/// A batch of the event times 0, 1, … in milliseconds and a column `x`.
pub(super) fn batch(x: ArrayRef) -> RecordBatch {
    let times: Int64Array = (0..i64::try_from(x.len()).unwrap()).map(Some).collect();
    named(vec![("t", Arc::new(times)), ("x", x)])
}

pub(super) fn named(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, it)| (name, it, true)))
        .unwrap()
}

pub(super) fn stream_with(batches: &[RecordBatch], options: IpcWriteOptions) -> Vec<u8> {
    let schema = batches[0].schema();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.into_inner().unwrap()
}

pub(super) fn stream(batch: &RecordBatch) -> Vec<u8> {
    stream_with(std::slice::from_ref(batch), IpcWriteOptions::default())
}

fn file(batch: &RecordBatch) -> Vec<u8> {
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(batch).unwrap();
    writer.into_inner().unwrap()
}

pub(super) fn decode_by(source: Arc<SourceSchema>, payload: &[u8]) -> Decoded {
    let mut decoder = ArrowDecoder::new(source, LIMITS);
    decoder.decode(&Message { payload: Some(payload), offset: 0, timestamp: None, envelope: &[] });
    decoder.finish()
}

fn decode(wanted: (&str, FeatureKind), x: ArrayRef) -> Decoded {
    decode_by(source(TimeFormat::UnixMillis, &[wanted]), &stream(&batch(x)))
}

pub(super) fn refused(decoded: &Decoded) -> (RejectReason, &str) {
    assert!(decoded.rows.is_empty());
    let rejection = decoded.rejections.first().expect("the message is refused");
    (rejection.reason, &rejection.detail)
}

fn column(decoded: &Decoded) -> &ArrayRef {
    assert_eq!(decoded.rejections, []);
    decoded.batches[0].as_ref().unwrap().column(0)
}

fn floats(decoded: &Decoded) -> Vec<Option<f64>> {
    column(decoded).as_primitive::<Float64Type>().iter().collect()
}

fn wholes(decoded: &Decoded) -> Vec<Option<i64>> {
    column(decoded).as_primitive::<Int64Type>().iter().collect()
}

pub(super) fn texts(decoded: &Decoded) -> Vec<Option<String>> {
    let array = column(decoded);
    let view = categorical_column(array).unwrap();
    let view = view.column();
    let text =
        |row: usize| array.is_valid(row).then(|| view.levels[view.keys[row] as usize].into());
    (0..array.len()).map(text).collect()
}

fn times(decoded: &Decoded) -> Vec<i64> {
    decoded.rows.iter().map(|row| row.event_time.as_millis()).collect()
}

fn some<T: Clone>(values: &[T]) -> Vec<Option<T>> {
    values.iter().cloned().map(Some).collect()
}

fn owned(values: &[&str]) -> Vec<Option<String>> {
    values.iter().map(|it| Some((*it).to_owned())).collect()
}

#[test]
fn streams_with_and_without_an_end_and_files_are_read() {
    let batch = batch(Arc::new(Float64Array::from(vec![Some(1.5), None])));
    let old = IpcWriteOptions::try_new(8, true, MetadataVersion::V4).unwrap();
    let new = stream(&batch);
    let open = new[..new.len() - 8].to_vec();
    for payload in [new, open, stream_with(std::slice::from_ref(&batch), old), file(&batch)] {
        let decoded = decode_by(source(TimeFormat::UnixMillis, &[NUMBER]), &payload);
        assert_eq!(floats(&decoded), [Some(1.5), None]);
        assert_eq!(times(&decoded), [0, 1]);
    }
}

#[test]
fn a_message_without_rows_is_no_mistake() {
    let empty = batch(Arc::new(Float64Array::from(Vec::<f64>::new())));
    let schema = empty.schema();
    let mut none = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    none.finish().unwrap();
    for payload in [stream(&empty), none.into_inner().unwrap(), file(&empty)] {
        let decoded = decode_by(source(TimeFormat::UnixMillis, &[NUMBER]), &payload);
        assert_eq!((decoded.rejections, decoded.rows), (vec![], vec![]));
        assert_eq!(decoded.messages, 1);
    }
}

#[test]
fn what_is_no_stream_and_no_file_is_refused() {
    let batch = batch(Arc::new(Float64Array::from(vec![1.5])));
    let (stream, file) = (stream(&batch), file(&batch));
    let twice = [&stream[..stream.len() - 8], &stream].concat();
    for (payload, detail) in [
        (
            b"{\"t\": 1}".to_vec(),
            "the message begins neither like a stream nor like a file of Arrow",
        ),
        (stream[..stream.len() - 9].to_vec(), "IPC message 1: the bytes end too early"),
        (stream[..20].to_vec(), "IPC message 0: the bytes end too early"),
        ([&stream[..], &[0]].concat(), "IPC message 2: bytes behind the end of the stream"),
        (twice, "IPC message 2: expected a record batch or a dictionary"),
        (vec![0xff; 4], "IPC message 0: the bytes end too early"),
        (vec![0xff; 40], "IPC message 0: the bytes end too early"),
        (vec![0; 4], "IPC message 0: the stream does not begin with a schema"),
        (vec![0; 8], "IPC message 0: bytes behind the end of the stream"),
        (file[..file.len() - 1].to_vec(), "a file that does not end like one"),
        (file[8..].to_vec(), "IPC message 0: bytes behind the end of the stream"),
        (b"ARROW1ARROW1".to_vec(), "a file that does not end like one"),
        ([&[0xff; 4][..], &[8, 0, 0, 0], &[9; 8]].concat(), "IPC message 0: metadata that is none"),
    ] {
        let decoded = decode_by(source(TimeFormat::UnixMillis, &[NUMBER]), &payload);
        assert_eq!(refused(&decoded), (RejectReason::InvalidArrow, detail), "{payload:?}");
    }
    let decoded = decode_by(source(TimeFormat::UnixMillis, &[NUMBER]), &[]);
    assert_eq!(refused(&decoded).0, RejectReason::EmptyPayload);
}

#[test]
fn numbers_of_every_type_become_floats() {
    let arrays: [ArrayRef; 14] = [
        Arc::new(Int8Array::from(vec![3, -4])),
        Arc::new(Int16Array::from(vec![3, -4])),
        Arc::new(Int32Array::from(vec![3, -4])),
        Arc::new(Int64Array::from(vec![3, -4])),
        Arc::new(Float32Array::from(vec![3.0, -4.0])),
        Arc::new(Float64Array::from(vec![3.0, -4.0])),
        Arc::new(Float16Array::from_iter_values([3.0, -4.0].map(half))),
        Arc::new(Decimal32Array::from(vec![30, -40]).with_precision_and_scale(4, 1).unwrap()),
        Arc::new(Decimal64Array::from(vec![30, -40]).with_precision_and_scale(4, 1).unwrap()),
        Arc::new(Decimal128Array::from(vec![30, -40]).with_precision_and_scale(4, 1).unwrap()),
        Arc::new(
            Decimal256Array::from(vec![i256::from(30), i256::from(-40)])
                .with_precision_and_scale(4, 1)
                .unwrap(),
        ),
        Arc::new(TimestampNanosecondArray::from(vec![3, -4])),
        Arc::new(Time64MicrosecondArray::from(vec![3, -4])),
        Arc::new(Date32Array::from(vec![3, -4])),
    ];
    for array in arrays {
        for (wanted, name) in [(NUMBER, "f64"), (SINGLE, "f32"), (WHOLE, "i64")] {
            let decoded = decode(wanted, Arc::clone(&array));
            let kind = array.data_type();
            match name {
                "f64" => assert_eq!(floats(&decoded), some(&[3.0, -4.0]), "{kind}"),
                "i64" => assert_eq!(wholes(&decoded), some(&[3, -4]), "{kind}"),
                _ => {
                    let found: Vec<_> =
                        column(&decoded).as_primitive::<Float32Type>().iter().collect();
                    assert_eq!(found, some(&[3.0, -4.0]), "{kind}");
                }
            }
        }
    }
}

fn half(value: f32) -> <Float16Type as ArrowPrimitiveType>::Native {
    <Float16Type as ArrowPrimitiveType>::Native::from_f32(value)
}

#[test]
fn values_that_do_not_fit_are_refused_in_the_words_of_other_formats() {
    use RejectReason::{InvalidName, NumberOutOfRange, WrongType};
    let wide = Decimal256Array::from(vec![i256::MAX]).with_precision_and_scale(76, 0).unwrap();
    let array = |array: ArrayRef| array;
    for (wanted, x, reason, detail) in [
        (
            NUMBER,
            array(Arc::new(BooleanArray::from(vec![true]))),
            WrongType,
            "expected a number, \"NaN\", \"Infinity\" or \"-Infinity\", found a boolean",
        ),
        (
            SINGLE,
            array(Arc::new(Float64Array::from(vec![1e300]))),
            NumberOutOfRange,
            "a number beyond the range of f32",
        ),
        (
            NUMBER,
            array(Arc::new(wide)),
            NumberOutOfRange,
            "a number beyond the range of a decimal of 128 bits",
        ),
        (
            WHOLE,
            array(Arc::new(Float64Array::from(vec![0.5]))),
            WrongType,
            "expected a whole number, found a fraction",
        ),
        (
            WHOLE,
            array(Arc::new(Float64Array::from(vec![f64::NAN]))),
            WrongType,
            "expected a whole number, found NaN or infinity",
        ),
        (
            WHOLE,
            array(Arc::new(Float64Array::from(vec![9_007_199_254_740_992.0]))),
            NumberOutOfRange,
            "a number beyond the range of i64",
        ),
        (
            BOOLEAN,
            array(Arc::new(Int8Array::from(vec![1]))),
            WrongType,
            "expected a boolean, found a number",
        ),
        (
            TEXT,
            array(Arc::new(BinaryArray::from(vec![&b"a"[..]]))),
            WrongType,
            "expected text, a number or a boolean, found bytes",
        ),
        (
            TEXT,
            array(Arc::new(StringArray::from(vec!["x".repeat(257)]))),
            InvalidName,
            "a category of 257 bytes, more than 256",
        ),
    ] {
        let decoded = decode(wanted, x);
        let expected = format!("row 0: `[].x`: {detail}");
        assert_eq!(refused(&decoded), (reason, &*expected));
    }
}

#[test]
fn the_first_bad_row_is_named_and_nothing_of_its_message_is_kept() {
    let source = source(TimeFormat::UnixMillis, &[WHOLE, ("[].y", FeatureKind::Categorical)]);
    let y = StringArray::from(vec!["a", "b", &"c".repeat(300)]);
    let x = Float64Array::from(vec![1.0, 2.5, 3.0]);
    let bad = named(vec![
        ("t", Arc::new(Int64Array::from(vec![1, 2, 3]))),
        ("x", Arc::new(x)),
        ("y", Arc::new(y)),
    ]);
    let mut decoder = ArrowDecoder::new(Arc::clone(&source), LIMITS);
    let good = stream(&bad.slice(0, 1));
    for (offset, payload) in (0..).zip([&good, &stream(&bad), &good]) {
        decoder.decode(&Message { payload: Some(payload), offset, timestamp: None, envelope: &[] });
    }
    let decoded = decoder.finish();
    assert_eq!(decoded.rows.iter().map(|row| row.offset).collect::<Vec<_>>(), [0, 2]);
    let detail = "row 1: `[].x`: expected a whole number, found a fraction";
    assert_eq!(decoded.rejections[0].detail, detail);
    let batch = decoded.batches[0].as_ref().unwrap();
    let levels = batch.column(1).as_dictionary::<UInt32Type>().values();
    assert_eq!(levels.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn texts_numbers_and_booleans_are_categories() {
    let arrays: [(ArrayRef, &[&str]); 8] = [
        (Arc::new(StringArray::from(vec!["a", "", "é"])), &["a", "", "é"]),
        (Arc::new(LargeStringArray::from(vec!["a", "b", "a"])), &["a", "b", "a"]),
        (
            Arc::new(StringViewArray::from(vec!["a", "a text that lies elsewhere", "a"])),
            &["a", "a text that lies elsewhere", "a"],
        ),
        (Arc::new(Int16Array::from(vec![7, -1, 7])), &["7", "-1", "7"]),
        (Arc::new(UInt64Array::from(vec![u64::MAX, 0, 0])), &["18446744073709551615", "0", "0"]),
        (Arc::new(Float32Array::from(vec![0.1, 1e30, f32::NAN])), &["0.1", "1e+30", "NaN"]),
        (
            Arc::new(Float64Array::from(vec![0.5, f64::INFINITY, f64::NEG_INFINITY])),
            &["0.5", "Infinity", "-Infinity"],
        ),
        (Arc::new(BooleanArray::from(vec![true, false, true])), &["true", "false", "true"]),
    ];
    for (array, expected) in arrays {
        assert_eq!(texts(&decode(TEXT, array)), owned(expected));
    }
    let booleans = BooleanArray::from(vec![Some(true), None, Some(false)]);
    let expected = [Some("true".to_owned()), None, Some("false".to_owned())];
    assert_eq!(texts(&decode(BOOLEAN, Arc::new(booleans))), expected);
    let words = StringArray::from(vec!["NaN", "Infinity", "-Infinity"]);
    let found = floats(&decode(NUMBER, Arc::new(words)));
    assert!(found[0].is_some_and(f64::is_nan));
    assert_eq!(found[1..], [Some(f64::INFINITY), Some(f64::NEG_INFINITY)]);
}

#[test]
fn dates_and_timestamps_are_times_in_their_own_unit() {
    let arrays: [ArrayRef; 7] = [
        Arc::new(Date32Array::from(vec![1])),
        Arc::new(Date64Array::from(vec![86_400_000])),
        Arc::new(TimestampSecondArray::from(vec![86_400])),
        Arc::new(TimestampMillisecondArray::from(vec![86_400_000])),
        Arc::new(TimestampMicrosecondArray::from(vec![86_400_000_999])),
        Arc::new(TimestampNanosecondArray::from(vec![86_400_000_000_999])),
        Arc::new(TimestampSecondArray::from(vec![86_400]).with_timezone("America/New_York")),
    ];
    for time in arrays {
        let batch = named(vec![("t", time), ("x", Arc::new(Int8Array::from(vec![1])))]);
        for format in [TimeFormat::Rfc3339, TimeFormat::UnixNanos] {
            let decoded = decode_by(source(format, &[NUMBER]), &stream(&batch));
            assert_eq!(times(&decoded), [86_400_000], "{batch:?}");
        }
    }
    for (time, format, reason, detail) in [
        (
            Arc::new(StringArray::from(vec!["2013-04-01"])) as ArrayRef,
            TimeFormat::Rfc3339,
            RejectReason::InvalidTime,
            "row 0: `[].t`: expected RFC 3339 text in the years 1870 to 9999",
        ),
        (
            Arc::new(Int64Array::from(vec![1])),
            TimeFormat::Rfc3339,
            RejectReason::WrongType,
            "row 0: `[].t`: expected RFC 3339 text, found a number",
        ),
        (
            Arc::new(TimestampSecondArray::from(vec![i64::MAX])),
            TimeFormat::Rfc3339,
            RejectReason::InvalidTime,
            "row 0: `[].t`: expected Unix seconds in the years 1870 to 9999",
        ),
        (
            Arc::new(Int64Array::from(vec![None])),
            TimeFormat::UnixMillis,
            RejectReason::MissingField,
            "row 0: `[].t`: absent or null",
        ),
    ] {
        let batch = named(vec![("t", time), ("x", Arc::new(Int8Array::from(vec![1])))]);
        let decoded = decode_by(source(format, &[NUMBER]), &stream(&batch));
        assert_eq!(refused(&decoded), (reason, detail));
    }
    let batch = named(vec![
        ("t", Arc::new(StringArray::from(vec!["1970-01-02T01:00:00+01:00"]))),
        ("x", Arc::new(Int8Array::from(vec![1]))),
    ]);
    let decoded = decode_by(source(TimeFormat::Rfc3339, &[NUMBER]), &stream(&batch));
    assert_eq!(times(&decoded), [86_400_000]);
}

#[test]
fn dictionaries_are_replaced_and_added_to_between_batches() {
    let encoded = |keys: Vec<i8>, values: Vec<&str>| -> RecordBatch {
        let values = Arc::new(StringArray::from(values));
        batch(Arc::new(DictionaryArray::new(Int8Array::from(keys), values)))
    };
    let batches = [
        encoded(vec![0, 1], vec!["a", "b"]),
        encoded(vec![2, 0], vec!["a", "b", "c"]),
        encoded(vec![1, 0], vec!["z", "y"]),
    ];
    let expected = owned(&["a", "b", "c", "a", "y", "z"]);
    for handling in [DictionaryHandling::Resend, DictionaryHandling::Delta] {
        for compression in [None, Some(CompressionType::ZSTD)] {
            let options = IpcWriteOptions::default().with_dictionary_handling(handling);
            let options = options.try_with_compression(compression).unwrap();
            let payload = stream_with(&batches, options);
            let decoded = decode_by(source(TimeFormat::UnixMillis, &[TEXT]), &payload);
            assert_eq!(texts(&decoded), expected);
        }
    }
}

#[test]
fn rows_and_values_are_bounded() {
    let rows = |rows: usize| -> ArrayRef { Arc::new(Int8Array::from(vec![1; rows])) };
    assert_eq!(decode(NUMBER, rows(100)).rows.len(), 100);
    let decoded = decode(NUMBER, rows(101));
    let detail = "`[]` has 101 elements: more than 100 rows";
    assert_eq!(refused(&decoded), (RejectReason::TooManyRows, detail));
    let half = batch(rows(60));
    let payload = stream_with(&[half.clone(), half], IpcWriteOptions::default());
    let decoded = decode_by(source(TimeFormat::UnixMillis, &[NUMBER]), &payload);
    assert_eq!(refused(&decoded).0, RejectReason::TooManyRows);
    let many: Vec<String> = (0..11).map(|number| format!("[].y{number}")).collect();
    let many: Vec<_> = many.iter().map(|name| (&**name, FeatureKind::Float64)).collect();
    let decoded = decode_by(source(TimeFormat::UnixMillis, &many), &stream(&batch(rows(100))));
    assert_eq!(refused(&decoded).0, RejectReason::TooManyRows);
    // Rows that take no bytes of the message.
    let null: ArrayRef = Arc::new(NullArray::new(1 << 40));
    let schema = Schema::new(vec![Field::new("x", DataType::Null, true)]);
    let huge = RecordBatch::try_new(Arc::new(schema), vec![null]).unwrap();
    let decoded = decode_by(source(TimeFormat::UnixMillis, &[NUMBER]), &stream(&huge));
    assert_eq!(refused(&decoded).0, RejectReason::TooManyRows);
}

#[test]
fn paths_lead_through_structs_maps_and_lists() {
    let inner: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 3.0]));
    let fields = vec![Field::new("b.c", DataType::Float64, true)];
    let nulls = Some(vec![true, false, true].into());
    let x: ArrayRef = Arc::new(StructArray::new(fields.into(), vec![inner], nulls));
    let decoded = decode((r"[].x.b\.c", FeatureKind::Float64), Arc::clone(&x));
    assert_eq!(floats(&decoded), [Some(1.0), None, Some(3.0)]);
    assert_eq!(floats(&decode(("[].x.d", FeatureKind::Float64), x.clone())), [None; 3]);
    let (reason, detail) = (
        RejectReason::WrongType,
        "row 0: `[].x`: expected an array, found a \
        record or a map",
    );
    assert_eq!(refused(&decode(("[].x[0]", FeatureKind::Float64), x)), (reason, detail));

    let lists = vec![Some(vec![Some(1.0), Some(2.0)]), None, Some(vec![Some(3.0)])];
    let x: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists));
    let decoded = decode(("[].x[1]", FeatureKind::Float64), Arc::clone(&x));
    assert_eq!(floats(&decoded), [Some(2.0), None, None]);
    let detail = "row 0: `[].x`: expected a record or a map, found an array";
    assert_eq!(refused(&decode(("[].x.a", FeatureKind::Float64), x)), (reason, detail));

    let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
    for (keys, is_there) in [(vec![("k", 1), ("j", 2), ("k", 3)], true), (vec![], false)] {
        for (key, value) in keys {
            maps.keys().append_value(key);
            maps.values().append_value(value);
        }
        maps.append(is_there).unwrap();
    }
    let x: ArrayRef = Arc::new(maps.finish());
    // Of repeated keys the last counts.
    let decoded = decode(("[].x.k", FeatureKind::Float64), x);
    assert_eq!(floats(&decoded), [Some(3.0), None]);
}

#[test]
fn what_has_no_place_for_paths_is_refused_where_it_is_there() {
    let values = Int32Array::from(vec![1, 2, 3]);
    let field = Arc::new(Field::new("item", DataType::Int32, true));
    let views = ListViewArray::new(
        field,
        vec![0, 1].into(),
        vec![1, 2].into(),
        Arc::new(values),
        Some(vec![false, true].into()),
    );
    let decoded = decode(("[].x[0]", FeatureKind::Float64), Arc::new(views));
    assert_eq!(refused(&decoded).0, RejectReason::WrongType);
    assert!(decoded.rejections[0].detail.starts_with("row 1: "), "{:?}", decoded.rejections);

    let mut maps = MapBuilder::new(None, Int32Builder::new(), Int64Builder::new());
    maps.keys().append_value(1);
    maps.values().append_value(1);
    maps.append(true).unwrap();
    let decoded = decode(("[].x.k", FeatureKind::Float64), Arc::new(maps.finish()));
    let detail = "row 0: `[].x`: expected a record or a map, found a map whose keys are no text";
    assert_eq!(refused(&decoded), (RejectReason::WrongType, detail));
}

#[test]
fn rows_of_several_models_are_told_apart() {
    let models = vec![model("a", &[NUMBER]), model("b", &[TEXT])];
    let by = Some(path("[].m"));
    let source = SourceSchema::try_new(path("[].t"), TimeFormat::UnixMillis, by, models);
    let source = Arc::new(source.unwrap());
    let rows = |names: Vec<&str>, x: Vec<i32>| {
        let times: Int64Array = (0..i64::try_from(x.len()).unwrap()).map(Some).collect();
        stream(&named(vec![
            ("t", Arc::new(times)),
            ("m", Arc::new(names.into_iter().collect::<DictionaryArray<Int8Type>>())),
            ("x", Arc::new(Int32Array::from(x))),
        ]))
    };
    let mut decoder = ArrowDecoder::new(source, LIMITS);
    for (offset, payload) in (0..).zip([
        rows(vec!["a", "b", "a"], vec![1, 2, 3]),
        rows(vec!["b", "b"], vec![4, 5]),
        rows(vec!["b", "c"], vec![4, 5]),
    ]) {
        decoder.decode(&Message {
            payload: Some(&payload),
            offset,
            timestamp: None,
            envelope: &[],
        });
    }
    let decoded = decoder.finish();
    assert_eq!(decoded.rows.iter().map(|row| row.model).collect::<Vec<_>>(), [0, 1, 0, 1, 1]);
    assert_eq!(decoded.rejections[0].reason, RejectReason::UnknownModel);
    assert!(decoded.rejections[0].detail.starts_with("row 1: `[].m`: "));
    let floats = decoded.batches[0].as_ref().unwrap().column(0).as_primitive::<Float64Type>();
    assert_eq!(floats.iter().collect::<Vec<_>>(), some(&[1.0, 3.0]));
    let levels = categorical_column(decoded.batches[1].as_ref().unwrap().column(0)).unwrap();
    assert_eq!(levels.column().levels, ["2", "4", "5"]);
}

#[test]
fn versions_and_segments_are_read_by_columns_and_checked() {
    let mut one = model("m", &[NUMBER]);
    one.version = VersionField::Path(path("[].v"));
    one.segments = vec![SegmentField { name: "s".into(), path: path("[].s") }];
    let source = SourceSchema::try_new(path("[].t"), TimeFormat::UnixMillis, None, vec![one]);
    let source = Arc::new(source.unwrap());
    let rows = |version: Vec<&str>, segment: Vec<Option<&str>>| {
        let numbers: Int64Array = (0..i64::try_from(version.len()).unwrap()).map(Some).collect();
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("t", Arc::new(numbers.clone())),
            ("x", Arc::new(numbers)),
            ("v", Arc::new(StringArray::from(version))),
            ("s", Arc::new(StringArray::from(segment))),
        ];
        decode_by(Arc::clone(&source), &stream(&named(columns)))
    };
    let decoded = rows(vec!["2", "2", "1", "2"], vec![Some("a"), None, Some("b"), Some("a")]);
    assert_eq!(decoded.rejections, []);
    assert_eq!(decoded.versions, ["2".into(), "1".into()]);
    assert_eq!(decoded.rows.iter().map(|row| row.version).collect::<Vec<_>>(), [0, 0, 1, 0]);
    let batch = decoded.batches[0].as_ref().unwrap();
    let levels = batch.column(1).as_dictionary::<UInt32Type>();
    assert_eq!(levels.keys().iter().collect::<Vec<_>>(), [Some(0), None, Some(1), Some(0)]);
    let long = "v".repeat(129);
    for (version, segment, detail) in [
        (vec!["1", ""], vec![None, None], "row 1: the model's version is empty"),
        (vec!["1", &long], vec![None, None], "row 1: the model's version has 129 bytes"),
        (
            vec!["1", "1"],
            vec![None, Some("\n")],
            "row 1: `[].s`: a segment's value with a control character",
        ),
        (vec!["1", "1"], vec![Some(&*long), None], "row 0: `[].s`: a segment's value of 129 bytes"),
    ] {
        let decoded = rows(version, segment);
        assert_eq!(refused(&decoded), (RejectReason::InvalidName, detail));
        assert_eq!(decoded.versions, []);
    }
}

#[test]
fn schemas_are_kept_as_long_as_they_are_few() {
    let mut decoder = ArrowDecoder::new(source(TimeFormat::UnixMillis, &[NUMBER]), LIMITS);
    for offset in 0..3 * i64::try_from(SCHEMAS_MAX).unwrap() {
        let other = format!("other {offset}");
        let payload = stream(&named(vec![
            (&other, Arc::new(Int64Array::from(vec![5]))),
            ("t", Arc::new(Int64Array::from(vec![1]))),
            ("x", Arc::new(Float64Array::from(vec![0.5]))),
        ]));
        decoder.decode(&Message {
            payload: Some(&payload),
            offset,
            timestamp: None,
            envelope: &[],
        });
    }
    assert_eq!(decoder.programs.len(), SCHEMAS_MAX);
    assert_eq!(floats(&decoder.finish()), [Some(0.5); 3 * SCHEMAS_MAX]);
}

#[test]
fn what_compressed_buffers_claim_is_bounded_before_they_are_read() {
    let source = source(TimeFormat::UnixMillis, &[NUMBER]);
    for kind in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        let options = IpcWriteOptions::default().try_with_compression(Some(kind)).unwrap();
        let batch = batch(Arc::new(Float64Array::from(vec![0.5; 100])));
        let payload = stream_with(&[batch], options);
        assert_eq!(floats(&decode_by(Arc::clone(&source), &payload)), [Some(0.5); 100]);
        let claim = 800_i64.to_le_bytes();
        let starts: Vec<usize> =
            (0..payload.len()).filter(|at| payload[*at..].starts_with(&claim)).collect();
        assert_eq!(starts.len(), 2);
        for (claimed, reason) in [
            (1_i64 << 40, RejectReason::Oversized),
            (i64::MAX, RejectReason::Oversized),
            (16 << 20, RejectReason::Oversized),
            (10 << 20, RejectReason::InvalidArrow),
            (801, RejectReason::InvalidArrow),
            (-5, RejectReason::InvalidArrow),
        ] {
            let mut changed = payload.clone();
            changed[starts[1]..][..8].copy_from_slice(&claimed.to_le_bytes());
            let decoded = decode_by(Arc::clone(&source), &changed);
            assert_eq!(refused(&decoded).0, reason, "{claimed}");
        }
    }
}

#[test]
fn messages_of_other_libraries_are_read() {
    let one = ModelSchema {
        segments: vec![SegmentField { name: "note".into(), path: path("[].note") }],
        ..model(
            "flights",
            &[
                ("[].features.distance", FeatureKind::Float64),
                ("[].features.flight", FeatureKind::Integer),
                ("[].carrier", FeatureKind::Categorical),
                ("[].scores[1]", FeatureKind::Float32),
                ("[].is_late", FeatureKind::Boolean),
            ],
        )
    };
    let (time, by) = (path("[].event_time"), Some(path("[].model")));
    let source = SourceSchema::try_new(time, TimeFormat::UnixMillis, by, vec![one]);
    let source = Arc::new(source.unwrap());
    for (name, payload) in driftd_fixtures::messages::ARROW {
        let decoded = decode_by(Arc::clone(&source), payload);
        assert_eq!(decoded.rejections, [], "{name}");
        // 2013-04-01T09:00:00Z, and a minute more for each.
        let expected: Vec<_> = (0..12).map(|row| 1_364_806_800_000 + row * 60_000).collect();
        assert_eq!(times(&decoded), expected, "{name}");
        let distances = (0..12).map(|row| (row % 4 != 3).then_some(762.5 + f64::from(row)));
        assert_eq!(floats(&decoded), distances.collect::<Vec<_>>(), "{name}");
        let batch = decoded.batches[0].as_ref().unwrap();
        let flights: Vec<_> = batch.column(1).as_primitive::<Int64Type>().iter().collect();
        assert_eq!(flights, (-2..10).map(Some).collect::<Vec<_>>(), "{name}");
        let scores: Vec<_> = batch.column(3).as_primitive::<Float32Type>().iter().collect();
        assert_eq!(scores[..3], [Some(1.0), Some(0.875), Some(0.75)], "{name}");
        for (column, row, expected) in [
            (2, 0, Some("UA")),
            (2, 2, None),
            (2, 7, Some("B6")),
            (4, 3, Some("true")),
            (4, 5, None),
        ] {
            let array = batch.column(column).as_dictionary::<UInt32Type>();
            let texts = array.downcast_dict::<StringArray>().unwrap();
            let found = array.is_valid(row).then(|| texts.value(row));
            assert_eq!(found, expected, "{name}");
        }
    }
}
