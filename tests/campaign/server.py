"""The server under load, with sound and hostile requests among each other.

`python -m tests.campaign.server --requests=2000` starts a server on the model of the samples, and prints what is wrong:
a sound request that is answered otherwise than alone, a hostile one that is answered with anything but one line of an
error of the client, a trace in the log, files that stay, memory that grows, a server that does not stop.
"""

from __future__ import annotations

import json
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

TESTS = Path(__file__).resolve().parents[1]
if str(TESTS) not in sys.path:
    sys.path.insert(0, str(TESTS))

from server_process import Server  # noqa: E402

from .mutations import Random, damage_bytes, damage_json  # noqa: E402
from .watchdog import resident_memory  # noqa: E402

SAMPLES = TESTS.parent / "samples"
LIMITS = ("--max_upload=4", "--max_duration=20", "--max_pixels=400000", "--max_seconds=120")
_PREDICT = "/v1/models/actions:predict"
_BUSY, _TRIES = 429, 100  # a client that hears it comes again
_MOST_MEMORY = 2**30  # bytes that a server may grow by, between a quarter of the requests and all of them
_HEAD = b"POST " + _PREDICT.encode() + b" HTTP/1.1\r\nHost: x\r\n"
_SOCKETS = {
    "no HTTP": lambda random: random.bytes(500),
    "half of a head": lambda random: _HEAD,
    "half of a body": lambda random: _HEAD + b"Content-Length: 100000\r\n\r\n" + random.bytes(1000),
    "an odd length": lambda random: _HEAD + b"Content-Length: -7\r\n\r\n{}",
    "two lengths": lambda random: _HEAD + b"Content-Length: 2\r\nContent-Length: 9\r\n\r\n{}",
    "an odd chunk": lambda random: _HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "a huge header": lambda random: _HEAD + b"X: " + b"x" * 2**20 + b"\r\n\r\n",
}


def _body(seed: int) -> dict[str, Any]:
    clip = np.random.RandomState(seed).randint(0, 256, (8, 24, 32, 3))
    return {"signature_name": "rgb", "instances": [clip.tolist()]}


def _again(ask: Callable[[], tuple[int, Any]]) -> tuple[int, Any]:
    for _ in range(_TRIES):
        status, said = ask()
        if status != _BUSY:
            break
    return status, said


def _sound_clip(server: Server, random: Random) -> str:
    return _same(server, _again(lambda: server.post(_PREDICT, _body(3))), "clip")


def _sound_video(server: Server, random: Random) -> str:
    return _same(server, _again(lambda: server.upload(rgb=SAMPLES / "throw_rgb.avi")), "video")


def _same(server: Server, answered: tuple[int, Any], kind: str) -> str:
    status, said = answered
    if status != 200:
        return f"a sound {kind}: status {status}, {str(said)[:200]}"
    logits = said["predictions"][0]["logits"] if kind == "clip" else said["sum"]["logits"]
    alone = server.alone.setdefault(kind, logits)  # type: ignore[attr-defined]
    return "" if np.allclose(logits, alone, atol=1e-4) else f"a sound {kind}: other logits than alone"


def _hostile_json(server: Server, random: Random) -> str:
    text, how = damage_json(json.dumps(_body(4)), random)
    return _refusal(server.request("POST", _PREDICT, text.encode("utf-8", "surrogatepass")), f"JSON, {how}")


def _hostile_bytes(server: Server, random: Random) -> str:
    content, how = damage_bytes(json.dumps(_body(5)).encode(), random)
    return _refusal(server.request("POST", _PREDICT, content), f"JSON, {how}")


def _hostile_video(server: Server, random: Random) -> str:
    content, how = damage_bytes((SAMPLES / "throw_rgb.avi").read_bytes(), random)
    return _refusal(server.upload(rgb=content), f"a video, {how}")


