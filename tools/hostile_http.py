"""Requests whose HTTP is wrong, or that ask for what is not there: cases of serve_hostile.py."""

from hostile_cases import (
    CLASSIFY,
    INFER,
    JSON,
    MALFORMED,
    NO_HTTP,
    RAW,
    Case,
    post,
    request,
)
from serving import NAME


def framing(good):
    """Lengths and chunks that lie or contradict each other."""

    def body(name, headers, data, statuses=NO_HTTP, **more):
        head = request("POST", CLASSIFY, {**RAW, **headers}, length=False)
        return Case(f"framing: {name}", head + data, frozenset(statuses), form=False, **more)

    size = len(good)
    chunked = b"%x\r\n" % size + good + b"\r\n0\r\n\r\n"
    te = {"transfer-encoding": "chunked"}
    yield body("chunked", te, chunked, {200})
    both = {"content-length": size, **te}
    yield body("both, then closed", both, chunked, {200, 400})
    for wrong in ("-1", "+5", "1e3", "0x10", "abc", "", "1 1", "9" * 19, "9" * 40):
        yield body(f"Content-Length {wrong}", {"content-length": wrong}, good)
    yield body("two lengths", {"content-length": [size, size - 1]}, good)
    yield body("a list of lengths", {"content-length": f"{size}, {size - 1}"}, good)
    yield body("17 MiB announced", {"content-length": 17 << 20}, b"", {413})
    yield body("2^62 bytes announced", {"content-length": 2**62}, b"", {413})
    short = {"content-length": size + 10}
    yield body("a body too short, then closed", short, good, {0, 400, 408}, end=True)
    yield body("a body too short, then silence", short, good, {0, 408}, slow=True)
    yield body("half a chunk, then closed", te, chunked[: size // 2], {0, 400, 408}, end=True)
    yield body("half a chunk, then silence", te, chunked[: size // 2], {0, 408}, slow=True)
    for name, data in {
        "no number": b"zz\r\n",
        "a minus": b"-5\r\nabcde\r\n0\r\n\r\n",
        "2^64": b"10000000000000000\r\n",
        "2^400": b"f" * 100 + b"\r\n",
        "a prefix": b"0x5\r\nabcde\r\n0\r\n\r\n",
        "nothing": b"\r\n\r\n",
        "no line end": b"5" * 100_000,
        "too long for its data": b"3\r\nabcde\r\n0\r\n\r\n",
        "an extension of 1 MB": b"5;" + b"x" * 1_000_000 + b"\r\nabcde\r\n0\r\n\r\n",
        "10,000 trailers": b"0\r\n" + b"a: b\r\n" * 10_000 + b"\r\n",
    }.items():
        # A server may read trailers of any number before it sees that there is no picture.
        statuses = NO_HTTP | {415, 422}
        yield body(f"chunks: {name}", te, data, statuses, end=True)
    one = b"".join(b"1\r\n%c\r\n" % byte for byte in good[:20_000])
    yield body("20,000 chunks of a byte", te, one + b"0\r\n\r\n", {200, 415, 422, 400})
    much = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    yield body("17 MiB in chunks", te, much * 17 + b"0\r\n\r\n", {413})
    for wrong in ("gzip, chunked", "chunked, chunked", "xchunked", "identity", "chunked, gzip", ""):
        headers = {"transfer-encoding": wrong}
        yield body(
            f"Transfer-Encoding: {wrong}", headers, chunked, NO_HTTP | {200, 415, 422}, end=True
        )
    headers = {**RAW, "expect": "something-else"}
    yield post("expect: something else", CLASSIFY, good, {200, 417}, headers, form=False)


def heads(dice):
    """Heads that are none, or too much."""

    def raw(name, data, statuses=NO_HTTP, **more):
        return Case(f"head: {name}", data, frozenset(statuses), form=False, **more)

    line = b"GET /v2/health/live HTTP/1.1\r\n"
    host = b"host: localhost\r\n"
    yield raw("a header of 1 MB", line + host + b"a: " + b"x" * 1_000_000 + b"\r\n\r\n")
    yield raw("10,000 headers", line + host + b"a: b\r\n" * 10_000 + b"\r\n")
    yield raw("a path of 1 MB", b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\n\r\n", NO_HTTP | {404})
    yield raw("a name of 1 MB", line + host + b"x" * 1_000_000 + b": b\r\n\r\n")
    yield raw("a method of 1 MB", b"G" * 1_000_000 + b" / HTTP/1.1\r\n\r\n", NO_HTTP | {404, 405})
    yield raw("a NUL in a value", line + host + b"a: b\0c\r\n\r\n")
    yield raw("a NUL in a name", line + host + b"a\0b: c\r\n\r\n")
    yield raw("no colon", line + host + b"abc\r\n\r\n")
    yield raw("a space before the colon", line + host + b"a : b\r\n\r\n", NO_HTTP | {200})
    yield raw("a folded line", line + host + b"a: b\r\n c\r\n\r\n", NO_HTTP | {200})
    yield raw("no host", line + b"\r\n", {200, 400})
    yield raw("two hosts", line + host + host + b"\r\n", {200, 400})
    yield raw("no version", b"GET /\r\n\r\n")
    yield raw("HTTP/1.0", b"GET /v2/health/live HTTP/1.0\r\n\r\n", {200})
    yield raw("HTTP/9.9", b"GET / HTTP/9.9\r\n\r\n")
    yield raw("lines without CR", line.replace(b"\r", b"") + b"host: a\n\n", NO_HTTP | {200})
    yield raw("only line ends", b"\r\n" * 100_000, end=True)
    yield raw("nothing", b"", end=True)
    yield raw("half a line, then closed", b"GET /v2/hea", end=True)
    yield raw("half a line, then silence", b"GET /v2/hea", {0, 408}, slow=True)
    yield raw("a hello of TLS", b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + bytes(500), end=True)
    yield raw("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), end=True)
    yield raw("a name of SSH", b"SSH-2.0-OpenSSH_9.2\r\n", end=True)
    for at in range(16):
        noise = dice.randbytes(dice.randrange(1, 2000))
        yield raw(f"noise, {at}", noise, end=True)
    mixed = "Mozilla\xff/5.0".encode("latin-1")
    yield Case(
        "head: a value that is no UTF-8",
        request("GET", "/v2/health/live", {"user-agent": mixed, "x-request-id": mixed}),
        frozenset({200, 400}),
        form=False,
        method="GET",
    )
    for name in ("x-request-id", "traceparent", "accept", "authorization", "origin", "cookie"):
        for value in ("", "x" * 5000, "\x7f\x80", '"', "00-" + "z" * 32, ",;=,;="):
            data = request("GET", "/v2/health/live", {name: value.encode("latin-1")})
            text = f"{name}: {value[:10]!r}"
            yield Case(text, data, frozenset({200, 400, 401, 403, 431}), form=False, method="GET")


def paths(good):
    """Methods and targets of every kind."""

    def ask(method, target, statuses, form=True):
        what = target if isinstance(target, str) else target.decode("latin-1")
        name = f"{method[:20]} {what[:60]}"
        data = request(method, target, RAW, good if method in ("POST", "PUT") else b"")
        return Case(name, data, frozenset(statuses), form=form, method=method)

    for target in (CLASSIFY, INFER, "/v2/health/live", "/v2", "/ping", "/metrics", "/openapi.json"):
        methods = ["DELETE", "PATCH", "PUT", "TRACE", "FOO", "get", "A" * 200]
        methods += ["GET", "HEAD"] if target in (CLASSIFY, INFER) else ["POST"]
        for method in methods:
            yield ask(method, target, {405})
        yield ask("OPTIONS", target, {200, 204, 405})
    yield ask("OPTIONS", "*", {200, 204, 400, 404, 405})
    yield ask("CONNECT", "localhost:80", {400, 404, 405}, form=False)
    missing = [
        "/no/such/path",
        "/v2/models/no-such-model",
        "/v2/models/no-such-model/infer",
        "/v2/models/no-such-model/ready",
        "/v1/models/no-such-model",
        f"/v2/models/{NAME}/no-such",
        f"/v2/models/{NAME}/versions",
        f"/v2/models/{NAME}/versions/9",
        f"/v2/models/{NAME}/versions/0",
        f"/v2/models/{NAME}/versions/-1",
        f"/v2/models/{NAME}/versions/1.0",
        f"/v2/models/{NAME}/versions/99999999999999999999",
        f"/v2/models/{NAME}/versions/9/infer",
        f"/v2/models/{NAME}%00",
        f"/v2/models/{NAME}%0d%0ax:y",
        f"/v2/models/{NAME}%2f",
        f"/v2/models/{NAME.upper()}",
        "/v2/models/%ff%fe",
        "/v2/models/%e4%b8%96%e7%95%8c",
        "/v2/models/..%2f..%2fetc%2fpasswd",
        "/v2/models/" + "x" * 5000,
        "/v2/models/" + "%41" * 5000,
        f"/v1/models/{NAME}:no-such",
        f"/v1/models/{NAME}:",
        "/v1/models/:predict",
        "/%00",
        "/%zz",
        "/%",
        "/%2",
        "/..%c0%af..",
        "//",
        "//etc/passwd",
        "/../../etc/passwd",
        "/page/../../../../etc/passwd",
        "/page/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/page/..%2f..%2f..%2fetc%2fpasswd",
        "/page/....//....//etc/passwd",
        "/page//etc/passwd",
        "/page/classify.js%00.png",
        "/page/",
        "/page",
        "/v2//health//live",
        "/V2/health/live",
        "/v2/health/live/x",
        "/" + "/".join(["x"] * 2000),
        "/" + "../" * 2000,
    ]
    for target in missing:
        # A malformed escape or text is either malformed, or the name of nothing; what may only be
        # posted may say so before it is looked for.
        yield ask("GET", target, {400, 404, 405})
        yield ask("POST", target, {400, 404, 405})
    yield ask("GET", b"/\xff\xfe\x80", NO_HTTP | {404}, form=False)
    yield ask("GET", b"/a b c", NO_HTTP | {404}, form=False)
    yield ask("GET", b"\\windows", NO_HTTP | {404}, form=False)
    yield ask("GET", b"ftp://localhost/v2", NO_HTTP | {404, 200}, form=False)
    yield ask("GET", b"http://localhost/v2/health/live", {200})
    yield ask("GET", "/v2/health/live?" + "x" * 5000, {200, 414})
    yield ask("GET", "/v2/health/live#fragment", {200, 400, 404}, form=False)
    encoded = "".join(f"%{ord(letter):02x}" for letter in NAME)
    yield ask("GET", f"/v2/models/{encoded}", {200})
    for verb in ("load", "unload"):
        target = f"/v2/repository/models/{NAME}/{verb}"
        yield post(f"{verb} without --admin", target, b"{}", {401, 403, 404})
    yield post("index of nonsense", "/v2/repository/index", b"[" * 50_000, MALFORMED, JSON)
