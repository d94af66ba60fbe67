//! A store with the faults of disks, beside the one in memory that has none.

use driftd_core::state::{Batch, MemoryStore, Row, Store};

/// What happens to a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// There is no room: nothing of it is kept.
    NoSpace,
    /// It could not be synced: it is there all the same.
    NotSynced,
}

/// Keeps rows in memory, and forgets them like a disk.
#[derive(Debug, Default)]
pub(crate) struct FaultyStore {
    rows: MemoryStore,
    /// The rows before each batch.
    before: Vec<MemoryStore>,
    /// Happens to the next batch.
    pub(crate) fault: Option<Fault>,
}

impl FaultyStore {
    /// Loses the newest batches, which the machine had not written; a batch that was written in
    /// part counts as one that was not.
    pub(crate) fn lose(&mut self, batches: usize) {
        let at = self.before.len().saturating_sub(batches);
        if let Some(rows) = self.before.drain(at..).next() {
            self.rows = rows;
        }
    }

    pub(crate) fn content(&self) -> &MemoryStore {
        &self.rows
    }
}

impl Store for FaultyStore {
    type Error = Fault;

    fn rows(&self) -> Result<Vec<Row>, Fault> {
        Ok(self.rows.rows().unwrap())
    }

    fn commit(&mut self, batch: Batch) -> Result<(), Fault> {
        let fault = self.fault.take();
        if fault == Some(Fault::NoSpace) {
            return Err(Fault::NoSpace);
        }
        self.before.push(self.rows.clone());
        self.rows.commit(batch).unwrap();
        fault.map_or(Ok(()), Err)
    }
}
