"""Stops `resnet serve` while it is busy, and starts it again.

    python3 tools/serve_stop.py target/release/resnet MODEL PICTURE... [--turns 5]

SIGTERM under load, several times: every request that was sent before has its answer, no answer is
wrong, the last one on each connection says `Connection: close`, what cannot end (a stalled upload,
an idle connection) is cut, and the exit code is 0 within `--drain`. With `--drain-delay`, the
server first says that it is not ready and goes on answering. Then SIGKILL under load, and the time
from starting the program again to the first good answer. Needs Python 3.11.
"""

import http.client
import socket
import statistics
import threading
import time
from dataclasses import dataclass

import serving

DRAIN = 10.0
DELAY = 1.0
HEADERS = {"content-type": "application/octet-stream"}
PATH = f"/classify/{serving.NAME}"


@dataclass
class Sent:
    """A request that was sent in full, and what came of it."""

    begun: float
    ended: float = 0.0
    answer: serving.Answer | None = None  # None: the connection ended without an answer
    wrong: str | None = None


class Client(threading.Thread):
    """Asks over one connection as fast as it is answered, until that ends."""

    def __init__(self, server, picture):
        super().__init__(daemon=True)
        self.server, self.picture, self.sent = server, picture, []
        self.refused = False  # the connection could not be opened, or ended while it was sent

    def run(self):
        where = serving.endpoint(self.server.address)
        connection = http.client.HTTPConnection(*where, timeout=serving.PATIENCE)
        data = self.picture.bytes
        while True:
            try:
                connection.request("POST", PATH, data, HEADERS)
            except OSError:
                self.refused = True
                break
            one = Sent(time.monotonic())
            self.sent.append(one)
            try:
                got = connection.getresponse()
                one.answer = serving.Answer(got.status, serving.lower(got.getheaders()), got.read())
            except (OSError, http.client.HTTPException):
                break
            finally:
                one.ended = time.monotonic()
            if one.answer.status != 503:
                one.wrong = serving.wrong_answer(one.answer, self.picture)
            if one.answer.headers.get("connection", "").lower() == "close":
                break
        connection.close()


def load(server, pictures, connections):
    """Clients at work, each of which was answered already."""
    clients = [Client(server, pictures[at % len(pictures)]) for at in range(connections)]
    for client in clients:
        client.start()

    def all_answered():
        return all(client.sent and client.sent[0].ended for client in clients)

    serving.until("an answer on each connection", all_answered)
    return clients


def start(asked, *flags, listen="127.0.0.1:0"):
    named = f"{serving.NAME}={asked.model}"
    return serving.Server(asked.binary, [named], *flags, listen=listen)


def terminate_under_load(asked, pictures, checks):
    flags = ["--drain", f"{DRAIN:g}s", "--max-wait", f"{DRAIN:g}s"]
    with start(asked, *flags) as server:
        server.wait_ready()
        where = serving.endpoint(server.address)
        idle = http.client.HTTPConnection(*where, timeout=serving.PATIENCE)
        serving.ask_over(idle, "GET", "/v2/health/live")
        stalled = socket.create_connection(where, serving.PATIENCE)
        stalled.sendall(
            f"POST {PATH} HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nhalf".encode()
        )
        clients = load(server, pictures, asked.connections)
        asked_at = time.monotonic()
        server.terminate()
        code = server.exit_code()
        took = time.monotonic() - asked_at
        for client in clients:
            client.join(serving.PATIENCE)
        checks.equal("exit code after SIGTERM", 0, code)
        checks.check(took <= DRAIN, "stops within --drain", f"{took:.2f} s")
        judge_stopped(clients, asked_at, checks)
        status = serving.read_answer(stalled).status
        stalled.close()
        checks.check(status in (0, 408, 503), "a stalled upload is cut", f"status {status}")
        idle.close()


