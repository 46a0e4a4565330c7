"""Asks `resnet serve` what no client should, and whether it still answers well; counts its memory.

    python3 tools/serve_hostile.py target/release/resnet MODEL PICTURE... [--cases FOLDER]
    python3 tools/serve_hostile.py target/release/resnet MODEL PICTURE... \\
        --requests 100000 --hostile 0.1 --reloads 20 --seed 1

Without --requests, each case is sent once: its status must be right, never 500, an error must have
the form that all errors have, and a good request after it must be answered as `resnet predict`
says. FOLDER holds more pictures, whatever they are; `resnet predict` says which must be refused.

With --requests, so many are sent by several threads, a share of them hostile, while the model is
loaded again and again by SIGHUP. No good answer may be wrong. Resident memory is read at request
1,000, at the end, after a burst of pictures of 12 megapixels (made by Pillow), and after 100 more
reloads. Needs Python 3.11; Linux for memory.
"""

import contextlib
import http.client
import io
import random
import re
import socket
import struct
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hostile_cases
import hostile_http
import serving

# Short, so that what waits for them ends soon.
TIMEOUT = 1.0
CONNECTIONS = 64
FLAGS = [
    *("--header-timeout", f"{TIMEOUT:g}s", "--body-timeout", f"{TIMEOUT:g}s"),
    *("--max-connections", CONNECTIONS, "--no-page"),
]
# A connection that is held open must end within the timeout and this, on a busy machine.
GRACE = 10.0
# Most that memory may grow by, in MB: over the last three quarters of the requests (until then threads take what they
# keep), after the burst, after the reloads.
GROWTH = {"requests": 2, "burst": 10, "reloads": 5}
SETTLED = 50_000  # requests from which on growth over them counts


def everything(good, seed):
    """All cases of one request, of which only those marked `slow` wait for a timeout."""
    yield from hostile_cases.json_texts(good)
    yield from hostile_cases.tensors()
    yield from hostile_cases.parameters(good)
    yield from hostile_cases.binary(good)
    yield from hostile_cases.compressed(good)
    yield from hostile_cases.multiparts(good)
    yield from hostile_cases.queries(good)
    yield from hostile_http.framing(good)
    yield from hostile_http.heads(random.Random(seed))
    yield from hostile_http.paths(good)


def judge(case, answer):
    """None where the answer is right, or a text that says what is wrong."""
    if answer.status not in case.statuses:
        wanted = " or ".join("closed" if s == 0 else str(s) for s in sorted(case.statuses))
        return f"expected {wanted}, found {answer}"
    if answer.status >= 400 and case.form and case.method != "HEAD":
        return serving.wrong_error(answer)
    if answer.status == 200 and b"root:" in answer.body:
        return "found a file of the machine"
    if answer.status == 200 and case.picture:
        return serving.wrong_answer(answer, case.picture)
    return None


def send(server, case):
    """What is wrong with the answer to a case, or None."""
    try:
        patience = TIMEOUT + GRACE
        answer = serving.raw(server.address, case.data, case.end, case.method, patience)
    except TimeoutError:
        return f"expected an answer within {TIMEOUT + GRACE:g} s, found none"
    return judge(case, answer)


def named_pictures(asked, good, seed, folder):
    """Damaged pictures with what `resnet predict` says of each."""
    cases = list(hostile_cases.damaged(good, asked.cases, random.Random(seed)))
    paths = []
    for at, (_, data) in enumerate(cases):
        paths.append(Path(folder) / f"{at}")
        paths[-1].write_bytes(data)
    said = serving.predicted(asked.binary, asked.model, paths)
    return [(name, picture) for (name, _), picture in zip(cases, said, strict=True)]


def each_case(server, cases, good, checks):
    for case in cases:
        wrong = send(server, case)
        if wrong is None:
            wrong = serving.classify(server, good)
            wrong = wrong and f"a good request after it: {wrong}"
        checks.none(case.name, wrong)


def partial_heads(server, good, checks):
    """Heads that never end: good requests get through, and the connections are ended."""
    where = serving.endpoint(server.address)
    held = [socket.create_connection(where, TIMEOUT + GRACE) for _ in range(CONNECTIONS - 4)]
    for one in held:
        one.sendall(b"POST /classify HTTP/1.1\r\nhost: a\r\nx: ")
    checks.none("good request while heads are held open", serving.classify(server, good))
    statuses = {ended(one) for one in held}
    checks.check(statuses <= {0, 408}, "heads that never end are ended", f"statuses {statuses}")
    checks.none("good request after", serving.classify(server, good))


