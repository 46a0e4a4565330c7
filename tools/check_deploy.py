"""Checks that the program does what the files of deploy/ expect of it.

    pip install pyyaml
    python3 tools/check_deploy.py target/release/resnet

Trains a small network for some steps and serves it with each command line of deploy/, on ports of
this machine. Then

- what the probes ask is answered, and a picture is classified, with the token where there is one;
- every metric of the alerts and the dashboard is in /metrics, and a reload that went well counts
  as the alerts think it does;
- SIGTERM makes it not ready while it still accepts, and ends it with code 0 before who started it
  would kill it.
"""

import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deployment import DEPLOY, commands, documents, only

TOKEN = "0123456789abcdef0123456789abcdef"
PICTURE = b"P5 28 28 255\n" + bytes(range(28)) * 28
PATIENCE = 60


def until(what, true):
    """Waits for something to be true, and returns it."""
    end = time.monotonic() + PATIENCE
    while not (found := true()):
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.05)
    return found


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def here(command, model, token):
    """The arguments with a model, a token and ports of this machine, and the port of HTTP."""
    port, args = free_port(), []
    values = {
        "--listen": f"127.0.0.1:{port}",
        "--grpc": f"127.0.0.1:{free_port()}",
        "--token-file": token,
    }
    for arg in command.args:
        name, equals, value = arg.partition("=")
        if equals and not name.startswith("--"):
            arg = f"{name.replace('{{.Name}}', 'photos')}={model}"
        elif equals:
            arg = f"{name}={values.get(name, value)}"
        args.append(arg)
    return args, port


class Server:
    """A server of one command line."""

    def __init__(self, resnet, command, folder):
        token = folder / "token"
        token.write_text(TOKEN)
        args, self.port = here(command, folder / "run", token)
        self.token = TOKEN if command.flag("token-file") else None
        self.log = open(folder / f"{command.file}.log", "w+")
        self.process = subprocess.Popen([resnet, *args], stdout=self.log, stderr=self.log)

    def ask(self, path, body=None):
        """(status, body) of a request, or None where nobody listens."""
        wanted = self.token and not path.startswith("/v2/health")
        head = {"Authorization": f"Bearer {self.token}"} if wanted else {}
        assert self.process.poll() is None, f"ended with {self.process.returncode}: {self.said()}"
        try:
            asked = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            asked.request("GET" if body is None else "POST", path, body, head)
            answer = asked.getresponse()
            return answer.status, answer.read().decode()
        except ConnectionError:
            return None

    def said(self):
        self.log.flush()
        return Path(self.log.name).read_text()[-2000:]


def metrics_used():
    """The names of metrics in alerts and dashboard, of histograms without the ending."""
    files = ("prometheus-rules.yaml", "grafana.json")
    text = "".join((DEPLOY / name).read_text() for name in files)
    text = re.sub(r"^\s*#.*$", "", text, flags=re.M)
    name = r"\b((?:resnet|process)_\w+?)(?:_bucket|_sum|_count)?(?:\{|, job\))"
    names = set(re.findall(name, text))
    assert len(names) > 8, f"only {names} found"
    return names


def check(resnet, command, probes, folder):
    server = Server(resnet, command, folder)
    try:
        until("ready", lambda: (server.ask("/v2/health/ready") or [0])[0] == 200)
        for path in probes:
            assert server.ask(path)[0] == 200, f"{path}: {server.ask(path)}"
        status, answer = server.ask("/classify", PICTURE)
        assert status == 200, f"/classify: {status} {answer}"
        assert json.loads(answer)["pictures"][0]["top"], f"/classify: {answer}"

        server.process.send_signal(signal.SIGHUP)
        counted = re.compile(r'^resnet_reload_total\{[^}]*result="ok"[^}]*\} [1-9]', re.M)
        until("a reload with the result `ok`", lambda: counted.search(server.ask("/metrics")[1]))
        known = set(re.findall(r"^# TYPE (\w+) ", server.ask("/metrics")[1], re.M))
        assert metrics_used() <= known, f"/metrics lacks {sorted(metrics_used() - known)}"

        start = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        if command.seconds("drain-delay"):
            until("not ready", lambda: (server.ask("/v2/health/ready") or [0])[0] == 503)
            status, answer = server.ask("/classify", PICTURE)
            assert status == 200, f"refused while endpoints still point to it: {status} {answer}"
        code = server.process.wait(command.grace)
        assert code == 0, f"ended with {code}: {server.said()}"
        took = time.monotonic() - start
        print(f"{command.file}: served, reloaded, drained in {took:.1f} s of {command.grace}")
    finally:
        server.process.kill()
        server.process.wait()


def main():
    resnet = Path(sys.argv[1]).resolve()
    pod = only(documents("kubernetes.yaml"), "Deployment")["spec"]["template"]["spec"]
    probes = {value["httpGet"]["path"] for key, value in pod["containers"][0].items()
              if key.endswith("Probe")}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        train = ["train", "resnet8", "--steps", "12", "--out", folder / "run"]
        subprocess.run([resnet, *train], check=True, capture_output=True)
        for command in commands():
            check(resnet, command, probes, folder)


if __name__ == "__main__":
    main()
