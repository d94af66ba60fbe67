//! Resident memory of both stages while windows of 1,000 numeric features pass, three of them open
//! at a time, and how long a window takes from its end to the picture that shows it.
//!
//! `cargo bench -p driftd-core --bench memory` prints both; `-- 4` reads four partitions instead of
//! one. Memory is the same in every profile: `--profile dev` saves the optimised build. The edge
//! (client, store, server) is not in it.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]
#![expect(clippy::disallowed_methods, reason = "a bench reads the clock and its own memory")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use driftd_catalog::{ModelId, PartitionId, Timestamp};
use driftd_core::PartitionState;
use driftd_core::config::{Config, load};
use driftd_core::event::{Effect, Event};
use driftd_core::pipeline::Pipeline;
use driftd_core::profile::Profile;
use driftd_core::reference::ModelReference;
use driftd_core::shard::Shard;
use driftd_detectors::{
    FeatureReference, Grid, NumericColumn, NumericCounts, NumericReference, NumericValues,
    Precision,
};
use driftd_ingest::{Decode, DecodeLimits, JsonDecoder, Message};

const FEATURES: usize = 1_000;
const SAMPLE_ROWS: u32 = 5_000;
/// Rows of one batch: what the daemon decodes of so wide a record before it counts.
const BATCH_ROWS: i64 = 500;
/// Records that differ; they are read again and again, and are the bench's own memory.
const RECORDS: usize = 50;
const BATCHES: i64 = 2;
const HOUR_MILLIS: i64 = 3_600_000;
/// More than the history that is kept by default, so that its memory is in the last figures.
const WINDOWS: i64 = 240;
const SHOWN: [i64; 7] = [1, 10, 50, 100, 168, 200, 240];
const TARGET_BYTES: f64 = 200e6;

fn main() {
    let partitions = std::env::args().find_map(|it| it.parse().ok()).unwrap_or(1);
    println!("{FEATURES} features, 3 windows open, {partitions} partitions: resident memory");
    let mut scene = Scene::new(partitions);
    println!("  records of the bench {}", Resident::now());
    let mut took = Vec::new();
    for window in 0..WINDOWS {
        took.extend(scene.play(window));
        if SHOWN.contains(&(window + 1)) {
            let counts = scene.pipeline.snapshot(at(0)).state_bytes as f64 / 1e6;
            println!(
                "  {:>4} windows read    {}, counts {counts:.0} MB",
                window + 1,
                Resident::now()
            );
        }
    }
    let peak = Resident::now().peak;
    println!("peak / 200 MB: {:.2}", peak as f64 / TARGET_BYTES);
    took.sort_unstable();
    let of = |share: usize| took[(took.len() - 1) * share / 100];
    println!("batch that passes a window's end to picture: median {:?}, p99 {:?}", of(50), of(99));
}

/// One reader and the pipeline, with the records that are read again and again.
struct Scene {
    reference: Arc<ModelReference>,
    shard: Shard,
    pipeline: Pipeline,
    decoders: BTreeMap<PartitionId, JsonDecoder>,
    /// Records without their beginning.
    tails: Vec<String>,
    offset: i64,
}

impl Scene {
    fn new(partitions: i32) -> Self {
        println!("  before anything      {}", Resident::now());
        let config = config();
        println!("  configuration        {}", Resident::now());
        let reference = reference(&config);
        println!("  reference            {}", Resident::now());
        let mut shard = Shard::new(Arc::clone(&config));
        let mut pipeline = Pipeline::new(Arc::clone(&config));
        let ids: Vec<PartitionId> = (0..partitions)
            .map(|partition| PartitionId { topic: "logs".into(), partition })
            .collect();
        for id in &ids {
            shard.assign(PartitionState::new(id.clone(), 0, at(0)).starting_at(0));
        }
        let mut effects = Vec::new();
        for event in [
            Event::TopicPartitions { source: 0, partitions: ids.clone() },
            Event::Assigned { source: 0, partitions: ids.clone() },
        ] {
            pipeline.handle(at(0), event, &mut effects);
        }
        let limits = DecodeLimits {
            payload_bytes_max: 1 << 20,
            rows_max: 100,
            cells_max: DecodeLimits::CELLS_MAX,
        };
        let decoder = || JsonDecoder::new(Arc::clone(&config.sources[0].schema), limits);
        let decoders = ids.into_iter().map(|id| (id, decoder())).collect();
        Self { reference, shard, pipeline, decoders, tails: tails(), offset: 0 }
    }

    /// Reads one window's records; returns how long each batch that closed a window took to the
    /// picture.
    fn play(&mut self, window: i64) -> Vec<Duration> {
        let mut took = Vec::new();
        for batch in 0..BATCHES {
            let start = window * HOUR_MILLIS + batch * HOUR_MILLIS / BATCHES;
            let from = self.offset;
            self.offset += BATCH_ROWS;
            let ids: Vec<PartitionId> = self.decoders.keys().cloned().collect();
            for id in ids {
                let decoded = self.decode(&id, start, from);
                let watch = Instant::now();
                if self.count(&id, &decoded) {
                    took.push(watch.elapsed());
                }
            }
        }
        took
    }

