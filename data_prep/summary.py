"""What records hold and what was left out, in a few lines for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from data_prep.raw.base import RawVideo
from dmcl_tf.data.records import record_path
from dmcl_tf.data.table import Records, Video

_SHOWN = 5  # skipped videos whose reasons are printed; all are written down


def print_summary(records: Records, skipped: Mapping[str, str], class_names: Sequence[str] = ()) -> None:
    """Prints the videos per class and split or view, what was skipped, and what is peculiar.

    Args:
        records: of which the table is.
        skipped: why, by video.
        class_names: of the data set, where it is one of several that share the records; else all of the records.
    """
    description, directory = records.description, records.directory
    kind = next((kind for kind in ("split", "view") if any(kind in v.attributes for v in records.videos)), "")
    columns = sorted({video.attributes.get(kind, "") for video in records.videos}) if kind else []
    counts = Counter((video.label, video.attributes.get(kind, "")) for video in records.videos)
    found = {video.label for video in records.videos}
    wanted = class_names or description.class_names
    names = [name for name in description.class_names if name in found or name in wanted]
    width = max(len(name) for name in (*names, "all"))
    print(f"{'':{width}}" + "".join(f"{f'{kind} {column}':>18}" for column in columns) + f"{'videos':>12}")
    for name in names:
        values = [counts[name, column] for column in columns]
        total = sum(count for (label, _), count in counts.items() if label == name)
        print(f"{name:{width}}" + "".join(f"{value:18d}" for value in values) + f"{total:12d}")
    totals = [sum(counts[name, column] for name in names) for column in columns]
    print(f"{'all':{width}}" + "".join(f"{value:18d}" for value in totals) + f"{len(records.videos):12d}")
    print(
        f"{description.title}: {', '.join(description.modalities)} at {description.frame_size}² pixels, "
        f"{len(records.videos)} records in {directory}"
    )
    for name in wanted:
        if name not in found:
            print(f"warning: there is no video of class {name!r}")
    for line in shared_subjects(records.videos):
        print(f"warning: {line}")
    print_skipped(skipped, f", listed in {directory / 'skipped.csv'}")
    peculiar = sum(bool(video.warnings) for video in records.videos)
    if peculiar:
        print(f"{peculiar} videos with warnings, listed in {directory / 'videos.csv'}")
    listed = {record_path(directory, video.video_id) for video in records.videos}
    others = sum(path not in listed for path in directory.glob("videos/*/*.tfrecord"))
    if others:
        print(f"{others} records in {directory / 'videos'} are of videos that the table does not list; they do no harm")


def print_skipped(skipped: Mapping[str, str], where: str = "") -> None:
    """Prints how many videos were skipped, and the first reasons."""
    for video_id, reason in list(skipped.items())[:_SHOWN]:
        print(f"skipped {video_id}: {reason}")
    if skipped:
        print(f"{len(skipped)} videos skipped{where}")


def shared_subjects(videos: Iterable[Video | RawVideo]) -> list[str]:
    """A line for each subject that is in two splits of own data."""
    splits: dict[str, set[str]] = {}
    for video in videos:
        if video.attributes.get("subject") and video.attributes.get("split"):
            splits.setdefault(video.attributes["subject"], set()).add(video.attributes["split"])
    return [
        f"subject {subject} is in the splits {' and '.join(sorted(names))}"
        for subject, names in sorted(splits.items())
        if len(names) > 1
    ]
