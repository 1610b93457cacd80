// A picture as it was given, and how it is drawn under the grid of its visual tokens.

const PADDING = "rgb(122 116 104)";   // CLIP's mean colour: what squares a picture for the model

// {name, blob, image, example}. image is null where this browser cannot show it: the service has the last word.
async function pictureOf(blob, name, example = null) {
  const image = new Image();
  image.src = URL.createObjectURL(blob);
  try {
    await image.decode();
  } catch {
    URL.revokeObjectURL(image.src);
    return { name, blob, image: null, example };
  }
  return { name, blob, image, example };
}

let aspect = "pad";   // how the model that is served makes pictures square, as /ready says

// Where the picture and the grid of its tokens lie on the canvas. pad: the grid is that of the padded square.
// anyres: the first of several views is the whole picture, unpadded. square: only the middle is seen.
function placeOf(image, size) {
  const fit = size / Math.max(image.naturalWidth, image.naturalHeight);
  const width = image.naturalWidth * fit, height = image.naturalHeight * fit;
  const picture = { x: (size - width) / 2, y: (size - height) / 2, width, height };
  const middle = Math.min(width, height), at = (size - middle) / 2;
  const grids = {
    pad: { x: 0, y: 0, width: size, height: size },
    anyres: picture,
    square: { x: at, y: at, width: middle, height: middle },
  };
  return { picture, grid: grids[aspect] };
}

// side: of the grid, in tokens; 0 draws none.
function drawPicture(canvas, image, side) {
  const density = window.devicePixelRatio || 1;
  const size = Math.max(1, Math.round(Math.min(canvas.clientWidth, canvas.clientHeight) * density));
  if (canvas.width !== size || canvas.height !== size) canvas.width = canvas.height = size;
  const pen = canvas.getContext("2d"), { picture, grid } = placeOf(image, size);
  pen.clearRect(0, 0, size, size);
  if (aspect === "pad") {
    pen.fillStyle = PADDING;
    pen.fillRect(0, 0, size, size);
  }
  pen.imageSmoothingQuality = "high";
  pen.drawImage(image, picture.x, picture.y, picture.width, picture.height);
  if (aspect === "square") shadeAround(pen, picture, grid);
  if (side < 1) return;
  const line = Math.min(1.5 * density, 0.09 * grid.width / side);   // of a cell, no more than a tenth
  for (const [style, width] of [["rgb(0 0 0 / .5)", 2.4 * line], ["rgb(255 255 255 / .92)", line]]) {
    pen.strokeStyle = style;
    pen.lineWidth = width;
    pen.beginPath();
    for (let i = 0; i <= side; i++) {
      const inside = Math.min(Math.max(i / side, width / 2 / size), 1 - width / 2 / size);
      const x = grid.x + grid.width * inside, y = grid.y + grid.height * inside;
      pen.moveTo(x, grid.y);
      pen.lineTo(x, grid.y + grid.height);
      pen.moveTo(grid.x, y);
      pen.lineTo(grid.x + grid.width, y);
    }
    pen.stroke();
  }
}

// What the model does not see, on either side of the middle.
function shadeAround(pen, picture, grid) {
  pen.fillStyle = "rgb(0 0 0 / .55)";
  pen.beginPath();
  pen.rect(picture.x, picture.y, picture.width, picture.height);
  pen.rect(grid.x, grid.y, grid.width, grid.height);
  pen.fill("evenodd");
}

// A small JPEG of the picture, for lists; "" where this browser cannot show it.
function thumbnail(image, size = 88) {
  if (!image) return "";
  const canvas = document.createElement("canvas");
  const fit = size / Math.max(image.naturalWidth, image.naturalHeight);
  canvas.width = Math.max(1, Math.round(image.naturalWidth * fit));
  canvas.height = Math.max(1, Math.round(image.naturalHeight * fit));
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", 0.85);
}

function blobOf(base64, type) {
  return new Blob([Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0))], { type });
}

function dataUriOf(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
