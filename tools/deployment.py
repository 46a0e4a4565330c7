"""What the files of deploy/ say, for the programs that check them: documents, and command lines."""

import re
import shlex
from pathlib import Path

import yaml

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"


class Command:
    """A command line of `resnet serve`, and the seconds from SIGTERM to SIGKILL."""

    def __init__(self, file, args, grace):
        self.file, self.args, self.grace = file, args, grace

    def flag(self, name):
        """The value of `--name=VALUE`, or None."""
        values = [arg.split("=", 1)[1] for arg in self.args if arg.startswith(f"--{name}=")]
        return values[0] if values else None

    def seconds(self, name):
        """The value of a flag that is a time in seconds, as `25s`."""
        return seconds(self.flag(name) or "0s", f"{self.file}: --{name}")


def seconds(text, where):
    """A time like `25s`, as a number."""
    found = re.fullmatch(r"(\d+)s", text)
    assert found, f"{where} is `{text}`, expected whole seconds like 25s"
    return int(found[1])


def documents(name):
    """The documents of a YAML file in deploy/."""
    return [document for document in yaml.safe_load_all((DEPLOY / name).read_text()) if document]


def only(found, kind):
    """The one document of a kind."""
    of_kind = [document for document in found if document["kind"] == kind]
    assert len(of_kind) == 1, f"{len(of_kind)} documents are a {kind}, expected one"
    return of_kind[0]


def unit():
    """The unit's lines as (key, value), with continued lines joined."""
    text = (DEPLOY / "resnet.service").read_text().replace("\\\n", " ")
    return [tuple(line.split("=", 1)) for line in text.splitlines() if re.match(r"\w+=", line)]


def commands():
    """The command lines of the unit with its example's flags, of Kubernetes, and of KServe."""
    found = dict(unit())
    env = (DEPLOY / "resnet.env.example").read_text()
    line = found["ExecStart"]
    for name, value in re.findall(r"^(\w+)=(.*)$", env, re.M):
        assert f"${name}" in line, f"resnet.service does not use {name} of resnet.env.example"
        line = line.replace(f"${name}", value)
    grace = seconds(found["TimeoutStopSec"], "TimeoutStopSec")
    yield Command("resnet.service", shlex.split(line)[1:], grace)

    pod = only(documents("kubernetes.yaml"), "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    yield Command("kubernetes.yaml", container["args"], pod["terminationGracePeriodSeconds"])

    found = documents("kserve.yaml")
    (container,) = only(found, "ServingRuntime")["spec"]["containers"]
    grace = only(found, "InferenceService")["spec"]["predictor"]["terminationGracePeriodSeconds"]
    yield Command("kserve.yaml", container["args"], grace)
