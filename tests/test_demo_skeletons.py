"""The animated people move as people do, and each action is what it is called."""

from __future__ import annotations

import numpy as np
import pytest

from data_prep.synthetic.animation.actions import ACTIONS
from data_prep.synthetic.animation.perform import draw_subject, perform
from data_prep.synthetic.clip_id import generator, parse_clip_id
from data_prep.synthetic.demo_skeletons import demo_clip_ids, demo_skeletons
from data_prep.synthetic.rendering.body import clean_skeletons
from dmcl_tf.errors import InputError

SUBJECTS = range(1, 7)
LIMBS = [(4, 5, 6), (8, 9, 10), (12, 13, 14), (16, 17, 18)]
RIGID = [(0, 1), (2, 3), (4, 5), (5, 6), (6, 7), (8, 9), (9, 10), (10, 11), (12, 13), (13, 14), (16, 17), (17, 18)]


def _performances(action):
    for subject in SUBJECTS:
        person = draw_subject(generator("subject", subject))
        yield person, perform(action, person, generator("test", action, subject))


def _inner_angle(body, limb):
    first, second = body[:, limb[0]] - body[:, limb[1]], body[:, limb[2]] - body[:, limb[1]]
    cosine = (first * second).sum(-1) / np.linalg.norm(first, axis=-1) / np.linalg.norm(second, axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def _forward(body):
    right = body[:, 16] - body[:, 12]
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    return np.cross([0, 1, 0], right)


@pytest.mark.parametrize("action", ACTIONS)
def test_bodies_are_possible(action):
    for _, body in _performances(action):
        assert body.shape[1:] == (20, 3)
        assert 16 <= len(body) <= 28
        for one, other in RIGID:
            assert np.ptp(np.linalg.norm(body[:, one] - body[:, other], axis=-1)) < 0.04, "bones keep their length"
        for limb in LIMBS:
            assert _inner_angle(body, limb).min() > 28
        for hip, knee, ankle in LIMBS[2:]:
            line = body[:, ankle] - body[:, hip]
            share = ((body[:, knee] - body[:, hip]) * line).sum(-1) / (line * line).sum(-1)
            bulge = body[:, knee] - body[:, hip] - share[:, None] * line
            assert (bulge * _forward(body)).sum(-1).min() > -0.05, "knees bend forward"
        assert np.abs(np.diff(body, axis=0)).max() < 0.8, "nothing jumps"


@pytest.mark.parametrize("action", ACTIONS)
def test_feet_stand_on_the_floor_and_do_not_slide(action):
    for person, body in _performances(action):
        ankles = body[:, [14, 18]]
        height = ankles[..., 1] - person.bones.ankle
        assert height.min() > -0.03
        assert height.min(1).max() < 0.04, "one foot is always on the floor"
        assert body[:, [15, 19], 1].min() > -0.04
        standing = (height[1:] < 0.015) & (height[:-1] < 0.015)
        slide = np.linalg.norm(np.diff(ankles, axis=0)[..., [0, 2]], axis=-1)
        assert np.quantile(slide[standing], 0.9) < 0.05


def test_actions_are_what_they_are_called():
    for subject in SUBJECTS:
        person = draw_subject(generator("subject", subject))
        body = {action: perform(action, person, generator("test", action, subject)) for action in ACTIONS}
        hip = {action: joints[:, 0, 1] / person.bones.leg for action, joints in body.items()}
        travel = {a: np.linalg.norm(np.ptp(joints[:, 0], axis=0)[[0, 2]]) for a, joints in body.items()}
        hands = {action: joints[:, [7, 11]] for action, joints in body.items()}
        leading = 0 if person.left_handed else 1
        assert hands[1][:, leading, 1].min() < 0.45
        assert hands[1][:, leading, 1].min() < hands[1][:, 1 - leading, 1].min() - 0.05
        assert hands[2][:, :, 1].min(0).max() < 0.45
        assert hip[5][0] > 0.95
        assert hip[5][-1] < 0.75
        assert hip[6][0] < 0.75
        assert hip[6][-1] > 0.95
        for walking in (4, 12):
            assert travel[walking] > 1
            assert all(travel[walking] > travel[a] for a in (1, 2, 5, 6, 8, 9, 11))
        speed = {a: np.linalg.norm(np.diff(h, axis=0), axis=-1).max() for a, h in hands.items()}
        assert speed[11] > 1.2 * max(speed[1], speed[5], speed[6])
        shoulders = body[11][:, [4, 8]]
        assert (hands[11] - shoulders)[:, leading, 1].max() > 0.05
        apart = np.linalg.norm(hands[12][:, 0] - hands[12][:, 1], axis=-1)
        assert np.ptp(apart) < 0.15


def test_views_show_one_performance():
    one, other = demo_skeletons("a08_s02_e01_v01"), demo_skeletons("a08_s02_e01_v03")

    def distances(body):
        return np.linalg.norm(body[:, :, None] - body[:, None], axis=-1)

    np.testing.assert_allclose(distances(one), distances(other), atol=1e-9)
    assert np.abs(one - other).max() > 0.3


def test_clips_are_functions_of_their_id_and_differ():
    np.testing.assert_array_equal(demo_skeletons("a11_s01_e00_v01"), demo_skeletons("a11_s01_e00_v01"))
    episodes = [demo_skeletons(f"a11_s01_e{e:02d}_v01") for e in range(2)]
    length = min(map(len, episodes))
    assert np.abs(episodes[0][:length] - episodes[1][:length]).max() > 0.02


def test_set_is_complete_and_readable():
    clips = {clip_id: demo_skeletons(clip_id) for clip_id in demo_clip_ids(subjects=2)}
    assert len(clips) == 6 * 2 * 3
    assert {parse_clip_id(clip).action for clip in clips} == {2, 4, 5, 6, 8, 11}
    others = [demo_skeletons(f"a{action:02}_s01_e00_v01") for action in (1, 3, 9, 12)]  # animated, and in no demo
    for skeletons in (*clips.values(), *others):
        np.testing.assert_allclose(clean_skeletons(skeletons), skeletons, atol=0.02)
        assert (skeletons[..., 2] > 1).all()


@pytest.mark.parametrize("clip_id", ["a07_s01_e00_v01", "a01_s01_e00_v04", "somebody"])
def test_unknown_clips_are_an_input_error(clip_id):
    with pytest.raises(InputError, match=clip_id):
        demo_skeletons(clip_id)
