//! Draws columns of Arrow for the tests, and the same values as JSON.
//!
//! Before: [`super::oracle`]. Everything is drawn from a tape of bytes, which proptest shortens and
//! lowers until a failure is as small as it gets.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::*;
use serde_json::{Map, Value as Json, json};

use crate::decode::draw::{KEYS, Leaf, Rest, Tape, under_key};
use crate::path::Step;

/// An array, and its values.
type Drawn = (ArrayRef, Vec<Json>);

/// Draws the columns of so many rows, through which most of the paths lead.
pub(super) fn batch(
    tape: &mut Tape<'_>,
    rests: &[Rest<'_>],
    rows: usize,
) -> (RecordBatch, Vec<Json>) {
    let (fields, arrays, values) = children(tape, rests, rows);
    let schema = Arc::new(Schema::new(fields));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(schema, arrays, &options).unwrap();
    (batch, values)
}

fn children(
    tape: &mut Tape<'_>,
    rests: &[Rest<'_>],
    rows: usize,
) -> (Vec<Field>, Vec<ArrayRef>, Vec<Json>) {
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    let mut values = vec![Map::new(); rows];
    let add = |name: &str,
               (array, column): Drawn,
               fields: &mut Vec<Field>,
               arrays: &mut Vec<_>,
               values: &mut [Map<String, Json>]| {
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
        for (row, value) in values.iter_mut().zip(column) {
            row.insert(name.to_owned(), value);
        }
    };
    for key in KEYS {
        let below: Vec<_> = rests.iter().filter_map(|rest| under_key(rest, Some(key))).collect();
        if below.is_empty() || tape.once_in(80) {
            continue;
        }
        if tape.once_in(4) {
            let drawn = ignored(tape, rows);
            add(&format!("z{key}"), drawn, &mut fields, &mut arrays, &mut values);
        }
        let drawn = array(tape, &below, rows);
        add(key, drawn, &mut fields, &mut arrays, &mut values);
        if tape.once_in(30) {
            // Of columns with one name the last counts.
            let drawn = array(tape, &below, rows);
            add(key, drawn, &mut fields, &mut arrays, &mut values);
        }
    }
    if tape.once_in(3) {
        let drawn = ignored(tape, rows);
        add("zz", drawn, &mut fields, &mut arrays, &mut values);
    }
    (fields, arrays, values.into_iter().map(Json::Object).collect())
}

/// Draws which of the values are there: mostly all, or most.
fn nulls(tape: &mut Tape<'_>, rows: usize, rests: &[Rest<'_>]) -> Option<NullBuffer> {
    let is_needed = rests.iter().any(|(steps, leaf)| {
        steps.is_empty() && matches!(leaf, Leaf::Time | Leaf::Model | Leaf::Version)
    });
    if rows == 0 || is_needed && !tape.once_in(30) || tape.below(3) != 0 {
        return None;
    }
    Some((0..rows).map(|_| !tape.once_in(4)).collect::<Vec<_>>().into())
}

fn array(tape: &mut Tape<'_>, rests: &[Rest<'_>], rows: usize) -> Drawn {
    if tape.once_in(80) {
        let other = tape.one_of(&[Leaf::Number, Leaf::Text, Leaf::Boolean]);
        return scalar(tape, other, rows);
    }
    let longest = rests.iter().max_by_key(|(steps, _)| steps.len());
    let Some((steps, leaf)) = longest else { return ignored(tape, rows) };
    match steps.first() {
        None if 0 < rows && tape.once_in(60) => encoded(tape, rows),
        None => scalar(tape, *leaf, rows),
        Some(Step::Key(_)) if tape.once_in(4) => map(tape, rests, rows),
        Some(Step::Key(_)) => {
            let nulls = nulls(tape, rows, rests);
            let (fields, arrays, values) = children(tape, rests, rows);
            let array = if fields.is_empty() {
                StructArray::new_empty_fields(rows, nulls.clone())
            } else {
                StructArray::new(fields.into(), arrays, nulls.clone())
            };
            (Arc::new(array), hidden(values, nulls.as_ref()))
        }
        Some(Step::Index(_) | Step::Where { .. } | Step::Each) => list(tape, rests, rows),
    }
}

