//! Profile files that are not what was written, and profiles that are not of the model.

use std::collections::BTreeMap;
use std::error::Error;

use driftd_catalog::{ModelId, SegmentId, Timestamp};
use driftd_core::profile::{Origin, Profile, ProfileError, SegmentSample};
use driftd_core::reference::{ModelReference, ReferenceError};
use proptest::prelude::*;
use serde_json::Value;

use crate::model;
use crate::simulation::cases;

fn encode() -> Vec<u8> {
    let created = Timestamp::from_millis(1_000);
    let origin = Origin { path: "may.parquet".into(), bytes: 7, from: None, until: None };
    let features = model::features();
    Profile::encode("alpha", "1", created, 200, vec![origin], &features, &BTreeMap::new())
}

/// Returns the message of a profile that cannot be read, with its cause.
fn refusal(bytes: &[u8]) -> String {
    let error = Profile::decode(bytes).unwrap_err();
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn header() -> String {
    let bytes = encode();
    let header = bytes.split(|byte| *byte == b'\n').next().unwrap();
    String::from_utf8(header.to_vec()).unwrap()
}

#[test]
fn a_profile_that_is_written_twice_is_the_same_file() {
    assert_eq!(encode(), encode());
    let read = Profile::decode(&encode()).unwrap();
    let again = Profile::encode(
        &read.model,
        &read.version,
        read.created,
        read.rows,
        read.origin,
        &read.features,
        &read.segments,
    );
    assert_eq!(again, encode());
}

#[test]
fn every_flipped_bit_is_found() {
    let bytes = encode();
    for index in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[index] ^= 1 << bit;
            assert!(Profile::decode(&damaged).is_err(), "bit {bit} of byte {index}");
        }
    }
}

#[test]
fn every_cut_is_found() {
    let bytes = encode();
    // Without its last line break a file is whole.
    for length in 0..bytes.len() - 1 {
        assert!(Profile::decode(&bytes[..length]).is_err(), "the first {length} bytes");
    }
}

#[test]
fn a_file_that_is_no_profile_is_told_from_a_damaged_one() {
    let no_header = "the first line is not the header of a driftd profile: build one with \
                     `driftd reference build`";
    for bytes in [&b""[..], b"\n\n", b"x,y\n1,2\n", b"{}\n{}\n", b"PAR1\n\xff\xfe"] {
        assert_eq!(refusal(bytes), no_header);
    }
    let damaged = format!("{}\n{{}}\n", header());
    let error = Profile::decode(damaged.as_bytes()).unwrap_err();
    assert!(matches!(error, ProfileError::Checksum { .. }), "{error}");
}

#[test]
fn a_profile_of_a_later_format_names_both_versions() {
    let (before, after) =
        header().split_once("\"version\":").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let (known, rest) = after.split_once(',').unwrap();
    let later = format!("{before}\"version\":99,{rest}\n");
    assert_eq!(
        refusal(later.as_bytes()),
        format!(
            "the profile has format version 99, this driftd reads {known}: rebuild it with this version"
        )
    );
}

/// Gives the model a profile of these columns only.
fn refer(names: &[&str], renamed: Option<(&str, &str)>) -> Result<ModelReference, ReferenceError> {
    let config = model::config(&model::tree());
    let mut features = model::features();
    features.retain(|name, _| names.contains(&name.as_str()));
    if let Some((from, to)) = renamed {
        let moved = features.remove(from).unwrap();
        features.insert(to.to_owned(), moved);
    }
    let created = Timestamp::from_millis(0);
    let bytes =
        Profile::encode("alpha", "1", created, 200, Vec::new(), &features, &BTreeMap::new());
    let id = ModelId::try_new("alpha", "1").unwrap();
    ModelReference::try_new(&id, &config.models[0], Profile::decode(&bytes).unwrap())
}

#[test]
fn a_reference_takes_the_watched_columns_in_their_order() {
    let reference = refer(&["b", "c", "k", "p", "x"], None).unwrap();
    assert_eq!(reference.rows, 200);
    assert_eq!(reference.features.len(), 3, "x, c and p");
}

