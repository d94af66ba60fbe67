//! Grafana dashboards, written from the metric catalogue.
//!
//! Before: [`driftd_catalog::metric`]. After: the files in `dashboards/grafana`,
//! `driftd export dashboards`, and a Grafana that is provisioned as in `dashboards/provisioning`.
//!
//! - `query`: `PromQL` of one metric under the variables of a dashboard.
//! - `panel`, `layout`, `dashboard`: the classic JSON model, as much of it as is used.
//! - `fleet`, `model`: one dashboard each. *Fleet* answers which model needs a look and whether the
//!   monitor itself is well; *Model* answers what moved, since when, and whether data is broken.
//!
//! A renamed metric does not compile here; it cannot leave a panel empty. `tests/it/dashboards.rs`
//! holds the files to the rules of Grafana's dashboard-linter.
//!
//! ```
//! for (name, json) in driftd_dashboards::dashboards() {
//!     assert!(name.ends_with(".json") && json.starts_with('{'));
//! }
//! ```

mod dashboard;
mod fleet;
mod layout;
mod model;
mod panel;
mod query;

pub use query::interpolate;

/// Files for Grafana's provisioning, by path below its `provisioning` folder.
pub const PROVISIONING: [(&str, &str); 2] = [
    ("dashboards/driftd.yaml", include_str!("../provisioning/dashboards/driftd.yaml")),
    ("datasources/prometheus.yaml", include_str!("../provisioning/datasources/prometheus.yaml")),
];

/// One `PromQL` expression of a dashboard, with Grafana's variables in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Identity of the dashboard.
    pub dashboard: &'static str,
    /// What asks.
    pub place: Place,
    /// `PromQL` with variables; see [`interpolate`].
    pub expr: String,
    /// Legend template such as `{{model}}`; empty for tables and other places.
    pub legend: String,
    /// Asked for one instant (`/api/v1/query`) instead of a range (`/api/v1/query_range`).
    pub instant: bool,
}

/// What asks a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A target of a panel.
    Panel {
        /// Title of the panel.
        title: &'static str,
        /// Letter of the target.
        target: String,
    },
    /// An annotation.
    Annotation {
        /// Name of the annotation.
        name: &'static str,
    },
    /// A variable: the values of the label of its name, among the series of the expression.
    Variable {
        /// Name of the variable and of the label.
        name: &'static str,
    },
}

/// Returns all dashboards as (file name, text of the file).
pub fn dashboards() -> Vec<(String, String)> {
    all().iter().map(|dashboard| (format!("{}.json", dashboard.uid), dashboard.to_json())).collect()
}

/// Returns every query of every dashboard.
pub fn queries() -> Vec<Query> {
    all().iter().flat_map(queries_of).collect()
}

fn all() -> [dashboard::Dashboard; 2] {
    [fleet::dashboard(), model::dashboard()]
}

fn queries_of(dashboard: &dashboard::Dashboard) -> Vec<Query> {
    let uid = dashboard.uid;
    let panels = dashboard.layout.panels().flat_map(|panel| {
        panel.targets.iter().map(|target| Query {
            dashboard: uid,
            place: Place::Panel { title: panel.title, target: target.ref_id.clone() },
            expr: target.expr.clone(),
            legend: target.legend_format.clone(),
            instant: target.instant,
        })
    });
    let annotations = dashboard.annotations.iter().map(|annotation| Query {
        dashboard: uid,
        place: Place::Annotation { name: annotation.name },
        expr: annotation.expr.clone(),
        legend: String::new(),
        instant: false,
    });
    let variables = dashboard.variables.iter().map(|variable| Query {
        dashboard: uid,
        place: Place::Variable { name: variable.name },
        expr: variable.selector.clone(),
        legend: String::new(),
        instant: true,
    });
    panels.chain(annotations).chain(variables).collect()
}
