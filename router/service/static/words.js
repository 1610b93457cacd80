// Elements, and numbers as people read them.

const $ = (id) => document.getElementById(id);

function make(tag, className = "", ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content.filter((part) => part !== null && part !== undefined));
  return element;
}

function count(n) {
  return n.toLocaleString("en", { maximumFractionDigits: 1 });
}

function visualTokens(n) {
  return n === 1 ? "1 visual token" : `${count(n)} visual tokens`;
}

function flops(n) {
  const units = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"]];
  const [size, unit] = units.find(([least]) => n >= least) || [1, ""];
  return `${(n / size).toPrecision(3)}\u00a0${unit}`.trim();
}

// Of what is nearly all or nearly nothing one digit more.
function percent(share) {
  const points = 100 * share;
  if (points > 99 && points < 100) return `${(Math.floor(10 * points) / 10).toFixed(1)}%`;
  if (points > 0 && points < 1) return `${Math.max(0.1, points).toFixed(1)}%`;
  return `${points.toFixed(0)}%`;
}

// A probability, never quite 0 or 1.
function chance(p) {
  const points = Math.round(100 * p);
  if (points === 0) return "< 1%";
  return points === 100 ? "> 99%" : `${points}%`;
}

// "49% fewer", "as many", "3% more".
function difference(part, whole) {
  if (part === whole) return "as many";
  return part < whole ? `${percent(1 - part / whole)} fewer` : `${percent(part / whole - 1)} more`;
}

function milliseconds(ms) {
  return ms < 1000 ? `${ms.toFixed(ms < 10 ? 1 : 0)}\u00a0ms` : `${(ms / 1000).toFixed(1)}\u00a0s`;
}

function badge(text, kind = "") {
  return make("span", `badge ${kind}`.trim(), text);
}
