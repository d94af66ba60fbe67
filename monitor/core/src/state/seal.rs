//! A sum over all rows, by which a start sees that none of them is missing, old or changed.
//!
//! Before: every batch, whole. After: one more row in it. The store has checksums of its own, but
//! not over everything: where the number that orders two batches is damaged, an old row comes
//! back.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::key::Key;
use super::{Batch, Change};

/// Hashes of the rows that are in the store, and their sum.
#[derive(Debug, Default)]
pub(crate) struct Seal {
    rows: BTreeMap<Vec<u8>, u64>,
    sum: u64,
}

impl Seal {
    /// Returns the seal of all rows but its own.
    pub(super) fn of<'a>(rows: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut seal = Self::default();
        rows.into_iter().for_each(|(key, value)| seal.put(key, Some(value)));
        seal
    }

    /// Returns whether `row` was written with exactly these rows.
    pub(super) fn fits(&self, row: Option<&[u8]>) -> bool {
        row.map_or(self.rows.is_empty(), |row| row == self.sum.to_le_bytes())
    }

    /// Takes note of a batch, and adds the row that seals it.
    pub(crate) fn add(&mut self, batch: &mut Batch) {
        if batch.is_empty() {
            return;
        }
        for change in &*batch {
            self.put(&change.key, change.value.as_deref());
        }
        let value = Some(self.sum.to_le_bytes().to_vec());
        batch.push(Change { key: Key::Seal.encode(), value });
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        let before = match value.map(|value| hash(key, value)) {
            Some(hash) => {
                self.sum = self.sum.wrapping_add(hash);
                self.rows.insert(key.to_vec(), hash)
            }
            None => self.rows.remove(key),
        };
        self.sum = self.sum.wrapping_sub(before.unwrap_or(0));
    }
}

/// # Panics
/// Never: SHA-256 gives 32 bytes.
fn hash(key: &[u8], value: &[u8]) -> u64 {
    let mut hash = Sha256::new();
    hash.update(key.len().to_le_bytes());
    hash.update(key);
    hash.update(value);
    let hash = hash.finalize();
    u64::from_le_bytes(*hash.first_chunk().expect("SHA-256 gives 32 bytes"))
}
