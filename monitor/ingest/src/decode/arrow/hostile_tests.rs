//! Messages that no library writes, or that few do: what they are refused for, and that it is soon.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use arrow::ipc::writer::{DictionaryHandling, FileWriter, IpcWriteOptions};
use arrow::ipc::{self, CompressionType};
use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};

use super::tests::*;
use super::{ArrowDecoder, Way};
use crate::decode::{Decode, DecodeLimits, Decoded, Message};
use crate::rejection::RejectReason;
use crate::schema::{FeatureKind, SourceSchema, TimeFormat};

#[test]
fn runs_of_a_dictionary_of_structs_or_lists_are_no_value() {
    let inner: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0]));
    let fields: Fields = vec![Field::new("a", DataType::Float64, true)].into();
    let structs: ArrayRef = Arc::new(StructArray::new(fields, vec![inner], None));
    let lists = vec![Some(vec![Some(1.0), Some(2.0)]), Some(vec![Some(3.0)])];
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists));
    for values in [structs, lists] {
        let values = DictionaryArray::new(Int8Array::from(vec![1, 0]), values);
        let runs = RunArray::<Int32Type>::try_new(&Int32Array::from(vec![2, 3]), &values).unwrap();
        let payload = stream(&batch(Arc::new(runs)));
        for (wanted, found) in [
            ("[].x", "a number, \"NaN\", \"Infinity\" or \"-Infinity\""),
            ("[].x.a", "a record or a map"),
            ("[].x[0]", "an array"),
        ] {
            let source = source(TimeFormat::UnixMillis, &[(wanted, FLOAT)]);
            let decoded = decode_by(source, &payload);
            let detail = format!(
                "row 0: `[].x`: expected {found}, found lists or records in a dictionary or in runs"
            );
            assert_eq!(refused(&decoded), (RejectReason::WrongType, &*detail));
        }
        let other = source(TimeFormat::UnixMillis, &[("[].t", FLOAT)]);
        assert_eq!(decode_by(other, &payload).rows.len(), 3);
    }
}

#[test]
fn claims_whose_sum_is_too_large_to_count_are_refused() {
    let source = source(TimeFormat::UnixMillis, &[NUMBER, ("[].y", FLOAT)]);
    let kind = Some(CompressionType::LZ4_FRAME);
    let options = IpcWriteOptions::default().try_with_compression(kind).unwrap();
    let number: ArrayRef = Arc::new(Float64Array::from(vec![0.5; 100]));
    let times: ArrayRef = Arc::new(Int64Array::from(vec![7; 100]));
    let rows = named(vec![("t", times), ("x", Arc::clone(&number)), ("y", number)]);
    let mut payload = stream_with(&[rows], options);
    let claim = 800_i64.to_le_bytes();
    let starts: Vec<usize> =
        (0..payload.len()).filter(|at| payload[*at..].starts_with(&claim)).collect();
    assert_eq!(starts.len(), 3);
    for (start, claimed) in starts.into_iter().zip([i64::MAX, i64::MAX, 2]) {
        payload[start..][..8].copy_from_slice(&claimed.to_le_bytes());
    }
    assert_eq!(refused(&decode_by(source, &payload)).0, RejectReason::Oversized);
}

/// Reads a message both ways; returns whether columns were taken, and what it became.
pub(super) fn decode_both_ways(
    source: &Arc<SourceSchema>,
    limits: DecodeLimits,
    message: &Message<'_>,
) -> (bool, Decoded) {
    let read = |by_columns: bool| {
        let mut decoder = ArrowDecoder::new(Arc::clone(source), limits);
        decoder.batch.begin(message);
        let way = decoder.read(message, by_columns);
        let took_columns = matches!(way, Ok(Way::Columns));
        if let Err(refusal) = way {
            decoder.batch.reject(message, refusal);
        }
        (took_columns, decoder.finish())
    };
    let ((by_columns, found), (_, by_rows)) = (read(true), read(false));
    assert_eq!((&found.rows, &found.versions), (&by_rows.rows, &by_rows.versions));
    assert_eq!((&found.batches, &found.rejections), (&by_rows.batches, &by_rows.rejections));
    (by_columns, found)
}

fn message(payload: &[u8]) -> Message<'_> {
    Message { payload: Some(payload), offset: 0, timestamp: None, envelope: &[] }
}

