// The page: what is chosen (kept in the address), what is fetched (every two seconds), what is shown.

import { byId, element, setText } from "./dom.js";
import { clock, count, plural, span, time } from "./format.js";
import * as heatmap from "./heatmap.js";
import * as histogram from "./histogram.js";
import * as performance from "./performance.js";
import * as tables from "./tables.js";

const POLL_MILLIS = 2000;
const LOST_MILLIS = 7000;
const KEYS = ["model", "version", "segment", "kind", "feature", "window"];

const choice = Object.fromEntries(KEYS.map((key) => [key, new URLSearchParams(location.search).get(key)]));
let answeredAt = Date.now();
let view = null; // the newest answers: { status, models, detail, scores, feature, retraining, outcomes }
let asked = 0;
let inView = null; // the feature that both lists were last scrolled to
let drawn = ""; // what is on the screen, so that an unchanged snapshot is not drawn again

class Refused extends Error {}

async function get(path, query = {}) {
  const address = new URL(path, document.baseURI);
  address.search = "";
  for (const [key, value] of Object.entries(query)) if (value != null) address.searchParams.set(key, value);
  const answer = await fetch(address, { signal: AbortSignal.timeout(LOST_MILLIS), cache: "no-store" });
  const body = await answer.json();
  if (!answer.ok) throw new Refused(`${body.error}${body.hint ? `\n${body.hint}` : ""}`);
  return body;
}

function keepInAddress() {
  const query = new URLSearchParams(KEYS.filter((key) => choice[key] != null).map((key) => [key, choice[key]]));
  history.replaceState(null, "", `?${query}`);
}

function fillSelect(id, values, chosen) {
  const select = byId(id);
  const known = [...select.options].map((option) => option.value);
  if (known.join("\n") !== values.join("\n")) select.replaceChildren(...values.map((value) => element("option", { value }, value)));
  select.value = chosen;
}

// Settles what the address left open or what no longer exists.
function settle(models) {
  const urgency = { broken_data: 3, drifted: 2, ok: 1 };
  const gravest = [...models].sort((a, b) => (urgency[b.state] ?? 0) - (urgency[a.state] ?? 0))[0];
  if (!models.some((model) => model.model === choice.model)) Object.assign(choice, { model: gravest.model, version: null });
  const versions = models.filter((model) => model.model === choice.model);
  const current = versions.find((model) => model.version === choice.version)
    ?? [...versions].sort((a, b) => (b.activated ?? "").localeCompare(a.activated ?? ""))[0];
  choice.version = current.version;
  const segments = current.segments.map((segment) => segment.segment);
  if (!segments.includes(choice.segment)) choice.segment = segments[0] ?? "all";
  fillSelect("model", [...new Set(models.map((model) => model.model))], choice.model);
  fillSelect("version", versions.map((model) => model.version), choice.version);
  fillSelect("segment", segments.length ? segments : ["all"], choice.segment);
  const kinds = current.windows.map((kind) => kind.name);
  if (!kinds.includes(choice.kind)) choice.kind = kinds[0];
  fillSelect("kind", kinds, choice.kind);
  byId("windows").hidden = kinds.length < 2;
}

async function load() {
  const turn = ++asked;
  const [status, { models }] = await Promise.all([get("api/v1/status"), get("api/v1/models")]);
  if (turn !== asked) return;
  if (!models.length) return showEmpty(status);
  settle(models);
  const key = JSON.stringify([status.taken_at, choice]);
  if (key !== drawn) {
    const base = `api/v1/models/${encodeURIComponent(choice.model)}/${encodeURIComponent(choice.version)}`;
    const { segment, kind } = choice;
    const [detail, scores, retraining, outcomes] = await Promise.all([
      get(base, { segment, window: kind, window_end: choice.window }), get(`${base}/scores`, { segment, window: kind, windows: 120 }), get("api/v1/retraining"),
      get("api/v1/performance", { model: choice.model, version: choice.version, segment, windows: 120 }),
    ]);
    if (!detail.features.some((entry) => entry.feature === choice.feature)) choice.feature = detail.features[0]?.feature ?? null;
    const feature = choice.feature == null || detail.window == null ? null
      : await get(`${base}/features/${encodeURIComponent(choice.feature)}`, { segment, window: kind, window_end: choice.window });
    if (turn !== asked) return;
    view = { status, detail, scores, feature, retraining, outcomes };
    draw();
    drawn = key;
  }
  showLive(status);
}

