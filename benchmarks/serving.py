"""How the server stands many clients.

    python -m benchmarks.serving

A server of a model, the samples' where none is named, is started, and clients send clips of their own, 8 frames of
80², as JSON. Every answer is compared with the first one that the same clip got, which one client asked for alone.
Printed are percentiles of the time to an answer, answers per second beside those of a single client, and the server's
memory before and after.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from absl import flags

from benchmarks.turns import Ratios, machine
from dmcl_tf.errors import run_script
from workflow.predict import SAMPLES

_ROOT = Path(__file__).parents[1]
_CLIPS = 8  # different ones


def request(port: int, method: str, path: str, body: bytes | None = None) -> bytes:
    """The content of the answer, of which 200 is expected."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        content = response.read()
    finally:
        connection.close()
    assert response.status == 200, content
    return content


def megabytes(port: int) -> float:
    """The server's resident memory."""
    text = request(port, "GET", "/metrics").decode()
    return float(re.search(r"^process_resident_memory_bytes (\S+)", text, re.MULTILINE)[1]) / 2**20


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_string("model", str(SAMPLES / "model"), "exported model", flag_values=flag_values)
    flags.DEFINE_integer("requests", 200, "Requests of all clients.", 1, flag_values=flag_values)
    flags.DEFINE_integer("clients", 16, "Clients at once.", 1, flag_values=flag_values)


def main(values: flags.FlagValues) -> Ratios:
    """Prints the figures; returns how many times as many answers per second all clients get as one."""
    command = [
        sys.executable,
        "-m",
        "workflow",
        "serve",
        "--port=0",
        f"--model={Path(values.model).resolve()}",
        "--name=model",
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=_ROOT)
    try:
        port = int(re.search(r":(\d+)/", server.stdout.readline())[1])
        bodies = []
        for seed in range(_CLIPS):
            clip = np.random.RandomState(seed).randint(0, 256, (1, 8, 80, 80, 3))
            bodies.append(json.dumps({"signature_name": "rgb", "instances": clip.tolist()}).encode())

        def ask(number: int) -> tuple[float, np.ndarray]:
            begin = time.perf_counter()
            content = request(port, "POST", "/v1/models/model:predict", bodies[number % _CLIPS])
            return time.perf_counter() - begin, np.array(json.loads(content)["predictions"][0]["logits"])

        alone = [ask(number) for number in range(2 * _CLIPS)]
        before, begin = megabytes(port), time.perf_counter()
        with ThreadPoolExecutor(values.clients) as pool:
            answers = list(pool.map(ask, range(values.requests)))
        elapsed, after = time.perf_counter() - begin, megabytes(port)
    finally:
        server.terminate()
        server.stdout.close()
        server.wait(30)
    for number, (_, logits) in enumerate(answers):
        np.testing.assert_allclose(logits, alone[number % _CLIPS][1], atol=1e-4)
    print(machine())
    print(f"{values.requests} requests by {values.clients} clients: all answered, each with its own clip's logits")
    times = 1000 * np.array([seconds for seconds, _ in answers])
    shares = ", ".join(f"{share} %: {np.percentile(times, share):.0f}" for share in (50, 90, 99, 100))
    print(f"milliseconds until so many are answered: {shares}")
    single = 1 / np.median([seconds for seconds, _ in alone[_CLIPS:]])
    print(f"{values.requests / elapsed:.1f} answers per second, {single:.1f} with one client")
    print(f"memory of the server: {before:.0f} MB before, {after:.0f} MB after")
    return {"answers per second of all clients / of one": float(values.requests / elapsed / single)}


if __name__ == "__main__":
    define_flags()
    run_script(lambda: main(flags.FLAGS))
