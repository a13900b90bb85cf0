"""Folders of RGB frames → optical flow beside them, as three-channel JPEG images.

    python data_prep/extract_flow.py --frames_dir=data/nwucla/frames/256

adds `<video_id>/flow/000000.jpg …` to each `<video_id>/rgb/*.jpg`, equally many. The channels, as a decoder to red,
green, blue gives them, are those of `flow.encoding.encode_flow`: u, v and magnitude unless --flow_encoding says
otherwise. Any folder of that layout will do. Complete videos are kept, so the same command continues an interrupted
run.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep.flow.algorithms import ALGORITHMS, PRESETS, TVL1Parameters, compute_flow
from data_prep.flow.encoding import ENCODINGS, bound_in_pixels, encode_flow
from data_prep.flow.settings import FlowSettings, preset_settings
from data_prep.raw.base import Skipped
from data_prep.running.processes import Run, default_workers, run_parallel
from data_prep.video.extract_video import read_video_file
from data_prep.video.frames import encode_jpeg, read_image
from dmcl_tf.errors import InputError, run_script
from dmcl_tf.files import atomic_path, is_partial, record_settings, remove, write_json

_SETTINGS_FILE = "flow.json"
_THROUGHPUT_FILE = "flow_throughput.json"


@dataclass(frozen=True)
class ExtractedFlow:
    """The flow of one video: its folder's name and how many flow fields were computed now (0: it was complete)."""

    video_id: str
    computed: int


def extract_video_flow(folder: Path, *, settings: FlowSettings) -> ExtractedFlow | Skipped:
    """Writes `folder/flow`, unless it already has as many images as the folder of the source modality.

    Frames by which a short video was padded get its last flow, as the authors pad each modality by itself.
    """
    source = folder / settings.source
    images = sorted(source.glob("*.jpg"))
    if not images:
        return Skipped(folder.name, f"{source}: no .jpg frames there")
    if len(list((folder / "flow").glob("*.jpg"))) == len(images):
        return ExtractedFlow(folder.name, 0)
    remove(folder / "flow")
    video = read_video_file(folder)
    try:
        frames = [_read_grey(path) for path in images[: video.frames if video else None]]
    except InputError as error:
        return Skipped(folder.name, str(error))
    if len({frame.shape for frame in frames}) > 1:
        return Skipped(folder.name, f"{source}: the frames differ in size")
    bound = bound_in_pixels(settings.bound, *frames[0].shape)
    with atomic_path(folder / "flow") as unfinished:
        unfinished.mkdir()
        content = b""
        algorithm = ALGORITHMS[settings.algorithm].make(settings.parameters)
        for index, flow in enumerate(compute_flow(frames, algorithm)):
            blue_green_red = encode_flow(flow, bound, settings.encoding)[..., ::-1]
            # halved chroma would blur u and v, which are independent channels here
            content = encode_jpeg(np.ascontiguousarray(blue_green_red), settings.quality, full_chroma=True)
            (unfinished / images[index].name).write_bytes(content)
        for image in images[len(frames) :]:
            (unfinished / image.name).write_bytes(content)
    return ExtractedFlow(folder.name, len(frames) - 1)


def _read_grey(path: Path) -> np.ndarray:
    image = read_image(path)
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def extract_flow(
    frames_dir: Path, video_ids: Sequence[str], settings: FlowSettings, *, workers: int, run: Run = run_parallel
) -> list[Skipped]:
    """Computes the flow of many videos in parallel processes; prints and records the throughput.

    Returns:
        The videos that have no readable frames of the source modality.

    Raises:
        InputError: `frames_dir` holds flow made with other settings.
    """
    remedy = f"use another --frames_dir, or delete {frames_dir / _SETTINGS_FILE} and the flow folders beside it"
    record_settings(frames_dir / _SETTINGS_FILE, asdict(settings), remedy)
    start = time.monotonic()
    work = partial(extract_video_flow, settings=settings)
    folders = [frames_dir / video_id for video_id in video_ids]
    results = list(run(work, folders, workers=workers, description="optical flow"))
    seconds = time.monotonic() - start
    computed = sum(result.computed for result in results if isinstance(result, ExtractedFlow))
    if computed:
        throughput = {
            "algorithm": settings.algorithm,
            "preset": settings.preset,
            "flow_fields": computed,
            "seconds": round(seconds, 2),
            "processes": workers,
            "flow_fields_per_second": round(computed / seconds, 2),
        }
        write_json(frames_dir / _THROUGHPUT_FILE, throughput)
        print(
            f"optical flow ({settings.algorithm}, {settings.preset}): {computed} frame pairs in {seconds:.1f} s = "
            f"{computed / seconds:.1f} per second with {workers} processes"
        )
    skipped = (result for result in results if isinstance(result, Skipped))
    return sorted(skipped, key=lambda video: video.video_id)


_HELP = {
    "tau": "time step of the numerical scheme",
    "lambda_": "weight of the data term: larger follows the images closer, smaller gives smoother flow",
    "theta": "tightness between the data and the smoothness term",
    "nscales": "levels of the image pyramid",
    "warps": "warpings per level",
    "epsilon": "stop iterating when a step changes the flow by less",
    "inner_iterations": "iterations between two outlier filterings",
    "outer_iterations": "outlier filterings per warping",
    "scale_step": "size of a pyramid level relative to the next finer one",
    "gamma": "weight of illumination changes, 0 = none",
    "median_filtering": "width of the outlier filter in pixels: 1 (none), 3 or 5",
}


