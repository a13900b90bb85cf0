"""Northwestern-UCLA Multiview Action 3D (NW-UCLA): ten actions, ten subjects, three views.

Layout: `multiview_action/view_{1,2,3}/aAA_sSS_eEE/frame_{N}_tc_{T}_rgb.jpg` and `…_depth_vis.jpg`. Colour and depth of
one moment share the frame number N but not the time stamp T, and N is not zero-padded: frames are joined and sorted by
the number N. Deviation: the authors sort file names as text, which scrambles videos that cross 99→100 or 999→1000.

The modality `skeleton` is offered where the folder `skeletons` lies beside `multiview_action`, with a JSON file
`aAA_sSS_eEE_vVV.json` for each video, which is the form that the skeletons are passed on in.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from data_prep.raw.base import Listing, RawVideo, Reader, Skipped
from data_prep.video.skeletons import SKELETON
from data_prep.video.sources import ImageSequence, SkeletonFile, Source
from dmcl_tf.datasets.nwucla import ACTIONS, DEMO_ACTIONS, VIEWS
from dmcl_tf.errors import InputError

HOW_TO_GET = (
    "download the sixteen parts multiview_action.tgz.part-aa … part-ap from http://wangjiangb.github.io/my_data.html, "
    "unpack them with: cat multiview_action.tgz.part-* | tar xz, and put the folder multiview_action into the data "
    "folder"
)

_VIDEO = re.compile(r"a(\d+)_s(\d+)_e(\d+)")
_FRAME = re.compile(r"frame_(\d+)_tc_(\d+)_(rgb|depth_vis)\.jpg")
_MODALITIES = {"rgb": "rgb", "depth_vis": "depth"}


def list_videos(data_dir: Path) -> Listing:
    """Finds the videos below `data_dir`, which holds `multiview_action` or is that folder itself.

    A clip's frames are the frame numbers that both colour and depth have; numbers of one alone are warned about.
    Folders without colour or without depth, or of an unknown action, are skipped with the reason.

    Raises:
        InputError: there is no such layout.
    """
    data_dir = Path(data_dir)
    root = data_dir / "multiview_action" if (data_dir / "multiview_action").is_dir() else data_dir
    views = [view for view in VIEWS if (root / f"view_{view}").is_dir()]
    if not views:
        raise InputError(f"{data_dir}: expected multiview_action/view_1 … view_3 there; {HOW_TO_GET}")
    skeletons = root.parent / "skeletons" if root.name == "multiview_action" else root / "skeletons"
    videos: list[RawVideo] = []
    skipped: list[Skipped] = []
    warnings: list[Skipped] = []
    for view in views:
        for folder in sorted(path for path in (root / f"view_{view}").iterdir() if path.is_dir()):
            try:
                video: RawVideo | Skipped = _read_folder(folder, view, skeletons, warnings)
            except OSError as error:
                video = Skipped(f"{folder.name}_v{view:02d}", f"{folder}: {error.strerror}")
            if isinstance(video, RawVideo):
                videos.append(video)
            else:
                skipped.append(video)
    return Listing(tuple(videos), tuple(skipped), tuple(warnings))


def _read_folder(folder: Path, view: int, skeletons: Path, warnings: list[Skipped]) -> RawVideo | Skipped:
    """Returns the video in `folder`, or why there is none; appends to `warnings`."""
    video_id = f"{folder.name}_v{view:02d}"
    name = _VIDEO.fullmatch(folder.name)
    if not name:
        return Skipped(video_id, f"{folder}: the folder's name is not of the form aAA_sSS_eEE")
    action, subject = int(name[1]), int(name[2])
    if action not in ACTIONS:
        known = ", ".join(str(number) for number in ACTIONS)
        return Skipped(video_id, f"{folder}: unknown action id {action}; expected one of {known}")
    frames: dict[str, dict[int, Path]] = {"rgb": {}, "depth": {}}
    doubled = []
    files = ((match, path) for path in folder.iterdir() if (match := _FRAME.fullmatch(path.name)))
    for match, path in sorted(files, key=lambda file: (int(file[0][1]), int(file[0][2]))):
        first = frames[_MODALITIES[match[3]]].setdefault(int(match[1]), path)
        if first != path:
            doubled.append(path.name)
    for modality, images in frames.items():
        if not images:
            return Skipped(video_id, f"{folder}: it has no {modality} frames; unpack it again")
    numbers = sorted(frames["rgb"].keys() & frames["depth"].keys())
    if not numbers:
        return Skipped(video_id, f"{folder}: rgb and depth have no frame number in common; unpack it again")
    for modality, other in (("rgb", "depth"), ("depth", "rgb")):
        alone = sorted(frames[modality].keys() - frames[other].keys())
        if alone:
            reason = f"{len(alone)} frame numbers have {modality} but no {other} and are left out: {_first(alone)}"
            warnings.append(Skipped(video_id, f"{folder}: {reason}"))
    if doubled:
        reason = f"{len(doubled)} files repeat a frame number and are left out: {_first(doubled)}"
        warnings.append(Skipped(video_id, f"{folder}: {reason}"))
    sources: dict[str, Source] = {
        modality: ImageSequence(tuple(images[number] for number in numbers)) for modality, images in frames.items()
    }
    if (skeletons / f"{video_id}.json").is_file():
        sources[SKELETON] = SkeletonFile(skeletons / f"{video_id}.json")
    attributes = {"subject": str(subject), "view": str(view)}
    return RawVideo(video_id, ACTIONS[action], sources, attributes)


def _first(values: Sequence[object]) -> str:
    """The first few values as text."""
    return ", ".join(str(value) for value in values[:5]) + (", …" if len(values) > 5 else "")


def _render_demo(data_dir: Path, *, workers: int) -> None:
    from data_prep.synthetic.rendering.dataset import render_demo  # needed for this data set alone

    render_demo(data_dir, workers=workers)


READER = Reader(
    list_videos=list_videos,
    optional=(SKELETON,),
    class_names=tuple(ACTIONS.values()),
    person_in="",  # depth shows the room, and skeletons do not say where in the pictures they are
)
DEMO = dataclasses.replace(
    READER,
    class_names=tuple(ACTIONS[action] for action in DEMO_ACTIONS),
    generate=_render_demo,
)
