// The verdict line and the tables: ranked features, statistics of one feature, retraining.

import { byId, element, setText, svg } from "./dom.js";
import { DETECTORS, STATES, count, number, pValue, percent, plural, points, score, short, span, time } from "./format.js";

export function stateMark(state) {
  const known = STATES[state] ?? { icon: "?", word: state };
  return element("span", { class: "state", "data-state": state }, `${known.icon} ${known.word}`);
}

function fact(name, value, detail, attributes = {}) {
  return element("div", {}, element("dt", {}, name), element("dd", attributes, value, detail ? element("small", {}, ` ${detail}`) : null));
}

const TITLES = {
  ok: "No drift", drifted: "Drifted", broken_data: "Broken data",
  insufficient_data: "Too little data to judge", no_reference: "No reference to compare with",
};

// Names first what needs action: the features in the gravest states.
function inWords(detail) {
  const parts = [];
  for (const state of ["broken_data", "drifted", "insufficient_data", "no_reference"]) {
    const names = detail.features.filter((feature) => feature.state === state).map((feature) => feature.feature);
    if (!names.length) continue;
    const more = 4 < names.length ? ` and ${names.length - 4} more` : "";
    const listed = state === "drifted" || state === "broken_data" ? `: ${names.slice(0, 4).join(", ")}${more}` : "";
    parts.push(`${names.length} of ${detail.features.length} ${STATES[state].word}${listed}`);
  }
  return parts.length ? parts.join(" · ") : `all ${detail.features.length} within their limits`;
}

export function showVerdict(detail, status, kind) {
  const { window, summary, segment_state: state } = detail;
  const length = kind.every_millis;
  const waiting = window == null;
  byId("verdict").dataset.state = waiting ? "insufficient_data" : state;
  byId("verdict-mark").dataset.state = waiting ? "insufficient_data" : state;
  setText("verdict-mark", waiting ? "◌" : STATES[state].icon);
  const since = detail.segment_state_since ? ` since ${time(detail.segment_state_since, length)}` : "";
  setText("verdict-title", waiting ? "Waiting for the first window to close" : `${TITLES[state]}${since}`);
  const beside = kind.decides ? "" : "Beside the windows that decide: ";
  const other = window && !detail.window_is_newest ? "In the chosen window: " : beside;
  setText("verdict-detail", waiting
    ? `${plural(summary.windows_open, "window")} open, ${plural(summary.records, "record")} counted, newest ${time(summary.event_time_max)}`
    : other + inWords(detail));
  const rejected = status.totals.rejected;
  byId("facts").replaceChildren(
    ...(waiting ? [] : [
      fact("window", span(window, length), window.complete ? null : "incomplete", window.complete ? {} : { class: "warn" }),
      ...(detail.provisional ? [fact("so far", count(detail.provisional.rows), `rows, ${STATES[detail.provisional.state].word}, ends ${time(detail.provisional.end, length)}`)] : []),
      fact("rows", count(window.rows), `min ${count(summary.minimum_rows)}`, window.rows < summary.minimum_rows ? { class: "warn" } : {}),
    ]),
    summary.reference
      ? fact("reference", count(summary.reference.rows), `rows, built ${time(summary.reference.created).slice(0, 10)}`)
      : fact("reference", "none", null, { class: "warn" }),
    fact("lag", status.lag == null ? "–" : count(status.lag), "records"),
    ...lostFields(status),
    fact("rejected", count(rejected), `of ${count(status.totals.messages)}, ${count(summary.late)} late`, 0.001 * status.totals.messages < rejected ? { class: "warn" } : {}),
  );
}

// What the newest records come without, whichever model reads it.
function lostFields(status) {
  const fields = status.sources.flatMap((source) => source.fields_changed);
  if (!fields.length) return [];
  const names = fields.slice(0, 2).map((field) => `${field.path} ${field.reason}`);
  const more = fields.length > 2 ? `and ${count(fields.length - 2)} more` : "in all newest records";
  return [fact("fields lost", names.join(", "), more, { class: "warn" })];
}

function scoreBar(value, state) {
  const bar = svg("svg", { viewBox: "0 0 90 10", preserveAspectRatio: "none", "aria-hidden": "true", "data-state": state });
  bar.append(svg("rect", { x: 0, y: 2, width: 90, height: 6, fill: "var(--faint)" }));
  if (value != null) bar.append(svg("rect", { x: 0, y: 2, width: Math.min(3, value) * 30, height: 6, fill: "var(--state)" }));
  bar.append(svg("rect", { x: 29.5, y: 0, width: 1.2, height: 10, fill: "var(--soft)" }));
  return element("div", { class: "score" }, element("b", {}, score(value)), bar);
}

