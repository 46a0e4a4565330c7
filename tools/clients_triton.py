"""Parts of serve_clients.py: tritonclient over HTTP and gRPC, which each part imports itself."""

import io

import numpy as np
from PIL import Image

import serving

DAMAGED = {"415", "422"}  # statuses of a damaged picture


def objects(values):
    """A numpy array of bytes, which np.array would cut at zeros."""
    array = np.empty(len(values), dtype=np.object_)
    array[:] = values
    return array


def same_rows(pictures, rows):
    """None where each row holds the probabilities of its picture's classes."""
    if len(rows) != len(pictures):
        return f"expected {len(pictures)} rows, found {len(rows)}"
    for picture, row in zip(pictures, rows, strict=True):
        want = {guess["class"]: guess["probability"] for guess in picture.top}
        if len(row) != len(want):
            return f"{picture.path}: expected {len(want)} classes, found {len(row)}"
        apart = max(abs(want[at] - float(found)) for at, found in enumerate(row))
        if not apart <= serving.TOLERANCE:
            return (
                f"{picture.path}: expected probabilities of predict, found {apart:.1e} more or less"
            )
    return None


def same_classification(pictures, rows, count):
    """None where each row holds `count` texts "probability:class:label"."""
    if rows.shape != (len(pictures), count):
        return f"expected shape {(len(pictures), count)}, found {rows.shape}"
    for picture, row in zip(pictures, rows, strict=True):
        found = []
        for text in row:
            probability, at, label = text.decode().split(":", 2)
            found.append({"class": int(at), "label": label, "probability": float(probability)})
        differs = serving.same_top(picture.top, found)
        if differs:
            return f"{picture.path}: {differs}"
    return None


def normalised(facts):
    """The network's input for the square picture, FP32 [1, c, h, w]."""
    pixels = square_pixels(facts)[0].astype(np.float32)
    _, height, width = facts.preprocess["shape"]
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    pixels = pixels[top : top + height, left : left + width] / np.float32(255)
    channel = facts.preprocess["normalize"]["channel"]
    mean, std = (np.array(channel[name], np.float32) for name in ("mean", "std"))
    return np.ascontiguousarray(((pixels - mean) / std).transpose(2, 0, 1)[None])


def square_pixels(facts):
    """The square picture's pixels, UINT8 [1, h, w, 3]."""
    return np.asarray(Image.open(io.BytesIO(facts.square.bytes)).convert("RGB"))[None]


def fails(checks, name, wanted, call, texts=()):
    """Checks that a call is refused with one of the statuses and a text that has all of `texts`."""
    from tritonclient.utils import InferenceServerException

    try:
        found = call()
    except InferenceServerException as error:
        ok = error.status() in wanted and all(text in (error.message() or "") for text in texts)
        expected = f"expected {' or '.join(sorted(wanted))} {' '.join(texts)}, found {error}"
        return checks.check(ok, name, "" if ok else expected)
    return checks.check(False, name, f"expected an error of {wanted}, found {found!r}")


def metadata(client, checks, count, **how):
    """What both of tritonclient's clients can ask; `how` makes gRPC answer as JSON does."""
    name, headers = serving.NAME, how.pop("headers")
    checks.equal("is_server_live", True, client.is_server_live(headers=headers))
    checks.equal("is_server_ready", True, client.is_server_ready(headers=headers))
    for version in ("", "1"):
        ready = client.is_model_ready(name, version, headers=headers)
        checks.equal(f"is_model_ready, version {version!r}", True, ready)
    server = client.get_server_metadata(headers=headers, **how)
    known = {
        "binary_tensor_data",
        "classification",
        "schedule_policy",
        "statistics",
        "model_repository",
    }
    lacking = known - set(server["extensions"])
    checks.equal("extensions that the metadata of the server lack", set(), lacking)
    for version in ("", "1"):
        model = client.get_model_metadata(name, version, headers=headers, **how)
        checks.equal(f"name in metadata, version {version!r}", name, model["name"])
        checks.equal("versions", ["1"], model["versions"])
        inputs = {tensor["name"]: tensor["datatype"] for tensor in model["inputs"]}
        checks.equal("inputs", {"image": "BYTES", "pixels": "UINT8", "input": "FP32"}, inputs)
        outputs = {tensor["name"]: tensor["datatype"] for tensor in model["outputs"]}
        want = {"probabilities": "FP32", "logits": "FP32", "labels": "BYTES", "embedding": "FP32"}
        checks.equal("outputs", want, outputs)
        (tensor,) = (t for t in model["outputs"] if t["name"] == "probabilities")
        checks.equal("classes in the metadata", count, int(tensor["shape"][-1]))
        config = client.get_model_config(name, version, headers=headers, **how)
        config = config.get("config", config)
        checks.equal("name in the configuration", name, config["name"])
        types = {tensor["name"]: tensor["data_type"] for tensor in config["input"]}
        checks.equal("type of image in the configuration", "TYPE_STRING", types.get("image"))
    index = client.get_model_repository_index(headers=headers, **how)
    index = index.get("models", []) if isinstance(index, dict) else index
    found = [(model["name"], model["state"]) for model in index]
    checks.equal("repository index", [(name, "READY")], found)