    fn decode(&mut self, id: &PartitionId, start: i64, from: i64) -> driftd_ingest::Decoded {
        let decoder = self.decoders.get_mut(id).expect("a decoder for each partition");
        let step = HOUR_MILLIS / BATCHES / BATCH_ROWS;
        let mut payload = String::new();
        for (index, tail) in (0..BATCH_ROWS).zip(self.tails.iter().cycle()) {
            payload.clear();
            write!(payload, "{{\"at\":{},{tail}", start + index * step).expect("a String");
            let payload = Some(payload.as_bytes());
            decoder.decode(&Message {
                payload,
                offset: from + index,
                timestamp: None,
                envelope: &[],
            });
        }
        decoder.finish()
    }

    /// Counts a batch and shows the outcome; returns whether a window was closed.
    fn count(&mut self, id: &PartitionId, decoded: &driftd_ingest::Decoded) -> bool {
        assert!(decoded.rejections.is_empty(), "the bench's records are good");
        let now = at(decoded.to_offset);
        let placed = self.shard.place(id, decoded);
        for missing in self.shard.missing_references(&placed) {
            self.shard.set_reference(missing, Some(Arc::clone(&self.reference)));
        }
        let mut outputs = Vec::new();
        self.shard.update(now, decoded, placed, None, &mut outputs);
        let mut effects = Vec::new();
        for output in outputs {
            self.pipeline.handle(now, output.into(), &mut effects);
        }
        self.pipeline.handle(now, Event::Tick, &mut effects);
        let closed = effects.iter().any(|effect| matches!(effect, Effect::Window(_)));
        let shown = effects.iter().any(|effect| matches!(effect, Effect::Publish(_)));
        assert!(shown, "a batch changes the picture");
        closed
    }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Windows of an hour that stay open for two more: three are open at a time.
fn config() -> Arc<Config> {
    let features: Vec<String> =
        (0..FEATURES).map(|it| format!("{{name: f{it}, path: f.f{it}, type: float64}}")).collect();
    let text = format!(
        "name: bench\nsources:\n  - topic: logs\n    start: earliest\n    \
         event_time: {{path: at, format: unix_millis}}\n    time: {{drift_max: 365d}}\nmodels:\n  \
         - name: wide\n    source: logs\n    version: \"1\"\n    references: none.json\n    \
         window: {{length: 1h, lateness: 2h}}\n    features: [{}]\n",
        features.join(", ")
    );
    Arc::new(load(&text, &|_| None).expect("a valid configuration"))
}

/// A sample without ties: every grid has as many edges as it may.
fn reference(config: &Config) -> Arc<ModelReference> {
    let mut lcg = Lcg(1);
    let features = config.models[0].features.iter().map(|feature| {
        let sample: Vec<f64> = (0..SAMPLE_ROWS)
            .map(|row| (f64::from(row) + lcg.next()) / f64::from(SAMPLE_ROWS))
            .collect();
        let grid = Grid::from_sorted(Precision::F64, &sample, 10).expect("a good sample");
        let mut counts = NumericCounts::empty(&grid);
        let values = NumericValues::F64(&sample);
        counts.update(&grid, &NumericColumn { values, validity: None });
        let reference = NumericReference { grid: Arc::new(grid), counts };
        (feature.name.to_string(), FeatureReference::Numeric(reference))
    });
    let profile = Profile {
        digest: "sha256:0".into(),
        model: "wide".into(),
        version: "1".into(),
        created: at(0),
        rows: SAMPLE_ROWS.into(),
        origin: Vec::new(),
        features: features.collect(),
        segments: BTreeMap::new(),
    };
    let id = ModelId::try_new("wide", "1").expect("a valid name");
    Arc::new(ModelReference::try_new(&id, &config.models[0], profile).expect("it fits"))
}

fn tails() -> Vec<String> {
    let mut lcg = Lcg(2);
    let record = |_| {
        let mut tail = "\"f\":{".to_owned();
        for feature in 0..FEATURES {
            let comma = if feature == 0 { "" } else { "," };
            write!(tail, "{comma}\"f{feature}\":{:.6}", lcg.next()).expect("a String takes all");
        }
        tail.push_str("}}");
        tail.shrink_to_fit();
        tail
    };
    (0..RECORDS).map(record).collect()
}

/// Numbers without a generator's dependency: the values only have to differ.
struct Lcg(u64);

impl Lcg {
    fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / 9_007_199_254_740_992.0
    }
}

/// Memory of this process that is in RAM, in bytes.
struct Resident {
    now: u64,
    peak: u64,
}

impl Resident {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").expect("Linux tells");
        let of = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key));
            let kilobytes = line.and_then(|it| it.trim().strip_suffix(" kB"));
            kilobytes.and_then(|it| it.parse::<u64>().ok()).expect("a size") * 1_024
        };
        Self { now: of("VmRSS:"), peak: of("VmHWM:") }
    }
}

impl std::fmt::Display for Resident {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>4.0} MB, peak {:>4.0} MB", self.now as f64 / 1e6, self.peak as f64 / 1e6)
    }
}
