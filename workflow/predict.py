"""Predicts the class of one video with an exported model.

    python -m workflow.predict --model=exported/custom/dmcl/authors-compact-seed0/1 --rgb=clip.avi

The model has a flag for each of its modalities, and any of them will do: a video file, a folder of frames or a MATLAB
volume, prepared as the records were. Flow is given as images of flow, as the records hold them. As in the evaluation,
several clips of the video are drawn and their logits averaged.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from absl import flags

from data_prep.video.alignment import AlignedReader
from data_prep.video.depth import DepthSettings
from data_prep.video.extract_video import MINIMUM_FRAMES, FrameEncoder, FrameSettings
from data_prep.video.given_flow import accept_given_flow
from data_prep.video.sources import Source, open_source
from dmcl_tf.data.records import draw_clips
from dmcl_tf.errors import InputError, ending_in_one_line, run_script
from dmcl_tf.export import RECORD
from dmcl_tf.scoring.accuracy import softmax

_TOP = 5


def find_version(model: Path) -> tuple[Path, dict]:
    """The folder of a SavedModel, the newest version where `model` holds several, and what it was made from.

    Raises:
        InputError: there is none of this project.
    """
    versions = sorted((path for path in model.glob("*") if path.name.isdigit()), key=lambda path: int(path.name))
    for path in (model, *versions[::-1]):
        try:
            return path, json.loads((path / RECORD).read_text(encoding="utf-8"))
        except OSError:
            continue
        except ValueError as error:
            raise InputError(f"{path / RECORD} is not JSON ({error}): export the run again") from None
    raise InputError(f"--model={model}: no exported model there; expected exported/<data set>/<method>/<run>")


def read_clips(
    sources: Mapping[str, Source], name: str, settings: FrameSettings, *, clips: int, frames: int
) -> tuple[dict[str, np.ndarray], int]:
    """Reads the frames of the clips by which a video is judged; everything else is decoded and forgotten.

    Args:
        sources: of each modality.
        name: seeds the choice of frames, as the video id does in the evaluation.
        settings: how frames are prepared.
        clips: their number.
        frames: of each clip.

    Returns:
        Clips (clips, frames, size, size, 3) uint8 (red, green, blue) by modality; and the number of moments.

    Raises:
        InputError: a source cannot be read.
    """
    sources = accept_given_flow(sources)
    moments = sum(1 for _ in AlignedReader(sources, settings.length_tolerance))
    drawn = draw_clips(name, max(moments, MINIMUM_FRAMES), clips=clips, frames=frames)
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


def predict(
    model: Path, record: Mapping[str, object], sources: Mapping[str, Source], name: str, *, clips: int
) -> tuple[np.ndarray, int]:
    """Class probabilities (C,) of one video, and how many moments it has.

    The probabilities are the softmax of logits averaged over clips and modalities, as in the evaluation.

    Args:
        model: folder of the SavedModel.
        record: what it was made from.
        sources: of some of its modalities.
        name: of the video.
        clips: how many to average over.
    """
    config, depth = record["config"], dict(record["depth"] or {})
    depth_modalities = tuple(depth.pop("modalities", ()))
    settings = FrameSettings(
        "predict", config["frame_size"], depth=DepthSettings(**depth), depth_modalities=depth_modalities
    )
    inputs, moments = read_clips(sources, name, settings, clips=clips, frames=config["clip_frames"])
    subset = [modality for modality in config["modalities"] if modality in sources]
    signature = tf.saved_model.load(str(model)).signatures["_".join(subset)]
    probabilities = signature(**{m: tf.constant(inputs[m]) for m in subset})["probabilities"].numpy()
    # logits but for a constant of each clip, which the softmax does not see
    return softmax(np.log(np.maximum(probabilities, 1e-30)).mean(axis=0)), moments


def define_flags(flag_values: flags.FlagValues = flags.FLAGS, arguments: Sequence[str] = ()) -> None:
    """Defines the script's flags, with those of the modalities of the model that the arguments name."""
    flags.DEFINE_string("model", None, "exported model, exported/<data set>/<method>/<run>", flag_values=flag_values)
    flags.DEFINE_integer("clips", 10, "clips to average over", 1, flag_values=flag_values)
    named = flags.FlagValues()
    flags.DEFINE_string("model", None, "", flag_values=named)
    named(["predict", *arguments], known_only=True)
    if not named["model"].value:
        return
    for modality in find_version(Path(named["model"].value))[1]["config"]["modalities"]:
        text = f"the video's {modality}: a video file, a folder of frames or a MATLAB volume"
        try:
            flags.DEFINE_string(modality, None, text, flag_values=flag_values)
        except flags.DuplicateFlagError:
            raise InputError(f"the modality {modality!r} has the name of another flag: it cannot be given") from None


def main() -> None:
    """Prints the likeliest classes of the video that the flags name."""
    values = flags.FLAGS
    if not values.model:
        raise InputError("--model is missing: expected an exported model, exported/<data set>/<method>/<run>")
    model, record = find_version(Path(values.model))
    modalities = record["config"]["modalities"]
    paths = {modality: Path(values[modality].value) for modality in modalities if values[modality].value}
    if not paths:
        raise InputError(f"no video: give one or more of {', '.join(f'--{modality}' for modality in modalities)}")
    sources = {modality: open_source(path) for modality, path in paths.items()}
    name = next(iter(paths.values())).stem
    probabilities, moments = predict(model, record, sources, name, clips=values.clips)
    order = np.argsort(-probabilities, kind="stable")[:_TOP]
    table = pd.DataFrame({"class": np.array(record["class_names"])[order], "%": 100 * probabilities[order]})
    given = ", ".join(f"{modality} of {path}" for modality, path in paths.items())
    print(f"{given}: {moments} frames, {values.clips} clips")
    print(table.to_string(index=False, formatters={"%": "{:.2f}".format}))


if __name__ == "__main__":
    with ending_in_one_line():
        define_flags(arguments=sys.argv[1:])
    run_script(main)
