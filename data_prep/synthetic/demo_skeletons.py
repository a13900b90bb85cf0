"""The demo data set: six of the ten actions of NW-UCLA, which all are animated, seen by three cameras.

Clips have NW-UCLA's names and skeletons have its format, so everything that reads the real data reads these.
"""

from __future__ import annotations

import numpy as np

from data_prep.synthetic.animation.actions import ACTIONS
from data_prep.synthetic.animation.perform import draw_subject, perform
from data_prep.synthetic.clip_id import ClipId, generator, parse_clip_id
from dmcl_tf.datasets.nwucla import DEMO_ACTIONS
from dmcl_tf.errors import InputError

# View → azimuth around the person (degrees, positive: the camera stands at the person's right hand), height (metres)
_VIEWS = {1: (-8.0, 1.0), 2: (-55.0, 1.45), 3: (38.0, 1.2)}
_DISTANCE = 3.8  # metres
_AIM = 0.95  # metres over the floor


def demo_clip_ids(*, subjects: int = 8) -> list[str]:
    """The clip ids `aAA_sSS_eEE_vVV` of 6 actions × `subjects` × 3 views."""
    return [
        str(ClipId(action, subject, 0, view))
        for action in DEMO_ACTIONS
        for subject in range(1, subjects + 1)
        for view in _VIEWS
    ]


def demo_skeletons(clip_id: str) -> np.ndarray:
    """The skeletons of a clip, (L, 20, 3) metres in its camera's frame, a function of the clip id.

    As in NW-UCLA, the views of one (action, subject, episode) show the same performance.

    Raises:
        InputError: no action or view of the demo data set.
    """
    clip = parse_clip_id(clip_id)
    if clip.action not in ACTIONS or clip.view not in _VIEWS:
        raise InputError(f"{clip_id}: expected an action of {sorted(ACTIONS)} and a view of {sorted(_VIEWS)}")
    subject = draw_subject(generator("subject", clip.subject))
    body = perform(clip.action, subject, generator("performance", clip.action, clip.subject, clip.episode))
    return _to_camera(body, *_VIEWS[clip.view])


def _to_camera(body: np.ndarray, azimuth: float, height: float) -> np.ndarray:
    """World → frame of a camera that looks at the middle of the scene."""
    angle = np.radians(azimuth)
    position = np.array([_DISTANCE * np.sin(angle), height, -_DISTANCE * np.cos(angle)])
    forward = np.array([0, _AIM, 0]) - position
    forward /= np.linalg.norm(forward)
    right = np.cross([0, 1, 0], forward)
    right /= np.linalg.norm(right)
    return (body - position) @ np.stack([right, np.cross(forward, right), forward], axis=1)
