"""Arrays of numbers in MATLAB files of format 5, read piece by piece.

The format: https://www.mathworks.com/help/pdf_doc/matlab/matfile_format.pdf. SciPy's reader loads volumes as a whole,
and damaged files end the process there.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from data_prep.video.opening import naming, open_file

_HEADER = 128
_COMPRESSED, _MATRIX = 15, 14
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_OTHERS = {1: "a cell array", 2: "a struct", 3: "an object", 4: "text", 5: "a sparse matrix"}
_COMPLEX = 0x800
_CHUNK = 2**18
_MOST = 1000  # variables
_LONGEST = 2**12  # bytes of names and dimensions


@dataclass(frozen=True)
class Variable:
    """A variable of a file.

    Attributes:
        name: its name.
        shape: its dimensions.
        kind: what it is instead, where it is no array of real numbers; else "".
        dtype: of its values.
        position: in the file, of the element that holds it.
    """

    name: str
    shape: tuple[int, ...]
    kind: str
    dtype: np.dtype
    position: int


class _Element:
    """The bytes of one element, decompressed as they are read."""

    def __init__(self, file: BinaryIO, order: str, position: int):
        self._file, self._order = file, order
        file.seek(position)
        kind, self._left = struct.unpack(f"{order}II", self._raw(8))
        self.end = position + 8 + self._left
        self._unpacking, self._ready = None, b""
        if kind == _COMPRESSED:
            self._unpacking = zlib.decompressobj()
            kind, _ = struct.unpack(f"{order}II", self.read(8))
        if kind != _MATRIX:
            raise ValueError("the file is damaged: it holds something else than variables")

    def _raw(self, count: int) -> bytes:
        content = self._file.read(count)
        if len(content) < count:
            raise ValueError("the file is cut off")
        return content

    def read(self, count: int) -> bytes:
        """The next bytes."""
        if self._unpacking is None:
            if count > self._left:
                raise ValueError("the file is damaged: a variable is longer than its element")
            self._left -= count
            return self._raw(count)
        while len(self._ready) < count:
            packed = self._unpacking.unconsumed_tail
            if not packed:
                size = min(self._left, _CHUNK)
                packed, self._left = self._raw(size), self._left - size
            more = self._unpacking.decompress(packed, max(count - len(self._ready), 64))
            if not more and not self._left and not self._unpacking.unconsumed_tail:
                raise ValueError("the file is cut off or damaged")
            self._ready += more
        content, self._ready = self._ready[:count], self._ready[count:]
        return content

    def check_end(self) -> None:
        """Raises an error where the checksum of what was compressed is wrong, or missing."""
        if self._unpacking is not None and not self._unpacking.eof:
            rest = self._unpacking.unconsumed_tail + self._raw(min(self._left, _CHUNK))
            self._unpacking.decompress(rest, _CHUNK)
            if not self._unpacking.eof:
                raise ValueError("the file is cut off or damaged")

    def tag(self) -> tuple[int, int, bytes | None]:
        """Type and size of the next part, and its content where that is short enough to be in the tag."""
        head = self.read(8)
        kind, size = struct.unpack(f"{self._order}II", head)
        if kind >> 16:
            return kind & 0xFFFF, kind >> 16, head[4 : 4 + (kind >> 16)]
        return kind, size, None

    def part(self) -> bytes:
        """The next short part: flags, dimensions or a name."""
        _, size, content = self.tag()
        if content is None:
            if size > _LONGEST:
                raise ValueError("the file is damaged: a name is too long")
            content = self.read(size + -size % 8)[:size]
        return content


def read_variables(path: Path) -> dict[str, Variable]:
    """The variables of a file by name; no values are read.

    Raises:
        InputError: it cannot be read.
    """
    variables = {}
    with open_file(path) as file, naming(path, problem="not a readable MATLAB file"):
        size, order = file.seek(0, 2), _order(file)
        position = _HEADER
        while position < size:
            element = _Element(file, order, position)
            variable = _describe(element, order, position)
            if variable.name:
                variables[variable.name] = variable
            position = element.end
            if position > size:
                raise ValueError("the file is cut off")
            if len(variables) > _MOST:
                raise ValueError(f"it has more than {_MOST} variables")
    return variables


def read_slices(path: Path, variable: Variable, shape: tuple[int, int, int]) -> Iterator[np.ndarray]:
    """Yields the slices `(H, W)` of a variable of shape H × W × T one after the other.

    Raises:
        InputError: it cannot be read to the end.
    """
    with open_file(path) as file, naming(path, problem="not a readable MATLAB file"):
        order = _order(file)
        element = _Element(file, order, variable.position)
        _describe(element, order, variable.position)
        kind, size, content = element.tag()
        if kind not in _STORED:
            raise ValueError("the file is damaged: values of no known type")
        stored = np.dtype(f"{order}{_STORED[kind]}")
        if size != math.prod(shape) * stored.itemsize:
            raise ValueError(f"the file is damaged: {variable.name} has {size} bytes, but the shape {shape}")
        height, width, length = shape
        count = height * width * stored.itemsize
        for index in range(length):
            values = element.read(count) if content is None else content[index * count : (index + 1) * count]
            yield np.frombuffer(values, stored).reshape((height, width), order="F").astype(variable.dtype)
        element.check_end()


def _order(file: BinaryIO) -> str:
    file.seek(_HEADER - 2)
    return ">" if file.read(2) == b"MI" else "<"


def _describe(element: _Element, order: str, position: int) -> Variable:
    (flags,) = struct.unpack_from(f"{order}I", element.part())
    number = flags & 0xFF
    if number not in _CLASSES and number not in _OTHERS:
        return Variable("", (), "", np.dtype("u1"), position)
    sizes = element.part()
    shape = struct.unpack(f"{order}{len(sizes) // 4}i", sizes[: len(sizes) // 4 * 4])
    if any(size < 0 for size in shape):
        raise ValueError(f"the file is damaged: a variable of the shape {shape}")
    name = element.part().decode("latin-1")
    kind = _OTHERS.get(number, "an array of complex numbers" if flags & _COMPLEX else "")
    return Variable(name, shape, kind, np.dtype(_CLASSES.get(number, "u1")), position)