def _hostile_form(server: Server, random: Random) -> str:
    fields = {str(random.bytes(4)): "x" * random.randint(2000) for _ in range(random.randint(20))}
    return _refusal(server.upload(fields, rgb=random.bytes(1000)), f"a form of {len(fields)} fields")


def _hostile_path(server: Server, random: Random) -> str:
    path = "/v1/" + "".join(random.choice(["..", "/", "%2e", "%00", "models", "actions", ":", "versions", "9" * 30], 8))
    return _refusal(server.request("GET", path), path)


def _refusal(answered: tuple[int, Any], what: str) -> str:
    """Damage that shows is an error of the client; the rest is answered."""
    status, said = answered
    one_line = isinstance(said, dict) and list(said) == ["error"] and "\n" not in said["error"]
    return "" if status == 200 or (400 <= status < 500 and one_line) else f"{what}: status {status}, {str(said)[:200]}"


def _hostile_socket(server: Server, random: Random) -> str:
    """What is no request, by a client that does not stay to hear the answer."""
    name = list(_SOCKETS)[random.randint(len(_SOCKETS))]
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        try:
            connection.sendall(_SOCKETS[name](random))
            if random.rand() < 0.5:
                connection.settimeout(0.2)
                answer = connection.recv(100)
                if answer and b" 4" not in answer[:12]:
                    return f"{name}: {answer!r}"
        except OSError:  # it was hung up, or says nothing as long as it waits
            pass
    return ""


SOUND = (_sound_clip, _sound_video)
HOSTILE = (_hostile_json, _hostile_bytes, _hostile_video, _hostile_form, _hostile_path, _hostile_socket)


def run(requests: int, clients: int, seed: int, model: Path = SAMPLES / "model") -> tuple[list[str], Counter[str]]:
    """Sends so many requests from so many clients at once; returns what is wrong, and how many there were of each."""
    faults: list[str] = []
    sent: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
        server = Server(folder, f"--model={model}", "--name=actions", *LIMITS)
        server.alone = {}

        def ask(number: int) -> None:
            random = np.random.RandomState(seed + number)
            kinds = SOUND if random.rand() < 0.4 else HOSTILE
            kind = kinds[random.randint(len(kinds))]
            try:
                fault = kind(server, random)
            except Exception as error:
                fault = f"{kind.__name__.strip('_')}: {type(error).__name__}: {error}"
            sent[kind.__name__.strip("_").replace("_", " ")] += 1
            if fault:
                faults.append(f"request {number}: {fault}")

        try:
            for kind in SOUND:  # alone, each
                faults += filter(None, [kind(server, np.random.RandomState(seed))])
            with ThreadPoolExecutor(clients) as pool:
                list(pool.map(ask, range(requests // 4)))
                before = resident_memory(server.process.pid)
                list(pool.map(ask, range(requests // 4, requests)))
            grown = resident_memory(server.process.pid) - before
            if grown > _MOST_MEMORY:
                faults.append(f"the server grew by {grown / 2**30:.1f} GiB")
            if server.request("GET", "/healthz")[0] != 200:
                faults.append("the server is not well afterwards")
            faults += [f"{path.name} is left" for path in server.left_over()]
            status = server.stop()
            if status:
                faults.append(f"the server ended with status {status}")
        finally:
            server.process.kill()
        faults += [
            line for line in server.log.read_text().splitlines() if "Traceback" in line or '"level": "ERROR"' in line
        ]
        server.log.unlink()
    return faults, sent


def main(arguments: list[str]) -> None:
    """Prints what is wrong, and ends with status 1 where anything is."""
    values = flags.FLAGS
    faults, sent = run(values.requests, values.clients, values.seed)
    print("\n".join([*faults, ", ".join(f"{count} × {kind}" for kind, count in sorted(sent.items()))]))
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    flags.DEFINE_integer("requests", 2000, "how many in all")
    flags.DEFINE_integer("clients", 16, "how many at once")
    flags.DEFINE_integer("seed", 11, "of all requests")
    app.run(main)
