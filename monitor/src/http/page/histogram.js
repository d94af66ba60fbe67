// Reference and current shares of one feature, in the same bins.

import { byId, hideTip, showTip, svg, element } from "./dom.js";
import { count, edge, percent, points } from "./format.js";

const LEFT = 46;
const TOP = 10;
const SPECIAL = {
  null: "missing", nan: "NaN", neg_inf: "−∞", pos_inf: "+∞", unseen: "unseen", other: "others",
};

const plot = byId("histogram");
let shown = null;

function isBin(cell) {
  return cell.kind === "bin";
}

function title(cell, step) {
  if (isBin(cell)) {
    if (cell.lower == null && cell.upper == null) return "all values";
    if (cell.lower == null) return `at most ${edge(cell.upper, step)}`;
    if (cell.upper == null) return `above ${edge(cell.lower, step)}`;
    return `above ${edge(cell.lower, step)}, at most ${edge(cell.upper, step)}`;
  }
  return cell.kind === "level" ? cell.label : cell.label ?? SPECIAL[cell.kind];
}

function smallestStep(cells) {
  const widths = cells.filter((cell) => isBin(cell) && cell.lower != null && cell.upper != null)
    .map((cell) => cell.upper - cell.lower).filter((width) => 0 < width);
  return widths.length ? Math.min(...widths) : 0;
}

function niceTop(share) {
  const steps = [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1];
  return steps.find((step) => share <= step) ?? 1;
}

function clip(text, room) {
  const letters = Math.max(2, Math.floor(room / 6.6));
  return text.length <= letters ? text : `${text.slice(0, letters - 1)}…`;
}

// Bins stand side by side in equal widths (reference quantiles would be slivers on a true scale); the axis
// carries the real edges between them. Cells that are no range stand apart, after a gap.
function slots(cells, room) {
  const apart = cells.filter((cell) => !isBin(cell) && cell.kind !== "level").length;
  const gap = apart === 0 || apart === cells.length ? 0 : 22;
  const width = Math.min(110, (room - gap) / Math.max(1, cells.length));
  let x = LEFT;
  return cells.map((cell, at) => {
    const before = cells[at - 1];
    const special = !isBin(cell) && cell.kind !== "level";
    if (special && before && (isBin(before) || before.kind === "level")) x += gap;
    const slot = { cell, x, width, special };
    x += width;
    return slot;
  });
}

function axisLabels(placed, step, base, slanted) {
  const labels = [];
  let free = -Infinity;
  placed.forEach(({ cell, x, width, special }) => {
    if (isBin(cell)) {
      if (cell.upper == null) return;
      const text = edge(cell.upper, step);
      const half = (text.length * 6.6) / 2 + 3;
      if (x + width - half < free) return;
      free = x + width + half;
      labels.push(svg("line", { class: "base", x1: x + width, x2: x + width, y1: base, y2: base + 4 }));
      labels.push(svg("text", { x: x + width, y: base + 16, "text-anchor": "middle" }, text));
    } else if (slanted) {
      const text = clip(special ? SPECIAL[cell.kind] : title(cell, step), 64);
      const [left, top] = [x + width / 2 + 3, base + 12];
      labels.push(svg("text", { x: left, y: top, "text-anchor": "end", transform: `rotate(-50 ${left} ${top})` }, text));
    } else {
      const text = clip(special ? SPECIAL[cell.kind] : title(cell, step), width - 2);
      labels.push(svg("text", { x: x + width / 2, y: base + 16, "text-anchor": "middle" }, text));
    }
  });
  return labels;
}

function bars({ cell, x, width, special }, totals, top, base) {
  const tall = (value, total) => (total ? (value / total / top) * (base - TOP) : 0);
  const reference = tall(cell.reference, totals.reference);
  const current = tall(cell.current, totals.current);
  const wide = width * 0.84;
  const narrow = width * 0.42;
  return [
    svg("rect", { class: "reference", x: x + (width - wide) / 2, y: base - reference, width: wide, height: reference, rx: 1.5 }),
    svg("rect", { class: special ? "current special" : "current", x: x + (width - narrow) / 2, y: base - current, width: narrow, height: current, rx: 1.5 }),
  ];
}

function hit({ cell, x, width }, totals, step, base) {
  const share = (value, total) => (total ? value / total : null);
  const reference = share(cell.reference, totals.reference);
  const current = share(cell.current, totals.current);
  const change = reference == null || current == null ? null : current - reference;
  const text = [
    title(cell, step),
    `reference ${percent(reference)} (${count(cell.reference)} of ${count(totals.reference)})`,
    `current ${percent(current)} (${count(cell.current)} of ${count(totals.current)})`,
    `change ${points(change)}`,
  ].join("\n");
  const area = svg("rect", { class: "hit", x, y: TOP, width, height: base - TOP });
  area.addEventListener("mousemove", (event) => showTip(text, event.clientX, event.clientY));
  area.addEventListener("mouseleave", hideTip);
  return area;
}

function draw() {
  if (!shown) return;
  if (!shown.histogram) {
    plot.replaceChildren(element("p", {}, shown.message));
    return;
  }
  const { cells, totals } = shown.histogram;
  const room = plot.clientWidth - LEFT - 6;
  const height = plot.clientHeight;
  const step = smallestStep(cells);
  const placed = slots(cells, room);
  const slanted = placed.some(({ cell, width }) => !isBin(cell) && width < 46);
  const base = height - (slanted ? 62 : 24);
  const largest = Math.max(0.01, ...cells.flatMap((cell) => [
    totals.reference ? cell.reference / totals.reference : 0, totals.current ? cell.current / totals.current : 0,
  ]));
  const top = niceTop(largest);
  const grid = [0, 0.25, 0.5, 0.75, 1].flatMap((part) => {
    const y = base - part * (base - TOP);
    const text = `${Number((part * top * 100).toFixed(2))} %`;
    return [
      svg("line", { class: part === 0 ? "base" : "grid", x1: LEFT, x2: LEFT + room, y1: y, y2: y }),
      svg("text", { x: LEFT - 7, y: y + 4, "text-anchor": "end" }, text),
    ];
  });
  plot.replaceChildren(svg(
    "svg", { viewBox: `0 0 ${plot.clientWidth} ${height}`, role: "img", "aria-label": "reference and current share of each bin" },
    ...grid,
    ...placed.flatMap((slot) => bars(slot, totals, top, base)),
    ...axisLabels(placed, step, base, slanted),
    ...placed.map((slot) => hit(slot, totals, step, base)),
  ));
}

// `message` stands in for the picture where there is none.
export function show(histogram, message) {
  shown = { histogram, message };
  draw();
}

new ResizeObserver(() => requestAnimationFrame(draw)).observe(plot);
