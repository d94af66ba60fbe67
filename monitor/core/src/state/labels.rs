//! How far labels and predictions of each model were joined, as rows beside their entries.
//!
//! Before: [`crate::labels`] says what changed. After: [`super::restore()`] gives it back. The
//! entries themselves are not among the rows: there are too many to read all of them at a start.

use std::sync::Arc;

use super::key::Key;
use super::restore::{Reading, RestoreError, Rows, read_row};
use super::{Saver, encode};
use crate::labels::{Cohort, ModelBody, ModelRows, StoredLabels};

impl Saver {
    /// Takes what changed of a model.
    pub(crate) fn labels(&mut self, rows: ModelRows) {
        let ModelRows { name, body, cohorts } = rows;
        for (number, cohort) in cohorts {
            self.put(Key::Cohort(Arc::clone(&name), number), &(&body.space, &*cohort));
        }
        self.put(Key::Labels(name), &body);
    }
}

impl Reading<'_> {
    /// Returns what is stored of each model. Of a partition that begins anew, nothing was taken.
    pub(super) fn labels(&mut self, rows: &Rows) -> Result<StoredLabels, RestoreError> {
        let mut stored = StoredLabels::new();
        for (key, row) in rows {
            if let Key::Labels(name) = key {
                let mut body: ModelBody = read_row(row, key)?;
                if !self.follows(name) {
                    self.saver.remove(key.clone());
                    stored.insert(Arc::clone(name), (body, Vec::new()));
                    continue;
                }
                let before = encode(&body);
                body.applied.retain(|partition, _| !self.begins_anew(partition));
                if encode(&body) != before {
                    self.saver.put(key.clone(), &body);
                }
                stored.insert(Arc::clone(name), (body, Vec::new()));
            }
        }
        for (key, row) in rows {
            let Key::Cohort(name, number) = key else { continue };
            let (space, cohort): (String, Cohort) = read_row(row, key)?;
            let own = stored.get_mut(name).filter(|(body, _)| body.space == space);
            let own = own.filter(|_| self.follows(name));
            match own {
                Some((_, cohorts)) => cohorts.push((*number, Arc::new(cohort))),
                None => self.saver.remove(key.clone()),
            }
        }
        Ok(stored)
    }

    /// Whether the performance of a model is still followed. Where it is not, it begins anew when
    /// it is again: what comes meanwhile is not seen.
    fn follows(&self, name: &str) -> bool {
        let mut models = self.config.models.iter().filter(|it| it.performance.is_some());
        models.any(|it| *it.name == *name)
    }
}
