//! The panels that the dashboards are built of, in Grafana's classic JSON model.
//!
//! Before: [`crate::query`]. After: [`crate::layout`], which gives each panel its place and id.
//! The constructors hold what all panels share: data source, description, unit, legends that show
//! the last value, and gaps that stay gaps, because a gap means that there was nothing to judge.

use driftd_catalog::label::{STATE_BROKEN_DATA, STATE_DRIFTED, STATE_INSUFFICIENT_DATA, STATE_OK};
use serde::Serialize;
use serde_json::{Value, json};

use crate::layout::GridPos;

/// A reference to the data source that the dashboard's first variable chooses.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct DataSource {
    #[serde(rename = "type")]
    kind: &'static str,
    uid: &'static str,
}

impl DataSource {
    pub(crate) const CHOSEN: Self = Self { kind: "prometheus", uid: "${datasource}" };
    pub(crate) const GRAFANA: Self = Self { kind: "grafana", uid: "-- Grafana --" };
}

/// One panel. [`crate::layout::Layout`] sets its id and place.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Panel {
    pub(crate) id: u32,
    pub(crate) grid_pos: GridPos,
    pub(crate) title: &'static str,
    pub(crate) description: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    datasource: DataSource,
    pub(crate) targets: Vec<Target>,
    field_config: FieldConfig,
    options: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    transformations: Vec<Value>,
}

/// One query of a panel.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Target {
    pub(crate) ref_id: String,
    datasource: DataSource,
    pub(crate) expr: String,
    pub(crate) legend_format: String,
    format: &'static str,
    pub(crate) instant: bool,
    range: bool,
}

