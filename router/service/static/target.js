// Who decides the number of visual tokens: the router alone, or a slider that asks something of it.

const TARGETS = {
  router: {
    values: () => [],
    meaning: () => "The router decides, under the service’s own settings.",
  },
  scale: {
    label: "Scale",
    values: (scales) => scales,
    first: (values) => Math.floor(values.length / 2),
    text: (scale) => visualTokens(scale),
    meaning: (scale) => `A grid of ${Math.sqrt(scale)} × ${Math.sqrt(scale)} per view, whatever the router says.`,
    ticks: (scales) => scales.map(String),
  },
  token_budget: {
    label: "Visual tokens per question",
    values: budgets,
    first: (values) => Math.floor(values.length / 2),
    text: (tokens) => `${count(tokens)} on average`,
    meaning: (tokens) => `Over many questions the router spends at most ${visualTokens(tokens)} on average: more on those that ` +
      "need them, fewer on the others.",
    ticks: (scales) => [count(scales[0]), count(scales.at(-1))],
  },
  accuracy_drop: {
    label: "Accuracy lost against the full scale",
    values: () => [0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2],
    first: () => 2,
    text: (drop) => `${count(100 * drop)} ${drop === 0.01 ? "point" : "points"} at most`,
    meaning: () => "As few tokens as the router was certified for; where it was not, the full scale answers.",
    ticks: () => ["0.5", "20"],
  },
};

// From the smallest to the full scale in steps of equal ratio, as round numbers.
function budgets(scales) {
  const small = scales[0], full = scales.at(-1), steps = 24, found = new Set();
  for (let i = 0; i <= steps; i++) {
    const exact = small * (full / small) ** (i / steps);
    found.add(i === steps ? full : Math.max(small, Math.round(Number(exact.toPrecision(2)))));
  }
  return [...found];
}

const target = {
  scales: [],
  places: {},           // name -> where its slider stands
  changed: () => {},    // called when something else is asked for

  get name() {
    return document.querySelector("input[name=target]:checked").value;
  },

  get value() {
    return TARGETS[this.name].values(this.scales)[this.places[this.name]];
  },

  // What a request says of it.
  get fields() {
    return this.value === undefined ? {} : { [this.name]: this.value };
  },

  set(name, value) {
    document.querySelector(`input[name=target][value=${name}]`).checked = true;
    if (name in this.places) this.places[name] = Math.max(0, TARGETS[name].values(this.scales).indexOf(value));
    this.draw();
  },

  // The ladder of the model that is served.
  use(scales) {
    this.scales = scales;
    for (const [name, { values, first }] of Object.entries(TARGETS)) {
      if (first) this.places[name] = first(values(scales));
    }
    this.draw();
  },

  draw() {
    const kind = TARGETS[this.name], values = kind.values(this.scales);
    $("slider").hidden = values.length === 0;
    $("meaning").textContent = kind.meaning(this.value);
    if (values.length === 0) return;
    const place = this.places[this.name];
    $("value").max = values.length - 1;
    $("value").value = place;
    $("value").setAttribute("aria-valuetext", kind.text(values[place]));
    $("value-label").textContent = kind.label;
    $("chosen").textContent = kind.text(values[place]);
    $("ticks").replaceChildren(...kind.ticks(this.scales).map((tick) => make("span", "", tick)));
  },

  start() {
    $("targets").addEventListener("change", () => {
      if (this.scales.length === 0) return;   // the service has not said yet what there is
      this.draw();
      this.changed();
    });
    $("value").addEventListener("input", () => {
      this.places[this.name] = Number($("value").value);
      this.draw();
      this.changed();
    });
    $("meaning").textContent = TARGETS.router.meaning();
  },
};
