// How good the model was by its labels: one metric over its windows, with what each number rests on.

import { byId, element, hideTip, setText, showTip, svg } from "./dom.js";
import { count, number, percent, plural, span } from "./format.js";

const LEFT = 52;
const TOP = 10;
const WORDS = {
  accuracy: "accuracy", balanced_accuracy: "balanced accuracy", precision: "precision", recall: "recall",
  specificity: "specificity", f1: "F1", macro_f1: "macro F1", weighted_f1: "weighted F1", matthews: "Matthews' correlation",
  kappa: "Cohen's kappa", prevalence: "prevalence", roc_auc: "ROC AUC", average_precision: "average precision",
  log_loss: "log loss (nats)", brier: "Brier score", calibration_error: "calibration error", mean_error: "mean error",
  mean_absolute_error: "mean absolute error", mean_squared_error: "mean squared error",
  root_mean_squared_error: "root mean squared error", mean_relative_error: "mean relative error",
  mean_symmetric_error: "mean symmetric error", r_squared: "R²",
};
// Shown first, where the task has it.
const FIRST = ["roc_auc", "accuracy", "mean_absolute_error"];

const plot = byId("performance");
const select = byId("metric");
let points = [];
let chosen = null;

function pointsOf(model, version, segment) {
  const found = model.windows.map((it) => {
    const part = it.parts.find((part) => part.version === version && part.segment === segment);
    return part && { ...part, window: it.window, final: it.final };
  });
  return found.filter((it) => it != null);
}

function choices() {
  const names = new Set(points.flatMap((point) => point.metrics.map((metric) => metric.name)));
  return Object.keys(WORDS).filter((name) => names.has(name));
}

// Shows nothing for a model whose labels nobody follows.
export function show(performance, { model: name, version, segment }) {
  const model = performance.models.find((it) => it.model === name);
  byId("performance-card").hidden = model == null;
  if (!model) return;
  points = pointsOf(model, version, segment);
  const names = choices();
  if (!names.includes(chosen)) chosen = FIRST.find((it) => names.includes(it)) ?? names[0] ?? null;
  select.replaceChildren(...names.map((it) => element("option", { value: it }, WORDS[it])));
  select.value = chosen ?? "";
  byId("metric-label").hidden = names.length === 0;
  const sampled = model.sample < 1 ? `, of ${percent(model.sample)} of predictions` : "";
  setText("performance-note", `by labels within ${number(model.horizon_seconds / 3600)} h of their predictions${sampled}; ${plural(model.labels_waiting, "label")} without prediction so far, ${count(model.counts.unmatched)} without any`);
  draw();
}

function valueOf(point) {
  return point.metrics.find((metric) => metric.name === chosen);
}

function scale(values) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const room = 0.08 * (most - least || Math.abs(most) || 1);
  return [least - room, most + room];
}

function draw() {
  hideTip();
  const known = points.filter((point) => valueOf(point));
  if (!known.length) {
    plot.replaceChildren(element("p", {}, points.length ? "No label has come yet for these predictions." : "No prediction yet."));
    return;
  }
  const { width, height } = plot.getBoundingClientRect();
  const bottom = height - 46;
  const ends = known.flatMap((point) => [valueOf(point).value, ...(valueOf(point).interval ?? [])]);
  const [low, high] = scale(ends);
  const step = (width - LEFT - 12) / points.length;
  const x = (at) => LEFT + step * (at + 0.5);
  const y = (value) => bottom - ((value - low) / (high - low)) * (bottom - TOP);
  const drawing = svg("svg", { role: "img", "aria-label": `${WORDS[chosen]} by window` });
  for (const share of [0, 0.5, 1]) {
    const value = low + share * (high - low);
    drawing.append(
      svg("line", { class: "grid", x1: LEFT, x2: width - 8, y1: y(value), y2: y(value) }),
      svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, number(value)),
    );
  }
  points.forEach((point, at) => drawPoint(drawing, point, { x: x(at), step, y, bottom, height }));
  drawing.append(
    svg("text", { x: LEFT - 6, y: height - 24, "text-anchor": "end" }, "labelled"),
    svg("text", { x: LEFT, y: height - 4 }, span(points[0].window).split(" to ")[0]),
    svg("text", { x: width - 8, y: height - 4, "text-anchor": "end" }, span(points.at(-1).window).split(" to ")[1]),
  );
  plot.replaceChildren(drawing);
}

// A window's value with its interval, hollow while more labels may come, and the share that is labelled.
function drawPoint(drawing, point, { x, step, y, bottom, height }) {
  const metric = valueOf(point);
  if (metric?.interval) {
    const [from, to] = metric.interval;
    drawing.append(svg("line", { class: "interval", x1: x, x2: x, y1: y(from), y2: y(to) }));
  }
  if (metric) drawing.append(svg("circle", { class: point.final ? "value" : "value open", cx: x, cy: y(metric.value), r: Math.min(4, Math.max(2, step / 3)) }));
  const bar = Math.max(2, 0.7 * step);
  const share = 14 * point.coverage;
  drawing.append(
    svg("rect", { class: "reference", x: x - bar / 2, y: height - 34, width: bar, height: 14, "fill-opacity": 0.35 }),
    svg("rect", { class: "current", x: x - bar / 2, y: height - 20 - share, width: bar, height: share }),
  );
  const hit = svg("rect", { class: "hit", x: x - step / 2, y: TOP, width: step, height: height - TOP - 18 });
  hit.addEventListener("pointermove", (event) => showTip(words(point, metric), event.clientX, event.clientY));
  hit.addEventListener("pointerleave", hideTip);
  drawing.append(hit);
}

function words(point, metric) {
  const value = metric ? `${WORDS[chosen]} ${number(metric.value)}` : `no ${WORDS[chosen]}`;
  const interval = metric?.interval ? `, 95 % between ${number(metric.interval[0])} and ${number(metric.interval[1])}` : "";
  const exact = metric?.exact_between ? `\nexact value between ${number(metric.exact_between[0])} and ${number(metric.exact_between[1])}` : "";
  const delay = point.delay_median_seconds == null ? "" : `, half of them within ${number(point.delay_median_seconds / 3600)} h`;
  const labels = `${count(point.labelled)} of ${plural(point.predictions, "prediction")} labelled (${percent(point.coverage)})${delay}`;
  return `${span(point.window)}\n${value}${interval}${exact}\n${labels}\n${point.final ? "final" : "more labels may come"}`;
}

select.addEventListener("change", () => {
  chosen = select.value;
  draw();
});
addEventListener("resize", () => points.length && draw());
