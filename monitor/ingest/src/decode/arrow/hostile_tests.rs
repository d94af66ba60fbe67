//! Messages that no library writes, or that few do: what they are refused for, and that it is soon.

use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::IpcWriteOptions;

use super::tests::*;
use crate::rejection::RejectReason;
use crate::schema::TimeFormat;

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
