#!/usr/bin/env python3
"""Times this project against PyTorch, ONNX Runtime and OpenVINO on the machine it runs on.

usage: python3 benches/versus.py [--only SUBSTR] [--modes M,M...] [--rounds N] [--seconds S] [--threads N] [--isa scalar|avx2]
                                [--json FILE]
       python3 benches/versus.py --start MODEL IMAGE

needs: cargo build --release
       pip install torch torchvision onnxruntime openvino onnx      (what is missing is left out, and said)
       a C++ compiler for the modes with `compile`

Every row runs ours and each peer in turn, a process each, and the whole row again for each round, since machines drift: only
the ratio of numbers from one sitting means something. A peer counts in its fastest mode; rows of f32 are for modes that multiply
in f32, rows of bf16 for all. Rows of bf16 are left out where the CPU has no instructions for it. `--isa` holds both sides to an
instruction set. Prints Markdown.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
RESNET = os.path.join(HERE, "..", "target", "release", "resnet")

TRAIN = ("torch-f32", "torch-f32-cl", "torch-f32-cl-compile")
TRAIN_ALL = TRAIN + ("torch-bf32-cl", "torch-bf16-cl", "torch-bf16-cl-compile")
INFER = ("torch-f32-cl", "torch-f32-cl-compile", "onnxruntime", "openvino-f32")
INFER_ALL = INFER + ("torch-bf16-cl", "openvino-bf16")
# What is done, network, batch, precision of ours, modes of the peers.
ROWS = [(what, arch, batch, precision, f32 if precision == "f32" else all_modes)
        for what, f32, all_modes, works in (
            ("train", TRAIN, TRAIN_ALL, (("resnet20", 128), ("resnet110", 128), ("resnet18", 32), ("resnet50", 32))),
            ("infer", INFER, INFER_ALL, (("resnet18", 1), ("resnet18", 32), ("resnet50", 1), ("resnet50", 32))))
        for arch, batch in works for precision in ("f32", "bf16")]
# What holds each side to an instruction set.
HELD = {
    "scalar": {"RESNET_ISA": "scalar", "ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"},
    "avx2": {"RESNET_ISA": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
}


def cifar_net(depth):
    """He et al. 2015, section 4.2: 6n+2 layers of 16, 32 and 64 channels, shortcuts without parameters."""
    import torch.nn as nn
    import torch.nn.functional as F

    class Block(nn.Module):
        def __init__(self, c_in, c_out, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(c_out)
            self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(c_out)
            self.stride, self.more = stride, c_out - c_in

        def forward(self, x):
            y = F.relu(self.bn1(self.conv1(x)))
            y = self.bn2(self.conv2(y))
            if self.more:
                x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.more // 2, self.more // 2))
            return F.relu(y + x)

    layers, c_in = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()], 16
    for c_out in (16, 32, 64):
        for i in range((depth - 2) // 6):
            layers.append(Block(c_in, c_out, 2 if i == 0 and c_out > 16 else 1))
            c_in = c_out
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def network(arch):
    depth = int(arch.removeprefix("resnet"))
    if depth in (18, 34, 50, 101, 152):
        import torchvision
        return getattr(torchvision.models, arch)(weights=None), (3, 224, 224), 1000
    return cifar_net(depth), (3, 32, 32), 10


def rate(step, batch, seconds):
    """Images a second: the median after two warm-up steps."""
    import resource
    step(), step()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"images_per_s": batch / statistics.median(times), "peak_rss_mib": peak}


def torch_peer(what, arch, batch, mode, threads, seconds):
    import torch
    torch.set_num_threads(threads)
    if "bf32" in mode:  # f32 tensors, products in bf16
        torch.backends.mkldnn.conv.fp32_precision = "bf16"
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
    model, shape, classes = network(arch)
    x = torch.randn(batch, *shape)
    if "-cl" in mode:
        model = model.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    model = model.train() if what == "train" else model.eval()
    if "compile" in mode:
        if what == "infer":
            import torch._inductor.config
            torch._inductor.config.freezing = True
        model = torch.compile(model)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled="bf16" in mode)
    if what == "infer":
        def step():
            with torch.inference_mode(), autocast:
                model(x)
    else:
        labels = torch.randint(0, classes, (batch,))
        loss = torch.nn.CrossEntropyLoss()
        sgd = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=1e-4, foreach=True)

        def step():
            sgd.zero_grad(set_to_none=True)
            with autocast:
                value = loss(model(x), labels)
            value.backward()
            sgd.step()
    return rate(step, batch, seconds)


def onnx_file(arch):
    path = os.path.join(tempfile.gettempdir(), f"versus-{arch}.onnx")
    if not os.path.exists(path):
        import torch
        model, shape, _ = network(arch)
        part = f"{path}.{os.getpid()}"
        torch.onnx.export(model.eval(), torch.randn(1, *shape), part, input_names=["x"], output_names=["y"],
                          dynamic_axes={"x": {0: "n"}, "y": {0: "n"}}, dynamo=False)
        os.replace(part, path)
    return path


def onnxruntime_peer(_, arch, batch, mode, threads, seconds):
    import numpy
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(onnx_file(arch), options, providers=["CPUExecutionProvider"])
    x = numpy.random.randn(batch, 3, 224, 224).astype("float32")
    return rate(lambda: session.run(None, {"x": x}), batch, seconds)


def openvino_peer(_, arch, batch, mode, threads, seconds):
    import numpy
    import openvino
    core = openvino.Core()
    model = core.read_model(onnx_file(arch))
    model.reshape([batch, 3, 224, 224])
    compiled = core.compile_model(model, "CPU", {
        "INFERENCE_PRECISION_HINT": mode.removeprefix("openvino-"), "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY"})
    request = compiled.create_infer_request()
    x = numpy.random.randn(batch, 3, 224, 224).astype("float32")
    return rate(lambda: request.infer({0: x}), batch, seconds)


def peer(arguments):
    """One measurement, in a process of its own."""
    what, arch, batch, mode, threads, seconds = json.loads(arguments)
    run = {"torch": torch_peer, "onnxruntime": onnxruntime_peer, "openvino": openvino_peer}[mode.split("-")[0]]
    print(json.dumps(run(what, arch, batch, mode, threads, seconds)))


def measured(command, held):
    """The JSON that a command's last line is, or why there is none."""
    # Neither side is held back by what the environment happens to set.
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "RESNET_"))} | held
    found = subprocess.run(command, capture_output=True, text=True, env=env)
    try:
        return json.loads(found.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return {"failed": (found.stderr.strip().splitlines() or ["no output"])[-1][:200]}


def machine(threads):
    cpu = platform.processor()
    try:
        with open("/proc/cpuinfo") as info:
            cpu = next(line.split(":")[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    versions = []
    for module in ("torch", "onnxruntime", "openvino"):
        try:
            from importlib.metadata import version
            versions.append(f"{module} {version(module)}")
        except ImportError:
            versions.append(f"{module} not installed")
    return f"{cpu}, {os.cpu_count()} cores, {threads} threads; {', '.join(versions)}"


def has_bf16():
    """Whether the CPU multiplies bf16."""
    try:
        with open("/proc/cpuinfo") as info:
            flags = info.read()
    except OSError:
        return False
    return any(name in flags for name in ("amx_bf16", "avx512_bf16"))


def start(model, image):
    """From the start of the process to the first prediction, and what importing PyTorch alone takes."""
    rows = {"resnet predict": [RESNET, "predict", model, image], "import torch": [sys.executable, "-c", "import torch"]}
    for name, command in rows.items():
        times = []
        for _ in range(5):
            begin = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            times.append(time.perf_counter() - begin)
        print(f"{name}: {statistics.median(times):.3f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--modes", default="", help="modes of the peers, separated by commas [default: all]")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3, help="for each measurement, after warm-up")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--isa", choices=sorted(HELD),
                        help="hold both sides to it; compiled PyTorch, ONNX Runtime and OpenVINO cannot be held, and are left out")
    parser.add_argument("--json", help="file for every measurement")
    parser.add_argument("--start", nargs=2, metavar=("MODEL", "IMAGE"))
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.peer:
        return peer(a.peer)
    if a.start:
        return start(*a.start)
    wanted = a.modes.split(",") if a.modes else None
    held = HELD.get(a.isa, {})
    limit = f", held to {a.isa}" if a.isa else ""
    print(f"{machine(a.threads)}{limit}; {a.rounds} rounds\n")
    print("| work | ours, images/s | best peer | images/s | ratio | memory, MiB: ours | peer |")
    print("|---|---:|---|---:|---:|---:|---:|", flush=True)
    everything = []
    for what, arch, batch, precision, modes in ROWS:
        name = f"{what} {arch}, batch {batch}, {precision}"
        if a.only not in name or precision == "bf16" and (a.isa or not has_bf16()) and "bf16" not in a.only:
            continue
        if a.isa:
            # What inductor compiles is for the machine at hand.
            modes = [mode for mode in modes if mode.startswith("torch") and "compile" not in mode]
        results = {}
        for _ in range(a.rounds):
            ours = [RESNET, "bench", what, arch, "--batch", str(batch), "--threads", str(a.threads),
                    "--precision", precision, "--seconds", str(a.seconds), "--json"]
            results.setdefault("ours", []).append(measured(ours, held))
            for mode in modes:
                if wanted is None or mode in wanted:
                    arguments = json.dumps([what, arch, batch, mode, a.threads, a.seconds])
                    results.setdefault(mode, []).append(measured([sys.executable, __file__, "--peer", arguments], held))
        everything.append({"work": name, "results": results})
        rates = {}
        for mode, rounds in results.items():
            good = [r["images_per_s"] for r in rounds if "images_per_s" in r]
            if good:
                rates[mode] = statistics.median(good)
            else:
                print(f"{name}: {mode}: {rounds[0].get('failed')}", file=sys.stderr)
        ours = rates.pop("ours", None)
        if ours is None or not rates:
            continue
        best = max(rates, key=rates.get)
        memory = [min(r["peak_rss_mib"] for r in results[m] if "peak_rss_mib" in r) for m in ("ours", best)]
        print(f"| {name} | {ours:.1f} | {best} | {rates[best]:.1f} | **{ours / rates[best]:.2f}** "
              f"| {memory[0]:.0f} | {memory[1]:.0f} |", flush=True)
    if a.json:
        with open(a.json, "w") as file:
            json.dump(everything, file, indent=1)


if __name__ == "__main__":
    main()
