// Comma-separated values by RFC 4180, safe to open in a spreadsheet.

/**
 * One field. Texts come from files and servers: those that a spreadsheet would take for a formula
 * get an apostrophe first.
 */
export function field(value) {
  if (value === null || value === undefined) return "";
  let text = String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Rows of fields, each ended as the standard wants. */
export const csv = (rows) => rows.map((row) => `${row.map(field).join(",")}\r\n`).join("");

const COLUMNS = [
  "file", "model", "version", "class", "label", "probability", "sure", "unlike", "likeness",
  "width", "height", "queue_ms", "decode_ms", "compute_ms", "total_ms", "round_trip_ms", "error",
];

/** One row for each picture and model: the likeliest class, or why there is none. */
export function answersCsv(pictures, models) {
  const rows = [COLUMNS];
  for (const picture of pictures) {
    for (const model of models) {
      const { found, error } = picture.answers.get(model.key);
      const { picture: seen, total, roundTrip, version } = found ?? {};
      const best = seen?.top[0];
      rows.push([
        picture.name, model.name, version ?? model.version, best?.class, best?.label,
        best?.probability, seen?.sure, seen?.unlike, seen?.likeness, seen?.width, seen?.height,
        seen?.ms.queue, seen?.ms.decode, seen?.ms.compute, total, roundTrip?.toFixed(1),
        error?.message,
      ]);
    }
  }
  return csv(rows);
}
