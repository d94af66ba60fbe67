//! Who owns the partitions and lanes that other processes of the group have.
//!
//! Before: [`crate::kafka::watch`] asks what members have committed. After: `/api/v1/status`. A
//! member tells its name as soon as it has taken a partition over, and with all that it commits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use driftd_catalog::PartitionId;

use crate::kafka::committed::Standing;

/// What was committed last of each partition.
#[derive(Clone, Debug, Default)]
pub struct Owners(Arc<Mutex<BTreeMap<PartitionId, Owned>>>);

/// A partition as its owner told last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Name of the process. Absent where it is of a version that does not tell.
    pub owner: Option<Arc<str>>,
    /// Where it is read next.
    pub next_offset: i64,
}

impl Owners {
    /// Returns what is known of a partition.
    pub fn of(&self, partition: &PartitionId) -> Option<Owned> {
        self.lock().get(partition).cloned()
    }

    pub(crate) fn set(&self, topic: &Arc<str>, standings: &BTreeMap<i32, Standing>) {
        let mut all = self.lock();
        for (partition, Standing { next_offset, note }) in standings {
            let id = PartitionId { topic: Arc::clone(topic), partition: *partition };
            let owned = Owned { owner: note.owner.clone(), next_offset: *next_offset };
            all.insert(id, owned);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<PartitionId, Owned>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
