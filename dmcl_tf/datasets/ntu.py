"""NTU RGB+D 60, NTU RGB+D 120, and the subset of the latter that the paper calls NTU120mini.

They are one family: the same records serve all three under every protocol.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from dmcl_tf.data.table import Video
from dmcl_tf.datasets.base import Dataset, Protocol, Setting
from dmcl_tf.datasets.ntu_actions import ACTIONS
from dmcl_tf.errors import InputError

TRAIN_SUBJECTS_60 = (1, 2, 4, 5, 8, 9, 13, 14, 15, 16, 17, 18, 19, 25, 27, 28, 31, 34, 35, 38)
TRAIN_SUBJECTS_120 = (
    *TRAIN_SUBJECTS_60,
    *(45, 46, 47, 49, 50, 52, 53, 54, 55, 56, 57, 58, 59, 70, 74, 78, 80, 81, 82, 83, 84, 85, 86, 89, 91, 92, 93, 94),
    *(95, 97, 98, 100, 103),
)
TRAIN_CAMERAS = (2, 3)
VALIDATION_PER_CLASS = 26  # the authors' 3,120 videos of NTU120; they use as many of each class for NTU60

_APART = {"cross_subject": "subject", "cross_view": "view", "cross_setup": "setup"}


def make_side(train_subjects: Sequence[int]) -> Callable[[Video, Protocol], str]:
    """The published protocols: by subjects, by cameras (2 and 3 train), or by setups (those of even number train)."""

    def side(video: Video, protocol: Protocol) -> str:
        number = int(video.attributes[_APART[protocol["protocol"]]])
        trained = {
            "cross_subject": number in train_subjects,
            "cross_view": number in TRAIN_CAMERAS,
            "cross_setup": number % 2 == 0,
        }
        return "train" if trained[protocol["protocol"]] else "test"

    return side


def draw_subset(videos: Sequence[Video], class_names: Sequence[str], protocol: Protocol) -> list[Video]:
    """Draws half of the training videos, equally many of each class.

    The authors draw `int(total / 2 / number of classes)` of each class with its number, from 1, as seed, one subset
    (codebase/utils.py); the paper averages over three. Subset 0 has the authors' seeds, the others have further ones.
    """
    per_class = int(len(videos) / 2 / len(class_names))
    by_label: dict[str, list[Video]] = {name: [] for name in class_names}
    for video in videos:
        by_label[video.label].append(video)
    chosen = []
    for label, members in enumerate(by_label.values()):
        count = min(max(per_class, 1), len(members))
        random = np.random.RandomState(1 + label + len(class_names) * protocol["subset"])
        chosen += [members[index] for index in sorted(random.choice(len(members), count, replace=False))]
    return chosen


def _check_subset(protocol: Protocol) -> None:
    if protocol["subset"] not in (0, 1, 2):
        raise InputError(f"--subset={protocol['subset']}: expected 0, 1 or 2")


def _dataset(name: str, title: str, actions: int, protocols: tuple[str, ...]) -> Dataset:
    help_text = "How NTU RGB+D is split: by subjects, by cameras (60 classes) or by setups (120 classes)."
    per_class = {action: 948 if label < 60 else 960 for label, action in enumerate(ACTIONS[:actions])}
    total = sum(per_class.values())
    return Dataset(
        name=name,
        title=title,
        class_names=ACTIONS[:actions],
        side=make_side(TRAIN_SUBJECTS_60 if actions == 60 else TRAIN_SUBJECTS_120),
        settings={
            "protocol": Setting("cross_subject", help_text, protocols),
            "validation_per_class": Setting(VALIDATION_PER_CLASS, "", kind=int),
        },
        apart=lambda protocol: _APART[protocol["protocol"]],
        folder="ntu",
        expected={"videos": total, **{f"view {camera}": total // 3 for camera in (1, 2, 3)}, **per_class},
    )


_NTU120 = _dataset("ntu120", "NTU RGB+D 120", 120, ("cross_subject", "cross_setup"))
DATASETS = (
    _dataset("ntu60", "NTU RGB+D 60", 60, ("cross_subject", "cross_view")),
    _NTU120,
    dataclasses.replace(
        _NTU120,
        name="ntu120mini",
        title="NTU RGB+D 120, half of the training videos",
        settings={**_NTU120.settings, "subset": Setting(0, "Which half of the training videos: 0, 1 or 2.")},
        check=_check_subset,
        thin=draw_subset,
    ),
)
