//! Which reference a window is compared with.

use std::collections::BTreeMap;

use driftd_catalog::{ModelId, SegmentId, WindowId, WindowSpan};
use driftd_detectors::{CategoricalColumn, Levels};

use super::*;
use crate::merge::Merged;
use crate::profile::{Profile, SegmentSample};
use crate::reference::ModelReference;
use crate::result::Edition;

/// A model whose category is `a` and `b` half each in all traffic, and always `a` on the site `s`.
struct Scene {
    config: Config,
    levels: Arc<Levels>,
    reference: Arc<ModelReference>,
}

impl Scene {
    fn new() -> Self {
        let text = r#"{"name": "job",
            "sources": [{"topic": "t", "start": "earliest", "event_time": {"path": "at"}}],
            "models": [{"name": "m", "source": "t", "version": "1", "references": "m.json",
                        "window": {"length": "1h"},
                        "features": [{"name": "c", "path": "c", "type": "categorical"}],
                        "segments": [{"name": "site", "path": "site", "values": ["s", "t"]}]}]}"#;
        let config = crate::config::load(text, &|_| None).unwrap();
        let levels = Arc::new(Levels::try_new(vec!["a".into(), "b".into()]).unwrap());
        let columns = |a: usize, b: usize| {
            let counts = counts(&levels, a, b);
            let reference = CategoricalReference { levels: Arc::clone(&levels), counts };
            BTreeMap::from([("c".to_owned(), FeatureReference::Categorical(reference))])
        };
        let segment = SegmentSample { rows: 10_000, top: None, features: columns(10_000, 0) };
        let profile = Profile {
            digest: "sha256:0".into(),
            model: "m".into(),
            version: "1".into(),
            created: Timestamp::from_millis(0),
            rows: 20_000,
            origin: Vec::new(),
            features: columns(10_000, 10_000),
            segments: BTreeMap::from([(SegmentId::try_new("site", "s").unwrap(), segment)]),
        };
        let id = ModelId::try_new("m", "1").unwrap();
        let reference = ModelReference::try_new(&id, &config.models[0], profile).unwrap();
        Self { config, levels, reference: Arc::new(reference) }
    }

    /// Decides a window with `a` and `b` rows of each level.
    fn window(&self, segment: SegmentId, a: usize, b: usize) -> WindowResult {
        let model = ModelId::try_new("m", "1").unwrap();
        let span = WindowSpan::starting_at(Timestamp::from_millis(0), 3_600_000);
        let merged = Merged {
            id: WindowId { span, model, segment, name: "1h".into() },
            model: 0,
            rows: (a + b) as u64,
            event_time_max: Timestamp::from_millis(0),
            offsets: Vec::new(),
            reference: Some(Arc::clone(&self.reference)),
            features: vec![FeatureCounts::Categorical(counts(&self.levels, a, b))],
        };
        let (edition, missing) = (Edition::ONLY, Vec::new());
        let due = Due { counts: merged, window: 0, missing, edition };
        evaluate(&self.config, &due, Timestamp::from_millis(0))
    }
}

fn counts(levels: &Levels, a: usize, b: usize) -> CategoricalCounts {
    let mut counts = CategoricalCounts::empty(levels);
    let keys = [vec![0; a], vec![1; b]].concat();
    let column = CategoricalColumn { levels: &["a", "b"], keys: &keys, validity: None };
    counts.update(levels, &column);
    counts
}

#[test]
fn a_window_is_compared_with_its_own_segment_of_the_reference() {
    let scene = Scene::new();
    let site = || SegmentId::try_new("site", "s").unwrap();
    let check = |segment: SegmentId, rows: (usize, usize), state: State, reference_rows: u64| {
        let result = scene.window(segment, rows.0, rows.1);
        let verdict = &result.features[0].verdict;
        assert_eq!((verdict.state, verdict.reference_rows), (state, reference_rows), "{rows:?}");
        assert_eq!(result.reference.as_deref(), Some("sha256:0"));
    };
    check(SegmentId::all(), (5_000, 5_000), State::Ok, 20_000);
    check(site(), (5_000, 0), State::Ok, 10_000);
    check(SegmentId::all(), (5_000, 0), State::Drifted, 20_000);
    check(site(), (5_000, 5_000), State::Drifted, 10_000);
}

#[test]
fn a_segment_that_the_profile_lacks_is_not_compared_with_all_traffic() {
    let scene = Scene::new();
    for value in ["t", "__other__"] {
        let result = scene.window(SegmentId::try_new("site", value).unwrap(), 5_000, 5_000);
        let verdict = &result.features[0].verdict;
        assert_eq!((verdict.state, result.rows), (State::NoReference, 10_000), "{value}");
        assert_eq!((verdict.reference_rows, verdict.current_rows), (0, 10_000), "{value}");
        assert_eq!(result.reference, None, "{value}");
    }
}