def counted(client, **how):
    stats = client.get_inference_statistics(serving.NAME, **how)["model_stats"]
    return sum(int(one.get("inference_count", 0)) for one in stats)


def infer_all(client, kinds, facts, checks, compressions):
    """What infer of both clients has in common. `compressions`: keyword arguments to try."""
    new_input, new_output = kinds
    pictures, name, headers = facts.pictures, serving.NAME, facts.headers

    def image(some, shape=None):
        shape = shape or [len(some)]
        data = objects([picture.bytes for picture in some]).reshape(shape)
        return new_input("image", shape, "BYTES").set_data_from_numpy(data)

    def infer(some, **how):
        return client.infer(name, [image(some)], headers=dict(headers), **how)

    for picture in pictures:
        result = infer([picture], request_id="of-this-check")
        rows = result.as_numpy("probabilities")
        checks.none(f"probabilities of {picture.path.name}", same_rows([picture], rows))
    response = result.get_response()
    found = response["id"] if isinstance(response, dict) else response.id
    checks.equal("id of the request in the answer", "of-this-check", found)
    for shape in ([len(pictures)], [len(pictures), 1]):
        tensors = [image(pictures, shape)]
        result = client.infer(name, tensors, headers=dict(headers), model_version="1")
        rows = result.as_numpy("probabilities")
        checks.none(f"all pictures at once, shape {shape}", same_rows(pictures, rows))
    for count in (1, 3):
        outputs = [new_output("probabilities", class_count=count), new_output("labels")]
        result = infer(pictures, outputs=outputs)
        rows = result.as_numpy("probabilities")
        checks.none(f"classification, {count}", same_classification(pictures, rows, count))
        labels = [
            label.decode() for label in result.as_numpy("labels").reshape(len(pictures), -1)[:, 0]
        ]
        checks.equal("labels", [picture.top[0]["label"] for picture in pictures], labels)
    classes = len(pictures[0].top)
    rows = infer(pictures[:1], outputs=[new_output("probabilities", class_count=classes + 5)])
    rows = rows.as_numpy("probabilities")
    differs = same_classification(pictures[:1], rows, classes)
    checks.none("classification of more than all classes", differs)
    outputs = [new_output(output) for output in ("embedding", "logits", "probabilities")]
    result = infer(pictures, outputs=outputs)
    logits = result.as_numpy("logits").astype(np.float64)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    rows = odds / odds.sum(1, keepdims=True)
    checks.none("softmax of the logits", same_rows(pictures, rows))
    checks.equal("rows of embedding", len(pictures), len(result.as_numpy("embedding")))
    for how in compressions:
        result = infer(pictures, **how)
        text = ", ".join(f"{key}={value}" for key, value in how.items())
        checks.none(text, same_rows(pictures, result.as_numpy("probabilities")))
    result = infer(pictures[:1], priority=1, timeout=60_000_000, parameters={"custom": 1})
    differs = same_rows(pictures[:1], result.as_numpy("probabilities"))
    checks.none("priority, timeout and a parameter of the user", differs)
    pixels = square_pixels(facts)
    tensor = new_input("pixels", list(pixels.shape), "UINT8")
    tensor.set_data_from_numpy(pixels)
    result = client.infer(name, [tensor], headers=dict(headers))
    differs = same_rows([facts.square], result.as_numpy("probabilities"))
    checks.none("pixels", differs)
    values = normalised(facts)
    tensor = new_input("input", list(values.shape), "FP32")
    tensor.set_data_from_numpy(values)
    result = client.infer(name, [tensor], headers=dict(headers))
    checks.none("input", same_rows([facts.square], result.as_numpy("probabilities")))
    return image


