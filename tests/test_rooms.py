"""Rooms of rendered clips: boxes, furniture, where it stands, and that colour and depth show the same."""

from __future__ import annotations

import numpy as np
import pytest

from data_prep.synthetic.clip_id import generator, parse_clip_id
from data_prep.synthetic.demo_skeletons import demo_clip_ids, demo_skeletons
from data_prep.synthetic.rendering import room as rooms
from data_prep.synthetic.rendering.boxes import Boxes, blocked, cast_boxes
from data_prep.synthetic.rendering.camera import Camera
from data_prep.synthetic.rendering.clip import stage
from data_prep.synthetic.rendering.furniture import AT_THE_WALL, FREE, palette, placed
from data_prep.synthetic.rendering.layout import SHELL, lay_out
from data_prep.synthetic.rendering.raycast import cast
from data_prep.synthetic.rendering.room import SAMPLES, Room, furnish
from data_prep.synthetic.rendering.shadow import shadow
from data_prep.synthetic.rendering.surfaces import sample, textures

CLIP = "a11_s03_e00_v02"
CAMERA_HEIGHT = 1.0


def _turned(degrees: float) -> np.ndarray:
    angle = np.radians(degrees)
    return np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])


def _three_boxes() -> Boxes:
    return Boxes(
        np.array([[0.1, -0.2, 3.0], [-0.5, 0.3, 2.5], [0, 0, 6.0]]),
        np.array([[0.3, 0.2, 0.4], [0.2, 0.3, 0.1], [9, 9, 1.0]]),
        np.stack([_turned(30), _turned(-70), np.eye(3)]),
    )


def _inside(points: np.ndarray, boxes: Boxes) -> np.ndarray:
    """(…, K) bool."""
    local = np.einsum("kij,...kj->...ki", boxes.axes, points[..., None, :] - boxes.centre)
    return (np.abs(local) < boxes.half).all(-1)


def _room(clip_id: str, size: int = 32) -> Room:
    clip = stage(demo_skeletons(clip_id), size, clip_id)
    return furnish(clip.clip_id, clip.skeletons, clip.camera, clip.light)


def test_cast_agrees_with_marching_along_the_rays():
    camera, boxes = Camera(24, 22.0, (11.0, 13.0)), _three_boxes()
    seen = cast_boxes(boxes, camera, samples=1)
    columns, rows = camera.rays()
    rays = np.stack(np.broadcast_arrays(columns[None], rows[:, None], 1.0), axis=-1).reshape(-1, 3)
    t = np.arange(1.5, 5.1, 0.004)
    inside = _inside(rays[:, None] * t[:, None], boxes)
    first = inside.any(2).argmax(1)
    box = inside[np.arange(len(rays)), first].argmax(1)
    assert set(box) == {0, 1, 2}
    assert (seen.box == box).mean() > 0.98  # edges may differ
    same = seen.box == box
    assert np.abs(seen.points[same, 2] - t[first][same]).max() < 0.03
    np.testing.assert_allclose(np.linalg.norm(seen.normals, axis=1), 1, atol=1e-5)
    assert ((seen.normals * seen.points).sum(1) < 0).all(), "faces that are seen look at the camera"


def test_texels_stay_on_their_face():
    boxes = _three_boxes()
    seen = cast_boxes(boxes, Camera(24, 22.0, (11.0, 13.0)), samples=2)
    extent = boxes.half.max(1)[seen.box]
    assert (np.abs(seen.texel) <= extent[:, None] + 1e-4).all()
    corner = np.abs(seen.texel[seen.box == 0]).max(0)
    assert (corner > 0.15).all(), "and cover it"


def test_blocked_agrees_with_marching():
    boxes, random = _three_boxes(), np.random.default_rng(0)
    points = random.uniform((-1, -1, 1.5), (1, 1, 4), (400, 3))
    points = points[~_inside(points, boxes).any(1)]
    t = np.arange(0.002, 1, 0.002)[:, None]
    for towards, reach in ((np.array([0.2, 0.9, -0.3]), 1.0), (-points, 1.0), (np.array([0.3, 0, 2.0]), 0.5)):
        path = points[:, None] + t * np.broadcast_to(towards, points.shape)[:, None]
        marched = _inside(path[:, : int(reach * len(t))], boxes).any((1, 2))
        assert 0.02 < marched.mean() < 0.98
        assert (blocked(points, towards, boxes, reach=reach) == marched).mean() > 0.97


@pytest.mark.parametrize("maker", [*AT_THE_WALL, *FREE], ids=lambda maker: maker.__name__)
def test_furniture_stands_on_the_floor_and_before_the_wall(maker):
    for seed in range(12):
        random = np.random.default_rng(seed)
        piece = maker(random, palette(random))
        low = np.array([np.subtract(block.centre, np.divide(block.size, 2)) for block in piece])
        high = np.array([np.add(block.centre, np.divide(block.size, 2)) for block in piece])
        assert (high > low).all()
        assert low[:, 1].min() > -0.01
        assert high[:, 1].max() < 2.4
        if maker in AT_THE_WALL:
            assert high[:, 2].max() < 0.26  # a chair may be turned, and overlaps its desk, not the wall
        assert {block.texture for block in piece} <= {"", *textures()}


def test_pieces_are_turned_and_moved():
    random = np.random.default_rng(0)
    piece = FREE[0](random, palette(random))
    moved = placed(piece, 1.0, 3.0, np.pi / 2)
    for before, after in zip(piece, moved):
        x, y, z = before.centre
        np.testing.assert_allclose(after.centre, (1.0 - z, y, 3.0 + x), atol=1e-12)
        assert after.size == before.size
        assert after.turn == np.pi / 2


