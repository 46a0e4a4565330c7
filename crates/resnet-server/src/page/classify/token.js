// The question for a token.

import { token } from "./api.js";
import { byId, setText } from "./dom.js";

/** Asks the user; `text` is what the server said. Nothing where there is no token to be had. */
export function askToken(text) {
  const [dialog, input] = [byId("token-dialog"), byId("token")];
  setText(byId("token-text"), text);
  const heading = token() ? "The token was refused" : "This server asks for a token";
  setText(byId("token-heading"), heading);
  input.value = "";
  check(input);
  dialog.returnValue = "cancel";
  dialog.showModal();
  input.focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      const given = dialog.returnValue === "use" ? input.value.trim() : "";
      input.value = "";
      resolve(given);
    }, { once: true });
  });
}

/** A header holds visible letters of ASCII only; other tokens could not be sent. */
function check(input) {
  input.required = true;
  input.pattern = "\\s*[\\x21-\\x7e]+\\s*";
  input.title = "Letters, digits and signs of ASCII, without spaces";
}
