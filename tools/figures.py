#!/usr/bin/env python3
"""Makes the figures of README and docs again. Needs Python 3.9 alone, and a release build.

usage: python3 tools/figures.py [--small] [--resnet FILE] [--data DIR] [--only WORD]

Runs every command of the table below in an empty folder, with the precision that is the default on this machine,
puts what it draws into docs, and writes docs/figures/made.json: machine, program, and for each command its figures
and what it printed, from which the numbers in the texts are taken.

--small       few steps, and nothing is put into docs: every command must run and draw what docs show, drawings that
              depend on no machine must be those in docs to the byte, the explanation in docs must be the program's
              text, and commands and figures that the texts name must be those of the table
--resnet FILE the program [target/release/resnet]
--data DIR    weights and photos that are not ours to hand on, as the tests want them [../shared/data]
--only WORD   only commands that hold this word
"""
import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
TEN = "residual-networks-in-ten-minutes"
ALIKE = "the same on every machine"
STORY = ROOT / "crates/resnet/src/study/explain/story.md"
# What the explanation says of a file that stands beside it in docs only.
BESIDE = ("`docs/why-residual.md` in the program's source", "[why residual networks](why-residual.md)")

COMPARED = ["expectation-reality", "gradient-depth", "gradient-heatmap-plain", "gradient-heatmap-residual",
            "responses", "responses-sorted", "shortcut-share", "learned-probes", "learned-lesions"]
EXPLAINED = ["cnn", "expectation-reality", "curves-plain", "chain", "gradient-depth", "chain-shortcut",
             "shortcut-share", "curves-residual", "features", "learned-probes", "learned-lesions", "block", "family"]

# The command as the texts have it; its flags in the small form; figure made -> figure in docs; whether it is alike
# everywhere. A command without figures gives numbers.
TABLE = [
    ("resnet compare", "--depths 8,14 steps=4",
     {f"runs/compare/figures/{name}.svg": f"figures/{name}.svg" for name in COMPARED}, None),
    ("resnet explain", "--steps 4",
     {f"runs/explain/{TEN}.md": f"{TEN}.md",
      **{f"runs/explain/{TEN}/{name}.svg": f"{TEN}/{name}.svg" for name in EXPLAINED}}, None),
    ("resnet draw vgg19 plain34 resnet34 -o vgg19-plain34-resnet34.svg", "",
     {"vgg19-plain34-resnet34.svg": "figures/vgg19-plain34-resnet34.svg"}, ALIKE),
    ("resnet draw --block resnet34:layer1.1 --gradient -o block.svg", "", {"block.svg": f"{TEN}/block.svg"}, ALIKE),
    ("resnet draw --block resnet50:layer2.0 -o bottleneck.svg", "", {"bottleneck.svg": "figures/bottleneck.svg"}, ALIKE),
    ("resnet draw --skyline resnet18 resnet34 resnet50 resnet101 resnet152 -o family.svg", "",
     {"family.svg": f"{TEN}/family.svg"}, ALIKE),
    *[(f"resnet summary {network}", "", {}, None) for network in
      ["resnet18", "resnet34", "resnet50", "resnet50_v1", "resnet101_v1", "resnet152_v1", "vgg19",
       "resnet34:shortcut=A", "resnet34:shortcut=C"]],
    *[(f"resnet inspect {network}", "", {}, None) for network in
      ["plain56 norm=none gain=0.5", "plain56 norm=none gain=1", "plain56 norm=none gain=2", "plain56", "resnet56",
       "resnet56 norm=none"]],
]
# With weights and photos that are not ours to hand on, where they are at hand.
PHOTOS = [
    ("resnet import resnet50-imagenet-caffe-f16.safetensors --arch resnet50_v1 --classes imagenet_class_index.json "
     "preprocess.mean=0.485,0.458,0.408 preprocess.std=0.0039216 -o resnet50.safetensors", "", {}, None),
    ("resnet inspect resnet50.safetensors --features photos --made 10 --out look", "--pictures 4 --made 1 --channels 1",
     {"look/figures/made-layer3.5.png": "figures/made-layer3.5.png",
      "look/figures/made-layer4.2.png": "figures/made-layer4.2.png"}, None),
]
LINKS = {"resnet50-imagenet-caffe-f16.safetensors": "pretrained-imagenet/resnet50-imagenet-caffe-f16.safetensors",
         "imagenet_class_index.json": "imagenet/imagenet_class_index.json", "photos": "imagenet/samples"}
# Commands of records in results, and of readers with data of their own.
ELSEWHERE = ["resnet compare --depths 20,56 --data cifar10:DIR --recipe cifar-fast --epochs 10", "resnet compare --depths",
             "resnet compare --archs", "resnet inspect MODEL --features PICTURES", "resnet inspect RUN --out DIR",
             "resnet summary resnet50 --plan"]
