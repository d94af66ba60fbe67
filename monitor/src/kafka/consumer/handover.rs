//! How a consumer thread ends to read partitions: for good, or until it tries again.
//!
//! Before: [`super`] hears that the group has given partitions to others, or meets what keeps one
//! from being read. After: what was counted is on its way to the pipeline before anybody else may
//! read them.

use driftd_catalog::{PartitionId, Timestamp};
use driftd_core::PartitionState;
use driftd_core::event::Event;
use rdkafka::consumer::Consumer as _;
use tracing::info;

use super::SourceConsumer;
use crate::clock;
use crate::kafka::stalls::Outlook;

impl SourceConsumer {
    pub(super) fn hand_over(&mut self, now: Timestamp, partitions: &[PartitionId]) {
        info!(topic = %self.topic(), ?partitions, "partitions revoked");
        let mut revoked = Vec::new();
        for id in partitions {
            self.stalls.leave(id.partition);
            self.waiting.remove(&id.partition);
            // Of one that was never read here somebody else may tell by now.
            if self.later.remove(id) || self.decoders.contains_key(id) {
                revoked.push(id.clone());
            }
        }
        let source = self.parts.source;
        let event = Event::Revoked { source, partitions: revoked };
        for state in self.release(now, partitions, event) {
            self.parts.parked.park(state);
        }
        for id in partitions {
            self.parts.parked.leave(id);
        }
    }

    /// Reads a partition no more that the group leaves here, until it is tried again.
    pub(super) fn let_go(
        &mut self,
        now: Timestamp,
        id: &PartitionId,
        why: impl std::error::Error + Send + Sync + 'static,
    ) {
        let partition = id.partition;
        self.client.context().stop(&self.client, partition);
        // Windows that are not to wait for it any longer have what was counted, and a start
        // meanwhile knows where it stands.
        self.flush(id);
        self.shard.checkpoint(&mut self.outputs);
        self.send_outputs();
        for state in self.release(now, std::slice::from_ref(id), Event::LetGo(id.clone())) {
            self.parts.parked.keep(state);
        }
        self.later.insert(id.clone());
        // What was told meanwhile may have been waited for.
        self.stalls.stand(clock::now(), partition, why, Outlook::Passes);
    }

    /// Lets go of partitions that are no longer read here, which the event says; returns what the
    /// next reader in this process goes on with.
    fn release(
        &mut self,
        now: Timestamp,
        partitions: &[PartitionId],
        event: Event,
    ) -> Vec<PartitionState> {
        for partition in partitions {
            self.count(now, partition);
            self.decoders.remove(partition);
            self.held.remove(partition);
            self.stalled.remove(partition);
        }
        // The next reader may be another thread, which reports past what is still on its way here.
        self.outbox.push(event);
        self.drain();
        let mut states = Vec::new();
        for partition in partitions {
            let state = self.shard.release(partition);
            match &mut self.sharing {
                // Whoever reads it next has what was committed, and counts the rest again.
                Some(sharing) => sharing.revoke(partition),
                None => states.extend(state),
            }
        }
        states
    }
}
