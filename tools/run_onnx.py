"""Runs an ONNX file in the ONNX Runtime of the Python that runs this: the older ones need a numpy, and so a Python, of their own.

    python3 tools/run_onnx.py MODEL.onnx IMAGES.npy LOGITS.npy    # and prints the version

The images go through in batches of different sizes: the batch is dynamic.
"""

import sys

import numpy as np
import onnxruntime


def session(path):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 2  # warnings would say that the model is dated or odd
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def logits(runtime, x):
    parts = np.split(x, [1, 8, 40])
    return np.concatenate([runtime.run(["logits"], {"images": part})[0] for part in parts])


if __name__ == "__main__":
    model, images, out = sys.argv[1:]
    np.save(out, logits(session(model), np.load(images)))
    print(onnxruntime.__version__)
