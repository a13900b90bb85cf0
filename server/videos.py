"""`/v1/videos`: uploaded files of any subset of the modalities → what each network says, and what it saw."""

from __future__ import annotations

import base64
import math
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from data_prep.video.record import FLOW
from dmcl_tf.errors import InputError
from dmcl_tf.scoring.accuracy import softmax
from server.decoder import Decoders, Job
from server.limits import Refused, ServerLimits
from server.models import Models, Version
from workflow.footage import available_modalities, computed_flow, video_settings

_OPEN_WINDOWS = 64  # that may overlap
_NUMBERS = {"clips": (10.0, 1, 50), "window": (2.0, 0.1, 60), "stride": (0.5, 0.1, 60)}  # default, least, most


def describe(models: Models, limits: ServerLimits) -> dict[str, Any]:
    """What `POST /v1/videos` takes."""
    exported = models.current.exported
    flow = computed_flow(exported)
    return {
        "model": {"name": models.name, "version": str(models.current.number)},
        "modalities": exported.config.inputs,
        "computed": {FLOW: flow.source} if flow else {},
        "classes": exported.class_names,
        "limits": {
            "upload_bytes": limits.upload_bytes,
            "duration": limits.duration,
            "pixels": limits.pixels,
            "seconds": limits.seconds,
        },
    }


def predict(
    form: Mapping[str, Any], models: Models, decoders: Decoders, limits: ServerLimits, deadline: float
) -> dict[str, Any]:
    """The answer to a form.

    Args:
        form: an uploaded file for each modality that is given, and perhaps `with`, `clips`, `window` and `stride`.
        models: to predict with.
        decoders: of the files.
        limits: of the request.
        deadline: of `time.monotonic`.

    Raises:
        Refused: the form or a file cannot be used.
    """
    version = models.current
    files = {name: value for name, value in form.items() if hasattr(value, "file")}
    config = version.exported.config
    networks = _networks(files, str(form.get("with", "")), version)
    unknown = [name for name in form if name not in files and name not in (*_NUMBERS, "with")]
    if unknown:
        raise Refused(400, f"unknown field {unknown[0]!r}: expected files, and {', '.join(_NUMBERS)} or with")
    numbers = {name: _number(name, form.get(name)) for name in _NUMBERS}
    if numbers["window"] / numbers["stride"] > _OPEN_WINDOWS:
        raise Refused(
            400,
            f"window={numbers['window']:g}, stride={numbers['stride']:g}: expected a stride of at least "
            f"{numbers['window'] / _OPEN_WINDOWS:.3g}, as all windows of a moment are held in memory",
        )
    said: dict[str, list[dict[str, np.ndarray]]] = {"video": [], "timeline": []}

    def serve(part: str, clips: Mapping[str, np.ndarray]) -> np.ndarray:
        logits = version.logits(clips, networks)
        said[part].append(logits)
        return np.mean(list(logits.values()), axis=0)

    ordered = [name for name in config.inputs if name in files]
    with tempfile.TemporaryDirectory(prefix="dmcl_tf_") as folder:
        paths = {}
        for name in ordered:  # by the modality's name: no name of the client's reaches the file system
            paths[name] = Path(folder) / name
            with paths[name].open("wb") as file:
                shutil.copyfileobj(files[name].file, file)
        seen_by = tuple(dict.fromkeys(map(config.sees, networks)))
        try:  # the first file that is read, as for `predict`
            first = video_settings(version.exported, seen_by, given=tuple(paths)).recorded[0]
        except InputError as error:
            raise Refused(422, str(error)) from None
        job = Job(
            paths,
            PurePosixPath(files[first].filename or "").stem or "video",
            version.exported,
            seen_by,
            int(numbers["clips"]),
            numbers["window"],
            numbers["stride"],
            limits,
        )
        seen = decoders(job, serve, deadline)
    return _answer(models.name, version, networks, job, seen, said)


def _answer(name, version, networks, job, seen, said) -> dict[str, Any]:
    names, sees = version.exported.class_names, version.exported.config.sees
    logits = {m: np.concatenate([part[m] for part in said["video"]]).mean(axis=0) for m in networks}
    total = np.mean(list(logits.values()), axis=0)
    probabilities = softmax(total)
    best = int(probabilities.argmax())
    timeline = None
    if seen["windows"]:
        timeline = {
            "begin": [begin for begin, _ in seen["windows"]],
            "end": [end for _, end in seen["windows"]],
            "logits": {m: np.concatenate([part[m] for part in said["timeline"]]).tolist() for m in networks},
        }
    return {
        "model": {"name": name, "version": str(version.number)},
        "classes": names,
        "prediction": {"class": names[best], "probability": float(probabilities[best])},
        "modalities": networks,
        "frames": seen["frames"],
        "clips": job.clips,
        "networks": {m: {"logits": v.tolist(), "probabilities": softmax(v).tolist()} for m, v in logits.items()},
        "sum": {"logits": total.tolist(), "probabilities": probabilities.tolist()},
        "pictures": {m: [_data_url(picture) for picture in seen["pictures"][sees(m)]] for m in networks},
        "timeline": timeline,
    }


def _data_url(picture: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"


def _networks(files: Mapping[str, Any], chosen: str, version: Version) -> tuple[str, ...]:
    """Those that are asked: the chosen ones, or all that see what is given or computed."""
    config, known = version.exported.config, version.exported.config.inputs
    for name in files:
        if name not in known:
            raise Refused(400, f"the model has no modality {name!r}: expected files for some of {', '.join(known)}")
    if not files:
        raise Refused(400, f"no file: expected a form with files for some of {', '.join(known)}")
    available = available_modalities(version.exported, files)
    there = [name for name in config.modalities if config.sees(name) in available]
    names = chosen.split("+") if chosen else there
    for name in names:
        if name not in there:
            raise Refused(
                400,
                f"with={chosen}: {name!r} is neither given nor computed of what is: expected some of "
                f"{', '.join(sorted(there))}",
            )
    return tuple(name for name in there if name in names)


def _number(name: str, given: Any) -> float:
    default, least, most = _NUMBERS[name]
    kind = "whole number" if name == "clips" else "number"
    try:
        value = float(given) if given else default
    except ValueError:
        value = math.nan
    if not least <= value <= most or (name == "clips" and not value.is_integer()):
        raise Refused(400, f"{name}={given}: expected a {kind} from {least:g} to {most:g}")
    return value
