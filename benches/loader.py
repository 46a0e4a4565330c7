#!/usr/bin/env python3
"""Times the making of training inputs, from JPEG files to normalised floats, against other programs, on one core.

usage: python3 benches/loader.py [PHOTOS] [--rounds N] [--passes N] [--only SUBSTR] [--before BINARY] [--json FILE]

PHOTOS is a folder of photos [default: ../shared/data/imagenet/samples]. Every photo becomes 224 x 224 x 3 numbers of a random
resized crop (8 to 100 % of the area, sides 3/4 to 4/3), mirrored half of the time. Ours and each peer run in turn, a process
each on the same core, and all again for each round, since machines drift; only ratios of one sitting mean something.
`--before` is the example of an older build, which is timed as well.

needs: cargo build --release -p resnet --example loader_speed
       pip install torch torchvision pillow opencv-python-headless nvidia-dali-cuda120     (what is missing is left out, and said)
       a C compiler and libjpeg-turbo's headers for `turbo` (Debian: libjpeg62-turbo-dev)

| peer | what |
|---|---|
| torchvision | torchvision.io and transforms.v2 on tensors |
| pillow | Pillow, or Pillow-SIMD where that is installed, and torchvision |
| cv2 | OpenCV decodes the whole, resizes bilinearly without antialiasing |
| dali | DALI's CPU operators; its decoder decodes the crop |
| turbo | libjpeg-turbo decodes the crop alone; OpenCV resizes (no antialiasing), C normalises |
"""
import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
OURS = os.path.join(HERE, "..", "target", "release", "examples", "loader_speed")
SIDE, MEAN, STD = 224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def box(rng, height, width):
    """Top, left, height and width of a random crop, as torchvision draws it."""
    for _ in range(10):
        area = height * width * rng.uniform(0.08, 1.0)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return rng.randint(0, height - h), rng.randint(0, width - w), h, w
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side, side


