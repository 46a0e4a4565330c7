// Numbers as people read them.

/** A share of 1 in percent. */
export function percent(share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  if (share < 1 && share > 0.999) return "> 99.9 %";
  return `${(100 * share).toFixed(1)} %`;
}

/** A share of 1 in percent, without a decimal that says nothing. */
export const roundPercent = (share) => `${Number((100 * share).toFixed(1))} %`;

/** Milliseconds, without their unit. */
export function ms(time) {
  return time < 99.95 ? time.toFixed(1) : count(Math.round(time));
}

/** A whole number with its thousands apart. */
export const count = (n) => n.toLocaleString("en-US");

/** A number of things: `1 picture`, `2 pictures`. */
export const things = (n, thing) => `${count(n)} ${thing}${n === 1 ? "" : "s"}`;

/** Bytes in the largest unit that leaves at least one. */
export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let power = 0;
  while (n >= 1024 && power < units.length - 1) {
    n /= 1024;
    power += 1;
  }
  return `${power === 0 || n >= 99.95 ? Math.round(n) : n.toFixed(1)} ${units[power]}`;
}
