//! The local backend: a job is a command on this machine.
//!
//! The command gets the event as a file, and the essentials as environment variables; it may leave
//! a JSON object in the output file to say which version it registered. It runs in a process group
//! of its own, so that stopping it stops everything it started.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use driftd_catalog::Timestamp;
use driftd_catalog::event::{CloudEvent, RetrainingRequested};
use driftd_core::config::LauncherConfig;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use serde::Deserialize;
use tempfile::TempDir;
use tracing::warn;

use crate::clock;
use crate::launch::{Backend, Job, JobEnd, StartJobError};

/// A job that was asked to end gets this long before it is killed.
const KILL_AFTER_MILLIS: i64 = 10_000;
/// Longest output file that is read.
const OUTPUT_BYTES_MAX: u64 = 64 * 1024;

/// Runs `launcher.command`.
#[derive(Debug)]
pub struct LocalCommand {
    program: String,
    arguments: Vec<String>,
    directory: Option<PathBuf>,
}

/// What a job may say in its output file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Output {
    new_version: Option<String>,
    reference: Option<String>,
}

struct CommandJob {
    child: Child,
    files: TempDir,
    kill_at: Option<Timestamp>,
}

impl LocalCommand {
    /// Takes the command of the configuration; relative working directories are relative to
    /// `folder`.
    ///
    /// # Panics
    /// When the command is empty, which the configuration excludes.
    pub fn new(config: &LauncherConfig, folder: &std::path::Path) -> Self {
        let (program, arguments) =
            config.command.split_first().expect("a valid configuration has a command");
        Self {
            program: program.clone(),
            arguments: arguments.to_vec(),
            directory: config.working_directory.as_ref().map(|directory| folder.join(directory)),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the edge starts processes")]
    fn spawn(&self, event: &CloudEvent<RetrainingRequested>) -> io::Result<CommandJob> {
        let files = TempDir::with_prefix("driftd-job-")?;
        let event_file = files.path().join("event.json");
        fs::write(&event_file, event.to_json())?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env("DRIFTD_EVENT_FILE", &event_file)
            .env("DRIFTD_OUTPUT_FILE", files.path().join("output.json"))
            .env("DRIFTD_EVENT_ID", &event.id)
            .env("DRIFTD_MODEL", &*event.data.model.name)
            .env("DRIFTD_MODEL_VERSION", &*event.data.model.version)
            .env("DRIFTD_WINDOW_START", event.data.window.start.to_string())
            .env("DRIFTD_WINDOW_END", event.data.window.end.to_string())
            .stdin(Stdio::null())
            // Standard output belongs to the launcher; a job's words go where logs go.
            .stdout(io::stderr())
            .process_group(0);
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        Ok(CommandJob { child: command.spawn()?, files, kill_at: None })
    }
}

impl Backend for LocalCommand {
    fn start(
        &self,
        event: &CloudEvent<RetrainingRequested>,
    ) -> Result<Box<dyn Job>, StartJobError> {
        match self.spawn(event) {
            Ok(job) => Ok(Box::new(job)),
            Err(error) => Err(StartJobError {
                reason: format!("`{}`: {error}; check `launcher.command`", self.program),
            }),
        }
    }
}

impl Job for CommandJob {
    fn poll(&mut self) -> Option<JobEnd> {
        if let Some(at) = self.kill_at
            && (at <= clock::now() || self.has_ended())
        {
            // Also when the command itself has obeyed: what it started may not have.
            self.signal(Signal::KILL);
        }
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(self.end(status)),
            Err(error) => Some(JobEnd {
                reason: Some(format!("the job's end cannot be seen: {error}")),
                ..JobEnd::default()
            }),
        }
    }

    fn stop(&mut self) {
        self.kill_at = Some(clock::now().plus_millis(KILL_AFTER_MILLIS));
        self.signal(Signal::TERM);
    }
}

impl Drop for CommandJob {
    /// A job that nobody follows any more must not run on.
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.signal(Signal::KILL);
            if let Err(error) = self.child.wait() {
                warn!(%error, "the job's end cannot be seen");
            }
        }
    }
}

impl CommandJob {
    /// The command's process, which leads a group of the same number.
    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    /// Returns whether the command has ended, without taking its status: until that is taken, no
    /// other process can get its number.
    fn has_ended(&self) -> bool {
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = self.pid().map(|pid| waitid(WaitId::Pid(pid), look));
        matches!(status, Some(Ok(Some(_))))
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.pid()
            && let Err(error) = kill_process_group(group, signal)
        {
            warn!(?signal, %error, "the job could not be signalled");
        }
    }

    fn end(&self, status: ExitStatus) -> JobEnd {
        let mut end = JobEnd {
            succeeded: status.success(),
            exit_code: status.code(),
            reason: (!status.success()).then(|| format!("the command ended with {status}")),
            ..JobEnd::default()
        };
        match self.output() {
            Ok(output) => {
                end.new_version = output.new_version;
                end.reference = output.reference;
            }
            Err(reason) => {
                end.succeeded = false;
                end.reason.get_or_insert(reason);
            }
        }
        end
    }

    /// Reads what the job left; nothing is fine, nonsense is not.
    fn output(&self) -> Result<Output, String> {
        let path = self.files.path().join("output.json");
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Output::default()),
            Err(error) => return Err(format!("the job's output file cannot be read: {error}")),
        };
        if OUTPUT_BYTES_MAX < metadata.len() {
            return Err(format!(
                "the job's output file has {} bytes, more than {OUTPUT_BYTES_MAX}",
                metadata.len()
            ));
        }
        read_output(&path)
            .map_err(|error| format!("the job's output file is not understood: {error}"))
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge reads what a job wrote")]
fn read_output(path: &std::path::Path) -> io::Result<Output> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}
