// The map of drift scores: features down, windows across, one canvas.

import { byId, element, hideTip, showTip, themeColour } from "./dom.js";
import { STATES, count, score, span, time } from "./format.js";

const ROW = 20;
const CELL_MIN = 9;
const CELL_MAX = 96;
const SCORE_TOP = 3;

const canvas = byId("heat");
const axis = byId("heat-axis");
const scroller = byId("heat-scroll");
let shown = null; // { map, feature, end, length, onChoose }
let layout = null; // { gutter, cell, first, columns }
let palette = null;

function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function readPalette() {
  const names = ["card", "faint", "line", "ink", "soft", "accent", "hatch", "broken", "tint-broken", "low", "mid", "high", "top"];
  const colours = Object.fromEntries(names.map((name) => [name, themeColour(name)]));
  for (const name of ["low", "mid", "high", "top"]) colours[name] = rgb(colours[name]);
  return colours;
}

function blend(from, to, share) {
  return from.map((value, at) => Math.round(value + (to[at] - value) * share));
}

// Two ramps that meet at 1, the threshold: cold below, warm above, so that it shows without a number.
function colourOf(value) {
  const { low, mid, high, top } = palette;
  return value <= 1
    ? blend(low, mid, Math.max(0, value))
    : blend(high, top, Math.min(1, (value - 1) / (SCORE_TOP - 1)));
}

function inkOn([r, g, b]) {
  return 0.299 * r + 0.587 * g + 0.114 * b < 140 ? "#fff" : "#17212b";
}

function sized(target, width, height) {
  const ratio = devicePixelRatio || 1;
  target.width = Math.round(width * ratio);
  target.height = Math.round(height * ratio);
  target.style.width = `${width}px`;
  target.style.height = `${height}px`;
  const context = target.getContext("2d");
  context.scale(ratio, ratio);
  context.textBaseline = "middle";
  return context;
}

function hatch(context, x, y, width, height, colour, lean) {
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.beginPath();
  for (let at = -height; at < width + height; at += 5) {
    context.moveTo(x + at, lean < 0 ? y + height : y);
    context.lineTo(x + at + height, lean < 0 ? y : y + height);
  }
  context.stroke();
  context.restore();
}

function drawCell(context, x, y, width, height, state, value, numbers) {
  if (state === "broken_data") {
    context.fillStyle = palette["tint-broken"];
    context.fillRect(x, y, width, height);
    hatch(context, x, y, width, height, palette.broken, 1);
    hatch(context, x, y, width, height, palette.broken, -1);
  } else if (value == null) {
    context.fillStyle = palette.faint;
    context.fillRect(x, y, width, height);
    if (state === "insufficient_data") hatch(context, x, y, width, height, palette.hatch, -1);
  } else {
    const colour = colourOf(value);
    context.fillStyle = `rgb(${colour})`;
    context.fillRect(x, y, width, height);
    if (numbers) {
      context.fillStyle = inkOn(colour);
      context.font = `${1 < value ? "600 " : ""}11.5px system-ui, sans-serif`;
      context.textAlign = "center";
      context.fillText(score(value), x + width / 2, y + height / 2 + 0.5);
    }
  }
}

function clipped(context, text, width) {
  if (context.measureText(text).width <= width) return text;
  let end = Math.min(text.length, 60);
  while (1 < end && width < context.measureText(`${text.slice(0, end)}…`).width) end -= 1;
  return `${text.slice(0, end)}…`;
}

function measure() {
  const { map } = shown;
  const width = scroller.clientWidth;
  const gutter = Math.min(170, Math.max(90, width * 0.2));
  const room = width - gutter - 2;
  const columns = Math.min(map.windows.length, Math.max(1, Math.floor(room / CELL_MIN)));
  const cell = Math.min(CELL_MAX, room / Math.max(1, columns));
  return { gutter, cell, columns, first: map.windows.length - columns, width };
}

function drawLabels(context) {
  shown.map.features.forEach(({ feature }, row) => {
    const chosen = feature === shown.feature;
    context.font = `${chosen ? "650 " : ""}12.5px system-ui, sans-serif`;
    context.fillStyle = chosen ? palette.accent : palette.ink;
    context.textAlign = "right";
    context.fillText(clipped(context, feature, layout.gutter - 12), layout.gutter - 8, row * ROW + ROW / 2);
  });
}

function drawChoice(context) {
  const { map, feature, end } = shown;
  const column = map.windows.findIndex((window) => window.end === end) - layout.first;
  const row = map.features.findIndex((entry) => entry.feature === feature);
  if (column < 0) return;
  const x = layout.gutter + column * layout.cell;
  context.strokeStyle = palette.soft;
  context.lineWidth = 1;
  context.setLineDash([3, 3]);
  context.strokeRect(x + 0.5, 0.5, layout.cell - 1, map.features.length * ROW - 1);
  context.setLineDash([]);
  if (row < 0) return;
  context.strokeStyle = palette.card;
  context.lineWidth = 4;
  context.strokeRect(x + 1, row * ROW + 1, layout.cell - 2, ROW - 2);
  context.strokeStyle = palette.ink;
  context.lineWidth = 2;
  context.strokeRect(x + 1, row * ROW + 1, layout.cell - 2, ROW - 2);
}

