//! A partition of a cluster's topic in miniature: rows that transactions wrote, in one log.
//!
//! Before: [`crate::cluster`] writes rows, each in a transaction. After: whoever reads committed
//! rows sees those of committed transactions, and none behind one that is not decided. Rows of an
//! aborted transaction lie in the log all the same, and so do old rows of a key, until the log is
//! compacted.

use std::collections::BTreeMap;

use driftd_core::state::Row;

/// Number of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TransactionId(usize);

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Open,
    Aborted,
    Committed,
}

/// All transactions of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Verdicts(Vec<Verdict>);

impl Verdicts {
    pub(crate) fn begin(&mut self) -> TransactionId {
        self.0.push(Verdict::Open);
        TransactionId(self.0.len() - 1)
    }

    pub(crate) fn of(&self, id: TransactionId) -> Verdict {
        self.0[id.0]
    }

    /// Decides a transaction, which nobody has decided otherwise.
    pub(crate) fn decide(&mut self, id: TransactionId, verdict: Verdict) {
        assert_eq!(self.0[id.0], Verdict::Open, "{id:?} is decided twice");
        self.0[id.0] = verdict;
    }
}

#[derive(Debug)]
struct Written {
    offset: i64,
    transaction: TransactionId,
    key: Vec<u8>,
    /// Absent: the key is no more.
    value: Option<Vec<u8>>,
}

/// A partition of a topic.
#[derive(Debug, Default)]
pub(crate) struct TopicLog {
    written: Vec<Written>,
    next_offset: i64,
    /// What lay before is deleted.
    start: i64,
    /// Nobody brings the records by which transactions are decided.
    is_cut_off: bool,
    /// Transactions that are decided, which is not to be seen here yet.
    unmarked: Vec<TransactionId>,
}

impl TopicLog {
    pub(crate) fn write(
        &mut self,
        transaction: TransactionId,
        (key, value): (Vec<u8>, Option<Vec<u8>>),
    ) {
        self.written.push(Written { offset: self.next_offset, transaction, key, value });
        self.next_offset += 1;
    }

    /// Takes the record by which a transaction is decided, now or when it comes: the coordinator
    /// writes one to each topic, and a reader of one may have it long before those of another.
    pub(crate) fn mark(&mut self, transaction: TransactionId) {
        if self.written.iter().any(|it| it.transaction == transaction) {
            self.unmarked.push(transaction);
        }
        if !self.is_cut_off {
            self.join();
        }
    }

    /// Nothing tells here from now on what becomes of transactions.
    pub(crate) fn cut_off(&mut self) {
        self.is_cut_off = true;
    }

    /// Takes what tells what became of transactions. Each is a record, and no row.
    pub(crate) fn join(&mut self) {
        self.is_cut_off = false;
        self.next_offset += i64::try_from(self.unmarked.len()).unwrap();
        self.unmarked.clear();
    }

    /// Returns the transactions that are decided, which is not to be seen here.
    pub(crate) fn unmarked(&self) -> &[TransactionId] {
        &self.unmarked
    }

    /// Returns the transactions that are not decided.
    pub(crate) fn open(&self, verdicts: &Verdicts) -> Vec<TransactionId> {
        let is_open = |id: &TransactionId| verdicts.of(*id) == Verdict::Open;
        let mut open: Vec<_> = self.written.iter().map(|it| it.transaction).collect();
        open.retain(is_open);
        open.dedup();
        open
    }

    /// Rows that are decided as far as is to be seen here, up to the first that is not.
    fn stable(&self, verdicts: &Verdicts) -> usize {
        let is_open =
            |id: TransactionId| verdicts.of(id) == Verdict::Open || self.unmarked.contains(&id);
        let open = self.written.iter().position(|it| is_open(it.transaction));
        open.unwrap_or(self.written.len())
    }

    /// Returns what a reader of committed rows gets from an offset on, and where it goes on behind
    /// each.
    pub(crate) fn committed<'a>(
        &'a self,
        verdicts: &'a Verdicts,
        from: i64,
    ) -> impl Iterator<Item = (i64, &'a [u8], Option<&'a [u8]>)> {
        let stable = &self.written[..self.stable(verdicts)];
        let own = stable.iter().filter(move |it| {
            from <= it.offset && verdicts.of(it.transaction) == Verdict::Committed
        });
        own.map(|it| (it.offset + 1, &*it.key, it.value.as_deref()))
    }

    /// Returns the newest row of each key, as the state topic is read.
    pub(crate) fn rows(&self, verdicts: &Verdicts) -> Vec<Row> {
        let mut rows = BTreeMap::new();
        for (_, key, value) in self.committed(verdicts, 0) {
            match value {
                Some(value) => rows.insert(key.to_vec(), value.to_vec()),
                None => rows.remove(key),
            };
        }
        rows.into_iter().collect()
    }

    /// Compacts the oldest rows: of each key the newest of them stays, and of the others those that
    /// `keeps`; where `is_late`, keys that are no more are forgotten too. Returns how many old rows
    /// and how many ends of keys went.
    pub(crate) fn compact(
        &mut self,
        verdicts: &Verdicts,
        (rows, is_late): (usize, bool),
        keeps: impl Fn(i64) -> bool,
    ) -> (usize, usize) {
        let cleaned = rows.min(self.stable(verdicts));
        let is_committed = |it: &Written| verdicts.of(it.transaction) == Verdict::Committed;
        let mut newest: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
        for it in self.written[..cleaned].iter().filter(|it| is_committed(it)) {
            newest.insert(it.key.clone(), it.offset);
        }
        let (mut old, mut ended) = (0, 0);
        let mut is_whole = BTreeMap::new();
        let mut at = 0;
        self.written.retain(|it| {
            at += 1;
            if cleaned < at {
                return true;
            }
            if !is_committed(it) {
                return keeps(it.offset);
            }
            if newest[&it.key] != it.offset {
                // An old row outlives the end of its key only together with that.
                let stays = keeps(it.offset);
                old += usize::from(!stays);
                *is_whole.entry(it.key.clone()).or_insert(true) &= !stays;
                return stays;
            }
            let is_end = it.value.is_none() && is_whole.get(&it.key).copied().unwrap_or(true);
            ended += usize::from(is_late && is_end);
            !(is_late && is_end)
        });
        (old, ended)
    }

    /// Deletes what lies before an offset, as retention does; returns whether there was anything.
    pub(crate) fn delete_before(&mut self, offset: i64) -> bool {
        let before = self.written.len();
        self.written.retain(|it| offset <= it.offset);
        self.start = self.start.max(offset);
        self.written.len() < before
    }

    /// Returns whether rows are deleted that a reader would get from an offset on.
    pub(crate) fn is_cut_behind(&self, offset: i64) -> bool {
        offset < self.start
    }
}