def test_people_walk_through_no_furniture_and_stay_visible():
    hidden_legs = 0
    for clip_id in demo_clip_ids()[::9]:
        joints = demo_skeletons(clip_id) + np.array([0, CAMERA_HEIGHT, 0])
        blocks = lay_out(generator("layout", clip_id), joints, CAMERA_HEIGHT)
        turns = np.array([block.turn for block in blocks])
        boxes = Boxes(
            np.array([block.centre for block in blocks]),
            np.array([block.size for block in blocks]) / 2,
            np.stack([_turned(np.degrees(turn)) for turn in turns]),
        )
        standing = boxes.subset(np.arange(SHELL, len(blocks)))
        above = joints[..., 1] > 0.15
        assert not _inside(joints[above], standing).any()
        assert not _inside(joints, boxes.subset(np.arange(2, SHELL))).any(), "nor through walls"
        points = joints.reshape(-1, 3)
        hidden = blocked(points, np.array([0, CAMERA_HEIGHT, 0]) - points, standing, reach=1.0).reshape(
            joints.shape[:2]
        )
        assert hidden[:, :12].mean() < 0.08
        assert hidden.mean() < 0.35
        hidden_legs += hidden[:, 12:].mean() > 0.1
    assert hidden_legs >= 4, "some furniture stands in front of legs"


def test_furniture_is_in_colour_where_it_is_in_depth(monkeypatch):
    furnished = {clip_id: _room(clip_id, 48) for clip_id in demo_clip_ids()[::40]}
    monkeypatch.setattr(rooms, "lay_out", lambda *arguments: lay_out(*arguments)[:SHELL])
    shares = []
    for clip_id, room in furnished.items():
        bare = _room(clip_id, 48)
        stands = np.abs(room.depth - bare.depth) > 0.02
        shares.append(stands.mean())
        changed = np.abs(room.colour - bare.colour).max(2)
        assert np.median(changed[stands]) > 15
        assert np.median(changed[~stands]) < 15
    assert np.mean(shares) > 0.1
    assert max(shares) < 0.8


def test_no_ray_leaves_a_room():
    skeletons = demo_skeletons(CLIP)
    for shift in ((0, 0, 0), (4, 3, 2), (-4, -3, 1), (0, 6, 3), (0, 0, -2.2)):
        for view in (1, 2, 3):
            clip = stage(skeletons + shift, 16, f"a11_s03_e00_v0{view}")
            room = furnish(clip.clip_id, clip.skeletons, clip.camera, clip.light)
            assert np.isfinite(room.depth).all()
            assert (room.depth > 0).all()
            assert (room.depth < 20).all()
            assert (room.colour >= 0).all()
            assert (room.colour <= 255).all()


def test_rooms_are_paler_than_their_floors_are_dark_and_differ():
    found = [_room(clip_id) for clip_id in demo_clip_ids()[:24]]
    floors, walls = [], []
    for room in found:
        floor = np.repeat(np.repeat(room.is_floor, SAMPLES, 0), SAMPLES, 1) > 0
        floors.append(room.colour[floor].mean())
        walls.append(np.median(room.colour[~floor]))
    assert np.median(walls) > np.median(floors) + 40
    assert np.std(floors) > 5


def test_the_shadow_lies_beside_the_person_and_follows():
    clip = stage(demo_skeletons(CLIP), 64, CLIP)
    room = furnish(clip.clip_id, clip.skeletons, clip.camera, clip.light)
    still = [shadow(room, clip.body(i), clip.skeletons[i], clip.light, clip.camera) for i in (0, 0, 10)]
    np.testing.assert_array_equal(still[0], still[1])
    assert np.abs(still[0] - still[2]).max() > 0.05
    assert still[0].max() == 1
    assert 0.2 < still[0].min() < 0.9
    person = np.isfinite(cast(clip.body(0), clip.camera).depth)
    assert 0.01 < (still[0][~person] < 0.95).mean() < 0.4
    nearer = room.depth[1::2, 1::2] < clip.skeletons[0, :, 2].min() - 0.8
    assert (still[0][nearer & (room.is_floor == 0)] == 1).all(), "nothing falls on what stands in front"


@pytest.mark.parametrize("name", textures())
def test_textures_repeat_and_keep_the_colour(name):
    texture = textures()[name]
    assert texture.gains.shape == (256, 256, 3)
    assert texture.gains.min() > 0
    assert 0.5 < texture.gains.mean() < 1.15
    random = np.random.default_rng(0)
    texel = random.uniform(-3, 3, (500, 2)).astype(np.float32)
    np.testing.assert_allclose(
        sample(texture, texel), sample(texture, texel + np.float32(texture.metres)), atol=2e-2 * np.ptp(texture.gains)
    )
    many = np.tile(texel, (70, 1))  # more rays than one picture of OpenCV's holds
    np.testing.assert_array_equal(sample(texture, many)[-500:], sample(texture, texel))


def test_a_room_is_a_function_of_view_and_subject():
    clip = stage(demo_skeletons(CLIP), 24, CLIP)
    one, same, other = (
        furnish(parse_clip_id(name), clip.skeletons, clip.camera, clip.light)
        for name in ("a01_s02_e00_v01", "a09_s02_e03_v01", "a01_s04_e00_v01")
    )
    np.testing.assert_array_equal(one.depth, same.depth)
    np.testing.assert_array_equal(one.echo, same.echo)
    assert np.abs(one.depth - other.depth).mean() > 0.1
