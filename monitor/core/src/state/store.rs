//! The contract of what keeps rows, and its simplest keeper.
//!
//! Before: [`super::Batch`]es of a [`crate::pipeline::Pipeline`]. After: the edge keeps them in a
//! folder, tests in memory, with the faults of disks if they like.

use std::collections::BTreeMap;

use super::{Batch, Row};

/// Keeps rows.
pub trait Store {
    /// Why it cannot.
    type Error;

    /// Returns all rows of the batches that were kept, in the order of their keys.
    fn rows(&self) -> Result<Vec<Row>, Self::Error>;

    /// Keeps a batch, all of it or nothing, behind those before. After an error nobody knows which
    /// of the two: there is no going on but from [`Store::rows`] of a new process.
    fn commit(&mut self, batch: Batch) -> Result<(), Self::Error>;
}

/// Rows that do not outlive the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStore(pub BTreeMap<Vec<u8>, Vec<u8>>);

impl Store for MemoryStore {
    type Error = std::convert::Infallible;

    fn rows(&self) -> Result<Vec<Row>, Self::Error> {
        Ok(self.0.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&mut self, batch: Batch) -> Result<(), Self::Error> {
        for change in batch {
            match change.value {
                Some(value) => self.0.insert(change.key, value),
                None => self.0.remove(&change.key),
            };
        }
        Ok(())
    }
}
