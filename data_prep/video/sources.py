"""What one modality of one raw video is made of: image files, a folder of them, a video file, or a volume."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path

from data_prep.video.base import Frame, Source
from data_prep.video.frames import NUMPY
from data_prep.video.images import IMAGE_SUFFIXES, ImageFolder, ImageSequence
from data_prep.video.opening import naming
from data_prep.video.series import frame_numbers, natural_order, pair_numbers
from data_prep.video.skeletons import SKELETON, SkeletonFile
from data_prep.video.videos import VideoFile
from data_prep.video.volumes import MatVolume, NumpyVolume
from dmcl_tf.errors import InputError

__all__ = [
    "IMAGE_SUFFIXES",
    "Frame",
    "ImageFolder",
    "ImageSequence",
    "MatVolume",
    "NumpyVolume",
    "SkeletonFile",
    "Source",
    "VideoFile",
    "natural_order",
    "open_source",
    "open_sources",
]

_EXPECTED = "expected a video file or a folder of frames"


def open_source(path: Path, modality: str = "", *, mat_variable: str | None = None, root: Path | None = None) -> Source:
    """The source that fits a path: a folder of frames, a volume (`.mat`, `.npy`), or else a video file.

    Of the modality skeleton it is a file of joints.

    Args:
        path: of the file or folder.
        modality: whose images are taken from a folder that holds those of several.
        mat_variable: the name of the volume in a MATLAB file; None for the only one.
        root: the folder that links among the images of a folder may not leave; None where they may.

    Raises:
        InputError: the path does not exist, may not be seen, or is a single image, a named pipe or a device.
    """
    with naming(path, _EXPECTED):
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            return ImageFolder(path, modality=modality, root=root)
        if not stat.S_ISREG(kind):
            raise InputError(f"neither a file nor a folder; {_EXPECTED}")
        if modality == SKELETON:
            return SkeletonFile(path)
        ending = path.suffix.lower()
        if ending == NUMPY:
            return NumpyVolume(path)
        if ending == ".npz":
            raise InputError("an archive of arrays; save the frames as one array with numpy.save")
        if ending in IMAGE_SUFFIXES:
            raise InputError(f"a single image; {_EXPECTED}")
        return MatVolume(path, mat_variable) if ending == ".mat" else VideoFile(path)


def open_sources(
    paths: Mapping[str, Path], *, mat_variable: str | None = None, root: Path | None = None
) -> tuple[dict[str, Source], list[str]]:
    """Opens the modalities of one video, and pairs folders of images by frame number where they can be compared.

    Returns:
        The sources by modality, and a line for what is left out of each.

    Raises:
        InputError: as `open_source`.
    """
    sources = {name: open_source(path, name, mat_variable=mat_variable, root=root) for name, path in paths.items()}
    folders, numbers = {}, {}
    for modality, source in sources.items():
        if isinstance(source, ImageFolder):
            try:
                images = source.sequence().paths
            except InputError:  # said when it is read
                continue
            found = frame_numbers([image.name for image in images])
            if found:
                folders[modality], numbers[modality] = images, found
    # flow lies between frames, and so has its own numbers: it follows the others
    recorded = {modality: found for modality, found in numbers.items() if modality != "flow"}
    if len(recorded) < 2:
        return sources, []
    kept = pair_numbers(recorded)
    if kept and "flow" in numbers:
        first = next(iter(kept))
        wanted = {numbers[first][position] for position in kept[first]}
        kept["flow"] = [at for at, number in enumerate(numbers["flow"]) if number in wanted]
    lines = []
    for modality, positions in kept.items():
        left_out = [number for at, number in enumerate(numbers[modality]) if at not in set(positions)]
        if left_out:
            text = ", ".join(map(str, left_out[:5])) + (", …" if len(left_out) > 5 else "")
            lines.append(
                f"{paths[modality]}: {len(left_out)} frames have no partner of the same number in the other "
                f"modalities and are left out: {text}"
            )
        sources[modality] = ImageSequence(tuple(folders[modality][at] for at in positions))
    return sources, lines
