"""Predicts the class of one video with an exported model.

    bash run.sh predict --model=exported/custom/dmcl/authors-compact-seed0 --rgb=clip.avi

The model has a flag for each of its modalities, and any of them will do: a video file, a folder of images, a MATLAB or
NumPy volume, prepared as the records were. Flow is computed on the way as it was for the records, where the modality
that it comes from is given; or it is given as images of flow. As in the evaluation, several clips of the video are
drawn and their logits averaged. --with=rgb or --with=rgb+flow chooses among what can be had; default: all of it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pandas as pd
from absl import flags

from data_prep.flow.algorithms import ALGORITHMS, flow_between
from data_prep.flow.encoding import bound_in_pixels, encode_flow
from data_prep.flow.settings import FlowSettings
from data_prep.raw.base import RawVideo
from data_prep.video.alignment import AlignedReader
from data_prep.video.depth import DepthSettings
from data_prep.video.given_flow import accept_given_flow
from data_prep.video.record import FLOW, FrameEncoder, VideoSettings
from data_prep.video.sources import open_sources
from dmcl_tf.data.records import MINIMUM_FRAMES, draw_clips
from dmcl_tf.errors import InputError
from dmcl_tf.export import Exported, check_files, find_versions, name_signatures, read_exported
from dmcl_tf.flag_groups import Group
from dmcl_tf.scoring.accuracy import softmax
from workflow import command_line

_TOP = 5


@dataclass(frozen=True)
class PredictSettings:
    """What to predict.

    Attributes:
        model: folder of the SavedModel.
        exported: what it was made from.
        paths: of the video, by modality.
        clips: how many to average over.
        chosen: the modalities to predict from; empty: all that are given or can be computed.
        json: whether the result is printed as JSON.
    """

    model: Path
    exported: Exported
    paths: Mapping[str, Path]
    clips: int = 10
    chosen: tuple[str, ...] = ()
    json: bool = False

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those that are predicted from, in the model's order.

        Raises:
            InputError: one was chosen that is neither given nor can be computed.
        """
        computed = computed_flow(self.exported)
        available = {*self.paths, *([FLOW] if computed and computed.source in self.paths else [])}
        for name in self.chosen:
            if name not in self.exported.config.modalities:
                raise InputError(f"--with: the model has no {name}, only {', '.join(self.exported.config.modalities)}")
            if name not in available:
                source = f", or --{computed.source}, of which it is computed" if computed and name == FLOW else ""
                raise InputError(f"--with: {name} is not given; give --{name}{source}")
        return tuple(name for name in self.exported.config.modalities if name in (self.chosen or available))


def find_model(folder: Path) -> tuple[Path, Exported]:
    """The folder of a SavedModel, the newest version where `folder` holds several, and what it was made from.

    Raises:
        InputError: there is none of this project.
    """
    for path in (folder, *find_versions(folder)[::-1]):
        if (path / "saved_model.pb").exists():
            return path, read_exported(path)
    raise InputError(f"--model={folder}: no exported model there; expected exported/<data set>/<method>/<run>")


def computed_flow(exported: Exported) -> FlowSettings | None:
    """How the flow that the model was trained on was computed; None where it has none, or it was given.

    Raises:
        InputError: it was computed in a way that this version does not know.
    """
    if FLOW not in exported.config.modalities or not exported.flow or exported.flow.get("algorithm") == "given":
        return None
    known = {name: value for name, value in exported.flow.items() if name != "bound_in_pixels"}
    try:
        settings = msgspec.convert(known, FlowSettings)
    except msgspec.ValidationError as error:
        raise InputError(f"the settings of the model's flow are not of this version ({error}): export again") from None
    if settings.algorithm not in ALGORITHMS:
        raise InputError(f"the model's flow is of the unknown algorithm {settings.algorithm!r}: export again")
    return settings