#[test]
fn texts_of_all_rows_are_bounded_however_few_bytes_the_message_has() {
    let limits = DecodeLimits {
        payload_bytes_max: 8 << 20,
        rows_max: DecodeLimits::ROWS_MAX,
        cells_max: DecodeLimits::CELLS_MAX,
    };
    let source = source(TimeFormat::UnixMillis, &[TEXT, ("[].y", TEXT.1)]);
    let text = "x".repeat(250);
    let views = |rows: usize| {
        let mut views = StringViewBuilder::new();
        let block = views.append_block(text.as_bytes().to_vec().into());
        for row in 0..rows {
            // Of some lengths, so that they are not the same text again and again.
            let start = u32::try_from(row % 20).unwrap();
            views.try_append_view(block, start, 230).unwrap();
        }
        Arc::new(views.finish()) as ArrayRef
    };
    let keys = |rows: usize| {
        let values = Arc::new(StringArray::from(vec!["x".repeat(230)]));
        Arc::new(DictionaryArray::new(Int8Array::from(vec![0; rows]), values)) as ArrayRef
    };
    let numbers = |rows: usize| Arc::new(Int8Array::from(vec![1; rows])) as ArrayRef;
    // 16 MiB are 72,944 texts of 230 bytes.
    for (rows, is_good) in [(36_000, true), (36_600, false)] {
        for x in [views(rows), keys(rows)] {
            let times: ArrayRef = Arc::new(Int64Array::from(vec![1; rows]));
            let payload = stream(&named(vec![("t", times), ("y", Arc::clone(&x)), ("x", x)]));
            let (by_columns, decoded) = decode_both_ways(&source, limits, &message(&payload));
            assert_eq!((by_columns, decoded.rows.len()), (is_good, if is_good { rows } else { 0 }));
            if !is_good {
                let detail = "row 36472: rows with more than 16777216 bytes of text";
                assert_eq!(refused(&decoded), (RejectReason::Oversized, detail));
            }
            let mut decoder = ArrowDecoder::new(Arc::clone(&source), limits);
            decoder.decode(&message(&payload));
            let bytes = decoder.text_bytes();
            let expected = if is_good { 2 * 230 * rows } else { 0 };
            assert!((expected..=expected + 128).contains(&bytes), "{bytes}");
            decoder.finish();
            assert_eq!(decoder.text_bytes(), 0);
        }
        // Digits are written to be texts.
        let times: ArrayRef = Arc::new(Int64Array::from(vec![1; rows]));
        let payload = stream(&named(vec![("t", times), ("y", numbers(rows)), ("x", views(rows))]));
        assert!(decode_both_ways(&source, limits, &message(&payload)).0);
    }
}

#[test]
fn names_too_long_for_any_model_are_not_compared() {
    let (text, rows) = ("x".repeat(1 << 20), 50_000);
    let mut views = StringViewBuilder::new();
    let block = views.append_block(text.into_bytes().into());
    for _ in 0..rows {
        views.try_append_view(block, 0, 1 << 20).unwrap();
    }
    let views: ArrayRef = Arc::new(views.finish());
    let times: ArrayRef = Arc::new(Int64Array::from(vec![1; rows]));
    let payload = stream(&named(vec![("t", times), ("x", views)]));
    let limits = DecodeLimits { payload_bytes_max: 8 << 20, rows_max: rows, cells_max: rows };
    let by_name = SourceSchema::try_new(
        path("[].t"),
        TimeFormat::UnixMillis,
        Some(path("[].x")),
        vec![model("m", &[("[].t", FLOAT)])],
    );
    // 50 GB would be compared.
    let (_, decoded) = decode_both_ways(&Arc::new(by_name.unwrap()), limits, &message(&payload));
    let detail =
        "row 0: `[].x`: no name, or too long or with a control character, of 1048576 bytes";
    assert_eq!(refused(&decoded), (RejectReason::InvalidName, detail));
    let text = source(TimeFormat::UnixMillis, &[TEXT]);
    let (_, decoded) = decode_both_ways(&text, limits, &message(&payload));
    assert_eq!(refused(&decoded).0, RejectReason::InvalidName);
}

