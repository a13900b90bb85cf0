"""Volumes H × W × T in MATLAB files of format 5 (SciPy) and 7.3 (HDF5)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from dmcl_tf.errors import InputError

_HDF5_HEADERS = (b"MATLAB 7.3 MAT-file", b"\x89HDF\r\n\x1a\n")


def volume_frames(path: Path, variable: str) -> Iterator[np.ndarray]:
    """Yields the T slices `(H, W)` of a volume.

    Raises:
        InputError: the file is none of MATLAB's, or has no such volume.
    """
    with _hdf5_volume(path, variable) if _is_hdf5(path) else _loaded_volume(path, variable) as (volume, transposed):
        length = volume.shape[0] if transposed else volume.shape[2]
        for index in range(length):
            # HDF5 has MATLAB's dimensions in reverse order: T × W × H
            yield np.asarray(volume[index]).T if transposed else volume[..., index]


def volume_length(path: Path, variable: str) -> int:
    """The number of slices T, without reading them; raises `InputError` as `volume_frames`."""
    if _is_hdf5(path):
        with _hdf5_volume(path, variable) as (volume, _):
            return volume.shape[0]
    return _loadable_shape(path, variable)[2]


def _is_hdf5(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(20).startswith(_HDF5_HEADERS)


@contextmanager
def _loaded_volume(path: Path, variable: str):
    from scipy.io import loadmat  # for this format alone

    shape = _loadable_shape(path, variable)
    with _naming(path):
        volume = loadmat(str(path), variable_names=[variable])[variable]
    yield volume.reshape(shape), False


def _loadable_shape(path: Path, variable: str) -> tuple[int, int, int]:
    from scipy.io import whosmat  # for this format alone

    with _naming(path):
        shapes = {name: shape for name, shape, _ in whosmat(str(path))}
    return _as_volume(path, variable, shapes)


@contextmanager
def _hdf5_volume(path: Path, variable: str):
    import h5py  # for this format alone

    with _naming(path), h5py.File(path, "r") as file:
        shapes = {name: item.shape[::-1] for name, item in file.items() if isinstance(item, h5py.Dataset)}
        shape = _as_volume(path, variable, shapes)
        volume = file[variable]
        yield volume[()][None] if len(volume.shape) < len(shape) else volume, True


def _as_volume(path: Path, variable: str, shapes: dict[str, tuple[int, ...]]) -> tuple[int, int, int]:
    """The shape H × W × T of a variable; MATLAB drops the third dimension of a single frame."""
    if variable not in shapes:
        names = ", ".join(shapes) or "nothing"
        raise InputError(f"{path}: has no variable {variable!r}, but {names}")
    shape = shapes[variable]
    if len(shape) not in (2, 3) or not min(shape):
        raise InputError(f"{path}: {variable} has the shape {shape}; expected height × width × frames")
    return (*shape, 1) if len(shape) == 2 else shape


@contextmanager
def _naming(path: Path):
    """The libraries raise all kinds of errors for damaged files: each becomes one that names the file."""
    try:
        yield
    except (InputError, MemoryError, KeyboardInterrupt, GeneratorExit):
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not a readable MATLAB file ({reason}); copy or download it again") from error
