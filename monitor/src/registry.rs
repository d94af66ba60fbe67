//! The schemas of writers: what decoders of Avro and Protobuf need to read messages of a topic.
//!
//! Before: [`crate::kafka::consumer`] meets a message whose schema its decoder does not know.
//! After: the decoder learns the program. From files ([`files`]) all of them are there from the
//! start; a registry ([`client`]) is asked for each schema once, because what a number stands for
//! never changes. That it has no such schema is believed for some seconds only: it may be
//! registered yet. [`known`] keeps what it said, [`proto`] compiles the text of `.proto` files.

mod client;
mod confluent;
mod demand;
mod files;
mod glue;
mod http;
mod known;
mod proto;
mod signature;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use driftd_core::config::{AvroConfig, Config, ProtobufConfig, SourceConfig, SourceFormat};
use driftd_ingest::{
    AvroProgram, AvroSchema, AvroSchemaError, Program, ProgramTooLarge, ProtobufProgram,
    ProtobufSchema, ProtobufSchemaError, SchemaId, SourceSchema,
};
use tracing::{error, info, warn};

pub use self::client::RegistryError;
use self::client::{Client, Registered};
use self::known::{Absent, Known};
pub use self::proto::ProtoError;
use crate::clock;

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
    Files(BTreeMap<SchemaId, Program>),
    Registry { language: Language, client: Client, known: Box<Mutex<Known>> },
}

/// What a topic's schemas are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Language {
    Avro,
    Protobuf,
}

impl Language {
    /// Returns what a registry calls it.
    fn schema_type(self) -> &'static str {
        match self {
            Self::Avro => "AVRO",
            Self::Protobuf => "PROTOBUF",
        }
    }
}

