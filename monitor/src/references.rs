//! The reference profiles of model versions, from the files that the configuration points at.
//!
//! Before: a shard meets a model version. After: [`Shard::set_reference`]. A version's profile
//! never changes; one that is not there yet is looked for again with each new window.

#![expect(clippy::disallowed_methods, reason = "the edge opens files")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;

use driftd_catalog::label::MemoryOwner;
use driftd_catalog::{ModelId, SegmentId};
use driftd_core::config::{Config, SegmentValues};
use driftd_core::profile::{Profile, ProfileError};
use driftd_core::reference::{ModelReference, ReferenceError};
use driftd_core::shard::{MissingReference, Placed, Shard};
use tracing::{error, info, warn};

use crate::memory::held::Holder;

/// Broken files remembered; beyond it one is read, and complained of, again.
const BROKEN_MAX: usize = 1_024;

/// Where reference profiles are found.
#[derive(Debug)]
pub struct References {
    folder: PathBuf,
    config: Arc<Config>,
    /// Files that do not serve a model, and as what they were seen: they are read again when
    /// changed.
    broken: Mutex<BTreeMap<(PathBuf, ModelId), Seen>>,
    /// Profiles that were read and may be in use.
    read: Mutex<Vec<Weak<ModelReference>>>,
    held: Holder,
}

/// When a file was written, and its length.
type Seen = (Option<SystemTime>, u64);

/// A profile file that is there and cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReferenceFileError {
    /// The file cannot be read.
    #[error("cannot read reference profile `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The content is no profile.
    #[error("`{}` is no usable reference profile", .path.display())]
    Profile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ProfileError,
    },
    /// The profile is another model's or version's.
    #[error(
        "`{}` is the reference of {found}, not of {expected}: build one with `driftd reference build`, or move it",
        .path.display()
    )]
    OtherModel {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it has to be.
        expected: ModelId,
    },
    /// The profile does not fit the configured model.
    #[error("`{}` does not fit the configuration", .path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ReferenceError,
    },
}

impl References {
    /// Takes relative paths from `folder`: the one that the configuration file lies in.
    pub fn new(folder: &Path, config: Arc<Config>) -> Self {
        Self {
            folder: folder.to_owned(),
            config,
            broken: Mutex::default(),
            read: Mutex::default(),
            held: Holder::new(MemoryOwner::References),
        }
    }

    /// Returns the path of a model version's profile; `model` is an index into [`Config::models`].
    pub fn path(&self, model: usize, id: &ModelId) -> PathBuf {
        self.folder.join(self.config.models[model].references.of(id))
    }

