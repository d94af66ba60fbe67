//! A partition whose next offset is not in the log: which one it is, and what a person can do.
//!
//! Before: the client reports that an offset is out of range, but not of which partition. After:
//! [`crate::kafka::stalls`] shows that partition, and the others are read.

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use tracing::warn;

use crate::kafka::watch::ANSWER_TIMEOUT;

/// Skipping records, or reading them twice, is for a person to decide.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "its next offset {next} is not in the log, which holds {oldest} to {end}, because records were \
     deleted or the topic was created anew; {advice}"
)]
pub(crate) struct OffsetGone {
    next: i64,
    oldest: i64,
    end: i64,
    advice: &'static str,
}

/// Where it is not known which partition it is.
pub(crate) const UNKNOWN: &str = "a partition is not read: its next offset is not in the log; the \
    next start or change of the group tells which";
/// For readers of shared work.
pub(crate) const ADVICE_SHARED: &str = "to read from `start`, name another `kafka.group` and other \
    topics in `scale_out`; everything is counted anew";
/// For lanes.
pub(crate) const ADVICE_LANE: &str = "the counts that readers passed on in between are lost; to count \
    anew, name another `kafka.group` and other topics in `scale_out`, and give the topic of \
    partials a longer retention";

/// Returns which of the partitions, each with its next offset, cannot be read.
pub(crate) fn look<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    topic: &str,
    read: impl IntoIterator<Item = (i32, i64)>,
    advice: &'static str,
) -> Vec<(i32, OffsetGone)> {
    let mut gone = Vec::new();
    for (partition, next) in read {
        match client.fetch_watermarks(topic, partition, ANSWER_TIMEOUT) {
            Ok((oldest, end)) if next < oldest || end < next => {
                gone.push((partition, OffsetGone { next, oldest, end, advice }));
            }
            Ok(_) => {}
            Err(error) => {
                warn!(topic, partition, %error, "cannot see the bounds of the partition");
            }
        }
    }
    gone
}