def http(facts, checks):
    """tritonclient.http."""
    import tritonclient.http as triton

    name, pictures = serving.NAME, facts.pictures
    with triton.InferenceServerClient(facts.address, concurrency=4) as client:
        metadata(client, checks, len(pictures[0].top), headers={})
        checks.equal("is_model_ready of no model", False, client.is_model_ready("no-such-model"))
        before = counted(client)
        compressions = [
            {f"{side}_compression_algorithm": algorithm}
            for side in ("request", "response")
            for algorithm in ("gzip", "deflate")
        ]
        image = infer_all(
            client, (triton.InferInput, triton.InferRequestedOutput), facts, checks, compressions
        )
        count = counted(client)
        checks.check(count >= before + len(pictures), "statistics count", f"{before} to {count}")
        everything = client.get_inference_statistics()["model_stats"]
        checks.equal("statistics of all models", [name], [one["name"] for one in everything])

        # JSON instead of binary, in either direction.
        tensor = triton.InferInput("image", [len(pictures)], "BYTES")
        texts = objects([facts.base64(picture).encode() for picture in pictures])
        tensor.set_data_from_numpy(texts, binary_data=False)
        outputs = [
            triton.InferRequestedOutput("probabilities", binary_data=False),
            triton.InferRequestedOutput("labels", binary_data=False),
        ]
        result = client.infer(name, [tensor], outputs=outputs)
        rows = result.as_numpy("probabilities")
        checks.none("base64 in JSON, and JSON answers", same_rows(pictures, rows))
        result = client.infer(name, [tensor])
        rows = result.as_numpy("probabilities")
        checks.none("base64 in JSON, and binary answers", same_rows(pictures, rows))
        outputs = [outputs[0], triton.InferRequestedOutput("labels", binary_data=True)]
        result = client.infer(name, [image(pictures)], outputs=outputs)
        rows = result.as_numpy("probabilities")
        checks.none("one output in JSON, one in binary", same_rows(pictures, rows))
        label = result.as_numpy("labels").reshape(-1)[0].decode()
        checks.equal("label in binary", pictures[0].top[0]["label"], label)
        for kind, values in (("FP32", normalised(facts)), ("UINT8", square_pixels(facts))):
            of = {"FP32": "input", "UINT8": "pixels"}[kind]
            tensor = triton.InferInput(of, list(values.shape), kind)
            tensor.set_data_from_numpy(values, binary_data=False)
            how = {"request_compression_algorithm": "gzip"}
            rows = client.infer(name, [tensor], **how).as_numpy("probabilities")
            checks.none(f"{of} in JSON", same_rows([facts.square], rows))

        asked = [
            (picture, client.async_infer(name, [image([picture])])) for picture in pictures * 4
        ]
        wrong = [
            differs
            for picture, answer in asked
            if (differs := same_rows([picture], answer.get_result().as_numpy("probabilities")))
        ]
        checks.equal("async_infer, answers of other pictures", [], wrong)

        one = [image(pictures[:1])]
        fails(checks, "no such model", {"404"}, lambda: client.infer("no-such-model", one))
        fails(checks, "no such version", {"404"}, lambda: client.infer(name, one, "9"))
        fails(checks, "no metadata", {"404"}, lambda: client.get_model_metadata("no-such-model"))
        fails(checks, "too late", {"504"}, lambda: client.infer(name, one, timeout=1))
        gzip = {"response_compression_algorithm": "gzip"}
        late = {"timeout": 1, **gzip}
        fails(
            checks, "an error is not compressed", {"504"}, lambda: client.infer(name, one, **late)
        )
        wrong = [triton.InferRequestedOutput("no-such-output")]
        refused(checks, client, triton, facts, {"400"}, DAMAGED)
        fails(checks, "no such output", {"400"}, lambda: client.infer(name, one, outputs=wrong))
        fails(checks, "no trace settings", {"404"}, client.get_trace_settings)
        fails(checks, "no shared memory", {"404"}, client.get_system_shared_memory_status)
        fails(checks, "no log settings", {"404"}, client.get_log_settings)


def refused(checks, client, triton, facts, malformed, damaged):
    """Inputs that are refused over HTTP and gRPC alike."""
    tensor = triton.InferInput("image", [1], "BYTES")
    tensor.set_data_from_numpy(objects([facts.damaged()]))
    fails(checks, "a damaged picture", damaged, lambda: client.infer(serving.NAME, [tensor]))
    tensor = triton.InferInput("image", [1], "FP32")
    tensor.set_data_from_numpy(np.zeros(1, np.float32))
    call = lambda: client.infer(serving.NAME, [tensor])  # noqa: E731
    fails(checks, "image as FP32", malformed, call, ["image", "BYTES"])
    tensor = triton.InferInput("no-such-input", [1], "FP32")
    tensor.set_data_from_numpy(np.zeros(1, np.float32))
    fails(checks, "no such input", malformed, call, ["no-such-input"])


