"""Drives `resnet serve` by unchanged clients of other servers; answers must be `resnet predict`'s.

    pip install 'tritonclient[http,grpc]' kserve pillow
    python3 tools/serve_clients.py target/release/resnet MODEL PICTURE...

MODEL is a model file, the pictures are files that it can read; two that differ or more, so that
mixed-up answers show. The clients are tritonclient over HTTP and gRPC, KServe's over REST (v1 and
v2) and gRPC, and plain requests for paths that have no client: TorchServe's, /classify,
explanations. Each has a process of its own, for tritonclient.grpc and kserve define the same
messages and cannot be loaded together.
"""

import argparse
import base64
import io
import json
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

import clients_kserve
import clients_plain
import clients_triton
import serving

TOKEN = "a-token-of-this-check"


@dataclass
class Facts:
    """What a process must know to ask and to judge."""

    address: str
    grpc: str
    pictures: list  # serving.Picture
    square: serving.Picture  # a PNG that preprocessing does not resize
    preprocess: dict  # of the model file
    token: str | None = None

    @property
    def headers(self):
        return {"authorization": f"Bearer {self.token}"} if self.token else {}

    def base64(self, picture):
        return base64.b64encode(picture.bytes).decode()

    def damaged(self):
        """A picture's beginning."""
        return self.pictures[0].bytes[:100]


def preprocess(model):
    """What a model file says of preprocessing."""
    with open(model, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return json.loads(json.loads(file.read(size))["__metadata__"]["preprocess"])


def square(pictures, said, folder):
    """The first picture as a PNG of the size to which pictures are resized before the crop."""
    side = said.get("resize") or said["shape"][1]
    size = (side, side) if said.get("resize") else (said["shape"][2], said["shape"][1])
    path = Path(folder) / "square.png"
    Image.open(io.BytesIO(pictures[0].bytes)).convert("RGB").resize(size).save(path)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    asked = parser.parse_args()
    checks = serving.Checks()
    with tempfile.TemporaryDirectory() as folder:
        pictures = serving.predicted(asked.binary, asked.model, asked.pictures)
        said = preprocess(asked.model)
        path = square(pictures, said, folder)
        (one,) = serving.predicted(asked.binary, asked.model, [path])
        if not all(picture.top for picture in [*pictures, one]):
            refused = [str(picture.path) for picture in [*pictures, one] if not picture.top]
            parser.error(f"expected pictures that `resnet predict` takes, found {refused}")
        token = Path(folder) / "token"
        token.write_text(f"{TOKEN}\n")
        parts = [
            (clients_triton.http, []),
            (clients_triton.grpc, []),
            (clients_kserve.rest, []),
            (clients_kserve.grpc, []),
            (clients_plain.own, []),
            (clients_plain.torchserve, []),
            (clients_plain.v1, []),
            (clients_plain.v2, []),
            (clients_plain.tokens, ["--token-file", token]),
            (clients_triton.repository_http, ["--token-file", token, "--admin"]),
            (clients_triton.repository_grpc, ["--token-file", token, "--admin"]),
        ]
        for part, flags in parts:
            print(f"{part.__module__}.{part.__name__}", flush=True)
            named = f"{serving.NAME}={asked.model}"
            with serving.Server(asked.binary, [named], *flags, grpc=True) as server:
                server.wait_ready()
                facts = Facts(server.address, server.grpc, pictures, one, said)
                facts.token = TOKEN if flags else None
                made, failed = alone(part, facts)
                checks.made += made
                checks.failed += failed
                checks.equal("exit code after SIGTERM", 0, server.stop())
    return checks.end()


def alone(part, facts):
    """Runs a part in a process of its own: checks made, and failed."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(judged, part, facts).result()


def judged(part, facts):
    checks = serving.Checks()
    try:
        part(facts, checks)
    except Exception as error:  # the other parts go on
        checks.check(False, part.__name__, f"expected no exception, found {error!r}")
    return checks.made, checks.failed


if __name__ == "__main__":
    raise SystemExit(main())
