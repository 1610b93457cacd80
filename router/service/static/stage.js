// The picture that is asked about: chosen, dropped, pasted or an example; shown with a grid of tokens.

const stage = {
  picture: null,
  coming: Promise.resolve(),   // until the picture that was given last has been read
  changed: () => {},           // called when there is another picture
  grid: null,                  // {scale, words}, or none

  take(blob, name, example = null) {
    const coming = pictureOf(blob, name, example).then((picture) => {
      if (this.coming === coming) this.put(picture);   // else another one was given meanwhile
    });
    this.coming = coming;
    return coming;
  },

  put(picture) {
    this.picture = picture;
    this.show(null);
    this.changed(picture);
  },

  // Draws ``grid`` over the picture and says in words what it is.
  show(grid) {
    this.grid = grid;
    const { picture } = this, canvas = $("canvas");
    const side = grid ? Math.sqrt(grid.scale) : 0;
    $("hint").hidden = Boolean(picture && picture.image);
    canvas.hidden = !(picture && picture.image);
    $("caption").textContent = grid ? grid.words : "";
    if (!picture) return;
    $("hint").replaceChildren(make("b", "", picture.name), "This browser cannot show it; the service may still read it.");
    if (!picture.image) return;
    canvas.setAttribute("aria-label", grid ? `${picture.name}. ${grid.words}` : picture.name);
    drawPicture(canvas, picture.image, $("gridded").checked ? side : 0);
  },

  start() {
    const redraw = () => this.show(this.grid);
    new ResizeObserver(redraw).observe($("stage"));
    $("gridded").addEventListener("change", redraw);
    $("stage").addEventListener("click", () => $("file").click());
    $("file").addEventListener("change", () => {
      const [file] = $("file").files;
      if (file) this.take(file, file.name);
      $("file").value = "";   // the same file may be chosen again
    });
    document.addEventListener("paste", (event) => {
      const file = imageIn(event.clipboardData);
      if (!file) return;
      event.preventDefault();
      this.take(file, file.name || "picture.png");
    });
    let depth = 0;   // dragenter and dragleave come for every element on the way
    const dragging = (by) => {
      depth = by === 0 ? 0 : Math.max(0, depth + by);
      $("dropping").hidden = depth === 0;
    };
    const carriesFile = (event) => [...event.dataTransfer.types].includes("Files");
    document.addEventListener("dragenter", (event) => { if (carriesFile(event)) dragging(1); });
    document.addEventListener("dragleave", (event) => { if (carriesFile(event)) dragging(-1); });
    document.addEventListener("dragover", (event) => { if (carriesFile(event)) event.preventDefault(); });
    document.addEventListener("drop", (event) => {
      if (!carriesFile(event)) return;
      event.preventDefault();
      dragging(0);
      const file = imageIn(event.dataTransfer) || event.dataTransfer.files[0];
      if (file) this.take(file, file.name || "picture.png");
    });
    this.show(null);
  },
};

function imageIn(transfer) {
  return transfer ? [...transfer.files].find((file) => file.type.startsWith("image/")) : undefined;
}

// The grid of an answer. tokens: of that one pass; more than the scale where the model sees several views.
function gridOf(scale, tokens, chosenBy) {
  const side = Math.sqrt(scale);
  const more = {
    pad: "",
    anyres: "; a grid like this for each of several views, here that of the whole picture",
    square: "; of a picture that is not square the model sees the middle",
  };
  return { scale, words: `${visualTokens(tokens)}, ${side} × ${side}, ${chosenBy}${more[aspect]}` };
}