def grpc(facts, checks):
    """tritonclient.grpc."""
    import threading

    import tritonclient.grpc as triton

    name, pictures = serving.NAME, facts.pictures
    with triton.InferenceServerClient(facts.grpc) as client:
        metadata(client, checks, len(pictures[0].top), as_json=True, headers={})
        checks.equal("is_model_ready of no model", False, client.is_model_ready("no-such-model"))
        before = counted(client, as_json=True)
        compressions = [{"compression_algorithm": one} for one in ("gzip", "deflate")]
        image = infer_all(
            client, (triton.InferInput, triton.InferRequestedOutput), facts, checks, compressions
        )
        count = counted(client, as_json=True)
        checks.check(count >= before + len(pictures), "statistics count", f"{before} to {count}")

        wrong, left, all_answered = [], [len(pictures) * 4], threading.Event()

        def answered(picture, result, error):
            differs = error or same_rows([picture], result.as_numpy("probabilities"))
            wrong.extend([differs] if differs else [])
            left[0] -= 1
            if left[0] == 0:
                all_answered.set()

        for picture in pictures * 4:
            client.async_infer(
                name,
                [image([picture])],
                lambda result, error, picture=picture: answered(picture, result, error),
            )
        checks.check(all_answered.wait(serving.PATIENCE), "async_infer, all answered")
        checks.equal("async_infer, answers of other pictures", [], wrong)

        one = [image(pictures[:1])]
        codes = {
            "NOT_FOUND": lambda: client.infer("no-such-model", one),
            "DEADLINE_EXCEEDED": lambda: client.infer(name, one, timeout=1),
            "UNIMPLEMENTED": client.get_trace_settings,
        }
        for code, call in codes.items():
            fails(checks, code, {f"StatusCode.{code}"}, call)
        fails(
            checks,
            "no such version",
            {"StatusCode.NOT_FOUND"},
            lambda: client.infer(name, one, "9"),
        )
        patient = client.infer(name, one, client_timeout=serving.PATIENCE)
        differs = same_rows(pictures[:1], patient.as_numpy("probabilities"))
        checks.none("a deadline of the client", differs)
        refusal = {"StatusCode.INVALID_ARGUMENT"}
        refused(checks, client, triton, facts, refusal, refusal)
        wrong = [triton.InferRequestedOutput("no-such-output")]
        fails(checks, "no such output", refusal, lambda: client.infer(name, one, outputs=wrong))


def repository(client, infer, codes, headers, checks, **how):
    """Unloads and loads the model.

    `codes`: the statuses of a model that is not there, of one that is not ready, and of a request
    that is malformed.
    """
    name = serving.NAME

    def states():
        index = client.get_model_repository_index(headers=dict(headers), **how)
        index = index.get("models", []) if isinstance(index, dict) else index
        return {model["name"]: model["state"] for model in index}

    checks.none("before", infer())
    client.unload_model(name, headers=dict(headers))
    checks.equal(
        "not ready after unload", False, client.is_model_ready(name, headers=dict(headers))
    )
    state = states().get(name, "UNAVAILABLE")
    checks.equal("state after unload", "UNAVAILABLE", state)
    fails(checks, "infer after unload", codes[1], infer)
    client.load_model(name, headers=dict(headers))
    checks.equal("ready after load", True, client.is_model_ready(name, headers=dict(headers)))
    checks.equal("state after load", "READY", states().get(name))
    checks.none("after load", infer())
    load = lambda other: client.load_model(other, headers=dict(headers))  # noqa: E731
    fails(checks, "load of no model", codes[0], lambda: load("no-such-model"))
    override = lambda: client.load_model(name, headers=dict(headers), config="{}")  # noqa: E731
    fails(checks, "load with another configuration", codes[2], override)


def asking(client, triton, facts):
    picture = facts.pictures[:1]
    tensor = triton.InferInput("image", [1], "BYTES")
    tensor.set_data_from_numpy(objects([picture[0].bytes]))

    def infer():
        result = client.infer(serving.NAME, [tensor], headers=dict(facts.headers))
        return same_rows(picture, result.as_numpy("probabilities"))

    return infer


def repository_http(facts, checks):
    """Load and unload over HTTP, with a token."""
    import tritonclient.http as triton

    with triton.InferenceServerClient(facts.address) as client:
        codes = ({"404", "400"}, {"404", "503"}, {"400"})
        infer = asking(client, triton, facts)
        repository(client, infer, codes, facts.headers, checks)
        fails(
            checks, "unload without the token", {"401"}, lambda: client.unload_model(serving.NAME)
        )
        checks.equal(
            "ready all the same", True, client.is_model_ready(serving.NAME, headers=facts.headers)
        )


def repository_grpc(facts, checks):
    """Load and unload over gRPC, with a token."""
    import tritonclient.grpc as triton

    with triton.InferenceServerClient(facts.grpc) as client:
        status = "StatusCode.{}".format
        invalid = {status("INVALID_ARGUMENT")}
        codes = (
            {status("NOT_FOUND"), *invalid},
            {status("NOT_FOUND"), status("UNAVAILABLE")},
            invalid,
        )
        infer = asking(client, triton, facts)
        repository(client, infer, codes, facts.headers, checks, as_json=True)
        call = lambda: client.unload_model(serving.NAME)  # noqa: E731
        fails(checks, "unload without the token", {status("UNAUTHENTICATED")}, call)
