// From values to pixels, and which values to name beside an axis.

/** A scale from `[low, high]` to `[from, to]` pixels, by logarithms if `log`. */
export function scale([low, high], [from, to], log = false) {
  const bend = log ? Math.log10 : (v) => v;
  const [a, b] = [bend(low), bend(high)];
  const factor = b > a ? (to - from) / (b - a) : 0;
  const forth = log
    ? (v) => from + (Math.log10(v) - a) * factor
    : (v) => from + (v - a) * factor;
  const back = (pixel) => {
    const value = factor ? a + (pixel - from) / factor : a;
    return log ? 10 ** value : value;
  };
  return { forth, back, low, high, log };
}

/** Round values in a range, about as many as asked for. */
export function ticks(low, high, count, log = false) {
  return log ? powers(low, high, count) : steps(low, high, count);
}

function steps(low, high, count) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const raw = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) {
    // Multiples, not sums, so that 0.3 is not 0.30000000000000004.
    found.push(Number((i * step).toPrecision(12)));
  }
  return found;
}

function powers(low, high, count) {
  const [from, to] = [Math.log10(low), Math.log10(high)];
  if (!(to > from)) return [low];
  const every = Math.max(1, Math.ceil((to - from) / count));
  const within = to - from > count * 0.7 ? [1] : to - from > 1.2 ? [1, 3] : [1, 2, 3, 5, 7];
  const found = [];
  for (let p = Math.floor(from); p <= Math.ceil(to); p++) {
    if (((p % every) + every) % every) continue;
    for (const factor of within) {
      const value = Number((factor * 10 ** p).toPrecision(12));
      if (value >= low * 0.9999 && value <= high * 1.0001) found.push(value);
    }
  }
  // Less than a power of ten is better named evenly.
  return found.length >= 2 ? found : steps(low, high, count).filter((value) => value > 0);
}

/** The index of the last value at or before `x` of a list that rises; -1 if there is none. */
export function before(list, x) {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] <= x) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** The index of the value nearest to `x` of a list that rises; -1 if it is empty. */
export function nearest(list, x) {
  const at = before(list, x);
  if (at < 0) return list.length ? 0 : -1;
  return at + 1 < list.length && list[at + 1] - x < x - list[at] ? at + 1 : at;
}

/** Of all values, the part that a full smoothing reaches back, about. */
const REACH = 0.03;

/**
 * A running mean that forgets the sooner the lower `amount` is, from 0 to 1, and never sooner than
 * it must: what it reaches back is a part of the curve, so few values stay nearly as they are. It
 * begins with the first value rather than with zero.
 */
export function smooth(values, amount) {
  const reach = amount ** 2 * REACH * values.length;
  const weight = reach / (1 + reach);
  const out = new Float32Array(values.length);
  let [sum, total] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    if (Number.isFinite(values[i])) {
      sum = sum * weight + values[i] * (1 - weight);
      total = total * weight + (1 - weight);
    }
    out[i] = Number.isFinite(values[i]) ? sum / total : NaN;
  }
  return out;
}
