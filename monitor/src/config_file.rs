//! Reads the configuration file and the environment it refers to.
//!
//! Before: `--config FILE`. After: a valid [`Config`] and the folder that its relative paths start
//! from.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs, io};

use driftd_core::config::{Config, ConfigErrors, load};

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
#[expect(clippy::disallowed_methods, reason = "the edge reads files and the environment")]
pub fn read(path: &Path) -> Result<Loaded, ConfigFileError> {
    let text = fs::read_to_string(path)
        .map_err(|source| ConfigFileError::Read { path: path.to_owned(), source })?;
    let config = load(&text, &|name| env::var(name).ok())
        .map_err(|errors| ConfigFileError::Invalid { path: path.to_owned(), errors })?;
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    Ok(Loaded { config: Arc::new(config), folder })
}
