#!/usr/bin/env python3
"""Tries the promises of run directories and model files under faults. Needs Python 3.11, and strace for `errors`.

usage: python3 tools/faults.py BINARY [starts|sweeps|exports|flips|errors] ...

starts    100 times 4 simultaneous starts into one directory: one trains, the others are refused, nothing is mixed
sweeps    100 times 4 runs at once without a directory: each gets its own
exports   two exporters of one file and a reader for 60 s: never half a file
flips     1,000 flipped bits in a model and in a checkpoint: each is refused
errors    every write, rename, open, link and sync of a run fails once, fresh and resumed: the run then goes on to the same bits
"""

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

SIDE, CLASSES = 12, 4
RUN = ["resnet8", "--data", "mnist:digits", "--batch", "16", "--steps", "8", "--threads", "1",
       "checkpoint_every=3it", "eval_every=4it", "workers=0"]


def digits(folder, count):
    """Pictures of 12 x 12 pixels with a bright bar at the class's column, as idx files."""
    folder.mkdir()
    dice = random.Random(7)
    for name, n in (("train", count), ("t10k", 16)):
        labels = [i % CLASSES for i in range(n)]
        pixels = bytes(dice.randrange(80) + (150 if at % SIDE == label else 0)
                       for label in labels for at in range(SIDE * SIDE))
        head = b"".join(x.to_bytes(4, "big") for x in (0x803, n, SIDE, SIDE))
        (folder / f"{name}-images-idx3-ubyte").write_bytes(head + pixels)
        head = b"".join(x.to_bytes(4, "big") for x in (0x801, n))
        (folder / f"{name}-labels-idx1-ubyte").write_bytes(head + bytes(labels))


