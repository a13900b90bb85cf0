"""Raw videos of a data set → folders of aligned, resized JPEG frames, for people who want images on disk.

    python data_prep/extract_frames.py --dataset=nwucla --data_dir=data/nwucla

writes `<frames_dir>/<video_id>/<modality>/000000.jpg …` and a `video.json` beside the modalities, with the same frames
that records hold; `make_tfrecords.py` does not need them. Complete videos whose raw files have not changed are kept, so
the same command continues an interrupted run.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from absl import flags

from data_prep.raw.base import RawVideo, Skipped
from data_prep.raw_settings import RawSettings, raw_flags, raw_settings_from_flags, video_flags
from data_prep.running.processes import run_parallel
from data_prep.summary import print_skipped
from data_prep.video.fingerprint import fingerprint
from data_prep.video.opening import shown
from data_prep.video.record import VideoSettings, make_frames, reason_of
from dmcl_tf.data.records import About
from dmcl_tf.errors import InputError, is_disk_full, run_script
from dmcl_tf.files import atomic_path, lock, read_json, remove_at_once, remove_stale, write_json
from dmcl_tf.flag_groups import dataset_flags, define, frame_flags

_VIDEO_FILE = "video.json"


def extract_video(video: RawVideo, *, settings: VideoSettings, frames_dir: Path) -> About | Skipped:
    """Writes `frames_dir/<video_id>`, unless it is complete and the raw files are those it was made from."""
    folder = frames_dir / video.video_id
    try:
        current = fingerprint(settings.sources(video), settings.description)
        existing = _read(folder)
        if existing and existing.fingerprint == current:
            return existing
        _check_is_ours(folder, [path for source in settings.sources(video).values() for path in source.files])
        frames, warnings, _ = make_frames(video, settings)
        count = len(next(iter(frames.values())))
        about = About(video.video_id, count, count, settings.size, settings.size, current, tuple(warnings))
        remove_at_once(folder)
        with atomic_path(folder) as unfinished:
            for modality, images in frames.items():
                (unfinished / modality).mkdir(parents=True)
                for index, image in enumerate(images):
                    (unfinished / modality / f"{index:06d}.jpg").write_bytes(image)
            write_json(unfinished / _VIDEO_FILE, about)
        return about
    except Exception as error:
        if is_disk_full(error):
            raise
        return Skipped(video.video_id, reason_of(error))


def _check_is_ours(folder: Path, raw: Sequence[Path]) -> None:
    """Raises `InputError` for a folder that would be replaced although it is not one that was written here before."""
    inside = any(path.resolve().is_relative_to(folder.resolve()) for path in raw)
    if inside or (folder.exists() and not (folder / _VIDEO_FILE).exists()):
        reason = "the raw files are in it" if inside else f"it has no {_VIDEO_FILE}, so that something else made it"
        raise InputError(f"{folder} would be replaced, but {reason}: choose another --frames_dir")


def _read(folder: Path) -> About | None:
    try:
        return read_json(folder / _VIDEO_FILE, About, "delete its folder")
    except InputError:
        return None


def extract_frames(
    videos: Sequence[RawVideo], frames_dir: Path, settings: VideoSettings, *, workers: int
) -> tuple[list[About], list[Skipped]]:
    """Extracts many videos in parallel processes; returns what there is now, and the videos that cannot be used."""
    work = partial(extract_video, settings=settings, frames_dir=frames_dir)
    with lock(frames_dir):
        remove_stale(frames_dir)
        results = list(run_parallel(work, videos, workers=workers, description="frames"))
    skipped = [result for result in results if isinstance(result, Skipped)]
    extracted = [result for result in results if isinstance(result, About)]
    return extracted, sorted(skipped, key=lambda entry: entry.video_id)


def frames_dir_flags(values: flags.FlagValues) -> None:
    """Where the frames go."""
    text = "folder of the resized frames; default: <data_dir>/frames/<frame size>"
    flags.DEFINE_string("frames_dir", None, text, flag_values=values)


FLAG_GROUPS = (dataset_flags, frame_flags, raw_flags, video_flags, frames_dir_flags)


def settings_from_flags(values: flags.FlagValues, *, data_root: Path = Path("data")) -> tuple[RawSettings, Path]:
    """Reads the flags: what is extracted, and into which folder."""
    raw = raw_settings_from_flags(values, data_root=data_root, with_flow=False)
    return raw, Path(values.frames_dir or raw.data_dir / "frames" / str(raw.videos.size))


def main() -> None:
    """Extracts every video of the data set and lists what was left out in `skipped.json`."""
    raw, frames_dir = settings_from_flags(flags.FLAGS)
    listing = raw.list_videos(raw.reader())
    extracted, unusable = extract_frames(listing.videos, frames_dir, raw.videos, workers=raw.workers)
    left_out = (*listing.skipped, *listing.excluded, *unusable)
    skipped = {shown(entry.video_id): shown(entry.reason) for entry in left_out}
    write_json(frames_dir / "skipped.json", skipped)
    print_skipped(skipped, f", listed in {frames_dir / 'skipped.json'}")
    print(f"{len(extracted)} videos in {frames_dir}")
    if not extracted:
        raise InputError(f"{raw.data_dir}: no video can be used")


if __name__ == "__main__":
    define(FLAG_GROUPS, flags.FLAGS)
    run_script(main)