#[test]
fn a_schema_that_names_one_field_many_times_is_refused() {
    for (times, is_good) in [(1, true), (300_000, false)] {
        let mut out = FlatBufferBuilder::new();
        let kind = ipc::FloatingPointBuilder::new(&mut out).finish().as_union_value();
        let name = out.create_string("x");
        let mut field = ipc::FieldBuilder::new(&mut out);
        field.add_name(name);
        field.add_type_type(ipc::Type::FloatingPoint);
        field.add_type_(kind);
        let field = field.finish();
        let fields = out.create_vector(&vec![field; times]);
        let mut schema = ipc::SchemaBuilder::new(&mut out);
        schema.add_fields(fields);
        let schema = schema.finish().as_union_value();
        let payload = framed(out, ipc::MessageHeader::Schema, schema);
        let limits = DecodeLimits { payload_bytes_max: 8 << 20, rows_max: 100, cells_max: 1_000 };
        let mut decoder = ArrowDecoder::new(source(TimeFormat::UnixMillis, &[NUMBER]), limits);
        decoder.decode(&message(&payload));
        let decoded = decoder.finish();
        if is_good {
            assert_eq!(decoded.rejections, []);
        } else {
            let detail = "IPC message 0: metadata that is none";
            assert_eq!(refused(&decoded), (RejectReason::InvalidArrow, detail));
        }
    }
}

#[test]
fn a_dictionary_of_more_values_than_can_be_counted_is_refused() {
    let values: ArrayRef = Arc::new(NullArray::new(1));
    let keys = DictionaryArray::new(Int8Array::from(vec![0]), values);
    let payload = stream(&batch(Arc::new(keys)));
    // Values that are null take no bytes, however many.
    let mut out = FlatBufferBuilder::new();
    let nodes = out.create_vector(&[ipc::FieldNode::new(i64::MAX, 0)]);
    let mut values = ipc::RecordBatchBuilder::new(&mut out);
    values.add_length(i64::MAX);
    values.add_nodes(nodes);
    let values = values.finish();
    let mut more = ipc::DictionaryBatchBuilder::new(&mut out);
    more.add_id(0);
    more.add_isDelta(true);
    more.add_data(values);
    let header = more.finish().as_union_value();
    let more = framed(out, ipc::MessageHeader::DictionaryBatch, header);
    // Behind the schema and the dictionary, which have no bodies.
    let after = |start: usize| {
        let length = payload[start + 4..][..4].try_into().unwrap();
        start + 8 + usize::try_from(u32::from_le_bytes(length)).unwrap()
    };
    let (before, rest) = payload.split_at(after(after(0)));
    let source = source(TimeFormat::UnixMillis, &[NUMBER]);
    for (count, is_good) in [(0, true), (2, true), (3, false)] {
        let payload = [before, &more.repeat(count), rest].concat();
        let (_, decoded) = decode_both_ways(&source, LIMITS, &message(&payload));
        if is_good {
            assert_eq!((decoded.rejections, decoded.rows.len()), (vec![], 1));
        } else {
            assert_eq!(refused(&decoded).0, RejectReason::InvalidArrow);
            assert!(refused(&decoded).1.contains("IPC message 4: "), "{decoded:?}");
        }
    }
}

/// Writes a message without a body.
fn framed(
    mut out: FlatBufferBuilder<'_>,
    kind: ipc::MessageHeader,
    header: WIPOffset<UnionWIPOffset>,
) -> Vec<u8> {
    let mut described = ipc::MessageBuilder::new(&mut out);
    described.add_version(ipc::MetadataVersion::V5);
    described.add_header_type(kind);
    described.add_header(header);
    let described = described.finish();
    out.finish(described, None);
    let metadata = out.finished_data();
    let length = u32::try_from(metadata.len()).unwrap().to_le_bytes();
    [&[0xff; 4][..], &length, metadata].concat()
}