def partial_bodies(server, good, checks):
    """Bodies that never end, and bodies that trickle."""
    head = hostile_cases.request(
        "POST",
        hostile_cases.CLASSIFY,
        {**hostile_cases.RAW, "content-length": 100_000},
        length=False,
    )
    where = serving.endpoint(server.address)
    held = [socket.create_connection(where, TIMEOUT + GRACE) for _ in range(CONNECTIONS - 4)]
    for one in held:
        one.sendall(head + good.bytes[:1000])
    checks.none("good request while bodies are held open", serving.classify(server, good))
    statuses = {ended(one) for one in held}
    checks.check(statuses <= {0, 408}, "bodies that never end are ended", f"statuses {statuses}")

    trickling = socket.create_connection(where, TIMEOUT + GRACE)
    trickling.sendall(head)
    over = threading.Event()

    def trickle():
        try:
            while not over.wait(TIMEOUT / 20):
                trickling.sendall(b"x")
        except OSError:
            pass  # it was cut, as it should be

    feeder = threading.Thread(target=trickle)
    feeder.start()
    status = ended(trickling, close=False)
    over.set()
    feeder.join()
    trickling.close()
    checks.check(status in (0, 408), "a body that trickles is ended", f"status {status}")
    checks.none("good request after", serving.classify(server, good))


def ended(sock, close=True):
    """Status of the answer that ends a connection; 0 where there is none."""
    try:
        return serving.read_answer(sock).status
    except TimeoutError:
        return "still open"
    finally:
        if close:
            sock.close()


def gone(server, good, checks):
    """Clients that go away while they wait."""
    data = hostile_cases.request("POST", hostile_cases.CLASSIFY, hostile_cases.RAW, good.bytes)
    for at in range(200):
        sock = socket.create_connection(serving.endpoint(server.address), serving.PATIENCE)
        try:
            sock.sendall(data)
            if at % 2:  # by a reset
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except ConnectionError:
            pass  # refused as one too many
        sock.close()
    checks.none("good request after 200 clients that went away", recovered(server, good))


def recovered(server, good):
    """What /classify answers as soon as it is not overloaded."""

    def answered():
        try:
            answer = server.ask("POST", hostile_cases.CLASSIFY, good.bytes, hostile_cases.RAW)
        except OSError:
            return None
        return answer if answer.status != 503 else None

    return serving.wrong_answer(serving.until("an answer but 503", answered), good)


def many(server, good, checks):
    """More connections than are allowed."""
    where = serving.endpoint(server.address)
    first = http.client.HTTPConnection(*where, timeout=serving.PATIENCE)
    checks.none("the first connection", serving.classify(server, good, connection=first))
    held = [socket.create_connection(where, serving.PATIENCE) for _ in range(CONNECTIONS - 1)]
    over = socket.create_connection(where, serving.PATIENCE)
    over.sendall(hostile_cases.request("GET", "/v2/health/live"))
    checks.none("the first connection, full", serving.classify(server, good, connection=first))
    for one in held:
        one.close()
    # It was refused, or had to wait; then there is a place for it now.
    status = ended(over)
    checks.check(status in (0, 200, 503), "one connection too many", f"status {status}")
    checks.none("the first connection, after", serving.classify(server, good, connection=first))
    first.close()
    checks.none("a new connection, after", recovered(server, good))


def pipelined(server, good, checks):
    """Many requests at once whose answers are not read."""
    data = hostile_cases.request("GET", "/metrics") * 2000
    sock = socket.create_connection(serving.endpoint(server.address), TIMEOUT)
    with contextlib.suppress(OSError):  # the server need not take them all
        sock.sendall(data)
    sock.close()
    checks.none("good request after 2,000 without reading", serving.classify(server, good))
    # A second request that hides in the body of the first.
    with socket.create_connection(serving.endpoint(server.address), serving.PATIENCE) as sock:
        hidden = hostile_cases.request("GET", "/v2/health/live")
        both = {"content-length": 5, "transfer-encoding": "chunked"}
        head = hostile_cases.request("POST", hostile_cases.CLASSIFY, both, length=False)
        sock.sendall(head + b"0\r\n\r\n" + hidden)
        answer = serving.read_answer(sock)
        checks.check(answer.status not in (200, 500), "both lengths", str(answer))
        rest = b"HTTP/" if b"\r\nHTTP/" in answer.body else drained(sock)
        said = (
            "" if not rest else f"expected the connection's end (RFC 9112, 6.1), found {rest[:80]}"
        )
        checks.check(not rest, "nothing is answered after both lengths", said)


def drained(sock):
    """All that still comes before the connection ends."""
    rest = b""
    try:
        while part := sock.recv(65536):
            rest += part
    except ConnectionError:
        pass
    return rest


def cases(asked, server, good, checks):
    with tempfile.TemporaryDirectory() as folder:
        named = named_pictures(asked, good.bytes, asked.seed, folder)
        each_case(server, hostile_cases.pictures(named), good, checks)
    each_case(server, everything(good.bytes, asked.seed), good, checks)
    for part in (partial_heads, partial_bodies, gone, many, pipelined):
        part(server, good, checks)