def read_clips(
    video: RawVideo, settings: VideoSettings, *, clips: int, frames: int
) -> tuple[dict[str, np.ndarray], int]:
    """Reads the frames of the clips by which a video is judged; everything else is decoded and forgotten.

    Args:
        video: whose name seeds the choice of frames, as it does in the evaluation.
        settings: how frames are prepared.
        clips: their number.
        frames: of each clip.

    Returns:
        Clips (clips, frames, size, size, 3) uint8 (red, green, blue) by modality; and the number of moments.

    Raises:
        InputError: a source cannot be read.
    """
    computed = settings.computed_flow
    sources = accept_given_flow({name: video.sources[name] for name in settings.recorded})
    moments = sum(1 for _ in AlignedReader(sources, settings.length_tolerance))
    drawn = draw_clips(video.video_id, max(moments, MINIMUM_FRAMES), clips=clips, frames=frames)
    indices = np.minimum(drawn, moments - 1)  # a short video repeats its last frame
    encoders = {modality: FrameEncoder(modality, source, settings) for modality, source in sources.items()}
    shape = (clips, frames, settings.size, settings.size, 3)
    result = {modality: np.empty(shape, np.uint8) for modality in settings.modalities}
    pairs = np.minimum(indices, max(moments - 2, 0))  # flow leads to the next frame, and the last one is repeated
    flow = _FlowOfPairs(computed) if computed else None
    for index, moment in enumerate(AlignedReader(sources, settings.length_tolerance)):
        shown, begins, ends = (bool((chosen == index).any()) for chosen in (indices, pairs, pairs + 1))
        for modality, frame in moment.items():
            moves = computed is not None and modality == computed.source and (begins or ends)
            kept = shown and modality in result
            if not (kept or moves):
                continue
            image = encoders[modality](frame)
            if kept:
                result[modality][indices == index] = image[..., None] if image.ndim == 2 else image[..., ::-1]
            if flow and moves:
                if ends or moments == 1:
                    result[FLOW][pairs == max(index - 1, 0)] = flow.to(image)
                flow.start(image)
    return result, moments


class _FlowOfPairs:
    """Images of flow between chosen frames and the next ones, as the records hold them.

    Args:
        settings: how it is computed.
    """

    def __init__(self, settings: FlowSettings):
        self._settings = settings
        self._algorithm = ALGORITHMS[settings.algorithm].make(settings.parameters)
        self._first: np.ndarray | None = None

    def start(self, image: np.ndarray) -> None:
        """Takes the first frame of a pair, `(H, W)` or `(H, W, 3)` uint8 (blue, green, red)."""
        self._first = _grey(image)

    def to(self, image: np.ndarray) -> np.ndarray:
        """The image of flow `(H, W, 3)` uint8 from the first frame to this one; without a first there is no motion."""
        second = _grey(image)
        still = np.zeros((*second.shape, 2), np.float32)
        flow = still if self._first is None else flow_between(self._algorithm, self._first, second)
        return encode_flow(flow, bound_in_pixels(self._settings.bound, *second.shape), self._settings.encoding)


