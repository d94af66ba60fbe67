//! Predictions and labels on disk, beside the rows of [`crate::store`] and written with them.
//!
//! Before: [`driftd_core::labels`] says what changed of entries, and reads them one by one. After:
//! fjall, a folder of tables a model. What is of no use any more is left out when tables are
//! merged, so that forgetting costs no write of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use driftd_core::labels::{Entries, EntryBatch, EntrySpace, Forgotten, is_forgotten};
use fjall::compaction::filter::{
    CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict,
};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, UserValue};
use tracing::error;

use crate::stage;

/// Memory of entries that are in the journal but in no table yet, of each model: so many bytes of
/// them make a table.
const WRITE_BUFFER_BYTES: u64 = 4 << 20;
/// Most memory that the entries of a model take: a write buffer that is filled, and those before it
/// that are being written; and a batch, which is written whole.
pub(crate) const BYTES_MAX: u64 = 5 * WRITE_BUFFER_BYTES + stage::ENTRIES_BYTES_MAX;

/// Reads and writes the entries of all models.
pub(crate) struct FolderEntries {
    folder: PathBuf,
    database: Database,
    spaces: Mutex<BTreeMap<EntrySpace, Keyspace>>,
    forgetting: Forgetting,
}

impl FolderEntries {
    pub(crate) fn new(folder: &Path, database: Database, forgetting: Forgetting) -> Self {
        let spaces = Mutex::new(BTreeMap::new());
        Self { folder: folder.to_owned(), database, spaces, forgetting }
    }

    fn space(&self, space: &EntrySpace) -> Result<Keyspace, fjall::Error> {
        let mut spaces = self.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keyspace) = spaces.get(space) {
            return Ok(keyspace.clone());
        }
        let options = || KeyspaceCreateOptions::default().max_memtable_size(WRITE_BUFFER_BYTES);
        let keyspace = self.database.keyspace(space.as_str(), options)?;
        spaces.insert(space.clone(), keyspace.clone());
        Ok(keyspace)
    }

    /// Adds what changed to a batch.
    pub(crate) fn add(
        &self,
        batch: &mut OwnedWriteBatch,
        changes: &EntryBatch,
    ) -> Result<(), fjall::Error> {
        for (space, entries) in &changes.entries {
            let keyspace = self.space(space)?;
            for (id, entry) in entries {
                batch.insert(&keyspace, id.to_be_bytes(), UserValue::from(&**entry));
            }
        }
        Ok(())
    }

    /// Has entries left out from now on.
    pub(crate) fn forget(&self, forgotten: BTreeMap<EntrySpace, Forgotten>) {
        let mut all = self.forgetting.0.write().unwrap_or_else(PoisonError::into_inner);
        all.extend(forgotten.into_iter().map(|(space, it)| (space.as_str().to_owned(), it)));
    }

    /// Ends the process, as where state cannot be written.
    fn fail(&self, error: &fjall::Error) -> ! {
        error!(folder = %self.folder.display(), %error, "stored predictions cannot be read");
        stage::end()
    }
}

impl Entries for FolderEntries {
    fn get(&self, space: &EntrySpace, id: u128) -> Option<Vec<u8>> {
        let entry = self.space(space).and_then(|it| it.get(id.to_be_bytes()));
        match entry {
            Ok(entry) => entry.map(|it| it.to_vec()),
            Err(error) => self.fail(&error),
        }
    }

    fn for_each(&self, space: &EntrySpace, see: &mut dyn FnMut(u128, &[u8])) {
        let keyspace = self.space(space).unwrap_or_else(|error| self.fail(&error));
        for entry in keyspace.iter() {
            match entry.into_inner() {
                Ok((id, entry)) => {
                    if let Some(id) = id.first_chunk::<16>() {
                        see(u128::from_be_bytes(*id), &entry);
                    }
                }
                Err(error) => self.fail(&error),
            }
        }
    }

    fn keep(&self, spaces: &BTreeSet<EntrySpace>) {
        let is_kept = |name: &str| spaces.iter().any(|it| it.as_str() == name);
        for name in self.database.list_keyspace_names() {
            if EntrySpace::is_one(&name) && !is_kept(&name) {
                let keyspace = self.database.keyspace(&name, KeyspaceCreateOptions::default);
                let removed = keyspace.and_then(|it| self.database.delete_keyspace(it));
                removed.unwrap_or_else(|error| self.fail(&error));
            }
        }
    }
}

/// Gives each space its filter.
type Assigner = Arc<dyn Fn(&str) -> Option<Arc<dyn Factory>> + Send + Sync>;

/// What entries are of no use any more, by the name of their space.
#[derive(Clone, Default)]
pub(crate) struct Forgetting(Arc<RwLock<BTreeMap<String, Forgotten>>>);

impl Forgetting {
    /// Returns what gives each space its filter, and other tables none.
    pub(crate) fn assigner(&self) -> Assigner {
        let forgetting = self.clone();
        Arc::new(move |name| {
            let filters = Filters { space: name.to_owned(), forgetting: forgetting.clone() };
            EntrySpace::is_one(name).then(|| Arc::new(filters) as Arc<dyn Factory>)
        })
    }
}

/// Makes the filters of one space.
struct Filters {
    space: String,
    forgetting: Forgetting,
}

impl Factory for Filters {
    fn name(&self) -> &'static str {
        "forgotten"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        let all = self.forgetting.0.read().unwrap_or_else(PoisonError::into_inner);
        Box::new(Filter(all.get(&self.space).copied()))
    }
}

struct Filter(Option<Forgotten>);

impl CompactionFilter for Filter {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        let Some(forgotten) = self.0 else { return Ok(Verdict::Keep) };
        let is_gone = is_forgotten(&item.value()?, forgotten);
        Ok(if is_gone { Verdict::Remove } else { Verdict::Keep })
    }
}
