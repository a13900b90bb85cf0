"""The readers of raw folders, by the folder of a data set below that of all data. A new one is a file and an entry."""

from __future__ import annotations

from data_prep.raw import custom, ntu, nwucla, utd_mhad, uwa3dii
from data_prep.raw.base import Reader

READERS: dict[str, Reader] = {
    "demo": nwucla.DEMO,
    "nwucla": nwucla.READER,
    "uwa3dii": uwa3dii.READER,
    "ntu": ntu.READER,
    "utd_mhad": utd_mhad.READER,
    "custom": custom.READER,
}
