#!/usr/bin/env python3
"""Times training by two processes of one thread each, ours and PyTorch's DistributedDataParallel, beside one process of two.

usage: python3 benches/ranks.py [--rounds N] [--only SUBSTR] [--seconds S] [--mpirun PROGRAM] [--json FILE]

Ours and PyTorch run in turn, each a process group of its own, and all again for each round, since machines drift; only ratios
of one sitting mean something. PyTorch trains on one batch of random numbers that stays in memory; ours reads, decodes and
augments its pictures, and its images/s are those of its own events, without the first third of the steps.

needs: cargo build --release
       an MPI (Debian: openmpi-bin), pip install torch torchvision, photos in ../shared/data/imagenet/samples for resnet50

| case | batch of both processes | pictures |
|---|---|---|
| resnet20 | 128 | 28 x 28, grey |
| resnet50 | 16 | 224 x 224 |
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESNET = ROOT / "target/release/resnet"
PHOTOS = ROOT.parent / "shared/data/imagenet/samples"
CASES = {
    "resnet20": {"batch": 128, "shape": (1, 28, 28), "steps": 240},
    "resnet50": {"batch": 16, "shape": (3, 224, 224), "steps": 12},
}


def ours(case, processes, mpirun):
    what = CASES[case]
    with tempfile.TemporaryDirectory() as folder:
        words = ["train", case, f"train.steps={what['steps']}", f"batch={what['batch']}", "precision=f32",
                 f"train.threads={2 // processes}", "eval_every=1000000it", "checkpoint_every=1000000it",
                 f"train.shards={processes}", "--out", f"{folder}/run"]  # fmt: skip
        if case == "resnet50":
            rows = [f"{path},{i % 10}" for i, path in enumerate(sorted(PHOTOS.rglob("*.JPEG")))]
            rows = rows * (1 + what["batch"] * what["steps"] // max(1, len(rows)))
            Path(f"{folder}/photos.csv").write_text("path,label\n" + "\n".join(rows) + "\n")
            words += ["--data", f"{folder}/photos.csv", "val_fraction=0.02"]
        launcher = [mpirun, "-n", str(processes), "--bind-to", "none"] if processes > 1 else []
        environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        done = subprocess.run([*launcher, str(RESNET), *words], env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")
        events = [json.loads(line) for line in Path(f"{folder}/run/events.jsonl").read_text().splitlines()]
    steps = [event for event in events if event["event"] == "step" and event["step"] > what["steps"] // 3]
    return {
        "images_per_s": statistics.median(step["images_per_s"] for step in steps),
        "sync": statistics.median(step.get("sync", 0.0) for step in steps),
    }


def torch_process(rank, case, processes, seconds, port, to):
    import time

    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(2 // processes)
    what = CASES[case]
    if processes > 1:
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        dist.init_process_group("gloo", rank=rank, world_size=processes)
    net = network(torch, case).to(memory_format=torch.channels_last)
    net = DistributedDataParallel(net) if processes > 1 else net
    batch = what["batch"] // processes
    x = torch.randn(batch, *what["shape"]).contiguous(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (batch,))
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, weight_decay=1e-4, foreach=True)
    loss = torch.nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss(net(x), y).backward()
        optimizer.step()

    for _ in range(3):
        step()
    done, began = 0, time.perf_counter()
    while True:
        step()
        done += 1
        spent = torch.tensor(time.perf_counter() - began)
        if processes > 1 and done % 4 == 0:
            dist.all_reduce(spent, dist.ReduceOp.MAX)
        if (processes == 1 or done % 4 == 0) and spent.item() > seconds:
            break
    if rank == 0:
        Path(to).write_text(str(done * what["batch"] / (time.perf_counter() - began)))
    if processes > 1:
        dist.destroy_process_group()


def network(torch, case):
    if case == "resnet50":
        import torchvision

        return torchvision.models.resnet50(num_classes=10).train()
    import torch.nn.functional as F
    from torch import nn

    class Block(nn.Module):
        def __init__(self, c_in, c_out, stride):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False), nn.BatchNorm2d(c_out)
            self.conv2, self.bn2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False), nn.BatchNorm2d(c_out)
            self.stride, self.pad = stride, (c_out - c_in) // 2

        def forward(self, x):
            y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
            if self.stride > 1:
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
            return F.relu(y + x)

    layers = [nn.Conv2d(1, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    c_in = 16
    for c_out, stride in ((16, 1), (32, 2), (64, 2)):
        for block in range(3):
            layers.append(Block(c_in, c_out, stride if block == 0 else 1))
            c_in = c_out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)).train()


def torchs(case, processes, seconds, port):
    with tempfile.TemporaryDirectory() as folder:
        to = f"{folder}/rate"
        words = [sys.executable, __file__, "--torch", case, str(processes), str(seconds), str(port), to]
        started = [subprocess.Popen([*words, str(rank)]) for rank in range(processes)]
        if any([process.wait() for process in started]):
            sys.exit(f"PyTorch failed on {case}")
        return {"images_per_s": float(Path(to).read_text())}


def main():
    if sys.argv[1:2] == ["--torch"]:
        case, processes, seconds, port, to, rank = sys.argv[2:]
        return torch_process(int(rank), case, int(processes), float(seconds), int(port), to)
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="")
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--mpirun", default=shutil.which("mpirun.openmpi") or "mpirun")
    parser.add_argument("--json")
    args = parser.parse_args()
    found = {}
    for at in range(args.rounds):
        for case in (case for case in CASES if args.only in case):
            for processes in (1, 2):
                port = 29500 + 10 * at + processes
                for who, one in (
                    ("ours", lambda: ours(case, processes, args.mpirun)),
                    ("PyTorch", lambda: torchs(case, processes, args.seconds, port)),
                ):
                    numbers = one()
                    found.setdefault((case, processes, who), []).append(numbers)
                    print(f"{case}, {processes} processes, {who}: {numbers}", flush=True)
    table = {}
    for (case, processes, who), rounds in found.items():
        rate = statistics.median(one["images_per_s"] for one in rounds)
        sync = statistics.median(one.get("sync", 0.0) for one in rounds)
        table[f"{case} {processes} {who}"] = {"images_per_s": rate, "sync": sync}
    print("| case | processes | ours | PyTorch | ratio | waiting for the other |\n|---|---:|---:|---:|---:|---:|")
    for case in (case for case in CASES if args.only in case):
        for processes in (1, 2):
            a, b = (table[f"{case} {processes} {who}"] for who in ("ours", "PyTorch"))
            ratio = a["images_per_s"] / b["images_per_s"]
            print(f"| {case} | {processes} | {a['images_per_s']:.1f} | {b['images_per_s']:.1f} | {ratio:.2f} | {100 * a['sync']:.1f} % |")
    if args.json:
        Path(args.json).write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
