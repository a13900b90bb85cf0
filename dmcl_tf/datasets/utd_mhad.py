"""UTD-MHAD: twenty-seven actions by eight people before a Kinect, with skeletons (Chen et al., ICIP 2015)."""

from __future__ import annotations

from dmcl_tf.data.table import Video
from dmcl_tf.datasets.base import APART, PER_CLASS, Dataset, Protocol, Setting

ACTIONS = (
    *("swipe left", "swipe right", "wave", "clap", "throw", "cross arms", "basketball shoot", "draw X"),
    *("draw circle clockwise", "draw circle counter-clockwise", "draw triangle", "bowling", "boxing"),
    *("baseball swing", "tennis swing", "arm curl", "tennis serve", "push", "knock", "catch", "pick up and throw"),
    *("jog", "walk", "sit to stand", "stand to sit", "lunge", "squat"),
)


def side(video: Video, protocol: Protocol) -> str:
    """The authors' protocol: people of odd numbers train, those of even numbers test."""
    return "train" if int(video.attributes["subject"]) % 2 else "test"


DATASET = Dataset(
    name="utd_mhad",
    title="UTD-MHAD",
    class_names=ACTIONS,
    side=side,
    settings={"validation": Setting(APART, "", (PER_CLASS, APART))},  # one of the four people who train
    apart=lambda protocol: "subject",
    modalities=("depth", "flow", "skeleton"),
    expected={"videos": 861},
    # a mirrored swipe to the left is a swipe to the right, and a circle turns the other way
    defaults={"flip_probability": 0.0},
)
