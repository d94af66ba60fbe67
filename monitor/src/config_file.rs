//! Reads the configuration file and the environment it refers to.
//!
//! Before: `--config FILE`. After: a valid [`Config`] and the folder that its relative paths start
//! from.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs, io};

use driftd_core::config::{Config, ConfigErrors, KafkaConfig, load, load_kafka};

/// A valid configuration and where it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Arc<Config>,
    /// Folder of the file: relative paths start there.
    pub folder: PathBuf,
}

/// A configuration file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigFileError {
    /// The file cannot be read.
    #[error("cannot read the configuration file `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file says something impossible.
    #[error("`{}` is not a valid configuration:\n{errors}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong with it.
        errors: ConfigErrors,
    },
}

/// Reads and checks a configuration file.
pub fn read(path: &Path) -> Result<Loaded, ConfigFileError> {
    let config = load(&text(path)?, &variable)
        .map_err(|errors| ConfigFileError::Invalid { path: path.to_owned(), errors })?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    Ok(Loaded { config: Arc::new(config), folder })
}

/// Reads and checks the connection to Kafka of a file that may have nothing else yet.
pub(crate) fn read_kafka(path: &Path) -> Result<KafkaConfig, ConfigFileError> {
    load_kafka(&text(path)?, &variable)
        .map_err(|errors| ConfigFileError::Invalid { path: path.to_owned(), errors })
}

#[expect(clippy::disallowed_methods, reason = "the edge reads files")]
fn text(path: &Path) -> Result<String, ConfigFileError> {
    fs::read_to_string(path)
        .map_err(|source| ConfigFileError::Read { path: path.to_owned(), source })
}

#[expect(clippy::disallowed_methods, reason = "the edge reads the environment")]
fn variable(name: &str) -> Option<String> {
    env::var(name).ok()
}
