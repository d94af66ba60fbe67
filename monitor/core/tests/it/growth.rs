//! A topic that has more partitions at some time: the new ones have records from then on, and so
//! have the others.
//!
//! Before: drafts of what comes later. After: [`crate::simulation`] and [`crate::cluster`] add it
//! while they run, and [`crate::recount`] counts logs that held it all the time. Nothing of a new
//! partition is older than what was there before, so no window can have ended without it.

use proptest::prelude::*;

use crate::log::{Draft, Record, records, topics, used_time};

/// What comes later.
#[derive(Clone, Debug)]
pub(crate) struct Growth {
    /// Steps before.
    pub(crate) at: usize,
    /// Records by partition; there are more than before.
    pub(crate) more: Vec<Vec<Record>>,
}

/// Draws after how many steps it comes, and the records: first those of a new partition.
pub(crate) fn growths() -> impl Strategy<Value = Option<(usize, Vec<Vec<Draft>>)>> {
    prop::option::weighted(0.3, (0..8_usize, topics(1..5)))
}

impl Growth {
    /// Returns what comes later than these logs.
    pub(crate) fn of(logs: &[Vec<Record>], (at, drafts): (usize, Vec<Vec<Draft>>)) -> Self {
        let newest = logs.iter().flatten().map(used_time).max();
        let mut later = drafts.iter().map(|drafts| {
            let records = records(drafts);
            let oldest = records.iter().map(used_time).min();
            let ahead = newest
                .zip(oldest)
                .map_or(0, |(newest, oldest)| newest.as_millis() - oldest.as_millis());
            let moved = records.into_iter().map(|it| Record {
                event_time: it.event_time.plus_millis(ahead),
                kafka_time: it.kafka_time.map(|time| time.plus_millis(ahead)),
                ..it
            });
            moved.collect::<Vec<_>>()
        });
        let first = later.next();
        let mut more: Vec<Vec<Record>> = later.by_ref().take(logs.len()).collect();
        more.resize_with(logs.len(), Vec::new);
        more.extend(first);
        more.extend(later);
        Self { at, more }
    }

    /// Returns the logs with everything in them.
    pub(crate) fn grown(&self, logs: &[Vec<Record>]) -> Vec<Vec<Record>> {
        let mut logs = logs.to_vec();
        logs.resize_with(self.more.len(), Vec::new);
        for (log, more) in logs.iter_mut().zip(&self.more) {
            produce(log, more);
        }
        logs
    }
}

/// Adds records at the end of a log.
pub(crate) fn produce(log: &mut Vec<Record>, records: &[Record]) {
    let end = log.last().map_or(0, |record| record.offset + 1);
    log.extend(records.iter().map(|it| Record { offset: end + it.offset, ..it.clone() }));
}
