#!/usr/bin/env python3
"""Holds a program on a GPU against itself on the CPU. Needs Python 3.10 alone, and Linux.

usage: python3 tools/check_gpu.py BINARY FOLDER NAME

BINARY is a `resnet`, FOLDER is emptied and written to; NAME is that of a GPU, software too, such as
llvmpipe.

A ResNet-20 is trained on made pictures with both devices: losses of the same steps must be near each
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

from made import check, write

STEPS, TRAINED, TESTED = 30, 96, 24
TRAIN = ["train", "resnet20", "--steps", str(STEPS), "batch=16", "lr=0.005", "seed=3",
         "eval_every=1000it", "checkpoint_every=5it"]
# Losses of the first steps, one by one; then training has amplified what devices round otherwise,
# and the mean of the last ten counts.
FIRST, NEAR, FAR = 5, 1e-2, 0.1


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
    first = max(abs(found[step] / expected[step] - 1) for step in sorted(expected)[:FIRST])
    check(first < NEAR, f"{text}: the first {FIRST} losses within {first:.1e}", found, expected)
    a, b = (sum(sorted(losses.items())[i][1] for i in range(-10, 0)) / 10
            for losses in (found, expected))
    check(abs(a / b - 1) < FAR, f"{text}: the last ten losses are {a:.4f}, {b:.4f} on the CPU",
          found, expected)


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
    gpu, photos = f"gpu:{name}", folder / "photos"
    write(photos, train=TRAINED, val=TESTED)
    train = [*TRAIN, "--data", photos]

    told = json.loads(run(binary, "devices", "--json").stdout)
    names = [device["name"] for device in told["devices"]]
    check(any(name.lower() in n.lower() for n in names), f"`{name}` is listed", names)

    for device, place in (("cpu", "cpu"), (gpu, "gpu")):
        run(binary, *train, "--device", device, "--out", folder / place)
    near(losses(folder / "gpu"), losses(folder / "cpu"), "trained on both")

    there = folder / "there"
    kill_after(binary, there, 8, *train, "--device", gpu, "--out", there)
    kill_after(binary, there, 18, "train", "--resume", there, "--device", "cpu")
    run(binary, "train", "--resume", there, "--device", gpu)
    near(losses(there), losses(folder / "cpu"), "killed and resumed on the CPU and back")

    model = folder / "cpu" / "model.safetensors"
    answers = {}
    for device in ("cpu", gpu):
        answer = run(binary, "eval", model, "--data", photos, "--json", "--device", device)
        answers[device] = json.loads(answer.stdout)
        export = folder / f"{device.replace(':', '-')}.onnx"
        run(binary, "export", model, "-o", export, "--verify", "--data", photos, "--device", device)
    a, b = answers["cpu"], answers[gpu]
    check(abs(a["loss"] - b["loss"]) < 1e-4 * a["loss"], "evaluations agree", a, b)
    check(True, "exports are verified on both")

    none = {"VK_DRIVER_FILES": "/nonexistent.json", "VK_ICD_FILENAMES": "/nonexistent.json"}
    run(binary, *train, "steps=2", "--out", folder / "none", env=none)
    refused = run(binary, "eval", model, "--device", "gpu", env=none, fails=True)
    check("driver" in refused.stderr and "mesa-vulkan-drivers" in refused.stderr,
          "without a driver it is said what is missing", refused.stderr)


if __name__ == "__main__":
    main()
