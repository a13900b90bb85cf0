"""The ten actions of NW-UCLA as keyframes and walks, for a right-handed person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from data_prep.synthetic.animation.poses import Keyframes


@dataclass(frozen=True)
class Style:
    """How somebody moves.

    Attributes:
        depth: 0 … 1, from bending the back to bending the knees.
        vigour: about 1, size of the movements.
        turn: −1 … 1, where a path or a gaze goes.
    """

    depth: float
    vigour: float
    turn: float


@dataclass(frozen=True)
class Walk:
    """Walking during a part of the action.

    Attributes:
        begin: time 0 … 1 when it begins; `end` likewise.
        steps: number of steps, each half a stride.
        curve: degrees to the right over the whole walk.
    """

    begin: float
    end: float
    steps: int
    curve: float = 0.0


@dataclass(frozen=True)
class Action:
    """What the body does over time 0 … 1, and where it walks meanwhile."""

    keyframes: Keyframes
    walk: Walk | None = None


_HELD = (0.0, -0.42, 0.50)  # a hand with something small, before the belly
_BOX = (-0.12, -0.45, 0.55)  # a hand on one side of a box before the belly


def _bent(style: Style, **fields: object) -> dict[str, object]:
    """Bent to the floor, more with the back or more with the knees."""
    knees = style.depth
    return {
        "pelvis": (0.0, 0.80 - 0.30 * knees, -0.22 - 0.02 * knees),
        "pelvis_pitch": 42.0 - 12 * knees,
        "lean": 48.0 - 18 * knees,
        "nod": 10.0,
        **fields,
    }


def pick_up_with_one_hand(style: Style) -> Action:
    """Down, one hand to the floor, and up again with the thing in that hand."""
    down = _bent(style, right_hand=(0.0, -0.85, 0.5), left_hand=(0.1, -0.62, 0.35), bend=8.0, twist=-12.0)
    up = {"right_hand": (0.05, -0.50, 0.45)}
    return Action([(0, {}), (0.44, down), (0.56, down), (0.92, up), (1, up)])


def pick_up_with_two_hands(style: Style) -> Action:
    """Down, both hands to the floor, and up again with a box before the belly."""
    down = _bent(style, right_hand=(-0.08, -0.82, 0.52), left_hand=(-0.08, -0.82, 0.52))
    reach = {"right_hand": (0.0, -0.6, 0.5), "left_hand": (0.0, -0.6, 0.5), "lean": 25.0, "pelvis": (0, 0.9, -0.1)}
    up = {"right_hand": _BOX, "left_hand": _BOX, "lean": -4.0}
    return Action([(0, {}), (0.2, reach), (0.46, down), (0.58, down), (0.93, up), (1, up)])


def drop_trash(style: Style) -> Action:
    """Two steps with something in the hand, which is held out, let go, and the arm sinks."""
    walking = {"right_hand": _HELD, "swing": 0.5}
    out = {"right_hand": (0.1, -0.28, 0.95 * style.vigour), "lean": 16.0 * style.vigour, "nod": 18.0, "twist": -14.0}
    return Action(
        [(0, walking), (0.44, {**walking, "swing": 0.0}), (0.62, out), (0.76, out), (0.94, {}), (1, {})],
        Walk(0.0, 0.55, 2, 15 * style.turn),
    )


def walk_around(style: Style) -> Action:
    """Walking along a bend with swinging arms."""
    curve = (110 + 50 * abs(style.turn)) * (1 if style.turn >= 0 else -1)
    return Action([(0, {"swing": 1.0}), (1, {"swing": 1.0})], Walk(0.0, 1.0, 4, curve))


_SEATED = {
    "pelvis": (0.0, 0.52, -0.46),
    "lean": 6.0,
    "left_hand": (0.02, -0.62, 0.42),
    "right_hand": (0.02, -0.62, 0.42),
}


def sit_down(style: Style) -> Action:
    """From standing to a seat behind."""
    lowering = {
        "pelvis": (0.0, 0.72, -0.32),
        "pelvis_pitch": 18.0,
        "lean": 26.0 * style.vigour,
        "left_hand": (0.12, -0.8, 0.35),
        "right_hand": (0.12, -0.8, 0.35),
    }
    seated = {**_SEATED, "twist": 8 * style.turn}
    return Action([(0, {}), (0.15, {}), (0.42, lowering), (0.68, seated), (1, seated)])


def stand_up(style: Style) -> Action:
    """From a seat to standing."""
    leaning = {
        **_SEATED,
        "pelvis": (0.0, 0.56, -0.40),
        "pelvis_pitch": 22.0,
        "lean": 34.0 * style.vigour,
        "left_hand": (0.1, -0.75, 0.4),
        "right_hand": (0.1, -0.75, 0.4),
    }
    seated = {**_SEATED, "twist": 8 * style.turn}
    return Action([(0, seated), (0.2, seated), (0.45, leaning), (0.78, {}), (1, {})])


def donning(style: Style) -> Action:
    """Into a jacket: first one sleeve, then the arm behind the back into the other, then closed before the chest."""
    v = style.vigour
    hold = {"right_hand": (-0.1, -0.4, 0.6), "left_hand": (-0.1, -0.35, 0.6), "nod": 12.0}
    first = {
        "right_hand": (0.85 * v, 0.0, 0.15),
        "left_hand": (-0.35, -0.05, 0.45),
        "twist": 18.0,
        "bend": -6.0,
    }
    second = {
        "right_hand": (-0.1, 0.05, 0.4),
        "left_hand": (0.75 * v, -0.2, -0.35),
        "twist": -28.0,
        "bend": -10.0,
    }
    shoulders = {"right_hand": (-0.05, 0.12, 0.38), "left_hand": (-0.05, 0.12, 0.38), "lean": 0.0}
    close = {"right_hand": (-0.22, -0.5, 0.42), "left_hand": (-0.22, -0.5, 0.42), "nod": 22.0, "lean": 8.0}
    return Action([(0, hold), (0.3, first), (0.58, second), (0.76, shoulders), (0.92, close), (1, close)])


def doffing(style: Style) -> Action:
    """Out of a jacket: opened at the chest, off the shoulders, both arms behind the back, then brought to the front."""
    v = style.vigour
    chest = {"right_hand": (-0.2, -0.25, 0.42), "left_hand": (-0.2, -0.25, 0.42), "nod": 15.0}
    off = {"right_hand": (0.45 * v, -0.25, -0.05), "left_hand": (0.45 * v, -0.25, -0.05), "lean": -6.0}
    behind = {"right_hand": (-0.1, -0.72, -0.45), "left_hand": (-0.1, -0.72, -0.45), "lean": 18.0, "nod": 10.0}
    front = {"right_hand": (0.15, -0.5, 0.75), "left_hand": (0.15, -0.85, 0.15), "twist": -10.0}
    return Action([(0, {}), (0.2, chest), (0.42, off), (0.66, behind), (0.9, front), (1, front)])


def throw(style: Style) -> Action:
    """The arm back over the shoulder with a step, a fast swing forward, and through."""
    v = style.vigour
    step = (0.13, 0.0, 0.38 * v)
    hold = {"right_hand": _HELD}
    back = {
        "right_hand": (0.5, 0.44, -0.40 * v),
        "left_hand": (0.05, -0.3, 0.75),
        "twist": 34.0 * v,
        "lean": -10.0,
        "left_foot": (0.12, 0.14, 0.2),
        "pelvis": (0.03, 0.96, -0.05),
    }
    release = {
        "right_hand": (0.1, 0.5, 0.75),
        "left_hand": (0.2, -0.65, 0.0),
        "twist": -26.0 * v,
        "lean": 20.0,
        "left_foot": step,
        "pelvis": (0.0, 0.93, 0.22),
    }
    through = {
        "right_hand": (-0.35, -0.72, 0.5),
        "left_hand": (0.25, -0.8, -0.25),
        "twist": -40.0,
        "lean": 38.0 * v,
        "left_foot": step,
        "pelvis": (0.0, 0.90, 0.26),
    }
    end = {"left_foot": step, "pelvis": (0.0, 0.95, 0.19)}
    return Action([(0, hold), (0.1, hold), (0.38, back), (0.58, release), (0.74, through), (1, end)])


def carry(style: Style) -> Action:
    """Walking straight on with a box in both hands."""
    pose = {"right_hand": _BOX, "left_hand": _BOX, "lean": -5.0}
    return Action([(0, pose), (1, pose)], Walk(0.0, 1.0, 4, 20 * style.turn))


ACTIONS: dict[int, Callable[[Style], Action]] = {
    1: pick_up_with_one_hand,
    2: pick_up_with_two_hands,
    3: drop_trash,
    4: walk_around,
    5: sit_down,
    6: stand_up,
    8: donning,
    9: doffing,
    11: throw,
    12: carry,
}
