//! The schemas of writers: what decoders of Avro need to read messages of a topic.
//!
//! Before: [`crate::kafka::consumer`] meets a message whose schema its decoder does not know.
//! After: the decoder learns the program. From files all of them are there from the start; a
//! registry ([`client`]) is asked for each schema once, because what a number stands for never
//! changes. That it has no such schema is believed for some seconds only: it may be registered yet.

mod client;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use driftd_core::config::{AvroConfig, Config, SourceConfig, SourceFormat};
use driftd_ingest::{
    AvroProgram, AvroSchema, AvroSchemaError, ProgramTooLarge, SchemaId, SourceSchema,
};
use tracing::{error, info};

pub use self::client::RegistryError;
use self::client::{Client, Registered};
use crate::clock;

/// Most programs that are kept for one topic; beyond it a schema is asked for again.
const PROGRAMS_MAX: usize = 256;
/// Most numbers without a schema that are remembered.
const ABSENT_MAX: usize = 4_096;
/// That there is no such schema holds for this long.
const ABSENT_MAX_AGE: Duration = Duration::from_secs(5);
/// A registry that did not answer is left alone for this long: all partitions of a topic miss the
/// same schema.
const SILENCE: Duration = Duration::from_secs(2);

/// The schemas of the messages of one topic, each compiled with what the topic's models read.
/// Shared by the topic's consumer threads.
#[derive(Debug)]
pub struct Writers {
    topic: Arc<str>,
    source: Arc<SourceSchema>,
    origin: Origin,
}

#[derive(Debug)]
enum Origin {
    Files(BTreeMap<SchemaId, Arc<AvroProgram>>),
    Registry { client: Client, known: Mutex<Known> },
}

/// What the registry said.
#[derive(Debug, Default)]
struct Known {
    programs: BTreeMap<SchemaId, Arc<AvroProgram>>,
    /// Numbers that stand for no schema of use, and since when that is known.
    absent: BTreeMap<SchemaId, (Instant, Absent)>,
    /// When it did not answer last.
    silent: Option<(Instant, Arc<RegistryError>)>,
}

/// Why there is no program.
#[derive(Debug)]
enum Absent {
    /// It may be registered yet.
    Unregistered,
    /// The registry has other words for this one; it may have better ones yet.
    Refused(Arc<RegistryError>),
    /// The schema cannot be read, and never will be.
    Unusable,
}

/// Schemas that a start cannot do without.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WritersError {
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is no schema.
    #[error("`{}` is no Avro schema", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: AvroSchemaError,
    },
    /// A file's schema is too large for what is read by it.
    #[error("`{}` cannot be used", path.display())]
    Program {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ProgramTooLarge,
    },
    /// A file holds no certificates.
    #[error("`{}` holds no certificates (PEM)", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ureq::Error,
    },
}

/// Opens the schemas of all sources, in their order.
pub(crate) fn of_sources(
    config: &Config,
    folder: &Path,
) -> Result<Vec<Option<Arc<Writers>>>, WritersError> {
    let open = |source| Ok(Writers::open(source, folder)?.map(Arc::new));
    config.sources.iter().map(open).collect()
}

impl Writers {
    /// Reads the files of a topic's schemas, or prepares to ask its registry; `None` for a topic
    /// without Avro. Relative paths start at `folder`.
    pub fn open(source: &SourceConfig, folder: &Path) -> Result<Option<Self>, WritersError> {
        let SourceFormat::Avro(avro) = &source.format else { return Ok(None) };
        let file = |path: &PathBuf| program(&source.schema, &folder.join(path));
        let origin = match avro {
            AvroConfig::Schema(path) => {
                let (_, program) = file(path)?;
                Origin::Files(BTreeMap::from([(SchemaId::ONLY, program)]))
            }
            AvroConfig::Schemas(paths) => {
                Origin::Files(paths.iter().map(file).collect::<Result<_, _>>()?)
            }
            AvroConfig::Registry(registry) => Origin::Registry {
                client: Client::open(registry, folder)?,
                known: Mutex::default(),
            },
        };
        let (topic, schema) = (Arc::clone(&source.topic), Arc::clone(&source.schema));
        Ok(Some(Self { topic, source: schema, origin }))
    }

    /// Returns how to read messages that name a schema; `None` when there is no such schema. May
    /// wait for the registry, and calls `beat` meanwhile.
    pub fn program(
        &self,
        id: SchemaId,
        beat: &dyn Fn(),
    ) -> Result<Option<Arc<AvroProgram>>, Arc<RegistryError>> {
        match &self.origin {
            Origin::Files(programs) => Ok(programs.get(&id).cloned()),
            Origin::Registry { client, known } => {
                let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
                let found = lock().lookup(id, clock::instant());
                // Nobody waits for an answer but who asks: it can take long.
                found.unwrap_or_else(|| {
                    let registered = client.schema(id.number(), beat);
                    self.keep(&mut lock(), id, registered)
                })
            }
        }
    }

