//! The house rules that no compiler knows: over the tracked tree, each with what to do instead.

mod source;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const FILE_LINES_MAX: usize = 700;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARS_MAX: usize = 100;
const DEPTH_BELOW_SRC_MAX: usize = 2;

/// Names that say nothing of what is inside.
const DRAWERS: [&str; 9] =
    ["utils", "util", "helpers", "helper", "common", "misc", "types", "traits", "base"];

/// Everything that may lie in the root, besides names with a leading dot.
const TOP_LEVEL: [&str; 10] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "alerts",
    "dashboards",
    "detectors",
    "fixtures",
    "monitor",
    "tests",
];

/// Which of our crates a crate may use outside its tests (`monitor/docs/architecture.md`).
const OURS: [(&str, &[&str]); 9] = [
    ("driftd-kernels", &[]),
    ("driftd-catalog", &[]),
    ("driftd-fixtures", &[]),
    ("driftd-detectors", &["driftd-kernels"]),
    ("driftd-alerts", &["driftd-catalog"]),
    ("driftd-dashboards", &["driftd-catalog"]),
    ("driftd-ingest", &["driftd-catalog", "driftd-detectors"]),
    ("driftd-core", &["driftd-alerts", "driftd-catalog", "driftd-detectors", "driftd-ingest"]),
    (
        "driftd",
        &[
            "driftd-alerts",
            "driftd-catalog",
            "driftd-core",
            "driftd-dashboards",
            "driftd-detectors",
            "driftd-ingest",
            "driftd-kernels",
        ],
    ),
];

/// What pure statistics may use of others' crates.
const DETECTORS_MAY_USE: [&str; 3] = ["driftd-kernels", "statrs", "thiserror"];

/// The outside world, which the sans-io crates must not know.
const EDGE_ONLY: [&str; 9] = [
    "axum",
    "clap",
    "opentelemetry",
    "polars",
    "prometheus",
    "rdkafka",
    "reqwest",
    "tempfile",
    "tokio",
];

#[test]
fn every_rust_file_opens_by_saying_what_it_owns() {
    check(&rust(), "open with `//!`: what the file owns, and the hop before and after", |file| {
        if file.text.starts_with("//!") { vec![] } else { vec![file.name.clone()] }
    });
}

#[test]
fn no_rust_file_is_long() {
    check(
        &rust(),
        "split by what is owned; tests over 250 lines go to a sibling `tests.rs`",
        |file| {
            let lines = file.text.lines().count();
            violation(FILE_LINES_MAX < lines, || format!("{} has {lines} lines", file.name))
        },
    );
}

#[test]
fn no_function_is_long() {
    check(&rust(), "give its parts names of their own", |file| {
        let long = |f: &source::Function| FUNCTION_LINES_MAX < f.lines;
        let functions = source::functions(&source::code_only(&file.text));
        let show = |f: source::Function| {
            format!("{}:{} `{}` has {} lines", file.name, f.line, f.name, f.lines)
        };
        functions.into_iter().filter(long).map(show).collect()
    });
}

#[test]
fn no_line_of_rust_is_wide() {
    check(&rust(), "break it after a clause; only a URL or a string may be wider", |file| {
        let lines = file.text.lines().enumerate();
        lines
            .filter(|(_, line)| LINE_CHARS_MAX < line.chars().count() && !may_be_wide(line))
            .map(|(index, _)| format!("{}:{}", file.name, index + 1))
            .collect()
    });
}

/// Breaking a URL or a message would hide it from a search.
fn may_be_wide(line: &str) -> bool {
    let is_comment = line.trim_start().starts_with("//");
    line.contains("://") || (!is_comment && line.contains('"'))
}

#[test]
fn files_are_named_for_the_thing_they_own() {
    check(&tracked(), "name it for what it owns; `foo.rs` + `foo/` instead of `mod.rs`", |file| {
        let path = Path::new(&file.name);
        let is_drawer = path.iter().any(|part| {
            let stem = Path::new(part).file_stem().and_then(|stem| stem.to_str());
            stem.is_some_and(|stem| DRAWERS.contains(&stem))
        });
        // What others have named is imported by that name.
        let is_ours = !path.starts_with("fixtures/schemas");
        violation(is_ours && (is_drawer || path.ends_with("mod.rs")), || file.name.clone())
    });
}

#[test]
fn source_folders_are_shallow() {
    check(&rust(), "a module two folders deep is a crate or a file too many", |file| {
        let below = file.name.split_once("/src/").map_or("", |(_, below)| below);
        violation(DEPTH_BELOW_SRC_MAX < below.matches('/').count(), || file.name.clone())
    });
}

#[test]
fn nothing_is_left_undone_or_switched_off() {
    const BANNED: [&str; 5] = ["todo!", "unimplemented!", "#[ignore", "#[should_panic", ".only("];
    check(&rust(), "finish it, or leave it out and say so in the issue", |file| {
        let code = source::code_only(&file.text);
        let found = BANNED.iter().filter(|word| code.contains(**word));
        found.map(|word| format!("{}: `{word}`", file.name)).collect()
    });
}

#[test]
fn no_file_names_a_place_on_one_machine() {
    // In two halves, so that this file does not hold them.
    let places = ["work", "root", "home"].map(|folder| format!("/{folder}/"));
    check(&tracked(), "take the path from an argument, the environment or the manifest", |file| {
        let lines = file.text.lines().enumerate();
        lines
            .filter(|(_, line)| places.iter().any(|place| names_place(line, place)))
            .map(|(index, line)| format!("{}:{} {}", file.name, index + 1, line.trim()))
            .collect()
    });
}

