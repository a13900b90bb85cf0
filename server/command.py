"""Serves an exported model, and a page to try it on videos.

    bash run.sh serve                                                     # the model of the samples
    bash run.sh serve --model=exported/custom/dmcl/authors-compact-seed0  # its newest version, and those to come

The page is at http://127.0.0.1:8501/, the REST interface of TensorFlow Serving at /v1/models/<name>, /v1/videos takes
files of any subset of the modalities. It listens to this machine alone unless --host says otherwise, and has no
passwords: put a server that has them in front of it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import re
import socket
from pathlib import Path

from absl import flags

from dmcl_tf.errors import InputError
from server.limits import ServerLimits
from workflow.predict import SAMPLES

_MODULES = ("starlette", "uvicorn", "python_multipart", "prometheus_client")


def serve_flags(values: flags.FlagValues) -> None:
    """What is served, where, and within what limits."""
    limits = ServerLimits()
    text = "exported model, exported/<data set>/<method>/<run>; default: the one of the samples"
    flags.DEFINE_string("model", None, text, flag_values=values)
    flags.DEFINE_string("name", None, "of the model in paths; default: that of its folder", flag_values=values)
    flags.DEFINE_string("host", "127.0.0.1", "address to listen at; 0.0.0.0: all of them", flag_values=values)
    flags.DEFINE_integer("port", 8501, "port; 0: a free one", 0, 65535, flag_values=values)
    flags.DEFINE_float("max_upload", limits.upload_bytes / 1e6, "MB of a request", 0.001, flag_values=values)
    flags.DEFINE_float("max_duration", limits.duration, "seconds of a video", 0.1, flag_values=values)
    flags.DEFINE_integer("max_pixels", limits.pixels, "pixels of a frame", 1, flag_values=values)
    flags.DEFINE_integer("max_requests", limits.requests, "requests at once", 1, flag_values=values)
    flags.DEFINE_float("max_seconds", limits.seconds, "seconds until a request is given up", 0.1, flag_values=values)
    flags.DEFINE_integer("decoders", 2, "processes that decode videos", 1, 64, flag_values=values)
    flags.DEFINE_integer("threads", 2, "requests that networks work on at once", 1, 64, flag_values=values)
    flags.DEFINE_float("poll_seconds", 2.0, "between two looks for new versions", 0.05, flag_values=values)


FLAG_GROUPS = (serve_flags,)


def main(values: flags.FlagValues) -> None:
    """Serves until it is told to stop.

    Raises:
        InputError: the extra is not installed, there is no model, or the port is in use.
    """
    missing = [name for name in _MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"serve: {missing[0]} is not installed; EXTRAS=serve bash run.sh … or pip install '.[serve]' installs it, "
            "on Python 3.11 and newer"
        )
    os.environ["TQDM_DISABLE"] = "1"  # no bars among the lines of the log, of the decoders as well

    import uvicorn

    from server.app import make_app
    from server.metrics import log_in_json
    from server.models import Models

    with _listen(values["host"].value, values["port"].value) as listener:
        folder = Path(values["model"].value or SAMPLES / "model")
        usual = folder.resolve().name if values["model"].value else SAMPLES.name
        name = values["name"].value or usual
        if not re.fullmatch(r"[^/:?#%\s]+", name):
            raise InputError(f"--name={name}: no path can hold it; give one of letters, digits, -, _ and .")
        models = Models(name, folder)
        limits = ServerLimits(
            round(values["max_upload"].value * 1e6),
            values["max_duration"].value,
            values["max_pixels"].value,
            values["max_requests"].value,
            values["max_seconds"].value,
        )
        app = make_app(
            models,
            limits,
            decoders=values["decoders"].value,
            threads=values["threads"].value,
            poll_seconds=values["poll_seconds"].value,
        )
        log_in_json()
        host, port = listener.getsockname()[:2]
        place = f"[{host}]" if ":" in host else host
        print(f"{models.name}, version {models.current.number}: http://{place}:{port}/", flush=True)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=math.ceil(limits.seconds) + 5,  # every request has ended by then
            ws="none",
        )
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn has answered what was running, and hands the signal on
            uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    """A socket that is bound, before a model is loaded in vain."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"--host={host} --port={port}: {reason}; give another one, --port=0 takes one that is free"
        ) from None
