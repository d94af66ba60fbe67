//! Checks the bounds on memory.
//!
//! Before: [`super`]. After: the edge adds up its budget and opens its queues by them.

use super::super::MemoryConfig;
use super::super::error::{Findings, Noted};
use super::super::raw::RawMemory;
use super::super::size;
use super::super::text::SizeText;

/// What librdkafka takes for a queue, and what is of any use.
const FETCH_QUEUE_BYTES: std::ops::RangeInclusive<u64> = (1 << 20)..=(1 << 30);

/// Checks the bounds.
pub(super) fn memory(raw: &RawMemory, findings: &mut Findings) -> Result<MemoryConfig, Noted> {
    let limit = raw.limit.as_ref().map(|it| bytes(it, "memory.limit", findings));
    let fetch_queue = bytes(&raw.fetch_queue, "memory.fetch_queue", findings);
    let limit_bytes = limit.transpose()?;
    let fetch_queue_bytes = fetch_queue?;
    if !FETCH_QUEUE_BYTES.contains(&fetch_queue_bytes) {
        let problem = format!("is `{}`", raw.fetch_queue.0);
        let hint = "use an amount between `1MiB` and `1GiB`";
        return Err(findings.add("memory.fetch_queue", &problem, hint));
    }
    Ok(MemoryConfig { limit_bytes, fetch_queue_bytes })
}

fn bytes(text: &SizeText, path: &str, findings: &mut Findings) -> Result<u64, Noted> {
    size::parse(&text.0).ok_or_else(|| {
        findings.add(path, &format!("`{}` is no amount of memory", text.0), size::HINT)
    })
}
