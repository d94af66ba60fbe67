//! Replays of small files: what is counted does not depend on how the rows were cut, and nothing is
//! lost in silence.

#![expect(clippy::disallowed_methods, reason = "tests write files")]

use std::collections::BTreeSet;
use std::fs;

use tempfile::TempDir;

use super::*;
use crate::reference;

/// A folder with a configuration of windows of a minute, a reference and records.
struct Scene {
    folder: TempDir,
}

impl Scene {
    fn new(records: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let config = r#"{"name": "job",
            "sources": [{"topic": "t", "start": "earliest", "event_time": {"path": "at", "format": "unix_millis"},
                         "time": {"out_of_orderness": "0s"}}],
            "models": [{"name": "m", "source": "t", "version_path": "version", "references": "refs/{version}.json",
                        "window": {"length": "1m", "lateness": "0s"},
                        "features": [{"name": "x", "path": "x", "type": "float64"},
                                     {"name": "c", "path": "c", "type": "categorical"}],
                        "segments": [{"name": "c", "path": "c", "values": ["c0"]}]}]}"#;
        fs::write(folder.path().join("job.yaml"), config).unwrap();
        fs::write(folder.path().join("records.csv"), records).unwrap();
        let sample: Vec<_> = (0..2_000).map(|row| format!("{},c{}\n", row % 97, row % 3)).collect();
        let sample = format!("x,c\n{}", sample.concat());
        fs::write(folder.path().join("sample.csv"), sample).unwrap();
        Self { folder }
    }

    fn with_reference(self) -> Self {
        let path = |name: &str| self.folder.path().join(name);
        reference::build_for_model(
            &path("job.yaml"),
            "m",
            "1",
            &[path("sample.csv")],
            &path("refs/1.json"),
        )
        .unwrap();
        self
    }

    /// Makes a segment of the most frequent value, whichever that is.
    fn with_top(self) -> Self {
        let path = self.folder.path().join("job.yaml");
        let config = fs::read_to_string(&path).unwrap();
        let listed = r#""values": ["c0"]"#;
        assert!(config.contains(listed));
        fs::write(path, config.replace(listed, r#""top": 1"#)).unwrap();
        self
    }

    /// Puts windows of every kind in place of those of a minute, which still decide.
    fn with_kinds(self) -> Self {
        let path = self.folder.path().join("job.yaml");
        let config = fs::read_to_string(&path).unwrap();
        let kinds = r#""windows": [{"length": "1m", "lateness": "0s"},
                                   {"name": "sliding", "length": "3m", "every": "1m", "early": "30s"},
                                   {"rows": 1500, "every": "1m"},
                                   {"global": true, "every": "2m"}]"#;
        let single = r#""window": {"length": "1m", "lateness": "0s"}"#;
        assert!(config.contains(single));
        fs::write(path, config.replace(single, kinds)).unwrap();
        self
    }

    fn args(&self) -> ReplayArgs {
        let path = |name: &str| self.folder.path().join(name);
        ReplayArgs {
            config: path("job.yaml"),
            input: vec![path("records.csv")],
            output: path("results.jsonl"),
            source: None,
            model: None,
            version: None,
            json: false,
        }
    }

    fn replay(&self, batch_rows: usize) -> ReplaySummary {
        let args = self.args();
        let loaded = crate::config_file::read(&args.config).unwrap();
        let plan = Plan::new(&args, loaded.config, &loaded.folder, batch_rows).unwrap();
        plan.replay(&args.output).unwrap()
    }

    fn lines(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.args().output).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Three minutes of a thousand records each; from the second on, `x` is half of what it was.
fn records() -> String {
    let record = |row: i32| {
        let scale = if row < 1_000 { 1.0 } else { 0.5 };
        format!("{},1,{},c{}\n", row * 60, f64::from(row % 97) * scale, row % 3)
    };
    format!("at,version,x,c\n{}", (0..3_000).map(record).collect::<Vec<_>>().concat())
}

/// `c0` is as frequent in the sample as `c1`, and first in byte order.
#[test]
fn the_most_frequent_value_of_the_reference_is_counted_as_if_it_were_listed() {
    let listed = Scene::new(&records()).with_reference();
    let chosen = Scene::new(&records()).with_top().with_reference();
    let expected = listed.replay(700);
    assert_eq!(chosen.replay(700).digest, expected.digest);
    assert_eq!(chosen.replay(31).digest, expected.digest);
    let segments = |scene: &Scene| -> Vec<_> {
        scene.lines().iter().map(|line| line["segment"].as_str().unwrap().to_owned()).collect()
    };
    assert!(segments(&chosen).contains(&"c=c0".to_owned()));
    assert_eq!(segments(&chosen), segments(&listed));
    // Without a reference nothing says which values they are.
    let without = Scene::new(&records()).with_top();
    without.replay(700);
    let segments: BTreeSet<_> = segments(&without).into_iter().collect();
    assert_eq!(segments, BTreeSet::from(["all".to_owned(), "c=__other__".to_owned()]));
}

#[test]
fn the_digest_does_not_depend_on_how_the_rows_are_cut() {
    let scene = Scene::new(&records()).with_reference();
    let whole = scene.replay(BATCH_ROWS);
    assert_eq!((whole.records_in, whole.records_rejected, whole.windows_closed), (3_000, 0, 9));
    let drifts = whole.drifts.iter().filter(|it| it.segment == "all");
    let drifts: Vec<_> = drifts.map(|it| (it.feature.as_str(), it.windows_drifted)).collect();
    assert_eq!(drifts, [("x", 2)]);
    let lines = scene.lines();
    assert_eq!(lines.len(), 18, "one line a window, segment and feature");
    for batch_rows in [1, 7, 999, 1_000, 1_001] {
        assert_eq!(scene.replay(batch_rows).digest, whole.digest, "batches of {batch_rows}");
        assert_eq!(scene.lines(), lines, "batches of {batch_rows}");
    }
}

#[test]
fn windows_of_every_kind_do_not_depend_on_how_the_rows_are_cut() {
    let scene = Scene::new(&records()).with_reference().with_kinds();
    let whole = scene.replay(BATCH_ROWS);
    // Of all traffic and two segments: 3 minutes, 5 that slide, 2 of enough rows, 2 times all.
    assert_eq!(whole.windows_closed, 3 * (3 + 5 + 2 + 2));
    let drifts = whole.drifts.iter().filter(|it| it.segment == "all");
    let drifts: Vec<_> = drifts.map(|it| (it.feature.as_str(), it.windows_drifted)).collect();
    assert_eq!(drifts, [("x", 2)], "only windows that decide count");
    let lines = scene.lines();
    let early = lines.iter().filter(|line| line["final"] == false).count();
    assert_eq!(early, 3 * 3 * 2, "one half a minute, of each segment and feature");
    for batch_rows in [1, 7, 999, 1_001] {
        assert_eq!(scene.replay(batch_rows).digest, whole.digest, "batches of {batch_rows}");
        assert_eq!(scene.lines(), lines, "batches of {batch_rows}");
    }
}

#[test]
fn rows_that_are_refused_or_late_are_told() {
    let text = "at,version,x,c\n\
                1000,1,1,c0\n\
                ,1,1,c0\n\
                2000,,1,c0\n\
                3000,1,one,c0\n\
                130000,1,1,c0\n\
                4000,1,1,c0\n";
    let scene = Scene::new(text).with_reference();
    let summary = scene.replay(BATCH_ROWS);
    assert_eq!((summary.records_in, summary.records_rejected, summary.records_late), (6, 3, 1));
    let mut out = Vec::new();
    summary.write(&scene.args().output, &mut out).unwrap();
    let told = String::from_utf8(out).unwrap();
    for part in [
        "records   6 read, 3 rejected\n",
        "rejected  2 missing_field, first row 1: `at`: null\n",
        "rejected  1 wrong_type, first row 3: `x`: not a number (float64)\n",
        "late      1 records came after their window had been passed: sort the files by event time",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn a_model_version_without_reference_is_named_with_the_place_it_was_looked_for() {
    let scene = Scene::new(&records());
    let summary = scene.replay(BATCH_ROWS);
    assert_eq!(summary.without_reference.len(), 1);
    assert_eq!(summary.without_reference["m/1"], scene.folder.path().join("refs/1.json"));
    assert!(scene.lines().iter().all(|line| line["state"] == "no_reference"));
}

#[test]
fn a_damaged_reference_stops_the_replay_and_leaves_no_results() {
    let scene = Scene::new(&records());
    fs::create_dir(scene.folder.path().join("refs")).unwrap();
    fs::write(scene.folder.path().join("refs/1.json"), "no profile").unwrap();
    let args = scene.args();
    let loaded = crate::config_file::read(&args.config).unwrap();
    let mut out = Vec::new();
    let error = run(&args, loaded.config, &mut out).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("refs/1.json` is no usable reference profile: "), "{error}");
    assert!(!args.output.exists());
}
