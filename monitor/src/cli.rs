//! The command line: which command, with which options, and with which exit code it ends.
//!
//! Exit codes: 0 well, 1 failed, 64 wrong usage or configuration, 70 a broken invariant.

use std::process::{self, ExitCode};
use std::{io, panic};

use clap::{Parser, Subcommand};

use crate::check::{self, CheckArgs};
use crate::config_file::{self, ConfigFileError, Loaded};
use crate::console::complain;
use crate::demo::{self, DemoArgs};
use crate::explain::{self, ExplainArgs};
use crate::export::{self, ExportArgs};
use crate::inspect::{self, InspectArgs};
use crate::kafka::headers;
use crate::launch::{self, LaunchArgs};
use crate::reference::{self, ReferenceArgs};
use crate::replay::{self, ReplayArgs};
use crate::run::{self, RunArgs};
use crate::telemetry::{self, LogFormat};

/// Failed.
const FAILED: u8 = 1;
/// Wrong usage or configuration (`EX_USAGE`).
const USAGE: u8 = 64;
/// A broken invariant (`EX_SOFTWARE`).
const INVARIANT: u8 = 70;

/// Watches machine-learning models in production for drift.
///
/// driftd reads inference logs from Kafka, compares event-time windows with reference profiles,
/// exports Prometheus metrics, and asks for a retraining when drift is established.
#[derive(Debug, Parser)]
#[command(
    version,
    propagate_version = true,
    after_help = "\
Start here:
  driftd demo                                  everything in one process, on real data
  driftd inspect --help                        find out what a topic holds, and get a configuration
  driftd reference build --help                freeze a reference from Parquet or CSV
  driftd check --config driftd.yaml            find every mistake before it matters
  driftd run --config driftd.yaml              watch

Exit codes: 0 well, 1 failed, 64 wrong usage or configuration, 70 a bug.
Logs: DRIFTD_LOG=debug (or =warn,driftd=info); counting: DRIFTD_SIMD=scalar|avx2."
)]
struct Cli {
    /// How log lines look.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch the configured topics until a signal.
    Run(RunArgs),
    /// Find out what a topic holds, and get a configuration that reads it.
    Inspect(InspectArgs),
    /// Find what is wrong: configuration, cluster, topics, records, references.
    Check(CheckArgs),
    /// Build and look at reference profiles.
    Reference(ReferenceArgs),
    /// Run the same pipeline over files, as fast as it goes.
    Replay(ReplayArgs),
    /// Ask a running driftd why a window has not ended yet.
    Explain(ExplainArgs),
    /// Start jobs for retraining events.
    Launch(LaunchArgs),
    /// Write dashboards, alert rules or the configuration schema.
    Export(ExportArgs),
    /// See everything work, in one process, on real data.
    Demo(DemoArgs),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    end_on_panic();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let is_asked_for = !error.use_stderr();
            if error.print().is_err() || is_asked_for {
                return ExitCode::SUCCESS;
            }
            return ExitCode::from(USAGE);
        }
    };
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

/// A panic on any thread ends the process: half a daemon looks alive and counts nothing. But for
/// the one that a client's method has instead of an error.
#[expect(clippy::exit, reason = "an invariant is broken: no destructor can be trusted")]
fn end_on_panic() {
    let say_where = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if headers::is_reading() {
            return;
        }
        say_where(info);
        process::exit(INVARIANT.into());
    }));
}

fn fail(error: &anyhow::Error) -> ExitCode {
    complain(format_args!("driftd: {error:#}"));
    let is_usage = error.downcast_ref::<ConfigFileError>().is_some();
    ExitCode::from(if is_usage { USAGE } else { FAILED })
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    choose_simd()?;
    let format = cli.log_format;
    match cli.command {
        Command::Run(args) => {
            let loaded = configured(&args.config)?;
            let _telemetry = telemetry::start(format, "info", Some(&loaded.config.telemetry))?;
            run::run(&args, &loaded)?;
        }
        Command::Inspect(args) => {
            let _telemetry = telemetry::start(format, "error", None)?;
            inspect::run(&args)?;
        }
        Command::Check(args) => {
            let _telemetry = telemetry::start(format, "error", None)?;
            let loaded = configured(&args.config)?;
            if !check::run(&args, &loaded) {
                return Ok(ExitCode::from(FAILED));
            }
        }
        Command::Reference(args) => {
            let _telemetry = telemetry::start(format, "warn", None)?;
            reference::run(&args, &mut io::stdout().lock())?;
        }
        Command::Replay(args) => {
            let _telemetry = telemetry::start(format, "warn", None)?;
            let loaded = configured(&args.config)?;
            replay::run(&args, loaded.config, &mut io::stdout().lock())?;
        }
        Command::Explain(args) => explain::run(&args)?,
        Command::Launch(args) => {
            let loaded = configured(&args.config)?;
            let _telemetry = telemetry::start(format, "info", Some(&loaded.config.telemetry))?;
            launch::run(&loaded)?;
        }
        Command::Export(args) => export::run(&args)?,
        Command::Demo(args) => {
            let _telemetry = telemetry::start(format, "warn", None)?;
            demo::run(&args)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn configured(path: &std::path::Path) -> anyhow::Result<Loaded> {
    Ok(config_file::read(path)?)
}

/// Takes the instruction set from `DRIFTD_SIMD`, for tests and bug reports; the best there is
/// otherwise.
#[expect(clippy::disallowed_methods, reason = "the edge reads the environment")]
fn choose_simd() -> anyhow::Result<()> {
    if let Ok(name) = std::env::var("DRIFTD_SIMD") {
        driftd_kernels::select(name.parse()?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
