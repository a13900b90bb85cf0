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

from absl import flags

from data_prep.raw.base import Listing, RawVideo, Skipped
from data_prep.raw_settings import RawSettings, raw_flags, raw_settings_from_flags, video_flags
from data_prep.running.processes import run_parallel
from data_prep.summary import shared_subjects
from data_prep.video.alignment import AlignedReader, allowed_difference
from data_prep.video.given_flow import accept_given_flow, is_estimated
from data_prep.video.opening import shown
from data_prep.video.record import VideoSettings, make_encoders, peculiarities, reason_of
from data_prep.video.sources import natural_order
from dmcl_tf.datasets import find_dataset
from dmcl_tf.errors import run_script
from dmcl_tf.flag_groups import dataset_flags, define, frame_flags

Table = Mapping[str, tuple[int, "int | None"]]  # videos found and published, by name


def check_headers(video: RawVideo, *, settings: VideoSettings) -> list[Skipped]:
    """What sizes, headers and declared lengths say of a video, without decoding: a line for each fault."""
    try:
        sources = settings.sources(video)
        problems = [problem for source in sources.values() for problem in source.problems()]
        if not problems:
            lengths = {name: source.declared_length() for name, source in accept_given_flow(sources).items()}
            known = [n for name, n in lengths.items() if n is not None and not is_estimated(sources[name])]
            longest = max(known, default=0)
            if known and longest - min(known) > allowed_difference(longest, settings.length_tolerance):
                counts = ", ".join(f"{modality} {length}" for modality, length in lengths.items())
                problems.append(f"{video.video_id}: the modalities differ in their number of frames ({counts})")
    except Exception as error:
        problems = [reason_of(error)]
    return [Skipped(video.video_id, problem) for problem in problems]


def check_frames(video: RawVideo, *, settings: VideoSettings) -> list[Skipped]:
    """Decodes a video as extraction does, and returns a line for each thing that it would skip or warn of."""
    problems, count, reader = [], 0, None
    try:
        sources = accept_given_flow(settings.sources(video))
        reader = AlignedReader(sources, settings.length_tolerance, settings.limits)
        encoders = make_encoders(sources, settings)
        for moment in reader:
            for modality, frame in moment.items():
                encoders[modality](frame)
            count += 1
        problems = peculiarities(count, encoders)
    except Exception as error:
        problems = [reason_of(error)]
    problems = [*(reader.warnings if reader else ()), *problems]
    # a path with the id in it names the video; the id alone may be a word, such as "one"
    named = (problem if f"/{video.video_id}" in problem else f"{video.video_id}: {problem}" for problem in problems)
    return [Skipped(video.video_id, problem) for problem in named]


def check_videos(listing: Listing, settings: RawSettings, *, full: bool) -> list[Skipped]:
    """Everything that is wrong with the files of a data set, by video id."""
    results = run_parallel(
        partial(check_frames if full else check_headers, settings=settings.videos),
        listing.videos,
        workers=settings.workers,
        description="decoding" if full else "headers",
        killed=_killed,
    )
    found = [problem for problems in results for problem in problems]
    return sorted([*listing.skipped, *listing.warnings, *found], key=lambda entry: (entry.video_id, entry.reason))


def _killed(video: RawVideo) -> list[Skipped]:
    return [Skipped(video.video_id, f"{video.video_id}: the process that read it was killed: is there enough memory?")]


def count_videos(
    class_names: Sequence[str], videos: Sequence[RawVideo], expected: Mapping[str, int]
) -> dict[str, Table]:
    """Videos found, and published where that is known, in all ("") and by class, view and subject."""
    counts = Counter(video.label for video in videos)
    tables: dict[str, Table] = {
        "": {"videos": (len(videos), expected.get("videos"))},
        "class": {name: (counts[name], expected.get(name)) for name in class_names},
    }
    for kind in ("view", "subject"):
        counts = Counter(video.attributes[kind] for video in videos if video.attributes.get(kind))
        if counts:
            names = sorted(counts, key=natural_order)
            tables[kind] = {f"{kind} {name}": (counts[name], expected.get(f"{kind} {name}")) for name in names}
    return tables


def _lines(table: Table) -> Iterable[str]:
    """A table for people: names, numbers found and, where one is known, numbers expected."""
    width = max(len(name) for name in table)
    known = any(expected is not None for _, expected in table.values())
    yield f"{'':{width}}{'found':>8}" + f"{'expected':>10}" * known
    for name, (found, expected) in table.items():
        yield f"{name:{width}}{found:8d}" + f"{'' if expected is None else expected:>10}" * known


def missing_videos(tables: Mapping[str, Table], expected: Mapping[str, int]) -> list[str]:
    """A line for each published number that is not reached, and for each class without a video."""
    found = {name: count for table in tables.values() for name, (count, _) in table.items()}
    lines = [
        f"{name}: {found.get(name, 0)} found of {number} expected"
        for name, number in expected.items()
        if found.get(name, 0) < number
    ]
    return lines + [
        f"{name}: no video of this class"
        for name, (count, _) in tables["class"].items()
        if not count and name not in expected
    ]


def own_flags(values: flags.FlagValues) -> None:
    """How thorough the check is."""
    flags.DEFINE_boolean("full", False, "decode every frame of every video, not headers alone", flag_values=values)
    flags.DEFINE_integer("show", 100, "how many faults to print; all are counted", 0, flag_values=values)


FLAG_GROUPS = (dataset_flags, frame_flags, raw_flags, video_flags, own_flags)


def check(settings: RawSettings, *, full: bool, show: int) -> int:
    """Checks a data set and prints what was found; returns how many things are wrong."""
    dataset, reader = find_dataset(settings.dataset), settings.reader()
    listing = settings.list_videos(reader)
    problems = check_videos(listing, settings, full=full)
    tables = count_videos(dataset.class_names or reader.class_names, listing.videos, dataset.expected)
    for table in tables.values():
        print("\n".join(_lines(table)), end="\n\n")
    lines = [*missing_videos(tables, dataset.expected), *(shown(problem.reason) for problem in problems)]
    for entry in listing.excluded:
        print(f"left out by all: {entry.video_id}: {entry.reason}")
    for line in shared_subjects(listing.videos):
        print(f"warning: {line}")
    for line in lines[:show]:
        print(f"wrong: {line}")
    if len(lines) > show:
        print(f"… and {len(lines) - show} more; --show={len(lines)} prints all")
    depth = "every frame decoded" if full else "headers only; --full decodes every frame"
    verdict = f"{len(lines)} things are wrong" if lines else "nothing is wrong"
    print(f"{dataset.title} in {settings.data_dir}: {len(listing.videos)} videos, {verdict} ({depth})")
    return len(lines)


def main(values: flags.FlagValues = flags.FLAGS, *, data_root: Path = Path("data")) -> None:
    """Checks the data set that the flags name; ends with status 1 where something is wrong."""
    settings = raw_settings_from_flags(values, data_root=data_root, with_flow=False)
    if check(settings, full=values.full, show=values.show):
        sys.exit(1)


if __name__ == "__main__":
    define(FLAG_GROUPS, flags.FLAGS)
    run_script(main)
