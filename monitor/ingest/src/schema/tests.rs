//! What a schema takes, and what it refuses.

use super::*;

fn path(text: &str) -> FieldPath {
    FieldPath::parse(text).unwrap()
}

fn model(name: &str, features: &[&str]) -> ModelSchema {
    let feature = |name: &&str| FeatureField {
        name: (*name).into(),
        path: path(name),
        kind: FeatureKind::Float64,
    };
    ModelSchema {
        name: name.into(),
        version: VersionField::Fixed("1".into()),
        prediction_id: None,
        features: features.iter().map(feature).collect(),
        segments: vec![SegmentField { name: "x".into(), path: path("x") }],
    }
}

fn source(by: Option<&str>, models: Vec<ModelSchema>) -> Result<SourceSchema, SchemaError> {
    SourceSchema::try_new(path("t"), TimeFormat::UnixMillis, by.map(path), models)
}

#[test]
fn columns_are_features_then_segments() {
    let mut schema = model("m", &["a", "b", "c", "x"]);
    for (field, kind) in schema.features.iter_mut().zip([
        FeatureKind::Float32,
        FeatureKind::Integer,
        FeatureKind::Boolean,
        FeatureKind::Float64,
    ]) {
        field.kind = kind;
    }
    let columns: Vec<_> = schema
        .arrow_schema()
        .fields()
        .iter()
        .map(|field| (field.name().clone(), field.data_type().clone()))
        .collect();
    assert_eq!(
        columns,
        [
            ("a".into(), DataType::Float32),
            ("b".into(), DataType::Int64),
            ("c".into(), dictionary()),
            ("x".into(), DataType::Float64),
            ("x".into(), dictionary()),
        ]
    );
}

#[test]
fn records_must_be_told_apart_by_model() {
    assert_eq!(source(None, vec![]), Err(SchemaError::NoModels));
    let two = || vec![model("m", &["a"]), model("n", &["a"])];
    assert_eq!(source(None, two()), Err(SchemaError::NoModelPath { count: 2 }));
    assert!(source(Some("model"), two()).is_ok());
    let twice = vec![model("m", &["a"]), model("m", &["b"])];
    assert!(matches!(source(Some("model"), twice), Err(SchemaError::RepeatedModel { .. })));
}

#[test]
fn rows_of_a_message_have_watched_values_of_their_own() {
    let check = |time: &str, feature: &str, segment: &str| {
        let mut model = model("m", &["a"]);
        model.features[0].path = path(feature);
        model.segments[0].path = path(segment);
        SourceSchema::try_new(path(time), TimeFormat::UnixMillis, None, vec![model]).err()
    };
    assert_eq!(check("t", "a[].x", "s"), None);
    assert_eq!(check("a[].t", "b[]", "a[].s"), None);
    assert_eq!(check("[].t", "[].x", "[].s"), None);
    let same = |path: &str| {
        Some(SchemaError::SameInEachRow { model: "m".to_owned(), path: path.to_owned() })
    };
    assert_eq!(check("a[].t", "x", "s"), same("a[].t"));
    assert_eq!(check("t", "x", "a[].s"), same("a[].s"));
    let mixed = |first: &str, path: &str| {
        let (first, path) = (first.to_owned(), path.to_owned());
        Some(SchemaError::MixedRoots { first, path })
    };
    assert_eq!(check("t", "[].x", "s"), mixed("t", "[].x"));
    assert_eq!(check("[].t", "[].x", "s"), mixed("[].t", "s"));
    // What is beside the payload says nothing about it.
    assert_eq!(check("$time", "[].x", "$headers.s"), None);
    assert_eq!(check("$time", "[].x", "s"), mixed("[].x", "s"));
    let elsewhere = SchemaError::TimeElsewhere { model: "m".to_owned() };
    assert_eq!(check("t", "$time", "s"), Some(elsewhere));
}

#[test]
fn what_is_beside_the_payload_is_listed_once() {
    let mut model = model("m", &["$headers.x"]);
    model.segments[0].path = path("$key");
    model.version = VersionField::Path(path("$headers.x"));
    let time = path("$time");
    let schema = SourceSchema::try_new(time, TimeFormat::Rfc3339, None, vec![model]).unwrap();
    let header = EnvelopeValue::Header("x".into());
    assert_eq!(schema.envelope, [header, EnvelopeValue::Key, EnvelopeValue::Time]);
    assert!(!schema.is_list());
}

#[test]
fn names_of_columns_are_beside_a_list_that_is_read_by_them() {
    let named = |feature: &str, columns: &str| {
        let mut model = model("m", &["a"]);
        model.features[0].path = path(feature);
        let schema = SourceSchema::try_new(path("t"), TimeFormat::UnixMillis, None, vec![model]);
        schema.unwrap().with_columns(path(columns)).map(|it| it.columns)
    };
    assert_eq!(named("s.data[].a", "s.columns"), Ok(Some(path("s.columns"))));
    for (feature, columns) in
        [("s.data[][0]", "s.columns"), ("a", "c"), ("d[].a", "c[]"), ("d[].a", "d")]
    {
        let error = SchemaError::NothingNamed { columns: columns.to_owned() };
        assert_eq!(named(feature, columns), Err(error));
    }
    let with = |segment: &str| {
        let mut model = model("m", &["a"]);
        model.features[0].path = path("s.data[].a");
        model.segments[0].path = path(segment);
        let schema = SourceSchema::try_new(path("t"), TimeFormat::UnixMillis, None, vec![model]);
        schema.unwrap().with_columns(path("s.columns")).err()
    };
    let lost = |path: &str| {
        Some(SchemaError::NotNamed { path: path.to_owned(), columns: "s.columns".to_owned() })
    };
    assert_eq!(with("s.data[][k=v].b"), lost("s.data[][k=v].b"));
    for other in ["s.data[][0]", "s.data[].b[k=v].c", "s.rows[][k=v].b", "s.in[k=v].b"] {
        assert_eq!(with(other), None, "{other}");
    }
}

#[test]
fn a_model_needs_a_name_and_distinct_features_and_segments() {
    let check = |model| source(None, vec![model]).unwrap_err();
    assert!(matches!(check(model("", &["a"])), SchemaError::InvalidName { .. }));
    assert!(matches!(check(model("m", &[])), SchemaError::NoFeatures { .. }));
    assert!(matches!(check(model("m", &["a", "a"])), SchemaError::RepeatedFeature { .. }));
    let mut segments = model("m", &["a"]);
    segments.segments.push(segments.segments[0].clone());
    assert!(matches!(check(segments), SchemaError::RepeatedSegment { .. }));
    let mut version = model("m", &["a"]);
    version.version = VersionField::Fixed("\n".into());
    assert!(matches!(check(version), SchemaError::InvalidName { .. }));
}
