"""Which video is trained on, validated on and tested on, and whether that makes sense."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from data_prep.raw.base import Skipped, Video
from data_prep.record_settings import RecordSettings
from data_prep.video.extract_video import ExtractedVideo
from dmcl_tf.errors import InputError


def split_videos(settings: RecordSettings, videos: Sequence[Video]) -> dict[str, list[Video]]:
    """Splits videos by the protocol; with a limit, keeps the first ones of each class.

    Raises:
        InputError: an impossible protocol.
    """
    splits = settings.data.dataset.split_videos(videos, **settings.protocol)
    if settings.limit:
        return {split: _first_of_each_class(members, settings.limit) for split, members in splits.items()}
    return splits


def _first_of_each_class(videos: Sequence[Video], limit: int) -> list[Video]:
    kept: dict[int, list[Video]] = {}
    for video in videos:
        members = kept.setdefault(video.label, [])
        if len(members) < limit:
            members.append(video)
    return [video for members in kept.values() for video in members]


def check_splits(
    settings: RecordSettings, splits: Mapping[str, Sequence[Video | ExtractedVideo]], left_out: Sequence[Skipped] = ()
) -> list[Skipped]:
    """Returns a warning for each class that validation or test lacks.

    Args:
        settings: of the records.
        splits: the videos of each.
        left_out: videos that cannot be used, which may be why something is lacking.

    Raises:
        InputError: the training split lacks a class, or the test split is empty.
    """
    protocol = ", ".join(f"{name}={value}" for name, value in settings.protocol.items())
    remedy = "complete the raw data"
    if left_out:
        remedy += (
            f"; {len(left_out)} videos cannot be used, the first of them {left_out[0].video_id}: {left_out[0].reason}; "
            "data_prep/check_dataset.py --full lists all"
        )
    warnings = []
    if not splits["validation"]:
        warnings.append(
            Skipped("validation split", "there are no validation videos: the last epoch counts as the best")
        )
    for split, videos in splits.items():
        if split == "validation" and not videos:
            continue
        present = {video.label for video in videos}
        for label, name in enumerate(settings.data.dataset.class_names):
            if label in present:
                continue
            reason = f"the {split} split ({protocol}) has no video of class {name!r}"
            if split == "train":
                raise InputError(f"{settings.data.data_dir}: {reason}; training needs every class: {remedy}")
            warnings.append(Skipped(f"{split} split", reason))
    if not splits["test"]:
        raise InputError(f"{settings.data.data_dir}: the test split ({protocol}) has no videos; {remedy}")
    return warnings


def check_modalities(settings: RecordSettings, videos: Iterable[Video]) -> None:
    """Checks that every modality asked for is recorded, or is flow and can be computed.

    Raises:
        InputError: the data set has no such modality.
    """
    available = {"flow"}.union(set.intersection(*(set(video.sources) for video in videos)))
    for modality in settings.modalities:
        if modality not in available:
            raise InputError(
                f"--modalities={','.join(settings.modalities)}: {settings.data.dataset.title} has no {modality!r}; "
                f"expected some of {', '.join(sorted(available))}"
            )
