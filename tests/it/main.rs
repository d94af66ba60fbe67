//! End to end: one binary, one module a topic. The servers are real, and so is `driftd`.

#![expect(clippy::disallowed_methods, reason = "tests read files and start programs")]

mod aggregates;
mod arrow;
mod avro;
mod bad_input;
mod changes;
mod check;
mod churn;
mod dashboards;
mod demo;
mod disk;
mod durable;
mod envelope;
mod events;
mod explain;
mod fenced;
mod generated;
mod glue;
mod inspect;
mod join;
mod judges;
mod launch;
mod loss;
mod main_job;
mod outage;
mod performance;
mod produce;
mod protobuf;
mod reconfigured;
mod registry;
mod rules;
mod scale_out;
mod security;
mod shapes;
mod sharing;
mod start;
mod tidy;