class Room:
    """A folder with pictures in which the program runs."""

    def __init__(self, binary):
        self.binary = str(Path(binary).resolve())
        self.folder = Path(tempfile.mkdtemp(prefix="resnet-faults-"))
        digits(self.folder / "digits", 64)

    def start(self, *args, before=()):
        return subprocess.Popen([*before, self.binary, *args], cwd=self.folder, text=True,
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def run(self, *args, before=()):
        process = self.start(*args, before=before)
        _, err = process.communicate()
        return process.returncode, err


def tensors(path):
    """What identifies the numbers of a model file."""
    data = path.read_bytes()
    return hashlib.sha256(data[8 + int.from_bytes(data[:8], "little"):]).hexdigest()


def seed(text):
    return re.search(r"seed = (\d+)", text).group(1)


def whole(run):
    """Whether a run's model is there and of its own configuration."""
    model = (run / "model.safetensors").read_bytes()
    size = int.from_bytes(model[:8], "little")
    texts = json.loads(model[8:8 + size])["__metadata__"]
    return seed(texts["recipe"]) == seed((run / "config.toml").read_text())


def starts(room):
    trained = refused = 0
    for n in range(100):
        out = f"one/{n}"
        processes = [room.start("train", *RUN, f"seed={s}", "--out", out) for s in range(4)]
        codes = []
        for process in processes:
            _, err = process.communicate()
            codes.append(process.returncode)
            if process.returncode and not re.search("already holds|is in use", err):
                sys.exit(f"{out}: {err}")
        if codes.count(0) != 1 or not whole(room.folder / out):
            sys.exit(f"{out}: codes {codes}")
        trained, refused = trained + 1, refused + 3
    return f"{trained} trained, {refused} refused, none mixed"


def sweeps(room):
    for n in range(100):
        shutil.rmtree(room.folder / "runs", ignore_errors=True)
        processes = [room.start("train", *RUN, f"seed={s}") for s in range(4)]
        for process in processes:
            _, err = process.communicate()
            if process.returncode:
                sys.exit(f"sweep {n}: {err}")
        runs = list((room.folder / "runs").iterdir())
        seeds = {seed((run / "config.toml").read_text()) for run in runs if whole(run)}
        if len(runs) != 4 or len(seeds) != 4:
            sys.exit(f"sweep {n}: {len(runs)} directories, seeds {seeds}")
    return "400 runs in 400 directories"


def exports(room):
    for name in ("a", "b"):
        room.run("train", *RUN, f"seed={ord(name)}", "--out", name)
    target = room.folder / "model.safetensors"
    valid = set()
    for name in ("a", "b"):
        room.run("export", name, "-o", "model.safetensors")
        valid.add(target.read_bytes())
    end = time.monotonic() + 60
    wrote = [0, 0]

    def export(at, name):
        while time.monotonic() < end:
            code, err = room.run("export", name, "-o", "model.safetensors")
            if code:
                sys.exit(err)
            wrote[at] += 1

    threads = [threading.Thread(target=export, args=pair) for pair in ((0, "a"), (1, "b"))]
    for thread in threads:
        thread.start()
    looks = halves = 0
    while time.monotonic() < end:
        looks += 1
        halves += target.read_bytes() not in valid
    for thread in threads:
        thread.join()
    left = [name for name in os.listdir(room.folder) if name.endswith(".partial")]
    if halves or left:
        sys.exit(f"{halves} of {looks} looks saw half a file; left: {left}")
    return f"{looks} looks at {sum(wrote)} files, each whole"


def flips(room):
    room.run("train", *RUN, "--out", "run")
    dice = random.Random(3)
    kept = []
    for name in ("model.safetensors", "checkpoints/last.safetensors"):
        original = (room.folder / "run" / name).read_bytes()
        for _ in range(500):
            bit = dice.randrange(8 * len(original))
            data = bytearray(original)
            data[bit // 8] ^= 1 << bit % 8
            (room.folder / "run" / name).write_bytes(data)
            if name.startswith("model"):
                code, err = room.run("export", "run", "-o", "out.safetensors")
            else:
                code, err = room.run("train", "--resume", "run")
            if code == 0 or "panicked" in err:
                kept.append((name, bit, err))
        (room.folder / "run" / name).write_bytes(original)
    if kept:
        sys.exit(f"{len(kept)} of 1,000 were not refused: {kept[:3]}")
    return "1,000 of 1,000 refused"


# What the system's loader leaves where it cannot open the libraries of the program.
LOADER = 127
CALLS = {"openat": "ENOSPC", "write": "ENOSPC", "rename": "EIO", "link,linkat": "EIO",
         "fsync,fdatasync": "EIO", "mkdir": "ENOSPC", "ftruncate": "EIO"}


def trace(room, call, error, number, args):
    """Runs with one call of a kind failing."""
    inject = f"inject={call}:error={error}:when={number}"
    before = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
    return room.run(*args, before=before)


def calls(room, call, args):
    """How many calls of a kind a run makes."""
    log = room.folder / "calls"
    room.run(*args, before=["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={call}"])
    return sum(1 for line in log.read_text().splitlines() if "(" in line and "resumed" not in line)


def errors(room):
    room.run("train", *RUN, "--out", "whole")
    expected = tensors(room.folder / "whole/model.safetensors")
    tried = failed = 0
    for call, error in CALLS.items():
        shutil.rmtree(room.folder / "count", ignore_errors=True)
        total = calls(room, call, ["train", *RUN, "--out", "count"])
        for number in range(1, total + 1):
            shutil.rmtree(room.folder / "run", ignore_errors=True)
            args = ["train", *RUN, "--out", "run"]
            code, err = trace(room, call, error, number, args)
            tried += 1
            failed += code != 0
            if "panicked" in err or code not in (0, 1, 2, LOADER):
                sys.exit(f"{call} {number}: code {code}: {err}")
            if (room.folder / "run/config.toml").exists():
                again = ["train", "--resume", "run"]
                # And one more error while it goes on.
                code, err = trace(room, call, error, 1 + number % max(total // 2, 1), again)
                tried += 1
                failed += code != 0
                if "panicked" in err or code not in (0, 1, 2, LOADER):
                    sys.exit(f"{call} {number}, resumed: code {code}: {err}")
                code, err = room.run(*again)
            else:
                code, err = room.run(*args)
            if code or tensors(room.folder / "run/model.safetensors") != expected:
                sys.exit(f"{call} {number}: code {code}, other bits or no model: {err}")
    return f"{tried} faults, {failed} told, the same bits after each"


def main():
    binary, *names = sys.argv[1:] or sys.exit(__doc__)
    for name in names or ["starts", "sweeps", "exports", "flips", "errors"]:
        room = Room(binary)
        began = time.monotonic()
        told = globals()[name](room)
        shutil.rmtree(room.folder)
        print(f"{name}: {told} ({time.monotonic() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