fn hidden(values: Vec<Json>, nulls: Option<&NullBuffer>) -> Vec<Json> {
    let values = values.into_iter().enumerate();
    let is_null = |row| nulls.is_some_and(|nulls| nulls.is_null(row));
    values.map(|(row, value)| if is_null(row) { Json::Null } else { value }).collect()
}

fn list(tape: &mut Tape<'_>, rests: &[Rest<'_>], rows: usize) -> Drawn {
    let below: Vec<_> = rests.iter().filter_map(under_place).collect();
    let nulls = nulls(tape, rows, rests);
    let kind = tape.below(3);
    let size = tape.below(4);
    let lengths: Vec<usize> =
        (0..rows).map(|_| if kind == 2 { size } else { tape.below(4) }).collect();
    let count = lengths.iter().sum();
    let (child, values) = array(tape, &below, count);
    let mut values = values.into_iter();
    let lists = lengths.iter().map(|length| values.by_ref().take(*length).collect());
    let lists = hidden(lists.collect(), nulls.as_ref());
    let field = Arc::new(Field::new("item", child.data_type().clone(), true));
    let array: ArrayRef = match kind {
        0 => Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), child, nulls)),
        1 => {
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(LargeListArray::new(field, offsets, child, nulls))
        }
        _ => {
            let size = i32::try_from(size).unwrap();
            let array = FixedSizeListArray::try_new_with_length(field, size, child, nulls, rows);
            Arc::new(array.unwrap())
        }
    };
    (array, lists)
}

fn map(tape: &mut Tape<'_>, rests: &[Rest<'_>], rows: usize) -> Drawn {
    let below: Vec<_> = rests.iter().filter_map(|rest| under_key(rest, None)).collect();
    let nulls = nulls(tape, rows, rests);
    let lengths: Vec<usize> = (0..rows).map(|_| 2 + tape.below(4)).collect();
    let count = lengths.iter().sum();
    let keys: Vec<&str> = (0..count).map(|_| tape.one_of(&KEYS)).collect();
    let (child, values) = array(tape, &below, count);
    let mut entries = keys.iter().map(|key| (*key).to_owned()).zip(values);
    let maps = lengths.iter().map(|length| {
        let mut map = Map::new();
        map.extend(entries.by_ref().take(*length));
        Json::Object(map)
    });
    let maps = hidden(maps.collect(), nulls.as_ref());
    let names: ArrayRef = match tape.below(3) {
        0 => Arc::new(LargeStringArray::from(keys)),
        1 => Arc::new(StringViewArray::from(keys)),
        _ => Arc::new(StringArray::from(keys)),
    };
    let fields: Fields = vec![
        Field::new("keys", names.data_type().clone(), false),
        Field::new("values", child.data_type().clone(), true),
    ]
    .into();
    let entries = StructArray::new(fields, vec![names, child], None);
    let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let array = MapArray::new(field, OffsetBuffer::from_lengths(lengths), entries, nulls, false);
    (Arc::new(array), maps)
}

/// Draws values as they are, in a dictionary or in runs.
fn scalar(tape: &mut Tape<'_>, leaf: Leaf, rows: usize) -> Drawn {
    match tape.below(6) {
        4 => dictionary(tape, leaf, rows),
        5 if 0 < rows => runs(tape, leaf, rows),
        _ => plain(tape, leaf, rows),
    }
}

fn dictionary(tape: &mut Tape<'_>, leaf: Leaf, rows: usize) -> Drawn {
    let count = 1 + tape.below(5);
    let (values, json) = plain(tape, leaf, count);
    let nulls = nulls(tape, rows, &[(&[], leaf)]);
    let keys: Vec<usize> = (0..rows).map(|_| tape.below(count)).collect();
    let found = keys.iter().map(|key| json[*key].clone()).collect();
    let found = hidden(found, nulls.as_ref());
    macro_rules! encoded {
        ($kind:ty) => {{
            let keys: Vec<_> = keys.iter().map(|key| (*key).try_into().unwrap()).collect();
            let keys = PrimitiveArray::<$kind>::new(ScalarBuffer::from(keys), nulls);
            Arc::new(DictionaryArray::new(keys, values)) as ArrayRef
        }};
    }
    let array = match tape.below(8) {
        0 => encoded!(Int8Type),
        1 => encoded!(Int16Type),
        2 => encoded!(Int32Type),
        3 => encoded!(Int64Type),
        4 => encoded!(UInt8Type),
        5 => encoded!(UInt16Type),
        6 => encoded!(UInt32Type),
        _ => encoded!(UInt64Type),
    };
    (array, found)
}