#[test]
fn a_false_claim_takes_no_memory() {
    let source = source(TimeFormat::UnixMillis, &[NUMBER]);
    for kind in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        let options = IpcWriteOptions::default().try_with_compression(Some(kind)).unwrap();
        let rows = batch(Arc::new(Float64Array::from(vec![0.5; 100])));
        let mut payload = stream_with(&[rows], options);
        let length = 800_i64.to_le_bytes();
        let at = payload.windows(8).rposition(|it| it == length).unwrap();
        payload[at..][..8].copy_from_slice(&(8_i64 << 20).to_le_bytes());
        let mut decoded = None;
        let decode = || decoded = Some(decode_by(Arc::clone(&source), &payload));
        let taken = allocation_counter::measure(decode);
        assert_eq!(refused(&decoded.unwrap()).0, RejectReason::InvalidArrow, "{kind:?}");
        assert!(taken.bytes_max < 1 << 20, "{kind:?} takes {}", taken.bytes_max);
    }
}

/// Returns the bytes with others in place of the last ones that are so.
fn patched(payload: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = payload.windows(from.len()).rposition(|it| it == from).expect("they are there");
    [&payload[..at], to, &payload[at + from.len()..]].concat()
}

fn words(all: &[i32]) -> Vec<u8> {
    all.iter().flat_map(|it| it.to_le_bytes()).collect()
}

fn longs(all: &[i64]) -> Vec<u8> {
    all.iter().flat_map(|it| it.to_le_bytes()).collect()
}

#[test]
fn what_a_batch_says_of_its_arrays_is_compared_with_them() {
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None, Some(2.0)]));
    let booleans: ArrayRef = Arc::new(BooleanArray::from(vec![true, false, true]));
    let lists = vec![Some(vec![Some(1.0), Some(2.0)]), None, Some(vec![Some(3.0)])];
    let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists));
    let ends = Int32Array::from(vec![2, 3]);
    let runs = RunArray::<Int32Type>::try_new(&ends, &Float64Array::from(vec![1.0, 2.0]));
    let runs: ArrayRef = Arc::new(runs.unwrap());
    let mut maps = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
    for row in [&[("a", 1.0), ("b", 2.0)][..], &[], &[("a", 3.0), ("z", 4.0)]] {
        for (key, value) in row {
            maps.keys().append_value(key);
            maps.values().append_value(*value);
        }
        maps.append(!row.is_empty()).unwrap();
    }
    let maps: ArrayRef = Arc::new(maps.finish());
    let boolean = FeatureKind::Boolean;
    for (array, (path, kind), from, to) in [
        // Nulls, and rows, of which there are as many as of times.
        (&floats, ("[].x", FLOAT), longs(&[3, 1]), longs(&[3, 2])),
        (&booleans, ("[].x", boolean), longs(&[3, 0]), longs(&[4, 0])),
        // Of the list that is null nobody reads where it lies.
        (&lists, ("[].x[0]", FLOAT), words(&[0, 2, 2, 3]), words(&[0, 2, 1, 3])),
        (&runs, ("[].x", FLOAT), words(&[2, 3]), words(&[1, 2])),
        (&runs, ("[].x", FLOAT), words(&[2, 3]), words(&[3, 3])),
        // So with a map, of which there are as many keys as values.
        (&maps, ("[].x.a", FLOAT), words(&[0, 2, 2, 4]), words(&[0, 2, 1, 4])),
        (&maps, ("[].x.a", FLOAT), longs(&[4, 0, 4, 0]), longs(&[4, 0, 3, 0])),
    ] {
        let payload = stream(&batch(Arc::clone(array)));
        let source = source(TimeFormat::UnixMillis, &[(path, kind)]);
        assert_eq!(decode_by(Arc::clone(&source), &payload).rejections, [], "{path}");
        let (_, decoded) =
            decode_both_ways(&source, LIMITS, &message(&patched(&payload, &from, &to)));
        assert_eq!(refused(&decoded).0, RejectReason::InvalidArrow, "{from:?} {to:?}");
    }
}

fn footer_of(file: &[u8]) -> ipc::Footer<'_> {
    let (rest, length) = file.strip_suffix(b"ARROW1").unwrap().split_last_chunk().unwrap();
    let length = usize::try_from(i32::from_le_bytes(*length)).unwrap();
    ipc::root_as_footer(&rest[rest.len() - length..]).unwrap()
}

