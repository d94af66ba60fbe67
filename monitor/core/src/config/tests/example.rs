//! The example of the repository, and the values that a short file leads to.

use std::time::Duration;

use driftd_detectors::DetectorKind;
use driftd_ingest::{FeatureKind, VersionField};
use serde_json::json;

use super::super::{Config, FirstStart, Role, WindowKind, load};
use super::{load_tree, put, smallest};

const EXAMPLE: &str = include_str!("../../../../driftd.example.yaml");

fn example(text: &str) -> Config {
    load(text, &|_| None).unwrap_or_else(|errors| panic!("driftd.example.yaml:\n{errors}"))
}

#[test]
fn the_example_is_valid() {
    let config = example(EXAMPLE);
    assert_eq!(config.kafka.map(|it| it.brokers), Some("127.0.0.1:9092".into()));
    assert_eq!(config.sources[0].start, FirstStart::Earliest);
    let model = &config.models[0];
    assert_eq!((model.features.len(), model.segments[0].count_max()), (18, 4));
    assert_eq!(model.features[7].policy.missing_rate_effect, 0.2);
    assert_eq!(model.features[15].role, Role::Prediction);
    let schema = &config.sources[0].schema.models[0];
    assert!(matches!(&schema.version, VersionField::Path(it) if it.as_str() == "model.version"));
    assert_eq!(schema.features[16].kind, FeatureKind::Boolean);
}

#[test]
fn lines_marked_as_default_in_the_example_state_the_defaults() {
    let lines = || EXAMPLE.lines();
    let marked = lines().filter(|it| it.ends_with("# default")).count();
    assert!(30 < marked, "{marked} lines are marked");
    let without: Vec<&str> = lines().filter(|it| !it.ends_with("# default")).collect();
    let without = without.join("\n");
    assert_eq!(format!("{:#?}", example(EXAMPLE)), format!("{:#?}", example(&without)));
}

#[test]
fn a_short_file_leads_to_the_documented_values() {
    let config = load_tree(&smallest()).unwrap();
    let millis = |seconds| i64::try_from(Duration::from_secs(seconds).as_millis()).unwrap();
    let time = config.sources[0].time;
    assert_eq!(time.out_of_orderness_millis, millis(10));
    assert_eq!(time.drift_max_millis, millis(2 * 3_600));
    let model = &config.models[0];
    let (pane, [window]) = (&model.pane, &model.windows[..]) else { panic!("{model:?}") };
    let kind = WindowKind::Length { length_millis: millis(3_600) };
    assert_eq!((&*window.name, window.kind, window.every_millis), ("1h", kind, millis(3_600)));
    assert_eq!((pane.length_millis, pane.offset_millis), (millis(3_600), 0));
    assert_eq!((pane.lateness_millis, pane.open_max, window.history), (millis(300), 64, 168));
    assert_eq!(config.decision.false_discovery_rate, 0.01);
    assert!(config.kafka.is_none() && config.retraining.is_none() && config.launcher.is_none());
}

#[test]
fn a_feature_with_another_detector_has_the_limit_of_that_detector() {
    let mut tree = smallest();
    put(&mut tree, "/detection/numeric/minimum_effect", json!(0.3));
    for (index, own) in
        [json!({}), json!({"detector": "js"}), json!({"detector": "ks"})].into_iter().enumerate()
    {
        let mut feature = json!({"name": format!("f{index}"), "path": "x", "type": "integer"});
        feature.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        put(&mut tree, &format!("/models/0/features/{index}"), feature);
    }
    let config = load_tree(&tree).unwrap();
    let policies = config.models[0].features.iter().map(|it| it.policy);
    let limits: Vec<_> = policies.map(|it| (it.detector, it.minimum_effect)).collect();
    assert_eq!(
        limits,
        [(DetectorKind::Ks, 0.3), (DetectorKind::JensenShannon, 0.0125), (DetectorKind::Ks, 0.3)]
    );
}

#[test]
fn a_configuration_shows_no_password() {
    let mut tree = smallest();
    put(
        &mut tree,
        "/kafka",
        json!({"brokers": ["a:1"], "properties": {"sasl.password": "Hunter 2"}}),
    );
    let config = load_tree(&tree).unwrap();
    assert!(!format!("{config:?}").contains("Hunter"));
    let properties = config.kafka.map(|it| it.properties);
    assert_eq!(properties, Some(vec![("sasl.password".to_owned(), "Hunter 2".to_owned())]));
}
