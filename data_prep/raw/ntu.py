"""NTU RGB+D 60, NTU RGB+D 120, and the subset of the latter that the paper calls NTU120mini.

Layout: `nturgb+d_rgb/SsssCcccPpppRrrrAaaa_rgb.avi` (1920×1080), and depth in `nturgb+d_depth_masked/<name>/MDepth-
%08d.png` or `nturgb+d_depth/<name>/Depth-%08d.png` (512×424, millimetres in 16 bits). The masked one is taken where
both are there. S is the setup, C the camera, P the subject, R the repetition, A the action.

Samples whose skeletons are missing are used all the same, as by the authors: RGB and depth do not need them. Depth was
masked by the skeletons, though, so that such a sample may be blank: extraction warns of each, and keeps it, so that
the test split is the published one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from data_prep.raw.base import Dataset, Listing, Setting, Skipped, Video, by_id, draw_validation
from data_prep.video.depth import DepthSettings
from data_prep.video.sources import ImageFolder, VideoFile
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

RGB_FOLDER = "nturgb+d_rgb"
DEPTH_FOLDERS = {"nturgb+d_depth_masked": "MDepth-*.png", "nturgb+d_depth": "Depth-*.png"}  # the preferred first

HOW_TO_GET = (
    "ask for the data set at https://rose1.ntu.edu.sg/dataset/actionRecognition/, download the RGB videos and the "
    "masked depth maps (or the full ones), unpack every archive with unzip, and put the folders nturgb+d_rgb and "
    "nturgb+d_depth_masked (or nturgb+d_depth) into the data folder"
)

_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
_RGB_ENDING = "_rgb.avi"


def list_videos(data_dir: Path, *, actions: int) -> Listing:
    """Finds the videos of the first `actions` classes that have RGB and depth.

    Raises:
        InputError: a folder is missing.
    """
    data_dir = Path(data_dir)
    rgb = data_dir / RGB_FOLDER
    present = [name for name in DEPTH_FOLDERS if (data_dir / name).is_dir()]
    if not rgb.is_dir() or not present:
        missing = rgb.name if not rgb.is_dir() else " or ".join(DEPTH_FOLDERS)
        raise InputError(f"{data_dir}: expected the folder {missing} there; {HOW_TO_GET}")
    depth = data_dir / present[0]
    with_rgb = {name[: -len(_RGB_ENDING)] for name in os.listdir(rgb) if name.endswith(_RGB_ENDING)}
    return match_names(rgb, with_rgb, depth, set(os.listdir(depth)), actions=actions)


def match_names(rgb: Path, with_rgb: set[str], depth: Path, with_depth: set[str], *, actions: int) -> Listing:
    """The videos whose names are in both folders.

    Args:
        rgb: the folder of RGB videos.
        with_rgb: the names in it, without `_rgb.avi`.
        depth: the folder of folders of depth images, one of `DEPTH_FOLDERS`.
        with_depth: the names in it.
        actions: classes to keep; other videos are passed over.
    """
    videos, skipped = [], []
    for name in sorted(with_rgb | with_depth):
        match = _NAME.fullmatch(name)
        if not match:
            skipped.append(Skipped(name, f"{name}: the name is not of the form SsssCcccPpppRrrrAaaa"))
            continue
        _, camera, subject, _, action = map(int, match.groups())
        if not 1 <= action <= actions:
            continue
        if name not in with_depth:
            skipped.append(Skipped(name, f"{rgb / name}{_RGB_ENDING}: there is no {depth / name}; unpack it"))
        elif name not in with_rgb:
            skipped.append(Skipped(name, f"{depth / name}: there is no {rgb / name}{_RGB_ENDING}; unpack it"))
        else:
            sources = {
                "rgb": VideoFile(rgb / f"{name}{_RGB_ENDING}"),
                "depth": ImageFolder(depth / name, DEPTH_FOLDERS[depth.name]),
            }
            videos.append(Video(name, action - 1, sources, subject=subject, view=camera))
    return Listing(tuple(videos), tuple(skipped))


def split_videos(
    videos: Sequence[Video], *, actions: int, protocol: str, subset: int | None = None
) -> dict[str, list[Video]]:
    """The published protocols; 26 validation videos of each class are drawn from the training videos.

    Args:
        videos: of the first `actions` classes.
        actions: 60 or 120.
        protocol: `cross_subject` trains on 20 of 40 subjects, or 53 of 106; `cross_view` on cameras 2 and 3;
            `cross_setup` on the setups of even number.
        subset: which of NTU120mini's training splits; None for all training videos.

    Raises:
        InputError: a subset that is none.
    """
    train_subjects = TRAIN_SUBJECTS_60 if actions == 60 else TRAIN_SUBJECTS_120
    trained = {
        "cross_subject": lambda video: video.subject in train_subjects,
        "cross_view": lambda video: video.view in TRAIN_CAMERAS,
        "cross_setup": lambda video: _setup(video) % 2 == 0,
    }[protocol]
    train, validation = draw_validation(
        [video for video in videos if trained(video)], actions, per_class=VALIDATION_PER_CLASS
    )
    if subset is not None:
        train = draw_subset(train, actions, subset)
    return {"train": train, "validation": validation, "test": by_id(video for video in videos if not trained(video))}


def draw_subset(videos: Sequence[Video], num_classes: int, subset: int) -> list[Video]:
    """Draws half of the training videos, equally many of each class.

    The authors draw `int(total / 2 / num_classes)` of each class with the class as seed, one subset; the paper averages
    over three. Subset 0 has the authors' seeds, the others have further ones.

    Raises:
        InputError: `subset` is not 0, 1 or 2.
    """
    if subset not in (0, 1, 2):
        raise InputError(f"--subset={subset}: expected 0, 1 or 2")
    per_class = int(len(videos) / 2 / num_classes)
    by_label: dict[int, list[Video]] = {label: [] for label in range(num_classes)}
    for video in videos:
        by_label[video.label].append(video)
    chosen = []
    for label, members in by_label.items():
        count = min(max(per_class, 1), len(members))
        random = np.random.RandomState(label + num_classes * subset)
        chosen += [members[index] for index in sorted(random.choice(len(members), count, replace=False))]
    return chosen


def _setup(video: Video) -> int:
    return int(_NAME.fullmatch(video.video_id)[1])


def _apart(video: Video, *, protocol: str, **_protocol: object) -> str:
    return {
        "cross_subject": f"subject {video.subject}",
        "cross_view": f"view {video.view}",
        "cross_setup": f"setup {_setup(video)}",
    }[protocol]


def _dataset(name: str, title: str, actions: int, protocols: tuple[str, ...], **protocol: Setting) -> Dataset:
    help_text = "How NTU RGB+D is split: by subjects, by cameras (60 classes) or by setups (120 classes)."
    per_class = {action: 948 if label < 60 else 960 for label, action in enumerate(ACTIONS[:actions])}
    total = sum(per_class.values())
    return Dataset(
        name=name,
        title=title,
        class_names=ACTIONS[:actions],
        list_videos=partial(list_videos, actions=actions),
        split_videos=partial(split_videos, actions=actions),
        protocol={"protocol": Setting("cross_subject", help_text, protocols), **protocol},
        how_to_get=HOW_TO_GET,
        apart=_apart,
        family="ntu",
        depth=DepthSettings("clip_mm"),
        expected={"videos": total, **{f"view {camera}": total // 3 for camera in (1, 2, 3)}, **per_class},
    )


DATASETS = (
    _dataset("ntu60", "NTU RGB+D 60", 60, ("cross_subject", "cross_view")),
    _dataset("ntu120", "NTU RGB+D 120", 120, ("cross_subject", "cross_setup")),
    _dataset(
        "ntu120mini",
        "NTU RGB+D 120, half of the training videos",
        120,
        ("cross_subject", "cross_setup"),
        subset=Setting(0, "Which half of the training videos: 0, 1 or 2."),
    ),
)