# Pictures of runs that were made once.
OTHERS = {"docs/report.png", "docs/mistakes.png"}


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--resnet", type=Path, default=ROOT / "target/release/resnet")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("RESNET_TEST_DATA", ROOT / "../shared/data")))
    parser.add_argument("--only", default="")
    args = parser.parse_args()
    faults, made, environment = [], [], {}
    with tempfile.TemporaryDirectory() as folder:
        for command, small, figures, alike in TABLE + (PHOTOS if link(args.data, Path(folder)) else []):
            if args.only not in command:
                continue
            words = shlex.split(command)[1:]
            if words[0] in ("compare", "explain"):
                words.append("--json")
            for flag, value in flags(small if args.small else ""):
                if flag in words:
                    words[words.index(flag) + 1] = value
                else:
                    words += [flag, value] if value else [flag]
            begin = time.monotonic()
            run = subprocess.run([args.resnet.resolve(), *words], cwd=folder, capture_output=True, text=True)
            seconds = time.monotonic() - begin
            print(f"{seconds:6.1f} s  {command}", flush=True)
            if run.returncode:
                sys.exit(f"`{command}` failed: {run.stderr}")
            lines = run.stdout.splitlines() if "-o" not in words else []
            made.append({"command": command, "seconds": round(seconds, 1), "figures": sorted(figures.values()),
                         "printed": lines[-1:] if words[0] == "summary" else lines})
            for run in Path(folder).glob("runs/*/runs/*/environment.json"):
                environment = json.loads(run.read_text(encoding="utf-8"))
            for source, target in figures.items():
                faults += put(Path(folder) / source, DOCS / target, args.small, alike)
    if not args.small:
        write(made, environment)
    if not args.only:
        faults += texts()
    if faults:
        sys.exit("\n".join(faults))


def link(data, folder):
    """Links weights and photos into the folder; whether they are there."""
    if any(not (data / path).exists() for path in LINKS.values()):
        print(f"skipped: features of ResNet-50, for {data} does not hold its weights and photos")
        return False
    for name, path in LINKS.items():
        (folder / name).symlink_to((data / path).resolve())
    return True


def flags(text):
    """Flags with their values, other words without."""
    words = iter(text.split())
    return [(word, next(words) if word.startswith("--") else "") for word in words]


def put(source, target, small, alike):
    """Puts a figure in its place, or says what is wrong with it."""
    name = target.relative_to(ROOT)
    if not source.is_file():
        return [f"{name}: {source.name} was not made"]
    found = source.read_bytes()
    if source.suffix == ".svg" and not (found.startswith(b"<svg") and found.rstrip().endswith(b"</svg>")):
        return [f"{name}: what was made is no whole SVG"]
    if source.suffix == ".md":
        found = found.decode().replace(*BESIDE).encode()
        faults = [] if is_story(found.decode()) else [f"{name} does not follow {STORY.name}"]
        if small and target.is_file() and not is_story(target.read_text(encoding="utf-8")):
            faults.append(f"{name} is not the program's text any more: run tools/figures.py")
        if faults:
            return faults
    if not small:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(found)
    elif not target.is_file():
        return [f"{name} is missing: run tools/figures.py"]
    elif alike and target.read_bytes() != found:
        return [f"{name} is not what the program draws now: run tools/figures.py"]
    return []


def is_story(text):
    """Whether a text is the explanation, whatever stands in its places."""
    story = STORY.read_text(encoding="utf-8").replace(*BESIDE)
    parts = re.split(r"\{\{[^}]+\}\}|\{[^}]+\}", story.strip())
    return re.search(".*?".join(map(re.escape, parts)), text, re.S) is not None


def texts():
    """What texts show that the table does not make, and the other way round."""
    faults, shown = [], set()
    known = {f"docs/{target}" for _, _, figures, _ in TABLE + PHOTOS for target in figures.values()} | OTHERS
    commands = {re.sub(r" -o \S+$", "", command) for command, *_ in TABLE + PHOTOS}
    for text in [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]:
        content = text.read_text(encoding="utf-8")
        for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", content):
            path = (text.parent / link).resolve()
            name = path.relative_to(ROOT).as_posix()
            shown.add(name)
            if not path.is_file():
                faults.append(f"{text.name} shows {link}, which is not there")
            elif name not in known and not name.startswith("results/"):
                faults.append(f"{text.name} shows {link}, which no command of tools/figures.py makes")
        for command in re.findall(r"`(resnet (?:compare|explain|draw|inspect|summary) [^`\n]*)`", content):
            bare = re.sub(r" -o \S+$", "", command)
            if bare not in commands and not any(bare.startswith(other) for other in ELSEWHERE):
                faults.append(f"{text.name} names `{command}`, which tools/figures.py does not run")
    for name in sorted(known - OTHERS):
        if name not in shown and not name.endswith(".md"):
            faults.append(f"{name} is made and shown nowhere")
    return faults


def write(made, environment):
    """Keeps what was made now, and of other commands what was made before."""
    path = DOCS / "figures/made.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"commands": []}
    now = {entry["command"]: entry for entry in made}
    kept = [entry for entry in before["commands"] if entry["command"] not in now]
    order = [command for command, *_ in TABLE + PHOTOS]
    entries = [entry for entry in [*made, *kept] if entry["command"] in order]
    entries.sort(key=lambda entry: order.index(entry["command"]))
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    about = {key: environment.get(key, before.get(key, "")) for key in ("cpu", "isa", "threads", "system", "resnet")}
    record = {**about, "date": date.today().isoformat(), "commit": commit.stdout.strip(), "commands": entries}
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