fn runs(tape: &mut Tape<'_>, leaf: Leaf, rows: usize) -> Drawn {
    let mut ends = Vec::new();
    while ends.last().is_none_or(|last| *last < rows) {
        ends.push((ends.last().copied().unwrap_or(0) + 1 + tape.below(3)).min(rows));
    }
    let (values, json) = match tape.below(4) {
        0 => dictionary(tape, leaf, ends.len()),
        _ => plain(tape, leaf, ends.len()),
    };
    let run = |row| ends.partition_point(|end| *end <= row);
    let found = (0..rows).map(|row| json[run(row)].clone()).collect();
    macro_rules! encoded {
        ($kind:ty) => {{
            let ends: Vec<_> = ends.iter().map(|end| (*end).try_into().unwrap()).collect();
            let ends = PrimitiveArray::<$kind>::new(ScalarBuffer::from(ends), None);
            Arc::new(RunArray::<$kind>::try_new(&ends, &values).unwrap()) as ArrayRef
        }};
    }
    let array = match tape.below(3) {
        0 => encoded!(Int16Type),
        1 => encoded!(Int32Type),
        _ => encoded!(Int64Type),
    };
    (array, found)
}

/// Draws structs or lists in a dictionary, as they are or in runs: what no column takes.
fn encoded(tape: &mut Tape<'_>, rows: usize) -> Drawn {
    let count = 1 + tape.below(3);
    let fields: Fields = vec![Field::new("q", DataType::Int64, true)].into();
    let (values, json): (ArrayRef, Json) = if tape.once_in(2) {
        let inner: ArrayRef = Arc::new(Int64Array::from(vec![7; count]));
        (Arc::new(StructArray::new(fields, vec![inner], None)), json!({"q": 7}))
    } else {
        let lists = vec![Some(vec![Some(7)]); count];
        (Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)), json!([7]))
    };
    let is_run = tape.once_in(2);
    let length = if is_run { 1 + tape.below(rows.min(3)) } else { rows };
    let place = |tape: &mut Tape<'_>| i8::try_from(tape.below(count)).unwrap();
    let keys: Vec<i8> = (0..length).map(|_| place(tape)).collect();
    let dictionary = DictionaryArray::new(Int8Array::from(keys), values);
    if !is_run {
        return (Arc::new(dictionary), vec![json; rows]);
    }
    let mut ends: Vec<i32> = (1..=length).map(|end| i32::try_from(end).unwrap()).collect();
    ends[length - 1] = i32::try_from(rows).unwrap();
    let runs = RunArray::<Int32Type>::try_new(&Int32Array::from(ends), &dictionary).unwrap();
    (Arc::new(runs), vec![json; rows])
}

fn plain(tape: &mut Tape<'_>, leaf: Leaf, rows: usize) -> Drawn {
    match leaf {
        Leaf::Number => number(tape, rows, true),
        Leaf::Whole => number(tape, rows, false),
        Leaf::Boolean => boolean(tape, rows),
        Leaf::Time => time(tape, rows),
        Leaf::Model => texts(tape, rows, Leaf::Model, &["first", "second"]),
        Leaf::Text | Leaf::Version => match tape.below(8) {
            5 => number(tape, rows, false),
            6 if leaf == Leaf::Text => boolean(tape, rows),
            _ => texts(tape, rows, leaf, &["x", "y", "long enough to lie elsewhere", "é", ""]),
        },
    }
}

fn texts(tape: &mut Tape<'_>, rows: usize, leaf: Leaf, levels: &[&str]) -> Drawn {
    let nulls = nulls(tape, rows, &[(&[], leaf)]);
    let text = |tape: &mut Tape<'_>| match tape.below(if leaf == Leaf::Version { 64 } else { 70 }) {
        64 => String::new(),
        65 => "NaN".to_owned(),
        66 => "-Infinity".to_owned(),
        67 => "a\u{7}".to_owned(),
        68 => "x".repeat(130),
        69 => "y".repeat(257),
        other => levels[other % levels.len()].to_owned(),
    };
    let texts: Vec<String> = (0..rows).map(|_| text(tape)).collect();
    let is_null = |row| nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
    let values: Vec<Option<&str>> =
        texts.iter().enumerate().map(|(row, text)| (!is_null(row)).then_some(&**text)).collect();
    let json = values.iter().map(|text| json!(text)).collect();
    let array: ArrayRef = match tape.below(4) {
        0 => Arc::new(LargeStringArray::from(values)),
        1 => Arc::new(StringViewArray::from(values)),
        _ => Arc::new(StringArray::from(values)),
    };
    (array, json)
}

