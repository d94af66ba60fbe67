//! Families about the process as a whole: build, queue, memory, windows, requests.
//!
//! Before: [`super`] takes the snapshot. After: [`super::super::families`].

use driftd_catalog::label::{MemoryOwner, OUTCOME_FAILED, OUTCOME_PUBLISHED, OUTCOME_SUCCEEDED};
use driftd_catalog::{Timestamp, metric};
use driftd_core::snapshot::{Snapshot, Totals};

use crate::courier;
use crate::http::families::{Families, Observed};
use crate::http::instruments::Distribution;
use crate::http::{HttpState, LaneCounts};
use crate::memory::{held, process};

pub(super) fn collect(families: &mut Families, state: &HttpState, snapshot: &Snapshot) {
    families.gauge(&metric::BUILD_INFO, &[env!("CARGO_PKG_VERSION"), state.simd], 1.0);

    let tracked: usize = snapshot
        .models
        .iter()
        .filter_map(|model| state.config.models.get(model.config))
        .map(|config| config.features.len())
        .sum();
    families.gauge(&metric::TRACKED_FEATURES, &[], tracked as f64);

    families.gauge(&metric::STATE_BYTES, &[], snapshot.state_bytes as f64);
    memory(families, state, snapshot);
    let stored_at = state.instruments.stored_at().map(Timestamp::as_seconds_f64);
    families.gauge_if_known(&metric::STATE_STORED_TIMESTAMP_SECONDS, &[], stored_at);
    let counts = match &state.config.scale_out {
        Some(_) => state.instruments.lanes(),
        None => LaneCounts::between(&Totals::default(), &snapshot.totals),
    };
    families.counter(&metric::RETRAIN_JOBS_TOTAL, &[OUTCOME_SUCCEEDED], counts.jobs_succeeded);
    families.counter(&metric::RETRAIN_JOBS_TOTAL, &[OUTCOME_FAILED], counts.jobs_failed);
    families.counter(&metric::RESULT_LINES_TOTAL, &[OUTCOME_PUBLISHED], counts.results_stored);
    families.counter(&metric::RESULT_LINES_TOTAL, &[OUTCOME_FAILED], counts.results_failed);
    families.counter(&metric::LEFT_OUT_COUNTS_TOTAL, &[], counts.left_out);

    let instruments = &state.instruments;
    let (queued, queued_max) = instruments.queue();
    families.gauge(&metric::PIPELINE_QUEUE_BATCHES, &[], queued as f64);
    families.gauge(&metric::PIPELINE_QUEUE_BATCHES_MAX, &[], queued_max as f64);
    let (messages, bytes) = instruments.outbox_waiting();
    families.gauge(&metric::OUTBOX_MESSAGES, &[], messages as f64);
    families.gauge(&metric::OUTBOX_BYTES, &[], bytes as f64);
    families.gauge(&metric::OUTBOX_BYTES_MAX, &[], courier::BYTES_MAX as f64);
    durations(
        families,
        &metric::EVALUATION_DURATION_SECONDS,
        &[],
        &instruments.evaluations().read(),
    );
    for (key, count) in instruments.requests() {
        let labels = [key.route, key.method, &key.code.to_string()];
        families.counter(&metric::HTTP_REQUESTS_TOTAL, &labels, count);
    }
    for (route, answers) in instruments.answers() {
        durations(families, &metric::HTTP_REQUEST_DURATION_SECONDS, &[route], &answers.read());
    }
    process(families, state);
}

/// What is expected, what is measured, and what there is.
fn memory(families: &mut Families, state: &HttpState, snapshot: &Snapshot) {
    for (owner, bytes) in state.memory.budget.owners() {
        families.gauge(&metric::MEMORY_BUDGET_BYTES, &[owner.as_str()], *bytes as f64);
    }
    let histories = snapshot.models.iter().flat_map(|model| &model.segments);
    let deciding = snapshot.waiting_bytes + snapshot.panes_bytes;
    let measured = [
        (MemoryOwner::WindowsReading, snapshot.state_bytes.saturating_sub(deciding)),
        (MemoryOwner::WindowsWaiting, snapshot.waiting_bytes),
        (MemoryOwner::Panes, snapshot.panes_bytes),
        (MemoryOwner::Labels, snapshot.performance.values().map(|it| it.bytes).sum()),
        (
            MemoryOwner::Outbox,
            state.instruments.outbox_waiting().1 + held::bytes(MemoryOwner::Outbox),
        ),
        (MemoryOwner::History, histories.map(|segment| segment.history.bytes()).sum()),
        (MemoryOwner::Store, state.instruments.store_bytes()),
    ];
    let held = [
        MemoryOwner::FetchQueues,
        MemoryOwner::Batches,
        MemoryOwner::Joins,
        MemoryOwner::Checkpoints,
        MemoryOwner::References,
        MemoryOwner::ProducerQueues,
    ]
    .map(|owner| (owner, held::bytes(owner)));
    for (owner, bytes) in measured.into_iter().chain(held) {
        families.gauge(&metric::MEMORY_BYTES, &[owner.as_str()], bytes as f64);
    }
    let limit = state.memory.limit.map(|limit| limit.bytes() as f64);
    families.gauge_if_known(&metric::MEMORY_LIMIT_BYTES, &[], limit);
}

/// What the system tells of the process.
fn process(families: &mut Families, state: &HttpState) {
    let resident = process::resident_bytes().map(|bytes| bytes as f64);
    families.gauge_if_known(&metric::PROCESS_RESIDENT_MEMORY_BYTES, &[], resident);
    if let Some(seconds) = process::cpu_seconds() {
        families.counter_of_seconds(&metric::PROCESS_CPU_SECONDS_TOTAL, &[], seconds);
    }
    let started = state.started.as_seconds_f64();
    families.gauge(&metric::PROCESS_START_TIME_SECONDS, &[], started);
    let files = process::open_fds().map(|files| files as f64);
    families.gauge_if_known(&metric::PROCESS_OPEN_FDS, &[], files);
}

fn durations(
    families: &mut Families,
    metric: &metric::Metric,
    labels: &[&str],
    distribution: &Distribution,
) {
    let cumulative: Vec<u64> = distribution.buckets.iter().map(|(_, count)| *count).collect();
    let observed =
        Observed { cumulative: &cumulative, count: distribution.count, sum: distribution.sum };
    families.histogram(metric, labels, &observed);
}
