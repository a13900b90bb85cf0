"""Many clips: folders in the layout of NW-UCLA, from skeleton files or from the demo's animation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.running.processes import run_parallel
from data_prep.synthetic.clip_id import parse_clip_id
from data_prep.synthetic.demo_skeletons import demo_clip_ids, demo_skeletons
from data_prep.synthetic.rendering.clip import write_clip
from data_prep.video.skeleton_files import load_skeletons
from dmcl_tf.errors import InputError
from dmcl_tf.files import read_json, remove_stale, write_json

LAYOUT = "multiview_action"  # NW-UCLA's own name of the folder that holds the views
SMALLEST_SIZE, LARGEST_SIZE = 16, 1024  # pixels


@dataclass(frozen=True)
class RenderSummary:
    """What became of the clips.

    Attributes:
        rendered: clips made now.
        present: clips that were complete already.
        frames: frames made now.
        skipped: clip id or file name → reason, for clips that cannot be rendered.
    """

    rendered: int
    present: int
    frames: int
    skipped: dict[str, str]


def render_folder(skeletons: Path, output: Path, *, size: int, workers: int, limit: int | None = None) -> RenderSummary:
    """Renders every skeleton file `aAA_sSS_eEE_vVV.json` of a folder into `output`/multiview_action/….

    Complete clips are kept. Files that cannot be rendered are skipped and written to `output`/skipped.json.

    Args:
        skeletons: folder with the JSON files.
        output: folder to be filled.
        size: side of the pictures in pixels.
        workers: number of processes.
        limit: render the first so many files only.

    Raises:
        InputError: no such folder, nothing in it, impossible size, or an output folder of another size.
    """
    if not skeletons.is_dir():
        raise InputError(f"--skeletons={skeletons}: no such folder; expected one with files aAA_sSS_eEE_vVV.json")
    files = sorted(skeletons.glob("*.json"))[:limit]
    if not files:
        raise InputError(f"--skeletons={skeletons}: holds no .json file; expected files aAA_sSS_eEE_vVV.json")
    return _render_all([(path.stem, path) for path in files], _read_file, output, size=size, workers=workers)


def render_demo(output: Path, *, size: int = 80, subjects: int = 8, workers: int = 1) -> RenderSummary:
    """Renders the demo data set, 6 actions × `subjects` × 3 views, as `render_folder` does."""
    clips = [(clip_id, clip_id) for clip_id in demo_clip_ids(subjects=subjects)]
    return _render_all(clips, demo_skeletons, output, size=size, workers=workers)


def _read_file(path: Path) -> np.ndarray:
    parse_clip_id(path.stem)
    return load_skeletons(path)


def _render_all(
    clips: Sequence[tuple[str, Any]],
    read: Callable[[Any], np.ndarray],
    output: Path,
    *,
    size: int,
    workers: int,
) -> RenderSummary:
    if not SMALLEST_SIZE <= size <= LARGEST_SIZE:
        raise InputError(f"--size={size}: expected {SMALLEST_SIZE} … {LARGEST_SIZE} pixels")
    _check_settings(output, {"size": size})
    remove_stale(output / LAYOUT)
    work = partial(_render_one, read=read, output=output, size=size)
    results = list(run_parallel(work, clips, workers=workers, description="rendering", unit="clip"))
    skipped = dict(sorted((name, reason) for name, _, reason in results if reason))
    write_json(output / "skipped.json", skipped)
    frames = [count for _, count, reason in results if not reason]
    return RenderSummary(sum(map(bool, frames)), frames.count(0), sum(frames), skipped)


def _render_one(
    clip: tuple[str, object], *, read: Callable[[object], np.ndarray], output: Path, size: int
) -> tuple[str, int, str]:
    """Returns (name, frames rendered now, reason why it was skipped or "")."""
    name, source = clip
    try:
        folder = output / LAYOUT / parse_clip_id(name).folder
        if folder.is_dir():
            return name, 0, ""
        try:
            return name, write_clip(read(source), name, folder, size=size), ""
        except OSError:
            if not folder.is_dir():
                raise
            return name, 0, ""  # another process made it meanwhile
    except InputError as error:
        return name, 0, str(error) if name in str(error) else f"{name}: {error}"


def _check_settings(output: Path, settings: dict[str, int]) -> None:
    """Writes the settings beside the clips, or compares them with those that are there."""
    path = output / "render.json"
    if not path.exists():
        write_json(path, settings)
        return
    recorded = read_json(path, dict, f"delete {output} and run again")
    if recorded != settings:
        raise InputError(f"{output} holds clips rendered with {recorded}, not {settings}; give another output folder")


def describe(summary: RenderSummary, output: Path) -> str:
    """The summary in a few lines: counts, then the skipped clips by name."""
    lines = [
        f"{summary.rendered} clips rendered ({summary.frames} frames), {summary.present} were complete, "
        f"{len(summary.skipped)} skipped: {output / LAYOUT}"
    ]
    lines += [f"skipped: {reason}" for reason in summary.skipped.values()]
    return "\n".join(lines)