fn boolean(tape: &mut Tape<'_>, rows: usize) -> Drawn {
    let nulls = nulls(tape, rows, &[(&[], Leaf::Boolean)]);
    let values: Vec<bool> = (0..rows).map(|_| tape.once_in(2)).collect();
    let json = hidden(values.iter().map(|value| json!(value)).collect(), nulls.as_ref());
    (Arc::new(BooleanArray::new(values.into(), nulls)), json)
}

/// Draws numbers of any type whose JSON has the same digits.
fn number(tape: &mut Tape<'_>, rows: usize, with_decimals: bool) -> Drawn {
    let leaf = if with_decimals { Leaf::Number } else { Leaf::Whole };
    let nulls = nulls(tape, rows, &[(&[], leaf)]);
    macro_rules! whole {
        ($kind:ty) => {{
            let values: Vec<<$kind as ArrowPrimitiveType>::Native> =
                (0..rows).map(|_| whole(tape).try_into().unwrap_or_default()).collect();
            let json = values.iter().map(|value| json!(value)).collect();
            (Arc::new(PrimitiveArray::<$kind>::new(values.into(), nulls.clone())) as ArrayRef, json)
        }};
    }
    let (array, json): Drawn = match tape.below(if with_decimals { 20 } else { 16 }) {
        0 => whole!(Int8Type),
        1 => whole!(Int16Type),
        2 => whole!(Int32Type),
        3 => whole!(UInt8Type),
        4 => whole!(UInt16Type),
        5 => whole!(UInt32Type),
        6 => whole!(TimestampMicrosecondType),
        7 => whole!(Time32SecondType),
        8 => whole!(DurationNanosecondType),
        9 => {
            let values: Vec<u64> = (0..rows)
                .map(|_| if tape.once_in(9) { u64::MAX } else { whole(tape).unsigned_abs() })
                .collect();
            let json = values.iter().map(|value| json!(value)).collect();
            (Arc::new(UInt64Array::new(values.into(), nulls.clone())), json)
        }
        10 | 11 => {
            let values: Vec<f32> = (0..rows).map(|_| single(tape)).collect();
            let json = values.iter().map(|value| special((*value).into())).collect();
            (Arc::new(Float32Array::new(values.into(), nulls.clone())), json)
        }
        12 | 13 => {
            let values: Vec<f64> = (0..rows).map(|_| double(tape)).collect();
            let json = values.iter().map(|value| special(*value)).collect();
            (Arc::new(Float64Array::new(values.into(), nulls.clone())), json)
        }
        14 => (Arc::new(NullArray::new(rows)), vec![Json::Null; rows]),
        15 => whole!(Int64Type),
        16 => {
            let singles: Vec<f32> = (0..rows).map(|_| single(tape)).collect();
            let json = singles.iter().map(|value| special((*value).into())).collect();
            let values =
                singles.iter().map(|it| <Float16Type as ArrowPrimitiveType>::Native::from_f32(*it));
            let values: Vec<_> = values.collect();
            (Arc::new(Float16Array::new(values.into(), nulls.clone())), json)
        }
        _ => {
            let scale = tape.one_of(&[0, 1, 3]);
            let values: Vec<i128> = (0..rows).map(|_| whole(tape).into()).collect();
            let json = values.iter().map(|value| decimal(*value, scale)).collect();
            let array = Decimal128Array::new(values.into(), nulls.clone());
            (Arc::new(array.with_precision_and_scale(38, scale).unwrap()), json)
        }
    };
    let json = hidden(json, nulls.as_ref());
    (array, json)
}

fn decimal(digits: i128, scale: i8) -> Json {
    let text = if scale == 0 { digits.to_string() } else { format!("{digits}e-{scale}") };
    serde_json::from_str(&text).unwrap()
}

fn whole(tape: &mut Tape<'_>) -> i64 {
    match tape.below(24) {
        0..23 => i64::try_from(tape.below(200)).unwrap() - 50,
        _ => tape.long(),
    }
}

