// A map of Grad-CAM drawn over its picture, with the colours of the project's own overlays.

/** Longest side of a drawing in device pixels. */
const LONGEST = 1200;
/** Strength along which a line is drawn, as a part of the strongest. */
const CONTOUR = 0.5;
/** What the network did not see: how dark, and its stripes in pixels of the page. */
const UNSEEN = [0, 0, 0, 150];
const STRIPE = [140, 140, 140, 190];
const STRIPE_EVERY = 10;

/**
 * Draws the map `cam` on a canvas over a picture of `width` x `height` pixels, shown `shown` pixels
 * wide on the page. Covers fully where the evidence is strongest; the canvas's opacity does the
 * rest. What lies outside the region that the network saw is dark and striped.
 */
export function drawHeat(canvas, cam, { width, height, shown }) {
  const dense = Math.max(1, shown * devicePixelRatio);
  const scale = Math.min(dense / width, LONGEST / Math.max(width, height));
  const columns = Math.max(1, Math.round(width * scale));
  const rows = Math.max(1, Math.round(height * scale));
  const strengths = spread(cam, { width, height, columns, rows });
  const image = new ImageData(columns, rows);
  const colours = ramp();
  const every = Math.max(2, Math.round((STRIPE_EVERY * columns) / shown));
  const line = Math.max(1, Math.round(columns / shown));
  for (let y = 0, i = 0; y < rows; y += 1) {
    for (let x = 0; x < columns; x += 1, i += 1) {
      const strength = strengths[i];
      let colour;
      if (strength < 0) {
        colour = (x + y) % every < line ? STRIPE : UNSEEN;
      } else if (onContour(strengths, columns, x, i)) {
        colour = strength >= CONTOUR ? [255, 255, 255, 255] : [0, 0, 0, 255];
      } else {
        colour = colours[Math.round(255 * Math.min(1, strength))];
      }
      image.data.set(colour, 4 * i);
    }
  }
  canvas.width = columns;
  canvas.height = rows;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** The strength of each pixel as a part of the strongest; below 0 where nothing was seen. */
function spread(cam, { width, height, columns, rows }) {
  const [left, top, seenWidth, seenHeight] = cam.region;
  const most = Math.max(...cam.values, 0) || 1;
  const along = (n, size, from, extent, cells) =>
    Array.from({ length: n }, (_, i) => cell((((i + 0.5) * size) / n - from) / extent, cells));
  const xs = along(columns, width, left, seenWidth, cam.width);
  const ys = along(rows, height, top, seenHeight, cam.height);
  const strengths = new Float32Array(rows * columns);
  let i = 0;
  for (const y of ys) {
    for (const x of xs) {
      strengths[i] = x && y ? between(cam, x, y) / most : -1;
      i += 1;
    }
  }
  return strengths;
}

/** The two cells around a place from 0 to 1, and how far it is on the way; none outside. */
function cell(place, cells) {
  if (!(place >= 0 && place < 1)) return null;
  const at = Math.min(Math.max(place * cells - 0.5, 0), cells - 1);
  const low = Math.floor(at);
  return { low, high: Math.min(low + 1, cells - 1), part: at - low };
}

/** Bilinear between the centres of cells. */
function between({ values, width }, x, y) {
  const row = (r) =>
    values[r * width + x.low] * (1 - x.part) + values[r * width + x.high] * x.part;
  return row(y.low) * (1 - y.part) + row(y.high) * y.part;
}

/** Whether a pixel is on one side of the contour and one beside it on the other. */
function onContour(strengths, columns, x, i) {
  const strong = strengths[i] >= CONTOUR;
  const differs = (j) =>
    strengths[j] !== undefined && strengths[j] >= 0 && strengths[j] >= CONTOUR !== strong;
  return (
    (x > 0 && differs(i - 1))
    || (x + 1 < columns && differs(i + 1))
    || differs(i - columns)
    || differs(i + columns)
  );
}

/** 256 colours from little to much, each with how strongly it covers. */
function ramp() {
  const style = getComputedStyle(document.documentElement);
  const stops = [];
  for (let i = 0; style.getPropertyValue(`--heat${i}`); i += 1) {
    const value = parseInt(style.getPropertyValue(`--heat${i}`).trim().slice(1), 16);
    stops.push([value >> 16, (value >> 8) & 255, value & 255]);
  }
  return Array.from({ length: 256 }, (_, i) => {
    const strength = i / 255;
    const at = strength * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    const mixed = stops[low].map((v, c) => v + (stops[low + 1][c] - v) * (at - low));
    return [...mixed, 255 * Math.sqrt(strength)];
  });
}
