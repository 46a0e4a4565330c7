"""Requests whose contents must be refused, or do no harm: cases of serve_hostile.py."""

import base64
import gzip
import json
import struct
import zlib
from dataclasses import dataclass

from serving import NAME

REFUSED = frozenset({413, 415, 422})  # statuses of a picture that cannot be read
MALFORMED = frozenset({400})
# A connection that speaks no HTTP/1.1 may be closed without an answer.
NO_HTTP = frozenset({0, 400, 408, 411, 413, 414, 431, 501, 505})
LIMIT = 16 << 20  # --max-body
BOMB = 256 << 20  # bytes that a bomb unpacks into

INFER = f"/v2/models/{NAME}/infer"
CLASSIFY = f"/classify/{NAME}"
PREDICT = f"/v1/models/{NAME}:predict"
JSON = {"content-type": "application/json"}
RAW = {"content-type": "application/octet-stream"}


@dataclass
class Case:
    """Bytes to send and the statuses that are right; 0 stands for a connection that is closed.

    `form`: an error has the form of all errors, not that of the HTTP library. `end`: the sending
    side is closed. `slow`: the server answers only after a timeout. `picture`: what 200 must say.
    """

    name: str
    data: bytes
    statuses: frozenset
    form: bool = True
    end: bool = False
    slow: bool = False
    picture: object = None
    method: str = "POST"


def request(method, target, headers=None, body=b"", length=True):
    """A request's bytes; `headers` maps names to a value or a list of values."""
    target = target if isinstance(target, bytes) else target.encode()
    lines = [method.encode() + b" " + target + b" HTTP/1.1", b"host: localhost"]
    for name, values in (headers or {}).items():
        for value in values if isinstance(values, list) else [values]:
            value = value if isinstance(value, bytes) else str(value).encode()
            lines.append(name.encode() + b": " + value)
    if length and (body or method in ("POST", "PUT")):
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def post(name, target, body, statuses, headers=None, **more):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Case(name, request("POST", target, headers, body), frozenset(statuses), **more)


def json_texts(good):
    """Bodies that are no JSON, or not the JSON that is asked for."""
    picture = base64.b64encode(good).decode()
    bodies = {
        CLASSIFY: {"pictures": [{"name": "a", "b64": picture}]},
        INFER: {
            "inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": [picture]}]
        },
        PREDICT: {"instances": [{"b64": picture}]},
    }
    wrong = {
        "nothing": b"",
        "null": b"null",
        "a list": b"[]",
        "a string": b'"x"',
        "a number": b"1",
        "an empty object": b"{}",
        "an open object": b"{",
        "no JSON": b"this is no JSON",
        "200,000 [": b"[" * 200_000,
        '200,000 {"a":': b'{"a":' * 200_000,
        "200,000 levels, closed": b"[" * 200_000 + b"]" * 200_000,
        "no UTF-8": b'{"\xff\xfe": 1}',
        "half a surrogate": b'{"\\ud800": 1}',
        "NUL": b"\0" * 100,
        "NaN": b'{"a": NaN}',
        "a comma too many": b'{"a": 1,}',
    }
    for path, right in bodies.items():
        for name, body in wrong.items():
            yield post(f"{path}: {name}", path, body, MALFORMED, JSON)
        text = json.dumps(right)
        (key,) = right
        nested = (text[:-1] + f', "extra": {"[" * 40 + "]" * 40}}}').encode()
        yield post(f"{path}: 40 levels", path, nested, MALFORMED, JSON)
        lenient = {
            "1e999": "1e999",
            "a number of 10,000 digits": "9" * 10_000,
            "a string of 1 MB": '"' + "x" * 1_000_000 + '"',
            "100,000 keys": "{" + ", ".join(f'"{i}": {i}' for i in range(100_000)) + "}",
        }
        for name, value in lenient.items():
            body = (text[:-1] + f', "extra": {value}}}').encode()
            yield post(f"{path}: {name} more", path, body, {200, 400, 413}, JSON)
        twice = (text[:-1] + f', "{key}": []}}').encode()
        yield post(f"{path}: {key} twice", path, twice, {200, 400}, JSON)
        yield post(f"{path}: something after it", path, text.encode() + b" x", MALFORMED, JSON)
        yield post(f"{path}: 17 MiB", path, b" " * (17 << 20), {413}, JSON)
        for name, value in {
            "no list": 1,
            "null": None,
            "an empty list": [],
            "numbers": [1, 2],
            "lists": [[]],
            "nulls": [None],
            "1,000 empty objects": [{}] * 1000,
        }.items():
            # /classify answers each picture of a list by itself.
            each = {200} if path == CLASSIFY and name.startswith("1,000") else set()
            yield post(f"{path}: {key} is {name}", path, {key: value}, {400, 413} | each, JSON)
    for name, text in {
        "no base64": "???",
        "half a byte of base64": "A",
        "base64 of nothing": "",
        "base64 of zeros": "A" * 1_000_000,
        "base64 with NUL": "AAAA\0AAA",
        "no ASCII": "\u00e9\u4e16\U0001f600",
    }.items():
        statuses = {400} | REFUSED
        body = {"instances": [{"b64": text}]}
        yield post(f"v1: {name}", PREDICT, body, statuses, JSON)
        tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}
        yield post(f"v2: {name}", INFER, {"inputs": [tensor]}, statuses, JSON)
        body = {"pictures": [{"name": "a", "b64": text}]}
        yield post(f"/classify: {name}", CLASSIFY, body, {200} | statuses, JSON)


