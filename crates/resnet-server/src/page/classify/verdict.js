// What is to be said about an answer besides its classes.

import { percent, roundPercent } from "./format.js";

/**
 * Verdicts on what a model found, the gravest first: `kind` for their look, `short` for tables,
 * `text` that says what they mean.
 */
export function verdicts(found, model) {
  const verdicts = [];
  if (found.unlike) {
    const more = roundPercent(1 - (found.likeness ?? 0));
    verdicts.push({
      kind: "unlike",
      short: "unlike",
      title: "Unlike the pictures it learned from",
      text: `Of the pictures held back when ${model.name} was made, ${more} are more like those it`
        + " learned from. This may be none of its classes.",
    });
  }
  const { threshold, precision } = model.calibrated ?? {};
  if (found.sure === false) {
    verdicts.push({
      kind: "unsure",
      short: "not sure",
      title: "Not sure",
      text: `${percent(found.top[0].probability)} is below ${roundPercent(threshold)}. From`
        + ` there on, at least ${roundPercent(precision)} of its answers were right when it was`
        + " calibrated.",
    });
  } else if (found.sure) {
    verdicts.push({
      kind: "sure",
      short: "sure",
      title: "Sure",
      text: `From ${roundPercent(threshold)} on, at least ${roundPercent(precision)} of its answers`
        + " were right when it was calibrated.",
    });
  }
  return verdicts;
}
