"""Checks a data set's raw files before any work: what is there, what is missing, what cannot be read.

    python data_prep/check_dataset.py --dataset=ntu60 --data_dir=data/ntu
    python data_prep/check_dataset.py --dataset=custom --videos=videos.csv --full

looks at names, headers and declared lengths, or with --full decodes every frame as extraction would. Prints what was
found per class, view and subject beside the published numbers, then a line for each thing that is wrong. Nothing is
written. Ends with status 1 where something is wrong, and 0 where nothing is.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import pandas as pd
from absl import flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_prep import extract_frames as extract_frames_script
from data_prep.extract_frames import DataSettings, define_data_flags, list_videos
from data_prep.raw.base import Dataset, Listing, Skipped, Video
from data_prep.running.processes import run_parallel
from data_prep.video.alignment import AlignedReader, allowed_difference
from data_prep.video.extract_video import FrameEncoder, FrameSettings, peculiarities
from data_prep.video.given_flow import accept_given_flow
from dmcl_tf.errors import InputError, run_script


def check_headers(video: Video, *, settings: FrameSettings) -> list[Skipped]:
    """What sizes, headers and declared lengths say of a video, without decoding: a line for each fault."""
    problems = [problem for source in video.sources.values() for problem in source.problems()]
    if not problems:
        try:
            sources = accept_given_flow(video.sources)
            lengths = {modality: source.declared_length() for modality, source in sources.items()}
        except InputError as error:
            return [Skipped(video.video_id, str(error))]
        known = [length for length in lengths.values() if length is not None]
        longest = max(known, default=0)
        if known and longest - min(known) > allowed_difference(longest, settings.length_tolerance):
            counts = ", ".join(f"{modality} {length}" for modality, length in lengths.items())
            problems.append(f"{video.video_id}: the modalities differ in their number of frames ({counts})")
    return [Skipped(video.video_id, problem) for problem in problems]


def check_frames(video: Video, *, settings: FrameSettings) -> list[Skipped]:
    """Decodes a video as extraction does, and returns a line for each thing that it would skip or warn of."""
    problems, count, reader = [], 0, None
    try:
        sources = accept_given_flow(video.sources)
        reader = AlignedReader(sources, settings.length_tolerance)
        encoders = {modality: FrameEncoder(modality, source, settings) for modality, source in sources.items()}
        for moment in reader:
            for modality, frame in moment.items():
                encoders[modality](frame)
            count += 1
        problems = peculiarities(count, encoders)
    except InputError as error:
        problems = [str(error)]
    problems = [*(reader.warnings if reader else ()), *problems]
    # a path with the id in it names the video; the id alone may be a word, such as "one"
    named = (problem if f"/{video.video_id}" in problem else f"{video.video_id}: {problem}" for problem in problems)
    return [Skipped(video.video_id, problem) for problem in named]


def check_videos(listing: Listing, settings: DataSettings, *, full: bool) -> list[Skipped]:
    """Everything that is wrong with the files of a data set, by video id."""
    work = partial(check_frames if full else check_headers, settings=settings.frames)
    results = run_parallel(
        work, listing.videos, workers=settings.workers, description="decoding" if full else "headers"
    )
    found = [problem for problems in results for problem in problems]
    return sorted([*listing.skipped, *listing.warnings, *found], key=lambda entry: (entry.video_id, entry.reason))


def count_videos(dataset: Dataset, videos: Sequence[Video]) -> dict[str, pd.DataFrame]:
    """Videos found, and published where that is known, by class, view and subject; "all" comes first."""
    by_class = Counter(dataset.class_names[video.label] for video in videos)
    tables = {
        "": _table({"videos": len(videos)}, ["videos"], dataset.expected),
        "class": _table(by_class, dataset.class_names, dataset.expected),
    }
    for kind in ("view", "subject"):
        values = [getattr(video, kind) for video in videos]
        names = sorted({value for value in values if value is not None}, key=lambda value: (str(type(value)), value))
        if names:
            counts = Counter(f"{kind} {value}" for value in values)
            tables[kind] = _table(counts, [f"{kind} {name}" for name in names], dataset.expected)
    return tables


def _table(counts: Mapping[str, int], names: Iterable[str], expected: Mapping[str, int]) -> pd.DataFrame:
    names = list(names)
    columns = {"found": [counts.get(name, 0) for name in names]}
    if any(name in expected for name in names):
        columns["expected"] = [str(expected.get(name, "")) for name in names]
    return pd.DataFrame(columns, index=names)


def missing_videos(dataset: Dataset, tables: Mapping[str, pd.DataFrame]) -> list[str]:
    """A line for each published number that is not reached, and for each class without a video."""
    found = {name: count for table in tables.values() for name, count in table["found"].items()}
    lines = [
        f"{name}: {found.get(name, 0)} found of {number} expected"
        for name, number in dataset.expected.items()
        if found.get(name, 0) < number
    ]
    return lines + [
        f"{name}: no video of this class"
        for name in dataset.class_names
        if not found.get(name) and name not in dataset.expected
    ]


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    define_data_flags(flag_values)
    flags.DEFINE_boolean(
        "full", False, "Decode every frame of every video, instead of reading headers alone.", flag_values=flag_values
    )
    flags.DEFINE_integer("show", 100, "How many faults to print; all are counted.", 0, flag_values=flag_values)
    flags.adopt_module_key_flags(extract_frames_script, flag_values)  # for --help


def main() -> None:
    """Checks the data set that the flags name."""
    settings = DataSettings.from_flags(flags.FLAGS)
    dataset = settings.dataset
    listing = list_videos(dataset, settings.data_dir)
    problems = check_videos(listing, settings, full=flags.FLAGS.full)
    tables = count_videos(dataset, listing.videos)
    for table in tables.values():
        print(f"{table.to_string()}\n")
    lines = [*missing_videos(dataset, tables), *(problem.reason for problem in problems)]
    for entry in listing.excluded:
        print(f"left out by all: {entry.video_id}: {entry.reason}")
    for line in lines[: flags.FLAGS.show]:
        print(f"wrong: {line}")
    if len(lines) > flags.FLAGS.show:
        print(f"… and {len(lines) - flags.FLAGS.show} more; --show={len(lines)} prints all")
    depth = "every frame decoded" if flags.FLAGS.full else "headers only; --full decodes every frame"
    verdict = f"{len(lines)} things are wrong" if lines else "nothing is wrong"
    print(f"{dataset.title} in {settings.data_dir}: {len(listing.videos)} videos, {verdict} ({depth})")
    if lines:
        sys.exit(1)


if __name__ == "__main__":
    define_flags()
    run_script(main)