/// Draws a number that each type of floats holds.
fn single(tape: &mut Tape<'_>) -> f32 {
    match tape.below(40) {
        39 => f32::NAN,
        38 => f32::INFINITY,
        _ => f32::from(u16::try_from(tape.below(250)).unwrap()) / 8.0 - 3.0,
    }
}

fn double(tape: &mut Tape<'_>) -> f64 {
    match tape.below(60) {
        55 => f64::NAN,
        56 => f64::NEG_INFINITY,
        57 => f64::from_bits(tape.long().cast_unsigned()),
        58 => -0.0,
        59 => 1e300,
        _ => f64::from(u16::try_from(tape.below(250)).unwrap()) / 4.0 - 20.0,
    }
}

/// Returns a number, or the text for one that JSON has no token for.
fn special(value: f64) -> Json {
    if value.is_finite() {
        return json!(value);
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    if value.is_nan() { json!("NaN") } else { json!(format!("{sign}Infinity")) }
}

/// Draws times of whole seconds.
fn time(tape: &mut Tape<'_>, rows: usize) -> Drawn {
    let nulls = nulls(tape, rows, &[(&[], Leaf::Time)]);
    let days: Vec<i32> = (0..rows).map(|_| i32::try_from(tape.below(250)).unwrap()).collect();
    let wide: Vec<i64> = days.iter().map(|day| i64::from(*day) * 86_400).collect();
    let json = hidden(wide.iter().map(|it| json!(it)).collect(), nulls.as_ref());
    let times = |factor: i64| wide.iter().map(|it| it * factor).collect::<Vec<_>>().into();
    let array: ArrayRef = match tape.below(9) {
        0 => Arc::new(Date32Array::new(days.into(), nulls)),
        1 => Arc::new(Date64Array::new(times(1_000), nulls)),
        2 => Arc::new(TimestampSecondArray::new(times(1), nulls)),
        3 => Arc::new(TimestampMillisecondArray::new(times(1_000), nulls)),
        4 => {
            let array = TimestampMicrosecondArray::new(times(1_000_000), nulls);
            Arc::new(array.with_timezone("+02:00"))
        }
        5 => Arc::new(TimestampNanosecondArray::new(times(1_000_000_000), nulls)),
        6 => {
            let values: Vec<f64> = wide.iter().map(|it| *it as f64).collect();
            Arc::new(Float64Array::new(values.into(), nulls))
        }
        7 => {
            let values: Vec<u64> = wide.iter().map(|it| it.unsigned_abs()).collect();
            Arc::new(UInt64Array::new(values.into(), nulls))
        }
        _ => Arc::new(Int64Array::new(times(1), nulls)),
    };
    (array, json)
}

/// Draws an array that no path asks for.
fn ignored(tape: &mut Tape<'_>, rows: usize) -> Drawn {
    let null = vec![Json::Null; rows];
    let array: ArrayRef = match tape.below(8) {
        0 => Arc::new(BinaryArray::from_vec(vec![&[0xff; 3][..]; rows])),
        1 => Arc::new(BinaryViewArray::from_iter_values(vec![[0xff_u8; 20]; rows])),
        2 => Arc::new(StringViewArray::from_iter_values(vec!["long enough to be elsewhere"; rows])),
        3 => Arc::new(NullArray::new(rows)),
        4 => {
            let fields = UnionFields::try_new(
                [0, 1],
                [Field::new("p", DataType::Int32, true), Field::new("q", DataType::Utf8, true)],
            );
            let arrays: Vec<ArrayRef> = vec![
                Arc::new(Int32Array::from(vec![1; rows])),
                Arc::new(StringArray::from(vec!["x"; rows])),
            ];
            let array = UnionArray::try_new(fields.unwrap(), vec![0; rows].into(), None, arrays);
            Arc::new(array.unwrap())
        }
        5 => Arc::new(FixedSizeBinaryArray::new(3, vec![1_u8; 3 * rows].into(), None)),
        6 => list(tape, &[], rows).0,
        _ => scalar(tape, Leaf::Number, rows).0,
    };
    (array, null)
}

fn under_place<'a>(rest: &Rest<'a>) -> Option<Rest<'a>> {
    match rest.0.split_first() {
        Some((Step::Index(_), below)) => Some((below, rest.1)),
        Some((Step::Key(_) | Step::Where { .. } | Step::Each, _)) | None => None,
    }
}
