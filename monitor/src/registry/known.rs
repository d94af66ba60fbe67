//! What a registry said: programs for good, and for a while what it does not have.
//!
//! Before: [`super::Writers`] looks here first. After: only what is not known is asked for. All of
//! it is bounded.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use driftd_ingest::{Program, SchemaId};

use super::RegistryError;

/// Most programs that are kept for one topic; beyond it a schema is asked for again.
const PROGRAMS_MAX: usize = 256;
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
    /// Numbers that stand for no schema of use, and since when that is known.
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

    /// Returns what is known already, or holds still.
    pub(super) fn lookup(
        &mut self,
        id: SchemaId,
        now: Instant,
    ) -> Option<Result<Option<Program>, Arc<RegistryError>>> {
        if let Some(program) = self.programs.get(&id) {
            return Some(Ok(Some(program.clone())));
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