function showEmpty(status) {
  byId("main").hidden = true;
  byId("choosers").hidden = true;
  const topics = status.sources.map((source) => source.topic).join(", ") || "no source";
  const rejected = status.totals.rejected ? `, ${count(status.totals.rejected)} of them rejected` : "";
  showNotice(`No records yet. Waiting for the first one on ${topics}.\n${plural(status.totals.messages, "message")} read so far${rejected}.`);
  showLive(status);
}

function showNotice(text) {
  byId("notice").hidden = text == null;
  setText("notice", text ?? "");
}

function showLive(status) {
  answeredAt = Date.now();
  byId("main").classList.remove("old");
  const live = byId("live");
  live.dataset.live = !status.live ? "stalled" : status.ready ? "live" : "waiting";
  setText("live-text", !status.live ? `stalled: ${status.not_live.join(", ")}`
    : status.ready ? `live, ${clock(status.taken_at)} UTC` : `starting: ${status.not_ready.join(", ")}`);
}

function showLost(error) {
  byId("live").dataset.live = "lost";
  const seconds = Math.round((Date.now() - answeredAt) / 1000);
  setText("live-text", `disconnected for ${seconds} s, trying again`);
  if (view) byId("main").classList.add("old");
  else showNotice(`driftd does not answer: ${error.message}`);
}

function draw() {
  const { status, detail, scores, feature, retraining, outcomes } = view;
  byId("main").hidden = false;
  byId("choosers").hidden = false;
  byId("footer").hidden = false;
  showNotice(null);
  const { summary } = detail;
  const kind = summary.windows.find((it) => it.name === detail.window_name);
  const length = kind.every_millis;
  const end = detail.window?.end;
  tables.showVerdict(detail, status, kind);
  tables.showRanking(detail, choice.feature, (name) => choose(name, choice.window));
  tables.showRetraining(retraining);
  performance.show(outcomes, choice);
  heatmap.show(scores, { feature: choice.feature, end }, length, (name, windowEnd) => {
    choose(name, windowEnd === scores.windows.at(-1)?.end ? null : windowEnd);
  });
  const hidden = scores.features_dropped ? `, ${scores.features_dropped} more features not shown` : "";
  setText("heat-note", `${plural(scores.windows.length, "window")} of ${detail.window_name}, threshold at 1${hidden}`);
  setText("histogram-title", choice.feature ?? "Distribution");
  setText("histogram-note", detail.window ? `share of rows, ${span(detail.window, length)}` : "");
  histogram.show(feature?.histogram, feature ? "There is no reference, so there is nothing to compare with." : "No window has closed yet.");
  byId("statistics").hidden = feature == null;
  if (feature) tables.showStatistics(feature);
  else setText("explanation", `The first window closes when every partition has passed ${time(summary.event_time_max)} by the window's length.`);
  setText("digest", `digest ${status.digest} · ${plural(status.totals.windows_closed, "window")} closed · driftd ${status.version}`);
  if (choice.feature !== inView) {
    inView = choice.feature;
    tables.scrollToChosen();
    heatmap.scrollToChosen();
  }
  document.title = `${detail.segment_state === "ok" ? "" : "● "}${choice.model} · driftd`;
}

function choose(feature, window) {
  Object.assign(choice, { feature, window });
  refresh();
}

async function refresh() {
  try {
    keepInAddress();
    await load();
    keepInAddress();
  } catch (error) {
    if (error instanceof Refused) {
      // The window or version has left the history: follow the newest again.
      if (choice.window != null) choice.window = null;
      else showNotice(error.message);
    } else if (LOST_MILLIS < Date.now() - answeredAt || !view) showLost(error);
  }
}

for (const id of ["model", "version", "segment", "kind"]) {
  byId(id).addEventListener("change", (event) => {
    choice[id] = event.target.value;
    if (id === "model") choice.version = null;
    choice.window = null;
    refresh();
  });
}

async function poll() {
  if (!document.hidden) await refresh();
  setTimeout(poll, POLL_MILLIS);
}
document.addEventListener("visibilitychange", () => document.hidden || refresh());
poll();
