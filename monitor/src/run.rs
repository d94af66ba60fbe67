//! `driftd run`: the daemon on a real Kafka, until a signal.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use tracing::info;

use crate::accept::AcceptLoss;
use crate::config_file::Loaded;
use crate::daemon::Daemon;

/// How often a waiting command looks whether a signal has come.
const SIGNAL_POLL: Duration = Duration::from_millis(100);

/// Options of `driftd run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Go on without records that are lost: deleted before they were read, truncated, or gone with
    /// a topic that was created anew. May be given more than once.
    ///
    /// A partition whose next offset is no longer in the log is not read until you decide: bring
    /// the records back, or accept the loss with this option. The partition then begins at its
    /// oldest record, and windows that may lack records say so: they are incomplete, and name it.
    /// Other partitions go on as they are. A partition that has lost nothing is left alone. Needs
    /// `state`, or `scale_out`: then whichever process is given the partition has to have it.
    #[arg(long, value_name = "TOPIC[:PARTITION]")]
    pub accept_loss: Vec<AcceptLoss>,
}

/// Runs until SIGINT or SIGTERM; a second one ends the process at once.
pub fn run(args: &RunArgs, loaded: &Loaded) -> anyhow::Result<()> {
    let stopping = on_signal().context("cannot listen to signals")?;
    let Loaded { config, folder } = loaded;
    let config = Arc::clone(config);
    let name = Arc::clone(&config.name);
    let daemon = Daemon::start_accepting(config, folder, &args.accept_loss, Box::new(|_| {}))?;
    info!(
        %name,
        address = %daemon.address(),
        librdkafka = rdkafka::util::get_rdkafka_version().1,
        simd = driftd_kernels::backend(),
        "driftd runs"
    );
    wait(&stopping);
    info!("stopping");
    let last = daemon.stop();
    info!(
        messages = last.totals.messages,
        windows_closed = last.totals.windows_closed,
        digest = %last.digest,
        "stopped"
    );
    Ok(())
}

/// Returns a flag that the first SIGINT or SIGTERM sets; the second ends the process.
pub(crate) fn on_signal() -> std::io::Result<Arc<AtomicBool>> {
    let stopping = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&stopping))?;
        flag::register(signal, Arc::clone(&stopping))?;
    }
    Ok(stopping)
}

/// Waits until the flag is set.
pub(crate) fn wait(stopping: &AtomicBool) {
    while !stopping.load(Ordering::Relaxed) {
        std::thread::park_timeout(SIGNAL_POLL);
    }
}
