"""Statistics of rendered rooms beside those of real recordings, which the renderer's constants were chosen by.

    python -m benchmarks.rendered_rooms --ntu=S001C001P001R001A001_rgb.avi --gestures=DIR --utd=DIR --skeletons=DIR

Colour of rooms is compared with square windows of a real NTU RGB+D video, as large as the renderer's windows around
people; colour of people with RGB clips whose background is black (--gestures: `*/*/rgb.avi`); depth of people with the
clips of UTD-MHAD (--utd: `*_depth.mat`), whose background was removed. What is not given is left out. Half of the
rendered clips are of the demo data set, half of the skeletons of a folder; depth of people is measured on the latter,
who stand as far away as those of UTD-MHAD. A line says the median and the range from the 10th to the 90th percentile of
both, the ratio of the medians, and whether ours lies within the range of all of theirs or within 30 % of their median.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from absl import flags

from benchmarks.picture_statistics import (
    colour_statistics,
    depth_statistics,
    filled,
    raggedness,
    spectral_slope,
)
from benchmarks.turns import Ratios
from data_prep.synthetic.clip_id import generator
from data_prep.synthetic.demo_skeletons import demo_clip_ids, demo_skeletons
from data_prep.synthetic.rendering import load_skeletons
from data_prep.synthetic.rendering.clip import Clip, render_frame, stage
from data_prep.synthetic.rendering.raycast import cast
from data_prep.synthetic.rendering.room import SAMPLES, Room, furnish
from data_prep.synthetic.rendering.sensor import DEPTH_RANGE, colour_picture
from dmcl_tf.errors import InputError, run_script

Rows = list[dict[str, float]]
_TOLERANCE = 0.3
_WINDOWS = (500, 600, 800)  # pixels of NTU's 1080 rows; 1.8 to 2.9 metres at the person, as rendered windows are
_UTD_SIZE = 96  # pixels: what a window around a person of UTD-MHAD has at its half resolution


def square(picture: np.ndarray) -> dict[str, float]:
    """All colour statistics of a square picture."""
    return {**colour_statistics(picture), "spectral slope": spectral_slope(picture)}


def eroded(mask: np.ndarray) -> np.ndarray:
    """The mask without the pixels at its outline."""
    return cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)


def silhouette_statistics(picture: np.ndarray, silhouette: np.ndarray) -> dict[str, float]:
    """Depth of a person whose readings are the `silhouette`: its inside, small holes in it, its outline."""
    whole = filled(silhouette)
    found = depth_statistics(picture, eroded(whole))
    return {
        "holes": float(1 - silhouette.sum() / whole.sum()),
        "raggedness": raggedness(silhouette),
        **{name: found[name] for name in ("depth edges", "gradient", "levels", "level spread")},
    }


def ntu_statistics(path: Path, size: int, person: list[int]) -> tuple[Rows, Rows]:
    """Windows of a video without and with the whole of its person, whose box is (left, top, right, bottom)."""
    left, top, right, bottom = person
    without: Rows = []
    around: Rows = []
    for frame in _frames(path, every=30):
        for side in _WINDOWS:
            y = max(0, (top + bottom - side) // 2)
            for x in range(0, frame.shape[1] - side + 1, 60):
                window = cv2.resize(frame[y : y + side, x : x + side], (size, size), interpolation=cv2.INTER_AREA)
                if x + side <= left or x >= right:
                    without.append(square(window))
                elif x < left - 20 and x + side > right + 20:
                    around.append(square(window))
    return without, around


def gesture_statistics(folder: Path) -> Rows:
    """People before black, at half of the clips' resolution."""
    rows = []
    for path in _found(folder, "*/*/rgb.avi", "--gestures"):
        for frame in _frames(path, every=60):
            small = cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            mask = eroded(small.max(2) > 12)
            if mask.sum() > 300:
                rows.append(colour_statistics(small, mask))
    return rows


def utd_statistics(folder: Path) -> Rows:
    """Every twentieth frame of depth clips in millimetres, coded as the renderer codes depth."""
    from scipy.io import loadmat  # slow to import

    rows = []
    for path in _found(folder, "*_depth.mat", "--utd"):
        clip = loadmat(path)["d_depth"]
        for i in range(5, clip.shape[2], 20):
            millimetres = clip[..., i].astype(float)
            picture = np.rint((millimetres * (0.255 / DEPTH_RANGE)).clip(0, 255)).astype(np.uint8)
            rows.append(silhouette_statistics(picture, millimetres > 0))
    return rows


def _found(folder: Path, pattern: str, flag: str) -> list[Path]:
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise InputError(f"{flag}={folder}: holds no {pattern}")
    return paths


def _frames(path: Path, *, every: int) -> Iterator[np.ndarray]:
    """Every so many RGB frames of a video."""
    video = cv2.VideoCapture(str(path))
    if not video.isOpened():
        raise InputError(f"{path}: not a readable video")
    i = 0
    while video.grab():
        if i % every == every // 2:
            yield video.retrieve()[1][..., ::-1]
        i += 1


def rendered_clips(folder: Path | None, clips: int) -> tuple[list[tuple[str, np.ndarray]], int]:
    """(clip id, skeletons) of the demo, then of a folder of files, spread evenly; and how many are the demo's."""
    ids = demo_clip_ids()
    count = clips if folder is None else clips // 2
    chosen = [(ids[i], demo_skeletons(ids[i])) for i in np.linspace(0, len(ids) - 1, count).astype(int)]
    if folder is not None:
        paths = _found(folder, "**/*.json", "--skeletons")
        chosen += [
            (paths[i].stem, load_skeletons(paths[i])) for i in np.linspace(0, len(paths) - 1, clips - count).astype(int)
        ]
    return chosen, count


