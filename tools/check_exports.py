"""Checks exported files in the programs they are for: ONNX Runtime, PyTorch, torchvision.

    pip install onnxruntime torch torchvision safetensors
    python3 tools/check_exports.py target/release/resnet [--runtime PYTHON] ... [ARCH ...]

For each network, PyTorch is the reference. Its weights go through `resnet import` and `resnet export`, and then:

- ONNX Runtime's logits of 64 pictures, with batch norm kept and folded, with and without preprocessing inside, in batches of
  several sizes, are within 1e-4 of PyTorch's, and so are those of every other ONNX Runtime that a `--runtime` names by its
  Python, and those of a file of the newest opset in the present one;
- what `resnet predict` says of a picture is what ONNX Runtime computes of its bytes;
- `.pth` (torch.load with weights_only=True) and `.safetensors` load into the network with strict=True, bit for bit, and in f16
  as PyTorch itself rounds.

Pictures are the photos in ../shared/data beside the repository (or where RESNET_TEST_DATA says), or else the built-in ones.
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import run_onnx
import safetensors
import safetensors.torch
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools/fixtures"))
import networks  # noqa: E402

DATA = Path(os.environ.get("RESNET_TEST_DATA", ROOT / "../shared/data"))
PICTURES, TOLERANCE = 64, 1e-4
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# arch: side of the input, classes
NETWORKS = {
    "resnet20": (32, 10),
    "preresnet110": (32, 10),
    "resnet18": (224, 1000),
    "resnet50": (224, 1000),
    "resnext50_32x4d": (224, 1000),
}


def pictures(side):
    """64 pictures, u8 [n, side, side, 3], and where they are from."""
    photos = sorted(DATA.glob("imagenet/samples/*.JPEG"))[:PICTURES]
    if len(photos) == PICTURES:
        opened = [Image.open(file).convert("RGB") for file in photos]
        source = "photos"
    else:
        packed = gzip.open(ROOT / "crates/resnet/data/fashion-mnist/t10k-images-idx3-ubyte.gz").read()
        opened = np.frombuffer(packed, np.uint8, offset=16).reshape(-1, 28, 28)[:PICTURES]
        opened = [Image.fromarray(picture).convert("RGB") for picture in opened]
        source = "built-in pictures"
    return np.stack([np.asarray(picture.resize((side, side))) for picture in opened]), source


def normalised(bytes_):
    x = torch.from_numpy(bytes_).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


def network(arch, classes, side, x):
    """A network whose norms all differ, and whose running statistics are those of the pictures."""
    torch.manual_seed(1)
    net = networks.build(arch, classes, side)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight, 1.0, 0.1)
            torch.nn.init.normal_(module.bias, 0.0, 0.1)
            module.momentum = None
    with torch.no_grad():
        net.train()(x[:16])
    return net.eval()


def run(*words):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def say(text):
    print(text, flush=True)


def check(ok, text):
    say(f"  {'ok  ' if ok else 'FAIL'} {text}")
    if not ok:
        check.failed += 1


check.failed = 0


def check_onnx(resnet, folder, model, bytes_, x, want, runtimes):
    variants = [[], ["--fold"], ["--with-preprocessing"], ["--fold", "--with-preprocessing"]]
    for flags in (["--opset", "26"], *variants):
        path = folder / "model.onnx"
        report = json.loads(run(resnet, "export", model, "-o", path, "--verify", "--json", *flags))
        runtime = run_onnx.session(path)
        given = bytes_ if "--with-preprocessing" in flags else x.numpy()
        got = run_onnx.logits(runtime, given)
        apart = float(np.abs(got - want).max())
        text = " ".join(["onnx", *flags])
        ours = report["verified"]["largest_difference"]
        check(apart <= TOLERANCE, f"{text}: {apart:.1e} from PyTorch; our engine, file against model: {ours:.1e}")
        for python in [] if "--opset" in flags else runtimes:
            images, answers = folder / "images.npy", folder / "answers.npy"
            np.save(images, given)
            version = run(python, ROOT / "tools/run_onnx.py", path, images, answers).strip()
            other = float(np.abs(np.load(answers) - want).max())
            check(other <= TOLERANCE, f"{text}: ONNX Runtime {version}: {other:.1e} from PyTorch")
        texts = runtime.get_modelmeta().custom_metadata_map
        check(json.loads(texts["preprocess"])["shape"][1] == x.shape[2], f"{text}: metadata {', '.join(sorted(texts))}")
    # What is predicted of a file is what the graph with preprocessing inside makes of its bytes.
    files = [folder / f"{i}.png" for i in range(8)]
    for file, picture in zip(files, bytes_):
        Image.fromarray(picture).save(file)
    exact = np.exp(got - got.max(1, keepdims=True))
    exact /= exact.sum(1, keepdims=True)
    apart = 0.0
    for i, line in enumerate(run(resnet, "predict", model, *files, "--json", "--top", "10").splitlines()):
        for guess in json.loads(line)["top"]:
            apart = max(apart, abs(guess["probability"] - float(exact[i, guess["class"]])))
    check(apart <= TOLERANCE, f"predict: probabilities {apart:.1e} from ONNX Runtime's")


def check_weights(resnet, folder, model, arch, side, classes, net):
    want = net.state_dict()
    fresh = networks.build(arch, classes, side)
    for name, half in [("pth", None), ("safetensors", None), ("pth", "f16"), ("safetensors", "bf16")]:
        path = folder / f"weights.{name}"
        run(resnet, "export", model, "-o", path, *(["--half", half] if half else []))
        if name == "pth":
            state = torch.load(path, weights_only=True)
        else:
            state = safetensors.torch.load_file(path)
            with safetensors.safe_open(path, "pt") as file:
                texts = file.metadata()
            check({"arch", "classes", "preprocess", "format", "licence"} <= set(texts), f"{name}: {', '.join(sorted(texts))}")
        kind = {"f16": torch.float16, "bf16": torch.bfloat16}.get(half)
        same = True
        for key, value in want.items():
            if key.endswith("num_batches_tracked"):
                continue
            expected = value.to(kind) if kind and value.dim() > 1 else value
            same &= state[key].dtype == expected.dtype and bool(torch.equal(state[key], expected))
        loaded = fresh.load_state_dict(state, strict=True)
        check(same and not loaded.missing_keys, f"{name}{' ' + half if half else ''}: strict=True, {len(state)} tensors, bit for bit")


def main():
    resnet, *rest = sys.argv[1:] or sys.exit(__doc__)
    runtimes, archs = [], []
    while rest:
        word = rest.pop(0)
        (runtimes if word == "--runtime" else archs).append(rest.pop(0) if word == "--runtime" else word)
    resnet = Path(resnet).resolve()
    say(f"ONNX Runtime {onnxruntime.__version__}, PyTorch {torch.__version__}")
    for arch in archs or NETWORKS:
        side, classes = NETWORKS[arch]
        bytes_, source = pictures(side)
        x = normalised(bytes_)
        net = network(arch, classes, side, x)
        with torch.no_grad():
            want = torch.cat([net(part) for part in x.split(16)]).numpy()
        say(f"{arch}: {len(x)} {source} of {side} x {side}, logits up to {np.abs(want).max():.1f}")
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            torch.save({"state_dict": net.state_dict(), "epoch": 3}, folder / "theirs.pth")
            model = folder / "model.safetensors"
            report = json.loads(
                run(
                    resnet, "import", folder / "theirs.pth", "-o", model, "--json", "--licence", "CC0-1.0",
                    f"preprocess.mean={','.join(map(str, MEAN))}", f"preprocess.std={','.join(map(str, STD))}",
                    f"preprocess.crop={side}", "preprocess.resize=0",
                )
            )
            check(report["arch"] == arch and report["classes"] == classes, f"import: {report['arch']}, {report['naming']}")
            check_onnx(resnet, folder, model, bytes_, x, want, runtimes)
            check_weights(resnet, folder, model, arch, side, classes, net)
    if check.failed:
        sys.exit(f"{check.failed} checks failed")
    say("all checks passed")


if __name__ == "__main__":
    main()