class Load:
    """Many requests, a share of them hostile, and reloads between them."""

    def __init__(self, asked, server, pictures, hostile):
        self.asked, self.server, self.pictures, self.hostile = asked, server, pictures, hostile
        self.lock, self.given, self.reloads = threading.Lock(), 0, 0
        self.good, self.wrong, self.memory = 0, [], {}

    def next(self):
        """The number of the next request; the caller that gets a reload's turn asks for it."""
        with self.lock:
            self.given += 1
            number = self.given
            turn = self.asked.reloads * number // self.asked.requests
            reload, self.reloads = turn > self.reloads, turn
        if number in (min(1000, self.asked.requests), self.asked.requests // 4):
            self.memory[number] = serving.resident(self.server.pid)
        if reload:
            self.server.reload()
        return number if number <= self.asked.requests else None

    def work(self, place):
        dice = random.Random(self.asked.seed * 1000 + place)
        where = serving.endpoint(self.server.address)
        connection = http.client.HTTPConnection(*where, timeout=serving.PATIENCE)
        while number := self.next():
            if dice.random() < self.asked.hostile:
                case = dice.choice(self.hostile)
                wrong, name = send(self.server, case), case.name
            else:
                picture = dice.choice(self.pictures)
                name = picture.path.name
                try:
                    wrong = serving.classify(self.server, picture, connection=connection)
                except (OSError, http.client.HTTPException) as error:
                    connection.close()
                    wrong = f"expected an answer, found {error!r}"
            with self.lock:
                self.good += wrong is None
                if wrong:
                    self.wrong.append(f"request {number}, {name}: {wrong}")
        connection.close()

    def run(self):
        with ThreadPoolExecutor(self.asked.threads) as pool:
            for done in [pool.submit(self.work, place) for place in range(self.asked.threads)]:
                done.result()


def reloaded(server):
    """How many reloads have ended, by /metrics."""
    text = server.ask("GET", "/metrics").body.decode()
    found = re.findall(r"^resnet_reload_total(?:\{[^}]*\})? (\d+)", text, re.MULTILINE)
    return sum(map(int, found))


def large_pictures(seed):
    """JPEGs of 12 megapixels, the second progressive."""
    from PIL import Image

    dice = random.Random(seed)
    small = Image.frombytes("RGB", (400, 300), dice.randbytes(400 * 300 * 3))
    large = small.resize((4000, 3000), Image.Resampling.BICUBIC)
    for progressive in (False, True):
        file = io.BytesIO()
        large.save(file, "JPEG", quality=85, progressive=progressive)
        yield file.getvalue()


def burst(server, seed, checks):
    """64 large pictures, from as many connections as a browser's users would have."""
    files = list(large_pictures(seed))

    def one(at):
        data = files[at % len(files)]
        return server.ask("POST", hostile_cases.CLASSIFY, data, hostile_cases.RAW).status

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(one, range(64)))
    counted = {status: statuses.count(status) for status in sorted(set(statuses))}
    right = set(counted) <= {200, 503} and 200 in counted
    checks.check(right, "64 pictures of 12 megapixels", f"answers by status {counted}")


def soak(asked, server, pictures, checks):
    hostile = [
        case
        for case in everything(pictures[0].bytes, asked.seed)
        if not case.slow and len(case.data) < 100_000
    ]
    load = Load(asked, server, pictures, hostile)
    load.run()
    for text in load.wrong[:20]:
        print(f"  {text}")
    what = f"{asked.requests} requests, {asked.hostile:.0%} hostile, {asked.reloads} reloads"
    checks.check(not load.wrong, what, f"{load.good} right, {len(load.wrong)} wrong")
    first, quarter = load.memory[min(1000, asked.requests)], load.memory[asked.requests // 4]
    print(f"  resident at request 1,000: {first:.1f} MB")
    memory = {"a quarter": quarter, "the end": serving.resident(server.pid)}

    burst(server, asked.seed, checks)
    memory["the burst"] = serving.resident(server.pid)
    for _ in range(100):
        before = reloaded(server)
        server.reload()
        serving.until(
            "a reload counted in resnet_reload_total", lambda b=before: reloaded(server) > b
        )
    memory["100 reloads"] = serving.resident(server.pid)
    checks.none("good request after them", serving.classify(server, pictures[0]))

    print("  resident, MB: " + ", ".join(f"{at} {mb:.1f}" for at, mb in memory.items()))
    stations = list(memory)
    for (kind, most), before, after in zip(GROWTH.items(), stations, stations[1:], strict=False):
        grown = memory[after] - memory[before]
        text = f"{grown:.1f} MB, at most {most}"
        # In fewer requests not every thread has had every kind.
        settled = asked.requests >= SETTLED or kind != "requests"
        checks.check(grown <= most or not settled, f"growth over {kind}", text)


def main():
    parser = serving.arguments(__doc__)
    parser.add_argument("--cases", type=Path, default=Path("no-such-folder"))
    parser.add_argument("--requests", type=int)
    parser.add_argument("--hostile", type=float, default=0.1)
    parser.add_argument("--reloads", type=int, default=10)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    pictures = serving.predicted_all(parser, asked)
    checks = serving.Checks()
    named = f"{serving.NAME}={asked.model}"
    with serving.Server(asked.binary, [named], *FLAGS) as server:
        server.wait_ready()
        if asked.requests:
            soak(asked, server, pictures, checks)
        else:
            cases(asked, server, pictures[0], checks)
        checks.equal("exit code after SIGTERM", 0, server.stop())
        panics = [line for line in server.log if "panicked" in line]
        checks.equal("panics in the log", [], panics)
    return checks.end()


if __name__ == "__main__":
    raise SystemExit(main())