    /// Returns whether a registry is asked.
    pub(crate) fn asks(&self) -> bool {
        matches!(self.origin, Origin::Registry { .. })
    }

    /// Says what the topic's schemas are, asking the registry whether it is one.
    pub(crate) fn look(&self) -> Result<String, RegistryError> {
        match &self.origin {
            Origin::Files(programs) => Ok(format!("{} schemas", programs.len())),
            Origin::Registry { client, known: _ } => {
                client.look()?;
                Ok(format!("the registry {} answers", client.url()))
            }
        }
    }

    fn keep(
        &self,
        known: &mut Known,
        id: SchemaId,
        registered: Result<Option<Registered>, RegistryError>,
    ) -> Result<Option<Arc<AvroProgram>>, Arc<RegistryError>> {
        let now = clock::instant();
        let registered = match registered {
            Ok(registered) => registered,
            Err(error) => {
                let error = Arc::new(error);
                if error.is_of_all() {
                    known.silent = Some((now, Arc::clone(&error)));
                } else {
                    known.miss(id, now, Absent::Refused(Arc::clone(&error)));
                }
                return Err(error);
            }
        };
        known.silent = None;
        let Some(registered) = registered else {
            known.miss(id, now, Absent::Unregistered);
            return Ok(None);
        };
        let program = self.compile(id, &registered);
        match &program {
            Some(program) => known.learn(id, program),
            None => known.miss(id, now, Absent::Unusable),
        }
        Ok(program)
    }

    /// A schema that cannot be read serves as little as none, and stays so.
    fn compile(&self, id: SchemaId, registered: &Registered) -> Option<Arc<AvroProgram>> {
        let topic = &self.topic;
        let references: Vec<&str> = registered.references.iter().map(String::as_str).collect();
        let program = AvroSchema::parse(&registered.schema, &references)
            .map_err(anyhow::Error::from)
            .and_then(|schema| Ok(AvroProgram::compile(&self.source, schema)?));
        match program {
            Ok(program) => {
                info!(%topic, schema = %id, "a schema is read from the registry");
                Some(program)
            }
            Err(error) => {
                let error = format!("{error:#}");
                error!(%topic, schema = %id, error, "messages of this schema are rejected");
                None
            }
        }
    }
}

impl Known {
    fn learn(&mut self, id: SchemaId, program: &Arc<AvroProgram>) {
        if self.programs.len() == PROGRAMS_MAX {
            self.programs.clear();
        }
        self.programs.insert(id, Arc::clone(program));
    }

    fn miss(&mut self, id: SchemaId, now: Instant, why: Absent) {
        if self.absent.len() == ABSENT_MAX {
            self.absent.clear();
        }
        self.absent.insert(id, (now, why));
    }

    /// Returns what is known already, or holds still.
    fn lookup(
        &mut self,
        id: SchemaId,
        now: Instant,
    ) -> Option<Result<Option<Arc<AvroProgram>>, Arc<RegistryError>>> {
        if let Some(program) = self.programs.get(&id) {
            return Some(Ok(Some(Arc::clone(program))));
        }
        let is_young = |since: Instant, age: Duration| now.saturating_duration_since(since) < age;
        match self.absent.get(&id) {
            Some((_, Absent::Unusable)) => return Some(Ok(None)),
            Some((since, Absent::Unregistered)) if is_young(*since, ABSENT_MAX_AGE) => {
                return Some(Ok(None));
            }
            Some((since, Absent::Refused(error))) if is_young(*since, SILENCE) => {
                return Some(Err(Arc::clone(error)));
            }
            Some((_, Absent::Unregistered | Absent::Refused(_))) | None => {}
        }
        self.silent
            .as_ref()
            .filter(|(since, _)| is_young(*since, SILENCE))
            .map(|(_, error)| Err(Arc::clone(error)))
    }
}

/// Reads a schema's file, and returns what a message calls it by its fingerprint.
#[expect(clippy::disallowed_methods, reason = "the edge reads files")]
fn program(
    source: &SourceSchema,
    path: &Path,
) -> Result<(SchemaId, Arc<AvroProgram>), WritersError> {
    let owned = || path.to_owned();
    let text = std::fs::read_to_string(path)
        .map_err(|source| WritersError::Read { path: owned(), source })?;
    let schema = AvroSchema::parse(&text, &[])
        .map_err(|source| WritersError::Schema { path: owned(), source })?;
    let fingerprint = schema.fingerprint().map_or(SchemaId::ONLY, SchemaId::of_fingerprint);
    let program = AvroProgram::compile(source, schema)
        .map_err(|source| WritersError::Program { path: owned(), source })?;
    Ok((fingerprint, program))
}
