//! `driftd explain`: why something has not happened yet, asked of a running driftd.
//!
//! Before: `/api/v1/windows` ([`crate::http`]). After: sentences for a person, or the answer as it
//! came. Nothing is read but that address: it works from any machine that can reach it.

mod request;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use crate::console::{say, thousands};
use crate::http::{
    ModelElsewhere, OpenWindowView, OpenWindows, PartitionStanding, Reason, Standing,
};
use driftd_catalog::Timestamp;

/// Options of `driftd explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// What to explain.
    #[command(subcommand)]
    pub subject: Subject,
}

/// What can be explained.
#[derive(Debug, clap::Subcommand)]
pub enum Subject {
    /// Why windows have not ended yet.
    ///
    /// A window ends when every partition of its topic has passed its end and the lateness. A
    /// partition that is read to its end and silent is not waited for, nor is one that has stood
    /// still for longer than `wait_max`. Of each model version and kind of windows, the first one
    /// that has not ended is explained. Where the work is shared, the process is named that decides
    /// about models which the one that is asked does not have.
    Window(WindowArgs),
}

/// Options of `driftd explain window`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  driftd explain window --url http://127.0.0.1:9464
  driftd explain window --url http://driftd.ml:9464 --model flights --json")]
pub struct WindowArgs {
    /// Address of the running driftd: its `outputs.listen`.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9464")]
    pub url: String,
    /// Only windows of this model.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Only windows of this kind, by its name, such as `1h`.
    #[arg(long, value_name = "NAME")]
    pub window: Option<String>,
    /// Print the answer as one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Asks and prints.
pub fn run(args: &ExplainArgs) -> anyhow::Result<()> {
    let Subject::Window(args) = &args.subject;
    let body = request::get(&args.url, "/api/v1/windows")?;
    let mut answer: OpenWindows = serde_json::from_slice(&body)?;
    let is_wanted =
        |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|it| it == name);
    answer
        .windows
        .retain(|it| is_wanted(&args.model, &it.model) && is_wanted(&args.window, &it.window));
    answer.elsewhere.retain(|it| is_wanted(&args.model, &it.model));
    if args.json {
        say(serde_json::to_string(&answer)?);
    } else {
        say(explain(&answer).trim_end());
    }
    Ok(())
}

/// Puts the answer into sentences.
fn explain(answer: &OpenWindows) -> String {
    if answer.windows.is_empty() && answer.elsewhere.is_empty() {
        return "no such window is open: every record that was read is in windows that have ended\n"
            .to_owned();
    }
    let mut text = String::new();
    for window in &answer.windows {
        for line in lines(window, answer.taken_at) {
            // Writing to a text cannot fail.
            _ = writeln!(text, "{line}");
        }
    }
    for ModelElsewhere { model, lane, owner } in &answer.elsewhere {
        _ = match owner {
            Some(owner) => {
                writeln!(text, "{model}: its windows are those of `{owner}`, which has lane {lane}")
            }
            None => writeln!(text, "{model}: no process has told yet that it has lane {lane}"),
        };
    }
    text
}

fn lines(window: &OpenWindowView, now: Timestamp) -> Vec<String> {
    let OpenWindowView { model, version, window: name, end, ends_after, topic, .. } = window;
    let beside = if window.decides { "" } else { " (does not decide)" };
    let span = match (window.start, window.rows_needed) {
        (Some(start), None) => format!("{start} to {end}"),
        (Some(start), Some(_)) => format!("from {start}, may end at {end}"),
        (None, _) => format!("may end at {end}"),
    };
    let mut lines = vec![format!("{model}/{version} window {name}{beside}: {span}")];
    let rows = thousands(window.rows_closed);
    lines.push(match window.rows_needed {
        Some(needed) => {
            format!("  {rows} of {} rows are in panes that have ended", thousands(needed))
        }
        None => format!("  {rows} rows are in panes that have ended"),
    });
    lines.push(match window.waits_for {
        Reason::Metadata => format!("  waits for the broker to name the partitions of `{topic}`"),
        Reason::Partitions => {
            format!("  waits until every partition of `{topic}` has passed {ends_after}")
        }
        Reason::Clock => {
            "  waits for the clock: every partition is silent, and none has passed it".to_owned()
        }
        Reason::Rows => "  waits for more records".to_owned(),
        Reason::Nothing => "  waits for nothing: it ends with the next report".to_owned(),
    });
    lines.extend(window.partitions.iter().map(|it| partition(topic, it, now)));
    if let Some(at) = window.ends_at {
        lines.push(format!("  without further progress it ends at {at}, in {}", until(now, at)));
    }
    if 0 < window.further {
        lines.push(format!("  {} later windows hold records too", thousands(window.further)));
    }
    lines
}

fn partition(topic: &str, partition: &PartitionStanding, now: Timestamp) -> String {
    let id = format!("{topic}[{}]", partition.partition);
    let watermark = partition
        .watermark
        .map_or_else(|| "no record yet".to_owned(), |it| format!("watermark {it}"));
    let mut facts = vec![watermark];
    if partition.standing == Standing::WaitedFor {
        facts.extend(partition.missing_millis.map(|it| format!("{} to go", length(it))));
    }
    facts.push(match partition.lag {
        Some(lag) => format!("{} messages behind", thousands(lag)),
        None => "end not known".to_owned(),
    });
    if !partition.assigned {
        facts.push("read by another process, or by none".to_owned());
    }
    if partition.paused {
        facts.push("paused, because it is ahead of the others".to_owned());
    }
    let standing = match partition.standing {
        Standing::Passed => "passed     ",
        Standing::Idle => "idle       ",
        Standing::WaitedFor => {
            facts.push(format!("last step {} ago", until(partition.progressed_at, now)));
            facts.push(format!("given up at {}", partition.given_up_at));
            "waited for "
        }
    };
    format!("  {standing} {id}: {}", facts.join(", "))
}

fn until(from: Timestamp, to: Timestamp) -> String {
    length((to.as_millis() - from.as_millis()).max(0))
}

/// Writes a length of time with its two greatest units.
fn length(millis: i64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let mut rest = millis;
    let mut parts = Vec::new();
    for (each, unit) in units {
        if each <= rest {
            parts.push(format!("{}{unit}", rest / each));
            rest %= each;
        }
    }
    parts.truncate(2);
    if parts.is_empty() { "0s".to_owned() } else { parts.concat() }
}
