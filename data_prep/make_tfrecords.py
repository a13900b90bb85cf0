"""A data set's raw folders → TFRecords ready for training: frames, optical flow, shards, `dataset.json`.

    python data_prep/make_tfrecords.py                                               # the demo data set
    python data_prep/make_tfrecords.py --dataset=nwucla --data_dir=data/nwucla

Whatever is complete is kept, so the same command continues an interrupted run and ends with the same bytes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from absl import flags
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep import dataset_flags
from data_prep import extract_flow as extract_flow_script
from data_prep import extract_frames as extract_frames_script
from data_prep.dataset_flags import define_dataset_flags, read_dataset_flags
from data_prep.extract_flow import define_flow_flags, extract_flow, flow_settings_from_flags
from data_prep.extract_frames import (
    DataSettings,
    define_data_flags,
    extract_frames,
    list_raw_videos,
    report_left_out,
)
from data_prep.flow.settings import FlowSettings, GivenFlowSettings
from data_prep.plan import Plan
from data_prep.raw.base import Skipped, Video
from data_prep.record_settings import RecordSettings
from data_prep.running import disk
from data_prep.splits import check_modalities, check_splits, split_videos
from data_prep.video.extract_video import ExtractedVideo, fingerprint, read_video_file, remove_frames
from dmcl_tf.errors import InputError, run_script


def make_records(settings: RecordSettings) -> None:
    """Makes the records, or what is missing of them.

    Raises:
        InputError: the raw data are missing or unusable, or a folder holds results of other settings.
    """
    data, output = settings.data, settings.output
    begun = Plan.load(output)
    try:
        listing = list_raw_videos(data.dataset, data.data_dir, workers=data.workers)
    except InputError as error:
        if begun and begun.is_complete(output):
            begun.check_settings(output, settings.to_json())
            print(f"the records are complete, so they are kept although the raw data cannot be read ({error})")
            _print_summary(output)
            return
        raise
    splits = split_videos(settings, listing.videos)
    check_splits(settings, splits, listing.skipped)
    videos = {video.video_id: video for members in splits.values() for video in members}
    check_modalities(settings, videos.values())
    progress = tqdm(videos.items(), desc="raw files", unit="video", delay=5, dynamic_ncols=True)
    sources = {video_id: fingerprint(video) for video_id, video in progress}
    if begun:
        begun.check_settings(output, settings.to_json())
        begun.check_sources(output, sources)
        if begun.is_complete(output):
            if not settings.keep_frames:  # in case that their removal was interrupted
                for video_id in videos:
                    remove_frames(data.frames_dir / video_id)
            _print_summary(output)
            return
    kept = complete_videos(settings, begun, sources)
    missing = [video for video_id, video in videos.items() if video_id not in kept]
    check_disk(settings, missing)
    extracted, left_out = make_frames(settings, missing)
    extracted.update(kept)
    # here, as they take TensorFlow: every worker process imports this script anew, and bad input ends before it
    from data_prep.description import describe, group_videos
    from data_prep.shards import plan_shards, write_shards

    unusable = {video.video_id for video in left_out}
    if len(unusable) == len(videos):
        raise InputError(f"{data.data_dir}: no video can be used; the first: {left_out[0].reason}")
    usable = {
        split: [extracted[video.video_id] for video in members if video.video_id not in unusable]
        for split, members in splits.items()
    }
    check_splits(settings, usable, [*left_out, *listing.skipped])
    shards = plan_shards(usable, settings.videos_per_shard)
    shard_ids = {name: [video.video_id for video in members] for name, members in shards.items()}
    plan = Plan(settings.to_json(), sources, shard_ids)
    if begun and begun.shards != plan.shards:
        raise InputError(f"{output} holds records of other frames: delete it and run the same command again")
    plan.save(output)
    written = write_shards(
        shards,
        frames_dir=data.frames_dir,
        output=output,
        modalities=settings.modalities,
        size=data.frames.size,
        workers=min(data.workers, settings.max_open),
        keep_frames=settings.keep_frames,
        run=settings.run(at_once=settings.max_open),
    )
    about_used = replace(listing, warnings=tuple(entry for entry in listing.warnings if entry.video_id in videos))
    report = report_left_out(about_used, extracted.values(), left_out)
    report["warnings"] += [asdict(warning) for warning in check_splits(settings, usable)]
    describe(settings, usable, written, report, group_videos(settings, usable, videos)).save(output)
    _print_summary(output)


def complete_videos(
    settings: RecordSettings, begun: Plan | None, sources: Mapping[str, str]
) -> dict[str, ExtractedVideo]:
    """Returns the videos whose shards an interrupted run completed: their frames are no longer needed."""
    stored = {
        video_id: read_video_file(settings.data.frames_dir / video_id)
        for video_id in (begun.complete_videos(settings.output) if begun else ())
    }
    return {video_id: video for video_id, video in stored.items() if video and video.fingerprint == sources[video_id]}


def check_disk(settings: RecordSettings, videos: Sequence[Video]) -> None:
    """Predicts the disk space that the work will take, from the frames of a few of the videos, which are kept.

    Raises:
        InputError: it is not there.
    """
    data = settings.data
    sampled, _ = extract_frames(
        disk.sample(videos), data.frames_dir, data.frames, workers=1, description="frames of a sample"
    )
    if not sampled:
        return
    computed = {"flow": settings.flow.source} if isinstance(settings.flow, FlowSettings) else {}
    sizes = [
        disk.measure(data.frames_dir / video_id, video, settings.modalities, computed)
        for video_id, video in sampled.items()
    ]
    folders = [data.frames_dir / video.video_id for video in videos]
    lacking = [folder for folder in folders if not all((folder / name).is_dir() for name in settings.modalities)]
    need = disk.predict(
        sizes,
        to_extract=len(lacking),
        to_record=len(videos),
        at_once=None if settings.keep_frames else settings.max_open * settings.videos_per_shard,
    )
    disk.check_space({data.frames_dir: need.frames, settings.output: need.record}, ignore=settings.ignore_disk_space)


def make_frames(settings: RecordSettings, videos: Sequence[Video]) -> tuple[dict[str, ExtractedVideo], list[Skipped]]:
    """Makes frames and, where it is computed, flow; returns what was made and which videos cannot be used."""
    data = settings.data
    extracted, left_out = extract_frames(videos, data.frames_dir, data.frames, workers=data.workers, run=settings.run())
    if isinstance(settings.flow, FlowSettings):
        left_out += extract_flow(
            data.frames_dir, sorted(extracted), settings.flow, workers=data.workers, run=settings.run()
        )
    return extracted, left_out


def _print_summary(output: Path) -> None:
    from data_prep.description import print_summary

    print_summary(output)


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    define_data_flags(flag_values)
    flags.DEFINE_string("output", None, "Where the records go [<data_dir>/records/<size>].", flag_values=flag_values)
    flags.DEFINE_list(
        "modalities",
        None,
        "What each record holds, separated by commas. Flow that the data set does not have is computed, and only where "
        "it is named [rgb,depth,flow; own data: the columns of the CSV file, and flow where --flow_from is given].",
        flag_values=flag_values,
    )
    flags.DEFINE_string("flow_from", None, "The modality that flow is computed from [rgb].", flag_values=flag_values)
    define_dataset_flags("protocol", flag_values)
    flags.DEFINE_integer(
        "videos_per_shard",
        64,
        "Videos per file. Many files shuffle better, few are read faster.",
        1,
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "limit",
        0,
        "Keep at most this many videos per class and split, for a quick try; 0 = all.",
        0,
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "origin",
        None,
        'Where the raw frames come from, in words for the result tables, e.g. "rendered from skeletons" [the title of '
        "the data set].",
        flag_values=flag_values,
    )
    flags.DEFINE_boolean(
        "keep_frames",
        True,
        "Keep the frames of a video once its shard is complete; without them, records of another protocol start anew.",
        flag_values=flag_values,
    )
    flags.DEFINE_integer(
        "max_open", None, "Shards that are written at once, at most [--workers].", 1, flag_values=flag_values
    )
    flags.DEFINE_boolean(
        "ignore_disk_space", False, "Begin although the disk seems to be too small.", flag_values=flag_values
    )
    flags.DEFINE_enum(
        "runner",
        "local",
        ["local", "beam"],
        "Where frames, flow and records are made: in processes on this machine, or as an Apache Beam pipeline, on "
        "Dataflow, Flink or Spark; its workers must see the same folders. Needs requirements-beam.txt.",
        flag_values=flag_values,
    )
    flags.DEFINE_string(
        "beam_options",
        "",
        "Beam's pipeline options, e.g. --beam_options='--runner=FlinkRunner --flink_master=host:8081' [run on this "
        "machine].",
        flag_values=flag_values,
    )
    define_flow_flags(flag_values)
    # for --help, which lists a module's own flags
    for module in (dataset_flags, extract_frames_script, extract_flow_script):
        flags.adopt_module_key_flags(module, flag_values)


def settings_from_flags(values: flags.FlagValues) -> RecordSettings:
    """Reads the flags, with the defaults of the data set filled in.

    Raises:
        InputError: a list holds something else than it should.
    """
    data = DataSettings.from_flags(values)
    default = data.dataset.modalities
    if values.flow_from and "flow" not in default:
        default = (*default, "flow")
    modalities = default if values.modalities is None else tuple(values.modalities)
    if not modalities or "" in modalities or len(set(modalities)) < len(modalities):
        raise InputError(f"--modalities={','.join(modalities)}: expected different names, separated by commas")
    if values.beam_options and values.runner != "beam":
        raise InputError("--beam_options goes with --runner=beam alone")
    # data sets that share a folder do not share their records
    prefix = f"{data.dataset.name}-" if data.dataset.family else ""
    return RecordSettings(
        data=data,
        output=Path(values.output or data.data_dir / "records" / f"{prefix}{data.frames.size}"),
        protocol=read_dataset_flags("protocol", data.dataset, values),
        modalities=modalities,
        flow=_flow_from_flags(values, data, modalities),
        videos_per_shard=values.videos_per_shard,
        limit=values.limit,
        origin=values.origin or data.dataset.title,
        keep_frames=values.keep_frames,
        max_open=values.max_open or data.workers,
        ignore_disk_space=values.ignore_disk_space,
        beam_options=values.beam_options if values.runner == "beam" else None,
    )


def _flow_from_flags(
    values: flags.FlagValues, data: DataSettings, modalities: tuple[str, ...]
) -> FlowSettings | GivenFlowSettings | None:
    recorded = data.dataset.recorded
    if "flow" not in modalities:
        return None
    if "flow" in recorded:
        if values.flow_from:
            raise InputError(
                f"--flow_from={values.flow_from}: {data.dataset.title} bring their flow; leave one of them out"
            )
        return GivenFlowSettings(values.flow_encoding if values["flow_encoding"].present else None)
    source = values.flow_from or "rgb"
    if source not in recorded:
        raise InputError(
            f"flow cannot be computed from {source!r}, which {data.dataset.title} do not have: give --flow_from="
            f"{'|'.join(recorded)}"
        )
    preset = "fast" if data.scale == "compact" else "default"
    return replace(flow_settings_from_flags(values, default_preset=preset), source=source)


def main() -> None:
    """Makes the records."""
    make_records(settings_from_flags(flags.FLAGS))


if __name__ == "__main__":
    define_flags()
    run_script(main)
