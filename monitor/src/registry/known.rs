//! What a registry said: schemas and programs for good, and for a while what it does not have.
//!
//! Before: [`super::Writers`] looks here first. After: only what is not known is asked for. All of
//! it is bounded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use driftd_ingest::{Program, ProtobufSchema, SchemaId, SchemaName};

use super::RegistryError;

/// Most programs that are kept for one topic; beyond it a schema is asked for again.
const PROGRAMS_MAX: usize = 256;
/// Most bytes of types that are kept; beyond it a schema is asked for again.
const TYPES_BYTES_MAX: usize = 32 << 20;
/// Most numbers without a schema that are remembered.
const ABSENT_MAX: usize = 4_096;
/// That there is no such schema holds for this long.
const ABSENT_MAX_AGE: Duration = Duration::from_secs(5);
/// A registry that did not answer is left alone for this long: all partitions of a topic miss the
/// same schema.
const SILENCE: Duration = Duration::from_secs(2);

/// What the registry said.
#[derive(Debug, Default)]
pub(super) struct Known {
    programs: BTreeMap<SchemaId, Program>,
    /// A message names one of many types of its schema.
    types: BTreeMap<SchemaName, Arc<ProtobufSchema>>,
    types_bytes: usize,
    /// Schemas and messages of them that are of no use, and since when that is known.
    absent: BTreeMap<SchemaId, (Instant, Absent)>,
    /// When it did not answer last.
    silent: Option<(Instant, Arc<RegistryError>)>,
}

/// Why there is no program.
#[derive(Debug)]
pub(super) enum Absent {
    /// It may be registered yet.
    Unregistered,
    /// The registry has other words for this one; it may have better ones yet.
    Refused(Arc<RegistryError>),
    /// The schema cannot be read, and never will be.
    Unusable,
}

impl Known {
    pub(super) fn learn(&mut self, id: SchemaId, program: &Program) {
        if self.programs.len() == PROGRAMS_MAX {
            self.programs.clear();
        }
        self.programs.insert(id, program.clone());
    }

    /// Keeps the types of a schema.
    pub(super) fn learn_types(&mut self, schema: SchemaName, types: &Arc<ProtobufSchema>) {
        let bytes = types.bytes();
        if TYPES_BYTES_MAX < self.types_bytes + bytes {
            self.types.clear();
            self.types_bytes = 0;
        }
        if self.types.insert(schema, Arc::clone(types)).is_none() {
            self.types_bytes += bytes;
        }
    }

    /// Returns the types of the schema that is named.
    pub(super) fn types(&self, id: &SchemaId) -> Option<Arc<ProtobufSchema>> {
        self.types.get(&id.schema()).cloned()
    }

    /// Leaves a registry alone that did not answer.
    pub(super) fn silence(&mut self, now: Instant, why: Arc<RegistryError>) {
        self.silent = Some((now, why));
    }

    /// It has answered.
    pub(super) fn hear(&mut self) {
        self.silent = None;
    }

    pub(super) fn miss(&mut self, id: SchemaId, now: Instant, why: Absent) {
        if self.absent.len() == ABSENT_MAX {
            self.absent.clear();
        }
        self.absent.insert(id, (now, why));
    }

    /// Returns what is known already, or holds still, of a message or of its schema.
    pub(super) fn lookup(
        &self,
        id: &SchemaId,
        now: Instant,
    ) -> Option<Result<Option<Program>, Arc<RegistryError>>> {
        if let Some(program) = self.programs.get(id) {
            return Some(Ok(Some(program.clone())));
        }
        match self.absent.get(id).or_else(|| self.absent.get(&SchemaId::of(id.schema()))) {
            Some((_, Absent::Unusable)) => Some(Ok(None)),
            Some((since, Absent::Unregistered)) if is_young(now, *since, ABSENT_MAX_AGE) => {
                Some(Ok(None))
            }
            Some((since, Absent::Refused(error))) if is_young(now, *since, SILENCE) => {
                Some(Err(Arc::clone(error)))
            }
            Some((_, Absent::Unregistered | Absent::Refused(_))) | None => None,
        }
    }

    /// Returns why the registry is left alone now.
    pub(super) fn is_silent(&self, now: Instant) -> Option<Arc<RegistryError>> {
        let silent = self.silent.as_ref().filter(|(since, _)| is_young(now, *since, SILENCE));
        silent.map(|(_, error)| Arc::clone(error))
    }
}

fn is_young(now: Instant, since: Instant, age: Duration) -> bool {
    now.saturating_duration_since(since) < age
}
