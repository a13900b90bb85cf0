"""The server as a process of its own, on the model of the samples, and what it says of good and bad requests."""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import http.client
import importlib.util
import json
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import campaign.server
import numpy as np
import pytest
from server_process import Server

from dmcl_tf.errors import InputError
from dmcl_tf.export import read_exported
from workflow import __main__ as workflow
from workflow import predict, served

SAMPLES = Path(__file__).parents[1] / "samples"
PREDICT = "/v1/models/actions:predict"
MODULES = ("starlette", "uvicorn", "python_multipart", "prometheus_client")
pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, MODULES)), reason="the extra serve is not installed"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory, tiny_model):
    versions = tmp_path_factory.mktemp("models") / "actions"
    shutil.copytree(tiny_model, versions / "1")
    limits = ("--max_upload=4", "--max_duration=20", "--max_pixels=400000", "--max_seconds=60", "--poll_seconds=0.1")
    started = Server(tmp_path_factory.mktemp("temporary"), f"--model={versions}", *limits)
    started.versions = versions
    yield started
    started.stop()


@pytest.fixture(scope="module")
def expected(tiny_model):
    """What the networks say of clips, in this process: logits of a modality's clips."""
    model, exported = served.find_model(tiny_model)
    return lambda **clips: served.load(model, exported, tuple(clips))(clips)


def noise(seed, number=1):
    return np.random.RandomState(seed).randint(0, 256, (number, 8, 24, 32, 3)).astype(np.uint8)


def test_status_and_metadata(server):
    available = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert server.request("GET", "/v1/models/actions/versions/1") == (200, {"model_version_status": [available]})
    status, metadata = server.request("GET", "/v1/models/actions/metadata")
    assert (status, metadata["model_spec"]["name"]) == (200, "actions")
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert {"rgb", "rgb_depth_flow", "serving_default"} <= set(signatures)
    assert signatures["rgb"]["inputs"]["rgb"]["dtype"] == "DT_UINT8"
    sizes = [part["size"] for part in signatures["rgb"]["outputs"]["logits"]["tensor_shape"]["dim"]]
    assert sizes == ["-1", "6"]


@pytest.mark.parametrize("path", ["actions", "actions/metadata", "none"])
def test_head_is_answered_as_get_is(server, path):
    statuses = []
    for method in ("HEAD", "GET"):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request(method, f"/v1/models/{path}")
        statuses.append(connection.getresponse().status)
        connection.close()
    assert statuses == [404 if path == "none" else 200] * 2


def test_many_tiny_clips_are_refused_before_they_are_resized(server):
    pixel = np.zeros((8, 1, 1, 3), int).tolist()
    status, said = server.post(PREDICT, {"signature_name": "rgb", "instances": [pixel] * 12000})
    assert status == 413
    assert "send fewer clips at a time, or smaller frames" in said["error"]


