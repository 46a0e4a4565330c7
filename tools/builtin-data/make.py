#!/usr/bin/env python3
"""Make the built-in pictures: a class-balanced selection of Fashion-MNIST.

usage: make.py SOURCE_DIR OUT_DIR      (standard library only)

SOURCE_DIR holds the four official idx files, as in Debian's package dataset-fashion-mnist
(/usr/share/datasets/fashion-mnist). Of each class the first 1,200 training pictures and the first 200 test
pictures are taken, and all stay in the order of the official files. The official test pictures never become
training pictures. The outputs are idx files in gzip, with no name and no time in the gzip header; a name, size and
sha256 of each is printed, of the gzip file and of its contents.
"""
import gzip
import hashlib
import pathlib
import struct
import sys
import zlib

CLASSES = 10
SPLITS = {"train": 1200, "t10k": 200}  # pictures taken of each class
LIMIT = 7_000_000  # bytes, all four files together

# sha256 of the official files, so that the selection can only be made from the real ones.
SOURCES = {
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}


def read(source: pathlib.Path, name: str) -> bytes:
    packed = (source / name).read_bytes()
    found = hashlib.sha256(packed).hexdigest()
    if found != SOURCES[name]:
        sys.exit(f"{source / name}: sha256 is {found}, expected {SOURCES[name]}")
    return gzip.decompress(packed)


def select(labels: bytes, per_class: int) -> list[int]:
    taken = [0] * CLASSES
    chosen = []
    for index, label in enumerate(labels):
        if taken[label] < per_class:
            taken[label] += 1
            chosen.append(index)
    assert taken == [per_class] * CLASSES, taken
    return chosen


def pack(data: bytes) -> bytes:
    best = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    header = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"  # deflate, no name, no time, best compression
    return header + best.compress(data) + best.flush() + struct.pack("<II", zlib.crc32(data), len(data))


def main(source: pathlib.Path, out: pathlib.Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    total = 0
    for split, per_class in SPLITS.items():
        images = read(source, f"{split}-images-idx3-ubyte.gz")
        labels = read(source, f"{split}-labels-idx1-ubyte.gz")
        magic, count, height, width = struct.unpack(">IIII", images[:16])
        assert magic == 0x803 and labels[:8] == struct.pack(">II", 0x801, count)
        size = height * width
        chosen = select(labels[8:], per_class)
        n = len(chosen)
        files = {
            f"{split}-images-idx3-ubyte.gz": struct.pack(">IIII", magic, n, height, width)
            + b"".join(images[16 + i * size : 16 + (i + 1) * size] for i in chosen),
            f"{split}-labels-idx1-ubyte.gz": struct.pack(">II", 0x801, n) + bytes(labels[8 + i] for i in chosen),
        }
        for name, data in files.items():
            packed = pack(data)
            assert gzip.decompress(packed) == data
            (out / name).write_bytes(packed)
            total += len(packed)
            print(f"{name}\t{len(packed)}\t{hashlib.sha256(packed).hexdigest()}\t{hashlib.sha256(data).hexdigest()}")
    print(f"total\t{total}")
    if total > LIMIT:
        sys.exit(f"{total} bytes, but at most {LIMIT} are allowed")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
