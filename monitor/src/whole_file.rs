//! A file that appears whole or not at all: written beside its place, then renamed over it.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

/// A file being written. Dropped before [`WholeFile::finish`], it leaves nothing behind.
#[derive(Debug)]
pub(crate) struct WholeFile {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
}

/// A result that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write `{}`", .path.display())]
pub(crate) struct WriteError {
    path: PathBuf,
    source: io::Error,
}

impl WholeFile {
    /// Starts a file that will replace `path`.
    pub(crate) fn create(path: &Path) -> Result<Self, WriteError> {
        let folder = path.parent().filter(|it| *it != Path::new("")).unwrap_or(Path::new("."));
        let file = Builder::new()
            .prefix(".driftd-")
            .suffix(".partial")
            // Less the user's mask, as for any file; a temporary file would be for its owner only.
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .map_err(|source| WriteError { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file: BufWriter::with_capacity(1 << 16, file) })
    }

    /// Appends bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.file.write_all(bytes).map_err(|source| WriteError { path: self.path.clone(), source })
    }

    /// Makes the file durable and gives it its name.
    pub(crate) fn finish(self) -> Result<(), WriteError> {
        let Self { path, file } = self;
        let finish = || -> io::Result<()> {
            let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        finish().map_err(|source| WriteError { path: path.clone(), source })
    }
}