function drawAxis() {
  const { map, length } = shown;
  const context = sized(axis, layout.width, 20);
  context.font = "11.5px system-ui, sans-serif";
  context.fillStyle = palette.soft;
  context.textAlign = "left";
  const day = length % 86400000 === 0;
  const step = Math.max(1, Math.ceil((day ? 76 : 104) / layout.cell));
  for (let column = 0; column < layout.columns; column += step) {
    const x = layout.gutter + column * layout.cell;
    const text = time(map.windows[layout.first + column].start, length);
    if (layout.width + 2 < x + context.measureText(text).width && 0 < column) break;
    context.fillRect(x + 1, 0, 1, 5);
    context.fillText(text, x + 5, 11);
  }
}

export function draw() {
  if (!shown) return;
  palette = readPalette();
  layout = measure();
  const { map } = shown;
  const context = sized(canvas, layout.width, Math.max(ROW, map.features.length * ROW));
  const gap = layout.cell < 14 ? 0.5 : 1;
  map.features.forEach((_, row) => {
    for (let column = 0; column < layout.columns; column += 1) {
      const at = layout.first + column;
      const x = layout.gutter + column * layout.cell;
      drawCell(context, x + gap, row * ROW + 1, layout.cell - 2 * gap, ROW - 2, map.states[row][at], map.scores[row][at], 34 <= layout.cell);
    }
  });
  drawLabels(context);
  drawChoice(context);
  drawAxis();
}

function at(event) {
  if (!layout) return null;
  const box = canvas.getBoundingClientRect();
  const row = Math.floor((event.clientY - box.top) / ROW);
  const column = Math.floor((event.clientX - box.left - layout.gutter) / layout.cell);
  const feature = shown.map.features[row];
  if (!feature) return null;
  const inside = 0 <= column && column < layout.columns;
  return { row, feature: feature.feature, column: inside ? layout.first + column : null };
}

function hover(event) {
  const place = at(event);
  if (!place) return hideTip();
  const { map, length } = shown;
  if (place.column == null) return showTip(place.feature, event.clientX, event.clientY);
  const window = map.windows[place.column];
  const state = STATES[map.states[place.row][place.column]];
  const value = map.scores[place.row][place.column];
  const lines = [
    place.feature,
    `${state ? `${state.icon} ${state.word}` : "not in this window"}${value == null ? "" : `, score ${score(value)}`}`,
    span(window, length),
    `${count(window.rows)} rows${window.complete ? "" : ", closed without every partition"}`,
  ];
  showTip(lines.join("\n"), event.clientX, event.clientY);
}

function step(event) {
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const move = moves[event.key];
  if (!move || !shown || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.target.closest("select, input, a")) return;
  event.preventDefault();
  const { map, onChoose } = shown;
  const bounded = (value, length) => Math.max(0, Math.min(length - 1, value));
  const row = bounded(map.features.findIndex((entry) => entry.feature === shown.feature) + move[0], map.features.length);
  const found = map.windows.findIndex((window) => window.end === shown.end);
  const column = bounded((found < 0 ? map.windows.length - 1 : found) + move[1], map.windows.length);
  if (!map.features[row] || !map.windows[column]) return;
  onChoose(map.features[row].feature, map.windows[column].end);
}

function drawLegend() {
  palette = readPalette();
  const width = 132;
  const bar = element("canvas", { role: "img", "aria-label": "score 0 to 3 and above, with a line at 1, the threshold" });
  const context = sized(bar, width, 12);
  for (let x = 0; x < width; x += 1) {
    context.fillStyle = `rgb(${colourOf((x / width) * SCORE_TOP)})`;
    context.fillRect(x, 0, 1, 12);
  }
  context.fillStyle = palette.ink;
  context.fillRect(width / SCORE_TOP - 0.5, 0, 1.5, 12);
  const swatch = (state) => {
    const node = element("canvas", { "aria-hidden": "true" });
    drawCell(sized(node, 14, 12), 0, 0, 14, 12, state, null, false);
    return node;
  };
  byId("legend").replaceChildren(
    "0", bar, "3+", swatch("insufficient_data"), "too few rows", swatch("broken_data"), "broken",
  );
}

export function scrollToChosen() {
  const row = shown.map.features.findIndex((entry) => entry.feature === shown.feature);
  if (row < 0) return;
  scroller.scrollTop = Math.max(Math.min(scroller.scrollTop, row * ROW), (row + 1) * ROW - scroller.clientHeight);
}

export function show(map, choice, length, onChoose) {
  shown = { map, feature: choice.feature, end: choice.end, length, onChoose };
  draw();
}

canvas.addEventListener("mousemove", hover);
canvas.addEventListener("mouseleave", hideTip);
canvas.addEventListener("click", (event) => {
  const place = at(event);
  if (!place) return;
  const window = shown.map.windows[place.column ?? -1];
  shown.onChoose(place.feature, window ? window.end : shown.end);
});
addEventListener("keydown", step);
new ResizeObserver(() => requestAnimationFrame(draw)).observe(scroller);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  drawLegend();
  draw();
});
drawLegend();
