#!/usr/bin/env python3
"""Holds runs of several processes against one process. Needs Python 3.10 alone, and Linux.

usage: python3 tools/check_ranks.py BINARY FOLDER DATA LAUNCHER...

BINARY is a `resnet`; FOLDER is emptied and written to; DATA has photos and ResNet-50's weights, or
is absent, which is said; each LAUNCHER is a command that takes `-n N PROGRAM`, in one argument, or
`2:COMMAND` where it gets by with two processes at most.

Weights and evaluations must have the same bits for any number of processes and any MPI. A run that
loses a process ends, and goes on with another number of them; one that is stopped is noticed and
named. The first two launchers are held against each other's library, and evaluate the photos.
"""

import hashlib
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from made import check, write

TRAIN, VAL = 96, 103
SHARDS = 4
PRECISIONS = ["f32", "bf16"]
# Libraries that the first two launchers, Debian's Open MPI and MPICH, do not belong to.
MPICH_AND_OPEN_MPI = ["libmpich.so.12", "libmpi.so.40"]
NETWORK = ["resnet8", "--data", "photos", "--batch", "16", "--epochs", "5", f"shards={SHARDS}",
           "threads=1", "seed=1", "checkpoint_every=1it"]
# Runs of each launcher in which a process is killed.
KILLS = 2
# Longer than any command here takes on a slow machine.
LIMIT = 600


