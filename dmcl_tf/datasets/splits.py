"""Which videos are trained on, validated on and tested on: pure functions of the table of videos and a protocol."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from dmcl_tf.data.table import Records, Video
from dmcl_tf.datasets.base import APART, PER_CLASS, Dataset, Protocol, describe
from dmcl_tf.errors import InputError

_SHARE = 0.05  # of the training videos, for validation


class Splits(NamedTuple):
    """The videos of each split, in the order of their names, and what is peculiar about them, a line each."""

    train: tuple[Video, ...]
    validation: tuple[Video, ...]
    test: tuple[Video, ...]
    class_names: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """The number of videos by split."""
        return {name: len(getattr(self, name)) for name in SPLITS}

    def checksum(self) -> str:
        """Tells these splits from any others: a checksum of the names and labels of each."""
        lines = (
            f"{name} {video.video_id} {label}\n"
            for name in SPLITS
            for video, label in zip(getattr(self, name), self.labels(getattr(self, name)))
        )
        return f"{zlib.crc32(''.join(lines).encode()):08x}"

    def labels(self, videos: Iterable[Video]) -> np.ndarray:
        """The labels of some videos, int64."""
        places = {name: label for label, name in enumerate(self.class_names)}
        return np.array([places[video.label] for video in videos], np.int64)


SPLITS = ("train", "validation", "test")


def make_splits(dataset: Dataset, records: Records, protocol: Protocol) -> Splits:
    """Splits the videos of some records by a protocol.

    Args:
        dataset: whose protocol it is.
        records: whose videos are split; those of classes that the data set does not have are left out.
        protocol: from `Dataset.protocol`.

    Raises:
        InputError: the records are of another data set, or the training split lacks a class.
    """
    if records.description.dataset != dataset.folder:
        raise InputError(
            f"{records.directory} holds records of {records.description.dataset}, not of {dataset.folder}: "
            "choose another --dataset or --records"
        )
    class_names = dataset.class_names or records.description.class_names
    known = set(class_names)
    sides: dict[str, list[Video]] = {"train": [], "validation": [], "test": [], "": []}
    for video in records.videos:
        if video.label in known:
            sides[dataset.side(video, protocol)].append(video)
    train, validation, test = (sides[name] for name in SPLITS)
    apart = dataset.apart(protocol) or ("subject" if any(v.attributes.get("subject") for v in train) else "")
    warnings: list[str] = []
    if validation:
        given = [f"--{name}" for name in ("validation", "validation_per_class") if protocol.get(name) is not None]
        if given and not dataset.class_names:
            warnings.append(f"{' and '.join(given)}: no effect, as the table names the validation videos")
    else:
        train, validation, warnings = _draw_validation(dataset, train, class_names, protocol, apart)
    if dataset.thin:
        train = dataset.thin(train, class_names, protocol)
    ordered = [tuple(sorted(videos, key=lambda video: video.video_id)) for videos in (train, validation, test)]
    splits = Splits(ordered[0], ordered[1], ordered[2], tuple(class_names))
    warnings += _check(dataset, records, splits, protocol, apart)
    return splits._replace(warnings=tuple(warnings))


def _draw_validation(
    dataset: Dataset, train: Sequence[Video], class_names: Sequence[str], protocol: Protocol, apart: str
) -> tuple[list[Video], list[Video], list[str]]:
    """Training videos, validation videos, and a warning where the drawing is another than the one asked for."""
    way = protocol["validation"] or (PER_CLASS if dataset.class_names or not apart else APART)
    if way == APART:
        if not apart:
            raise InputError("--validation=apart: neither the protocol nor the videos say what is kept apart")
        drawn = draw_apart(train, apart)
        if drawn:
            given = protocol.get("validation_per_class") != dataset.protocol()["validation_per_class"]
            return (*drawn, [f"--validation_per_class: no effect, as each {apart} is kept whole"] if given else [])
        warning = f"validation videos share their {apart} with training videos, since no {apart} can be spared"
        return (*draw_per_class(train, class_names, protocol["validation_per_class"]), [warning])
    return (*draw_per_class(train, class_names, protocol["validation_per_class"]), [])


def draw_per_class(
    videos: Sequence[Video], class_names: Sequence[str], per_class: int | None = None
) -> tuple[list[Video], list[Video]]:
    """Splits training videos into (training, validation), balanced over the classes.

    The authors' rule (make_list_dset_nwucla.py): sort, shuffle with seed 0, then from each class draw
    `int(total / number of classes · 0.05)` videos without replacement with the label as seed. Deviations: at least one
    per class where the class has two or more, as the rule draws none from small data sets; and names are sorted by
    action, theirs by view, so that other videos are drawn.

    Args:
        videos: to be split.
        class_names: by label.
        per_class: videos of each class, instead of the twentieth; of a class that is incomplete a tenth at most.
    """
    ordered: Any = sorted(videos, key=lambda video: video.video_id)
    np.random.RandomState(0).shuffle(ordered)
    wanted = max(1, int(len(ordered) / len(class_names) * _SHARE)) if per_class is None else per_class
    train, validation = [], []
    for label, members in enumerate(_by_class(ordered, class_names)):
        count = min(wanted, len(members) - 1)
        if per_class is not None:
            count = min(count, max(1, len(members) // 10))
        chosen = set(np.random.RandomState(label).choice(len(members), count, replace=False)) if count > 0 else set()
        train += [video for i, video in enumerate(members) if i not in chosen]
        validation += [video for i, video in enumerate(members) if i in chosen]
    return train, validation


def draw_apart(videos: Sequence[Video], attribute: str) -> tuple[list[Video], list[Video]] | None:
    """Splits training videos so that validation has whole subjects (or views …), at least a twentieth of the videos.

    They are drawn with seed 0, and one is spared only where training keeps every class without it.

    Returns:
        Training and validation videos; None where no value of the attribute can be spared.
    """
    values = sorted({video.attributes.get(attribute, "") for video in videos})
    classes = {video.label for video in videos}
    train, validation = list(videos), []
    for value in np.random.RandomState(0).permutation(np.array(values, dtype=object)):
        rest = [video for video in train if video.attributes.get(attribute, "") != value]
        if rest and {video.label for video in rest} == classes:
            validation += [video for video in train if video.attributes.get(attribute, "") == value]
            train = rest
        if len(validation) >= _SHARE * len(videos):
            break
    return (train, validation) if validation else None


def draw_fraction(splits: Splits, fraction: float, seed: int) -> tuple[Video, ...]:
    """A share of the training videos: of each class the first in an order of its names that is drawn from `seed`.

    Of n videos of a class there are ceil(fraction · n); larger shares hold the smaller ones of the same seed.
    """
    if fraction == 1:
        return splits.train
    chosen = []
    for label, members in enumerate(_by_class(splits.train, splits.class_names)):
        order = np.random.RandomState([seed, label]).permutation(len(members))
        share = math.ceil(Fraction(str(fraction)) * len(members))  # the fraction as it is written: 0.07 · 100 is 7
        chosen += [members[index] for index in order[:share]]
    return tuple(sorted(chosen, key=lambda video: video.video_id))


def _by_class(videos: Iterable[Video], class_names: Sequence[str]) -> list[list[Video]]:
    members: dict[str, list[Video]] = {name: [] for name in class_names}
    for video in videos:
        members[video.label].append(video)
    return list(members.values())


def _check(dataset: Dataset, records: Records, splits: Splits, protocol: Protocol, apart: str) -> list[str]:
    """Warnings about splits that can be used; raises `InputError` for those that cannot."""
    words = describe(protocol) or "no protocol"
    warnings = []
    for name in ("train_views", "test_view"):
        views = protocol.get(name)
        for view in views if isinstance(views, (list, tuple)) else [views] if views else []:
            if not any(video.attributes.get("view") == str(view) for video in records.videos):
                warnings.append(f"there are no videos of view {view}, which --{name} names: complete the raw data")
    for split in SPLITS:
        videos = getattr(splits, split)
        present = {video.label for video in videos}
        lacking = [name for name in splits.class_names if name not in present]
        if split == "train" and lacking:
            raise InputError(
                f"{records.directory}: the train split ({words}) has no video of class {lacking[0]!r}; training needs "
                f"every class: complete the raw data; {records.directory / 'skipped.csv'} lists what was left out"
            )
        if not videos:
            consequence = {"validation": "the last epoch counts as the best", "test": "there is nothing to evaluate"}
            warnings.append(f"there are no {split} videos ({words}): {consequence[split]}")
        else:
            warnings += [f"the {split} split ({words}) has no video of class {name!r}" for name in lacking]
    if apart:
        seen = {split: {video.attributes.get(apart, "") for video in getattr(splits, split)} - {""} for split in SPLITS}
        for split in ("train", "validation"):
            for value in sorted(seen[split] & seen["test"]):
                warnings.append(f"{apart} {value} is in the {split} split and in the test split")
        if not dataset.class_names:  # own data: the authors draw validation from the subjects that they train on
            for value in sorted(seen["train"] & seen["validation"]):
                warnings.append(f"{apart} {value} is in the train split and in the validation split")
    return warnings
