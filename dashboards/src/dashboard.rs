//! A whole dashboard in Grafana's classic JSON model, which every Grafana from 10 on imports.
//!
//! Before: [`crate::fleet`] and [`crate::model`] fill it. After: `dashboards/grafana/*.json`.

use serde::Serialize;
use serde_json::{Value, json};

use crate::layout::{Item, Layout};
use crate::panel::DataSource;

/// The version of the classic model that the files are written in; newer servers upgrade on load.
const SCHEMA_VERSION: u32 = 39;
/// The tag by which each dashboard finds the others.
const TAG: &str = "driftd";

/// What differs between dashboards.
pub(crate) struct Dashboard {
    /// Stable part of the address; at most 40 characters.
    pub(crate) uid: &'static str,
    pub(crate) title: &'static str,
    pub(crate) description: &'static str,
    pub(crate) variables: Vec<Variable>,
    pub(crate) annotations: Vec<Annotation>,
    pub(crate) layout: Layout,
}

/// A choice at the top of the dashboard: a label's values.
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    pub(crate) label: &'static str,
    /// The series whose label of the variable's name is listed.
    pub(crate) selector: String,
    pub(crate) choice: Choice,
}

/// How many values a variable has at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// One; the first of the list at the beginning.
    One,
    /// Any number; all at the beginning.
    Many,
}

/// Events drawn over all panels.
pub(crate) struct Annotation {
    pub(crate) name: &'static str,
    pub(crate) expr: String,
    pub(crate) color: &'static str,
    pub(crate) title_format: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    uid: &'a str,
    title: &'a str,
    description: &'a str,
    tags: [&'a str; 1],
    schema_version: u32,
    editable: bool,
    // 1: the crosshair is shared by all panels.
    graph_tooltip: u32,
    timezone: &'a str,
    refresh: &'a str,
    time: Value,
    timepicker: Value,
    links: [Value; 1],
    annotations: Value,
    templating: Value,
    panels: &'a [Item],
}

impl Dashboard {
    /// Returns the text of the file.
    pub(crate) fn to_json(&self) -> String {
        let mut variables = vec![data_source_variable()];
        variables.extend(self.variables.iter().map(Variable::to_json));
        let mut annotations = vec![built_in_annotation()];
        annotations.extend(self.annotations.iter().map(Annotation::to_json));
        let file = File {
            uid: self.uid,
            title: self.title,
            description: self.description,
            tags: [TAG],
            schema_version: SCHEMA_VERSION,
            editable: false,
            graph_tooltip: 1,
            timezone: "utc",
            refresh: "1m",
            time: json!({"from": "now-24h", "to": "now"}),
            timepicker: json!({}),
            links: [link()],
            annotations: json!({"list": annotations}),
            templating: json!({"list": variables}),
            panels: &self.layout.items,
        };
        let mut text = serde_json::to_string_pretty(&file)
            .expect("a dashboard holds only text, finite numbers and lists");
        text.push('\n');
        text
    }
}

impl Variable {
    fn to_json(&self) -> Value {
        let many = self.choice == Choice::Many;
        let query = format!("label_values({}, {})", self.selector, self.name);
        let mut variable = json!({
            "type": "query",
            "name": self.name,
            "label": self.label,
            "datasource": DataSource::CHOSEN,
            "query": query,
            "definition": query,
            // 2: asked again when the time range changes, so that old models can be looked at.
            "refresh": 2,
            "regex": "",
            "sort": 1,
            "hide": 0,
            "skipUrlSync": false,
            "options": [],
            "multi": many,
            "includeAll": many
        });
        if many {
            variable["allValue"] = json!(".+");
            variable["current"] = json!({"text": ["All"], "value": ["$__all"]});
        }
        variable
    }
}

impl Annotation {
    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "datasource": DataSource::CHOSEN,
            "enable": true,
            "hide": false,
            "iconColor": self.color,
            "expr": self.expr,
            "titleFormat": self.title_format
        })
    }
}

fn data_source_variable() -> Value {
    json!({
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "current": {"text": "default", "value": "default"},
        "hide": 0,
        "skipUrlSync": false,
        "options": [],
        "refresh": 1,
        "regex": "",
        "multi": false,
        "includeAll": false
    })
}

/// Grafana adds it to every dashboard that lacks it.
fn built_in_annotation() -> Value {
    json!({
        "builtIn": 1,
        "datasource": DataSource::GRAFANA,
        "enable": true,
        "hide": true,
        "iconColor": "rgba(0, 211, 255, 1)",
        "name": "Annotations & Alerts",
        "type": "dashboard"
    })
}

/// One menu with all dashboards of the tag; it keeps time and variables.
fn link() -> Value {
    json!({
        "type": "dashboards",
        "title": "driftd",
        "tooltip": "Other dashboards of driftd",
        "icon": "external link",
        "url": "",
        "tags": [TAG],
        "asDropdown": true,
        "includeVars": true,
        "keepTime": true,
        "targetBlank": false
    })
}
