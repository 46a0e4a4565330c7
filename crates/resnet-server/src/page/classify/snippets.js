// The requests of this page as commands, for a shell and for Python's own library.

import { address, contentType } from "./api.js";

/** A word of a POSIX shell. */
export function shellWord(text) {
  return /^[\w@%+:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** A text of Python, which reads what JSON writes. */
export const pythonText = (text) => JSON.stringify(text);

/** A file name that no command takes for an option or for standard input. */
const safeName = (name) => (name.startsWith("-") ? `./${name}` : name);

/**
 * The commands for curl: each of `requests`, a model and what was wished of it, for each picture.
 * `token`: whether the server wants one, which then comes from $TOKEN.
 */
export function curl(requests, pictures, token) {
  const head = ["curl --fail-with-body --silent --show-error"];
  if (token) head.push('-H "Authorization: Bearer $TOKEN"');
  const send = (request, type, body) =>
    [...head, `-H ${shellWord(`Content-Type: ${type}`)}`, `--data-binary ${body}`,
      shellWord(address(request.model, request.wish))].join(" \\\n  ");
  if (pictures.length === 1) {
    const [{ file, name }] = pictures;
    const body = shellWord(`@${safeName(name)}`);
    return requests.map((request) => send(request, contentType(file), body)).join("\n");
  }
  const names = pictures.map(({ name }) => shellWord(safeName(name))).join(" \\\n  ");
  const each = requests.map((request) => {
    const line = send(request, "application/octet-stream", '@"$picture"');
    return `  ${line.replaceAll("\n", "\n  ")}`;
  });
  return `for picture in \\\n  ${names}\ndo\n${each.join("\n")}\ndone`;
}

/** The same in Python, without any package; prints the likeliest classes. */
export function python(requests, pictures, token) {
  const list = (texts) => texts.map((text) => `    ${text},\n`).join("");
  const types = new Set(pictures.map(({ file }) => contentType(file)));
  const type = types.size === 1 ? [...types][0] : "application/octet-stream";
  const headers = [`"Content-Type": ${pythonText(type)}`];
  if (token) headers.push('"Authorization": "Bearer " + os.environ["TOKEN"]');
  return [
    "import json",
    ...(token ? ["import os"] : []),
    "import urllib.request",
    "",
    `urls = [\n${list(requests.map(({ model, wish }) => pythonText(address(model, wish))))}]`,
    `names = [\n${list(pictures.map(({ name }) => pythonText(name)))}]`,
    `headers = {${headers.join(", ")}}`,
    "for name in names:",
    '    with open(name, "rb") as file:',
    "        data = file.read()",
    "    for url in urls:",
    "        request = urllib.request.Request(url, data, headers)",
    "        with urllib.request.urlopen(request) as response:",
    "            answer = json.load(response)",
    '        for guess in answer["pictures"][0]["top"]:',
    '            print(name, answer["model"], guess["label"], guess["probability"])',
    "",
  ].join("\n");
}