#[test]
fn a_profile_without_a_watched_column_says_which() {
    assert_eq!(
        refer(&["c", "x"], None).unwrap_err().to_string(),
        "the profile has no feature `p`, which model `alpha/1` watches: rebuild it from data with that column, \
         or stop watching it"
    );
}

#[test]
fn a_column_of_another_kind_is_refused() {
    assert_eq!(
        refer(&["c", "k", "p"], Some(("c", "x"))).unwrap_err().to_string(),
        "feature `x` of model `alpha/1` is configured as numeric but the profile holds it as categorical: make \
         the two agree"
    );
}

/// Gives the model a profile that was split by country, with so many rows in each.
fn split_by(config: &Value, rows: &[(&str, u64, Option<u32>)]) -> ModelReference {
    let config = model::config(config);
    let sample = |(value, rows, top): &(&str, u64, Option<u32>)| {
        let sample = SegmentSample { rows: *rows, top: *top, features: model::features() };
        (SegmentId::try_new("country", value).unwrap(), sample)
    };
    let segments = rows.iter().map(sample).collect();
    let created = Timestamp::from_millis(0);
    let bytes =
        Profile::encode("alpha", "1", created, 200, Vec::new(), &model::features(), &segments);
    let id = ModelId::try_new("alpha", "1").unwrap();
    ModelReference::try_new(&id, &config.models[0], Profile::decode(&bytes).unwrap()).unwrap()
}

fn has_reference(reference: &ModelReference, country: &str) -> bool {
    reference.of(&SegmentId::try_new("country", country).unwrap()).is_some()
}

#[test]
fn a_reference_says_which_values_are_the_most_frequent() {
    let tree = model::kinds();
    let top = |top| {
        move |reference: &[(&'static str, u64)]| -> Vec<_> {
            reference.iter().map(|(value, rows)| (*value, *rows, Some(top))).collect()
        }
    };
    let rows = [("it", 9), ("__other__", 70), ("de", 20)];
    let reference = split_by(&tree, &top(2)(&rows));
    assert_eq!(reference.top_values("country"), ["de".into(), "it".into()]);
    assert!(["it", "de", "__other__"].iter().all(|it| has_reference(&reference, it)));
    let tie = split_by(&tree, &top(2)(&[("fr", 5), ("de", 5)]));
    assert_eq!(tie.top_values("country"), ["de".into(), "fr".into()]);
    // Fewer were asked for: all others are in the same segment in the sample, too.
    let fewer = split_by(&tree, &top(1)(&rows[1..]));
    assert_eq!(fewer.top_values("country"), ["de".into()]);
    assert!(has_reference(&fewer, "__other__"));
    // No bound is exceeded by what a file says.
    let many = split_by(&tree, &top(2)(&[("a", 1), ("b", 2), ("c", 3)]));
    assert_eq!(many.top_values("country"), ["c".into(), "b".into()]);
    assert!(!has_reference(&many, "a"));
}

#[test]
fn a_sample_that_was_split_otherwise_is_no_reference_of_segments() {
    let check = |tree: &Value, top: Option<u32>| {
        let reference = split_by(tree, &[("de", 5, top), ("__other__", 5, top)]);
        assert!(reference.top_values("country").is_empty());
        assert!(["de", "__other__"].iter().all(|it| !has_reference(&reference, it)));
        assert_eq!(reference.features.len(), 3, "all records are judged");
    };
    check(&model::kinds(), None);
    check(&model::kinds(), Some(3));
    check(&model::tree(), Some(2));
    assert!(has_reference(&split_by(&model::tree(), &[("de", 5, None)]), "de"));
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn bytes_of_anything_are_refused_without_a_panic(bytes: Vec<u8>, body: Vec<u8>) {
        prop_assert!(Profile::decode(&bytes).is_err());
        let text = [header().into_bytes(), b"\n".to_vec(), body].concat();
        prop_assert!(Profile::decode(&text).is_err());
    }
}
