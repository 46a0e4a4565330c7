"""What `resnet serve` bears: images a second, latency by load, overload, memory.

    python3 benches/serving.py target/release/resnet MODEL PICTURE... [--precision bf16]
    python3 benches/serving.py target/release/resnet MODEL PICTURE... --peer http://127.0.0.1:9000/classify

Nothing else may run. The generator is open-loop (crates/resnet-server/examples/load): a request's
latency counts from the moment it was due. E is what as many one-thread `bench infer` processes as
there are cores make at once; S is the median latency of one request after another. With `--peer`
another server, at that address, is asked the same, in turn with ours. Needs Python 3.11 alone.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import serving  # noqa: E402

LOADS = (("50", 0.5, 4.4), ("70", 0.7, 7.5), ("80", 0.8, 11.4))  # percent, share, ideal p99 in S


def run(words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def bench(binary, arch, precision):
    """Images a second of as many processes of one thread as there are cores, at once."""
    words = [binary, "bench", "infer", arch, "--batch", "1", "--threads", "1", "--seconds", "6"]
    words += ["--precision", precision, "--json"]
    running = [
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(os.cpu_count())
    ]
    return sum(json.loads(one.communicate()[0])["images_per_s"] for one in running)


class Load:
    """The generator on one server."""

    def __init__(self, generator, url, pictures, seconds):
        self.words = [generator, "--json", "--url", url, "--body", *pictures]
        self.seconds = seconds

    def __call__(self, arrivals, rate=None, connections=None, seconds=None):
        words = [*self.words, "--arrivals", arrivals, "--seconds", str(seconds or self.seconds)]
        words += ["--rate", f"{rate:.3f}"] if rate else []
        words += ["--connections", str(connections)] if connections else []
        return json.loads(run(words))


def measured(load, name):
    """Every row for one server."""
    alone = load("closed", connections=1)
    s = alone["good_ms"]["p50"]
    closed = load("closed", connections=4 * os.cpu_count())
    capacity = closed["good_a_second"]
    print(f"{name}: S {s:.2f} ms; closed loop {capacity:.1f} images/s, p99 {closed['good_ms']['p99']:.1f} ms")
    for percent, share, ideal in LOADS:
        found = load("poisson", rate=share * capacity)
        p50, p99 = (found["good_ms"][q] for q in ("p50", "p99"))
        print(f"{name}: Poisson at {percent} %: p50 {p50:.1f}, p99 {p99:.1f} ms = {p99 / s:.1f} S (ideal {ideal} S)")
    found = load("even", rate=0.8 * capacity)
    p99 = found["good_ms"]["p99"]
    print(f"{name}: even at 80 %: p99 {p99:.1f} ms = {p99 / s:.2f} S")
    found = load("poisson", rate=3 * capacity)
    good, p99 = found["good_a_second"], found["good_ms"]["p99"]
    print(
        f"{name}: at 300 %: good {good:.1f}/s = {good / capacity:.3f} of capacity, p99 {p99:.0f} ms,"
        f" by status {found['answered']}, errors {found['errors']}"
    )
    return capacity


def memory(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    value = lambda name: int(next(line for line in lines if line.startswith(name)).split()[1])  # noqa: E731
    return value("VmRSS:") / 1024, value("Threads:")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("binary")
    parser.add_argument("model")
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--max-wait", default="2s", help="of our server: how long a picture may wait")
    parser.add_argument("--peer", help="address of another server's route for pictures")
    args = parser.parse_args()
    generator = Path(args.binary).parent / "examples" / "load"
    serving.PRECISION = args.precision
    arch = json.loads(run([args.binary, "summary", args.model, "--json"]))["arch"]
    e = bench(args.binary, arch, args.precision)
    print(f"{arch} {args.precision}: E {e:.1f} images/s")
    models = [f"{serving.NAME}={args.model}"]
    with serving.Server(args.binary, models, "--max-wait", args.max_wait) as server:
        server.wait_ready()
        idle, threads = memory(server.pid)
        print(f"idle: {idle:.0f} MiB, {threads} threads, {os.cpu_count()} cores")
        url = f"http://{server.address}/classify/{serving.NAME}"
        load = Load(generator, url, args.pictures, args.seconds)
        if not args.peer:
            capacity = measured(load, "resnet")
            print(f"resnet: {capacity / e:.3f} E; {memory(server.pid)[0]:.0f} MiB after it all")
            return
        peer = Load(generator, args.peer, args.pictures, args.seconds)
        for turn in range(3):
            for name, ask in (("resnet", load), ("peer", peer)):
                alone = ask("closed", connections=1)["good_ms"]
                found = ask("closed", connections=4 * os.cpu_count())
                rate, p99 = found["good_a_second"], found["good_ms"]["p99"]
                print(f"{turn}: {name}: {rate:.1f} images/s, p99 {p99:.1f} ms; alone p50 {alone['p50']:.1f} ms")


if __name__ == "__main__":
    main()
