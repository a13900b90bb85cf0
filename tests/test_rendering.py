"""The renderer: geometry, true flow, and the folders it writes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_prep.synthetic.clip_id import generator, parse_clip_id
from data_prep.synthetic.demo_skeletons import demo_skeletons
from data_prep.synthetic.rendering import load_skeletons, render_demo, render_folder, true_flow
from data_prep.synthetic.rendering.body import Capsules, capsules, clean_skeletons
from data_prep.synthetic.rendering.camera import Camera, frame_motion
from data_prep.synthetic.rendering.clip import frame_names, render, stage
from data_prep.synthetic.rendering.raycast import cast, in_front
from data_prep.synthetic.rendering.room import furnish
from data_prep.synthetic.rendering.scene import dress, illuminate
from dmcl_tf.errors import InputError
from dmcl_tf.files import atomic_path

ROOT = Path(__file__).resolve().parents[1]
CLIP = "a11_s03_e00_v02"


def _write(folder: Path, clip_id: str, frames: int = 3) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{clip_id}.json"
    path.write_text(json.dumps({"file_name": clip_id, "skeletons": demo_skeletons(CLIP)[:frames].tolist()}))
    return path


def _rotated(points: np.ndarray, degrees: float, centre: np.ndarray) -> np.ndarray:
    angle = np.radians(degrees)
    about_y = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return (points - centre) @ about_y.T + centre


def test_cast_agrees_with_marching_along_the_rays():
    camera = Camera(24, 40.0, (11.0, 13.0))
    start = np.array([[-0.4, 0.3, 2.5], [0.0, -0.2, 2.2], [0.35, 0.1, 3.0], [-0.1, 0.45, 2.6]])
    end = np.array([[0.3, 0.1, 2.9], [0.05, -0.3, 3.4], [0.35, 0.1, 3.001], [-0.12, 0.5, 2.0]])
    radius = np.array([0.08, 0.12, 0.15, 0.05])
    hits = cast(Capsules(start, end - start, radius, np.tile(np.eye(3), (4, 1, 1))), camera)
    columns, rows = camera.rays()
    rays = np.stack(np.broadcast_arrays(columns[None], rows[:, None], 1.0), axis=-1).astype(float)
    t = np.arange(1.5, 3.7, 0.002)
    points = rays[..., None, :] * t[:, None]  # (H, W, T, 3)
    inside = []
    for a, b, r in zip(start, end, radius):
        along = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
        inside.append(((points - a - along[..., None] * (b - a)) ** 2).sum(-1) < r * r)
    inside = np.stack(inside, -1)
    marched = np.where(inside.any((2, 3)), t[inside.any(3).argmax(2)], np.inf)
    met = np.isfinite(marched)
    assert met.sum() > 60
    assert (np.isfinite(hits.depth) == met).mean() > 0.99  # they may differ where a ray grazes
    both = met & np.isfinite(hits.depth)
    difference = np.abs(hits.depth[both] - marched[both])
    assert np.median(difference) < 0.002
    assert difference.max() < 0.05
    np.testing.assert_allclose(np.linalg.norm(hits.normals, axis=1), 1, atol=2e-3)


def test_more_samples_see_the_same_body():
    clip = stage(demo_skeletons(CLIP), 48, CLIP)
    coarse, fine = cast(clip.body(0), clip.camera), cast(clip.body(0), clip.camera, samples=2)
    share = (fine.part >= 0).reshape(48, 2, 48, 2).mean((1, 3))
    assert abs(share.sum() / (coarse.part >= 0).sum() - 1) < 0.05
    assert len(np.unique(fine.part)) > 15, "most parts of a person are visible"


def test_what_is_behind_something_else_is_no_hit():
    clip = stage(demo_skeletons(CLIP), 48, CLIP)
    hits = cast(clip.body(0), clip.camera)
    depth = np.full(hits.depth.shape, np.inf, np.float32)
    depth[:, 24:] = 1.0
    visible = in_front(hits, depth)
    assert 0 < len(visible.rows) < len(hits.rows)
    assert visible.columns.max() < 24
    assert (visible.part[:, 24:] == -1).all()
    assert not np.isfinite(visible.depth[:, 24:]).any()
    np.testing.assert_array_equal(visible.depth[:, :24], hits.depth[:, :24])
    np.testing.assert_array_equal(visible.points, hits.points[hits.columns < 24])


def test_flow_of_a_translation_is_focal_length_times_shift_over_depth():
    skeletons = np.repeat(demo_skeletons(CLIP)[:1], 2, axis=0)
    shift = np.array([0.05, -0.02, 0.0])
    skeletons[1] += shift
    flow = true_flow(skeletons, 0, 64, CLIP)
    clip = stage(skeletons, 64, CLIP)
    depth = cast(clip.body(0), clip.camera).depth
    person = np.isfinite(depth)
    assert flow.shape == (64, 64, 2)
    assert flow.dtype == np.float32
    assert not flow[~person].any()
    np.testing.assert_allclose(flow[person][:, 0], clip.camera.focal * shift[0] / depth[person], rtol=1e-3)
    np.testing.assert_allclose(flow[person][:, 1], -clip.camera.focal * shift[1] / depth[person], rtol=1e-3)


@pytest.mark.parametrize("frame", [0, 8])
def test_flow_of_a_turn_is_that_of_a_rigid_body(frame):
    first = demo_skeletons(CLIP)[frame]
    centre = first[0]
    skeletons = np.stack([first, _rotated(first, 12, centre)])
    flow = true_flow(skeletons, 0, 64, CLIP)
    clip = stage(skeletons, 64, CLIP)
    hits = cast(clip.body(0), clip.camera)
    moved = _rotated(hits.points, 12, centre)
    expected = clip.camera.project(moved) - clip.camera.project(hits.points)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(flow[hits.rows, hits.columns], expected, atol=0.02)


def test_flow_leads_to_the_same_part_of_the_body():
    skeletons = demo_skeletons(CLIP)
    clip = stage(skeletons, 96, CLIP)
    for i in range(4, 12):
        flow = true_flow(skeletons, i, 96, CLIP)
        now, then = cast(clip.body(i), clip.camera), cast(clip.body(i + 1), clip.camera)
        rows, columns = now.rows, now.columns
        moved = np.rint(np.stack([rows, columns], 1) + flow[rows, columns][:, ::-1]).astype(int).clip(0, 95)
        same = then.part[moved[:, 0], moved[:, 1]] == now.part[rows, columns]
        still = then.part[rows, columns] == now.part[rows, columns]
        assert same.mean() > 0.75
        assert same.mean() >= still.mean() - 0.02


def test_all_joints_are_in_the_picture():
    for clip_id in ("a04_s01_e00_v01", "a12_s02_e00_v03", CLIP):
        skeletons = demo_skeletons(clip_id)
        pixels = frame_motion(skeletons, 100, generator(clip_id)).project(skeletons)
        assert pixels.min() > 0
        assert pixels.max() < 100
        assert np.ptp(pixels, axis=(0, 1)).max() > 65, "and the person fills it"


def test_person_is_nearer_than_the_room_and_the_room_stands_still():
    clip = stage(demo_skeletons(CLIP), 64, CLIP)
    colours, depths = map(np.stack, zip(*render(clip)))
    assert colours.shape == (len(clip.skeletons), 64, 64, 3)
    assert depths.shape == (len(clip.skeletons), 64, 64)
    person = np.stack([np.isfinite(cast(clip.body(i), clip.camera).depth) for i in range(len(depths))])
    never = ~cv2.dilate(person.any(0).astype(np.uint8), np.ones((9, 9))).astype(bool)
    never[40:] = False  # the floor holds soft shadows
    read = (depths[:, never] > 0).all(0)
    assert read.mean() > 0.6
    assert depths[:, never][:, read].std(0).mean() < 1.5
    assert colours[:, never].astype(float).std(0).mean() < 2
    inner = cv2.erode(person[0].astype(np.uint8), np.ones((3, 3))).astype(bool)
    assert depths[0][inner].mean() + 10 < np.median(depths[0][never])
    assert (depths == 0).any(), "some pixels are not measured"


def test_clothes_follow_the_subject_and_rooms_follow_view_and_subject():
    one, other = parse_clip_id("a01_s02_e00_v01"), parse_clip_id("a09_s02_e03_v01")
    np.testing.assert_array_equal(dress(one).colours, dress(other).colours)
    assert np.abs(dress(one).colours - dress(parse_clip_id("a01_s03_e00_v01")).colours).max() > 20
    clip = stage(demo_skeletons(CLIP), 32, CLIP)
    rooms = {
        name: furnish(parse_clip_id(name), clip.skeletons, clip.camera, illuminate(parse_clip_id(name))).colour
        for name in ("a01_s02_e00_v01", "a09_s02_e03_v01", "a01_s02_e00_v02", "a01_s03_e00_v01")
    }
    first, same, *different = rooms.values()
    np.testing.assert_array_equal(first, same)
    for room in different:
        assert np.abs(first - room).mean() > 5


def test_tracking_errors_are_mended():
    good = demo_skeletons(CLIP)[:5]
    broken = good.copy()
    broken[1, 7] = np.nan
    broken[2] = 0
    broken[3, 19] += (3, 0, 0)
    mended = clean_skeletons(broken)
    np.testing.assert_array_equal(mended[1], mended[0])
    np.testing.assert_allclose(mended[[0, 4]], good[[0, 4]], atol=1e-12)
    assert np.isfinite(mended).all()
    assert np.linalg.norm(mended[3, 19] - mended[3, 18]) <= 0.1601
    pictures = list(render(stage(broken, 32, CLIP)))
    assert len(pictures) == 5


def test_degenerate_bodies_can_be_drawn():
    flat = np.tile([0.0, 0.0, 3.0], (20, 1))
    flat[3] += (0, 0.5, 0)
    body = capsules(flat)
    assert np.isfinite(body.frame).all()
    assert np.isfinite(cast(body, Camera(16, 20.0, (8.0, 8.0))).normals).all()


@pytest.mark.parametrize(
    ("skeletons", "expected"),
    [
        ([], "shape"),
        ([[[0.0, 0.0]]], "shape"),
        (np.zeros((4, 20, 3)), "none of the 4 skeletons"),
        ([["a"]], "not numbers"),
        (np.full((2, 20, 3), np.nan), "none of the 2 skeletons"),
    ],
)
def test_skeletons_without_a_person_are_an_input_error(skeletons, expected):
    with pytest.raises(InputError, match=expected):
        clean_skeletons(skeletons)


def test_file_names_are_those_of_the_real_data():
    crossed = {100: 0, 1000: 0}
    for subject in range(1, 60):
        names = frame_names(f"a01_s{subject:02d}_e00_v01", 30)
        numbers = []
        for colour, depth in names:
            one = re.fullmatch(r"frame_(0|[1-9]\d*)_tc_(\d+)_rgb\.jpg", colour)
            two = re.fullmatch(r"frame_(0|[1-9]\d*)_tc_(\d+)_depth_vis\.jpg", depth)
            assert one
            assert two
            assert one[1] == two[1]
            assert one[2] != two[2]
            numbers.append(int(one[1]))
        assert numbers == list(range(numbers[0], numbers[0] + 30))
        for crossing in crossed:
            crossed[crossing] += numbers[0] < crossing <= numbers[-1]
    assert crossed[100] > 15
    assert crossed[1000] > 5
    assert len(frame_names(CLIP, 1)) == 1


def test_folder_is_rendered_resumed_and_the_unusable_listed(tmp_path):
    source, output = tmp_path / "skeletons", tmp_path / "out"
    _write(source, CLIP)
    _write(source, "a01_s01_e00_v01", frames=1)
    _write(source, "holiday")
    _write(source, "a02_s01_e00_v01", frames=0)
    (source / "a03_s01_e00_v01.json").write_text('{"skeletons": [[[0.1, ')
    (source / "a04_s01_e00_v01.json").write_bytes(b"")
    (source / "a05_s01_e00_v01.json").write_text('{"bones": 1}')
    with atomic_path(output / "multiview_action/view_2/a11_s03_e00") as here:
        here.mkdir()
    (output / "multiview_action/view_2/a11_s03_e00").rmdir()
    left_over = here.with_name(here.name.replace(f"-{os.getpid()}.", "-99999999."))  # of a process that is no more
    left_over.mkdir(parents=True)
    (left_over / "frame_1_tc_1_rgb.jpg").write_bytes(b"half")

    summary = render_folder(source, output, size=32, workers=1)

    assert (summary.rendered, summary.present, summary.frames) == (2, 0, 4)
    assert json.loads((output / "skipped.json").read_text()) == summary.skipped
    assert sorted(summary.skipped) == [
        "a02_s01_e00_v01",
        "a03_s01_e00_v01",
        "a04_s01_e00_v01",
        "a05_s01_e00_v01",
        "holiday",
    ]
    for name, reason in summary.skipped.items():
        assert name in reason
        assert "\n" not in reason
    folder = output / "multiview_action/view_2/a11_s03_e00"
    assert not left_over.exists()
    assert len(list(folder.iterdir())) == 6
    for path in folder.iterdir():
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert picture.shape == ((32, 32, 3) if path.name.endswith("_rgb.jpg") else (32, 32))

    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in output.rglob("*.jpg")}
    again = render_folder(source, output, size=32, workers=1)
    assert (again.rendered, again.present, again.skipped) == (0, 2, summary.skipped)
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in output.rglob("*.jpg")}

    other = tmp_path / "other"
    render_folder(source, other, size=32, workers=1)
    for path, (data, _) in before.items():
        assert (other / path.relative_to(output)).read_bytes() == data

    with pytest.raises(InputError, match="'size': 32"):
        render_folder(source, output, size=48, workers=1)


def test_demo_is_rendered(tmp_path):
    summary = render_demo(tmp_path, size=16, subjects=1, workers=1)
    assert summary.rendered == 18
    assert not summary.skipped
    folders = sorted(path.relative_to(tmp_path / "multiview_action") for path in tmp_path.glob("multiview_action/*/*"))
    assert len(folders) == 18
    assert Path("view_3/a11_s01_e00") in folders
    assert summary.frames * 2 == len(list(tmp_path.rglob("*.jpg")))


@pytest.mark.parametrize(
    ("content", "expected"),
    [("[1]", "no key 'skeletons'"), ("{", "not a readable JSON"), ('{"skeletons": [[1], [1, 2]]}', "not numbers")],
)
def test_unreadable_skeleton_files_are_named(tmp_path, content, expected):
    path = tmp_path / "a01_s01_e00_v01.json"
    path.write_text(content)
    with pytest.raises(InputError, match=expected) as error:
        load_skeletons(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("size", [0, 15, 5000])
def test_impossible_sizes_are_refused(tmp_path, size):
    with pytest.raises(InputError, match=f"--size={size}"):
        render_demo(tmp_path, size=size)
    assert not list(tmp_path.iterdir())


def _script(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "data_prep.render_skeletons", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_script_renders_with_several_workers(tmp_path):
    for subject in (1, 2, 3):
        _write(tmp_path / "in", f"a01_s{subject:02d}_e00_v01")
    run = _script(
        f"--skeletons={tmp_path / 'in'}", f"--output={tmp_path / 'out'}", "--size=24", "--limit=2", "--workers=2"
    )
    assert run.returncode == 0, run.stderr
    assert "2 clips rendered (6 frames)" in run.stdout
    assert len(list((tmp_path / "out/multiview_action/view_1").iterdir())) == 2


def test_script_says_what_is_missing(tmp_path):
    for arguments, expected in (
        ([], "--skeletons is missing"),
        ([f"--skeletons={tmp_path}"], "--output is missing"),
        ([f"--skeletons={tmp_path / 'nowhere'}", f"--output={tmp_path / 'out'}"], "no such folder"),
        ([f"--skeletons={tmp_path}", f"--output={tmp_path / 'out'}"], "holds no .json file"),
    ):
        run = _script(*arguments)
        assert run.returncode == 2
        assert expected in run.stderr
        assert len(run.stderr.strip().splitlines()) == 1
