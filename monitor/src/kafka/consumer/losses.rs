//! Partitions that a consumer thread reads no more, because records are lost.
//!
//! Before: [`super`] hears that an offset is out of range, or reads a record that is another one
//! than before. After: the log, readiness, and [`Event::Stalled`] for the pipeline; a person
//! decides ([`crate::accept`]).

use std::collections::BTreeMap;

use super::SourceConsumer;
use crate::accept;
use crate::clock;
use crate::kafka::gone::Unexplained;
use crate::kafka::loss::{self, Found};
use crate::kafka::stalls::Outlook;
use driftd_catalog::{PartitionId, Timestamp};
use driftd_core::event::Event;
use driftd_core::loss::Loss;
use rdkafka::consumer::Consumer as _;

/// Why a partition is read no more.
#[derive(Debug, thiserror::Error)]
#[error("{loss}; {advice}")]
struct LostRecords {
    loss: Loss,
    advice: String,
}

impl SourceConsumer {
    /// Finds out which partitions the client has let go of, because records are lost that it would
    /// read next, and has a person decide about each. The others are read on; where none can be
    /// made out, each may be the one, and all begin again where they are.
    pub(super) fn look_for_losses(&mut self, now: Timestamp) {
        let partitions: Vec<PartitionId> = self.decoders.keys().cloned().collect();
        for partition in &partitions {
            self.count(now, partition);
        }
        let read = self.shard.positions().filter(|(id, _)| !self.stalled.contains(*id));
        let (mut known, mut fresh) = (BTreeMap::new(), Vec::new());
        for (id, position) in read {
            match position {
                Some(position) => drop(known.insert(id.clone(), position)),
                // The oldest record was deleted before it came, so the next oldest is the first.
                None => fresh.push(id.clone()),
            }
        }
        let Found { lost, suspects } = loss::find(&self.client, &known);
        for (partition, loss) in lost {
            self.stall(partition, loss);
        }
        for partition in suspects.into_iter().chain(fresh) {
            self.let_go(now, &partition, Unexplained);
        }
    }

    /// Reads a partition no more. It is waited for like a slow one: what it would have added is not
    /// known.
    fn stall(&mut self, partition: PartitionId, loss: Loss) {
        if self.stalled.contains(&partition) {
            return;
        }
        // The client has let go of it, or reads what is another log.
        self.client.context().stop(&self.client, partition.partition);
        self.stalled.insert(partition.clone());
        let advice = accept::advice(&self.parts.config, &partition);
        let why = LostRecords { loss, advice };
        self.stalls.stand(clock::now(), partition.partition, why, Outlook::Stays);
        self.shard.wait_for(&partition, &mut self.outputs);
        self.send_outputs();
        self.outbox.push(Event::Stalled { partition, loss });
    }

    /// Finds partitions in which another record lies where one was read before.
    pub(super) fn look_for_other_logs(&mut self) {
        let others: Vec<PartitionId> = self
            .decoders
            .iter()
            .filter(|(id, batch)| batch.is_other_log() && !self.stalled.contains(*id))
            .map(|(id, _)| id.clone())
            .collect();
        for partition in others {
            let mut positions = self.shard.positions();
            let position = positions.find(|(id, _)| **id == partition);
            let next_offset = position.and_then(|(_, position)| position);
            drop(positions);
            if let Some(next_offset) = next_offset {
                self.stall(partition, Loss::Recreated { next_offset });
            }
        }
    }
}
