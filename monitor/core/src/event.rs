//! The whole contract between the sans-io pipeline and the world: events in, effects out.
//!
//! Before: the edge's threads turn what happens into [`Event`]s. After: [`crate::pipeline`] answers
//! with [`Effect`]s, which the edge carries out.

use std::sync::Arc;

use driftd_alerts::Transition;
use driftd_catalog::event::{CloudEvent, RetrainingRequested, RetrainingStatus};
use driftd_catalog::{PartitionId, Timestamp, WindowSpan};

use crate::labels::PerformanceResult;
use crate::loss::{Loss, LostNews};
use crate::outcomes::{LabelBatch, PredictionBatch};
use crate::partial::Partial;
use crate::result::WindowResult;
use crate::shard::Progress;
use crate::snapshot::Snapshot;
use crate::state::{Checkpoint, Opening};

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// The partitions that a source topic has, over all instances.
    TopicPartitions {
        /// Index into [`crate::config::Config::sources`].
        source: usize,
        /// All of them.
        partitions: Vec<PartitionId>,
    },
    /// Partitions that this process reads from now on.
    Assigned {
        /// Index into [`crate::config::Config::sources`].
        source: usize,
        /// The additional ones.
        partitions: Vec<PartitionId>,
    },
    /// Partitions that this process reads no more.
    Revoked {
        /// Index into [`crate::config::Config::sources`].
        source: usize,
        /// The lost ones.
        partitions: Vec<PartitionId>,
    },
    /// A partition that this process still owns, and cannot read until it has tried again. It is
    /// waited for as one that makes no progress.
    LetGo(PartitionId),
    /// Counts of a window in one partition.
    Partial(Box<Partial>),
    /// Counts of a partition that cannot be added to others: they were made otherwise.
    LeftOut {
        /// Name of their model; it may not be configured here.
        model: Arc<str>,
        /// Where they come from.
        partition: PartitionId,
        /// The pane that they are missing from.
        span: WindowSpan,
    },
    /// How far a partition has been read.
    Progress(Box<Progress>),
    /// Rejected records were stored in the dead-letter topic, or could not be.
    DeadLettered {
        /// Index into [`crate::config::Config::sources`].
        source: usize,
        /// Acknowledged by the broker.
        stored: u64,
        /// Larger than the topic takes, or than is sent.
        too_large: u64,
        /// Refused for another reason, or timed out.
        failed: u64,
    },
    /// The Kafka client reported an error.
    ClientError {
        /// Index into [`crate::config::Config::sources`].
        source: usize,
        /// Short stable name of the error.
        kind: &'static str,
    },
    /// A partition is read no more: records that it would read next are lost.
    Stalled {
        /// Which.
        partition: PartitionId,
        /// What is lost.
        loss: Loss,
    },
    /// Records of a partition are lost, and a person has accepted it: news from its reader, where
    /// that is another process.
    Lost {
        /// Whose.
        partition: PartitionId,
        /// What is known of them.
        news: LostNews,
    },
    /// Where partitions end now.
    Ends {
        /// Index into [`crate::config::Config::sources`].
        source: usize,
        /// The offset that the next record of each will get.
        ends: Vec<(PartitionId, i64)>,
    },
    /// How far other processes have read partitions, as they last said.
    Elsewhere {
        /// Index into [`crate::config::Config::sources`].
        source: usize,
        /// Next offset, and how far in event time.
        standings: Vec<(PartitionId, i64, Option<Timestamp>)>,
    },
    /// What a partition holds, for the store.
    Checkpoint(Box<Checkpoint>),
    /// Predictions whose labels are waited for.
    Predictions(Box<PredictionBatch>),
    /// Labels.
    Labels(Box<LabelBatch>),
    /// Messages may be sent: the first event of a pipeline that sends.
    OutboxOpened(Opening),
    /// Messages of the outbox are in their topics, or were given up.
    OutputsSent {
        /// Number of the first that is not.
        to: u64,
    },
    /// The broker answered for a retraining event.
    RetrainDelivered {
        /// Id of the event.
        id: Arc<str>,
        /// Whether it was stored; if not, it was given up.
        stored: bool,
    },
    /// The broker answered for lines of results, since the last such event.
    ResultsDelivered {
        /// Stored in the topic.
        stored: u64,
        /// Refused for good.
        failed: u64,
    },
    /// The launcher reported on a job.
    RetrainReported(RetrainingStatus),
    /// The input is finite and has ended: nothing more will come.
    InputEnded,
    /// Time has passed.
    Tick,
}

/// Something to do.
#[derive(Debug)]
pub enum Effect {
    /// Show this picture.
    Publish(Arc<Snapshot>),
    /// A window was evaluated. Its lines of results are in the outbox.
    Window(Arc<WindowResult>),
    /// No more labels can come for a window. Its lines of results are in the outbox.
    Performance(Arc<PerformanceResult>),
    /// An episode opened or closed.
    Episode(Transition),
    /// A retraining is asked for. The event is in the outbox.
    Retrain(Box<CloudEvent<RetrainingRequested>>),
    /// Report the open windows of this partition.
    Flush(PartitionId),
    /// Stop fetching this partition, but keep polling.
    Pause(PartitionId),
    /// Fetch this partition again.
    Resume(PartitionId),
}
