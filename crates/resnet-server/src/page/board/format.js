// Numbers as people read them.

const grouping = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** A whole number, thousands apart. */
export const whole = (n) => (Number.isFinite(n) ? grouping.format(n) : "–");

/** A fraction as percent. */
export const percent = (p, digits = 1) =>
  Number.isFinite(p) ? `${(100 * p).toFixed(digits)} %` : "–";

/** A number of any size, four digits. */
export function number(x) {
  if (!Number.isFinite(x)) return "–";
  const size = Math.abs(x);
  if (size === 0) return "0";
  if (size >= 1e3 && size < 1e6) return whole(x);
  if (size >= 1e6 || size < 1e-4) return x.toExponential(2).replace("e+", "e");
  const digits = Math.max(0, 3 - Math.floor(Math.log10(size)));
  return String(Number(x.toFixed(Math.min(digits, 6))));
}

/** Seconds: `42 s`, `3 min 20 s`, `5 h 07 min`, `2 d 4 h`. */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const s = Math.round(seconds);
  const two = (n) => String(n).padStart(2, "0");
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  if (s < 86400 * 2) return `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** The same, about. */
export function about(seconds) {
  if (!(seconds >= 90)) return duration(seconds);
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : duration(seconds);
}

/** The unit that seconds up to a number are shown in: its name and its length. */
export function timeUnit(most) {
  if (most >= 2 * 86400) return ["d", 86400];
  if (most >= 2 * 3600) return ["h", 3600];
  if (most >= 120) return ["min", 60];
  return ["s", 1];
}

/** A moment, in seconds since 1970: the time, and the day where it is not today. */
export function moment(seconds) {
  if (!Number.isFinite(seconds)) return "";
  const date = new Date(1000 * seconds);
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const today = date.toDateString() === new Date().toDateString();
  return today ? time : `${date.toLocaleDateString()} ${time}`;
}