#[derive(Clone, Debug, Serialize)]
struct FieldConfig {
    defaults: FieldDefaults,
    overrides: Vec<Value>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct FieldDefaults {
    unit: &'static str,
    no_value: &'static str,
    color: Value,
    thresholds: Value,
    mappings: Vec<Value>,
    custom: Value,
}

/// An expression and the legend of its series.
pub(crate) type Series = (String, &'static str);

/// A column of a table: an expression, its heading and its unit.
pub(crate) type Column = (String, &'static str, &'static str);

/// Returns lines over time.
pub(crate) fn time_series(
    title: &'static str,
    description: &'static str,
    unit: &'static str,
    series: Vec<Series>,
) -> Panel {
    let mut panel = Panel::new("timeseries", title, description, unit);
    panel.targets = targets(series, Form::OverTime);
    panel.field_config.defaults.color = json!({"mode": "palette-classic"});
    panel.field_config.defaults.custom = json!({
        "drawStyle": "line",
        "fillOpacity": 10,
        "lineWidth": 1,
        "showPoints": "auto",
        "spanNulls": false,
        "thresholdsStyle": {"mode": "off"}
    });
    panel.options = json!({
        "legend": {
            "calcs": ["lastNotNull", "max"],
            "displayMode": "table",
            "placement": "bottom",
            "showLegend": true
        },
        "tooltip": {"mode": "multi", "sort": "desc"}
    });
    panel
}

/// Returns one big number or word a series, as of the end of the chosen time.
pub(crate) fn stat(
    title: &'static str,
    description: &'static str,
    unit: &'static str,
    series: Vec<Series>,
) -> Panel {
    let mut panel = Panel::new("stat", title, description, unit);
    panel.targets = targets(series, Form::Now);
    panel.options = json!({
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "percentChangeColorMode": "standard",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false},
        "showPercentChange": false,
        "textMode": "auto",
        "wideLayout": true
    });
    panel
}

/// Returns a table with one row for each set of labels and one value column an expression.
pub(crate) fn table(title: &'static str, description: &'static str, columns: Vec<Column>) -> Panel {
    let mut panel = Panel::new("table", title, description, "short");
    let mut names = serde_json::Map::new();
    for ((_, heading, unit), letter) in columns.iter().zip('A'..='Z') {
        // With one query the column is called `Value`, with more `Value #A`, `Value #B`, …
        let value = if columns.len() == 1 { "Value".into() } else { format!("Value #{letter}") };
        names.insert(value, Value::from(*heading));
        panel.override_field(heading, &[("unit", Value::from(*unit))]);
    }
    let series = columns.into_iter().map(|(expr, _, _)| (expr, "")).collect();
    panel.targets = targets(series, Form::Table);
    panel.transformations = vec![
        json!({"id": "merge", "options": {}}),
        json!({"id": "organize", "options": {
            "excludeByName": {"Time": true},
            "indexByName": {},
            "renameByName": names
        }}),
    ];
    panel.field_config.defaults.custom =
        json!({"align": "auto", "filterable": true, "inspect": false});
    panel.options = json!({"cellHeight": "sm", "frameIndex": 0, "showHeader": true});
    panel
}

/// Returns one coloured ribbon a series, for series that are states.
pub(crate) fn state_timeline(
    title: &'static str,
    description: &'static str,
    series: Vec<Series>,
) -> Panel {
    let mut panel = Panel::new("state-timeline", title, description, "none").with_states();
    panel.targets = targets(series, Form::OverTime);
    panel.field_config.defaults.custom =
        json!({"fillOpacity": 70, "lineWidth": 0, "spanNulls": false});
    panel.options = json!({
        "alignValue": "center",
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": false},
        "mergeValues": true,
        "rowHeight": 0.9,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"}
    });
    panel
}

/// Returns the buckets of a Prometheus histogram over time.
pub(crate) fn heat_map(
    title: &'static str,
    description: &'static str,
    bucket_increase: String,
) -> Panel {
    let mut panel = Panel::new("heatmap", title, description, "short");
    panel.targets = targets(vec![(bucket_increase, "{{le}}")], Form::HeatMap);
    panel.field_config.defaults.custom = json!({"scaleDistribution": {"type": "linear"}});
    panel.options = json!({
        "calculate": false,
        "cellGap": 1,
        "color": {
            "exponent": 0.5,
            "fill": "dark-orange",
            "mode": "scheme",
            "reverse": false,
            "scale": "exponential",
            "scheme": "Viridis",
            "steps": 64
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": true},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "showColorScale": false, "yHistogram": false},
        "yAxis": {"axisPlacement": "left", "reverse": false, "unit": "none"}
    });
    panel
}

impl Panel {
    fn new(
        kind: &'static str,
        title: &'static str,
        description: &'static str,
        unit: &'static str,
    ) -> Self {
        Self {
            id: 0,
            grid_pos: GridPos::default(),
            title,
            description,
            kind,
            datasource: DataSource::CHOSEN,
            targets: Vec::new(),
            field_config: FieldConfig {
                defaults: FieldDefaults {
                    unit,
                    no_value: "no data",
                    color: json!({"mode": "thresholds"}),
                    thresholds: steps(&[(None, "text")]),
                    mappings: Vec::new(),
                    custom: json!({}),
                },
                overrides: Vec::new(),
            },
            options: json!({}),
            transformations: Vec::new(),
        }
    }

    /// Colours values from `limit` on, and draws the limit as a line over time.
    pub(crate) fn with_limit(mut self, limit: f64, color: &'static str) -> Self {
        self.field_config.defaults.thresholds = steps(&[(None, "text"), (Some(limit), color)]);
        if self.kind == "timeseries" {
            self.field_config.defaults.custom["thresholdsStyle"] = json!({"mode": "line"});
        }
        self
    }

    /// Stacks the series whose legend matches `legends`, a regular expression between slashes.
    pub(crate) fn with_stack(mut self, legends: &'static str) -> Self {
        self.field_config.overrides.push(json!({
            "matcher": {"id": "byRegexp", "options": legends},
            "properties": [{
                "id": "custom.stacking",
                "value": {"group": "A", "mode": "normal"}
            }]
        }));
        self
    }

    /// Shows state numbers as words and colours.
    pub(crate) fn with_states(mut self) -> Self {
        self.field_config.defaults.mappings = vec![states()];
        self
    }

    /// Shows the state numbers of one column as words and colours.
    pub(crate) fn with_state_column(mut self, heading: &'static str) -> Self {
        let cell = json!({"mode": "basic", "type": "color-background"});
        let properties = [("mappings", json!([states()])), ("custom.cellOptions", cell)];
        self.override_field(heading, &properties);
        self
    }

    /// Makes the cells of a column a link.
    pub(crate) fn with_link(mut self, heading: &'static str, title: &str, url: &str) -> Self {
        self.override_field(heading, &[("links", json!([{"title": title, "url": url}]))]);
        self
    }

    /// Orders a table by a column, largest first.
    pub(crate) fn sorted_by(mut self, heading: &'static str) -> Self {
        self.options["sortBy"] = json!([{"desc": true, "displayName": heading}]);
        self
    }

    /// Stacks the series, for parts of a whole.
    pub(crate) fn stacked(mut self) -> Self {
        self.field_config.defaults.custom["stacking"] = json!({"group": "A", "mode": "normal"});
        self.field_config.defaults.custom["fillOpacity"] = json!(60);
        self
    }

    /// Shows the names of the series instead of their values, for metrics that are always 1.
    pub(crate) fn with_names(mut self) -> Self {
        self.options["textMode"] = json!("name");
        self
    }

    fn override_field(&mut self, heading: &str, properties: &[(&str, Value)]) {
        let properties: Vec<Value> =
            properties.iter().map(|(id, value)| json!({"id": id, "value": value})).collect();
        self.field_config.overrides.push(json!({
            "matcher": {"id": "byName", "options": heading},
            "properties": properties
        }));
    }
}

/// What a panel does with the answer of its queries.
#[derive(Clone, Copy)]
enum Form {
    OverTime,
    Now,
    Table,
    HeatMap,
}

fn targets(series: Vec<Series>, form: Form) -> Vec<Target> {
    let (format, instant) = match form {
        Form::OverTime => ("time_series", false),
        Form::Now => ("time_series", true),
        Form::Table => ("table", true),
        Form::HeatMap => ("heatmap", false),
    };
    let target = |((expr, legend), letter): (Series, char)| Target {
        ref_id: letter.to_string(),
        datasource: DataSource::CHOSEN,
        expr,
        legend_format: legend.to_owned(),
        format,
        instant,
        range: !instant,
    };
    series.into_iter().zip('A'..='Z').map(target).collect()
}

fn steps(steps: &[(Option<f64>, &str)]) -> Value {
    let steps: Vec<Value> =
        steps.iter().map(|(value, color)| json!({"color": color, "value": value})).collect();
    json!({"mode": "absolute", "steps": steps})
}

/// State numbers as words; the colours differ in lightness too, for those who see few of them.
fn states() -> Value {
    let mut options = serde_json::Map::new();
    for (index, (state, text, color)) in [
        (STATE_INSUFFICIENT_DATA, "not decided", "#808080"),
        (STATE_OK, "ok", "semi-dark-green"),
        (STATE_DRIFTED, "drifted", "orange"),
        (STATE_BROKEN_DATA, "broken data", "dark-purple"),
    ]
    .into_iter()
    .enumerate()
    {
        options.insert(
            state.number.to_string(),
            json!({"color": color, "index": index, "text": text}),
        );
    }
    json!({"type": "value", "options": options})
}