def define_flow_flags(flag_values: flags.FlagValues) -> None:
    """Flags of every script that computes flow."""
    flags.DEFINE_enum(
        "flow_algorithm",
        FlowSettings.algorithm,
        list(ALGORITHMS),
        "How optical flow is computed: TV-L1, dense inverse search (the fastest), Farnebäck's method, or a variational "
        "method in the manner of Liu et al., which the paper used.",
        flag_values=flag_values,
    )
    flags.DEFINE_enum(
        "flow_preset",
        None,
        PRESETS,
        "The algorithm's parameters: its authors' or OpenCV's (default), or several times faster at nearly the same "
        "accuracy (fast) [default; make_tfrecords.py takes fast at --scale=compact].",
        flag_values=flag_values,
    )
    flags.DEFINE_list(
        "flow_parameters",
        [],
        "Single parameters instead of the preset's, as name=value, separated by commas, e.g. "
        "--flow_algorithm=brox_liu --flow_parameters=alpha=0.03,outer_iterations=3; flow.json lists them all.",
        flag_values=flag_values,
    )
    flags.DEFINE_enum(
        "flow_encoding",
        FlowSettings.encoding,
        list(ENCODINGS),
        "The three channels of a flow image: u, v and magnitude; u, v and a constant; or direction and magnitude as a "
        "colour. Flow that comes with a data set is taken as it is; give what it is encoded as.",
        flag_values=flag_values,
    )
    flags.DEFINE_float(
        "flow_bound",
        FlowSettings.bound,
        "Largest displacement that is kept, in pixels of a 256-pixel frame; it scales with the frame size.",
        1e-3,
        flag_values=flag_values,
    )
    for parameter in fields(TVL1Parameters):
        name = f"tvl1_{parameter.name.rstrip('_')}"
        help_text = f"TV-L1: {_HELP[parameter.name]} [OpenCV: {parameter.default}; or the preset's]."
        if parameter.name == "median_filtering":
            flags.DEFINE_enum(name, None, ["1", "3", "5"], help_text, flag_values=flag_values)
        elif isinstance(parameter.default, int):
            flags.DEFINE_integer(name, None, help_text, 1, flag_values=flag_values)
        elif parameter.name == "scale_step":
            flags.DEFINE_float(name, None, help_text, 0.1, 0.95, flag_values=flag_values)
        else:
            flags.DEFINE_float(name, None, help_text, 0.0, flag_values=flag_values)


def flow_settings_from_flags(values: flags.FlagValues, *, default_preset: str) -> FlowSettings:
    """Returns the preset's parameters, single ones overridden by flags.

    Raises:
        InputError: a parameter that the algorithm does not have, or a value that is none.
    """
    settings = preset_settings(
        values.flow_algorithm,
        values.flow_preset or default_preset,
        bound=values.flow_bound,
        quality=values.jpeg_quality,
        encoding=values.flow_encoding,
    )
    parameters = dict(settings.parameters)
    for name, value in _given_parameters(values):
        if name not in parameters:
            raise InputError(
                f"--flow_algorithm={settings.algorithm} has no parameter {name!r}; it has {', '.join(parameters)}"
            )
        kind = type(parameters[name])
        try:
            parameters[name] = kind(value)
        except ValueError:
            expected = "a whole number" if kind is int else "a number"
            raise InputError(f"--flow_parameters={name}={value}: expected {expected}") from None
    return replace(settings, parameters=parameters)


def _given_parameters(values: flags.FlagValues) -> Iterator[tuple[str, object]]:
    """Yields name and value of each single parameter that flags give."""
    for name in (parameter.name for parameter in fields(TVL1Parameters)):
        value = values[f"tvl1_{name.rstrip('_')}"].value
        if value is not None:
            if values.flow_algorithm != "tvl1":
                raise InputError(f"--tvl1_{name.rstrip('_')} goes with --flow_algorithm=tvl1 alone")
            yield name, value
    for text in values.flow_parameters:
        name, _, value = text.partition("=")
        yield name, value


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_string(
        "frames_dir", "data/demo/frames/80", "The folder that holds <video_id>/rgb/*.jpg.", flag_values=flag_values
    )
    flags.DEFINE_integer("jpeg_quality", 95, "Quality of the flow images.", 1, 100, flag_values=flag_values)
    flags.DEFINE_integer("workers", None, "Parallel processes [one per core].", 1, flag_values=flag_values)
    define_flow_flags(flag_values)


def main() -> None:
    """Adds flow to every video of the folder; a video that cannot be read is named, and the rest is done."""
    values = flags.FLAGS
    frames_dir = Path(values.frames_dir)
    folders = frames_dir.iterdir() if frames_dir.is_dir() else ()
    video_ids = sorted(folder.name for folder in folders if folder.is_dir() and not is_partial(folder))
    if not video_ids:
        raise InputError(
            f"--frames_dir={frames_dir}: no video folders there; make them with data_prep/extract_frames.py"
        )
    settings = flow_settings_from_flags(values, default_preset="default")
    skipped = extract_flow(frames_dir, video_ids, settings, workers=values.workers or default_workers())
    for video in skipped:
        print(f"skipped: {video.reason}", file=sys.stderr)
    print(f"{len(video_ids) - len(skipped)} videos with flow in {frames_dir}; {len(skipped)} skipped")
    if len(skipped) == len(video_ids):
        raise InputError(f"--frames_dir={frames_dir}: no video could be used")


if __name__ == "__main__":
    define_flags()
    run_script(main)