def tensors():
    """Shapes, types and data of v2 that do not fit each other."""
    big = [2**31, 2**32, 2**63, 2**64, 10**30]
    shapes = {
        "[]": [],
        "null": None,
        "a string": "1",
        "an object": {},
        "strings": ["1"],
        "a fraction": [1.5, 3, 32, 32],
        "minus one": [-1, 3, 32, 32],
        "zero": [0, 3, 32, 32],
        "1,000 dimensions": [1] * 1000,
        "100,000 dimensions": [1] * 100_000,
        "a product of 2^64": [2**16, 2**16, 2**16, 2**16],
        "a product of 2^128": [2**32] * 4,
        "a product that overflows to 1": [2**63, 2, 1, 1],
        "100,000 x 100,000": [1, 3, 100_000, 100_000],
        **{f"{number}": [number] for number in big},
        **{f"{number} x 3 x 32 x 32": [number, 3, 32, 32] for number in big},
        **{f"1 x 3 x {number} x {number}": [1, 3, number, number] for number in big},
    }
    kinds = {"input": ("FP32", 0.5), "pixels": ("UINT8", 1), "image": ("BYTES", "AAAA")}
    for name, (kind, value) in kinds.items():
        for text, shape in shapes.items():
            tensor = {"name": name, "shape": shape, "datatype": kind, "data": [value]}
            body = {"inputs": [tensor]}
            yield post(f"{name}: shape {text}", INFER, body, {400, 413}, JSON)
            # The same without data: nothing may be set aside for it.
            tensor = {"name": name, "shape": shape, "datatype": kind, "data": []}
            yield post(
                f"{name}: shape {text}, no data", INFER, {"inputs": [tensor]}, {400, 413}, JSON
            )
        for text, data in {
            "null": None,
            "an object": {},
            "a string": "x",
            "objects": [{}],
            "40 levels": json.loads("[" * 40 + "]" * 40),
            "nulls": [None],
            "true": [True],
            "another type": [{"BYTES": 1}.get(kind, "x")],
        }.items():
            tensor = {"name": name, "shape": [1], "datatype": kind, "data": data}
            yield post(f"{name}: data is {text}", INFER, {"inputs": [tensor]}, MALFORMED, JSON)
        for wrong in ("FP16", "FP64", "INT64", "BF16", "fp32", "", None, 1, "x" * 100_000):
            tensor = {"name": name, "shape": [1], "datatype": wrong, "data": [value]}
            what = str(wrong)[:10]
            yield post(f"{name}: datatype {what}", INFER, {"inputs": [tensor]}, MALFORMED, JSON)
    pixels = {"name": "pixels", "datatype": "UINT8"}
    for text, shape, data in (
        ("256", [1, 1, 1, 3], [256, 0, 0]),
        ("-1", [1, 1, 1, 3], [-1, 0, 0]),
        ("a fraction", [1, 1, 1, 3], [0.5, 0, 0]),
        ("too few", [1, 1, 2, 3], [0, 0, 0]),
        ("too many", [1, 1, 1, 3], [0] * 1_000_000),
        ("four channels", [1, 1, 1, 4], [0] * 4),
        ("two channels", [1, 1, 1, 2], [0] * 2),
    ):
        tensor = {**pixels, "shape": shape, "data": data}
        yield post(f"pixels: {text}", INFER, {"inputs": [tensor]}, MALFORMED, JSON)
    tensor = {"name": "input", "shape": [1, 1, 1, 1], "datatype": "FP32", "data": [1e39]}
    yield post("input: more than FP32 holds", INFER, {"inputs": [tensor]}, MALFORMED, JSON)
    one = {"name": "image", "shape": [1], "datatype": "BYTES", "data": ["AAAA"]}
    for text, inputs in {
        "twice": [one, one],
        "two kinds": [one, {**pixels, "shape": [1, 1, 1, 3], "data": [0, 0, 0]}],
        "none of this name": [{**one, "name": "x"}],
        "a name of 1 MB": [{**one, "name": "x" * 1_000_000}],
        "no name": [{"shape": [1], "datatype": "BYTES", "data": ["AAAA"]}],
        "shared memory": [{**one, "parameters": {"shared_memory_region": "r"}, "data": None}],
    }.items():
        yield post(f"inputs: {text}", INFER, {"inputs": inputs}, MALFORMED, JSON)


