//! What is watched in these tests: two models on one topic, some of their versions with a
//! reference.

use std::collections::BTreeMap;
use std::sync::Arc;

use driftd_catalog::{ModelId, SegmentId, Timestamp};
use driftd_core::config::{Config, load};
use driftd_core::profile::{Profile, SegmentSample};
use driftd_core::reference::ModelReference;
use driftd_detectors::{
    CategoricalCounts, CategoricalReference, FeatureReference, Grid, Levels, NumericCounts,
    NumericReference, Precision,
};
use serde_json::{Value, json};

/// Versions that have a reference; others have none.
const REFERENCES: [(&str, &str); 3] = [("alpha", "1"), ("alpha", "2"), ("beta", "1")];

/// Least and greatest value of every numeric reference.
pub(crate) const REFERENCE_RANGE: (f64, f64) = (0.0, 9.0);

/// Levels of the reference of `alpha`'s category.
const LEVELS: [&str; 3] = ["blue", "green", "red"];

/// Windows of 20 s for `alpha`, with segments that sort before and after `all`; of 30 s, shifted by
/// 7 s, for `beta`.
pub(crate) fn tree() -> Value {
    json!({
        "name": "sim",
        "sources": [{
            "topic": "logs",
            "start": "earliest",
            "event_time": {"path": "at"},
            "model": "model",
            "time": {
                "out_of_orderness": "3s",
                "idle_timeout": "30s",
                "future_skew_max": "1m",
                "drift_max": "1h",
            },
        }],
        "models": [
            {
                "name": "alpha",
                "source": "logs",
                "version_path": "version",
                "versions_max": 3,
                "references": "{model}-{version}.json",
                "window": {
                    "length": "20s", "lateness": "5s", "wait_max": "1m", "open_max": 3, "history": 4,
                },
                "features": [
                    {"name": "x", "path": "x", "type": "float64"},
                    {"name": "c", "path": "c", "type": "categorical"},
                ],
                "predictions": [{"name": "p", "path": "p", "type": "float32"}],
                "segments": [
                    {"name": "age", "path": "age", "values": ["old"]},
                    {"name": "country", "path": "country", "values": ["de", "fr"]},
                ],
            },
            {
                "name": "beta",
                "source": "logs",
                "version_path": "version",
                "versions_max": 1,
                "references": "{model}-{version}.json",
                "window": {
                    "length": "30s", "offset": "7s", "lateness": "0s", "wait_max": "1m",
                    "open_max": 2, "history": 4,
                },
                "features": [
                    {"name": "k", "path": "k", "type": "integer"},
                    {"name": "b", "path": "b", "type": "boolean"},
                ],
            },
        ],
        "detection": {"minimum_rows": 5},
        "alerts": {"raise": 2, "of": 3, "clear": 2},
    })
}

/// The same job before and after changes: `alpha` counts a column from another place, or `beta` is
/// not watched, or both. No limit leaves records out.
pub(crate) fn changing() -> [Value; 4] {
    let mut tree = tree();
    for model in tree["models"].as_array_mut().unwrap() {
        model["versions_max"] = 8.into();
        model["window"]["open_max"] = 1_000.into();
    }
    let mut other = tree.clone();
    other["models"][0]["features"][0]["path"] = "z".into();
    let mut fewer = tree.clone();
    fewer["models"].as_array_mut().unwrap().pop();
    let mut changed = other.clone();
    changed["models"].as_array_mut().unwrap().pop();
    [tree, other, fewer, changed]
}

/// The most frequent countries of each reference of `alpha`; the first two are equally frequent.
pub(crate) const TOP: [(&str, &[&str]); 2] = [("1", &["de", "fr"]), ("2", &["it"])];

/// The same models with windows of every kind, and segments of the most frequent countries.
/// Sliding windows decide for `alpha`, windows of a number of rows for `beta`.
pub(crate) fn kinds() -> Value {
    let mut tree = tree();
    let shared = |lateness: &str, wait_max: &str, open_max: u32| json!({"lateness": lateness, "wait_max": wait_max, "open_max": open_max, "history": 4});
    let first = |mut window: Value, shared: Value| {
        let keys = shared.as_object().unwrap().clone();
        window.as_object_mut().unwrap().extend(keys);
        window
    };
    let alpha = [
        first(json!({"name": "sliding", "length": "20s", "every": "10s"}), shared("5s", "1m", 5)),
        json!({"name": "tumbling", "length": "20s", "history": 2}),
        json!({"rows": 20, "every": "20s"}),
        json!({"global": true, "every": "30s"}),
        json!({"name": "early", "length": "2m", "every": "1m", "early": "20s"}),
    ];
    let beta = [
        first(json!({"rows": 9, "every": "15s", "offset": "7s"}), shared("0s", "1m", 3)),
        json!({"length": "45s"}),
    ];
    tree["models"][0]["segments"][1] = json!({"name": "country", "path": "country", "top": 2});
    for (model, windows) in [json!(alpha), json!(beta)].into_iter().enumerate() {
        let model = tree["models"][model].as_object_mut().unwrap();
        model.remove("window");
        model.insert("windows".into(), windows);
    }
    tree
}

