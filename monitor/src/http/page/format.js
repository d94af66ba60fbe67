// Words and numbers for people. Knows nothing about the page.

export const STATES = {
  ok: { icon: "✓", word: "ok" },
  drifted: { icon: "▲", word: "drifted" },
  broken_data: { icon: "✕", word: "broken data" },
  insufficient_data: { icon: "◌", word: "too few rows" },
  no_reference: { icon: "–", word: "no reference" },
};

export const DETECTORS = {
  ks: "KS", psi: "PSI", kl: "KL", js: "JS", chi_squared: "χ²", missing_rate: "missing", unseen_rate: "unseen",
};

const counts = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export function count(value) {
  return value == null ? "–" : counts.format(value);
}

export function plural(value, noun) {
  return `${count(value)} ${noun}${value === 1 ? "" : "s"}`;
}

// Three significant digits, without exponents where people would not write them.
export function number(value) {
  if (value == null) return "–";
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 0.0001 || 1e6 <= size) return value.toExponential(1).replace("e+", "e").replace("-", "−");
  if (1000 <= size) return counts.format(value).replace("-", "−");
  const digits = Math.max(0, 2 - Math.floor(Math.log10(size)));
  return value.toFixed(Math.min(digits, 4)).replace(/^-/, "−");
}

// The same without trailing zeros, for running text.
export function short(value) {
  const text = number(value);
  return text.includes(".") && !text.includes("e") ? text.replace(/\.?0+$/, "") : text;
}

export function score(value) {
  return value == null ? "–" : value < 9.95 ? value.toFixed(2) : counts.format(value);
}

export function pValue(value) {
  if (value == null) return "–";
  return value < 0.0001 ? "< 0.0001" : value.toFixed(4);
}

export function percent(share) {
  if (share == null) return "–";
  const value = share * 100;
  return `${value !== 0 && Math.abs(value) < 0.1 ? value.toFixed(2) : value.toFixed(1)} %`;
}

export function points(difference) {
  if (difference == null) return "–";
  const value = difference * 100;
  if (Math.abs(value) < 0.05) return "0";
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)} pp`;
}

// Edges are shown with as many digits as tell neighbours apart.
export function edge(value, step) {
  if (value == null) return "";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || 1e7 <= size)) return value.toExponential(1);
  const digits = step > 0 ? Math.ceil(-Math.log10(step)) + 1 : 2;
  return Number(value.toFixed(Math.max(0, Math.min(6, digits)))).toLocaleString("en-US", { maximumFractionDigits: 6 });
}

// "2013-07-01" for windows of whole days, "07-01 14:00" for shorter ones.
export function time(text, lengthMillis) {
  if (!text) return "–";
  const [date, clock] = text.split("T");
  if (lengthMillis != null && lengthMillis % 86400000 === 0 && clock.startsWith("00:00")) return date;
  return `${date} ${clock.slice(0, 5)}`;
}

export function clock(text) {
  return text ? text.split("T")[1].slice(0, 8) : "–";
}

export function span(window, lengthMillis) {
  return `${time(window.start, lengthMillis)} to ${time(window.end, lengthMillis)}`;
}