def test_rows_and_columns_say_what_the_networks_say(server, expected, tiny_model):
    rgb, depth = noise(0, 2), noise(1, 2)
    logits = expected(rgb=rgb, depth=depth)
    rows = [{"rgb": a.tolist(), "depth": b.tolist()} for a, b in zip(rgb, depth)]
    path = "/v1/models/actions/versions/1:predict"
    status, said = server.post(path, {"signature_name": "rgb_depth", "instances": rows})
    assert status == 200, said
    np.testing.assert_allclose([row["logits"] for row in said["predictions"]], logits, rtol=1e-4, atol=1e-4)
    assert said["predictions"][0]["classes"][0] == read_exported(tiny_model).class_names[logits[0].argmax()]
    columns = {"signature_name": "rgb_depth", "inputs": {"rgb": rgb.tolist(), "depth": depth.tolist()}}
    status, said = server.post(PREDICT, columns)
    np.testing.assert_allclose(said["outputs"]["logits"], logits, rtol=1e-4, atol=1e-4)
    # the only input of a signature needs no name
    _, said = server.post(PREDICT, {"signature_name": "rgb", "instances": rgb.tolist()})
    np.testing.assert_allclose([row["logits"] for row in said["predictions"]], expected(rgb=rgb), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/v1/models/none", None, 404, "Could not find any versions of model none"),
        ("GET", "/v1/models/actions/versions/9", None, 404, "Could not find version 9 of model actions"),
        ("POST", "/v1/models/none:predict", "{}", 404, "Servable not found for request: Latest(none)"),
        ("POST", "/v1/models/actions/versions/9:predict", "{}", 404, "request: Specific(actions, 9)"),
        ("GET", PREDICT, None, 400, "Malformed request: GET /v1/models/actions:predict"),
        ("POST", "/v1/models/actions:classify", "{}", 400, "Expected classification signature method_name"),
        ("POST", PREDICT, "{", 400, "JSON Parse error"),
        ("POST", PREDICT, "[]", 400, "expected an object"),
        ("POST", PREDICT, "{}", 400, "Missing 'inputs' or 'instances' key"),
        (
            "POST",
            PREDICT,
            '{"signature_name": "x", "inputs": 1}',
            400,
            "not found in signature def",
        ),
        ("POST", PREDICT, '{"instances": [{"rgb": 1}]}', 400, "does not have named input: depth"),
        ("POST", PREDICT, '{"signature_name": "", "instances": [{"rgb": 1}]}', 400, "named input: depth"),
        ("POST", PREDICT, '{"signature_name": "rgb", "instances": [[256]]}', 400, "0 … 255"),
        ("POST", PREDICT, '{"signature_name": "rgb", "instances": ["x"]}', 400, "type: uint8"),
        ("POST", PREDICT, '{"signature_name": "rgb", "instances": [[1], 2]}', 400, "type: uint8"),
        (
            "POST",
            PREDICT,
            '{"signature_name": "rgb", "instances": [[1]]}',
            400,
            "rgb: expected clips",
        ),
        ("POST", "/v1/videos", "{}", 415, "expected multipart/form-data"),
        ("GET", "/v1/models/../../etc/passwd", None, 400, "Malformed request"),
        ("GET", f"/v1/models/actions/versions/{'9' * 5000}", None, 400, "Malformed request"),
        ("GET", "/etc/passwd", None, 404, "Not Found"),
        ("DELETE", "/v1/videos", None, 405, "Method Not Allowed"),
    ],
)
def test_what_is_wrong_with_a_request(server, method, path, body, status, message):
    got, said = server.request(method, path, body)
    assert (got, list(said)) == (status, ["error"])
    assert message in said["error"]
    assert "\n" not in said["error"]


def test_a_video(server, tiny_model):
    """As `bash run.sh predict` says it, and each network for itself."""
    status, said = server.upload(rgb=SAMPLES / "throw_rgb.avi", depth=SAMPLES / "throw_depth.avi")
    assert status == 200, said
    assert said["modalities"] == ["rgb", "depth", "flow"]
    model, exported = served.find_model(tiny_model)
    paths = {name: SAMPLES / f"throw_{name}.avi" for name in ("rgb", "depth")}
    probabilities, moments = predict.predict_video(predict.PredictSettings(model, exported, paths))
    assert said["frames"] == moments
    np.testing.assert_allclose(said["sum"]["probabilities"], probabilities, atol=1e-4)
    networks = [said["networks"][name]["logits"] for name in said["modalities"]]
    np.testing.assert_allclose(np.mean(networks, axis=0), said["sum"]["logits"], rtol=1e-5, atol=1e-5)
    assert len(said["pictures"]["flow"]) == 8
    assert base64.b64decode(said["pictures"]["flow"][0].split(",")[1]).startswith(b"\xff\xd8")


def test_a_timeline(server):
    fields = {"window": 0.5, "stride": 0.25, "with": "rgb"}
    status, said = server.upload(fields, rgb=SAMPLES / "throw_rgb.avi")
    assert status == 200, said
    assert said["modalities"] == ["rgb"]
    assert np.allclose(np.subtract(said["timeline"]["end"], said["timeline"]["begin"]), 0.5, atol=0.05)
    assert np.shape(said["timeline"]["logits"]["rgb"]) == (len(said["timeline"]["begin"]), 6)


