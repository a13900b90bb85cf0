"""People who differ, and one of them performing an action."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.synthetic.animation.actions import ACTIONS, Style, Walk
from data_prep.synthetic.animation.poses import Bones, field, interpolate, joints

_STRIDE = 1.2  # leg lengths, two steps
_STANCE = 0.6  # share of a stride a foot is on the floor
_LIFT = 0.10  # leg lengths
_MIRRORED = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 16, 17, 18, 19, 12, 13, 14, 15]
_TRACKING_NOISE = 0.004  # metres


@dataclass(frozen=True)
class Subject:
    """One person.

    Attributes:
        bones: lengths in metres.
        style: how they move.
        speed: about 1; greater is faster.
        left_handed: everything is done with the other side.
    """

    bones: Bones
    style: Style
    speed: float
    left_handed: bool


def draw_subject(random: np.random.Generator) -> Subject:
    """A person between about 1.5 and 1.95 m; a quarter are left-handed."""
    size = random.uniform(0.88, 1.1)
    legs, arms, width = size * random.uniform(0.96, 1.04, 3)
    bones = Bones(
        spine=0.07 * size,
        trunk=0.42 * size,
        neck=0.22 * size,
        shoulder=0.18 * width,
        upper_arm=0.28 * arms,
        forearm=0.25 * arms,
        hand=0.09 * arms,
        hip=0.085 * width,
        thigh=0.45 * legs,
        shank=0.42 * legs,
        ankle=0.09 * legs,
        foot=0.14 * legs,
    )
    style = Style(random.uniform(), random.uniform(0.85, 1.15), random.uniform(-1, 1))
    return Subject(bones, style, random.uniform(0.8, 1.25), bool(random.uniform() < 0.25))


def perform(action: int, subject: Subject, random: np.random.Generator) -> np.ndarray:
    """One performance, in the world of `poses`, about the origin.

    Args:
        action: NW-UCLA's number.
        subject: who performs.
        random: draws what differs from time to time: pace, delay, reach, heading, sway.

    Returns:
        (L, 20, 3) metres, L about 16 … 28.
    """
    style = Style(
        float(np.clip(subject.style.depth + random.normal(0, 0.15), 0, 1)),
        float(np.clip(subject.style.vigour + random.normal(0, 0.05), 0.8, 1.2)),
        float(np.clip(subject.style.turn + random.normal(0, 0.3), -1, 1)),
    )
    plan = ACTIONS[action](style)
    length = int(np.clip(round(22 / (subject.speed * random.uniform(0.93, 1.07))), 16, 28))
    delay, rest = random.uniform(0, 0.1, 2)
    times = np.clip(np.linspace(-delay, 1 + rest, length), 0, 1) ** random.uniform(0.85, 1.18)
    poses = interpolate(plan.keyframes, times)
    for side in ("left_hand", "right_hand"):
        field(poses, side)[:] += random.normal(0, 0.03, 3) + _sway(length, 3, random) * 0.02
    for name in ("bend", "twist", "lean"):
        field(poses, name)[:] += _sway(length, 1, random) * 2
    field(poses, "left_foot")[:, 2] += random.uniform(-0.08, 0.08)
    heading = random.uniform(-25, 25)
    if plan.walk:
        heading += random.choice([-1, 1]) * random.uniform(20, 75) - plan.walk.curve / 2
    field(poses, "yaw")[:] += heading
    origins = np.zeros((length, 3))
    if plan.walk:
        origins = _walk(poses, plan.walk, times, heading, subject.bones)
    body = np.stack([joints(pose, subject.bones, origin) for pose, origin in zip(poses, origins)])
    body -= (body[:, 0].min(0) + body[:, 0].max(0)) / 2 * (1, 0, 1)
    if subject.left_handed:
        body = body[:, _MIRRORED] * (-1, 1, 1)
    return body + random.normal(0, _TRACKING_NOISE, body.shape)


def _sway(length: int, channels: int, random: np.random.Generator) -> np.ndarray:
    """Slow random motion (length, channels) of about unit size."""
    t = np.arange(length)[:, None] / 24
    waves = [np.sin(2 * np.pi * (f * t + random.uniform(size=channels))) for f in (0.5, 1.1)]
    return (waves[0] + 0.5 * waves[1]) * random.uniform(0.5, 1, channels)


def _walk(poses: np.ndarray, walk: Walk, times: np.ndarray, heading: float, bones: Bones) -> np.ndarray:
    """Moves feet, yaw, and arms of pose vectors (L, D) along the walk; returns the origins (L, 3).

    A foot on the floor keeps its place; the cycle begins and ends with both feet on the floor.
    """
    share = np.clip((times - walk.begin) / (walk.end - walk.begin), 0, 1)
    if walk.end < 1:
        share = share * (1.5 - 0.5 * share)  # slows down before it stands
    stride = _STRIDE * bones.leg
    begin = 0.05  # of the cycle: both feet are on the floor
    travelled = share * walk.steps * stride / 2
    total = walk.steps * stride / 2

    def place(distance: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Position (N, 3) on the path, directions forward and right (N, 3) there."""
        fine = np.linspace(-stride, total + stride, 400)
        angle = np.radians(heading + walk.curve * np.clip(fine / total, 0, 1))
        steps = np.stack([np.sin(angle), 0 * angle, -np.cos(angle)], axis=1) * (fine[1] - fine[0])
        points = np.cumsum(steps, axis=0)
        angle = np.interp(distance, fine, angle)
        position = np.stack([np.interp(distance, fine, points[:, k]) for k in range(3)], axis=1)
        forward = np.stack([np.sin(angle), 0 * angle, -np.cos(angle)], axis=1)
        return position, forward, np.stack([np.cos(angle), 0 * angle, np.sin(angle)], axis=1)

    origins, forward, right = place(travelled)
    field(poses, "yaw")[:, 0] += walk.curve * np.clip(travelled / total, 0, 1)
    ahead = {}
    for side, sign, offset in (("left", -1, 0.0), ("right", 1, 0.5)):
        cycle = begin + travelled / stride + offset
        number, phase = np.floor(cycle), cycle % 1
        swing = np.clip((phase - _STANCE) / (1 - _STANCE), 0, 1)
        eased = swing * swing * (3 - 2 * swing)
        planted = (number + eased + _STANCE / 2 - offset - begin) * stride
        at, _, across = place(planted)
        relative = (at + sign * 0.1 * bones.leg * across - origins) / bones.leg
        ahead[side] = (relative * forward).sum(1)
        foot = field(poses, f"{side}_foot")
        foot[:, 0] = sign * (relative * right).sum(1)
        foot[:, 1] = _LIFT * np.sin(np.pi * swing)
        foot[:, 2] = ahead[side]
    swing = field(poses, "swing")[:, 0]
    field(poses, "left_hand")[:, 2] += 0.75 * swing * ahead["right"]
    field(poses, "right_hand")[:, 2] += 0.75 * swing * ahead["left"]
    return origins
