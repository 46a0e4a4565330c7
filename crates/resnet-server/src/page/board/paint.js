// Lines of any number of points on a canvas: where points are closer than pixels, a column of
// pixels is drawn at once.

import { before } from "./scale.js";

/** Points that are seen between the ends of a scale, and one more at either side. */
export function seen(list, { low, high }) {
  return [Math.max(0, before(list, low)), Math.min(list.length - 1, before(list, high) + 1)];
}

/** Whether points are closer to each other than pixels. */
function dense(list, scale, from, to) {
  return to - from > 1.5 * (scale.forth(list[to]) - scale.forth(list[from]));
}

/**
 * A curve over places `list` with values `values`. `smooth` ones have their mean drawn in each
 * column, others the lowest and the highest, which is the same outline; `points` are marked where
 * there is room for them.
 */
export function curve(paint, [x, y], list, values, { smooth = false, points = false } = {}) {
  const [from, to] = seen(list, x);
  if (to < from) return;
  paint.beginPath();
  if (dense(list, x, from, to)) columns(paint, x, y, list, values, from, to, smooth);
  else each(paint, x, y, list, values, from, to);
  paint.stroke();
  const wide = x.forth(list[to]) - x.forth(list[from]);
  if (to > from && !(points && (to - from) * 12 < wide)) return;
  paint.setLineDash([]);
  for (let i = from; i <= to; i++) {
    const height = y.forth(values[i]);
    if (!Number.isFinite(height)) continue;
    paint.beginPath();
    paint.arc(x.forth(list[i]), height, to === from ? 3 : 2.4, 0, 7);
    paint.fill();
  }
}

function each(paint, x, y, list, values, from, to) {
  let down = false;
  for (let i = from; i <= to; i++) {
    const height = y.forth(values[i]);
    if (!Number.isFinite(height)) down = false;
    else if (down) paint.lineTo(x.forth(list[i]), height);
    else {
      paint.moveTo(x.forth(list[i]), height);
      down = true;
    }
  }
}

function columns(paint, x, y, list, values, from, to, smooth) {
  let [column, low, high, sum, count, down] = [NaN, 0, 0, 0, 0, false];
  const flush = () => {
    if (!count) return;
    const heights = smooth || low === high ? [sum / count] : [low, high];
    for (const height of heights) {
      if (down) paint.lineTo(column, height);
      else paint.moveTo(column, height);
      down = true;
    }
  };
  for (let i = from; i <= to; i++) {
    const height = y.forth(values[i]);
    if (!Number.isFinite(height)) continue;
    const at = Math.round(x.forth(list[i]));
    if (at !== column) {
      flush();
      [column, low, high, sum, count] = [at, height, height, 0, 0];
    }
    low = Math.min(low, height);
    high = Math.max(high, height);
    sum += height;
    count += 1;
  }
  flush();
}

/** What lies between the lowest and the highest values of points that are of many events. */
export function band(paint, [x, y], list, lows, highs) {
  const [from, to] = seen(list, x);
  if (to < from) return;
  paint.beginPath();
  if (dense(list, x, from, to)) {
    bars(paint, x, y, list, lows, highs, from, to);
    paint.stroke();
    return;
  }
  const reach = (i, values) => {
    const height = y.forth(values[i]);
    if (Number.isFinite(height)) paint.lineTo(x.forth(list[i]), height);
  };
  for (let i = from; i <= to; i++) reach(i, highs);
  for (let i = to; i >= from; i--) reach(i, lows);
  paint.fill();
}

function bars(paint, x, y, list, lows, highs, from, to) {
  let [column, least, most] = [NaN, Infinity, -Infinity];
  const flush = () => {
    if (!(least <= most)) return;
    paint.moveTo(column + 0.5, least);
    paint.lineTo(column + 0.5, most + 0.5);
  };
  for (let i = from; i <= to; i++) {
    const [bottom, top] = [y.forth(lows[i]), y.forth(highs[i])];
    if (!Number.isFinite(bottom) || !Number.isFinite(top)) continue;
    const at = Math.floor(x.forth(list[i]));
    if (at !== column) {
      flush();
      [column, least, most] = [at, Infinity, -Infinity];
    }
    least = Math.min(least, top);
    most = Math.max(most, bottom);
  }
  flush();
}
