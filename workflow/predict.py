"""Predicts the class of one video with an exported model.

    bash run.sh predict --model=exported/custom/dmcl/authors-compact-seed0 --rgb=clip.avi

The model has a flag for each of its modalities, and any of them will do: a video file, a folder of images, a MATLAB or
NumPy volume, prepared as the records were. Flow is given as images of flow, as the records hold them. As in the
evaluation, several clips of the video are drawn and their logits averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from absl import flags

from data_prep.raw.base import RawVideo
from data_prep.video.alignment import AlignedReader
from data_prep.video.depth import DepthSettings
from data_prep.video.given_flow import accept_given_flow
from data_prep.video.record import FrameEncoder, VideoSettings
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
    """

    model: Path
    exported: Exported
    paths: Mapping[str, Path]
    clips: int = 10


def find_model(folder: Path) -> tuple[Path, Exported]:
    """The folder of a SavedModel, the newest version where `folder` holds several, and what it was made from.

    Raises:
        InputError: there is none of this project.
    """
    for path in (folder, *find_versions(folder)[::-1]):
        if (path / "saved_model.pb").exists():
            return path, read_exported(path)
    raise InputError(f"--model={folder}: no exported model there; expected exported/<data set>/<method>/<run>")


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
    sources = accept_given_flow(video.sources)
    moments = sum(1 for _ in AlignedReader(sources, settings.length_tolerance))
    drawn = draw_clips(video.video_id, max(moments, MINIMUM_FRAMES), clips=clips, frames=frames)
    indices = np.minimum(drawn, moments - 1)  # a short video repeats its last frame
    encoders = {modality: FrameEncoder(modality, source, settings) for modality, source in sources.items()}
    result = {m: np.empty((clips, frames, settings.size, settings.size, 3), np.uint8) for m in sources}
    for index, moment in enumerate(AlignedReader(sources, settings.length_tolerance)):
        if not (indices == index).any():
            continue
        for modality, frame in moment.items():
            image = encoders[modality](frame)
            result[modality][indices == index] = image[..., None] if image.ndim == 2 else image[..., ::-1]
    return result, moments


def predict_video(settings: PredictSettings) -> tuple[np.ndarray, int]:
    """Class probabilities (C,) of one video, and how many moments it has.

    The probabilities are the softmax of logits averaged over clips and modalities, as in the evaluation.

    Raises:
        InputError: a file cannot be read.
    """
    config = settings.exported.config
    modalities = tuple(modality for modality in config.modalities if modality in settings.paths)
    prepared = video_settings(settings.exported, modalities)
    sources, left_out = open_sources({modality: settings.paths[modality] for modality in modalities})
    for line in left_out:
        print(f"warning: {line}")
    video = RawVideo(settings.paths[modalities[0]].stem, "", sources)
    clips, moments = read_clips(video, prepared, clips=settings.clips, frames=config.clip_frames)
    check_files(settings.model, settings.exported)

    import tensorflow as tf  # after all that can be wrong with the files

    subsets = {subset: name for name, subset in name_signatures(config.modalities).items()}
    served = tf.saved_model.load(str(settings.model)).signatures[subsets[modalities]]
    logits = served(**{modality: tf.constant(clip) for modality, clip in clips.items()})["logits"].numpy()
    return softmax(logits.mean(axis=0)), moments


def video_settings(exported: Exported, modalities: tuple[str, ...]) -> VideoSettings:
    """How the frames of some modalities are prepared: as the records that the model was trained on."""
    depth: dict[str, Any] = dict(exported.depth or {})
    distances = tuple(depth.pop("modalities", ()))
    return VideoSettings(
        modalities, exported.config.frame_size, depth=DepthSettings(**depth), depth_modalities=distances
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
    return PredictSettings(model, exported, paths, values["clips"].value)


def predict(settings: PredictSettings) -> None:
    """Prints the likeliest classes of a video."""
    probabilities, moments = predict_video(settings)
    order = np.argsort(-probabilities, kind="stable")[:_TOP]
    table = pd.DataFrame({"class": np.array(settings.exported.class_names)[order], "%": 100 * probabilities[order]})
    given = ", ".join(f"{modality} of {path}" for modality, path in settings.paths.items())
    print(f"{given}: {moments} frames, {settings.clips} clips")
    print(table.to_string(index=False, formatters={"%": "{:.2f}".format}))


def main(values: flags.FlagValues) -> None:
    """Predicts the class of the video that the flags name."""
    predict(settings_from_flags(values))
