#!/usr/bin/env python3
"""Pictures in files that other programs wrote, and files that `resnet data pack` writes in other programs.

    python3 tools/check_data.py RESNET

Makes pictures in class folders, and writes them by webdataset, by datasets, by pyarrow in its ways, and by zipfile. Of each `resnet data check` must find the same classes and counts,
and `resnet eval` the same numbers to the last digit, as of the folder. Then packs the folder into both formats and reads the shards by webdataset and datasets: the same bytes
and labels in the same order. Needs datasets, pyarrow, webdataset and Pillow.
"""

import argparse
import contextlib
import csv
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import zipfile

os.environ["HF_HUB_OFFLINE"] = "1"

import datasets  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import webdataset  # noqa: E402
from PIL import Image  # noqa: E402

NAMES = ["ant", "bee", "cat"]
SIDE = 12
PACKINGS = ["none", "snappy", "zstd", "gzip"]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("resnet", type=lambda path: pathlib.Path(path).resolve())
    resnet = arguments.parse_args().resnet
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        check(resnet)


def check(resnet):
    splits = make_photos("photos")
    run(resnet, "train", "resnet8", "--data", "photos", "--epochs", "1", "--batch", "16", "--out", "run")
    expected = look(resnet, "photos")
    made = {"a list": make_list(splits), "zip": make_zip("photos.zip")}
    made["webdataset"] = make_webdataset(splits)
    made["datasets"] = make_datasets()
    for packing in PACKINGS:
        for dictionary in [True, False]:
            for version in ["1.0", "2.0"]:
                name = f"pyarrow, {packing}{', dictionary' if dictionary else ''}, pages of version {version}"
                made[name] = make_pyarrow(splits, packing, dictionary, version, f"pyarrow{len(made)}")
    made["pyarrow, texts as labels, bytes without a struct"] = make_plain(splits)
    for format in ["tar", "parquet"]:
        run(resnet, "data", "pack", "photos", format, "--format", format, "--shard-size", "8KiB")
        made[f"resnet data pack --format {format}"] = format
        place = f"from-{format}"
        run(resnet, "data", "pack", made["datasets"], place, "--format", format)
        made[f"resnet data pack --format {format} of datasets' file"] = place
    failed = 0
    for name, place in made.items():
        found = look(resnet, place)
        failed += report(name, found == expected, f"expected {expected}, found {found}")
    failed += report("webdataset reads what was packed", read_webdataset() == splits)
    failed += report("datasets reads what was packed", read_datasets() == splits)
    sys.exit(1 if failed else 0)


def report(name, good, why=""):
    print(f"{'ok   ' if good else 'WRONG'} {name}{'' if good else ': ' + why}")
    return not good