def video_of(seconds, size="64x48", rate=10, audio=False):
    """Bytes of an MP4 file."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("there is no ffmpeg")
    with tempfile.TemporaryDirectory() as folder:
        source = "sine" if audio else f"color=s={size}:r={rate}"
        command = [ffmpeg, "-v", "error", "-f", "lavfi", "-i", source, "-t", str(seconds), f"{folder}/x.mp4"]
        subprocess.run(command, check=True)
        return Path(folder, "x.mp4").read_bytes()


@pytest.mark.parametrize(
    ("make", "status", "message"),
    [
        (lambda: {"rgb": b"no video"}, 422, "rgb: not a video that can be decoded"),
        (lambda: {"rgb": b""}, 422, "rgb: the file is empty"),
        (lambda: {"rgb": video_of(1, audio=True)}, 422, "rgb: "),
        (lambda: {"rgb": video_of(3600, rate=1)}, 413, "3600 seconds; expected 20 at most"),
        (lambda: {"rgb": video_of(1, size="1280x720")}, 413, "1280×720 pixels; expected 400,000 at most"),
        (lambda: {"thermal": b"x"}, 400, "the model has no modality 'thermal'"),
        (lambda: {}, 400, "no file"),
        (lambda: {"rgb": bytes(5_000_000)}, 413, "larger than 4 MB"),
    ],
    ids=["text", "empty", "audio", "hour", "pixels", "modality", "none", "bytes"],
)
def test_what_is_wrong_with_a_video(server, make, status, message):
    got, said = server.upload(**make())
    assert got == status, said
    assert message in said["error"]
    assert str(server.temporary) not in said["error"]
    assert server.left_over() == []


@pytest.mark.parametrize(
    "fields", [{"clips": "x"}, {"window": "-1"}, {"tea": "1"}, {"with": "depth"}, {"stride": "nan"}, {"clips": "2.7"}]
)
def test_what_is_wrong_with_a_field(server, fields):
    status, said = server.upload(fields, rgb=SAMPLES / "throw_rgb.avi")
    assert status == 400
    assert next(iter(fields)) in said["error"]


def test_two_files_of_one_modality_are_too_many(server):
    part = '--edge\r\nContent-Disposition: form-data; name="rgb"; filename="x.avi"\r\n\r\n\r\n'
    kind = {"Content-Type": "multipart/form-data; boundary=edge"}
    status, said = server.request("POST", "/v1/videos", f"{part}{part}--edge--\r\n", **kind)
    assert (status, said["error"]) == (400, "the field 'rgb' is there more than once: send one")


def test_many_clients_are_not_mixed_up(server, expected):
    clips = noise(7, 16)
    logits = expected(rgb=clips)
    assert np.ptp(logits, axis=0).max() > 0.01

    def ask(client):
        body = {"signature_name": "rgb", "instances": [clips[client].tolist()]}
        return [server.post(PREDICT, body)[1]["predictions"][0]["logits"] for _ in range(3)]

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for client, answers in enumerate(pool.map(ask, range(16))):
            np.testing.assert_allclose(answers, np.tile(logits[client], (3, 1)), rtol=1e-4, atol=1e-4)


def test_health_and_metrics(server):
    assert server.request("GET", "/healthz")[1]["status"] == "ok"
    text = server.request("GET", "/metrics")[1]
    assert re.search(r'dmcl_requests_total\{method="GET",route="healthz",status="200"\} [1-9]', text)

    def logged():  # lines of TensorFlow are no JSON
        lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
        return [(line["event"], line.get("path"), line.get("status")) for line in lines]

    wait_for(lambda: logged()[-1] == ("request", "/metrics", 200))  # a request is logged after its answer


def wait_for(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not happen")


def test_the_lines_of_the_documentation(server, tmp_path):
    """They run as they stand, but for port and name."""
    curl = shutil.which("curl")
    if curl is None:
        pytest.skip("there is no curl")
    text = (SAMPLES.parent / "docs" / "serving.md").read_text(encoding="utf-8")
    shutil.copy(SAMPLES / "throw_rgb.avi", tmp_path / "clip.mp4")
    request = {"signature_name": "rgb", "instances": noise(3).tolist()}
    (tmp_path / "request.json").write_text(json.dumps(request))
    lines = re.findall(r"^curl .*", text, re.MULTILINE)
    assert len(lines) == 7
    for line in lines:
        own = line.replace(":8501", f":{server.port}").replace("/samples", "/actions")
        arguments = [curl, "--silent", "--show-error", "--fail-with-body", *shlex.split(own)[1:]]
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (line, done.stdout, done.stderr)


def test_new_versions_are_picked_up(server, tiny_model):
    """Not one that is half-written, nor one of other classes; then a sound one."""
    model, versions = tiny_model, server.versions

    def state(number):
        entries = server.request("GET", "/v1/models/actions")[1]["model_version_status"]
        return next((entry for entry in entries if entry["version"] == str(number)), {"state": "NONE"})

    shutil.copytree(model, versions / "2")
    (versions / "2" / "weights.npz").write_bytes(b"half")
    wait_for(lambda: state(2)["state"] == "END")
    assert "damaged" in state(2)["status"]["error_message"]
    record = (model / "dmcl_tf.json").read_text()
    shutil.copytree(model, versions / "3", ignore=shutil.ignore_patterns("dmcl_tf.json"))
    (versions / "3" / "dmcl_tf.json").write_text(record.replace('"throw"', '"toss"'))
    wait_for(lambda: state(3)["state"] == "END")
    assert "its classes" in state(3)["status"]["error_message"]
    assert state(1)["state"] == "AVAILABLE"
    shutil.copytree(model, versions / "4.partial")
    (versions / "4.partial").rename(versions / "4")
    wait_for(lambda: state(4)["state"] == "AVAILABLE")
    assert state(1)["state"] == "END"
    assert server.request("GET", "/healthz")[1]["version"] == "4"


def guarded(app, **limits):
    """An application behind the guard, and its metrics."""
    from server.guard import Guard
    from server.limits import ServerLimits
    from server.metrics import Metrics

    metrics = Metrics()
    return Guard(app, ServerLimits(**limits), metrics), metrics


def test_an_error_of_the_server_is_counted_as_one():
    from prometheus_client import generate_latest

    async def broken(scope, receive, send):
        raise RuntimeError("broken")

    guard, metrics = guarded(broken)
    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(guard({"type": "http", "method": "GET", "path": "/healthz", "headers": []}, None, None))
    assert 'status="500"' in generate_latest(metrics.registry).decode()


def test_more_requests_than_it_may_serve_are_asked_to_come_again():
    async def ask():
        sent, done = [], asyncio.Event()

        async def app(scope, receive, send):
            await done.wait()

        async def send(message):
            sent.append(message)

        async def receive():
            return {"type": "http.request", "body": b""}

        guard, _ = guarded(app, requests=1)
        scope = {"type": "http", "method": "POST", "path": "/v1/videos", "headers": []}
        first = asyncio.create_task(guard(dict(scope), receive, send))
        await asyncio.sleep(0)
        await guard(dict(scope), receive, send)
        done.set()
        await first
        return sent

    head, body = asyncio.run(ask())
    assert head["status"] == 429
    assert dict(head["headers"])[b"retry-after"] == b"1"
    assert "try again" in json.loads(body["body"])["error"]


def test_slow_videos_are_given_up_and_a_stop_is_graceful(tmp_path):
    (tmp_path / "t").mkdir()
    server = Server(tmp_path / "t", "--max_seconds=0.5", "--decoders=1")
    status, said = server.upload(rgb=SAMPLES / "throw_rgb.avi")  # the decoder is still being started
    assert status == 408, said
    assert "longer than 0.5 seconds" in said["error"]
    wait_for(lambda: "dmcl_decoders_lost_total 1.0" in server.request("GET", "/metrics")[1])
    assert server.left_over() == []
    assert server.stop() == 0


def test_sound_and_hostile_requests_among_each_other(tiny_model):
    faults, sent = campaign.server.run(requests=80, clients=8, seed=5, model=tiny_model)
    assert not faults
    assert sum(sent.values()) == 80
    assert len(sent) == len(campaign.server.SOUND) + len(campaign.server.HOSTILE)


def test_one_line_where_it_cannot_start(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--port={port}: Address already in use.*give another one"):
            workflow.main(["serve", f"--port={port}"])
    with pytest.raises(InputError, match="no exported model there"):
        workflow.main(["serve", "--port=0", f"--model={tmp_path}/none"])