def parameters(good):
    """Outputs and parameters of v2."""
    data = [base64.b64encode(good).decode()]
    one = {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": data}]}
    for text, outputs in {
        "no list": 1,
        "of no name": [{}],
        "unknown": [{"name": "x"}],
        "a number": [1],
        "10,000 unknown": [{"name": "x"}] * 10_000,
    }.items():
        body = {**one, "outputs": outputs}
        yield post(f"outputs: {text}", INFER, body, MALFORMED, JSON)
    body = {**one, "outputs": [{"name": "probabilities"}] * 10_000}
    yield post("outputs: 10,000 the same", INFER, body, {200, 400, 413}, JSON)
    for value in (-1, 1.5, "1", 2**64, [], {}):
        asked = {"name": "probabilities", "parameters": {"classification": value}}
        body = {**one, "outputs": [asked]}
        yield post(f"classification: {value}", INFER, body, MALFORMED, JSON)
    asked = {"name": "probabilities", "parameters": {"classification": 2**62}}
    yield post("classification: 2^62", INFER, {**one, "outputs": [asked]}, {200, 400}, JSON)
    for key in ("timeout", "priority"):
        for value in (-1, 1.5, "1", 2**64, [], {}):
            body = {**one, "parameters": {key: value}}
            yield post(f"{key}: {value}", INFER, body, MALFORMED, JSON)
        body = {**one, "parameters": {key: 2**63 - 1}}
        yield post(f"{key}: 2^63 - 1", INFER, body, {200, 400}, JSON)
    for value in (1, "x", []):
        yield post(f"parameters: {value!r}", INFER, {**one, "parameters": value}, MALFORMED, JSON)
    yield post("id: a number", INFER, {**one, "id": 1}, {200, 400}, JSON)
    yield post("id: 1 MB", INFER, {**one, "id": "x" * 1_000_000}, {200, 400}, JSON)


def binary(good):
    """Sizes of binary tensors that lie."""
    packed = struct.pack("<I", len(good)) + good

    def infer(name, size, tail=packed, shape=(1,), header=None, statuses=MALFORMED, **more):
        tensor = {"name": "image", "shape": list(shape), "datatype": "BYTES", **more}
        tensor["parameters"] = {"binary_data_size": size}
        text = json.dumps({"inputs": [tensor]}).encode()
        header = {"Inference-Header-Content-Length": len(text) if header is None else header}
        return post(f"binary: {name}", INFER, text + tail, statuses, header)

    size = len(packed)
    for wrong in (0, 1, size - 1, size + 1, -1, 2**31, 2**63 - 1, 2**64, 1.5, "1", None, True, []):
        yield infer(f"a size of {wrong} for {size}", wrong)
    for wrong in (-1, 1, 10**9, 2**63, 2**64, "abc", "", "1e1", "0x10", "1 1", ["5", "6"]):
        yield infer(f"Inference-Header-Content-Length: {wrong}", size, header=wrong)
    for wrong in (0, 1, len(good) - 1, len(good) + 1, 2**31, 2**32 - 1):
        data = struct.pack("<I", wrong) + good
        statuses = MALFORMED | (REFUSED if wrong < len(good) else set())
        yield infer(f"an element of {wrong} for {len(good)}", size, data, statuses=statuses)
    yield infer("two elements said, one there", size, shape=(2,))
    yield infer("one element said, two there", 2 * size, packed * 2)
    yield infer("2^40 elements said", size, shape=(2**40,))
    yield infer("data as well", size, data=[], statuses={200, 400})
    yield infer("bytes after the last", size, packed + b"more")
    yield infer("three bytes", 3, b"abc")
    empty = struct.pack("<I", 0)
    yield infer(
        "a million empty pictures",
        4_000_000,
        empty * 1_000_000,
        (1_000_000,),
        None,
        MALFORMED | REFUSED,
    )
    yield post(
        "binary: no header",
        INFER,
        json.dumps(
            {
                "inputs": [
                    {
                        "name": "image",
                        "shape": [1],
                        "datatype": "BYTES",
                        "parameters": {"binary_data_size": size},
                    }
                ]
            }
        ).encode()
        + packed,
        MALFORMED,
    )
    raw = {"Inference-Header-Content-Length": "0"}
    yield post("binary: 0 and nothing", INFER, b"", MALFORMED | REFUSED, raw)
    yield post("binary: 0 and no picture", INFER, b"no picture", REFUSED, raw)


def compressed(good):
    """Bombs, and what only claims to be compressed."""
    zeros = bytes(1 << 20)

    def bomb(bits):
        packer = zlib.compressobj(9, zlib.DEFLATED, bits)
        parts = [packer.compress(zeros) for _ in range(BOMB // len(zeros))]
        return b"".join([*parts, packer.flush()])

    for coding, bits in (("gzip", 31), ("deflate", 15)):
        data = bomb(bits)
        for path, headers in ((CLASSIFY, RAW), (CLASSIFY, JSON), (INFER, {}), (PREDICT, JSON)):
            headers = {**headers, "content-encoding": coding}
            kind = headers.get("content-type", "")
            yield post(f"{path}: a {coding} bomb, {kind}", path, data, {413}, headers)
        packed = gzip.compress(good) if coding == "gzip" else zlib.compress(good)
        for name, data in {
            "nothing": b"",
            "garbage": b"\xff" * 1000,
            "not packed": good,
            "cut": packed[: len(packed) // 2],
            "without its end": packed[:-4],
            "with a wrong sum": packed[:-8] + bytes(8),
        }.items():
            headers = {**RAW, "content-encoding": coding}
            wrong = MALFORMED | ({415, 422} if name == "nothing" else set())
            yield post(f"{coding}: {name}", CLASSIFY, data, wrong, headers)
        data = packed + b"more"
        yield post(f"{coding}: more after it", CLASSIFY, data, {200, 400}, headers)
        twice = {**RAW, "content-encoding": f"{coding}, {coding}"}
        again = gzip.compress(packed) if coding == "gzip" else zlib.compress(packed)
        yield post(f"{coding}: twice", CLASSIFY, again, {200, 400, 415}, twice)
    for coding in ("br", "zstd", "compress", "x", "\xe9", "gzip;q=1", "identity, x", "x" * 5000):
        headers = {**RAW, "content-encoding": coding}
        yield post(f"content-encoding: {coding[:20]}", CLASSIFY, good, {400, 415}, headers)


def multiparts(good):
    """multipart/form-data that is none."""
    kind = "multipart/form-data; boundary=B"
    head = b'--B\r\ncontent-disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    part = head + good + b"\r\n"
    end = b"--B--\r\n"
    for name, wrong in {
        "no boundary": "multipart/form-data",
        "an empty boundary": "multipart/form-data; boundary=",
        "another boundary": "multipart/form-data; boundary=C",
        "a boundary of 1,000": "multipart/form-data; boundary=" + "B" * 1000,
        "an open quote": 'multipart/form-data; boundary="B',
    }.items():
        # An open quote may be read as the boundary that was meant.
        statuses = {200, 400} if "quote" in name else MALFORMED
        headers = {"content-type": wrong}
        yield post(f"multipart: {name}", CLASSIFY, part + end, statuses, headers)
    inner = b"--B\r\ncontent-type: multipart/mixed; boundary=C\r\n\r\n--C\r\n\r\n" + good
    nested = inner + b"\r\n--C--\r\n" + end
    cases = {
        "nothing": (b"", MALFORMED),
        "no part": (end, MALFORMED),
        "no end": (part, MALFORMED),
        "cut": (part[:-100], MALFORMED),
        "cut in a head": (head[:30], MALFORMED),
        "nested": (nested, {200, 400, 415, 422}),
        "a part without a head": (b"--B\r\n\r\n" + good + b"\r\n" + end, {200, 400}),
        "lines without CR": ((part + end).replace(b"\r\n", b"\n"), {200, 400}),
        "1,025 pictures": (part * 1025 + end, {400, 413}),
        "100,000 empty parts": (b"--B\r\n\r\n\r\n" * 100_000 + end, {400, 413}),
        "100,000 ends": (part + end * 100_000, {200, 400}),
        "a head of 1 MB": (head[:-4] + b"x" * 1_000_000 + b"\r\n\r\n" + end, {200, 400, 413, 431}),
        "10,000 heads": (head[:-2] + b"a: b\r\n" * 10_000 + b"\r\n" + end, {200, 400, 413, 431}),
        "only boundaries": (b"--B\r\n" * 100_000, {400, 413}),
        "almost boundaries": (head + b"\r\n--\r\n-" * 100_000 + b"\r\n" + end, {200}),
    }
    for name, (body, statuses) in cases.items():
        headers = {"content-type": kind}
        yield post(f"multipart: {name}", CLASSIFY, body, statuses, headers)
    for name, file in {
        "a path": b"../../etc/passwd",
        "no UTF-8": b"\xff\xfe",
        "NUL": b"a\0b",
        "quotes": b'a\\"b',
        "5,000 letters": b"a" * 5000,
        "a script": b"<script>alert(1)</script>",
    }.items():
        body = part.replace(b"a.jpg", file) + end
        headers = {"content-type": kind}
        yield post(f"multipart: a file called {name}", CLASSIFY, body, {200, 400}, headers)
    body = part.replace(b"\r\n\r\n", b"\r\ncontent-transfer-encoding: base64\r\n\r\n", 1) + end
    yield post(
        "multipart: a transfer encoding", CLASSIFY, body, {200, 400, 415}, {"content-type": kind}
    )


def queries(good):
    """Queries of /classify."""
    numbers = ("-1", "0", "abc", "", "1e3", "1.5", "99999999999999999999", "%ff", "%00", "0x1")
    for value in numbers:
        yield post(f"top={value}", f"{CLASSIFY}?top={value}", good, MALFORMED, RAW)
        if value != "0":
            path = f"{CLASSIFY}?cam=1&class={value}"
            yield post(f"class={value}", path, good, MALFORMED, RAW)
    path = f"{CLASSIFY}?cam=1&class=1000000000"
    yield post("class=1000000000", path, good, MALFORMED, RAW)
    for query in ("top=1&top=2", "%ff=%ff", "x=y", "&&&", "=", "top=1000000000", "cam=1" * 1000):
        path = f"{CLASSIFY}?{query}"
        yield post(f"query {query[:20]}", path, good, {200, 400}, RAW)


def damaged(good, folder, dice):
    """Files that are pictures no more: (name, bytes), to be put before `resnet predict` first."""
    for share in (4, 2):
        yield f"its first {share}th", good[: len(good) // share]
    yield "without its last byte", good[:-1]
    yield "two of them", good + good
    yield "zeros", bytes(100_000)
    yield "a text", b"this is no picture\n" * 100
    for at in range(24):
        flipped = bytearray(good)
        for _ in range(1 + at % 4):
            flipped[dice.randrange(len(flipped))] ^= 1 << dice.randrange(8)
        yield f"bits flipped, {at}", bytes(flipped)
    for _ in range(8):
        cut = dice.randrange(len(good))
        yield f"cut at {cut}", good[:cut]
    side = struct.pack(">II", 2**31 - 1, 2**31 - 1)
    head = b"IHDR" + side + b"\x08\x02\x00\x00\x00"
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head
    yield "a PNG of 2^62 pixels", png + struct.pack(">I", zlib.crc32(head))
    yield "a PNM of 2^62 pixels", b"P6 2147483647 2147483647 255\n" + bytes(100)
    yield "a PNM of 10^40 pixels", b"P6 %d %d 255\n" % (10**20, 10**20)
    bmp = struct.pack("<IiiHHIIiiII", 40, 2**31 - 1, 2**31 - 1, 1, 24, 0, 0, 0, 0, 0, 0)
    yield "a BMP of 2^62 pixels", b"BM" + struct.pack("<IHHI", 100, 0, 0, 54) + bmp
    yield (
        "a BMP of -2^31 rows",
        (
            b"BM"
            + struct.pack("<IHHI", 100, 0, 0, 54)
            + struct.pack("<IiiHHIIiiII", 40, 1, -(2**31), 1, 24, 0, 0, 0, 0, 0, 0)
        ),
    )
    yield "a TIFF whose directory is itself", b"II*\0\x08\0\0\0\0\0\x08\0\0\0" + bytes(20)
    yield (
        "a GIF of 65,535 x 65,535",
        b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\0;",
    )
    for path in sorted(folder.glob("**/*")):
        if path.suffix in (".gif", ".webp", ".png", ".jpg"):
            yield path.name, path.read_bytes()


def pictures(named):
    """Cases of pictures by what `resnet predict` makes of them: (name, serving.Picture)."""
    for name, picture in named:
        # What predict takes may still have more pixels than the server does.
        statuses = frozenset({200, 413}) if picture.top else REFUSED
        more = {"picture": picture} if picture.top else {}
        data = picture.bytes
        yield post(f"picture: {name}", CLASSIFY, data, statuses, RAW, **more)
        if picture.top is None:
            for path in (f"/predictions/{NAME}", INFER):
                headers = {"Inference-Header-Content-Length": "0"} if path == INFER else {}
                yield post(f"{path}: {name}", path, data, statuses, headers)
    yield post("picture: nothing", CLASSIFY, b"", {400, 415, 422}, RAW)
    yield post("picture: 17 MiB", CLASSIFY, bytes(17 << 20), {413}, RAW)
