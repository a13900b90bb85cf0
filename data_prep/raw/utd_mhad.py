"""UTD-MHAD: twenty-seven actions by eight people, four times each, before a Kinect that stands still.

Layout: `Depth/aA_sS_tT_depth.mat`, a volume `d_depth` of millimetres, 240 × 320 × T, of which the publishers have
removed the background; and `Skeleton/aA_sS_tT_skeleton.mat`, `d_skel`, 20 joints × 3 × T. A is the action, S the person
and T the repetition, none of them padded with zeros. Copies of half the resolution are read as well.
"""

from __future__ import annotations

import re
from pathlib import Path

from data_prep.raw.base import Listing, RawVideo, Reader, Skipped
from data_prep.video.depth import DepthSettings
from data_prep.video.skeletons import SKELETON
from data_prep.video.sources import MatVolume, SkeletonFile, Source
from dmcl_tf.datasets.utd_mhad import ACTIONS
from dmcl_tf.errors import InputError

FOLDERS = {"depth": ("Depth", "depth"), SKELETON: ("Skeleton", "skeleton")}  # the names that archives unpack to
PEOPLE = 8
_ROOTS = ("", "UTD-MHAD", "utd_mhad")
_VOLUME = "d_depth"
_JOINT_ORDER = "Skeleton_joint_order.txt"  # comes with the skeletons

HOW_TO_GET = (
    "download Depth.zip and Skeleton.zip of the UTD Multimodal Human Action Dataset from "
    "https://www.utdallas.edu/~kehtar/UTD-MHAD.html, unpack them with unzip, and put the folders Depth and Skeleton "
    "into the data folder"
)

_NAME = re.compile(r"(a(\d+)_s(\d+)_t(\d+))_(depth|skeleton)\.mat")


def list_videos(data_dir: Path) -> Listing:
    """Finds the videos that have depth and a skeleton.

    Raises:
        InputError: a folder is missing.
    """
    found: dict[str, dict[str, Path]] = {}
    skipped: list[Skipped] = []
    folders = {modality: _find(Path(data_dir), modality) for modality in FOLDERS}
    for modality, folder in folders.items():
        found[modality] = {}
        for path in sorted(folder.iterdir()):
            name = _NAME.fullmatch(path.name)
            if path.name == _JOINT_ORDER:
                continue
            if not name or name[5] != modality:
                skipped.append(Skipped(path.name, f"{path}: the name is not of the form aA_sS_tT_{modality}.mat"))
            elif not (1 <= int(name[2]) <= len(ACTIONS) and 1 <= int(name[3]) <= PEOPLE):
                expected = f"expected actions 1 … {len(ACTIONS)} and people 1 … {PEOPLE}"
                skipped.append(Skipped(path.name, f"{path}: {expected}"))
            else:
                found[modality][name[1]] = path
    videos = []
    for video_id in sorted(found["depth"].keys() | found[SKELETON].keys()):
        paths = {modality: of_modality[video_id] for modality, of_modality in found.items() if video_id in of_modality}
        missing = [modality for modality in FOLDERS if modality not in paths]
        if missing:
            there = next(iter(paths.values()))
            lacking = folders[missing[0]] / f"{video_id}_{missing[0]}.mat"
            skipped.append(Skipped(video_id, f"{there}: there is no {lacking}; unpack it again"))
            continue
        action, subject, _ = (int(part[1:]) for part in video_id.split("_"))
        sources: dict[str, Source] = {
            "depth": MatVolume(paths["depth"], _VOLUME),
            SKELETON: SkeletonFile(paths[SKELETON]),
        }
        videos.append(RawVideo(video_id, ACTIONS[action - 1], sources, {"subject": str(subject)}))
    return Listing(tuple(videos), tuple(skipped))


def _find(data_dir: Path, modality: str) -> Path:
    for root in _ROOTS:
        for name in FOLDERS[modality]:
            if (data_dir / root / name).is_dir():
                return data_dir / root / name
    raise InputError(f"{data_dir}: expected the folder {FOLDERS[modality][0]} there; {HOW_TO_GET}")


READER = Reader(
    list_videos=list_videos,
    recorded=("depth", SKELETON),
    modalities=("depth", "flow", SKELETON),
    class_names=ACTIONS,
    depth=DepthSettings("clip_mm", 1500.0, 4000.0),  # all readings lie there: nobody comes nearer than 1.7 m
    flow_from="depth",
)
