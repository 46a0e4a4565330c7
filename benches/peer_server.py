"""A server of pictures as one writes it in Python: ONNX Runtime behind uvicorn.

    pip install onnxruntime pillow numpy starlette uvicorn uvloop httptools
    resnet export resnet50.safetensors -o resnet50.onnx --fold
    python3 benches/peer_server.py resnet50.onnx --port 9000

As many threads as cores, each of which decodes, resizes and infers one picture at a time on a core
of its own, which was the fastest of what ONNX Runtime offers here. Answers like /classify.
"""

import argparse
import asyncio
import io
import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("model")
    parser.add_argument("--port", type=int, default=9000)
    args = parser.parse_args()
    network = session(args.model)
    texts = network.get_modelmeta().custom_metadata_map
    classes, preprocess = json.loads(texts["classes"]), json.loads(texts["preprocess"])
    (_, height, width), resize = preprocess["shape"], preprocess.get("resize")
    channel = preprocess["normalize"]["channel"]
    mean = np.array(channel["mean"], np.float32) * 255
    scale = 1 / (np.array(channel["std"], np.float32) * 255)
    name = network.get_inputs()[0].name

    def classify(bytes_):
        image = Image.open(io.BytesIO(bytes_)).convert("RGB")
        side = (resize or min(height, width)) / min(image.size)
        image = image.resize([round(n * side) for n in image.size], Image.BILINEAR)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height))
        x = ((np.asarray(image, np.float32) - mean) * scale).transpose(2, 0, 1)[None]
        logits = network.run(None, {name: x})[0][0]
        p = np.exp(logits - logits.max())
        p /= p.sum()
        top = np.argsort(-p)[:5]
        found = [{"class": int(c), "label": classes[c], "probability": float(p[c])} for c in top]
        return {"pictures": [{"top": found}]}

    pool = ThreadPoolExecutor(os.cpu_count())

    async def answer(request):
        body = await request.body()
        return JSONResponse(await asyncio.get_running_loop().run_in_executor(pool, classify, body))

    app = Starlette(routes=[Route("/classify", answer, methods=["POST"])])
    uvicorn.run(app, host="127.0.0.1", port=args.port, log_level="warning")


if __name__ == "__main__":
    main()
