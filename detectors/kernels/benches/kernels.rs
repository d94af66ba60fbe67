//! Counting speed against its limits, as ratios within one run: memory read bandwidth for a few
//! bins, `slice::partition_point` for many edges.
//!
//! Run with `cargo bench -p driftd-kernels --bench kernels`. Rivals take turns, round by round; a
//! ratio is that of one round. A busy neighbour on the same physical core slows the kernels, which
//! fill its execution units, more than `partition_point`, which waits: run again when the quartiles
//! lie far apart.
#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::hint::black_box;
use std::time::Instant;

use driftd_kernels::{Backend, EdgeTable, Number, cell_counts, select};

/// More than any last-level cache: 256 MiB of `f64`.
const STREAM_VALUES: usize = 1 << 25;
/// A competitor's share of a round, 2 MiB: short, so that most rounds escape the scheduler. They
/// walk the array far from each other, so that each finds its segment cold.
const SEGMENT_VALUES: usize = 1 << 18;
/// Stays in the second-level cache, as a batch's column does.
const HOT_VALUES: usize = 1 << 16;
const ROUNDS: usize = 255;

fn main() {
    let backends: Vec<Backend> =
        [Backend::Scalar, Backend::Avx2].into_iter().filter(|&b| select(b).is_ok()).collect();
    few_bins(&backends);
    println!();
    println!("1,000 edges, values hot in L2, million values/s and ratio to partition_point");
    for (name, draw) in DISTRIBUTIONS {
        let values: Vec<f64> = draw_values(draw, HOT_VALUES);
        let narrow: Vec<f32> = values.iter().map(|&value| narrow(value)).collect();
        many_edges(&format!("f32 {name}"), &narrow, &backends);
        many_edges(&format!("f64 {name}"), &values, &backends);
    }
}

/// Times the competitors in turns and returns the durations of each, round by round.
fn race(competitors: &mut [Box<dyn FnMut() + '_>]) -> Vec<Vec<f64>> {
    let mut seconds = vec![Vec::with_capacity(ROUNDS); competitors.len()];
    for round in 0..=ROUNDS {
        for (competitor, seconds) in competitors.iter_mut().zip(&mut seconds) {
            // Undo what the rival before did to the caches.
            competitor();
            let start = Instant::now();
            competitor();
            // The first round warms page tables and the clock.
            if 0 < round {
                seconds.push(start.elapsed().as_secs_f64());
            }
        }
    }
    seconds
}

fn few_bins(backends: &[Backend]) {
    let values = draw_values(normal, STREAM_VALUES);
    let edges: Vec<f64> = (0..9_u8).map(|i| (f64::from(i) - 4.0) / 2.0).collect();
    let table = EdgeTable::try_new(&edges).expect("sorted");
    let mut sum_segments = values.chunks_exact(SEGMENT_VALUES).cycle();
    let mut competitors: Vec<Box<dyn FnMut()>> = vec![Box::new(move || {
        black_box(sum(sum_segments.next().expect("a cycle has no end")));
    })];
    for (turn, &backend) in backends.iter().enumerate() {
        let ahead = (turn + 1) * STREAM_VALUES / SEGMENT_VALUES / (backends.len() + 1);
        let mut segments = values.chunks_exact(SEGMENT_VALUES).cycle().skip(ahead);
        let table = &table;
        let mut cells = vec![0_u32; table.cells()];
        competitors.push(Box::new(move || {
            select(backend).expect("available");
            let segment = segments.next().expect("a cycle has no end");
            black_box(cell_counts(table, segment, &mut cells));
        }));
    }
    let seconds = race(&mut competitors);
    let gigabytes = SEGMENT_VALUES as f64 * 8.0 / 1e9;
    println!(
        "9 edges (10 bins), f64 read from memory, GB/s and ratio to a sum: median (quartiles)"
    );
    report("sum (memory read)", &seconds[0], gigabytes, None);
    for (backend, own) in backends.iter().zip(&seconds[1..]) {
        report(backend.as_str(), own, gigabytes, Some(&seconds[0]));
    }
}

fn many_edges<T: Number + std::fmt::Debug>(name: &str, values: &[T], backends: &[Backend]) {
    let edges = sample_quantiles(values, 1_000);
    let table = EdgeTable::try_new(&edges).expect("sorted and distinct");
    let mut competitors: Vec<Box<dyn FnMut()>> = vec![Box::new(|| {
        let mut counts = vec![0_u64; edges.len() + 1];
        for value in values {
            counts[edges.partition_point(|edge| edge <= value)] += 1;
        }
        black_box(&mut counts);
    })];
    for &backend in backends {
        let table = &table;
        competitors.push(Box::new(move || {
            select(backend).expect("available");
            let mut cells = vec![0_u32; table.cells()];
            cell_counts(table, values, &mut cells);
            black_box(&mut cells);
        }));
    }
    let seconds = race(&mut competitors);
    let millions = values.len() as f64 / 1e6;
    report(&format!("{name}: partition_point"), &seconds[0], millions, None);
    for (backend, own) in backends.iter().zip(&seconds[1..]) {
        report(&format!("{name}: {}", backend.as_str()), own, millions, Some(&seconds[0]));
    }
}

/// Prints work per second and how often the rival's time it is: medians, and the quartiles around
/// them.
fn report(name: &str, own: &[f64], work: f64, rival: Option<&[f64]>) {
    let rates = quartiles(own.iter().map(|seconds| work / seconds));
    print!("  {name:32} {:7.1} ({:.1}–{:.1})", rates[1], rates[0], rates[2]);
    if let Some(rival) = rival {
        let ratios = quartiles(rival.iter().zip(own).map(|(rival, own)| rival / own));
        print!("  ×{:.2} ({:.2}–{:.2})", ratios[1], ratios[0], ratios[2]);
    }
    println!();
}

fn quartiles(numbers: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut sorted: Vec<f64> = numbers.collect();
    sorted.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| sorted[(sorted.len() - 1) * quarter / 4])
}

/// Reads every value once with independent accumulators, as fast as memory gives them.
fn sum(values: &[f64]) -> f64 {
    let mut lanes = [0.0; 16];
    let (chunks, rest) = values.as_chunks::<16>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().sum::<f64>() + rest.iter().sum::<f64>()
}

type Draw = fn(&mut SplitMix) -> f64;

const DISTRIBUTIONS: [(&str, Draw); 2] = [("normal", normal), ("log-normal", log_normal)];

fn draw_values(draw: Draw, count: usize) -> Vec<f64> {
    let mut uniform = SplitMix(42);
    (0..count).map(|_| draw(&mut uniform)).collect()
}

/// Box–Muller.
fn normal(uniform: &mut SplitMix) -> f64 {
    let radius = (-2.0 * uniform.next().ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform.next()).cos()
}

fn log_normal(uniform: &mut SplitMix) -> f64 {
    (1.5 * normal(uniform)).exp()
}

/// The splitmix64 generator, giving uniform numbers in (0, 1).
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((mixed ^ (mixed >> 31)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounding to single precision is meant")]
fn narrow(value: f64) -> f32 {
    value as f32
}

/// Returns up to `count` distinct values of the sample at even steps of rank.
fn sample_quantiles<T: Number + std::fmt::Debug>(values: &[T], count: usize) -> Vec<T> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).expect("no NaN is drawn"));
    let mut edges: Vec<T> =
        (1..=count).map(|i| sorted[i * (sorted.len() - 1) / (count + 1)]).collect();
    edges.dedup();
    edges
}