def empty_room(room: Room, clip: Clip) -> np.ndarray:
    """The colour picture of a room that nobody is in."""
    size = (clip.camera.size, clip.camera.size)
    ideal = cv2.resize(room.colour, size, interpolation=cv2.INTER_AREA)
    return colour_picture(ideal, generator("noise", clip.clip_id, "empty"))


def visible_person(clip: Clip, room: Room, i: int) -> tuple[np.ndarray, tuple[float, float]]:
    """Where the person is seen (H, W) bool at frame i, and from which to which distance in metres."""
    depth = cast(clip.body(i), clip.camera).depth
    mask = depth < room.depth[SAMPLES // 2 :: SAMPLES, SAMPLES // 2 :: SAMPLES]
    return mask, (float(depth[mask].min()), float(depth[mask].max())) if mask.any() else (0.0, 0.0)


def cut_out(depth: np.ndarray, room: Room, mask: np.ndarray, reach: tuple[float, float]) -> np.ndarray:
    """The person's readings (H, W) bool, as one who removes the background finds them: near the person, and as far."""
    low, high = ((metres + change) * 255 / DEPTH_RANGE for metres, change in zip(reach, (-0.1, 0.1)))
    near, beside = (cv2.dilate(mask.astype(np.uint8), np.ones((n, n), np.uint8)).astype(bool) for n in (7, 3))
    behind = room.depth[SAMPLES // 2 :: SAMPLES, SAMPLES // 2 :: SAMPLES] > reach[1] + 0.1
    return (depth > low) & (depth < high) & near & (behind | beside)


def our_statistics(folder: Path | None, clips: int, size: int) -> dict[str, Rows]:
    """Rows of each kind, from a frame of each rendered clip."""
    chosen, demo = rendered_clips(folder, clips)
    rows: dict[str, Rows] = {name: [] for name in ("room", "frame", "person", "person's depth", "depth")}
    for number, (clip_id, skeletons) in enumerate(chosen):
        clip = stage(skeletons, size, clip_id)
        room = furnish(clip.clip_id, clip.skeletons, clip.camera, clip.light)
        i = len(clip.skeletons) // 2
        colour, depth = render_frame(clip, room, i)
        rows["room"].append(square(empty_room(room, clip)))
        rows["frame"].append(square(colour))
        rows["depth"].append(depth_statistics(depth))
        mask = eroded(visible_person(clip, room, i)[0])
        if mask.mean() > 0.01:
            rows["person"].append(colour_statistics(colour, mask))
        if number >= demo or folder is None:
            clip = stage(skeletons, _UTD_SIZE, clip_id)
            room = furnish(clip.clip_id, clip.skeletons, clip.camera, clip.light)
            mask, reach = visible_person(clip, room, i)
            silhouette = cut_out(render_frame(clip, room, i)[1], room, mask, reach)
            if silhouette.mean() > 0.01:
                rows["person's depth"].append(silhouette_statistics(render_frame(clip, room, i)[1], silhouette))
    return rows


def print_rows(title: str, ours: Rows, theirs: Rows | None) -> None:
    """A table of the statistics."""
    print(f"\n{title}: {len(ours)} of ours" + (f", {len(theirs)} of theirs" if theirs else ""))
    print("| | ours | theirs | ratio | |\n|---|---|---|---|---|")
    for name in ours[0]:
        low, median, high = np.percentile([row[name] for row in ours], [10, 50, 90])
        line = f"| {name} | {median:.3g} ({low:.3g} – {high:.3g}) |"
        if theirs:
            reference = [row[name] for row in theirs]
            a, b, c = np.percentile(reference, [10, 50, 90])
            within = min(reference) <= median <= max(reference) or abs(median / max(b, 1e-9) - 1) <= _TOLERANCE
            line += (
                f" {b:.3g} ({a:.3g} – {c:.3g}) | {median / max(b, 1e-9):.2f} | {'within' if within else 'OUTSIDE'} |"
            )
        else:
            line += " | | |"
        print(line)


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_integer("size", 80, "Side of the pictures in pixels.", 16, flag_values=flag_values)
    flags.DEFINE_integer("clips", 200, "Rendered clips.", 2, flag_values=flag_values)
    flags.DEFINE_string("skeletons", None, "Folder of skeleton files of NW-UCLA.", flag_values=flag_values)
    flags.DEFINE_string("ntu", None, "An RGB video of NTU RGB+D.", flag_values=flag_values)
    flags.DEFINE_list(
        "person", "965,280,1115,750", "Left, top, right and bottom of the person in it.", flag_values=flag_values
    )
    flags.DEFINE_string("gestures", None, "Folder of RGB clips of people before black.", flag_values=flag_values)
    flags.DEFINE_string("utd", None, "Folder of depth clips of UTD-MHAD.", flag_values=flag_values)


def main(values: flags.FlagValues) -> Ratios:
    """Prints the tables; nothing here is to be fast."""
    ours = our_statistics(Path(values.skeletons) if values.skeletons else None, values.clips, values.size)
    without, around = (
        ntu_statistics(Path(values.ntu), values.size, [int(edge) for edge in values.person])
        if values.ntu
        else (None, None)
    )
    print(f"{values.size}² pixels; median (10th – 90th percentile)")
    print_rows("room without people", ours["room"], without)
    print_rows("room with a person", ours["frame"], around)
    print_rows("person", ours["person"], gesture_statistics(Path(values.gestures)) if values.gestures else None)
    print_rows("person's depth", ours["person's depth"], utd_statistics(Path(values.utd)) if values.utd else None)
    print_rows("depth of the whole frame", ours["depth"], None)
    return {}


if __name__ == "__main__":
    define_flags()
    run_script(lambda: main(flags.FLAGS))
