// Where a picture is shown with its heat map: a frame of fixed shape, so that nothing moves when
// the picture or the map comes.

import { el } from "./dom.js";
import { drawHeat } from "./heat.js";

/** Width over height of the stage, as in the style sheet. */
const SHAPE = 4 / 3;
/** Pictures up to this side are enlarged with their pixels seen. */
const SMALL = 128;
/** From this opacity of the map on, the picture under it is grey. */
const GREY_FROM = 0.5;

export class Stage {
  #picture;
  #size = null;
  #cam = null;
  #drawn = null;

  constructor(picture) {
    this.#picture = picture;
    this.image = el("img", { alt: picture.name, decoding: "async", draggable: false });
    this.canvas = el("canvas", { hidden: true });
    this.canvas.setAttribute("aria-hidden", "true");
    this.missing = el("p", { className: "missing", hidden: true });
    this.frame = el("div", { className: "frame" }, this.image, this.missing, this.canvas);
    this.node = el("div", { className: "stage" }, this.frame);
    this.image.addEventListener("load", () => {
      this.#resize({ width: this.image.naturalWidth, height: this.image.naturalHeight });
    });
    this.image.addEventListener("error", () => {
      this.image.hidden = true;
      this.missing.hidden = false;
      this.missing.textContent = `${picture.kind}: this browser cannot show it`;
      this.frame.classList.add("unshown");
    });
    this.image.src = picture.url();
    this.watch = new ResizeObserver(() => this.#draw());
    this.watch.observe(this.frame);
  }

  /** Shows what the server found, with the map at an opacity, or without for `null`. */
  update(found, opacity) {
    if (found) this.#resize(found);
    this.#cam = opacity === null ? null : (found?.cam ?? null);
    this.canvas.hidden = !this.#cam;
    this.canvas.style.opacity = opacity ?? 0;
    const grey = this.#cam ? Math.min(1, opacity / GREY_FROM) : 0;
    this.image.style.filter = grey > 0 ? `grayscale(${grey})` : "";
    this.#draw();
  }

  /** Stops watching the page. */
  dispose() {
    this.watch.disconnect();
    this.image.removeAttribute("src");
  }

  #resize({ width, height }) {
    if (this.#size?.width === width && this.#size?.height === height) return;
    this.#size = { width, height };
    const shape = width / height;
    this.frame.style.aspectRatio = `${width} / ${height}`;
    this.frame.style.width = `${Math.min(100, (100 * shape) / SHAPE)}%`;
    this.image.classList.toggle("small", Math.max(width, height) <= SMALL);
    this.#draw();
  }

  /** Draws the map where it is another than the one drawn, or another size is shown. */
  #draw() {
    const shown = this.frame.clientWidth;
    if (!this.#cam || !this.#size || shown === 0) return;
    const drawn = this.#drawn;
    if (drawn?.cam === this.#cam && drawn.shown === shown && drawn.size === this.#size) return;
    drawHeat(this.canvas, this.#cam, { ...this.#size, shown });
    this.#drawn = { cam: this.#cam, shown, size: this.#size };
  }
}