def judge_stopped(clients, asked_at, checks):
    sent = [one for client in clients for one in client.sent]
    before = [one for one in sent if one.begun < asked_at]
    open_then = [one for one in before if one.ended >= asked_at]
    lost = [one for one in before if one.answer is None]
    text = f"{len(open_then)} were waiting for an answer, {len(lost)} got none"
    checks.check(not lost, "requests sent before SIGTERM", text)
    checks.check(bool(open_then), "some were waiting", f"{len(open_then)}, else nothing is tested")
    wrong = [one.wrong for one in sent if one.wrong]
    checks.equal("wrong answers", [], wrong[:3])
    unannounced, cut = 0, 0
    for client in clients:
        last = client.sent[-1]
        if last.answer is None:
            # It crossed the end of the connection; nobody has promised anything.
            cut += last.begun >= asked_at
        elif last.begun >= asked_at and last.answer.headers.get("connection", "").lower() != "close":
            unannounced += 1
    refused = sum(one.answer is not None and one.answer.status == 503 for one in sent)
    text = f"{unannounced} of {len(clients)} ended without; {refused} answers were 503"
    checks.check(unannounced == 0, "Connection: close on the last answers", text)
    text = f"{cut} of {len(clients)} sent one more request that the end of the connection crossed"
    checks.check(cut == 0, "no request is lost to a connection that was not announced to end", text)


def delayed(asked, pictures, checks):
    """`--drain-delay`: not ready, but still answering, so that a balancer can turn away first."""
    flags = ["--drain", f"{DRAIN:g}s", "--drain-delay", f"{DELAY:g}s"]
    with start(asked, *flags) as server:
        server.wait_ready()
        asked_at = time.monotonic()
        server.terminate()

        def not_ready():
            return server.ask("GET", "/v2/health/ready").status == 503

        serving.until("status 503 of /v2/health/ready", not_ready, DELAY)
        answer = server.ask("GET", "/v2/health/ready")
        checks.status("not ready within the delay", 503, answer)
        answer = server.ask("GET", "/v2/health/live")
        checks.status("live all the same", 200, answer)
        checks.none("and answering", serving.classify(server, pictures[0]))
        checks.equal("exit code", 0, server.exit_code())
        took = time.monotonic() - asked_at
        checks.check(DELAY <= took <= DELAY + DRAIN, "stops after the delay", f"{took:.2f} s")


def idle_server(asked, checks):
    """Nothing to wait for, but a connection that was opened and never used."""
    with start(asked) as server:
        server.wait_ready()
        held = socket.create_connection(serving.endpoint(server.address), serving.PATIENCE)
        asked_at = time.monotonic()
        checks.equal("exit code of an idle server", 0, server.stop())
        took = time.monotonic() - asked_at
        checks.check(took <= DRAIN, "an idle server stops", f"{took:.2f} s")
        held.close()


def kill_and_restart(asked, pictures, turns, checks):
    """Seconds from starting the program to the first good answer, after SIGKILL under load."""
    listen, times = "127.0.0.1:0", []
    for _ in range(turns + 1):
        with start(asked, listen=listen) as server:
            listen = server.address  # the next one takes the same port

            def answered(server=server):
                try:
                    return serving.classify(server, pictures[0]) is None
                except OSError:
                    return False

            serving.until("a good answer", answered)
            times.append(time.monotonic() - server.started)
            clients = load(server, pictures, asked.connections)
            server.kill()
            for client in clients:
                client.join(serving.PATIENCE)
    wrong = [one.wrong for client in clients for one in client.sent if one.wrong]
    checks.equal("wrong answers before SIGKILL", [], wrong[:3])
    first, *again = times
    text = f"first {first:.3f}, again {', '.join(f'{one:.3f}' for one in again)}"
    print(f"  start to first good answer, s: {text}; median {statistics.median(again):.3f}")


def main():
    parser = serving.arguments(__doc__)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--turns", type=int, default=5)
    asked = parser.parse_args()
    pictures = serving.predicted_all(parser, asked)
    checks = serving.Checks()
    for turn in range(asked.turns):
        print(f"SIGTERM under load, {turn + 1}", flush=True)
        terminate_under_load(asked, pictures, checks)
    print("SIGTERM with a delay", flush=True)
    delayed(asked, pictures, checks)
    print("SIGTERM without load", flush=True)
    idle_server(asked, checks)
    print("SIGKILL under load", flush=True)
    kill_and_restart(asked, pictures, asked.turns, checks)
    return checks.end()


if __name__ == "__main__":
    raise SystemExit(main())
