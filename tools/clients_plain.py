"""Parts of serve_clients.py: requests as curl sends them, for paths that have no client."""

import base64
import json

import serving

RAW = {"content-type": "application/octet-stream"}
# What `curl --data-binary` says of any body.
CURL = {"content-type": "application/x-www-form-urlencoded"}


def multipart(parts, boundary="a-boundary"):
    """Body and headers of parts (field, file name or None, bytes)."""
    body = b""
    for field, file, data in parts:
        name = f'; filename="{file}"' if file else ""
        head = f'--{boundary}\r\ncontent-disposition: form-data; name="{field}"{name}\r\n\r\n'
        body += head.encode() + data + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return body, {"content-type": f"multipart/form-data; boundary={boundary}"}


def same_pictures(pictures, said, names=None):
    """None where /classify says of all pictures what it must."""
    if len(said["pictures"]) != len(pictures):
        return f"expected {len(pictures)} pictures, found {len(said['pictures'])}"
    for at, (picture, one) in enumerate(zip(pictures, said["pictures"], strict=True)):
        differs = serving.same_top(picture.top, one.get("top"))
        if differs:
            return f"{picture.path}: {differs}"
        if names and one["name"] != names[at]:
            return f"expected the name {names[at]!r}, found {one['name']!r}"
    return None


def own(facts, checks):
    """/classify, /metrics, /openapi.json, /."""
    pictures, name = facts.pictures, serving.NAME

    def ask(method, path, body=None, headers=None):
        return serving.ask(facts.address, method, path, body, headers)

    said = ask("GET", "/classify").json()
    checks.equal("models", [name], [model["name"] for model in said["models"]])
    model = said["models"][0]
    checks.equal("classes", len(pictures[0].top), model["classes"])
    checks.equal("the default model", True, model["default"])
    checks.equal("its state", "ready", model["state"])
    want = {"body_bytes", "pixels", "pictures", "timeout_s"}
    checks.equal("limits", set(), want - set(said["limits"]))
    for picture in pictures:
        for path in ("/classify", f"/classify/{name}", f"/classify/{name}/1"):
            for headers in (RAW, CURL, {"content-type": "image/jpeg"}, {}):
                answer = ask("POST", f"{path}?top=3", picture.bytes, headers)
                kind = headers.get("content-type", "no content-type")
                what = f"{path}, {picture.path.name}, {kind}"
                if checks.status(what, 200, answer):
                    checks.none(what, same_pictures([picture], answer.json(), [None]))
        (one,) = answer.json()["pictures"]
        checks.equal("classes of top=3", min(3, len(picture.top)), len(one["top"]))
    for header in ("server-timing", "x-request-id"):
        checks.check(header in answer.headers, f"header {header}")
    stages = [part.split(";")[0].strip() for part in answer.headers["server-timing"].split(",")]
    checks.equal("stages", ["queue", "decode", "compute"], stages)
    path = f"/classify/{name}?cam=1&embedding=1&logits=1&top=2"
    (one,) = ask("POST", path, pictures[0].bytes, RAW).json()["pictures"]
    checks.none("cam", serving.wrong_cam(pictures[0], one))
    checks.equal("logits", len(pictures[0].top), len(one["logits"]))
    checks.check(len(one["embedding"]) > 0, "embedding")
    other = pictures[0].top[-1]["class"]
    path = f"/classify/{name}?cam=1&class={other}"
    (one,) = ask("POST", path, pictures[0].bytes, RAW).json()["pictures"]
    checks.equal("cam of another class", other, one["cam"]["class"])

    names = [picture.path.name for picture in pictures]
    files = [("file", name, one.bytes) for name, one in zip(names, pictures, strict=True)]
    answer = ask("POST", f"/classify/{name}", *multipart(files))
    checks.none("multipart", same_pictures(pictures, answer.json(), names))
    damaged = [*files, ("file", "bad.jpg", facts.damaged())]
    answer = ask("POST", f"/classify/{name}", *multipart(damaged))
    if checks.status("multipart with a damaged picture", 200, answer):
        said = answer.json()
        bad = said["pictures"].pop()
        checks.none("the others", same_pictures(pictures, said, names))
        ok = bad.get("name") == "bad.jpg" and bad.get("error")
        checks.check(bool(ok), "its own error", f"expected an error of bad.jpg, found {bad}")
    listed = [{"name": one.path.name, "b64": facts.base64(one)} for one in pictures]
    body = json.dumps({"pictures": listed})
    answer = ask("POST", f"/classify/{name}", body, {"content-type": "application/json"})
    checks.none("JSON", same_pictures(pictures, answer.json(), names))

    answer = ask("POST", f"/classify/{name}", facts.damaged(), RAW)
    checks.status("a damaged picture", {415, 422}, answer)
    checks.status("no picture", 415, ask("POST", f"/classify/{name}", b"a text, no picture", RAW))
    checks.status("no such model", 404, ask("POST", "/classify/no-such", pictures[0].bytes, RAW))
    answer = ask("POST", f"/classify/{name}/9", pictures[0].bytes, RAW)
    checks.status("no such version", 404, answer)
    metrics = ask("GET", "/metrics")
    checks.status("/metrics", 200, metrics)
    text = metrics.body.decode()
    for metric in (
        "resnet_request_duration_seconds",
        "resnet_stage_duration_seconds",
        "resnet_queue_depth",
        "nv_inference_request_success",
        "process_resident_memory_bytes",
    ):
        checks.check(metric in text, f"metric {metric}")
    checks.check("no-such" not in text, "no label by the name of an unknown model")
    openapi = ask("GET", "/openapi.json")
    checks.check(openapi.json()["openapi"].startswith("3."), "/openapi.json")
    answer = ask("GET", "/", headers={"accept": "application/json"})
    checks.equal("/ for a client of JSON", {"status": "alive"}, answer.json())
    answer = ask("GET", "/", headers={"accept": "text/html,*/*;q=0.8"})
    checks.check(answer.headers["content-type"].startswith("text/html"), "/ for a browser")
    checks.check(
        "default-src 'self'" in answer.headers.get("content-security-policy", ""), "its CSP"
    )
    for path in ("/", "/ping", "/v2", "/v2/health/ready", "/metrics"):
        answer = ask("HEAD", path)
        checks.equal(f"HEAD {path}", (200, b""), (answer.status, answer.body))
    for method, path in (
        ("DELETE", f"/classify/{name}"),
        ("POST", "/v2"),
        ("GET", f"/v2/models/{name}/infer"),
    ):
        checks.status(f"{method} {path}", 405, ask(method, path))
    checks.status("an unknown path", 404, ask("GET", "/no/such/path"))


