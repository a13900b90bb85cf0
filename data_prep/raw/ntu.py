"""NTU RGB+D 60, NTU RGB+D 120, and the subset of the latter that the paper calls NTU120mini.

Layout: `nturgb+d_rgb/SsssCcccPpppRrrrAaaa_rgb.avi` (1920×1080), and depth in `nturgb+d_depth_masked/<name>/MDepth-
%08d.png` or `nturgb+d_depth/<name>/Depth-%08d.png` (512×424, millimetres in 16 bits). The masked one is taken where
both are there. S is the setup, C the camera, P the subject, R the repetition, A the action.

The modality `skeleton` is offered where the folder `nturgb+d_skeletons` is there, with the files
`SsssCccc….skeleton`; these say where in the pictures of colour and depth every joint is, so that `--crop=person` can
cut frames by them.

Samples whose skeletons are missing are used all the same, as by the authors: RGB and depth do not need them. Depth was
masked by the skeletons, though, so that such a sample may be blank: extraction warns of each, and keeps it, so that
the test split is the published one.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from data_prep.raw.base import Listing, RawVideo, Reader, Skipped
from data_prep.video.depth import DepthSettings
from data_prep.video.skeletons import SKELETON
from data_prep.video.sources import ImageFolder, SkeletonFile, Source, VideoFile
from dmcl_tf.datasets.ntu_actions import ACTIONS
from dmcl_tf.errors import InputError

RGB_FOLDER = "nturgb+d_rgb"
DEPTH_FOLDERS = {"nturgb+d_depth_masked": "MDepth-*.png", "nturgb+d_depth": "Depth-*.png"}  # the preferred first
SKELETON_FOLDER = "nturgb+d_skeletons"

HOW_TO_GET = (
    "ask for the data set at https://rose1.ntu.edu.sg/dataset/actionRecognition/, download the RGB videos and the "
    "masked depth maps (or the full ones), unpack every archive with unzip, and put the folders nturgb+d_rgb and "
    "nturgb+d_depth_masked (or nturgb+d_depth) into the data folder"
)

_NAME = re.compile(r"S(\d{3})C(\d{3})P(\d{3})R(\d{3})A(\d{3})")
_RGB_ENDING = "_rgb.avi"


def list_videos(data_dir: Path) -> Listing:
    """Finds the videos that have RGB and depth.

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
    skeletons = data_dir / SKELETON_FOLDER
    with_skeleton = set(os.listdir(skeletons)) if skeletons.is_dir() else set()
    listing = match_names(rgb, with_rgb, depth, set(os.listdir(depth)))
    return replace(listing, videos=tuple(_add_skeleton(video, skeletons, with_skeleton) for video in listing.videos))


def _add_skeleton(video: RawVideo, folder: Path, names: set[str]) -> RawVideo:
    name = f"{video.video_id}.skeleton"
    if name not in names:
        return video
    return replace(video, sources={**video.sources, SKELETON: SkeletonFile(folder / name)})


def match_names(rgb: Path, with_rgb: set[str], depth: Path, with_depth: set[str]) -> Listing:
    """The videos whose names are in both folders.

    Args:
        rgb: the folder of RGB videos.
        with_rgb: the names in it, without `_rgb.avi`.
        depth: the folder of folders of depth images, one of `DEPTH_FOLDERS`.
        with_depth: the names in it.
    """
    videos, skipped = [], []
    for name in sorted(with_rgb | with_depth):
        match = _NAME.fullmatch(name)
        if not match:
            skipped.append(Skipped(name, f"{name}: the name is not of the form SsssCcccPpppRrrrAaaa"))
            continue
        setup, camera, subject, _, action = map(int, match.groups())
        if not 1 <= action <= len(ACTIONS):
            skipped.append(Skipped(name, f"{name}: expected actions 1 … {len(ACTIONS)}"))
            continue
        if name not in with_depth:
            skipped.append(Skipped(name, f"{rgb / name}{_RGB_ENDING}: there is no {depth / name}; unpack it"))
        elif name not in with_rgb:
            skipped.append(Skipped(name, f"{depth / name}: there is no {rgb / name}{_RGB_ENDING}; unpack it"))
        else:
            sources: dict[str, Source] = {
                "rgb": VideoFile(rgb / f"{name}{_RGB_ENDING}"),
                "depth": ImageFolder(depth / name, DEPTH_FOLDERS[depth.name]),
            }
            attributes = {"subject": str(subject), "view": str(camera), "setup": str(setup)}
            videos.append(RawVideo(name, ACTIONS[action - 1], sources, attributes))
    return Listing(tuple(videos), tuple(skipped))


READER = Reader(
    list_videos=list_videos,
    optional=(SKELETON,),
    class_names=ACTIONS,
    depth=DepthSettings("clip_mm"),
    person_in=SKELETON,
)