def torchvision(files):
    import torch
    from torchvision import io
    from torchvision.transforms import v2
    torch.set_num_threads(1)
    transform = v2.Compose([v2.RandomResizedCrop(SIDE, antialias=True), v2.RandomHorizontalFlip(),
                            v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    return lambda: [transform(io.decode_jpeg(io.read_file(file), mode=io.ImageReadMode.RGB)).shape for file in files]


def pillow(files):
    import torch
    from PIL import Image
    from torchvision import transforms
    torch.set_num_threads(1)
    transform = transforms.Compose([transforms.RandomResizedCrop(SIDE), transforms.RandomHorizontalFlip(),
                                    transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    return lambda: [transform(Image.open(file).convert("RGB")).shape for file in files]


def cv2(files):
    import cv2
    import numpy as np
    cv2.setNumThreads(1)
    rng = random.Random(0)
    scale = np.float32(1) / (255 * np.array(STD[::-1], np.float32))
    shift = np.array(MEAN[::-1], np.float32) / np.array(STD[::-1], np.float32)

    def one(file):
        image = cv2.imread(file, cv2.IMREAD_COLOR)
        y, x, h, w = box(rng, *image.shape[:2])
        image = cv2.resize(image[y:y + h, x:x + w], (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        if rng.random() < 0.5:
            image = cv2.flip(image, 1)
        return image * scale - shift
    return lambda: [one(file).shape for file in files]


def dali(files):
    from nvidia.dali import fn, pipeline_def, types

    @pipeline_def(batch_size=len(files), num_threads=1, device_id=None, prefetch_queue_depth=1)
    def pipeline():
        encoded, _ = fn.readers.file(files=list(files), random_shuffle=False)
        image = fn.decoders.image_random_crop(encoded, device="cpu", output_type=types.RGB,
                                              random_area=(0.08, 1.0), random_aspect_ratio=(3 / 4, 4 / 3))
        image = fn.resize(image, resize_x=SIDE, resize_y=SIDE, antialias=True)
        return fn.crop_mirror_normalize(image, mirror=fn.random.coin_flip(), mean=[255 * m for m in MEAN],
                                        std=[255 * s for s in STD], output_layout="HWC")
    pipe = pipeline()
    pipe.build()
    return pipe.run


TURBO = r"""
#include <stdio.h>
#include <stdlib.h>
#include <jpeglib.h>
static struct jpeg_decompress_struct d;
static struct jpeg_error_mgr errors;
int start(const unsigned char *bytes, unsigned long length, int *size) {
    d.err = jpeg_std_error(&errors);
    jpeg_create_decompress(&d);
    jpeg_mem_src(&d, bytes, length);
    if (jpeg_read_header(&d, TRUE) != JPEG_HEADER_OK) return 1;
    d.out_color_space = JCS_RGB;
    jpeg_start_decompress(&d);
    size[0] = d.output_height; size[1] = d.output_width;
    return 0;
}
/* Rows top to bottom; columns from x on, which becomes what libjpeg-turbo begins at. Returns the width decoded. */
int finish(int top, int *x, int rows, int columns, unsigned char *out) {
    JDIMENSION from = *x, width = columns;
    jpeg_crop_scanline(&d, &from, &width);
    if (top) jpeg_skip_scanlines(&d, top);
    for (int y = 0; y < rows;) {
        JSAMPROW row = out + (size_t)y * width * 3;
        y += jpeg_read_scanlines(&d, &row, 1);
    }
    jpeg_abort_decompress(&d);
    jpeg_destroy_decompress(&d);
    *x = from;
    return width;
}
void normalise(const unsigned char *in, float *restrict out, int pixels, const float *scale, const float *shift, int flip, int width) {
    for (int y = 0; y < pixels / width; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++)
                out[(y * width + x) * 3 + c] = in[(y * width + (flip ? width - 1 - x : x)) * 3 + c] * scale[c] - shift[c];
}
"""


def turbo(files):
    import ctypes
    import cv2
    import numpy as np
    cv2.setNumThreads(1)
    folder = tempfile.mkdtemp()
    source, library = os.path.join(folder, "turbo.c"), os.path.join(folder, "turbo.so")
    with open(source, "w") as out:
        out.write(TURBO)
    subprocess.run(["cc", "-O3", "-march=native", "-shared", "-fPIC", source, "-o", library, "-ljpeg"], check=True)
    lib = ctypes.CDLL(library)
    rng = random.Random(0)
    scale = (1 / (255 * np.array(STD))).astype(np.float32)
    shift = (np.array(MEAN) / np.array(STD)).astype(np.float32)
    size, left = (ctypes.c_int * 2)(), ctypes.c_int()
    pixels, numbers = np.empty(1 << 26, np.uint8), np.empty((SIDE, SIDE, 3), np.float32)
    p = lambda array: ctypes.c_void_p(array.ctypes.data)

    def one(file):
        with open(file, "rb") as opened:
            packed = opened.read()
        assert lib.start(packed, ctypes.c_ulong(len(packed)), size) == 0
        y, x, h, w = box(rng, size[0], size[1])
        left.value = x
        width = lib.finish(y, ctypes.byref(left), h, w, p(pixels))
        image = pixels[:h * width * 3].reshape(h, width, 3)[:, x - left.value:][:, :w]
        image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        lib.normalise(p(image), p(numbers), SIDE * SIDE, p(scale), p(shift), rng.random() < 0.5, SIDE)
    return lambda: [one(file) for file in files]


PEERS = {peer.__name__: peer for peer in (torchvision, pillow, cv2, dali, turbo)}


def on_one_core():
    """The last of those that this process may use."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def time_peer(name, files, passes):
    """Runs in a process of its own; prints microseconds a photo, the median of passes."""
    step = PEERS[name](files)
    step()
    times = []
    for _ in range(passes):
        start = time.perf_counter()
        step()
        times.append((time.perf_counter() - start) / len(files) * 1e6)
    print(json.dumps({"files_us": statistics.median(times)}))


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=on_one_core)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        print(f"left out: {' '.join(command[:4])}: {last}", file=sys.stderr)
        return None
    return json.loads(lines[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="?", default=os.path.join(HERE, "..", "..", "shared", "data", "imagenet", "samples"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("--before", help="loader_speed of an older build")
    parser.add_argument("--json")
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    args = parser.parse_args()
    files = sorted(os.path.join(args.photos, name) for name in os.listdir(args.photos))
    if args.peer:
        return time_peer(args.peer, files, args.passes)
    # Our loader reads class folders, of which there must be two.
    folder = tempfile.mkdtemp()
    for name in ("even", "odd"):
        os.makedirs(os.path.join(folder, "train", name))
    for number, file in enumerate(files):
        place = os.path.join(folder, "train", ("even", "odd")[number % 2], os.path.basename(file))
        os.symlink(os.path.abspath(file), place)
    ours = {"ours": OURS, **({"before": args.before} if args.before else {})}
    commands = {name: [binary, folder, str(args.passes)] for name, binary in ours.items()}
    for name in PEERS:
        if args.only in name:
            commands[name] = [sys.executable, os.path.abspath(__file__), args.photos, "--peer", name, "--passes", str(args.passes)]
    found = {name: [] for name in commands}
    for _ in range(args.rounds):
        for name, command in list(commands.items()):
            result = run(command)
            if result is None:
                del commands[name]
            else:
                found[name].append(result)
    median = lambda name, key: statistics.median(result[key] for result in found[name])
    print(f"{len(files)} photos, one core, {args.rounds} rounds in turn, medians of rounds\n")
    print("| | microseconds a photo | images/s | ours is |\n|---|---:|---:|---:|")
    for name in (name for name in found if found[name]):
        us = median(name, "files_us")
        print(f"| {name} | {us:.0f} | {1e6 / us:.0f} | {us / median('ours', 'files_us'):.2f} x |")
    print()
    for name in (name for name in ours if found[name]):
        print(f"{name}: decoding whole pictures {median(name, 'whole_decoding_us'):.0f} us, "
              f"resize and normalise {median(name, 'resize_normalise_us'):.0f} us, bits {found[name][0]['bits']}")
    if args.json:
        with open(args.json, "w") as out:
            json.dump(found, out, indent=1)


if __name__ == "__main__":
    main()