def torchserve(facts, checks):
    """/ping and /predictions, as TorchServe's documentation asks."""
    name = serving.NAME
    answer = serving.ask(facts.address, "GET", "/ping")
    checks.equal("/ping", {"status": "Healthy"}, answer.json())
    for picture in facts.pictures:
        want = {guess["label"]: guess["probability"] for guess in picture.top[:5]}
        ways = {
            "POST": ("POST", picture.bytes, CURL),
            "PUT, of curl -T": ("PUT", picture.bytes, {}),
            "multipart": ("POST", *multipart([("data", picture.path.name, picture.bytes)])),
        }
        for path in (f"/predictions/{name}", f"/predictions/{name}/1"):
            for what, (method, body, headers) in ways.items():
                answer = serving.ask(facts.address, method, path, body, headers)
                text = f"{path}, {picture.path.name}, {what}"
                if not checks.status(text, 200, answer):
                    continue
                found = answer.json()
                same = found.keys() == want.keys() and all(
                    abs(found[label] - want[label]) <= serving.TOLERANCE for label in want
                )
                checks.check(same, text, "" if same else f"expected {want}, found {found}")
                order = list(found.values())
                checks.equal("most probable first", sorted(order, reverse=True), order)
    answer = serving.ask(facts.address, "POST", "/predictions/no-such", facts.pictures[0].bytes)
    checks.status("no such model", 404, answer)


def v1(facts, checks):
    """The first protocol of KServe, where its client has no call."""
    name = serving.NAME

    def post(verb, value):
        path, headers = f"/v1/models/{name}:{verb}", {"content-type": "application/json"}
        return serving.ask(facts.address, "POST", path, json.dumps(value), headers)

    answer = serving.ask(facts.address, "GET", "/v1/models")
    checks.equal("/v1/models", {"models": [name]}, answer.json())
    answer = serving.ask(facts.address, "GET", f"/v1/models/{name}")
    checks.equal(
        f"/v1/models/{name}", (name, True), (answer.json()["name"], answer.json()["ready"])
    )
    checks.status("no such model", 404, serving.ask(facts.address, "GET", "/v1/models/no-such"))
    for verb, key in (("predict", "predictions"), ("explain", "explanations")):
        for picture in facts.pictures:
            said = post(verb, {"instances": [{"b64": facts.base64(picture)}]}).json()[key]
            checks.equal(key, 1, len(said))
            checks.none(verb, serving.same_top(picture.top, said[0]["top"]))
        for what, wrong in {
            "no object": [],
            "no instances": {},
            "an instance without a picture": {"instances": [{}]},
            "no base64": {"instances": [{"b64": "???"}]},
        }.items():
            checks.status(f"{verb}: {what}", 400, post(verb, wrong))
        damaged = base64.b64encode(facts.damaged()).decode()
        answer = post(verb, {"instances": [{"b64": damaged}]})
        checks.status(f"{verb}: a damaged picture", {415, 422}, answer)


