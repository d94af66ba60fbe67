//! `driftd export`: the dashboards, alert rules and configuration schema that belong to this
//! version.
//!
//! They are generated from the catalogue, so that a name in a panel is a name on `/metrics`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use driftd_alerts::rules;

use crate::console::say;

/// What to export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Artifact {
    /// Grafana dashboards.
    Dashboards,
    /// Prometheus alert rules.
    Alerts,
    /// JSON Schema of the configuration file.
    Schema,
}

/// Options of `driftd export`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// What to export.
    #[arg(value_enum)]
    pub artifact: Artifact,
    /// Folder to write files to; without it the content goes to standard output.
    #[arg(long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
    /// Address under which your people read the runbook; `alerts` only.
    #[arg(long, value_name = "ADDRESS", default_value = rules::RUNBOOK_BASE)]
    pub runbook_base: String,
}

/// A file that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`", path.display())]
pub struct ExportError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Writes the artifact.
pub fn run(args: &ExportArgs) -> Result<(), ExportError> {
    for (name, content) in files(args) {
        match &args.output {
            Some(folder) => {
                let path = folder.join(&name);
                write(folder, &path, &content)
                    .map_err(|source| ExportError { path: path.clone(), source })?;
                say(path.display());
            }
            None => say(content.trim_end()),
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the edge writes files")]
fn write(folder: &Path, path: &Path, content: &str) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(path, content)
}

fn files(args: &ExportArgs) -> Vec<(String, String)> {
    match args.artifact {
        Artifact::Dashboards => driftd_dashboards::dashboards(),
        Artifact::Alerts => {
            vec![("driftd.rules.yaml".to_owned(), rules::rules_yaml(&args.runbook_base))]
        }
        Artifact::Schema => {
            let schema = driftd_core::config::schema();
            vec![("config.schema.json".to_owned(), format!("{schema:#}"))]
        }
    }
}
