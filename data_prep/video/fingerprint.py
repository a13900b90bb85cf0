"""Tells whether a video's record was made from the raw files, and with the settings, that there are now."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from data_prep.video.base import Source
from data_prep.video.opening import open_file
from data_prep.video.volumes import MatVolume
from dmcl_tf.errors import InputError

_END_BYTES = 65536
_COMPRESSED = (".jpg", ".jpeg", ".png", ".webp")  # two such images of one name and size are hardly ever different


def fingerprint(sources: Mapping[str, Source], settings: Mapping[str, object]) -> str:
    """Returns a checksum of a video's raw files and of the settings that shape its record.

    It changes when a file is downloaded again, or another takes its place. Of JPEG, PNG and WebP images it
    holds names and sizes; of other files, which may be of one size, beginning and end as well.

    Args:
        sources: by modality, those that the record is made from.
        settings: JSON values.
    """
    checksum = zlib.crc32(msgspec.json.encode(settings, order="deterministic"))
    for modality, source in sorted(sources.items()):
        if isinstance(source, MatVolume) and source.variable:
            checksum = zlib.crc32(f"{modality}:{source.variable}\n".encode(errors="backslashreplace"), checksum)
        for path in source.files:
            size = _size(path)
            checksum = zlib.crc32(f"{modality}/{path.name}:{size}\n".encode(errors="backslashreplace"), checksum)
            if size > 0 and path.suffix.lower() not in _COMPRESSED:
                checksum = zlib.crc32(_both_ends(path, size), checksum)
    return f"{checksum:08x}"


def _both_ends(path: Path, size: int) -> bytes:
    try:
        with open_file(path) as file:
            start = file.read(_END_BYTES)
            file.seek(max(0, size - _END_BYTES))
            return start + file.read(_END_BYTES)
    except (OSError, InputError):  # decoding says what is wrong with it
        return b""


def _size(path: Path) -> int:
    """Bytes of a regular file; -1 where there is none, or where it may not be seen."""
    try:
        return path.stat().st_size if path.is_file() else -1
    except OSError:
        return -1
