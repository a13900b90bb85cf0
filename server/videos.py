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
from dmcl_tf.scoring.accuracy import softmax
from server.decoder import Decoders, Job
from server.limits import Refused, ServerLimits
from server.models import Models, Version
from workflow.footage import available_modalities, computed_flow

_NUMBERS = {"clips": (10.0, 1, 50), "window": (2.0, 0.1, 60), "stride": (0.5, 0.1, 60)}  # default, least, most


def describe(models: Models, limits: ServerLimits) -> dict[str, Any]:
    """What `POST /v1/videos` takes."""
    exported = models.current.exported
    flow = computed_flow(exported)
    return {
        "model": {"name": models.name, "version": str(models.current.number)},
        "modalities": exported.config.modalities,
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
    modalities = _modalities(files, str(form.get("with", "")), version)
    unknown = [name for name in form if name not in files and name not in (*_NUMBERS, "with")]
    if unknown:
        raise Refused(400, f"unknown field {unknown[0]!r}: expected files, and {', '.join(_NUMBERS)} or with")
    numbers = {name: _number(name, form.get(name)) for name in _NUMBERS}
    if limits.duration / numbers["stride"] > 1200:
        raise Refused(400, f"stride={numbers['stride']:g}: expected {limits.duration / 1200:g} seconds or more")
    said: dict[str, list[dict[str, np.ndarray]]] = {"video": [], "timeline": []}

    def serve(part: str, clips: Mapping[str, np.ndarray]) -> np.ndarray:
        logits = version.logits(clips)
        said[part].append(logits)
        return np.mean(list(logits.values()), axis=0)

    ordered = [name for name in version.exported.config.modalities if name in files]
    with tempfile.TemporaryDirectory(prefix="dmcl_tf_") as folder:
        paths = {}
        for name in ordered:  # by the modality's name: no name of the client's reaches the file system
            paths[name] = Path(folder) / name
            with paths[name].open("wb") as file:
                shutil.copyfileobj(files[name].file, file)
        video_id = PurePosixPath(files[ordered[0]].filename or "").stem or "video"
        job = Job(
            paths,
            video_id,
            version.exported,
            modalities,
            int(numbers["clips"]),
            numbers["window"],
            numbers["stride"],
            limits,
        )
        seen = decoders(job, serve, deadline)
    return _answer(models.name, version, modalities, job, seen, said)


def _answer(name, version, modalities, job, seen, said) -> dict[str, Any]:
    names = version.exported.class_names
    logits = {m: np.concatenate([part[m] for part in said["video"]]).mean(axis=0) for m in modalities}
    total = np.mean(list(logits.values()), axis=0)
    probabilities = softmax(total)
    best = int(probabilities.argmax())
    timeline = None
    if seen["windows"]:
        timeline = {
            "begin": [begin for begin, _ in seen["windows"]],
            "end": [end for _, end in seen["windows"]],
            "logits": {m: np.concatenate([part[m] for part in said["timeline"]]).tolist() for m in modalities},
        }
    return {
        "model": {"name": name, "version": str(version.number)},
        "classes": names,
        "prediction": {"class": names[best], "probability": float(probabilities[best])},
        "modalities": modalities,
        "frames": seen["frames"],
        "clips": job.clips,
        "networks": {m: {"logits": v.tolist(), "probabilities": softmax(v).tolist()} for m, v in logits.items()},
        "sum": {"logits": total.tolist(), "probabilities": probabilities.tolist()},
        "pictures": {m: [_data_url(picture) for picture in seen["pictures"][m]] for m in modalities},
        "timeline": timeline,
    }


def _data_url(picture: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"


def _modalities(files: Mapping[str, Any], chosen: str, version: Version) -> tuple[str, ...]:
    known = version.exported.config.modalities
    for name in files:
        if name not in known:
            raise Refused(400, f"the model has no modality {name!r}: expected files for some of {', '.join(known)}")
    if not files:
        raise Refused(400, f"no file: expected a form with files for some of {', '.join(known)}")
    available = available_modalities(version.exported, files)
    names = chosen.split("+") if chosen else available
    for name in names:
        if name not in available:
            raise Refused(
                400,
                f"with={chosen}: {name!r} is neither given nor computed of what is: expected some of "
                f"{', '.join(sorted(available))}",
            )
    return tuple(name for name in known if name in names)


def _number(name: str, given: Any) -> float:
    default, least, most = _NUMBERS[name]
    try:
        value = float(given) if given else default
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise Refused(400, f"{name}={given}: expected a number from {least:g} to {most:g}")
    return value