#[test]
fn no_message_of_a_file_is_read_twice() {
    let source = source(TimeFormat::UnixMillis, &[NUMBER]);
    let rows = |x: f64| batch(Arc::new(Float64Array::from(vec![x; 3])));
    let mut writer = FileWriter::try_new(Vec::new(), &rows(0.0).schema()).unwrap();
    writer.write(&rows(1.0)).unwrap();
    writer.write(&rows(2.0)).unwrap();
    let payload = writer.into_inner().unwrap();
    assert_eq!(decode_by(Arc::clone(&source), &payload).rows.len(), 6);
    let blocks = footer_of(&payload).recordBatches().unwrap();
    let twice = patched(&payload, &blocks.get(1).0, &blocks.get(0).0);
    let decoded = decode_by(source, &twice);
    assert_eq!(refused(&decoded).0, RejectReason::InvalidArrow);
}

/// Returns the messages of a stream, without the mark of its end.
fn messages_of(mut stream: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    while let [0xff, 0xff, 0xff, 0xff, a, b, c, d, rest @ ..] = stream {
        let length = usize::try_from(i32::from_le_bytes([*a, *b, *c, *d])).unwrap();
        if length == 0 {
            break;
        }
        let described = ipc::root_as_message(&rest[..length]).unwrap();
        let body = usize::try_from(described.bodyLength()).unwrap();
        let (message, behind) = stream.split_at(8 + length + body);
        messages.push(message);
        stream = behind;
    }
    messages
}

#[test]
fn nothing_is_added_to_a_dictionary_that_is_not_there() {
    let rows = |texts: &[&str]| {
        let values = Arc::new(StringArray::from(texts.to_vec()));
        batch(Arc::new(DictionaryArray::new(Int8Array::from(vec![0; 3]), values)))
    };
    let options = IpcWriteOptions::default().with_dictionary_handling(DictionaryHandling::Delta);
    let payload = stream_with(&[rows(&["UA"]), rows(&["UA", "B6"])], options);
    let messages = messages_of(&payload);
    // The schema, a dictionary and its rows, what is added and its rows.
    assert_eq!(messages.len(), 5);
    let source = source(TimeFormat::UnixMillis, &[TEXT]);
    assert_eq!(decode_by(Arc::clone(&source), &messages.concat()).rows.len(), 6);
    let without = [messages[0], messages[3], messages[4]].concat();
    assert_eq!(refused(&decode_by(source, &without)).0, RejectReason::InvalidArrow);
}

#[test]
fn a_file_does_not_call_rows_a_dictionary() {
    let source = source(TimeFormat::UnixMillis, &[TEXT]);
    let values = Arc::new(StringArray::from(vec!["UA"]));
    let rows = batch(Arc::new(DictionaryArray::new(Int8Array::from(vec![0; 3]), values)));
    let mut writer = FileWriter::try_new(Vec::new(), &rows.schema()).unwrap();
    writer.write(&rows).unwrap();
    let payload = writer.into_inner().unwrap();
    assert_eq!(decode_by(Arc::clone(&source), &payload).rows.len(), 3);
    let footer = footer_of(&payload);
    let block = |blocks: Option<flatbuffers::Vector<'_, ipc::Block>>| blocks.unwrap().get(0).0;
    let (dictionary, batch) = (block(footer.dictionaries()), block(footer.recordBatches()));
    let swapped = patched(&payload, &dictionary, &[0xee; 24]);
    let swapped = patched(&patched(&swapped, &batch, &dictionary), &[0xee; 24], &batch);
    assert_eq!(refused(&decode_by(source, &swapped)).0, RejectReason::InvalidArrow);
}

#[test]
fn messages_of_other_versions_than_their_schema_allows_are_refused() {
    let source = source(TimeFormat::UnixMillis, &[NUMBER]);
    let payload = stream(&batch(Arc::new(Float64Array::from(vec![1.0; 3]))));
    let messages = messages_of(&payload);
    let described = ipc::root_as_message(&messages[1][8..]).unwrap();
    let table = described._tab;
    let place = 8 + table.loc() + usize::from(table.vtable().get(ipc::Message::VT_VERSION));
    let decode = |version: u8| {
        let mut rows = messages[1].to_vec();
        rows[place] = version;
        decode_by(Arc::clone(&source), &[messages[0], &rows].concat())
    };
    // The fifth is 4.
    assert_eq!(decode(4).rows.len(), 3);
    for version in [2, 5] {
        assert_eq!(refused(&decode(version)).0, RejectReason::InvalidArrow);
    }
}
