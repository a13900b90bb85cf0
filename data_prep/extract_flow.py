"""Folders of RGB frames → optical flow beside them, as three-channel JPEG images.

    python data_prep/extract_flow.py --frames_dir=data/nwucla/frames/256

adds `<video_id>/flow/000000.jpg …` to each `<video_id>/rgb/*.jpg`, equally many. The channels, as a decoder to red,
green, blue gives them, are those of `flow.encoding.encode_flow`: u, v and magnitude unless --flow_encoding says
otherwise. Any folder of that layout will do. Complete videos are kept, so the same command continues an interrupted
run. `make_tfrecords.py` does not need it: it computes flow from the frames before they become JPEGs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from absl import flags

from data_prep.flow.settings import FlowSettings
from data_prep.flow_flags import flow_flags, flow_settings_from_flags
from data_prep.raw.base import Skipped
from data_prep.running.processes import default_workers, run_parallel
from data_prep.video.frames import read_image
from data_prep.video.record import flow_images, reason_of
from data_prep.video.sources import natural_order
from dmcl_tf.datasets import DATASETS
from dmcl_tf.errors import InputError, is_disk_full, run_script
from dmcl_tf.files import atomic_path, lock, read_json, remove, remove_stale, write_json
from dmcl_tf.flag_groups import define

_SETTINGS_FILE = "flow.json"


def extract_video_flow(folder: Path, *, settings: FlowSettings) -> int | Skipped:
    """Writes `folder/flow`, unless it already has as many images as the folder of the source modality.

    Returns:
        How many images were written now, or why there is no flow.
    """
    source = folder / settings.source
    try:
        paths = sorted(source.glob("[!.]*.jpg"), key=lambda path: natural_order(path.name))
        if not paths:
            raise InputError(f"{source}: no .jpg frames there")
        if len(list((folder / "flow").glob("*.jpg"))) == len(paths):
            return 0
        images = [read_image(path) for path in paths]
        if len({image.shape[:2] for image in images}) > 1:
            raise InputError(f"{source}: the frames differ in size")
        remove(folder / "flow")
        with atomic_path(folder / "flow") as unfinished:
            unfinished.mkdir()
            for path, content in zip(paths, flow_images(images, settings)):
                (unfinished / path.name).write_bytes(content)
        return len(paths)
    except Exception as error:
        if is_disk_full(error):
            raise
        return Skipped(folder.name, reason_of(error))


def extract_flow(frames_dir: Path, video_ids: Sequence[str], settings: FlowSettings, *, workers: int) -> list[Skipped]:
    """Computes the flow of many videos in parallel processes; returns those that have no readable frames.

    Raises:
        InputError: `frames_dir` holds flow made with other settings.
    """
    path = frames_dir / _SETTINGS_FILE
    with lock(frames_dir):
        remove_stale(frames_dir)
        if path.exists() and read_json(path, dict, f"delete it and the flow folders in {frames_dir}") != asdict(
            settings
        ):
            raise InputError(
                f"{path} says that the flow there was made with other settings: delete it and the flow folders beside "
                "it, or use another --frames_dir"
            )
        if not path.exists():
            foreign = next((flow for name in video_ids if (flow := frames_dir / name / "flow").exists()), None)
            if foreign:
                raise InputError(
                    f"{foreign} is there, but no {path} that says how it was made: move it away, or use another "
                    "--frames_dir"
                )
        write_json(path, settings)
        work = partial(extract_video_flow, settings=settings)
        folders = [frames_dir / video_id for video_id in video_ids]
        results = list(run_parallel(work, folders, workers=workers, description="optical flow"))
    skipped = (result for result in results if isinstance(result, Skipped))
    return sorted(skipped, key=lambda video: video.video_id)


def own_flags(values: flags.FlagValues) -> None:
    """Where the frames are."""
    text = "folder that holds <video_id>/rgb/*.jpg"
    size = DATASETS["demo"].defaults["frame_size"]
    flags.DEFINE_string("frames_dir", f"data/demo/frames/{size}", text, flag_values=values)
    flags.DEFINE_integer("jpeg_quality", 95, "quality of the flow images", 1, 100, flag_values=values)
    flags.DEFINE_integer("workers", None, "parallel processes; default: one for each core", 1, flag_values=values)


FLAG_GROUPS = (own_flags, flow_flags)


def main() -> None:
    """Adds flow to every video of the folder; a video that cannot be read is named, and the rest is done."""
    values = flags.FLAGS
    frames_dir = Path(values.frames_dir)
    folders = frames_dir.iterdir() if frames_dir.is_dir() else ()
    video_ids = sorted(folder.name for folder in folders if folder.is_dir() and folder.suffix != ".partial")
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
    define(FLAG_GROUPS, flags.FLAGS)
    run_script(main)
