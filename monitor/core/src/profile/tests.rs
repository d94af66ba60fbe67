//! A profile is read back as it was written, with its segments.

use driftd_detectors::{CategoricalColumn, NumericColumn, NumericValues};

use super::*;

fn numeric(grid: &Arc<Grid>, values: &[f64]) -> FeatureReference {
    let mut counts = NumericCounts::empty(grid);
    counts.update(grid, &NumericColumn { values: NumericValues::F64(values), validity: None });
    FeatureReference::Numeric(NumericReference { grid: Arc::clone(grid), counts })
}

fn categorical(levels: &Arc<Levels>, names: &[&str], keys: &[u32]) -> FeatureReference {
    let mut counts = CategoricalCounts::empty(levels);
    counts.update(levels, &CategoricalColumn { levels: names, keys, validity: None });
    // Names of unseen levels are not kept in a file.
    counts.unseen_levels.clear();
    FeatureReference::Categorical(CategoricalReference { levels: Arc::clone(levels), counts })
}

type Columns = BTreeMap<String, FeatureReference>;

/// Four rows, of which two are in `c=a` and two in none of the named segments.
fn sample() -> (Columns, BTreeMap<SegmentId, SegmentSample>) {
    let grid = Arc::new(Grid::from_sorted(Precision::F64, &[1.0, 2.0, 3.0], 3).unwrap());
    let levels = Arc::new(Levels::try_new(vec!["a".into(), "b".into()]).unwrap());
    let columns = |values: &[f64], keys: &[u32]| {
        Columns::from([
            ("c".to_owned(), categorical(&levels, &["a", "b", "z"], keys)),
            ("x".to_owned(), numeric(&grid, values)),
        ])
    };
    let segment = |value: &str, values: &[f64], keys: &[u32]| {
        let sample = SegmentSample { rows: 2, top: None, features: columns(values, keys) };
        (SegmentId::try_new("c", value).unwrap(), sample)
    };
    let segments = BTreeMap::from([
        segment("a", &[1.0, f64::INFINITY], &[0, 0]),
        segment("__other__", &[2.0, 2.5], &[1, 2]),
    ]);
    (columns(&[1.0, f64::INFINITY, 2.0, 2.5], &[0, 0, 1, 2]), segments)
}

fn encode(features: &Columns, segments: &BTreeMap<SegmentId, SegmentSample>) -> String {
    let created = Timestamp::from_millis(0);
    let bytes = Profile::encode("m", "1", created, 4, Vec::new(), features, segments);
    String::from_utf8(bytes).unwrap()
}

/// Changes the content, and the checksum with it.
fn forge(text: &str, from: &str, to: &str) -> ProfileError {
    let (_, body) = text.trim_end().split_once('\n').unwrap();
    let body = body.replacen(from, to, 1);
    let sha256 = checksum(body.as_bytes());
    let header = Header { format: FORMAT.to_owned(), version: VERSION, sha256 };
    let header = serde_json::to_string(&header).unwrap();
    Profile::decode(format!("{header}\n{body}\n").as_bytes()).unwrap_err()
}

#[test]
fn a_profile_is_read_as_it_was_written() {
    let (features, segments) = sample();
    let read = Profile::decode(encode(&features, &segments).as_bytes()).unwrap();
    assert_eq!((read.model.as_str(), read.version.as_str(), read.rows), ("m", "1", 4));
    assert_eq!(read.features, features);
    assert!(read.segments.keys().eq(segments.keys()));
    for (id, sample) in &segments {
        assert_eq!(read.segments[id].rows, sample.rows, "{id}");
        assert_eq!(read.segments[id].features, sample.features, "{id}");
    }
    let plain = Profile::decode(encode(&features, &BTreeMap::new()).as_bytes()).unwrap();
    assert!(plain.segments.is_empty());
    assert_ne!(plain.digest, read.digest);
}

#[test]
fn segments_that_do_not_fit_the_sample_are_refused() {
    let (features, segments) = sample();
    let text = encode(&features, &segments);
    let message = |from: &str, to: &str| forge(&text, from, to).to_string();
    assert_eq!(
        message(r#""segment":"c=a""#, r#""segment":"c""#),
        "`c` in the profile is no segment: expected `name=value`"
    );
    assert_eq!(
        message(r#",{"segment":"c=a","rows":2}"#, ""),
        "feature `c` of the profile is counted in 2 of 1 segments"
    );
    assert_eq!(
        message(r#""levels":[2,0]"#, r#""levels":[2]"#),
        "feature `c` of the profile has 1 counts for 2 cells"
    );
}
