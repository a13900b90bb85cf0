"""Parts of the server that need neither its packages nor a process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from absl import flags

from dmcl_tf.errors import InputError
from dmcl_tf.export import read_exported
from dmcl_tf.flag_groups import define
from server import command, decoder, models, videos
from server.decoder import Job
from server.limits import Refused, ServerLimits
from workflow import command_line, served
from workflow.predict import SAMPLES


def test_an_older_version_is_served_again_where_the_newest_is_gone(tmp_path, monkeypatch):
    def load(number, path, exported):
        return SimpleNamespace(number=number, exported=exported)

    monkeypatch.setattr(models, "is_exported", lambda path: path.name.isdigit())
    monkeypatch.setattr(models, "find_versions", lambda folder: sorted(folder.iterdir()))
    monkeypatch.setattr(models, "read_exported", lambda path: SimpleNamespace(class_names=("a", "b")))
    monkeypatch.setattr(models, "load", load)
    for number in "12":
        (tmp_path / number).mkdir()
        (tmp_path / number / "file").write_text(number)
    (tmp_path / "2").rename(tmp_path.with_name("2"))
    served = models.Models("actions", tmp_path)
    assert served.current.number == 1
    tmp_path.with_name("2").rename(tmp_path / "2")
    assert (served.refresh(), served.current.number) == (True, 2)
    (tmp_path / "2").rename(tmp_path.with_name("gone"))
    assert (served.refresh(), served.current.number) == (True, 1)
    assert (served.refresh(), served.current.number) == (False, 1)
    served.failed[9] = "damaged"  # and has been removed since
    served._stamps[9] = None
    assert served.refresh() is False
    assert served.states() == {1: "", 2: ""}


def test_answers_of_the_application_itself():
    """A method that is not allowed names those that are, and a fault of the server's own is JSON as well."""
    pytest.importorskip("starlette")
    from server.app import make_app

    def ask(method, path):
        async def receive():
            return {"type": "http.request", "body": b""}

        async def send(message):
            sent.append(message)

        sent: list = []
        scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b"", "root_path": ""}
        with contextlib.suppress(AttributeError):  # which is logged
            asyncio.run(app({**scope, "app": app}, receive, send))
        head, body = sent
        return head["status"], dict(head["headers"]), json.loads(body["body"])["error"]

    app = make_app(SimpleNamespace(name="actions"), ServerLimits(), decoders=1, threads=1, poll_seconds=1.0)
    status, headers, _ = ask("DELETE", "/v1/videos")
    assert (status, {*headers[b"allow"].decode().split(", ")}) == (405, {"GET", "HEAD", "POST"})
    status, _, error = ask("GET", "/healthz")  # no version is loaded
    assert (status, error) == (500, "an error of the server's own: its log has it")


@pytest.fixture
def serve(monkeypatch):
    """The command as a function of its arguments, without the packages that it needs."""
    monkeypatch.setenv("TQDM_DISABLE", "1")  # which the command sets
    monkeypatch.setattr(command, "_MODULES", ())
    monkeypatch.setitem(sys.modules, "uvicorn", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "server.app", SimpleNamespace(make_app=lambda *_, **__: None))
    monkeypatch.setitem(sys.modules, "server.metrics", SimpleNamespace(log_in_json=lambda: None))
    return lambda given: command.main(command_line.parse(define(command.FLAG_GROUPS, flags.FlagValues()), given))


def test_a_stop_waits_for_the_longest_request(serve, monkeypatch):
    said = {}
    served = SimpleNamespace(run=lambda sockets: None)
    sys.modules["uvicorn"].Config = lambda app, **settings: said.update(settings)
    sys.modules["uvicorn"].Server = lambda config: served
    one = SimpleNamespace(name="actions", current=SimpleNamespace(number=1))
    monkeypatch.setattr(models, "Models", lambda name, folder: one)
    serve(["--port=0", "--max_seconds=40.5"])
    assert said["timeout_graceful_shutdown"] > 40.5 + 2.0  # after which what is slow is given up


def test_a_model_has_a_logit_for_each_class(tiny_model):
    exported = read_exported(tiny_model)
    served.check_classes(tiny_model, exported, np.zeros((2, 6)))
    with pytest.raises(InputError, match="6 classes in its record, but 5 logits: export it anew"):
        served.check_classes(tiny_model, exported, np.zeros((2, 5)))


def test_a_timeline_has_a_largest_number_of_windows(monkeypatch):
    monkeypatch.setattr(decoder, "_MOST_WINDOWS", 4)
    exported = read_exported(SAMPLES / "model")

    def job(stride):
        return Job({"rgb": SAMPLES / "throw_rgb.avi"}, "x", exported, ("rgb",), 1, 0.2, stride, ServerLimits())

    with pytest.raises(InputError, match=r"stride=0.1: expected 0\.2 seconds or more for a video of 1 seconds"):
        decoder.look(job(0.1), lambda part, clips: None)
    logits = np.array([[1.0, 2.0]])
    assert decoder.look(job(0.5), lambda part, clips: logits.repeat(len(clips["rgb"]), 0))["frames"] == 24


@pytest.mark.parametrize(
    ("shape", "fits"),
    [
        ((16, 8, 240, 320, 3), True),
        ((1, 8, 2160, 3840, 3), True),
        ((60, 8, 1080, 1920, 3), False),
        ((12000, 8, 1, 1, 3), False),
        ((64, 8, 100000, 1, 3), False),
        ((64, 8, 1, 100000, 3), False),
    ],
)
def test_clips_of_a_prediction_fit_into_memory(shape, fits):
    limits = ServerLimits()
    if fits:
        limits.check_clips(shape, 112)
    else:
        with pytest.raises(Refused, match="send fewer clips at a time, or smaller frames") as refused:
            limits.check_clips(shape, 112)
        assert refused.value.status == 413


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host=a..b"], r"--host=a\.\.b --port=8501: .*; give another one"),
        (["--port=0", "--max_duration=inf"], "--max_duration=inf: expected a finite number"),
        (["--port=0", "--name=a/b"], "--name=a/b: no path can hold it"),
    ],
)
def test_flags_with_which_no_server_can_work(serve, arguments, message):
    with pytest.raises(InputError, match=message):
        serve(arguments)


def test_windows_that_overlap_too_often_are_refused():
    form = {"rgb": SimpleNamespace(file=None, filename="x.avi"), "window": "60", "stride": "0.1"}
    served = SimpleNamespace(current=SimpleNamespace(exported=read_exported(SAMPLES / "model")))
    with pytest.raises(Refused, match=r"window=60, stride=0\.1: expected a stride of at least 0\.938"):
        videos.predict(form, served, None, ServerLimits(), 0.0)
