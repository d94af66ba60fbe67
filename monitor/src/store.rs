//! The folder in which state survives a restart.
//!
//! Before: [`crate::stage`] hands over batches of [`driftd_core::state`]. After: fjall, a
//! log-structured store, writes each one whole or not at all; a checksum covers each, and a sum
//! over all rows what it leaves out. One process at a time: the folder is locked.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use driftd_core::config::{Durability, StateConfig};
use driftd_core::labels::{Entries, EntryBatch};
use driftd_core::state::{Batch, Row, Store};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::entries::{FolderEntries, Forgetting};
use crate::failpoint;

/// Memory for blocks that were read; state is read once, at the start.
const CACHE_BYTES: u64 = 1 << 20;
/// Rows that are in the journal but in no table yet: so many bytes of them make a table. A folder
/// keeps the number that it was made with.
const WRITE_BUFFER_BYTES: u64 = 4 << 20;
/// Write buffers that the store has at once: one that is filled, and those before it that are being
/// written, before writing waits for them.
const WRITE_BUFFERS_MAX: u64 = 5;
/// Most memory that the store takes.
pub(crate) const BYTES_MAX: u64 = CACHE_BYTES + WRITE_BUFFERS_MAX * WRITE_BUFFER_BYTES;

/// Of a store that is made whole: three letters and a number, written one after the other.
const VERSION_BYTES: u64 = 4;

/// A store that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder cannot be opened.
    #[error("cannot open the state in `{}`: is it writable, and used by no other driftd?", folder.display())]
    Open {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: fjall::Error,
    },
    /// The rows cannot be read.
    #[error("cannot read the state in `{}`", folder.display())]
    Read {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: fjall::Error,
    },
    /// The folder is not the one that was opened.
    #[error(
        "the state in `{}` was removed or replaced while driftd ran: what it writes would be in \
         files without a name",
        folder.display()
    )]
    Gone {
        /// The folder.
        folder: PathBuf,
    },
    /// A batch cannot be written.
    #[error("cannot write the state in `{}`: is the disk full?", folder.display())]
    Write {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: fjall::Error,
    },
}

/// Rows of state on disk.
pub struct FolderStore {
    folder: PathBuf,
    /// Of the file that is locked.
    identity: Identity,
    database: Database,
    rows: Keyspace,
    entries: Arc<FolderEntries>,
    mode: PersistMode,
}

impl FolderStore {
    /// Opens the folder of the configuration, or makes it; a relative one starts at `base`.
    pub fn open(config: &StateConfig, base: &Path) -> Result<Self, StoreError> {
        let folder = base.join(&config.folder);
        let open = |source| StoreError::Open { folder: folder.clone(), source };
        clear_half_made(&folder).map_err(|it| open(it.into()))?;
        let forgotten = Forgetting::default();
        let builder = Database::builder(&folder).cache_size(CACHE_BYTES).worker_threads(1);
        let database = builder.with_compaction_filter_factories(forgotten.assigner()).open();
        let database = database.map_err(open)?;
        let rows = database
            .keyspace("rows", || {
                KeyspaceCreateOptions::default().max_memtable_size(WRITE_BUFFER_BYTES)
            })
            .map_err(open)?;
        let mode = match config.durability {
            Durability::Process => PersistMode::Buffer,
            Durability::Power => PersistMode::SyncAll,
        };
        let identity = Identity::of(&folder).map_err(|it| open(it.into()))?;
        let entries = Arc::new(FolderEntries::new(&folder, database.clone(), forgotten));
        Ok(Self { folder, identity, database, rows, entries, mode })
    }

    /// Returns the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the memory that the cache and the write buffers take now.
    pub fn bytes(&self) -> u64 {
        self.database.cache_size() + self.database.write_buffer_size()
    }

    /// Returns the entries of predictions and labels that lie beside the rows.
    pub fn entries(&self) -> Arc<dyn Entries> {
        Arc::clone(&self.entries) as Arc<dyn Entries>
    }

