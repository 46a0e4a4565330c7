"""What the checks of `resnet serve` share: starting, stopping and asking it, and its right answers.

The checks are serve_clients.py, serve_hostile.py and serve_stop.py. This needs only Python 3.11.
"""

import argparse
import http.client
import json
import queue
import re
import signal
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

NAME = "tested"  # the model's name on the server
PRECISION = "f32"  # of the server and of what it is compared with
TOLERANCE = 1e-6  # between probabilities
PATIENCE = 60.0  # seconds until whatever was waited for counts as failed


def until(what, test, patience=PATIENCE):
    """What `test` returns as soon as that is true; an error that names `what` after `patience`."""
    end = time.monotonic() + patience
    while not (found := test()):
        if time.monotonic() > end:
            raise TimeoutError(f"expected {what} within {patience:g} s")
        time.sleep(0.005)
    return found


class Server:
    """A running `resnet serve` on free ports of the loopback.

    `log` holds the lines of its standard error. Leaving a `with` block kills what still runs.
    """

    def __init__(self, binary, models, *args, grpc=False, listen="127.0.0.1:0"):
        words = [str(binary), "serve", *map(str, models), "--listen", listen]
        words += ["--grpc", "127.0.0.1:0"] if grpc else []
        words += ["--precision", PRECISION, *map(str, args)]
        self.command = " ".join(words)
        self.started = time.monotonic()
        self.log, self._lines = [], queue.Queue()
        self.process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        threading.Thread(target=self._read, daemon=True).start()
        self.address = self.grpc = None
        while self.address is None or (grpc and self.grpc is None):
            self._address(self._line())

    def _read(self):
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))
            self._lines.put(line)
        self._lines.put(None)

    def _line(self):
        try:
            line = self._lines.get(timeout=PATIENCE)
        except queue.Empty:
            line = None
        if line is None:
            self.kill()
            raise RuntimeError(
                f"{self.command}: expected lines on standard error that name the addresses, such"
                f" as 'listening on http://127.0.0.1:8080', found:\n" + "\n".join(self.log)
            )
        return line

    def _address(self, line):
        if "grpc" in line.lower():
            found = re.search(r"(\d+\.\d+\.\d+\.\d+:\d+)", line)
            self.grpc = self.grpc or (found and found[1])
        else:
            found = re.search(r"https?://([^\s/]+:\d+)", line)
            self.address = self.address or (found and found[1])

    @property
    def pid(self):
        return self.process.pid

    def ask(self, method, path, body=None, headers=None, patience=PATIENCE):
        """The answer to one request over its own connection."""
        return ask(self.address, method, path, body, headers, patience)

    def wait_ready(self):
        """Returns when the models are loaded; an error if the process ends instead."""

        def ready():
            if self.process.poll() is not None:
                raise RuntimeError(
                    f"{self.command}: expected it to get ready, found exit code"
                    f" {self.process.returncode}:\n" + "\n".join(self.log)
                )
            return self.ask("GET", "/v2/health/ready").status == 200

        until("status 200 of /v2/health/ready", ready)
        return self

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def exit_code(self, patience=PATIENCE):
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill()
            return f"still running after {patience:g} s"

    def stop(self):
        """The exit code after SIGTERM; it should be 0."""
        self.terminate()
        return self.exit_code()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.kill()


@dataclass
class Answer:
    """An HTTP answer, names of headers in lower case; status 0: the connection ended before."""

    status: int
    headers: dict = field(default_factory=dict)
    body: bytes = b""

    def json(self):
        return json.loads(self.body)

    def __str__(self):
        if self.status == 0:
            return "a closed connection"
        return f"{self.status} {self.body[:200].decode('utf-8', 'replace')}"


