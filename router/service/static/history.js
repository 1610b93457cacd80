// What was asked in this tab: to be looked at again, over a reload too. It is sent nowhere.

const KEPT = 30;
const STORE = "m3-router-history", STORE_LETTERS = 4e6;   // browsers keep about 5 million for a tab

const past = {
  entries: [],     // newest first: {question, target, family, name, picture, thumb, uri, reply}
  shown: null,
  open: () => {},  // called with the entry that is picked

  add(entry) {
    entry.thumb = thumbnail(entry.picture.image);
    this.entries.unshift(entry);
    this.entries.length = Math.min(this.entries.length, KEPT);
    this.draw();
    dataUriOf(entry.picture.blob).then((uri) => { entry.uri = uri; this.store(); }, () => {});
  },

  mark(entry) {
    this.shown = entry;
    this.draw();
  },

  draw() {
    $("unasked").hidden = this.entries.length > 0;
    $("clear").hidden = this.entries.length === 0;
    $("history").replaceChildren(...this.entries.map((entry) => {
      const { reply } = entry, image = make("img");
      image.alt = "";
      if (entry.thumb) image.src = entry.thumb;
      const what = make("span", "what", make("span", "a", reply.answer || "(nothing)"), make("span", "q", entry.question));
      const cost = make("span", "spent", `${count(reply.cost.visual_tokens)} of ${count(reply.cost.full_visual_tokens)}`,
        make("span", "unseen", " visual tokens"), document.createElement("br"), reply.answers ? "all scales" : "tokens");
      const button = make("button", "", image, what, cost);
      button.type = "button";
      if (entry === this.shown) button.setAttribute("aria-current", "true");
      button.addEventListener("click", () => this.open(entry));
      return make("li", "", button);
    }));
  },

  // The newest entries that fit, each picture once.
  store() {
    const pictures = [], entries = [];
    let letters = 0;
    for (const { question, target: asked, family, name, thumb, uri, reply } of this.entries) {
      if (!uri) continue;
      const more = JSON.stringify(reply).length + question.length + thumb.length + (pictures.includes(uri) ? 0 : uri.length);
      if (letters + more > STORE_LETTERS) continue;
      letters += more;
      if (!pictures.includes(uri)) pictures.push(uri);
      entries.push({ question, target: asked, family, name, thumb, picture: pictures.indexOf(uri), reply });
    }
    try {
      sessionStorage.setItem(STORE, JSON.stringify({ pictures, entries }));
    } catch { /* full or forbidden: then it lasts as long as the page */ }
  },

  async restore() {
    try {
      const { pictures, entries } = JSON.parse(sessionStorage.getItem(STORE)) || { pictures: [], entries: [] };
      const blobs = pictures.map((uri) => blobOf(uri.slice(uri.indexOf(",") + 1), uri.slice(5, uri.indexOf(";"))));
      this.entries = await Promise.all(entries.map(async (entry) => ({
        ...entry,
        uri: pictures[entry.picture],
        picture: await pictureOf(blobs[entry.picture], entry.name, entry.family),
      })));
    } catch {
      this.entries = [];   // of another version of this page
    }
    this.draw();
  },

  start() {
    $("clear").addEventListener("click", () => {
      this.entries = [];
      this.mark(null);
      this.store();
      $("question").focus();
    });
    return this.restore();
  },
};
