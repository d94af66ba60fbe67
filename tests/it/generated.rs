//! Files that are written by code are what the code writes today.
//!
//! `DRIFTD_BLESS=1 tests/run generated` rewrites them.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn check(path: &str, expected: &str) {
    let file = repository().join(path);
    if env::var_os("DRIFTD_BLESS").is_some() {
        fs::write(&file, expected).expect("the repository can be written");
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == expected,
        "{path} is not what its generator writes; run `DRIFTD_BLESS=1 tests/run generated` and \
         look at the difference"
    );
}

#[test]
fn generated_rules_are_up_to_date() {
    let rules = driftd_alerts::rules::rules_yaml(driftd_alerts::rules::RUNBOOK_BASE);
    check("alerts/rules/driftd.rules.yaml", &rules);
}

#[test]
fn generated_dashboards_are_up_to_date() {
    for (name, json) in driftd_dashboards::dashboards() {
        check(&format!("dashboards/grafana/{name}"), &json);
    }
}
