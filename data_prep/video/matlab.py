"""Volumes H × W × T in MATLAB files of format 5 (SciPy) and 7.3 (HDF5)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from data_prep.video.opening import AGAIN, DEFAULT_LIMITS, Limits, check_file, naming, shown
from dmcl_tf.errors import InputError

_HDF5_HEADERS = (b"MATLAB 7.3 MAT-file", b"\x89HDF\r\n\x1a\n")
_BYTES = {"double": 8, "single": 4, "logical": 1, **{f"{u}int{8 * n}": n for u in ("", "u") for n in (1, 2, 4, 8)}}
_BYTE_ORDERS = (b"IM", b"MI")
_PROBLEM = "not a readable MATLAB file"
_CACHE = 2**26  # bytes of parts that HDF5 keeps decompressed

Shape = tuple[int, ...]


def volume_frames(path: Path, variable: str | None, limits: Limits = DEFAULT_LIMITS) -> Iterator[np.ndarray]:
    """Yields the T slices `(H, W)` of a volume; format 7.3 is read slice by slice, format 5 only as a whole.

    Args:
        path: the file.
        variable: the name of the volume; None for the only one.
        limits: what it may ask for.

    Raises:
        InputError: the file is none of MATLAB's, or has no such volume.
    """
    with (
        _hdf5_volume(path, variable) if _is_hdf5(path) else _loaded_volume(path, variable, limits) as (
            volume,
            transposed,
        )
    ):
        length = volume.shape[0] if transposed else volume.shape[2]
        height, width = volume.shape[:0:-1] if transposed else volume.shape[:2]
        limits.check_image(width, height)
        limits.check_frames(length)
        if getattr(volume, "chunks", None):
            limits.check_bytes(math.prod(volume.chunks) * volume.dtype.itemsize, "a part of the volume")
        for index in range(length):
            # HDF5 has MATLAB's dimensions in reverse order: T × W × H
            yield np.asarray(volume[index]).T if transposed else volume[..., index]


def volume_length(path: Path, variable: str | None) -> int:
    """The number of slices T, without reading them; raises `InputError` as `volume_frames`."""
    if _is_hdf5(path):
        with _hdf5_volume(path, variable) as (volume, _):
            return volume.shape[0]
    return _loadable(path, variable)[1][2]


def _is_hdf5(path: Path) -> bool:
    """Whether a file is of format 7.3; raises `InputError` where it is of none that is known here."""
    head = check_file(path, 128)
    # SciPy takes anything else for format 4, in which a file of zeros has no end
    if not head.startswith(_HDF5_HEADERS) and head[126:] not in _BYTE_ORDERS:
        raise InputError(f"{shown(path)}: {_PROBLEM} (its header is of neither format 5 nor 7.3); {AGAIN}")
    return head.startswith(_HDF5_HEADERS)


@contextmanager
def _loaded_volume(path: Path, variable: str | None, limits: Limits):
    from scipy.io import loadmat  # for this format alone

    name, shape, kind = _loadable(path, variable)
    with naming(path, problem=_PROBLEM):
        limits.check_bytes(math.prod(shape) * _BYTES[kind], f"{name}, unless it is saved with -v7.3,")
        volume = loadmat(str(path), variable_names=[name])[name].reshape(shape)
        if volume.dtype.kind not in "uif":
            raise InputError(f"{name} holds {volume.dtype} numbers; expected real ones")
    with naming(path):
        yield volume, False


def _loadable(path: Path, variable: str | None) -> tuple[str, Shape, str]:
    from scipy.io import whosmat  # for this format alone

    with naming(path, problem=_PROBLEM):
        found = whosmat(str(path))
        shapes = {name: shape for name, shape, kind in found if kind in _BYTES}
        kinds = {name: kind for name, _, kind in found}
        others = {name: f"a {kind} variable" for name, kind in kinds.items() if name not in shapes}
        name, shape = _choose(variable, shapes, others)
        return name, shape, kinds[name]


@contextmanager
def _hdf5_volume(path: Path, variable: str | None):
    import h5py  # for this format alone

    with naming(path, problem=_PROBLEM), h5py.File(path, "r", rdcc_nbytes=_CACHE) as file:
        shapes, others = {}, {}
        for name in file:
            if isinstance(file.get(name, getlink=True), h5py.ExternalLink):
                raise InputError(
                    f"{name} is a link to another file, which is not followed; copy the data into this one"
                )
            item = file[name]
            if not isinstance(item, h5py.Dataset):
                others[name] = "a group, such as a struct or sparse matrix"
            elif item.dtype.kind not in "uif":
                others[name] = "a cell array or text"
            elif item.external or item.is_virtual:
                raise InputError(f"{name} is stored in other files, which are not opened; copy the data into this one")
            else:
                shapes[name] = item.shape[::-1] if item.shape else ()
        name, shape = _choose(variable, shapes, others)
        volume = file[name]
        yield volume[()][None] if len(volume.shape) < len(shape) else volume, True


def _choose(variable: str | None, shapes: Mapping[str, Shape], others: Mapping[str, str]) -> tuple[str, Shape]:
    """The name and the shape H × W × T of a volume; MATLAB drops the third dimension of a single frame."""
    if variable is None:
        names = [name for name, shape in shapes.items() if len(shape) == 3]
        names = names or [name for name, shape in shapes.items() if len(shape) == 2 and min(shape) > 1]
        if len(names) > 1:
            raise InputError(f"has several volumes: choose one of them with --mat_variable={'|'.join(names)}")
        variable = names[0] if names else next(iter(shapes), None)
        if variable is None:
            raise InputError(f"has no volume of numbers, but {_list(others)}")
    if variable in others:
        raise InputError(f"{variable} is {others[variable]}; expected numbers, height × width × frames")
    if variable not in shapes:
        raise InputError(f"has no variable {variable!r}, but {_list([*shapes, *others])}")
    shape = shapes[variable]
    if len(shape) not in (2, 3) or not min(shape):
        raise InputError(f"{variable} has the shape {shape}; expected height × width × frames")
    return variable, ((*shape, 1) if len(shape) == 2 else shape)


def _list(names: object) -> str:
    return ", ".join(names) or "nothing"
