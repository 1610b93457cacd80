"""What the tests of the playground measure in the page: JavaScript functions, to be evaluated there."""

from __future__ import annotations

LOW_CONTRAST = """() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return { rgb: [r, g, b], a };
  };
  const over = (top, under) => top.rgb.map((value, i) => value * top.a + under[i] * (1 - top.a));
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      layers.push(parse(getComputedStyle(at).backgroundColor));
    }
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const linear = (value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const luminance = (rgb) => rgb.map((value, i) => linear(value / 255) * [0.2126, 0.7152, 0.0722][i])
    .reduce((sum, part) => sum + part);
  const contrast = (one, other) => {
    const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
    if (!text || element.closest("script, .unseen, :disabled") || !element.checkVisibility()) continue;
    seen++;
    const under = behind(element), colour = over(parse(getComputedStyle(element).color), under);
    const ratio = contrast(colour, under);
    if (ratio < 4.5) found.push(`${text}: ${ratio.toFixed(2)}`);
  }
  for (const input of document.querySelectorAll("input[type=text]")) {
    const ratio = contrast(parse(getComputedStyle(input).borderColor).rgb, behind(input.parentElement));
    if (ratio < 3) found.push(`border: ${ratio.toFixed(2)}`);
  }
  return { seen, found };
}"""
"""``{seen, found}``: how many texts are seen; those whose contrast with what is behind them is below 4.5
(WCAG 2.2, 1.4.3), and borders of fields below 3 (1.4.11)."""

OVERFLOW = """() => [...document.querySelectorAll("body *")]
  .filter((element) => element.checkVisibility() && !element.closest("pre, .unseen"))
  .filter((element) => element.getBoundingClientRect().right > innerWidth + 0.5)
  .map((element) => element.outerHTML.slice(0, 80))"""
"""What sticks out on the right; long code scrolls within its own box."""

OVERLAPS = """() => {
  const cards = [...document.querySelectorAll(".card")].filter((card) => card.checkVisibility());
  const boxes = cards.map((card) => card.getBoundingClientRect());
  return cards.flatMap((card, i) => cards.slice(i + 1).filter((_, j) => {
    const one = boxes[i], other = boxes[i + 1 + j];
    const beside = one.right <= other.left || other.right <= one.left;
    return !beside && one.bottom > other.top && other.bottom > one.top;
  }).map((other) => [card.innerText.slice(0, 20), other.innerText.slice(0, 20)]));
}"""
"""Pairs of cards of which one lies upon the other."""

SMALL = """() => ["button", "summary", "a[href]", "label.button", ".segments label", "input[type=text]"]
  .flatMap((kind) => [...document.querySelectorAll(kind)])
  .filter((element) => element.checkVisibility())
  .filter((element) => {
    const { width, height } = element.getBoundingClientRect();
    return Math.min(width, height) < 24;
  })
  .map((element) => element.outerHTML.slice(0, 80))"""
"""Controls that a finger misses: a side below 24 pixels (2.5.8)."""

FOCUSED = """() => {
  const at = document.activeElement;
  return at === document.body ? "" : at.id || at.value || at.innerText.trim();
}"""
"""The id, value or text of what has the focus; empty when nothing has."""

LINES = """async ([x0, x1, y]) => {
  const canvas = document.getElementById("canvas"), pen = canvas.getContext("2d"), size = canvas.width;
  const [x, width] = [x0 * size, (x1 - x0) * size].map(Math.round);
  const row = () => pen.getImageData(x, Math.round(y * size), width, 1).data;
  const drawn = row();
  document.getElementById("gridded").click();
  const plain = row();
  document.getElementById("gridded").click();
  let lines = 0, last = -10;
  for (let x = 0; x < drawn.length / 4; x++) {
    if (![0, 1, 2, 3].some((c) => drawn[4 * x + c] !== plain[4 * x + c])) continue;
    if (x - last > 4) lines++;
    last = x;
  }
  return lines;
}"""
"""Vertical lines of the grid over the picture, between x0 and x1 in the row at y (shares of the canvas)."""

REVEAL = """() => {
  for (const id of ["tiny", "foreign", "key-field"]) document.getElementById(id).hidden = false;
}"""
"""Shows what only some services show."""

LEVELS = "() => [...document.querySelectorAll('h1, h2, h3')].map((heading) => Number(heading.tagName[1]))"
"""Levels of the headings, in order."""
