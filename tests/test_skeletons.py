"""Skeletons as pictures: the person's own frame of reference, what a mirror shows, and the files they are read from."""

from __future__ import annotations

import numpy as np
import pytest
from kinect import UTD_ORDER, mirrored, person, write_json, write_ntu
from raw import images_of, write_volume

from data_prep.video.skeleton_files import HIP_CENTRE, read_skeletons
from data_prep.video.skeletons import LIMBS, SkeletonFile, draw, own_frame
from data_prep.video.sources import open_source
from dmcl_tf.data.augmentation import mirror_skeleton
from dmcl_tf.errors import InputError

FRAMES = 12


def pictures(joints):
    """(T, 256, 256, 3), blue, green, red, of one person (T, 20, 3)."""
    return np.stack([draw(people) for people in own_frame(joints[:, None])])


def extent(channel):
    """First and last row and column that is not black, as (top, bottom, left, right)."""
    rows, columns = np.flatnonzero(channel.any(axis=1)), np.flatnonzero(channel.any(axis=0))
    return rows[0], rows[-1], columns[0], columns[-1]


def turned(joints, degrees):
    """The person as a camera sees them that went around them."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return joints @ turn.T


@pytest.mark.parametrize("degrees", [-150, -40, 75])
def test_where_the_camera_stands_and_how_tall_people_are_does_not_matter(degrees):
    joints = person(FRAMES)
    expected = pictures(joints)
    others = pictures(1.3 * turned(joints, degrees) + (0.7, -0.4, 3.0))
    assert np.abs(expected.astype(int) - others).max() <= 60  # of a pixel at an edge that lies between two
    assert np.abs(expected.astype(int) - others).mean() < 0.1
    assert expected[0].any(axis=(0, 1)).all()


def test_three_views():
    """An arm that points forwards is short from the front, and long from the side and above."""
    first, forwards = (pictures(person(FRAMES, speed=0.1428))[index] for index in (0, 11))  # 11 steps: a right angle
    (_, _, *before), (_, _, *after) = extent(first[..., 1]), extent(forwards[..., 1])
    assert np.ptp(after) > np.ptp(before) + 30
    (*before, _, _), (*after, _, _) = extent(first[..., 0]), extent(forwards[..., 0])
    assert np.ptp(after) > np.ptp(before) + 30
    top, bottom, left, right = extent(first[..., 2])
    assert bottom - top > 2 * (right - left)  # upright
    assert abs((left + right) / 2 - 127.5) < 4
    assert bottom > 190 > 66 > top


def test_people_who_walk_turn_or_sit_down_do_so_in_the_picture():
    joints = person(FRAMES, speed=0)
    walking = pictures(joints + np.linspace(-1, 1, FRAMES)[:, None, None] * (1, 0, 0))
    columns = [extent(picture[..., 2])[2] for picture in walking]
    assert columns[-1] - columns[0] > 80
    assert np.all(np.diff(columns) > 0)
    sinking = pictures(joints - np.linspace(0, 0.5, FRAMES)[:, None, None] * (0, 1, 0))
    assert extent(sinking[-1][..., 2])[0] > extent(sinking[0][..., 2])[0] + 20


def test_a_mirrored_picture_shows_the_mirrored_person():
    """All channels but the side; the whole of what the augmentation says of skeletons."""
    joints = person(FRAMES)
    clips = np.stack([pictures(joints), pictures(joints)])[..., ::-1]  # red, green, blue
    result = mirror_skeleton(clips, np.array([True, False])).numpy()
    in_mirror = pictures(mirrored(joints))[..., ::-1]
    differences = np.abs(result[0].astype(int) - in_mirror).mean(axis=(0, 1, 2))
    assert differences.max() < 0.3  # lines are a pixel wider on one side than on the other
    np.testing.assert_array_equal(result[1], clips[1])
    np.testing.assert_array_equal(result[0, ..., 1], clips[0, ..., 1])
    unmirrored = np.abs(clips[0].astype(int) - in_mirror).mean(axis=(0, 1, 2))
    assert (unmirrored[[0, 2]] > 10 * differences[[0, 2]]).all()  # the arm that moves is the other one
    assert unmirrored[1] == differences[1]


def test_limbs_connect_every_joint_once():
    assert sorted(end for _, end in LIMBS) == sorted(set(range(20)) - {HIP_CENTRE})


def test_what_is_not_seen_is_not_drawn():
    joints = np.repeat(person(FRAMES)[:, None], 2, axis=1)
    joints[3] = np.nan
    joints[:, 1] = np.nan
    joints[5, 1] = joints[5, 0] + (0.5, 0, 0)
    own = own_frame(joints)
    drawn = np.stack([draw(people) for people in own])
    np.testing.assert_array_equal(drawn[0], pictures(joints[:, 0][np.isfinite(joints[:, 0, 0, 0])])[0])
    assert not drawn[3].any()
    assert extent(drawn[5][..., 2])[3] > extent(drawn[4][..., 2])[3] + 30


def test_three_kinds_of_files_hold_the_same(tmp_path):
    joints = person(FRAMES)
    mat = write_volume(tmp_path / "x.mat", joints[:, UTD_ORDER].transpose(1, 2, 0), version="5", variable="d_skel")
    json = write_json(tmp_path / "x.json", joints)
    text = write_ntu(tmp_path / "x.skeleton", [{"7": frame} for frame in joints])
    expected = pictures(joints)
    for path, difference in ((mat, 0), (json, 0), (text, 16)):
        source = open_source(path.rename(path.with_suffix("")) if path == mat else path, "skeleton")
        assert source.declared_length() == FRAMES
        assert list(source.problems()) == []
        assert np.abs(np.stack(images_of(source)).astype(int) - expected).max() <= difference


def test_two_people_of_ntu(tmp_path):
    """The one who is seen longest comes first, and gives the frame; a third is taken for furniture."""
    joints = person(FRAMES)
    frames = [{"5": joints[index] + (0.8, 0, 0), "6": joints[index]} for index in range(FRAMES)]
    del frames[2]["5"]
    frames[4]["9"] = joints[4]
    found = read_skeletons(write_ntu(tmp_path / "x.skeleton", frames))
    assert found.joints.shape == (FRAMES, 2, 20, 3)
    np.testing.assert_allclose(found.joints[:, 0], joints, atol=1e-6)
    assert np.isnan(found.joints[2, 1]).all()
    np.testing.assert_allclose(found.joints[3, 1], joints[3] + (0.8, 0, 0), atol=1e-6)
    across = 0.5 + joints[..., 0] / joints[..., 2] * 2.5 / 2
    for modality in ("depth", "rgb"):
        np.testing.assert_allclose(found.pictures[modality][:, 0, :, 0], across, atol=1e-5)


NOBODY = "nobody is seen"
ODD = [
    ("x.json", b'{"skeletons": [[[0, 0, 1]]]}', r"skeletons of the shape \(1, 1, 3\); expected \(frames, 20, 3\)"),
    ("x.json", b'{"skeletons": [[[0, 0', "not a readable JSON file"),
    ("x.json", b'{"joints": []}', "has no key 'skeletons'"),
    ("x.skeleton", b"2\n0\n0\n", NOBODY),
    ("x.skeleton", b"1\n1\n7 0 1 1 1 1 0 0 0 2\n25\n0 0 0\n", "not a readable file of NTU's skeletons .it is cut off"),
    ("x.skeleton", b"1\n0\n5 5 5\n", "3 numbers more than its frames have"),
    ("x.skeleton", b"2 two\n", "not a readable file of NTU's skeletons"),
    ("x.avi", b"RIFF....AVI ", "no file of skeletons; expected one of UTD-MHAD"),
    ("x.json", b"", "no file of skeletons"),
]


@pytest.mark.parametrize(("name", "content", "message"), ODD)
def test_files_that_cannot_be_used(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        list(SkeletonFile(path).frames())
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("joints", "message"),
    [
        (np.full((3, 20, 3), np.nan), NOBODY),
        (np.ones((3, 20, 3)), "all joints are at one place"),
        (np.where(np.arange(20)[:, None] == 7, np.nan, person(3)), "nobody is seen whole"),
    ],
)
def test_skeletons_that_are_none(tmp_path, joints, message):
    path = write_volume(tmp_path / "x.mat", joints.transpose(1, 2, 0), version="5", variable="d_skel")
    with pytest.raises(InputError, match=message):
        list(SkeletonFile(path).frames())


def test_a_matlab_file_of_something_else(tmp_path):
    path = write_volume(tmp_path / "x.mat", np.ones((20, 3, 4)), version="7.3", variable="d_iner")
    with pytest.raises(InputError, match="has no variable 'd_skel', but d_iner"):
        list(SkeletonFile(path).frames())
    assert len(list(SkeletonFile(path).problems())) == 1
