#!/usr/bin/env python3
"""Holds data in a bucket against the same data on a disk. Needs Python 3.10, boto3 and moto[server].

usage: python3 tools/check_cloud.py BINARY FOLDER

BINARY is a `resnet` with the feature `cloud`; FOLDER is emptied and written to. A server of S3 that
checks signatures stands behind a proxy, which answers 500, cuts connections and sends slowly. What
`data check`, `eval` and `train` say and make must be what they do of the local files; a server that
is gone must end a run that then goes on; no output and no file may hold the keys.
"""

import http.client
import json
import logging
import os
import random
import shutil
import socketserver
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
import zlib
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from pathlib import Path

os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "1000000"
import boto3  # noqa: E402
import requests  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

SIDE, CLASSES, TRAIN, VAL = 16, 4, 96, 32
NETWORK = ["resnet8", "--batch", "16", "--epochs", "2", "--threads", "1", "seed=1", "checkpoint_every=2it"]


def png(pixels):
    """An RGB picture of SIDE x SIDE pixels."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    rows = b"".join(b"\0" + pixels[at:at + 3 * SIDE] for at in range(0, len(pixels), 3 * SIDE))
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def pictures(count, dice):
    """Pictures with a bright bar at the class's columns, and their labels."""
    for n in range(count):
        label = n % CLASSES
        bright = range(label * 4, label * 4 + 4)
        yield label, png(bytes(dice.randrange(90) + (150 if at // 3 % SIDE in bright else 0)
                               for at in range(3 * SIDE * SIDE)))


def write(folder):
    """Shards and a zip file of the same pictures."""
    shards = folder / "shards"
    shards.mkdir(parents=True)
    dice = random.Random(5)
    packed = zipfile.ZipFile(folder / "photos.zip", "w", zipfile.ZIP_DEFLATED)
    for split, count, files in (("train", TRAIN, 3), ("val", VAL, 1)):
        all_pictures = list(pictures(count, dice))
        for number in range(files):
            with tarfile.open(shards / f"{split}-{number}.tar", "w") as shard:
                for n, (label, picture) in list(enumerate(all_pictures))[number::files]:
                    for name, content in ((f"{n:04}.png", picture), (f"{n:04}.cls", str(label).encode())):
                        info = tarfile.TarInfo(name)
                        info.size = len(content)
                        shard.addfile(info, BytesIO(content))
        for n, (label, picture) in enumerate(all_pictures):
            packed.writestr(f"{split}/class{label}/{n:04}.png", picture)
    packed.close()


class Proxy(BaseHTTPRequestHandler):
    """Passes requests on, and fails as `server.faults` says."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        server = self.server
        with server.lock:
            server.requests += 1
            fault = "500" if server.down else server.dice.choices(*server.faults)[0]
            server.seen[fault] = server.seen.get(fault, 0) + 1
        if fault == "500":
            self.send_response(500)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        to = http.client.HTTPConnection(*server.behind)
        to.request("GET", self.path, headers=dict(self.headers))
        answer = to.getresponse()
        body = answer.read()
        to.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if fault == "cut":
            self.wfile.write(body[:len(body) // 2])
            self.close_connection = True
        elif fault == "slow":
            part = max(1, len(body) // 5)
            for at in range(0, len(body), part):
                time.sleep(0.05)
                self.wfile.write(body[at:at + part])
        else:
            self.wfile.write(body)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True

    def handle_error(self, *_):
        pass


FINE = (["none"], [1])
FAULTY = (["none", "500", "cut", "slow"], [80, 5, 5, 10])


def check(condition, text, *shown):
    print(("ok    " if condition else "WRONG ") + text, flush=True)
    if not condition:
        print(*shown, sep="\n")
        sys.exit(1)


def main():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    binary, folder = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    shutil.rmtree(folder, ignore_errors=True)
    write(folder)
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    behind = moto.get_host_and_port()
    own = f"http://{behind[0]}:{behind[1]}"
    proxy = Server(("127.0.0.1", 0), Proxy)
    proxy.behind, proxy.lock, proxy.dice = behind, threading.Lock(), random.Random(3)
    proxy.requests, proxy.seen, proxy.down, proxy.faults = 0, {}, False, FINE
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    front = f"http://127.0.0.1:{proxy.server_address[1]}"

    first = dict(endpoint_url=own, region_name="eu-north-1", aws_access_key_id="a", aws_secret_access_key="b")
    s3, iam = boto3.client("s3", **first), boto3.client("iam", **first)
    s3.create_bucket(Bucket="photos", CreateBucketConfiguration={"LocationConstraint": "eu-north-1"})
    files = [*sorted((folder / "shards").iterdir()), folder / "photos.zip"]
    for file in files:
        s3.upload_file(str(file), "photos", f"in here/{file.relative_to(folder)}")
    s3.put_object(Bucket="photos", Key="loose/cat/1.png", Body=b"x")
    iam.create_user(UserName="reader")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    secret = key["SecretAccessKey"]
    # From now on signatures and permissions are checked.
    requests.post(f"{own}/moto-api/reset-auth", data=b"0", timeout=10).raise_for_status()

    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment["XDG_CACHE_HOME"] = str(folder / "cache")
    keys = {"AWS_ENDPOINT_URL": front, "AWS_REGION": "eu-north-1",
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": secret}
    said = []

    def resnet(*words, code=0, **more):
        began = time.monotonic()
        done = subprocess.run([binary, *map(str, words)], capture_output=True, text=True, timeout=900,
                              cwd=folder, env=environment | keys | more)
        said.append(done.stdout + done.stderr)
        check(done.returncode == code, f"exit {code} in {time.monotonic() - began:.1f} s: {' '.join(map(str, words))[:100]}",
              done.stdout, done.stderr)
        return done

    def same(far, near):
        """JSON of the same data, whose names begin elsewhere."""
        text = far.stdout.replace("s3://photos/in here", str(folder))
        return json.loads(text) == json.loads(near.stdout)

    far_shards = "s3://photos/in here/shards"
    train = resnet("train", *NETWORK, "--data", folder / "shards", "--out", "near")
    model = folder / "near" / "model.safetensors"

    for name, faults in (("a good server", FINE), ("a bad server", FAULTY)):
        proxy.faults, proxy.seen = faults, {}
        for far, near in ((far_shards, folder / "shards"), (f"{far_shards}/train-{{0..2}}.tar", folder / "shards/train-{0..2}.tar"),
                          ("s3://photos/in here/photos.zip", folder / "photos.zip")):
            # An index that is there already would spare what is to be tried.
            shutil.rmtree(folder / "cache", ignore_errors=True)
            check(same(resnet("data", "check", far, "--json"), resnet("data", "check", near, "--json")),
                  f"`data check` says the same of {far} on {name}", *said[-2:])
        evaluated = [json.loads(resnet("eval", model, "--data", data, "--json").stdout) for data in (far_shards, folder / "shards")]
        for one in evaluated:
            for part in ("data", "seconds", "images_per_second", "ms_per_image"):
                one.pop(part, None)
        texts = [json.dumps(one, sort_keys=True).replace("s3://photos/in here", str(folder)) for one in evaluated]
        check(texts[0] == texts[1], f"`eval` says the same on {name}", *texts)
        print("      faults:", proxy.seen)

    proxy.faults = FINE
    before = proxy.requests
    resnet("data", "check", far_shards, "--quick")
    resnet("eval", model, "--data", far_shards)
    print(f"      {proxy.requests - before} requests for a quick check of {TRAIN + VAL} pictures and an evaluation of {VAL}")

    def weights(run):
        content = (folder / run / "model.safetensors").read_bytes()
        return content[8 + int.from_bytes(content[:8], "little"):]

    proxy.faults = FAULTY
    resnet("train", *NETWORK, "--data", far_shards, "--out", "far")
    check(weights("far") == weights("near"), "training from the bucket makes the same bits")

    # A server that is gone ends the run, which then goes on.
    proxy.faults = FINE
    stop = threading.Event()

    def watch():
        while not stop.is_set() and not list((folder / "gone").glob("**/last*")):
            time.sleep(0.02)
        proxy.down = True

    watcher = threading.Thread(target=watch)
    watcher.start()
    gone = resnet("train", *NETWORK, "--data", far_shards, "--out", "gone", code=1)
    stop.set()
    watcher.join()
    check("s3://photos/in here/shards/" in gone.stderr and "500 Internal Server Error, also 6 times" in gone.stderr,
          "the error names the object", gone.stderr)
    proxy.down = False
    resnet("train", "--resume", "gone")
    check(weights("gone") == weights("near"), "the run that went on makes the same bits")

    # What is wrong is told at once.
    for words, more, part in (
        (["s3://photos/in here/nothing-{0..1}.tar"], {}, "404 Not Found"),
        ([far_shards], {"AWS_SECRET_ACCESS_KEY": "x" + secret[1:]}, "403 Forbidden (SignatureDoesNotMatch)"),
        (["s3://photos/loose"], {}, "only shards are read"),
        (["folder:s3://photos/loose"], {}, "only shards are read"),
        (["s3://photos/in here/shards/train-{0..2}.tar"], {"AWS_ENDPOINT_URL": own + "/nowhere"}, "answered 4"),
    ):
        told = resnet("data", "check", *words, code=1, **more)
        check(part in told.stderr, f"told: {told.stderr.strip()[:150]}", told.stderr)

    # An address that is signed, as a server of HTTP is asked.
    # This server of S3 does not check signatures in addresses.
    requests.post(f"{own}/moto-api/reset-auth", data=b"1000000", timeout=10).raise_for_status()
    reader = boto3.client("s3", endpoint_url=front, region_name="eu-north-1", aws_access_key_id=key["AccessKeyId"],
                          aws_secret_access_key=secret)
    signed = reader.generate_presigned_url("get_object", Params={"Bucket": "photos", "Key": "in here/photos.zip"})
    far = resnet("data", "check", signed, "--json")
    plain = signed.split("?")[0]
    near = resnet("data", "check", "photos.zip", "--json")
    check(json.loads(far.stdout.replace(plain, "photos.zip")) == json.loads(near.stdout),
          "`data check` says the same of a signed address", *said[-2:])
    query = signed.split("?")[1]
    resnet("train", *NETWORK, "--data", signed, "--out", "signed")
    resnet("eval", "signed/model.safetensors", "--data", plain, "--json", RESNET_DATA_QUERY=query)

    secrets = [secret, query, query.split("Signature=")[-1][:20]]
    files = [path for path in folder.rglob("*") if path.is_file()]
    kept = [path for path in files if any(text.encode() in path.read_bytes() for text in secrets)]
    check(not kept, f"no file of {len(files)} holds a secret", kept)
    check(not any(text in output for output in said for text in secrets), "no output holds one")
    moto.stop()


if __name__ == "__main__":
    main()