def _grey(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def predict_video(settings: PredictSettings) -> tuple[np.ndarray, int]:
    """Class probabilities (C,) of one video, and how many moments it has.

    The probabilities are the softmax of logits averaged over clips and modalities, as in the evaluation.

    Raises:
        InputError: a file cannot be read.
    """
    config = settings.exported.config
    modalities = settings.modalities
    prepared = video_settings(settings.exported, modalities, given=tuple(settings.paths))
    sources, left_out = open_sources({modality: settings.paths[modality] for modality in prepared.recorded})
    for line in left_out:
        print(f"warning: {line}", file=sys.stderr)
    video = RawVideo(settings.paths[prepared.recorded[0]].stem, "", sources)
    clips, moments = read_clips(video, prepared, clips=settings.clips, frames=config.clip_frames)
    check_files(settings.model, settings.exported)

    import tensorflow as tf  # after all that can be wrong with the files

    subsets = {subset: name for name, subset in name_signatures(config.modalities).items()}
    served = tf.saved_model.load(str(settings.model)).signatures[subsets[modalities]]
    logits = served(**{modality: tf.constant(clip) for modality, clip in clips.items()})["logits"].numpy()
    return softmax(logits.mean(axis=0)), moments


def video_settings(exported: Exported, modalities: tuple[str, ...], given: Sequence[str] = ()) -> VideoSettings:
    """How the frames of some modalities are prepared: as the records that the model was trained on.

    Args:
        exported: the model.
        modalities: to predict from.
        given: those of which there are files; flow that is not among them is computed.
    """
    flow = computed_flow(exported) if FLOW in modalities and FLOW not in given else None
    depth: dict[str, Any] = dict(exported.depth or {})
    distances = tuple(depth.pop("modalities", ()))
    return VideoSettings(
        modalities, exported.config.frame_size, depth=DepthSettings(**depth), depth_modalities=distances, flow=flow
    )


def flag_groups(arguments: Sequence[str]) -> tuple[Group, ...]:
    """The flags of the command, with one for each modality of the model that the arguments name.

    Raises:
        InputError: they name none, or a modality that it does not have.
    """
    if command_line.asks_for_help(arguments) and not any(a.startswith("--model") for a in arguments):
        return (_own_flags,)
    named = flags.FlagValues()
    _own_flags(named)
    try:
        rest = named(["predict", *arguments], known_only=True)[1:]
    except flags.Error as error:
        raise InputError(" ".join(str(error).split())) from None
    if not named["model"].value:
        raise InputError("--model is missing: expected an exported model, exported/<data set>/<method>/<run>")
    modalities = find_model(Path(command_line.user_path(named["model"].value)))[1].config.modalities
    for argument in rest:
        name = argument.lstrip("-").partition("=")[0]
        if argument.startswith("-") and name not in (*modalities, "help", "h"):
            raise InputError(f"--{name}: the model has no such modality, only {', '.join(modalities)}")

    def modality_flags(values: flags.FlagValues) -> None:
        for modality in modalities:
            text = f"the video's {modality}: a video file, a folder of images, or a volume"
            flags.DEFINE_string(modality, None, text, flag_values=values)

    return (_own_flags, modality_flags)


def _own_flags(values: flags.FlagValues) -> None:
    text = "exported model, exported/<data set>/<method>/<run>"
    flags.DEFINE_string("model", None, text, flag_values=values)
    flags.DEFINE_integer("clips", 10, "clips to average over", 1, flag_values=values)
    text = "modalities to predict from, such as rgb or rgb+flow; default: all that are given or can be computed"
    flags.DEFINE_string("with", None, text, flag_values=values)
    flags.DEFINE_boolean("json", False, "print the result as JSON, with all classes", flag_values=values)


def settings_from_flags(values: flags.FlagValues) -> PredictSettings:
    """The settings of a prediction.

    Raises:
        InputError: no video is given.
    """
    model, exported = find_model(Path(values["model"].value))
    modalities = exported.config.modalities
    paths = {m: Path(command_line.user_path(values[m].value)) for m in modalities if values[m].value}
    if not paths:
        raise InputError(f"no video: give one or more of {', '.join(f'--{modality}' for modality in modalities)}")
    chosen = tuple(values["with"].value.split("+")) if values["with"].value else ()
    settings = PredictSettings(model, exported, paths, values["clips"].value, chosen, values["json"].value)
    assert settings.modalities, "some are given, and what is chosen is among them"
    return settings


def predict(settings: PredictSettings) -> None:
    """Prints the likeliest classes of a video."""
    probabilities, moments = predict_video(settings)
    order = np.argsort(-probabilities, kind="stable")
    if settings.json:
        names = settings.exported.class_names
        result = {
            "files": {modality: str(path) for modality, path in settings.paths.items()},
            "modalities": settings.modalities,
            "frames": moments,
            "clips": settings.clips,
            "classes": [{"class": names[label], "probability": float(probabilities[label])} for label in order],
        }
        print(msgspec.json.encode(result).decode())
        return
    order = order[:_TOP]
    table = pd.DataFrame({"class": np.array(settings.exported.class_names)[order], "%": 100 * probabilities[order]})
    given = ", ".join(f"{modality} of {path}" for modality, path in settings.paths.items())
    print(f"{given}: {moments} frames, {settings.clips} clips; by {'+'.join(settings.modalities)}")
    print(table.to_string(index=False, formatters={"%": "{:.2f}".format}))


def main(values: flags.FlagValues) -> None:
    """Predicts the class of the video that the flags name."""
    predict(settings_from_flags(values))
