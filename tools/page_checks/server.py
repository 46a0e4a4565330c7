"""The server itself, asked without its page."""

import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from playwright.sync_api import expect


def ask(base, path, data=None):
    """What the server answers: status and JSON."""
    headers = {"Content-Type": "application/octet-stream"}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{base}/{path}", data, headers)) as got:
            return got.status, json.load(got)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def near(shown, share):
    """Whether a percentage as it is shown is this share, but for its last digit."""
    return abs(float(re.search(r"[\d.]+", shown)[0]) - 100 * share) < 0.15


def run_commands(box, pictures, models, token=None):
    """The commands that `box` shows, run where the pictures are, give the same classes.

    `models` is how many models each picture is sent to. Both listings have to name the likeliest
    class of each picture and model.
    """
    expect(box.locator("code").first).to_contain_text("curl")
    shell, python = box.locator("code").all_text_contents()
    with tempfile.TemporaryDirectory() as folder:
        for picture in pictures:
            (Path(folder) / picture["name"]).write_bytes(picture["buffer"])
        answers = json_values(output(["sh", "-ec", shell], folder, token))
        lines = output([sys.executable, "-c", python], folder, token).splitlines()
    assert len(answers) == len(pictures) * models, answers
    for i, answer in enumerate(answers):
        name = pictures[i // models]["name"]
        label = answer["pictures"][0]["top"][0]["label"]
        found = any(line.startswith(f"{name} ") and f" {label} " in line for line in lines)
        assert found, f"{name}: curl says {label}, Python {lines}"


def output(command, folder, token):
    environment = {"PATH": os.environ["PATH"], **({"TOKEN": token} if token else {})}
    run = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, f"{command} ended with {run.returncode}: {run.stderr}"
    return run.stdout


def json_values(text):
    """Values of JSON one after the other."""
    decoder, values = json.JSONDecoder(), []
    while text := text.lstrip():
        value, end = decoder.raw_decode(text)
        values.append(value)
        text = text[end:]
    return values