/// The same models with windows that are revised for hours.
pub(crate) fn revised() -> Value {
    let mut tree = kinds();
    for model in tree["models"].as_array_mut().unwrap() {
        let windows = model["windows"].as_array_mut().unwrap();
        windows.retain(|window| window.get("length").is_some());
        windows[0]["revisions"] = "6h".into();
    }
    tree["models"][1]["windows"][0]["offset"] = "7s".into();
    tree["models"][1]["windows"][0]["lateness"] = "0s".into();
    tree
}

/// Checks a tree as the daemon would.
pub(crate) fn config(tree: &Value) -> Arc<Config> {
    let loaded = load(&tree.to_string(), &|_| None);
    Arc::new(loaded.unwrap_or_else(|errors| panic!("{errors}")))
}

/// Returns the reference of a model version, if it has one.
pub(crate) fn reference(config: &Config, id: &ModelId) -> Option<Arc<ModelReference>> {
    if !REFERENCES.contains(&(id.name(), id.version())) {
        return None;
    }
    let model = config.models.iter().find(|model| &*model.name == id.name()).unwrap();
    let profile = Profile {
        digest: format!("sha256:{id}").into(),
        model: id.name().to_owned(),
        version: id.version().to_owned(),
        created: Timestamp::from_millis(0),
        rows: 200,
        origin: Vec::new(),
        features: features(),
        segments: segments(id),
    };
    Some(Arc::new(ModelReference::try_new(id, model, profile).unwrap()))
}

/// Returns the parts of the sample, split by the most frequent countries. Where countries are
/// listed, the sample was split otherwise.
fn segments(id: &ModelId) -> BTreeMap<SegmentId, SegmentSample> {
    let (_, countries) = TOP.iter().find(|(version, _)| *version == id.version()).unwrap();
    let values = countries.iter().chain(&["__other__"]);
    let sample = || SegmentSample { rows: 50, top: Some(2), features: features() };
    values.map(|value| (SegmentId::try_new("country", value).unwrap(), sample())).collect()
}

/// Returns the reference of every column of both models.
pub(crate) fn features() -> BTreeMap<String, FeatureReference> {
    let levels = LEVELS.map(Box::from).to_vec();
    let booleans = vec![Box::from("false"), Box::from("true")];
    BTreeMap::from([
        ("x".to_owned(), numeric(Precision::F64)),
        ("c".to_owned(), categorical(levels, vec![100, 60, 40])),
        ("p".to_owned(), numeric(Precision::F32)),
        ("k".to_owned(), numeric(Precision::F64)),
        ("b".to_owned(), categorical(booleans, vec![100, 100])),
    ])
}

/// The whole numbers from 0 to 9, twenty times each.
fn numeric(precision: Precision) -> FeatureReference {
    let sample: Vec<f64> = (0..200_u32).map(|row| f64::from(row / 20)).collect();
    let grid = Grid::from_sorted(precision, &sample, 5).unwrap();
    let mut cells = vec![0; grid.cells()];
    for (edge, value) in grid.edges().iter().enumerate() {
        cells[2 * edge + 1] = sample.iter().filter(|it| *it == value).count() as u64;
    }
    let counts = NumericCounts { cells: cells.into(), ..NumericCounts::empty(&grid) };
    FeatureReference::Numeric(NumericReference { grid: Arc::new(grid), counts })
}

fn categorical(names: Vec<Box<str>>, levels: Vec<u64>) -> FeatureReference {
    FeatureReference::Categorical(CategoricalReference {
        levels: Arc::new(Levels::try_new(names).unwrap()),
        counts: CategoricalCounts { levels, null: 0, unseen: 0, unseen_levels: BTreeMap::new() },
    })
}
