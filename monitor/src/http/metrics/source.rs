//! Families about what is read: topics and their partitions.
//!
//! Before: [`super`] takes the snapshot. After: [`super::super::families`].

use std::collections::BTreeMap;

use driftd_catalog::label::{OUTCOME_FAILED, OUTCOME_PUBLISHED, OUTCOME_TOO_LARGE};
use driftd_catalog::{Timestamp, metric};
use driftd_core::fields::FieldProblem;
use driftd_core::loss::Loss;
use driftd_core::snapshot::{JoinSnapshot, PartitionSnapshot, Snapshot, SourceSnapshot};
use driftd_ingest::{RejectReason, Side};

use crate::http::HttpState;
use crate::http::families::Families;
use crate::kafka::abandoned;
use crate::kafka::error_kind::ERROR_KINDS;

pub(super) fn collect(families: &mut Families, state: &HttpState, snapshot: &Snapshot) {
    let stalled = |families: &mut Families, topic: &str| {
        let stalled = state.health.stalled_of(topic) as f64;
        families.gauge(&metric::KAFKA_STALLED_PARTITIONS, &[topic], stalled);
    };
    if let Some(scale_out) = &state.config.scale_out {
        stalled(families, &scale_out.partials_topic);
        families.gauge(&metric::LANES, &[], f64::from(scale_out.lanes));
        families.gauge(&metric::LANES_OWNED, &[], snapshot.lanes.len() as f64);
        for lane in &snapshot.lanes {
            let labels = [&*scale_out.partials_topic, &lane.lane.to_string()];
            families.gauge_if_known(
                &metric::LANE_LAG_ROWS,
                &labels,
                lane.lag().map(|it| it as f64),
            );
        }
    }
    families.gauge(&metric::KAFKA_ABANDONED_CALLS, &[], abandoned::count() as f64);
    let mut errors: BTreeMap<&str, u64> = ERROR_KINDS.iter().map(|kind| (*kind, 0)).collect();
    for source in &snapshot.sources {
        topic(families, source);
        stalled(families, &source.topic);
        let assigned = snapshot.partitions.iter().filter(|it| it.id.topic == source.topic).count();
        families.gauge(&metric::KAFKA_ASSIGNED_PARTITIONS, &[&source.topic], assigned as f64);
        for (kind, count) in &source.errors {
            *errors.entry(kind).or_default() += count;
        }
    }
    let rebalances = snapshot.sources.iter().map(|source| source.rebalances).sum();
    families.counter(&metric::KAFKA_REBALANCES_TOTAL, &[], rebalances);
    for (kind, count) in errors {
        families.counter(&metric::KAFKA_ERRORS_TOTAL, &[kind], count);
    }
    for source in &snapshot.partitions {
        partition(families, source, snapshot.taken_at);
    }
}

fn topic(families: &mut Families, source: &SourceSnapshot) {
    let topic = &*source.topic;
    for (metric, count) in [
        (&metric::RECORDS_CONSUMED_TOTAL, source.messages),
        (&metric::CONSUMED_BYTES_TOTAL, source.bytes),
        (&metric::CLAMPED_TIMESTAMPS_TOTAL, source.clamped),
        (&metric::RECORDS_OVER_LIMIT_TOTAL, source.over_limit),
    ] {
        families.counter(metric, &[topic], count);
    }
    for reason in RejectReason::ALL {
        let count = source.rejected.get(&reason).copied().unwrap_or(0);
        families.counter(&metric::RECORDS_REJECTED_TOTAL, &[topic, reason.as_str()], count);
    }
    for (kind, count) in &source.skipped {
        families.counter(&metric::CHANGES_SKIPPED_TOTAL, &[topic, kind.as_str()], *count);
    }
    for problem in FieldProblem::ALL {
        let fields = source.fields.iter().filter(|it| it.problem == problem).count();
        families.gauge(&metric::FIELDS_CHANGED, &[topic, problem.as_str()], fields as f64);
    }
    join(families, topic, source.join.unwrap_or_default());
    for (outcome, count) in [
        (OUTCOME_PUBLISHED, source.dead_lettered),
        (OUTCOME_TOO_LARGE, source.dead_letter_too_large),
        (OUTCOME_FAILED, source.dead_letter_failed),
    ] {
        families.counter(&metric::DEAD_LETTER_RECORDS_TOTAL, &[topic, outcome], count);
    }
}

/// Requests and responses; of a topic where they are not joined there are none.
fn join(families: &mut Families, topic: &str, JoinSnapshot { counts, waiting }: JoinSnapshot) {
    families.counter(&metric::JOINED_PAIRS_TOTAL, &[topic], counts.joined);
    for (reason, by_side) in counts.left_out() {
        for side in Side::ALL {
            let labels = [topic, side.as_str(), reason];
            families.counter(&metric::JOIN_LEFT_OUT_TOTAL, &labels, by_side.of(side));
        }
    }
    families.gauge(&metric::JOIN_WAITING, &[topic], waiting.halves as f64);
    families.gauge(&metric::JOIN_WAITING_BYTES, &[topic], waiting.bytes as f64);
}

fn partition(families: &mut Families, partition: &PartitionSnapshot, now: Timestamp) {
    let labels = [&*partition.id.topic, &partition.id.partition.to_string()];
    let records = lag(partition).map(|lag| lag as f64);
    families.gauge_if_known(&metric::KAFKA_CONSUMER_LAG_RECORDS, &labels, records);
    let seconds = lag_seconds(partition, now);
    families.gauge_if_known(&metric::KAFKA_CONSUMER_LAG_SECONDS, &labels, seconds);
    let next_offset = partition.next_offset.map(|it| it as f64);
    families.gauge_if_known(&metric::KAFKA_CONSUMER_NEXT_OFFSET, &labels, next_offset);
    let watermark = partition.watermark.map(Timestamp::as_seconds_f64);
    families.gauge_if_known(&metric::SOURCE_WATERMARK_TIMESTAMP_SECONDS, &labels, watermark);
    families.gauge(&metric::SOURCE_PARTITION_IDLE, &labels, f64::from(u8::from(partition.idle)));
    families.gauge(
        &metric::SOURCE_PARTITION_PAUSED,
        &labels,
        f64::from(u8::from(partition.paused)),
    );
    let stalled = partition.stalled.map(Loss::reason);
    for reason in Loss::REASONS {
        let labels = [labels[0], labels[1], reason];
        let is_stalled = f64::from(u8::from(stalled == Some(reason)));
        families.gauge(&metric::KAFKA_PARTITION_STALLED, &labels, is_stalled);
    }
}

/// Returns the messages that are in the partition and not read yet. Absent until its end was seen.
pub(in crate::http) fn lag(partition: &PartitionSnapshot) -> Option<u64> {
    let end = partition.high_watermark?;
    Some(u64::try_from(end.saturating_sub(partition.next_offset?)).unwrap_or(0))
}

/// Returns the age of the watermark while something is not read yet, else 0. Absent until the end
/// was seen, and without a watermark where there is something to read.
pub(in crate::http) fn lag_seconds(partition: &PartitionSnapshot, now: Timestamp) -> Option<f64> {
    if lag(partition)? == 0 {
        return Some(0.0);
    }
    let age = now.as_seconds_f64() - partition.watermark?.as_seconds_f64();
    Some(age.max(0.0))
}
