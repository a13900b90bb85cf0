"""A data set's raw folders → TFRecords ready for training: frames, optical flow, shards, `dataset.json`.

    python data_prep/make_tfrecords.py                                               # the demo data set
    python data_prep/make_tfrecords.py --dataset=nwucla --data_dir=data/nwucla

Whatever is complete is kept, so the same command continues an interrupted run and ends with the same bytes.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from pathlib import Path

from absl import flags

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
from data_prep.extract_video import fingerprint
from data_prep.flow.settings import FlowSettings, GivenFlowSettings
from data_prep.plan import Plan
from data_prep.record_settings import RecordSettings
from data_prep.splits import check_modalities, check_splits, split_videos
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
    check_splits(settings, splits)
    videos = {video.video_id: video for members in splits.values() for video in members}
    check_modalities(settings, videos.values())
    sources = {video_id: fingerprint(video) for video_id, video in videos.items()}
    if begun:
        begun.check_settings(output, settings.to_json())
        begun.check_sources(output, sources)
        if begun.is_complete(output):
            _print_summary(output)
            return
    # here, as they take TensorFlow: every worker process imports this script anew, and bad settings end before it
    from data_prep.description import describe, group_videos
    from data_prep.shards import plan_shards, write_shards

    extracted, left_out = extract_frames(list(videos.values()), data.frames_dir, data.frames, workers=data.workers)
    if isinstance(settings.flow, FlowSettings):
        left_out += extract_flow(data.frames_dir, sorted(extracted), settings.flow, workers=data.workers)
    unusable = {video.video_id for video in left_out}
    if len(unusable) == len(videos):
        raise InputError(f"{data.data_dir}: no video can be used; the first: {left_out[0].reason}")
    usable = {
        split: [extracted[video.video_id] for video in members if video.video_id not in unusable]
        for split, members in splits.items()
    }
    check_splits(settings, usable)
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
        workers=data.workers,
    )
    about_used = replace(listing, warnings=tuple(entry for entry in listing.warnings if entry.video_id in videos))
    report = report_left_out(about_used, extracted.values(), left_out)
    report["warnings"] += [asdict(warning) for warning in check_splits(settings, usable)]
    describe(settings, usable, written, report, group_videos(settings, usable, videos)).save(output)
    _print_summary(output)


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
    )


def _flow_from_flags(
    values: flags.FlagValues, data: DataSettings, modalities: tuple[str, ...]
) -> FlowSettings | GivenFlowSettings | None:
    recorded = data.dataset.recorded
    if "flow" not in modalities:
        return None
    if "flow" in recorded:
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
