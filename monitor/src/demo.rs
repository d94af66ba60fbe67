//! `driftd demo`: the whole loop in one process, on real data, without any server.
//!
//! librdkafka's in-process mock broker carries the topics; everything else is what `driftd run` and
//! `driftd launch` use. [`stage_set`] writes the files, [`player`] plays the log and [`labels`]
//! what came true, [`narrator`] tells what happens.
//!
//! The story: a model trained on the first quarter of 2013 meets July. Two weeks later the drift of
//! temperature and dew point is established, a retraining event goes out, the launcher's job
//! freezes a new reference, the next version is deployed, and the weeks after it are quiet. Flights
//! arrive meanwhile: two days after each week it is told how good its predictions were.

mod labels;
mod narrator;
mod player;
mod stage_set;

use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context as _;
use driftd_core::snapshot::Snapshot;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use serde::Serialize;

use crate::clock::Stopwatch;
use crate::config_file::{self, Loaded};
use crate::console::say;
use crate::daemon::Daemon;
use crate::demo::narrator::Narrator;
use crate::demo::player::Player;
use crate::demo::stage_set::StageSet;
use crate::launch::Launcher;
use crate::launch::command::LocalCommand;
use crate::run;

/// Partitions of the demo's topic of inference logs.
const PARTITIONS: i32 = 4;

/// Longest week: a real one.
const WEEK_SECONDS_MAX: f64 = 604_800.0;

/// Options of `driftd demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArgs {
    /// End after the story instead of serving the page until Ctrl-C.
    #[arg(long)]
    pub once: bool,
    /// Print one JSON object at the end; the story goes to standard error.
    #[arg(long, requires = "once")]
    pub json: bool,
    /// Seconds that a week of the log takes at least; 0 plays as fast as it goes.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = week)]
    pub week: f64,
    /// Address of the page and the metrics; another port is taken when this one is not free.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9464")]
    pub listen: String,
}

/// What happened, for `--json`.
#[derive(Debug, Serialize)]
struct Outcome {
    records_in: u64,
    records_rejected: u64,
    windows_closed: u64,
    features_drifted: Vec<String>,
    retrain_events: u64,
    jobs_succeeded: u64,
    windows_labelled: usize,
    digest: String,
    seconds: f64,
}

/// Plays the demo.
pub fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let stopwatch = Stopwatch::start();
    let stopping = run::on_signal().context("cannot listen to signals")?;
    let cluster = start_cluster().context("cannot start the in-process broker")?;
    let set = StageSet::build(&cluster.bootstrap_servers(), &free_address(&args.listen)?)?;
    let narrator = Narrator::new(args.json);
    narrator.open(&set);
    set.build_first_reference()?;
    let loaded = config_file::read(&set.config_path())?;
    let (story, config) = (narrator.clone(), Arc::clone(&loaded.config));
    let daemon = Daemon::start(
        Arc::clone(&loaded.config),
        &loaded.folder,
        Box::new(move |effect| story.tell(&config, effect)),
    )?;
    narrator.addresses(daemon.address());
    let launcher = start_launcher(&loaded)?;
    let player = Player::new(&set, &cluster.bootstrap_servers(), args.week)?;
    player.play(&daemon.snapshot(), &narrator, &stopping)?;
    if !args.once && !stopping.load(Ordering::Relaxed) {
        narrator.wait(daemon.address());
        run::wait(&stopping);
    }
    launcher.stop();
    let last = daemon.stop();
    let outcome = Outcome::of(&last, stopwatch.elapsed());
    if args.json {
        say(serde_json::to_string(&outcome)?);
    } else {
        narrator.close(&last);
    }
    Ok(())
}

fn start_cluster()
-> Result<MockCluster<'static, DefaultProducerContext>, rdkafka::error::KafkaError> {
    let cluster = MockCluster::new(1)?;
    for topic in ["inference.flights", labels::TOPIC] {
        cluster.create_topic(topic, PARTITIONS, 1)?;
    }
    for topic in ["inference.flights.rejected", "driftd.retraining", "driftd.retraining.status"] {
        cluster.create_topic(topic, 1, 1)?;
    }
    Ok(cluster)
}

/// Reads the option `--week`.
fn week(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=WEEK_SECONDS_MAX).contains(&seconds) => Ok(seconds),
        Ok(_) | Err(_) => Err(format!("expected seconds from 0 to {WEEK_SECONDS_MAX}")),
    }
}

/// Returns `wished`, or any free port of the same host when it is taken.
#[expect(clippy::disallowed_methods, reason = "the edge opens sockets")]
fn free_address(wished: &str) -> anyhow::Result<String> {
    match TcpListener::bind(wished) {
        Ok(_) => Ok(wished.to_owned()),
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let host = wished.rsplit_once(':').map_or(wished, |(host, _)| host);
            Ok(format!("{host}:0"))
        }
        Err(error) => {
            Err(error).with_context(|| format!("cannot listen on `{wished}`: choose a `--listen`"))
        }
    }
}

struct RunningLauncher {
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

fn start_launcher(loaded: &Loaded) -> anyhow::Result<RunningLauncher> {
    let config =
        loaded.config.launcher.as_ref().context("the demo's configuration has a launcher")?;
    let backend = LocalCommand::new(config, &loaded.folder);
    let launcher = Launcher::connect(&loaded.config, Box::new(backend))?;
    let stopping = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stopping);
    let thread = thread::Builder::new()
        .name("launch".to_owned())
        .spawn(move || launcher.run(&seen))
        .context("cannot start a thread")?;
    Ok(RunningLauncher { stopping, thread })
}

impl RunningLauncher {
    fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            tracing::error!("the launcher ended by a panic");
        }
    }
}

impl Outcome {
    fn of(snapshot: &Snapshot, took: Duration) -> Self {
        let mut features_drifted: Vec<String> = snapshot
            .models
            .iter()
            .filter_map(|model| model.segments.first())
            .flat_map(|segment| &segment.ever_drifted)
            .map(ToString::to_string)
            .collect();
        features_drifted.sort_unstable();
        features_drifted.dedup();
        Self {
            records_in: snapshot.totals.messages,
            records_rejected: snapshot.totals.rejected,
            windows_closed: snapshot.totals.windows_closed,
            features_drifted,
            retrain_events: snapshot.totals.retrain_published,
            jobs_succeeded: snapshot.totals.jobs_succeeded,
            windows_labelled: player::windows_labelled(snapshot),
            digest: snapshot.digest.to_string(),
            seconds: took.as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_week_takes_from_nothing_to_a_week() {
        for (text, seconds) in [("0", 0.0), ("2.5", 2.5), ("604800", 604_800.0)] {
            assert_eq!(week(text), Ok(seconds));
        }
        for text in ["inf", "nan", "-1", "604801", "1e300", "two"] {
            assert!(week(text).is_err(), "{text}");
        }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test of the edge opens a socket")]
    fn another_port_of_the_host_is_taken_only_when_the_port_is_in_use() {
        let taken = TcpListener::bind("127.0.0.2:0").expect("a port");
        let address = taken.local_addr().expect("its address").to_string();
        assert_eq!(free_address(&address).expect("a free port"), "127.0.0.2:0");
        for wrong in ["9464", "127.0.0.1:port", "192.0.2.1:9464"] {
            let error = free_address(wrong).expect_err(wrong).to_string();
            assert!(error.contains(wrong) && error.contains("--listen"), "{error}");
        }
    }
}