/// How to read messages that name a schema, `None` when there is no such schema; or why the
/// registry does not say.
type Answer = Result<Option<Program>, Arc<RegistryError>>;

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
    /// A file is no set of descriptors.
    #[error("`{}` has no descriptors of Protobuf", path.display())]
    Descriptors {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ProtobufSchemaError,
    },
    /// A file, or one that it imports, is no Protobuf.
    #[error("`{}` cannot be compiled", path.display())]
    Proto {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ProtoError,
    },
    /// A file does not define the type.
    #[error("`{}` defines no message `{message}`", path.display())]
    Message {
        /// The file.
        path: PathBuf,
        /// Full name of the type.
        message: String,
    },
    /// A file's schema is too large for what is read by it.
    #[error("`{}` cannot be used", path.display())]
    Program {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: ProgramTooLarge,
    },
    /// Paths of the configuration lead to fields that a file's schema does not have.
    #[error(
        "`{}` has no field for {}: what is configured there would be null in every record; \
         correct the path, or the schema",
        path.display(), paths.join(", ")
    )]
    Paths {
        /// The file.
        path: PathBuf,
        /// How the paths begin.
        paths: Vec<String>,
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
    /// whose messages have none. Relative paths start at `folder`.
    pub fn open(source: &SourceConfig, folder: &Path) -> Result<Option<Self>, WritersError> {
        let (topic, schema) = (Arc::clone(&source.topic), Arc::clone(&source.schema));
        let asked = |language, client: Result<Client, WritersError>| {
            Ok(Origin::Registry { language, client: client?, known: Box::default() })
        };
        let origin = match &source.format {
            SourceFormat::Json | SourceFormat::Arrow => return Ok(None),
            SourceFormat::Avro(AvroConfig::Registry(it)) => {
                asked(Language::Avro, Client::confluent(it, folder))?
            }
            SourceFormat::Avro(AvroConfig::Glue(it)) => {
                asked(Language::Avro, Client::glue(it, folder))?
            }
            SourceFormat::Protobuf(ProtobufConfig::Registry(it)) => {
                asked(Language::Protobuf, Client::confluent(it, folder))?
            }
            SourceFormat::Protobuf(ProtobufConfig::Glue(it)) => {
                asked(Language::Protobuf, Client::glue(it, folder))?
            }
            SourceFormat::Avro(AvroConfig::Schema(path)) => {
                let path = folder.join(path);
                let (_, program) = files::avro(&schema, &path)?;
                files::expect_fields(&path, [&program])?;
                Origin::Files(BTreeMap::from([(SchemaId::ONLY, program)]))
            }
            SourceFormat::Avro(AvroConfig::Schemas(paths)) => {
                let programs = paths.iter().map(|path| files::avro(&schema, &folder.join(path)));
                let programs: BTreeMap<_, _> = programs.collect::<Result<_, _>>()?;
                let last = paths.last().map(|path| folder.join(path)).unwrap_or_default();
                files::expect_fields(&last, programs.values())?;
                Origin::Files(programs)
            }
            SourceFormat::Protobuf(ProtobufConfig::Type { files, message }) => {
                let program = files::protobuf(&schema, files, message, folder)?;
                Origin::Files(BTreeMap::from([(SchemaId::ONLY, program)]))
            }
        };
        Ok(Some(Self { topic, source: schema, origin }))
    }

    /// Returns how to read messages that name a schema; `None` when there is no such schema. May
    /// wait for the registry, and calls `beat` meanwhile.
    pub fn program(
        &self,
        id: &SchemaId,
        beat: &dyn Fn(),
    ) -> Result<Option<Program>, Arc<RegistryError>> {
        match &self.origin {
            Origin::Files(programs) => Ok(programs.get(id).cloned()),
            Origin::Registry { language, client, known } => {
                let lock = || known.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(answer) = self.recall(&mut lock(), id) {
                    return answer;
                }
                // Nobody waits for an answer but who asks: it can take long.
                let registered = client.schema(id.schema(), beat);
                self.keep(&mut lock(), *language, id, registered)
            }
        }
    }

    /// Returns what can be said without asking.
    fn recall(&self, known: &mut Known, id: &SchemaId) -> Option<Answer> {
        let now = clock::instant();
        if let Some(answer) = known.lookup(id, now) {
            return Some(answer);
        }
        if let Some(types) = known.types(id) {
            return Some(Ok(self.learn_message(known, id, &types)));
        }
        known.is_silent(now).map(Err)
    }

    /// Returns whether a registry is asked.
    pub(crate) fn asks(&self) -> bool {
        matches!(self.origin, Origin::Registry { .. })
    }

    /// Says what the topic's schemas are, asking the registry whether it is one.
    pub(crate) fn look(&self) -> Result<String, RegistryError> {
        match &self.origin {
            Origin::Files(programs) => Ok(format!("{} schemas", programs.len())),
            Origin::Registry { language: _, client, known: _ } => {
                client.look()?;
                Ok(format!("the registry {} answers", client.url()))
            }
        }
    }

    fn keep(
        &self,
        known: &mut Known,
        language: Language,
        id: &SchemaId,
        registered: Result<Option<Registered>, RegistryError>,
    ) -> Answer {
        let now = clock::instant();
        let schema = id.schema();
        let registered = match registered {
            Ok(registered) => registered,
            Err(error) => {
                let error = Arc::new(error);
                if error.is_of_all() {
                    known.silence(now, Arc::clone(&error));
                } else {
                    known.miss(SchemaId::of(schema), now, Absent::Refused(Arc::clone(&error)));
                }
                return Err(error);
            }
        };
        known.hear();
        let Some(registered) = registered else {
            known.miss(SchemaId::of(schema), now, Absent::Unregistered);
            return Ok(None);
        };
        let (found, expected) = (&registered.schema_type, language.schema_type());
        Ok(match language {
            _ if *found != expected => {
                let error = anyhow::anyhow!("it is of {found}, not of {expected}");
                self.reject(known, SchemaId::of(schema), &error)
            }
            Language::Avro => {
                let program = self.avro(&registered);
                self.learn(known, &SchemaId::of(schema), program)
            }
            Language::Protobuf => match types(&registered) {
                Ok(types) => {
                    known.learn_types(schema, &types);
                    self.learn_message(known, id, &types)
                }
                Err(error) => self.reject(known, SchemaId::of(schema), &error),
            },
        })
    }

    /// Whoever writes to the topic can name any message of a schema: that there is no such one is
    /// told with the record that is rejected, and not remembered.
    fn learn_message(
        &self,
        known: &mut Known,
        id: &SchemaId,
        types: &ProtobufSchema,
    ) -> Option<Program> {
        let message = types.message_named(proto::MAIN, id.message())?;
        let program = ProtobufProgram::compile(&self.source, types, message);
        self.learn(known, id, program.map(Program::Protobuf).map_err(anyhow::Error::from))
    }

    fn learn(
        &self,
        known: &mut Known,
        id: &SchemaId,
        program: anyhow::Result<Program>,
    ) -> Option<Program> {
        match program {
            Ok(program) => {
                info!(topic = %self.topic, schema = %id, "a schema is read from the registry");
                let paths = program.unknown_paths();
                if !paths.is_empty() {
                    warn!(
                        topic = %self.topic,
                        schema = %id,
                        ?paths,
                        "what is configured there is null in every record: the schema has no field"
                    );
                }
                known.learn(id.clone(), &program);
                Some(program)
            }
            Err(error) => self.reject(known, id.clone(), &error),
        }
    }

    /// A schema that cannot be read serves as little as none, and stays so.
    fn reject(&self, known: &mut Known, id: SchemaId, error: &anyhow::Error) -> Option<Program> {
        let error = format!("{error:#}");
        error!(topic = %self.topic, schema = %id, error, "messages of this schema are rejected");
        known.miss(id, clock::instant(), Absent::Unusable);
        None
    }

    fn avro(&self, registered: &Registered) -> anyhow::Result<Program> {
        let references = registered.references.iter();
        let references: Vec<&str> = references.map(|(_, text)| text.as_str()).collect();
        let schema = AvroSchema::parse(&registered.schema, &references)?;
        Ok(Program::Avro(AvroProgram::compile(&self.source, schema)?))
    }
}

/// Compiles the types of a schema of Protobuf.
fn types(registered: &Registered) -> anyhow::Result<Arc<ProtobufSchema>> {
    let descriptors = proto::compile_texts(&registered.schema, &registered.references)?;
    Ok(Arc::new(ProtobufSchema::parse(&descriptors)?))
}
