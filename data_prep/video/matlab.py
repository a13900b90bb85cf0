"""Volumes H × W × T in MATLAB files of format 5 and 7.3 (HDF5)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from data_prep.video.mat5 import Variable, read_slices, read_variables
from data_prep.video.opening import AGAIN, DEFAULT_LIMITS, Limits, check_file, naming, shown
from dmcl_tf.errors import InputError

_HDF5_HEADERS = (b"MATLAB 7.3 MAT-file", b"\x89HDF\r\n\x1a\n")
_BYTE_ORDERS = (b"IM", b"MI")  # at the end of the header of format 5
_PROBLEM = "not a readable MATLAB file"
_CACHE = 2**26  # bytes of parts that HDF5 keeps decompressed

Shape = tuple[int, ...]


def volume_frames(path: Path, variable: str | None, limits: Limits = DEFAULT_LIMITS) -> Iterator[np.ndarray]:
    """Yields the T slices `(H, W)` of a volume, each read when its turn comes.

    Args:
        path: the file.
        variable: the name of the volume; None for the only one.
        limits: what it may ask for.

    Raises:
        InputError: the file is none of MATLAB's, or has no such volume.
    """
    if _is_hdf5(path):
        with _hdf5_volume(path, variable) as (volume, shape):
            _check_size(shape, limits)
            if volume.chunks:
                limits.check_bytes(math.prod(volume.chunks) * volume.dtype.itemsize, "a part of the volume")
            for index in range(shape[2]):
                # HDF5 has MATLAB's dimensions in reverse order: T × W × H
                yield np.asarray(volume[index] if volume.ndim == 3 else volume[()]).T
        return
    found, shape = _choose_of_format_5(path, variable)
    with naming(path):
        _check_size(shape, limits)
    yield from read_slices(path, found, shape)


def volume_length(path: Path, variable: str | None) -> int:
    """The number of slices T, without reading them; raises `InputError` as `volume_frames`."""
    if _is_hdf5(path):
        with _hdf5_volume(path, variable) as (_, shape):
            return shape[2]
    return _choose_of_format_5(path, variable)[1][2]


def _is_hdf5(path: Path) -> bool:
    """Whether a file is of format 7.3; raises `InputError` where it is of none that is known here."""
    head = check_file(path, 128)
    if not head.startswith(_HDF5_HEADERS) and head[126:] not in _BYTE_ORDERS:
        raise InputError(f"{shown(path)}: {_PROBLEM} (its header is of neither format 5 nor 7.3); {AGAIN}")
    return head.startswith(_HDF5_HEADERS)


def _check_size(shape: Shape, limits: Limits) -> None:
    limits.check_image(shape[1], shape[0])
    limits.check_frames(shape[2])


def _choose_of_format_5(path: Path, variable: str | None) -> tuple[Variable, Shape]:
    variables = read_variables(path)
    with naming(path):
        shapes = {name: found.shape for name, found in variables.items() if not found.kind}
        others = {name: found.kind for name, found in variables.items() if found.kind}
        name, shape = _choose(variable, shapes, others)
    return variables[name], shape


@contextmanager
def _hdf5_volume(path: Path, variable: str | None):
    import h5py  # for this format alone

    with naming(path, problem=_PROBLEM), h5py.File(path, "r", rdcc_nbytes=_CACHE) as file:
        shapes, others = {}, {}
        for name in file:
            if isinstance(file.get(name, getlink=True), h5py.ExternalLink):
                raise InputError(f"{name} is a link to another file, which is not followed; copy the data here")
            item = file[name]
            if not isinstance(item, h5py.Dataset):
                others[name] = "a group, such as a struct or a sparse matrix"
            elif item.dtype.kind not in "uif":
                others[name] = "a cell array, text or complex numbers"
            elif item.external or item.is_virtual:
                raise InputError(f"{name} is stored in other files, which are not opened; copy the data here")
            else:
                shapes[name] = (item.shape or ())[::-1]
        name, shape = _choose(variable, shapes, others)
        yield file[name], shape


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
        raise InputError(f"{variable} is {others[variable]}; expected real numbers, height × width × frames")
    if variable not in shapes:
        raise InputError(f"has no variable {variable!r}, but {_list([*shapes, *others])}")
    shape = shapes[variable]
    if len(shape) not in (2, 3) or not min(shape):
        raise InputError(f"{variable} has the shape {shape}; expected height × width × frames")
    return variable, ((*shape, 1) if len(shape) == 2 else shape)


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"