def v2(facts, checks):
    """The second protocol, where the clients have no call."""
    name, pictures = serving.NAME, facts.pictures

    def post(path, body, headers=None):
        return serving.ask(facts.address, "POST", f"/v2/models/{name}{path}", body, headers or {})

    answer = serving.ask(facts.address, "GET", "/v2/models")
    found = [one if isinstance(one, str) else one["name"] for one in answer.json()["models"]]
    checks.equal("/v2/models", [name], found)
    checks.equal(
        "live", {"live": True}, serving.ask(facts.address, "GET", "/v2/health/live").json()
    )
    ready = serving.ask(facts.address, "GET", "/v2/health/ready").json()
    checks.equal("ready", {"ready": True, "live": True}, ready)
    for picture in pictures:
        for headers in ({}, RAW):
            headers = {"Inference-Header-Content-Length": "0", **headers}
            answer = post("/infer", picture.bytes, headers)
            if checks.status("a raw picture, as the header 0 says", 200, answer):
                checks.none("its probabilities", wrong_probabilities([picture], answer.json()))
    listed = [facts.base64(picture) for picture in pictures]
    tensor = {"name": "image", "shape": [len(listed)], "datatype": "BYTES", "data": listed}
    answer = post("/explain", json.dumps({"inputs": [tensor]}))
    if checks.status("explain", 200, answer):
        said = answer.json()
        checks.none("explain, probabilities", wrong_probabilities(pictures, said))
        outputs = {one["name"]: one for one in said["outputs"]}
        best = [picture.top[0]["class"] for picture in pictures]
        checks.equal("explain, class", best, outputs["class"]["data"])
        rows, height, width = outputs["cam"]["shape"]
        checks.equal("explain, maps", len(pictures), rows)
        checks.equal("explain, values", rows * height * width, len(outputs["cam"]["data"]))
        checks.equal("explain, regions", [len(pictures), 4], outputs["region"]["shape"])
    body = json.dumps({"inputs": [tensor], "later": {"a": [1]}})
    answer = post("/infer", body, {"content-type": "text/plain"})
    checks.status("a field of a later standard", 200, answer)


def wrong_probabilities(pictures, said):
    """None where the output `probabilities`, in JSON, is what predict says."""
    (output,) = (one for one in said["outputs"] if one["name"] == "probabilities")
    classes = len(pictures[0].top)
    if output["shape"] != [len(pictures), classes]:
        return f"expected shape {[len(pictures), classes]}, found {output['shape']}"
    for at, picture in enumerate(pictures):
        row = output["data"][at * classes : (at + 1) * classes]
        for guess in picture.top:
            if abs(row[guess["class"]] - guess["probability"]) > serving.TOLERANCE:
                return f"{picture.path}: expected {guess}, found {row[guess['class']]}"
    return None


def tokens(facts, checks):
    """A server with a token, asked with it, without it, and with another."""
    picture, path = facts.pictures[0], f"/classify/{serving.NAME}"
    right = {"Bearer": facts.headers, "x-api-key": {"x-api-key": facts.token}}
    for what, headers in right.items():
        answer = serving.ask(facts.address, "POST", path, picture.bytes, headers)
        if checks.status(what, 200, answer):
            checks.none(what, same_pictures([picture], answer.json()))
    wrong = {
        "no token": {},
        "another token": {"authorization": "Bearer another"},
        "its beginning": {"authorization": f"Bearer {facts.token[:-1]}"},
        "another scheme": {"authorization": f"Basic {facts.token}"},
        "an empty key": {"x-api-key": ""},
    }
    for what, headers in wrong.items():
        answer = serving.ask(facts.address, "POST", path, picture.bytes, headers)
        checks.status(f"{what}: POST {path}", 401, answer)
        for closed in ("/metrics", "/v2", "/v2/models", "/classify", "/no/such/path"):
            answer = serving.ask(facts.address, "GET", closed, headers=headers)
            checks.status(f"{what}: {closed}", 401, answer)
    for opened in ("/", "/ping", "/v2/health/live", "/v2/health/ready"):
        checks.status(f"no token: {opened}", 200, serving.ask(facts.address, "GET", opened))
