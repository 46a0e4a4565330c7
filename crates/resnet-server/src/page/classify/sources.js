// Where pictures come from: the file chooser, the clipboard, what is dropped on the window.

import { byId, el } from "./dom.js";

/** Calls `chosen(list)` with a list of `{ file, name }`, and `refused(text)` for what is none. */
export function listen(chosen, refused) {
  const take = (files) => chosen(files.map((file) => ({ file, name: file.name })));
  const input = byId("files");
  input.addEventListener("change", () => {
    const files = [...input.files];
    // Or choosing the same files again would not be a change.
    input.value = "";
    if (files.length > 0) take(files);
  });
  let pasted = 0;
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    // Pictures that were copied from within a program all have one name.
    chosen(files.map((file) => {
      const copied = /^image\.\w+$/.test(file.name);
      if (copied) pasted += 1;
      return { file, name: copied ? file.name.replace("image", `pasted-${pasted}`) : file.name };
    }));
  });
  listenToDrops(chosen, refused);
}

function listenToDrops(chosen, refused) {
  const veil = byId("drop-veil");
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  // Every element that is entered and left tells so; at none the window is left.
  let inside = 0;
  const show = (shown) => (veil.hidden = !shown);
  addEventListener("dragenter", (event) => {
    inside += 1;
    if (carriesFiles(event)) show(true);
  });
  addEventListener("dragleave", () => {
    inside -= 1;
    if (inside <= 0) show(false);
  });
  addEventListener("dragover", (event) => {
    event.preventDefault();
    if (carriesFiles(event)) event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("drop", async (event) => {
    event.preventDefault();
    inside = 0;
    show(false);
    if (!carriesFiles(event)) {
      refused("Only files can be dropped. Copy the picture and paste it, or save it first.");
      return;
    }
    const list = await dropped(event.dataTransfer);
    if (list.length > 0) chosen(list);
    else refused("There are no pictures in what was dropped.");
  });
}

/** The files of a drop, those in folders with their path; what is plainly no picture is left. */
async function dropped(transfer) {
  // Entries are gone as soon as the event is over, so they are all taken first.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) {
    return [...transfer.files].map((file) => ({ file, name: file.name }));
  }
  const found = await Promise.all(entries.map((entry) => inEntry(entry, entry.isDirectory)));
  return found.flat();
}

async function inEntry(entry, inFolder) {
  if (entry.isDirectory) {
    const entries = await allEntries(entry.createReader());
    entries.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
    const found = [];
    for (const inner of entries) found.push(...(await inEntry(inner, true)));
    return found;
  }
  const file = await new Promise((resolve, reject) => entry.file(resolve, reject))
    .catch(() => null);
  const other = file && inFolder && (file.name.startsWith(".") || !mayBePicture(file));
  return file && !other ? [{ file, name: entry.fullPath.replace(/^\//, "") }] : [];
}

/** A folder is read in pieces; the last one is empty. */
async function allEntries(reader) {
  const all = [];
  for (;;) {
    const piece = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (piece.length === 0) return all;
    all.push(...piece);
  }
}

const mayBePicture = (file) => file.type === "" || file.type.startsWith("image/");

/** Lets the camera take pictures, where the browser has one for this page. */
export function listenToCamera(chosen) {
  const button = byId("camera");
  if (!isSecureContext || !navigator.mediaDevices?.getUserMedia) return;
  button.hidden = false;
  const [dialog, video, shoot] = [byId("camera-dialog"), byId("video"), byId("shoot")];
  let stream = null;
  let taken = 0;
  const stop = () => {
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
    video.srcObject = null;
    shoot.disabled = true;
  };
  const say = (text) => (byId("camera-text").textContent = text);
  button.addEventListener("click", async () => {
    say("Waiting for the camera ...");
    dialog.showModal();
    try {
      const wanted = { video: { facingMode: "environment", width: { ideal: 1920 } } };
      const opened = await navigator.mediaDevices.getUserMedia(wanted);
      stream = opened;
      if (!dialog.open) return stop();
      video.srcObject = opened;
      await video.play();
      shoot.disabled = false;
      say("The picture is sent to this server only.");
    } catch (error) {
      stop();
      say(`The camera cannot be used: ${error.message}.`);
    }
  });
  shoot.addEventListener("click", async () => {
    const canvas = el("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
    dialog.close();
    taken += 1;
    const name = `camera-${taken}.jpg`;
    chosen([{ file: new File([blob], name, { type: blob.type }), name }]);
  });
  byId("camera-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", stop);
  addEventListener("pagehide", stop);
}