    /// Reads the profile of one model version; `None` when there is no such file.
    pub fn load(
        &self,
        model: usize,
        id: &ModelId,
    ) -> Result<Option<Arc<ModelReference>>, ReferenceFileError> {
        let path = self.path(model, id);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ReferenceFileError::Read { path, source }),
        };
        let profile = match Profile::decode(&bytes) {
            Ok(profile) => profile,
            Err(source) => return Err(ReferenceFileError::Profile { path, source }),
        };
        if profile.model != id.name() || profile.version != id.version() {
            let found = format!("{}/{}", profile.model, profile.version);
            return Err(ReferenceFileError::OtherModel { path, found, expected: id.clone() });
        }
        match ModelReference::try_new(id, &self.config.models[model], profile) {
            Ok(reference) => Ok(Some(self.hold(reference))),
            Err(source) => Err(ReferenceFileError::Mismatch { path, source }),
        }
    }

    /// Like [`References::load`]; one that does not serve is logged once and counts as missing.
    pub(crate) fn find(&self, model: usize, id: &ModelId) -> Option<Arc<ModelReference>> {
        let key = (self.path(model, id), id.clone());
        let metadata = fs::metadata(&key.0).ok();
        let seen = metadata.map(|metadata| (metadata.modified().ok(), metadata.len()));
        // Shared work asks for each row of counts.
        if seen.is_some() && self.broken().get(&key) == seen.as_ref() {
            return None;
        }
        self.load(model, id).unwrap_or_else(|error| {
            // A file that cannot be read may be read the next time, unchanged.
            let is_of_content = match &error {
                ReferenceFileError::Read { .. } => false,
                ReferenceFileError::Profile { .. }
                | ReferenceFileError::OtherModel { .. }
                | ReferenceFileError::Mismatch { .. } => true,
            };
            let error = anyhow::Error::from(error);
            error!(model = %id, error = format!("{error:#}"), "reference not usable");
            if let Some(seen) = seen.filter(|_| is_of_content) {
                let mut broken = self.broken();
                while BROKEN_MAX <= broken.len() {
                    broken.pop_first();
                }
                broken.insert(key, seen);
            }
            None
        })
    }

    /// Counts a profile with those that are still in use.
    fn hold(&self, reference: ModelReference) -> Arc<ModelReference> {
        let reference = Arc::new(reference);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.push(Arc::downgrade(&reference));
        read.retain(|it| 0 < it.strong_count());
        let bytes = read.iter().filter_map(Weak::upgrade).map(|it| it.bytes()).sum();
        self.held.set(bytes);
        reference
    }

    fn broken(&self) -> MutexGuard<'_, BTreeMap<(PathBuf, ModelId), Seen>> {
        self.broken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the shard the references that it needs for a batch. A file that cannot be used is
    /// logged and counts as missing: the model is then shown without a reference, and its records
    /// are still counted.
    pub fn provide(&self, shard: &mut Shard, placed: &Placed) {
        for missing in shard.missing_references(placed) {
            let MissingReference { id, model, .. } = &missing;
            let path = self.path(*model, id);
            let reference = match self.load(*model, id) {
                Ok(Some(reference)) => {
                    let rows = reference.rows;
                    info!(model = %id, path = %path.display(), rows, "reference loaded");
                    self.warn_of_segments(*model, id, &reference);
                    Some(reference)
                }
                Ok(None) => {
                    warn!(model = %id, path = %path.display(), "no reference yet");
                    None
                }
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    error!(model = %id, error = format!("{error:#}"), "reference not usable");
                    None
                }
            };
            shard.set_reference(missing, reference);
        }
    }

    /// Names the segments that will not be judged. That of all other values may be missing: a
    /// sample in which every value is configured has none.
    fn warn_of_segments(&self, model: usize, id: &ModelId, reference: &ModelReference) {
        for segmentation in &self.config.models[model].segments {
            let name = &*segmentation.name;
            let missing: Vec<SegmentId> = match &segmentation.values {
                SegmentValues::Listed(values) => {
                    let ids = values.iter().filter_map(|it| SegmentId::try_new(name, it).ok());
                    ids.filter(|it| reference.of(it).is_none()).collect()
                }
                SegmentValues::Top(_) if !reference.top_values(name).is_empty() => Vec::new(),
                SegmentValues::Top(top) => {
                    warn!(
                        model = %id, segmentation = name, top,
                        "reference without the most frequent values: build it with `--config`"
                    );
                    Vec::new()
                }
            };
            for segment in missing {
                warn!(model = %id, %segment, "segment without reference: build it with `--config`");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use driftd_core::config::load;
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use crate::reference::build_for_model;

    #[test]
    fn a_broken_profile_is_read_again_when_its_file_has_changed() {
        let dir = TempDir::new().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let tree = json!({
            "name": "bench",
            "kafka": {"brokers": ["localhost:9092"]},
            "sources": [
                {"topic": "logs", "start": "earliest", "event_time": {"path": "at"}},
            ],
            "models": [{
                "name": "m",
                "source": "logs",
                "version": "1",
                "references": "{model}.json",
                "window": {"length": "1h"},
                "features": [{"name": "x", "path": "x", "type": "float64"}],
            }],
        });
        let text = tree.to_string();
        let config = write("job.yaml", &text);
        let values: Vec<String> = (0..100).map(|value| value.to_string()).collect();
        let sample = write("sample.csv", &format!("x\n{}\n", values.join("\n")));
        let whole = dir.path().join("whole.json");
        build_for_model(&config, "m", "1", &[sample], &whole).unwrap();
        let profile = fs::read(&whole).unwrap();

        let file = write("m.json", "{}");
        let references = References::new(dir.path(), Arc::new(load(&text, &|_| None).unwrap()));
        let id = ModelId::try_new("m", "1").unwrap();
        assert!(references.find(0, &id).is_none());
        assert_eq!(references.broken().keys().collect::<Vec<_>>(), [&(file.clone(), id.clone())]);
        fs::write(&file, &profile).unwrap();
        assert!(references.find(0, &id).is_some());
    }
}
