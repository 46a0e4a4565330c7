#!/usr/bin/env python3
"""Makes the figures of README and docs again. Needs Python 3.9 alone, and a release build.

usage: python3 tools/figures.py [--small] [--resnet FILE] [--data DIR] [--only WORD]

Runs every command of the table below in an empty folder, with the precision that is the default on this machine,
puts what it draws into docs, and writes docs/figures/made.json: machine, program, and for each command its figures
and what it printed, from which the numbers in the texts are taken.

--small       few steps, and nothing is put into docs: every command must run and draw what docs show, drawings that
              depend on no machine must be those in docs to the byte, and the texts must name the commands and
              figures of the table and no others
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
            made.append({"command": command, "seconds": round(seconds, 1), "figures": sorted(figures.values()),
                         "printed": run.stdout.splitlines() if "-o" not in words else []})
            for run in Path(folder).glob("runs/*/runs/*/environment.json"):
                environment = json.loads(run.read_text(encoding="utf-8"))
            for source, target in figures.items():
                faults += put(Path(folder) / source, DOCS / target, args.small, alike)
    if not args.small and not args.only:
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
    if not small:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(found)
    elif not target.is_file():
        return [f"{name} is missing: run tools/figures.py"]
    elif alike and target.read_bytes() != found:
        return [f"{name} is not what the program draws now: run tools/figures.py"]
    return []


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
        for command in re.findall(r"`(resnet (?:compare|explain|draw|inspect)[^`\n]*)`", content):
            measured = command.startswith("resnet inspect ") and "--" not in command
            if measured and command not in commands:
                faults.append(f"{text.name} names `{command}`, which tools/figures.py does not run")
    for name in sorted(known - OTHERS):
        if name not in shown and not name.endswith(".md"):
            faults.append(f"{name} is made and shown nowhere")
    return faults


def write(made, environment):
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    kept = {key: environment[key] for key in ("cpu", "isa", "threads", "system", "resnet")}
    record = {**kept, "date": date.today().isoformat(), "commit": commit.stdout.strip(), "commands": made}
    (DOCS / "figures/made.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
