"""Writes a folder of runs that no network made, to time a board on and to look at its page.

    python3 tools/board_runs.py OUT [--runs 10] [--steps 64000] [--every 1] [--layers 55]

Each run has config.toml, environment.json, pictures.png and an events.jsonl with a line for every so many steps, evaluations with
predictions, and looks at the gradients; one has stopped, one has diverged, one was killed. Equal arguments give equal files.
"""

import argparse
import json
import math
import random
import struct
import zlib
from pathlib import Path

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
LABELS = ["cat", "ship", "frog", "automobile", "horse", "bird", "truck", "deer"]
STEPS_AN_EPOCH = 390
BATCH = 128


def config(number):
    """Recipes that differ in some keys."""
    arch = ["resnet20", "resnet56", "plain20", "plain56"][number % 4]
    lr = [0.1, 0.05, 0.2][number // 4 % 3]
    kind = ["step", "cosine"][number // 2 % 2]
    return arch, lr, kind, (
        f'[model]\narch = "{arch}"\n[data]\nsource = "cifar10:data"\n[train]\nseed = {number // 4 + 1}\nbatch = {BATCH}\n'
        f'[optimizer]\nlr = {lr}\nweight_decay = 0.0001\n[schedule]\nkind = "{kind}"\nmilestones = ["50%", "75%"]\n'
    )


def rate(lr, kind, part):
    if kind == "cosine":
        return lr * 0.5 * (1 + math.cos(math.pi * part))
    return lr * (1 if part < 0.5 else 0.1 if part < 0.75 else 0.01)


def picture(place, side=32):
    """A simple picture, rows of pixels."""
    hue = [(204, 90, 60), (60, 120, 190), (70, 160, 90), (190, 160, 60), (150, 100, 170), (80, 170, 180), (190, 110, 140), (120, 130, 60)][place]
    rows = []
    for y in range(side):
        row = []
        for x in range(side):
            near = math.hypot(x - side * (0.35 + 0.05 * place), y - side * 0.5) / side
            light = 1.0 if near < 0.28 else 0.45 + 0.3 * y / side
            row.append(tuple(min(255, int(c * light + 8 * ((x + y) % 2))) for c in hue))
        rows.append(row)
    return rows


def png(side=32):
    tiles = [picture(place, side) for place in range(8)]
    raw = b"".join(b"\0" + bytes(c for tile in tiles for pixel in tile[y] for c in pixel) for y in range(side))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", side * 8, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def guesses(rng, part):
    pictures = []
    for place, label in enumerate(LABELS):
        sure = 1 / (1 + math.exp(-(14 * part - 2.2 - 0.7 * place) + rng.gauss(0, 0.8)))
        other = CLASSES[(CLASSES.index(label) + 1 + place + int(6 * part) % 3) % 10]
        third = next(name for name in CLASSES[place:] + CLASSES if name not in (label, other))
        right, wrong, rest = 0.1 + 0.88 * sure, 0.1 + 0.6 * (1 - sure), 0.04
        total = right + wrong + rest
        top = sorted([(label, right / total), (other, wrong / total), (third, rest / total)], key=lambda guess: -guess[1])
        pictures.append({"place": place, "index": 625 + 1250 * place + place, "label": label, "top": [[n, round(p, 4)] for n, p in top]})
    return pictures


def looks(rng, step, part, layers, arch):
    slope = 1.16 if arch.startswith("plain") else 1.045
    found = []
    for depth in range(layers):
        norm = 0.02 * slope ** ((layers - depth) * (1 - 0.75 * part)) * math.exp(rng.gauss(0, 0.06))
        stage, block = 1 + depth * 3 // layers, depth // 2
        found.append({
            "name": "conv1" if depth == 0 else f"layer{stage}.{block}.conv{1 + depth % 2}", "main": True, "conv": True,
            "gradient_norm": norm * 4, "activation_gradient_norm": norm, "weight_norm": 5.0 + depth / 10,
            "update_ratio": None if step == 0 else 0.01 * (1 - part) + 0.0005, "response_std": 1.0 + 0.3 * math.sin(depth / 5), "dead": 0.0,
        })
    return {"event": "monitored", "step": step, "pictures": 16, "loss": 2.3 - 2 * part, "layers": found, "blocks": []}


def run(out, number, steps, every, layers):
    rng = random.Random(number)
    arch, lr, kind, text = config(number)
    folder = out / f"{arch}-{kind}-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(text)
    (folder / "environment.json").write_text(json.dumps({"command": "none", "directory": str(out)}))
    (folder / "pictures.png").write_bytes(png())
    plain, deep = arch.startswith("plain"), arch.endswith("56")
    floor = 0.02 + 0.25 * (plain and deep) + 0.03 * plain
    end = {7: 0.62, 8: 0.4, 9: 0.8}.get(number % 10, 1.0)
    last, seconds, epochs = int(steps * end), 0.0, math.ceil(steps / STEPS_AN_EPOCH)
    speed = 3300.0 if not deep else 1150.0
    look_every, dump = max(1, steps // 100), lambda event: json.dumps(event, separators=(",", ":")) + "\n"
    started = {
        "event": "run_started", "arch": arch, "params": 853018 if deep else 269722, "macs": 40551000, "data": "cifar10:data",
        "train_images": 50000, "test_images": 10000, "epochs": epochs, "steps": steps, "batch": BATCH, "seed": 1, "threads": 2,
        "isa": "avx512", "classes": 10, "precision": "bf16", "out": folder.name,
    }
    with open(folder / "events.jsonl", "w") as log:
        log.write(dump(started) + dump(looks(rng, 0, 0.0, layers, arch)))
        best = 0.0
        for step in range(1, last + 1):
            part, epoch = step / steps, (step - 1) // STEPS_AN_EPOCH + 1
            seconds += BATCH / speed
            level = floor + 2.28 * math.exp(-9 * part ** 0.62) + (0.06 if kind == "step" and part < 0.5 else 0.0)
            if step % every == 0 or step % STEPS_AN_EPOCH == 0 or step == last:
                loss = max(1e-3, level * math.exp(rng.gauss(0, 0.16)))
                top1 = max(0.05, min(1.0, 1.02 - 0.40 * level + rng.gauss(0, 0.02)))
                # As the program writes them: floats in the shortest form.
                log.write(
                    f'{{"event":"step","step":{step},"epoch":{epoch},"loss":{loss!r},"top1":{top1!r},"lr":{rate(lr, kind, part)!r},'
                    f'"images_per_s":{speed * math.exp(rng.gauss(0, 0.03))!r},"wait":{abs(rng.gauss(0, 0.001))!r}}}\n'
                )
            if step % look_every == 0:
                log.write(dump(looks(rng, step, part, layers, arch)))
            if step % STEPS_AN_EPOCH == 0 or step == last:
                seconds += 1.9
                top1 = max(0.1, min(0.95, 0.93 - 0.30 * level - 0.12 * plain + rng.gauss(0, 0.006)))
                best = max(best, top1)
                evaluated = {
                    "event": "evaluated", "epoch": epoch, "step": step, "split": "test", "count": 10000, "top1": round(top1, 4),
                    "top5": round(1 - (1 - top1) / 12, 4), "loss": level * 1.2 + 0.2, "train_loss": level, "train_top1": 1.0 - 0.35 * level,
                    "lr": rate(lr, kind, part), "seconds": seconds,
                }
                log.write(dump(evaluated) + dump({"event": "predicted", "step": step, "split": "test", "pictures": guesses(rng, part)}))
        stopped = {7: "interrupted", 8: "training diverged at step %d: the loss is NaN" % last}.get(number % 10)
        if number % 10 != 9:
            log.write(dump({
                "event": "run_ended", "top1": best, "top5": 1.0, "best_top1": best, "seconds": seconds,
                "model": None if stopped else "model.safetensors", "steps": last, **({"stopped": stopped} if stopped else {}),
            }))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=64_000)
    parser.add_argument("--every", type=int, default=1, help="steps from one line to the next")
    parser.add_argument("--layers", type=int, default=55)
    args = parser.parse_args()
    for number in range(args.runs):
        run(args.out, number, args.steps, args.every, args.layers)


if __name__ == "__main__":
    main()