    /// Writes the last batch, to the disk itself.
    pub fn close(self, batch: Batch, entries: EntryBatch) -> Result<(), StoreError> {
        self.write(batch, entries, PersistMode::SyncAll)
    }

    /// Writes rows and entries together. When this returns, they survive what the configuration
    /// asks for.
    pub fn commit_all(&mut self, batch: Batch, entries: EntryBatch) -> Result<(), StoreError> {
        let is_empty = batch.is_empty() && entries.entries.is_empty();
        if is_empty { Ok(()) } else { self.write(batch, entries, self.mode) }
    }

    fn write(
        &self,
        batch: Batch,
        entries: EntryBatch,
        mode: PersistMode,
    ) -> Result<(), StoreError> {
        // Nothing else tells: open files can be written without a name.
        let failed = |source| StoreError::Write { folder: self.folder.clone(), source };
        let identity = found(Identity::of(&self.folder)).map_err(|it| failed(it.into()))?;
        if identity != Some(self.identity) {
            return Err(StoreError::Gone { folder: self.folder.clone() });
        }
        failpoint::disk("store.full", ErrorKind::StorageFull).map_err(|it| failed(it.into()))?;
        let mut changes = self.database.batch().durability(Some(mode));
        for change in batch {
            match change.value {
                Some(value) => changes.insert(&self.rows, change.key, value),
                None => changes.remove(&self.rows, change.key),
            }
        }
        self.entries.add(&mut changes, &entries).map_err(failed)?;
        changes.commit().map_err(failed)?;
        self.entries.forget(entries.forgotten);
        failpoint::disk("store.sync", ErrorKind::Other).map_err(|it| failed(it.into()))
    }
}

impl Store for FolderStore {
    type Error = StoreError;

    fn rows(&self) -> Result<Vec<Row>, StoreError> {
        let rows = self.rows.iter().map(|row| {
            let (key, value) = row.into_inner()?;
            Ok((key.to_vec(), value.to_vec()))
        });
        rows.collect::<Result<_, _>>()
            .map_err(|source| StoreError::Read { folder: self.folder.clone(), source })
    }

    /// When this returns, the batch survives what the configuration asks for.
    fn commit(&mut self, batch: Batch) -> Result<(), StoreError> {
        self.commit_all(batch, EntryBatch::default())
    }
}

/// What tells one file from another of the same name: its device and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity(u64, u64);

impl Identity {
    /// Returns that of a store's lock.
    fn of(folder: &Path) -> io::Result<Self> {
        let lock = fs::metadata(folder.join("lock"))?;
        Ok(Self(lock.dev(), lock.ino()))
    }
}

/// Removes what a process left that ended while it made the store: killed, or for want of room. It
/// held nothing yet, and fjall makes no store over it. Its version is written last, and everything
/// under a lock that is held as long as the store is used.
fn clear_half_made(folder: &Path) -> io::Result<()> {
    let Some(lock) = found(OpenOptions::new().write(true).open(folder.join("lock")))? else {
        return Ok(());
    };
    let (version, journal) = (folder.join("version"), folder.join("0.jnl"));
    let is_made = found(fs::metadata(&version))?.is_some_and(|it| VERSION_BYTES <= it.len());
    if lock.try_lock().is_err() || is_made || !is_blank(&journal)? || has_later(folder)? {
        return Ok(());
    }
    for file in [version, journal] {
        found(fs::remove_file(file))?;
    }
    Ok(())
}

