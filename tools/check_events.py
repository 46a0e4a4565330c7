"""Checks exported events in TensorBoard's own reader.

    pip install tensorboard
    python3 tools/check_events.py target/release/resnet

Trains a small network for some steps, exports its events, and compares every scalar that TensorBoard reads with the run's
events.jsonl: tags, steps and values, and that times go on.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def expected(events):
    """(tag, step) -> value, of what is written and finite."""
    found = {}
    for event in events:
        values = {}
        if event["event"] == "step":
            values = {f"train/{key}": event[key] for key in ("loss", "top1", "lr", "images_per_s", "wait")}
        elif event["event"] == "evaluated":
            values = {f"{event['split']}/{key}": event[key] for key in ("loss", "top1", "top5")}
        elif event["event"] == "monitored":
            names = {"gradient of y": "activation_gradient_norm", "gradient of w": "gradient_norm", "std of y": "response_std"}
            values = {f"{what}/{layer['name']}": layer[key] for layer in event["layers"] for what, key in names.items()}
        found.update({(tag, event["step"]): value for tag, value in values.items() if value is not None})
    return found


def main():
    resnet = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        run = ["train", "resnet8", "--steps", "12", "--monitor", "eval_every=4it", "--out", "runs/a"]
        subprocess.run([resnet, *run], cwd=folder, check=True, capture_output=True)
        for _ in range(2):
            subprocess.run([resnet, "export-events", "runs/a", "--tensorboard", "board"], cwd=folder, check=True,
                           capture_output=True)
        lines = (Path(folder) / "runs/a/events.jsonl").read_text().splitlines()
        want = expected([json.loads(line) for line in lines])
        reader = EventAccumulator(str(Path(folder) / "board/a"), size_guidance={"scalars": 0})
        reader.Reload()
        got = {}
        for tag in reader.Tags()["scalars"]:
            scalars = reader.Scalars(tag)
            times = [scalar.wall_time for scalar in scalars]
            assert times == sorted(times), f"{tag}: times go back"
            got.update({(tag, scalar.step): scalar.value for scalar in scalars})
    assert want.keys() == got.keys(), f"missing {want.keys() - got.keys()}, too many {got.keys() - want.keys()}"
    wrong = [key for key, value in want.items() if np.float32(value) != np.float32(got[key])]
    assert not wrong and len(want) > 50, f"{len(want)} scalars, wrong: {wrong[:5]}"
    print(f"TensorBoard reads {len(got)} scalars of {len({tag for tag, _ in got})} tags as they were written")


if __name__ == "__main__":
    main()
