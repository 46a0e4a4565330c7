#!/usr/bin/env python3
"""Holds a program on a GPU against itself on the CPU. Needs Python 3.10 alone, and Linux.

usage: python3 tools/check_gpu.py BINARY FOLDER NAME

BINARY is a `resnet`, FOLDER is emptied and written to; NAME is that of a GPU, software too, such as
llvmpipe.

The built-in pictures are trained on with both devices: losses of the same steps must be near each
other. A run on one device is killed and goes on with the other, there and back. The model answers
alike on both, and its export is verified on both. Without any driver the program works, and says of
a GPU what is missing.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

STEPS = 30
TRAIN = ["train", "resnet20", "--steps", str(STEPS), "batch=16", "seed=3", "eval_every=1000it",
         "checkpoint_every=5it", "log_every=1it", "val_fraction=0.002"]
# Losses of the first steps, then of all: training amplifies what devices round otherwise.
FIRST, NEAR, FAR = 10, 1e-3, 0.15


def check(condition, text, *shown):
    print(("ok    " if condition else "WRONG ") + text, flush=True)
    if not condition:
        print(*shown, sep="\n")
        sys.exit(1)


def run(binary, *words, fails=False, env=None, limit=600):
    done = subprocess.run([binary, *map(str, words)], capture_output=True, text=True, timeout=limit,
                          env={**os.environ, **(env or {})})
    if (done.returncode != 0) != fails:
        check(False, " ".join(map(str, words)), done.stdout[-3000:], done.stderr[-3000:])
    return done


def events(folder, kind):
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def losses(folder):
    return {event["step"]: event["loss"] for event in events(folder, "step")}


def near(found, expected, text):
    check(sorted(found) == sorted(expected) and len(found) > FIRST, f"{text}: the same steps",
          sorted(found), sorted(expected))
    off = {step: abs(found[step] - loss) / loss for step, loss in expected.items()}
    first = max(off[step] for step in sorted(off)[:FIRST])
    check(first < NEAR, f"{text}: the first {FIRST} losses within {first:.1e}", found, expected)
    check(max(off.values()) < FAR, f"{text}: all losses within {max(off.values()):.1e}", found,
          expected)


def kill_after(binary, folder, step, *words):
    """Begins a run and kills it once it has kept a step."""
    process = subprocess.Popen([binary, *map(str, words)], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    end = time.monotonic() + 300
    while time.monotonic() < end and process.poll() is None:
        log = folder / "events.jsonl"
        if log.exists() and max(losses(folder), default=0) >= step:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return
        time.sleep(0.05)
    check(False, f"a run comes to step {step}")


def main():
    binary, folder, name = os.path.abspath(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    gpu = f"gpu:{name}"

    told = json.loads(run(binary, "devices", "--json").stdout)
    names = [device["name"] for device in told["devices"]]
    check(any(name.lower() in n.lower() for n in names), f"`{name}` is listed", names)

    for device, place in (("cpu", "cpu"), (gpu, "gpu")):
        run(binary, *TRAIN, "--device", device, "--out", folder / place)
    near(losses(folder / "gpu"), losses(folder / "cpu"), "trained on both")

    there = folder / "there"
    kill_after(binary, there, 8, *TRAIN, "--device", gpu, "--out", there)
    kill_after(binary, there, 18, "train", "--resume", there, "--device", "cpu")
    run(binary, "train", "--resume", there, "--device", gpu)
    near(losses(there), losses(folder / "cpu"), "killed and resumed on the CPU and back")

    model = folder / "cpu" / "model.safetensors"
    answers = {}
    for device in ("cpu", gpu):
        answer = run(binary, "eval", model, "--json", "val_fraction=0.01", "--device", device)
        answers[device] = json.loads(answer.stdout)
        export = folder / f"{device.replace(':', '-')}.onnx"
        run(binary, "export", model, export, "--verify", "--device", device)
    a, b = (answers[device]["metrics"] if "metrics" in answers[device] else answers[device]
            for device in ("cpu", gpu))
    check(abs(a["loss"] - b["loss"]) < 1e-4 * a["loss"], "evaluations agree", a, b)
    check(True, "exports are verified on both")

    none = {"VK_DRIVER_FILES": "/nonexistent.json", "VK_ICD_FILENAMES": "/nonexistent.json"}
    run(binary, *TRAIN[:3], "2", *TRAIN[4:], "--out", folder / "none", env=none)
    refused = run(binary, "eval", model, "--device", "gpu", env=none, fails=True)
    check("driver" in refused.stderr and "mesa-vulkan-drivers" in refused.stderr,
          "without a driver it is said what is missing", refused.stderr)


if __name__ == "__main__":
    main()