def run(resnet, *arguments):
    done = subprocess.run([resnet, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"resnet {' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


def look(resnet, place):
    """What is the same whatever holds the pictures: counts of classes, and an evaluation."""
    found = json.loads(run(resnet, "data", "check", str(place), "--json"))
    roles = {"validation": "val"}
    counts = {roles.get(part["split"], part["split"]): part["classes"] for part in found["splits"]}
    measured = json.loads(run(resnet, "eval", "run", "--data", str(place), "--json").splitlines()[0])
    numbers = {key: value for key, value in measured.items() if isinstance(value, (int, float)) and "second" not in key}
    assert numbers and counts, (measured, found)
    return counts, len(found["problems"]), numbers


def make_photos(root):
    """Small JPEGs; gives a split's files and labels in the order of their paths."""
    random.seed(1)
    splits = {}
    for split, count in [("train", 15), ("val", 6)]:
        splits[split] = []
        for label, name in enumerate(NAMES):
            folder = pathlib.Path(root, split, name)
            folder.mkdir(parents=True)
            for number in range(count):
                small = Image.frombytes("RGB", (6, 6), random.randbytes(108))
                image = Image.blend(small, Image.new("RGB", (6, 6), [(255, 0, 0), (0, 255, 0), (0, 0, 255)][label]), 0.5)
                path = folder / f"{number:03}.jpg"
                image.resize((SIDE, SIDE)).save(path, quality=85)
                splits[split].append((path.read_bytes(), label))
    return splits


def make_list(splits):
    with open("photos.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "split"])
        for split in splits:
            for path in sorted(pathlib.Path("photos", split).glob("*/*")):
                rows.writerow([path.as_posix(), path.parent.name, split])
    return "photos.csv"


def make_zip(name):
    with zipfile.ZipFile(name, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(pathlib.Path("photos").glob("*/*/*")):
            file.write(path)
    return name


def make_webdataset(splits):
    os.mkdir("webdataset")
    pathlib.Path("webdataset/classes.txt").write_text("\n".join(NAMES))
    for split, pictures in splits.items():
        with contextlib.redirect_stdout(io.StringIO()):
            with webdataset.ShardWriter(f"webdataset/{split}-%06d.tar", maxcount=10) as writer:
                for index, (picture, label) in enumerate(pictures):
                    writer.write({"__key__": f"{index:06}", "jpg": picture, "cls": label})
    return "webdataset"


def make_datasets():
    """As a repository of the hub holds them: data/train-00000-of-00002.parquet."""
    os.makedirs("datasets/data")
    for split in ["train", "val"]:
        data = datasets.load_dataset("imagefolder", data_dir=f"photos/{split}", split="train", cache_dir="cache")
        data = data.cast_column("image", datasets.Image(decode=True))
        name = {"val": "validation"}.get(split, split)
        for shard in range(2):
            part = data.shard(2, shard, contiguous=True)
            embedded(part).to_parquet(f"datasets/data/{name}-{shard:05}-of-00002.parquet")
    return "datasets"


def embedded(data):
    """The pictures themselves in place of their paths, as `push_to_hub` does it."""
    from datasets.table import embed_table_storage

    style = data.format
    data = data.with_format("arrow").map(embed_table_storage, batched=True, load_from_cache_file=False)
    return data.with_format(**style)


def make_pyarrow(splits, packing, dictionary, version, folder):
    os.mkdir(folder)
    features = {"info": {"features": {"image": {"_type": "Image"}, "label": {"names": NAMES, "_type": "ClassLabel"}}}}
    schema = pa.schema(
        [("label", pa.int64()), ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))],
        metadata={"huggingface": json.dumps(features)},
    )
    for split, pictures in splits.items():
        image = [{"bytes": picture, "path": f"{index}.jpg"} for index, (picture, _) in enumerate(pictures)]
        table = pa.table([[label for _, label in pictures], image], schema=schema)
        pq.write_table(
            table,
            f"{folder}/{split}-00000-of-00001.parquet",
            compression=packing,
            use_dictionary=dictionary,
            data_page_version=version,
            row_group_size=20,
            data_page_size=4096,
            write_batch_size=3,
        )
    return folder


def make_plain(splits):
    os.mkdir("plain")
    for split, pictures in splits.items():
        columns = {"img": [picture for picture, _ in pictures], "category": [NAMES[label] for _, label in pictures]}
        pq.write_table(pa.table(columns), f"plain/{split}.parquet")
    return "plain"


def read_webdataset():
    splits = {}
    for split in ["train", "val"]:
        shards = sorted(str(path) for path in pathlib.Path("tar").glob(f"{split}-*.tar"))
        data = webdataset.WebDataset(shards, shardshuffle=False)
        splits[split] = [(sample["jpg"], int(sample["cls"])) for sample in data]
    return splits


def read_datasets():
    files = {
        split: sorted(str(path) for path in pathlib.Path("parquet").glob(f"{split}-*-of-*.parquet"))
        for split in ["train", "val"]
    }
    read = datasets.load_dataset("parquet", data_files=files, cache_dir="cache")
    splits = {}
    for split, data in read.items():
        assert data.features["label"].names == NAMES, data.features
        rows = data.cast_column("image", datasets.Image(decode=False))
        splits[split] = [(row["image"]["bytes"], row["label"]) for row in rows]
    return splits


if __name__ == "__main__":
    main()