def endpoint(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


def ask(address, method, path, body=None, headers=None, patience=PATIENCE):
    connection = http.client.HTTPConnection(*endpoint(address), timeout=patience)
    try:
        return ask_over(connection, method, path, body, headers)
    finally:
        connection.close()


def ask_over(connection, method, path, body=None, headers=None):
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return Answer(answer.status, lower(answer.getheaders()), answer.read())


def lower(headers):
    return {name.lower(): value for name, value in headers}


def read_answer(sock, method="GET"):
    """The next answer on a socket; status 0 where the connection ends, or is reset, before it."""
    answer = http.client.HTTPResponse(sock, method=method)
    try:
        answer.begin()
        return Answer(answer.status, lower(answer.getheaders()), answer.read())
    except (http.client.HTTPException, ConnectionError):
        return Answer(0)
    finally:
        answer.close()


def raw(address, data, end=False, method="POST", patience=PATIENCE):
    """The answer to bytes as they are. `end`: nothing more is sent, and the server is told so.

    A server may answer and close before it has read everything. `method`: what the bytes ask for.
    """
    with socket.create_connection(endpoint(address), timeout=patience) as sock:
        try:
            sock.sendall(data)
            if end:
                sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has closed before it was asked to; what it said may still be there
        return read_answer(sock, method)


@dataclass
class Picture:
    """A picture file, and what `resnet predict` says of it: every class, most probable first."""

    path: Path
    top: list | None  # [{"class", "label", "probability"}]; None: it is refused

    @property
    def bytes(self):
        return self.path.read_bytes()


def predicted(binary, model, paths):
    """What `resnet predict` says of each file."""
    words = [binary, "predict", model, *paths, "--json", "--top", "1000000"]
    words += ["--precision", PRECISION]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    said = {line["file"]: line["top"] for line in map(json.loads, done.stdout.splitlines())}
    refused = [str(path) for path in paths if str(path) not in said]
    if done.returncode != (1 if refused else 0) or any(path not in done.stderr for path in refused):
        raise RuntimeError(f"{' '.join(map(str, words))}: exit {done.returncode}\n{done.stderr}")
    return [Picture(Path(path), said.get(str(path))) for path in paths]


def arguments(about):
    """What every check of a server is told: the program, a model, pictures."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("binary", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    return parser


def predicted_all(parser, asked):
    """What `resnet predict` says of each picture that was named; none may be refused."""
    pictures = predicted(asked.binary, asked.model, asked.pictures)
    refused = [str(picture.path) for picture in pictures if not picture.top]
    if refused:
        parser.error(f"expected pictures that `resnet predict` takes, found {refused}")
    return pictures


def same_top(want, found):
    """None where `found` begins the list `want`, or a text that says what differs.

    Neighbours that are equally probable may stand in either order.
    """
    if not found or len(found) > len(want):
        return f"expected 1 to {len(want)} classes, found {len(found)}"
    by_class = {guess["class"]: guess for guess in want}
    for place, (guess, there) in enumerate(zip(found, want, strict=False)):
        own = by_class.get(guess["class"])
        if own is None or own["label"] != guess["label"]:
            return f"place {place}: expected a class of the model, found {guess}"
        for other in (own, there):
            if abs(other["probability"] - guess["probability"]) > TOLERANCE:
                return f"place {place}: expected {there}, found {guess}"
    return None


def classify(server, picture, name=NAME, connection=None):
    """None where the server says of a picture what it must, or a text that says what differs."""
    path, headers = f"/classify/{name}?top=5", {"content-type": "application/octet-stream"}
    if connection is None:
        answer = server.ask("POST", path, picture.bytes, headers)
    else:
        answer = ask_over(connection, "POST", path, picture.bytes, headers)
    return wrong_answer(answer, picture)


def wrong_answer(answer, picture):
    """None where an answer of /classify is what it must be of this picture."""
    if answer.status != 200:
        return f"{picture.path}: expected status 200, found {answer}"
    try:
        (said,) = answer.json()["pictures"]
        differs = same_top(picture.top, said["top"])
    except (ValueError, KeyError, TypeError):
        return f"{picture.path}: expected one picture with its classes, found {answer}"
    return differs and f"{picture.path}: {differs}"


def wrong_cam(picture, said):
    """None where an answer explains the picture's most probable class by a map."""
    differs = same_top(picture.top, said["top"])
    if differs:
        return differs
    cam = said["cam"]
    if cam["class"] != said["top"][0]["class"]:
        return f"expected a map of class {said['top'][0]['class']}, found {cam['class']}"
    if len(cam["values"]) != cam["height"] * cam["width"] or min(cam["values"]) < 0:
        return f"expected {cam['height']} x {cam['width']} values, none below 0, found {cam}"
    if len(cam["region"]) != 4 or cam["region"][2] <= 0 or cam["region"][3] <= 0:
        return f"expected a region [left, top, width, height], found {cam['region']}"
    return None


def resident(pid):
    """Resident memory of a process, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1000


class Checks:
    """Counts checks, and prints each as it is made."""

    def __init__(self, quiet=False):
        self.quiet, self.made, self.failed = quiet, 0, 0

    def check(self, ok, name, text=""):
        self.made += 1
        self.failed += not ok
        if not ok or not self.quiet:
            print(f"  {'ok  ' if ok else 'FAIL'} {name}{': ' if text else ''}{text}", flush=True)
        return ok

    def equal(self, name, want, found):
        if want == found:
            return self.check(True, name)
        return self.check(False, name, f"expected {want!r}, found {found!r}")

    def none(self, name, differs):
        """A check that passes where there is no text about a difference."""
        return self.check(differs is None, name, differs or "")

    def status(self, name, want, answer):
        """Checks an answer's status (a number, or several) and, of an error, its form."""
        wanted = want if isinstance(want, (set, frozenset)) else {want}
        ok = answer.status in wanted
        text = "" if ok else f"expected {' or '.join(map(str, sorted(wanted)))}, found {answer}"
        if ok and answer.status >= 400:
            text = wrong_error(answer) or ""
        return self.check(not text, name, text)

    def end(self):
        """The exit code: 0 where all held."""
        print(f"{self.made - self.failed} of {self.made} checks held", flush=True)
        return 1 if self.failed else 0


# Headers that must come with a status.
WITH_STATUS = {401: "www-authenticate", 405: "allow", 429: "retry-after", 503: "retry-after"}


def wrong_error(answer):
    """None where an error has the form that every error has."""
    if answer.headers.get("content-type") != "application/json":
        return f"expected content-type application/json, found {answer.headers.get('content-type')}"
    try:
        text = answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return f'expected a body {{"error": "text"}}, found {answer}'
    if not isinstance(text, str) or not text:
        return f'expected a text under "error", found {text!r}'
    for name in ["x-request-id", WITH_STATUS.get(answer.status)]:
        if name and name not in answer.headers:
            return f"expected a header {name} with status {answer.status}, found none"
    return None
