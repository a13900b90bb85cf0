"""UWA3D Multiview Activity II (UWA3DII): thirty actions, ten subjects, four views that are separate performances.

The paper's split is not released. Its Table 4 fits training on views 1 and 2 and testing on 3 and 4, the default; the
authors' earlier code trains on 1, 2, 3 and tests on 4 (`--train_views=1,2,3`).
"""

from __future__ import annotations

from dmcl_tf.data.table import Video
from dmcl_tf.datasets.base import Dataset, Protocol, Setting, by_view
from dmcl_tf.errors import InputError

ACTIONS = (
    *("one hand waving", "one hand punching", "two hand waving", "two hand punching", "sitting down", "standing up"),
    *("vibrating", "falling down", "holding chest", "holding head", "holding back", "walking", "irregular walking"),
    *("lying down", "turning around", "drinking", "phone answering", "bending", "jumping jack", "running"),
    *("picking up", "putting down", "kicking", "jumping", "dancing", "mopping floor", "sneezing"),
    *("sitting down (chair)", "squatting", "coughing"),
)
VIEWS = (1, 2, 3, 4)

# RGB and depth of these are not of one performance (sangminwoo/ActionMAE: lib/dataset/uwa3d_dataset.py)
UNPAIRED = ("a02_s06_v03", "a06_s06_v04", "a07_s02_v02", "a16_s06_v02", "a21_s02_v04")


def side(video: Video, protocol: Protocol) -> str:
    """The cross-view protocol: train on some views, test on all others."""
    return "train" if int(video.attributes["view"]) in protocol["train_views"] else "test"


def check(protocol: Protocol) -> None:
    """Refuses an unknown view, or none or all of them to train on."""
    views = protocol["train_views"]
    if not set(views) <= set(VIEWS) or len(set(views)) not in (1, 2, 3):
        listed = ",".join(map(str, views))
        raise InputError(f"--train_views={listed}: expected one to three of 1, 2, 3, 4; the others are tested on")


DATASET = Dataset(
    name="uwa3dii",
    title="UWA3DII",
    class_names=ACTIONS,
    side=side,
    settings={"train_views": Setting((1, 2), "Views to train on; UWA3DII tests on all others.")},
    check=check,
    apart=by_view,
    group="view",
    # 1,075 videos are published, of which five are unpaired
    expected={"videos": 1075 - len(UNPAIRED)},
)