function comparison(feature) {
  if (feature.statistic == null) return "–";
  const name = DETECTORS[feature.detector] ?? feature.detector;
  const sign = feature.threshold == null ? "" : 1 < feature.score ? " > " : " ≤ ";
  return `${name} ${short(feature.statistic)}${sign}${feature.threshold == null ? "" : short(feature.threshold)}`;
}

function rankingRow(feature, chosen, onChoose) {
  const missing = feature.missing_ratio == null || feature.reference_missing_ratio == null
    ? null : feature.missing_ratio - feature.reference_missing_ratio;
  const row = element("tr", { class: chosen ? "chosen" : null, "aria-selected": String(chosen) },
    element("td", {}, stateMark(feature.state)),
    element("td", { class: "name", title: feature.feature },
      feature.role === "prediction" ? element("span", { class: "tag output", title: "prediction: an output of the model" }, "ŷ") : null,
      feature.feature),
    element("td", {}, scoreBar(feature.score, feature.state)),
    element("td", {}, comparison(feature)),
    element("td", { class: "number" }, points(missing)));
  row.addEventListener("click", () => onChoose(feature.feature));
  return row;
}

export function showRanking(detail, chosen, onChoose) {
  const { features } = detail;
  setText("ranking-note", features.length
    ? `${plural(features.length, "column")}, most drifted first${detail.episodes.length ? `, ${plural(detail.episodes.length, "episode")} open` : ""}` : "");
  const rows = features.map((feature) => rankingRow(feature, feature.feature === chosen, onChoose));
  byId("ranking").tBodies[0].replaceChildren(...rows);
}

export function scrollToChosen() {
  const scroller = byId("ranking-scroll");
  const row = scroller.querySelector(".chosen");
  if (!row) return;
  const head = scroller.querySelector("thead").offsetHeight;
  scroller.scrollTop = Math.max(Math.min(scroller.scrollTop, row.offsetTop - head), row.offsetTop + row.offsetHeight - scroller.clientHeight);
}

export function showStatistics(feature) {
  setText("statistics-note", feature.feature);
  setText("explanation", feature.explanation);
  const rows = feature.results.map((result) => element("tr", { class: result.deciding ? "deciding" : null },
    element("td", {}, DETECTORS[result.detector] ?? result.detector, result.deciding ? element("span", { class: "tag" }, "decides") : null),
    element("td", { class: "number" }, number(result.statistic), result.statistic_upper == null || result.statistic_upper === result.statistic ? null : `–${number(result.statistic_upper)}`),
    element("td", { class: "number" }, number(result.threshold)),
    element("td", { class: "number" }, number(result.lower_bound)),
    element("td", { class: "number" }, pValue(result.adjusted_p_value ?? result.p_value)),
    element("td", { class: "number" }, score(result.score))));
  byId("statistics").tBodies[0].replaceChildren(...rows);
  const sizes = [`n = ${count(feature.current_rows)} current, ${count(feature.reference_rows)} reference`];
  if (feature.minimum_detectable_effect != null) sizes.push(`smallest effect that could be seen ${number(feature.minimum_detectable_effect)}`);
  if (feature.histogram?.out_of_range_ratio) sizes.push(`${percent(feature.histogram.out_of_range_ratio)} out of the reference's range`);
  setText("sizes", sizes.join(" · "));
}

const RETRAINING_STATE = { failed: "drifted", rejected: "drifted", succeeded: "ok", suppressed: "insufficient_data" };

export function showRetraining({ events }) {
  const rows = events.map((event) => element("tr", {},
    element("td", { class: "quiet" }, time(event.at)),
    element("td", {}, element("span", { class: "state", "data-state": RETRAINING_STATE[event.state] ?? "insufficient_data" }, event.state)),
    element("td", { class: "name" }, `${event.model} ${event.version}`),
    element("td", { class: "text" }, event.summary),
    element("td", { class: "quiet name", title: event.features.join(", ") }, event.features.join(", ")),
    element("td", { class: "quiet", title: event.id }, event.policy)));
  byId("retraining").tBodies[0].replaceChildren(...rows);
  setText("retraining-note", events.length ? "events and job reports, newest first" : "no events yet: one is made when a policy's features have drifted");
}
