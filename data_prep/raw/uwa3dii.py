"""UWA3D Multiview Activity II (UWA3DII): thirty actions, ten subjects, four views that are separate performances.

RGB: a folder of `001,.jpg …` (with the comma) per video. Depth: a folder of `001.png …`, or a MATLAB volume `curFrame`
of millimetres. Names are `aAA_sSS_vVV_eEE`, and the episodes of RGB and depth of the same performance differ in some
copies: videos are matched on action, subject and view. Frames are those whose number both have.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_prep.raw.base import Listing, RawVideo, Reader, Skipped
from data_prep.video.sources import ImageSequence, MatVolume, Source, natural_order
from dmcl_tf.datasets.uwa3dii import ACTIONS, UNPAIRED, VIEWS
from dmcl_tf.errors import InputError

# where the archives put them, the preferred first
RGB_FOLDERS = ("UWA3DII_RGB/UWA3D-RGB", "UWA3D-RGB", "UWA3DII_RGB")
DEPTH_FOLDERS = (
    *("UWA3D-Depth/WholeFrames", "UWA3DII_Depth/UWA3D-Depth/WholeFrames", "UWA3DII_Depth_ROI/UWA3D-Depth"),
    *("UWA3D-Depth", "UWA3DII_Depth/ActionsNew", "ActionsNew", "UWA3DII_Depth"),
)

HOW_TO_GET = (
    "download the RGB and the depth archives of UWA3D Multiview Activity II from "
    "https://ieee-dataport.org/documents/uwa-3d-multiview-activity-ii-dataset, unpack them with unzip, and put their "
    "folders (UWA3DII_RGB/UWA3D-RGB; and UWA3D-Depth/WholeFrames, UWA3DII_Depth_ROI/UWA3D-Depth or "
    "UWA3DII_Depth/ActionsNew) into the data folder"
)

_VIDEO = re.compile(r"a(\d+)_s(\d+)_(?:v(\d+)_e\d+|e\d+_v(\d+))(?:\.mat)?")
_RGB_FRAME = re.compile(r"(\d+),?\.jpe?g", re.IGNORECASE)
_DEPTH_FRAME = re.compile(r"(\d+),?\.png", re.IGNORECASE)


def list_videos(data_dir: Path) -> Listing:
    """Finds the videos that have both RGB and depth.

    Raises:
        InputError: one of the two folders is not there.
    """
    data_dir = Path(data_dir)
    rgb, depth = (_find(data_dir, kind, folders) for kind, folders in (("RGB", RGB_FOLDERS), ("depth", DEPTH_FOLDERS)))
    found: dict[str, dict[tuple[int, int, int], Path]] = {"rgb": {}, "depth": {}}
    skipped: list[Skipped] = []
    warnings: list[Skipped] = []
    for modality, folder in (("rgb", rgb), ("depth", depth)):
        for path in _entries(folder):
            name = _VIDEO.fullmatch(path.name)
            if not name:
                skipped.append(Skipped(path.name, f"{path}: the name is not of the form aAA_sSS_vVV_eEE"))
                continue
            action, subject, view = int(name[1]), int(name[2]), int(name[3] or name[4])
            first = found[modality].setdefault((action, subject, view), path)
            if first != path:
                reason = f"{path}: another episode of {first.name}, which is used"
                warnings.append(Skipped(_video_id(action, subject, view), reason))
    videos, excluded = [], []
    for key in sorted(found["rgb"].keys() | found["depth"].keys()):
        paths = {modality: paths[key] for modality, paths in found.items() if key in paths}
        video_id = _video_id(*key)
        if video_id in UNPAIRED:
            excluded.append(Skipped(video_id, "its RGB and depth are known not to be of one performance"))
            continue
        try:
            video = _read_video(video_id, key, paths, warnings)
        except OSError as error:
            video = Skipped(video_id, f"{error.filename}: {error.strerror}")
        videos.append(video) if isinstance(video, RawVideo) else skipped.append(video)
    return Listing(tuple(videos), tuple(skipped), tuple(warnings), tuple(excluded))


def _find(data_dir: Path, kind: str, folders: Sequence[str]) -> Path:
    for name in folders:
        if any(_VIDEO.fullmatch(path.name) for path in _entries(data_dir / name)):
            return data_dir / name
    raise InputError(f"{data_dir}: expected {kind} videos aAA_sSS_vVV_eEE in {' or '.join(folders)}; {HOW_TO_GET}")


def _entries(folder: Path) -> Iterator[Path]:
    """What may be a video: the folders and MATLAB files."""
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.is_dir() or path.suffix == ".mat":
            yield path


def _video_id(action: int, subject: int, view: int) -> str:
    return f"a{action:02d}_s{subject:02d}_v{view:02d}"


def _read_video(
    video_id: str, key: tuple[int, int, int], paths: dict[str, Path], warnings: list[Skipped]
) -> RawVideo | Skipped:
    """Returns the video, or why there is none; appends to `warnings`."""
    action, subject, view = key
    if not 1 <= action <= len(ACTIONS) or view not in VIEWS:
        return Skipped(video_id, f"{video_id}: expected actions 1 … {len(ACTIONS)} and views 1 … {len(VIEWS)}")
    for modality, other in (("rgb", "depth"), ("depth", "rgb")):
        if modality not in paths:
            return Skipped(video_id, f"{paths[other]}: there is no {modality} of this performance; unpack it again")
    label, attributes = ACTIONS[action - 1], {"subject": str(subject), "view": str(view)}
    images = _images(paths["rgb"], _RGB_FRAME)
    sources: dict[str, Source]
    if paths["depth"].is_file():
        if not images:
            return Skipped(video_id, f"{paths['rgb']}: it has no frames 001,.jpg …; unpack it again")
        sources = {"rgb": ImageSequence(tuple(images.values())), "depth": MatVolume(paths["depth"])}
        return RawVideo(video_id, label, sources, attributes)
    both = {"rgb": images, "depth": _images(paths["depth"], _DEPTH_FRAME)}
    numbers = sorted(both["rgb"].keys() & both["depth"].keys())
    if not numbers:
        return Skipped(video_id, f"{paths['rgb']} and {paths['depth']} have no frame number in common; unpack again")
    alone = {modality: len(frames) - len(numbers) for modality, frames in both.items()}
    if any(alone.values()):
        counts = ", ".join(f"{modality} {count}" for modality, count in alone.items())
        warnings.append(Skipped(video_id, f"{paths['rgb']}: frames that one modality alone has are left out: {counts}"))
    sources = {
        modality: ImageSequence(tuple(frames[number] for number in numbers)) for modality, frames in both.items()
    }
    return RawVideo(video_id, label, sources, attributes)


def _images(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    """The frames of a folder by number, in order."""
    names = sorted(os.listdir(folder), key=natural_order) if folder.is_dir() else []
    return {int(match[1]): folder / name for name in names if (match := pattern.fullmatch(name))}


READER = Reader(list_videos=list_videos, class_names=ACTIONS)
