"""Names of clips, and the random numbers that follow from them."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

import numpy as np

from dmcl_tf.errors import InputError

_PATTERN = re.compile(r"a(\d\d)_s(\d\d)_e(\d\d)_v(\d\d)")


@dataclass(frozen=True)
class ClipId:
    """Action, subject, episode and view of a clip, as in `a01_s01_e00_v01`."""

    action: int
    subject: int
    episode: int
    view: int

    def __str__(self) -> str:
        return f"a{self.action:02d}_s{self.subject:02d}_e{self.episode:02d}_v{self.view:02d}"

    @property
    def folder(self) -> str:
        """Where the clip lies under `multiview_action/`."""
        return f"view_{self.view}/a{self.action:02d}_s{self.subject:02d}_e{self.episode:02d}"


def parse_clip_id(text: str) -> ClipId:
    """Reads `aAA_sSS_eEE_vVV`; raises `InputError` for anything else."""
    match = _PATTERN.fullmatch(text)
    if not match:
        raise InputError(f"{text!r} is no clip id: expected aAA_sSS_eEE_vVV, like a01_s01_e00_v01")
    return ClipId(*map(int, match.groups()))


def generator(*names: object) -> np.random.Generator:
    """Random numbers that are a function of `names` alone: the same on every machine and in every process."""
    return np.random.Generator(np.random.PCG64(zlib.crc32("/".join(map(str, names)).encode())))
