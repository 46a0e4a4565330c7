// A picture that was chosen: its file, its thumbnail, its address for this page.

import { el } from "./dom.js";

/** Side of a thumbnail on the page, and of what is kept for it, in pixels. */
const SIDE = 48;
const KEPT = 2 * SIDE;

let last = 0;
/** Thumbnails are made one after the other, since each takes the memory of its whole picture. */
let previous = Promise.resolve();

export class Picture {
  /** Answers by the model's key. */
  answers = new Map();
  /** The class to be explained, by the model's key, where it was chosen. */
  explained = new Map();
  /** Whether its card is open in the table. */
  open = false;
  #removed = false;
  #url = null;
  #thumbnail = null;

  /** `name`: the file's, behind its folders where it came with them. */
  constructor({ file, name }) {
    this.id = last += 1;
    this.file = file;
    this.name = name;
  }

  /** An address that shows it on this page, until `release`. */
  url() {
    this.#url ??= URL.createObjectURL(this.file);
    return this.#url;
  }

  /** Gives the address back. */
  release() {
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#url = null;
  }

  /** Takes back what is asked for; it is shown no more. */
  remove() {
    this.#removed = true;
    this.answers.forEach((answer) => answer.stop());
    this.release();
  }

  /** What it is by its name, such as `TIFF`, for where it cannot be shown. */
  get kind() {
    const end = /\.([a-z0-9]{1,5})$/i.exec(this.name)?.[1].toUpperCase() ?? "?";
    return end === "TIF" ? "TIFF" : end;
  }

  /** The thumbnail: the picture's kind until it is drawn, and where it cannot be. */
  get thumbnail() {
    if (this.#thumbnail) return this.#thumbnail;
    const box = el("span", { className: "thumb" }, el("span", {}, this.kind));
    box.setAttribute("aria-hidden", "true");
    this.#thumbnail = box;
    previous = previous.then(() => (this.#removed ? null : drawn(this.file))).then((image) => {
      if (image) box.replaceChildren(image);
    });
    return box;
  }
}

/** The middle square of a picture, small; nothing where the browser cannot read it. */
async function drawn(file) {
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) return null;
  const side = Math.min(bitmap.width, bitmap.height);
  const canvas = el("canvas", { width: KEPT, height: KEPT });
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = side > SIDE;
  context.imageSmoothingQuality = "high";
  const [x, y] = [(bitmap.width - side) / 2, (bitmap.height - side) / 2];
  context.drawImage(bitmap, x, y, side, side, 0, 0, KEPT, KEPT);
  bitmap.close();
  // Hundreds of images are cheaper to paint than hundreds of canvases.
  return el("img", { src: canvas.toDataURL("image/webp"), alt: "", width: SIDE, height: SIDE });
}