/// Whether `line` holds `place` as the start of a path, not in the middle of one.
fn names_place(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        !before.is_some_and(|c| c.is_alphanumeric() || "._-}*".contains(c))
    })
}

#[test]
fn the_top_level_is_fixed() {
    check(&tracked(), "put it into the folder that owns it", |file| {
        let top = file.name.split('/').next().unwrap_or_default();
        violation(!top.starts_with('.') && !TOP_LEVEL.contains(&top), || file.name.clone())
    });
}

#[test]
fn unsafe_code_is_in_the_kernels_only() {
    check(&rust(), "move it into detectors/kernels, behind a safe entry point", |file| {
        let code = source::code_only(&file.text);
        let outside = !file.name.starts_with("detectors/kernels/");
        violation(outside && source::has_word(&code, "unsafe"), || file.name.clone())
    });
}

#[test]
fn tests_wait_for_conditions_and_never_sleep() {
    check(&rust(), "use `driftd_fixtures::wait`: a condition and a deadline", |file| {
        let code = source::code_only(&file.text);
        let is_test_file = file.name.starts_with("tests/")
            || file.name.starts_with("fixtures/")
            || file.name.contains("/tests/")
            || file.name.ends_with("/tests.rs");
        let tests = code.split_once("\nmod tests {").map_or("", |(_, tests)| tests);
        let part = if is_test_file { &code } else { tests };
        let sleeps = source::has_word(part, "sleep") && file.name != "fixtures/src/wait.rs";
        violation(sleeps, || file.name.clone())
    });
}

#[test]
fn crates_depend_in_one_direction() {
    let mut wrong = Vec::new();
    for (name, uses) in dependencies() {
        let (_, ours) =
            OURS.iter().find(|(crate_name, _)| *crate_name == name).unwrap_or_else(|| {
                panic!("`{name}` is a new crate: add it to the rules here and to architecture.md")
            });
        for used in &uses {
            let used = used.as_str();
            let is_ours = used == "driftd" || used.starts_with("driftd-");
            if is_ours && !ours.contains(&used) {
                wrong.push(format!("{name} uses {used}: the arrow points the other way"));
            }
            if name == "driftd-kernels" || name == "driftd-detectors" && !may_count(used) {
                wrong.push(format!("{name} uses {used}: statistics know slices and numbers only"));
            }
            if is_sans_io(&name) && EDGE_ONLY.contains(&used) {
                wrong.push(format!("{name} uses {used}: only the edge (`monitor`) may"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn may_count(used: &str) -> bool {
    DETECTORS_MAY_USE.contains(&used)
}

fn is_sans_io(name: &str) -> bool {
    !["driftd", "driftd-fixtures"].contains(&name)
}

/// Each crate of the product with what it uses outside its tests; `driftd-tests` may use anything.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo built this test");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo metadata: {error}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let text = |value: &Value| value.as_str().expect("names are text").to_owned();
    let packages = metadata["packages"].as_array().expect("a workspace has packages");
    packages
        .iter()
        .map(|package| {
            let uses = package["dependencies"].as_array().expect("a list, if an empty one");
            let normal = uses.iter().filter(|used| used["kind"].is_null());
            (text(&package["name"]), normal.map(|used| text(&used["name"])).collect())
        })
        .filter(|(name, _)| name != "driftd-tests")
        .collect()
}

/// A tracked text file, its name relative to the root.
struct TextFile {
    name: String,
    text: String,
}

/// Runs `find` over the files and fails with everything found and what to do about it.
fn check(files: &[TextFile], instead: &str, find: impl Fn(&TextFile) -> Vec<String>) {
    assert!(!files.is_empty(), "no file was looked at");
    let found: Vec<String> = files.iter().flat_map(find).collect();
    assert!(found.is_empty(), "{instead}:\n{}", found.join("\n"));
}

fn violation(is_one: bool, describe: impl FnOnce() -> String) -> Vec<String> {
    if is_one { vec![describe()] } else { vec![] }
}

fn rust() -> Vec<TextFile> {
    let mut files = tracked();
    files.retain(|file| Path::new(&file.name).extension().is_some_and(|ext| ext == "rs"));
    files
}

/// The tracked files that are text; without git, every file outside build folders.
fn tracked() -> Vec<TextFile> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let names: Vec<String> = match listed {
        Ok(output) if output.status.success() => {
            let names = String::from_utf8_lossy(&output.stdout).into_owned();
            names.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect()
        }
        Ok(_) | Err(_) => walk(&root()),
    };
    let read = |name: String| {
        // Not there: deleted and not yet committed. Not text: a picture or a data set.
        fs::read_to_string(root().join(&name)).ok().map(|text| TextFile { name, text })
    };
    names.into_iter().filter_map(read).collect()
}

fn walk(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the tree can be read");
    let mut names = Vec::new();
    for path in entries.map(|entry| entry.expect("the tree can be read").path()) {
        let skipped = path.ends_with("target") || path.ends_with(".git");
        if path.is_dir() && !skipped {
            names.extend(walk(&path));
        } else if path.is_file() {
            let below = path.strip_prefix(root()).expect("the walk starts at the root");
            names.push(below.display().to_string());
        }
    }
    names
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
