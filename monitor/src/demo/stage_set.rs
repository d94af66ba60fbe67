//! The files of the demo, in a folder of its own: data, configuration, the job's script, the first
//! reference.
//!
//! The data is built into the binary, so that the demo runs wherever the binary does.

#![expect(clippy::disallowed_methods, reason = "the edge writes files")]

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::Context as _;
use tempfile::TempDir;

use crate::reference;

const CONFIG: &str = include_str!("flights.yaml");
const SCRIPT: &str = include_str!("retrain.sh");
/// January to March 2013. Source and licence: `fixtures/data/README.md`.
const REFERENCE: &[u8] = include_bytes!("../../../fixtures/data/flights/reference.parquet");
/// April to December 2013.
const CURRENT: &[u8] = include_bytes!("../../../fixtures/data/flights/current.parquet");
/// When those flights arrived, and whether late.
const LABELS: &[u8] = include_bytes!("../../../fixtures/data/flights/labels.parquet");

/// Where the demo's files are; they go away with it.
#[derive(Debug)]
pub(super) struct StageSet {
    folder: TempDir,
}

impl StageSet {
    /// Writes the files.
    pub(super) fn build(brokers: &str, listen: &str) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("driftd-demo-").context("cannot make a folder")?;
        let binary = env::current_exe().context("cannot find the running binary")?;
        let fill = |text: &str| {
            text.replace("BROKERS", brokers)
                .replace("LISTEN", listen)
                .replace("FOLDER", &folder.path().display().to_string())
                .replace("DRIFTD\"", &format!("{}\"", binary.display()))
        };
        let files: [(&str, &[u8]); 5] = [
            ("flights.yaml", &fill(CONFIG).into_bytes()),
            ("retrain.sh", &fill(SCRIPT).into_bytes()),
            ("reference.parquet", REFERENCE),
            ("current.parquet", CURRENT),
            ("labels.parquet", LABELS),
        ];
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::write(&path, content)
                .with_context(|| format!("cannot write `{}`", path.display()))?;
        }
        Ok(Self { folder })
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn config_path(&self) -> PathBuf {
        self.folder.path().join("flights.yaml")
    }

    /// The log that is played.
    pub(super) fn current_path(&self) -> PathBuf {
        self.folder.path().join("current.parquet")
    }

    /// What came true of it.
    pub(super) fn labels_path(&self) -> PathBuf {
        self.folder.path().join("labels.parquet")
    }

    /// Freezes the data that version 1 was trained on.
    pub(super) fn build_first_reference(&self) -> anyhow::Result<()> {
        reference::build_for_model(
            &self.config_path(),
            "flights",
            "1",
            &[self.folder.path().join("reference.parquet")],
            &self.folder.path().join("references/flights/1.json"),
        )
    }
}
