#!/usr/bin/env python3
"""Checks a GPU and measures it, in less than four minutes: correctness first, then images/s and the slowest steps.

usage: python3 benches/gpu.py [--device gpu|gpu:N|gpu:NAME] [--tests PROGRAM] [--seconds S] [--json FILE]

needs: cargo build --release; PROGRAM is what `cargo test --release -p resnet --test devices --no-run` names
       pip install torch torchvision, with CUDA or ROCm, for the peer (what is missing is left out, and said)

Whoever lends a GPU for minutes wants all of it from one command. Each part has a limit of its own, and one that fails is told
and passed over, but where the numbers are wrong: then nothing is measured. PyTorch runs right behind each row of ours, on the
same GPU: in f32 as it comes (TF32 where it multiplies by it), and in mixed precision. Prints Markdown.
"""
import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESNET = ROOT / "target/release/resnet"
# Network, input and batches.
ROWS = [("resnet20", "3x32x32", (128, 1024)), ("resnet50", "3x224x224", (128, 256))]
SOFTWARE = [("resnet20", "3x16x16", (4,))]

PEER = """
import sys, time, torch, torchvision
arch, shape, batch, seconds, mixed = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]), sys.argv[5] == "mixed"
c, h, w = map(int, shape.split("x"))
if arch == "resnet50":
    net, classes = torchvision.models.resnet50(), 1000
else:
    from torch import nn
    import torch.nn.functional as F
    class Block(nn.Module):
        def __init__(self, a, b, s):
            super().__init__()
            self.c1, self.b1 = nn.Conv2d(a, b, 3, s, 1, bias=False), nn.BatchNorm2d(b)
            self.c2, self.b2, self.a, self.b, self.s = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b), a, b, s
        def forward(self, x):
            y = self.b2(self.c2(F.relu(self.b1(self.c1(x)))))
            if self.a != self.b:
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.b - self.a))
            return F.relu(x + y)
    layers, width = [nn.Conv2d(c, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()], 16
    for out in (16, 32, 64):
        for i in range(3):
            layers.append(Block(width, out, 2 if out > width else 1)); width = out
    net, classes = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)), 10
torch.backends.cudnn.benchmark = True
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
net = net.cuda().to(memory_format=torch.channels_last)
x = torch.randn(batch, c, h, w, device="cuda").to(memory_format=torch.channels_last)
t = torch.randint(classes, (batch,), device="cuda")
optimizer = torch.optim.SGD(net.parameters(), 1e-6, 0.9, weight_decay=1e-4)
def step():
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast("cuda", torch.bfloat16, enabled=mixed):
        loss = torch.nn.functional.cross_entropy(net(x), t)
    loss.backward()
    optimizer.step()
for _ in range(5): step()
torch.cuda.synchronize(); began, count = time.time(), 0
while time.time() - began < seconds:
    step(); torch.cuda.synchronize(); count += 1
print(count * batch / (time.time() - began))
"""


def run(words, limit, **more):
    """Standard output, or none with why."""
    try:
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=limit, **more)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(f"left out: {error}", flush=True)
        return None
    if done.returncode:
        print(f"left out: {' '.join(str(word) for word in words)[:200]}\n{done.stderr[-1500:]}", flush=True)
        return None
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="gpu")
    parser.add_argument("--tests")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json")
    args = parser.parse_args()
    began, found = time.monotonic(), {"device": args.device, "rows": []}
    listed = json.loads(run([RESNET, "devices", "--json"], 60) or '{"devices": []}')
    found["devices"] = listed["devices"]
    for device in listed["devices"]:
        print(f"{device['device']}: {device['name']} ({device['kind']}) {device.get('driver', '')}")
    name = args.device.partition(":")[2]
    meant = [d for d in listed["devices"] if d["kind"] != "cpu" and (
        d["device"] == args.device or (name and name.lower() in d["name"].lower())
        or (not name and d["kind"] != "software"))]
    if not meant:
        sys.exit(f"there is no {args.device}")
    software = meant[0]["kind"] == "software"

    if args.tests:
        environment = {**os.environ, "RESNET_TEST_GPU": meant[0]["name"]}
        right = run([args.tests, "gpu", "--skip", "memory_that"], 600 if software else 100, env=environment)
        print(right or "")
        if right is None:
            sys.exit("the numbers are not those of the CPU: nothing is measured")
    print(f"\n{meant[0]['name']}, training, images/s:\n")
    print("| network | batch | f32 | bf16 maps | PyTorch f32 | PyTorch mixed | f32 / PyTorch f32 |")
    print("|---|---:|---:|---:|---:|---:|---:|", flush=True)
    slowest = []
    peer = run([sys.executable, "-c", "import torch; assert torch.cuda.is_available()"], 60) is not None
    for arch, shape, batches in SOFTWARE if software else ROWS:
        for batch in batches:
            row = {"network": arch, "batch": batch}
            for precision in ("f32", "bf16"):
                words = [RESNET, "bench", "train", arch, "--input", shape, "--batch", batch, "--precision", precision,
                         "--device", args.device, "--seconds", 1 if software else args.seconds, "--json"]
                text = run([*words, "--layers"] if precision == "f32" else words, 120)
                told = json.loads(text) if text else {}
                row[precision] = told.get("images_per_second") or told.get("images_per_s")
                if precision == "f32":
                    steps = sorted(told.get("steps", []), key=lambda step: -step["ms"])
                    slowest.append((arch, batch, steps[:8], sum(step["ms"] for step in steps)))
            for key, mode in (("torch", "f32"), ("torch_mixed", "mixed")):
                text = peer and run([sys.executable, "-c", PEER, arch, shape, batch, args.seconds, mode], 60)
                row[key] = float(text) if text else None
            found["rows"].append(row)
            cells = [f"{row[key]:.0f}" if row[key] else "-" for key in ("f32", "bf16", "torch", "torch_mixed")]
            ratio = f"{row['f32'] / row['torch']:.2f}" if row["f32"] and row["torch"] else "-"
            print(f"| {arch} | {batch} | {' | '.join(cells)} | {ratio} |", flush=True)
    for arch, batch, steps, total in slowest:
        print(f"\nslowest steps of {arch}, batch {batch}, of {total:.2f} ms:\n")
        print("| step | layer | operation | kernel | ms | GFLOP/s |\n|---:|---|---|---|---:|---:|")
        for step in steps:
            print(f"| {step['step']} | {step['layer']} | {step['operation']} | {step['kernel']} | {step['ms']:.3f} "
                  f"| {step['gflops']:.0f} |")
    found["slowest"] = [{"network": a, "batch": b, "steps": s} for a, b, s, _ in slowest]
    print(f"\n{time.monotonic() - began:.0f} s in all")
    if args.json:
        Path(args.json).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