/// Whether there are journals behind the first: something was written.
#[expect(clippy::disallowed_methods, reason = "the edge looks at its folder")]
fn has_later(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let name = PathBuf::from(entry?.file_name());
        if name.extension().is_some_and(|it| it == "jnl") && name != Path::new("0.jnl") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a journal holds nothing: it is made with room, which reads as zeros.
#[expect(clippy::disallowed_methods, reason = "the edge opens files")]
fn is_blank(journal: &Path) -> io::Result<bool> {
    let Some(file) = found(File::open(journal))? else { return Ok(true) };
    let mut file = BufReader::new(file);
    loop {
        let bytes = file.fill_buf()?;
        let (length, is_blank) = (bytes.len(), bytes.iter().all(|byte| *byte == 0));
        if length == 0 || !is_blank {
            return Ok(is_blank);
        }
        file.consume(length);
    }
}

/// Turns a file that is not there into no value.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test damages files")]
mod tests {
    use std::fs;

    use driftd_core::state::{Change, MemoryStore};
    use tempfile::TempDir;

    use super::*;

    fn change(key: &str, value: Option<&str>) -> Change {
        Change { key: key.into(), value: value.map(Into::into) }
    }

    fn config(durability: Durability) -> StateConfig {
        StateConfig { folder: "state".into(), commit_interval_millis: 1_000, durability }
    }

    #[test]
    fn what_was_written_is_there_after_opening_again() {
        for durability in [Durability::Process, Durability::Power] {
            let base = TempDir::new().unwrap();
            let mut store = FolderStore::open(&config(durability), base.path()).unwrap();
            assert_eq!(store.rows().unwrap(), []);
            store.commit(vec![change("a", Some("1")), change("b", Some("2"))]).unwrap();
            store.commit(vec![change("a", None), change("c", Some("3"))]).unwrap();
            drop(store);
            let store = FolderStore::open(&config(durability), base.path()).unwrap();
            let expected = [("b", "2"), ("c", "3")].map(|(key, value)| (key.into(), value.into()));
            assert_eq!(store.rows().unwrap(), expected);
            store.close(vec![change("d", Some("4"))], EntryBatch::default()).unwrap();
            let store = FolderStore::open(&config(durability), base.path()).unwrap();
            assert_eq!(store.rows().unwrap().len(), 3);
        }
    }

    /// Rows after each of the batches, the first of none.
    const BATCHES: [&[(&str, Option<&str>)]; 3] = [
        &[("a", Some("1")), ("b", Some("2"))],
        &[("a", None), ("c", Some("3"))],
        &[("b", Some("4")), ("d", Some("5")), ("e", Some("6"))],
    ];

    /// Returns the journal of a store of [`BATCHES`], and the rows after each of them.
    fn written(base: &Path) -> (PathBuf, Vec<Vec<Row>>) {
        let mut twin = MemoryStore::default();
        let mut store = FolderStore::open(&config(Durability::Power), base).unwrap();
        let mut rows = vec![twin.rows().unwrap()];
        for batch in BATCHES {
            let batch: Batch = batch.iter().map(|(key, value)| change(key, *value)).collect();
            store.commit(batch.clone()).unwrap();
            twin.commit(batch).unwrap();
            assert_eq!(store.rows().unwrap(), twin.rows().unwrap());
            rows.push(twin.rows().unwrap());
        }
        (store.folder().join("0.jnl"), rows)
    }

    #[test]
    fn a_torn_batch_is_no_batch() {
        let base = TempDir::new().unwrap();
        let (journal, rows) = written(base.path());
        let whole = fs::read(&journal).unwrap();
        let length = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        for cut in (0..length).step_by(5) {
            let base = TempDir::new().unwrap();
            let (journal, _) = written(base.path());
            fs::write(&journal, &whole[..cut]).unwrap();
            let store = FolderStore::open(&config(Durability::Power), base.path());
            let found = store.and_then(|store| store.rows());
            let found = found.unwrap_or_else(|error| {
                panic!("cut at {cut} of {length}: {:#}", anyhow::Error::from(error))
            });
            assert!(rows.contains(&found), "cut at {cut} of {length}: {found:?}");
        }
    }

    /// Which of them belong together is for their seal to tell: the numbers by which fjall orders
    /// batches are under no sum.
    #[test]
    fn a_changed_byte_is_an_error_or_rows_that_were_written() {
        let base = TempDir::new().unwrap();
        let (journal, rows) = written(base.path());
        let rows: Vec<Row> = rows.concat();
        let whole = fs::read(&journal).unwrap();
        let length = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        let (mut refused, mut opened) = (0, 0);
        for at in (0..length).step_by(7) {
            let base = TempDir::new().unwrap();
            let (journal, _) = written(base.path());
            let mut changed = whole.clone();
            changed[at] ^= 0x55;
            fs::write(&journal, &changed).unwrap();
            // fjall has assertions of its own about what it reads, in this profile only.
            let read = std::panic::catch_unwind(|| {
                FolderStore::open(&config(Durability::Power), base.path())?.rows()
            });
            let Ok(Ok(found)) = read else {
                refused += 1;
                continue;
            };
            opened += 1;
            let is_known = |row: &Row| rows.contains(row);
            assert!(found.iter().all(is_known), "byte {at} of {length}: {found:?}");
        }
        assert!(0 < refused && 0 < opened, "{refused} and {opened}");
    }

    /// Everything that is made before a store holds something, each step after those before it.
    #[test]
    fn a_store_that_was_never_made_whole_is_made_anew() {
        let steps: [(&str, Option<&[u8]>); 7] = [
            ("lock", Some(b"")),
            ("keyspaces", None),
            ("0.jnl", Some(b"")),
            ("0.jnl", Some(&[0; 10_000])),
            ("version", Some(b"")),
            ("version", Some(b"FJL")),
            ("version", Some(b"FJL\x03")),
        ];
        for count in 1..=steps.len() {
            let base = TempDir::new().unwrap();
            let folder = base.path().join("state");
            fs::create_dir(&folder).unwrap();
            for (name, bytes) in &steps[..count] {
                let path = folder.join(name);
                match bytes {
                    Some(bytes) => fs::write(path, bytes).unwrap(),
                    None => fs::create_dir(path).unwrap(),
                }
            }
            let config = config(Durability::Power);
            let mut store = FolderStore::open(&config, base.path())
                .unwrap_or_else(|error| panic!("{count}: {:#}", anyhow::Error::from(error)));
            store.commit(vec![change("a", Some("1"))]).unwrap();
            drop(store);
            let store = FolderStore::open(&config, base.path()).unwrap();
            assert_eq!(store.rows().unwrap(), [("a".into(), "1".into())], "{count}");
        }
    }

    #[test]
    fn a_journal_that_holds_something_is_not_removed() {
        let base = TempDir::new().unwrap();
        let (journal, _) = written(base.path());
        fs::remove_file(journal.with_file_name("version")).unwrap();
        let before = fs::read(&journal).unwrap();
        assert!(FolderStore::open(&config(Durability::Power), base.path()).is_err());
        assert_eq!(fs::read(&journal).unwrap(), before);
    }

    #[test]
    fn a_store_that_is_removed_or_replaced_is_written_no_more() {
        let base = TempDir::new().unwrap();
        let config = config(Durability::Process);
        let refused = |store: &mut FolderStore| {
            let error = store.commit(vec![change("b", Some("2"))]).unwrap_err();
            assert!(matches!(error, StoreError::Gone { .. }), "{error}");
        };
        let mut first = FolderStore::open(&config, base.path()).unwrap();
        first.commit(vec![change("a", Some("1"))]).unwrap();
        fs::remove_dir_all(first.folder()).unwrap();
        refused(&mut first);
        let mut second = FolderStore::open(&config, base.path()).unwrap();
        refused(&mut first);
        second.commit(vec![change("c", Some("3"))]).unwrap();
        assert_eq!(second.rows().unwrap(), [("c".into(), "3".into())]);
    }

    #[test]
    fn a_folder_has_one_user() {
        let base = TempDir::new().unwrap();
        let _first = FolderStore::open(&config(Durability::Process), base.path()).unwrap();
        let second = FolderStore::open(&config(Durability::Process), base.path()).err().unwrap();
        assert!(second.to_string().contains("used by no other driftd"), "{second}");
    }
}