class Launcher:
    """A command that starts processes."""

    def __init__(self, text, binary, folder):
        most, _, command = text.rpartition(":") if text[:2] in ("1:", "2:") else ("4", "", text)
        self.most, self.words = int(most), shlex.split(command)
        self.name = Path(self.words[0]).name if "/" not in self.words[0] else self.words[0]
        self.binary, self.folder = binary, folder

    def start(self, ranks, *words, **variables):
        start = [] if ranks == 0 else [*self.words, "-n", str(ranks)]
        env = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", **variables}
        return subprocess.Popen([*start, self.binary, *map(str, words)], cwd=self.folder, env=env,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end(self, process):
        """Exit code and what was said."""
        try:
            out, err = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            check(False, f"{process.args} ends", *process.communicate())
        return process.returncode, out, err

    def run(self, ranks, *words, **variables):
        code, out, err = self.end(self.start(ranks, *words, **variables))
        check(code == 0, f"{self.name}, {ranks or 'no'} ranks: resnet {words[0]}", out, err)
        return out

    def ranks(self, launcher):
        """Processes that run the binary below one, by rank."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                program = os.readlink(entry / "exe")
                environment = (entry / "environ").read_bytes().split(b"\0")
                here = Path(os.readlink(entry / "cwd")) == self.folder
            except OSError:
                continue
            if here and program == str(self.binary) and int(entry.name) != launcher.pid:
                for variable in environment:
                    name, _, value = variable.partition(b"=")
                    if name in (b"OMPI_COMM_WORLD_RANK", b"PMI_RANK"):
                        found[int(value)] = int(entry.name)
        return found

    def signal_at(self, process, out, step, rank, number):
        """Sends a signal to a rank when a run has come to a step."""
        log, pids = self.folder / out / "events.jsonl", {}
        while process.poll() is None:
            pids = pids if rank in pids else self.ranks(process)
            text = log.read_text() if log.exists() else ""
            steps = [line for line in text.splitlines() if line.startswith('{"event":"step"')]
            if len(steps) >= step:
                os.kill(pids[rank], number)
                return
            time.sleep(0.01)
        check(False, f"{out}: step {step} is reached", *process.communicate())


def weights(folder, out):
    return hashlib.sha256((folder / out / "model.safetensors").read_bytes()).hexdigest()


def steps(folder, out):
    """What each step was, but for times; a run that went on has told some twice."""
    told = {}
    for line in (folder / out / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "step":
            told[event["step"]] = {key: event[key] for key in ("loss", "top1", "lr")}
    return told


def photos(folder, data):
    """A list of photos of ImageNet and a network that knows them, where they are at hand."""
    index = json.loads((data / "imagenet/imagenet_class_index.json").read_text())
    classes = {wnid: int(number) for number, (wnid, _) in index.items()}
    (folder / "samples").symlink_to(data / "imagenet/samples")
    names = sorted(path.name for path in (folder / "samples").iterdir())
    rows = [f"samples/{name},{classes[name.split('_')[0]]}\n" for name in names]
    (folder / "photos.csv").write_text("path,label\n" + "".join(rows))
    (folder / "classes.json").write_text(json.dumps([index[str(n)][1] for n in range(len(index))]))
    return ["import", data / "pretrained-imagenet/resnet50-imagenet-caffe-f16.safetensors", "--arch", "resnet50_v1",
            "--classes", data / "imagenet/imagenet_class_index.json", "preprocess.mean=0.485,0.458,0.408",
            "preprocess.std=0.0039216", "-o", "resnet50.safetensors"]


def same_bits(launcher, at, alone, evaluation):
    """Training and evaluation by any number of processes."""
    folder = launcher.folder
    for precision, ranks in ((p, n) for p in PRECISIONS for n in (1, 2, 4) if n <= launcher.most):
        out = f"run{at}-{precision}-{ranks}"
        launcher.run(ranks, "train", *NETWORK, f"precision={precision}", "--out", out)
        same = (weights(folder, out), steps(folder, out)) == alone[precision]
        check(same, f"{launcher.name}, {ranks} ranks, {precision}: weights and steps of one process")
    for ranks in (n for n in (2, 3, 4) if n <= launcher.most):
        said = launcher.run(ranks, "eval", "alone-f32", "--json")
        check(said == evaluation, f"{launcher.name}, {ranks} ranks: the evaluation of {VAL} pictures", said, evaluation)


def lost(launcher, at, alone, dice):
    """Processes that die, are stopped, or are asked to stop."""
    folder, f32 = launcher.folder, [*NETWORK, "precision=f32"]
    for kill in range(KILLS):
        counts = [n for n in (1, 2, 4) if n <= launcher.most]
        ranks = dice.choice(counts[1:])
        then = dice.choice([n for n in counts if n != ranks])
        out, step, rank = f"run{at}-killed-{kill}", dice.randrange(2, 20), dice.randrange(ranks)
        process = launcher.start(ranks, "train", *f32, "--out", out)
        launcher.signal_at(process, out, step, rank, signal.SIGKILL)
        code, *said = launcher.end(process)
        check(code != 0, f"{launcher.name}: rank {rank} of {ranks} is killed at step {step}, and all end", *said)
        launcher.run(then, "train", "--resume", out)
        check(weights(folder, out) == alone, f"{launcher.name}: on {then} ranks it goes on to the same weights")

    out = f"run{at}-stopped"
    process = launcher.start(2, "train", *f32, "--out", out, RESNET_MPI_TIMEOUT="5")
    launcher.signal_at(process, out, 3, 1, signal.SIGSTOP)
    code, _, said = launcher.end(process)
    check(code != 0 and "Missing: rank 1 on " in said, f"{launcher.name}: a stopped rank is named", said)

    out = f"run{at}-asked"
    process = launcher.start(2, "train", *f32, "--out", out)
    launcher.signal_at(process, out, 3, 1, signal.SIGTERM)
    code, *said = launcher.end(process)
    check(code == 130, f"{launcher.name}: a rank that is asked to stop stops all", code, *said)
    launcher.run(1, "train", "--resume", out)
    check(weights(folder, out) == alone, f"{launcher.name}: the run that was stopped goes on to the same weights")


def refused(launcher, *others):
    """What cannot be, is said once."""
    for words, part, variables in (
        (["train", *NETWORK[:5], "shards=1", "--out", "uneven"], "cannot share", {}),
        (["predict", "alone-f32", "photos/val/class0/000.ppm"], "one process", {}),
        *((["train", *NETWORK, "--out", "other"], "not of the same MPI", {"RESNET_MPI": other}) for other in others),
    ):
        code, _, said = launcher.end(launcher.start(2, *words, **variables))
        once = len([line for line in said.splitlines() if part in line]) == 1
        check(code != 0 and once, f"{launcher.name}: refused once: {part}", said)


def main():
    binary, folder, data = (Path(word).resolve() for word in sys.argv[1:4])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write(folder / "photos", train=TRAIN, val=VAL)
    launchers = [Launcher(text, binary, folder) for text in sys.argv[4:]]
    check(len(launchers) > 1, "launchers are given")
    first = launchers[0]

    alone = {}
    for precision in PRECISIONS:
        out = f"alone-{precision}"
        first.run(0, "train", *NETWORK, f"precision={precision}", "--out", out)
        alone[precision] = weights(folder, out), steps(folder, out)
    evaluation = first.run(0, "eval", "alone-f32", "--json")
    dice = random.Random(1)
    for at, launcher in enumerate(launchers):
        same_bits(launcher, at, alone, evaluation)
        lost(launcher, at, alone["f32"][0], dice)
        refused(launcher, *([MPICH_AND_OPEN_MPI[at]] if at < 2 else []))

    if not (data / "imagenet/samples").is_dir():
        print(f"skipped: {data}/imagenet is absent, so there are no photos to evaluate")
        return
    first.run(0, *photos(folder, data))
    words = ["eval", "resnet50.safetensors", "--data", "photos.csv", "--json"]
    evaluation = first.run(0, *words)
    count = json.loads(evaluation)["count"]
    for launcher, counts in zip(launchers, ((1, 2, 3, 4), (3,))):
        for ranks in counts:
            said = launcher.run(ranks, *words)
            check(said == evaluation, f"{launcher.name}, {ranks} ranks: the evaluation of {count} photos", said, evaluation)


if __name__ == "__main__":
    main()
