//! A partition whose next offset is not in the log: what is said of it, and what a person can do.
//!
//! Before: [`crate::kafka::loss`] finds which partition it is. After: [`crate::kafka::stalls`]
//! shows it, and the others are read.

use driftd_core::loss::Loss;

/// Rows of a lane that its owner has not read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("its next offset is not in the log: {0}; {ADVICE_LANE}")]
pub(crate) struct RowsLost(pub(crate) Loss);

/// Whose next offset was said not to be in a log, and whose it was cannot be seen.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error(
    "an offset was said not to be in the log, and where it begins and ends does not tell which"
)]
pub(crate) struct Unexplained;

/// For lanes.
const ADVICE_LANE: &str = "the counts that readers passed on in between are lost; to count \
    anew, name another `kafka.group` and other topics in `scale_out`, and give the topic of \
    partials a longer retention";
