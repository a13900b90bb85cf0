"""Reading, resizing and encoding of single images, and folders of frames made from raw videos."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from data_prep.extract_frames import extract_frames
from data_prep.raw.base import Skipped, Video
from data_prep.video.extract_video import FrameSettings, extract_video, read_video_file
from data_prep.video.frames import encode_jpeg, read_image, resize
from data_prep.video.sources import ImageSequence
from dmcl_tf.errors import InputError

SETTINGS = FrameSettings("nwucla", 16)
ROOT = Path(__file__).resolve().parents[1]


def picture(seed=0, shape=(24, 32, 3)):
    return cv2.resize(np.random.RandomState(seed).randint(0, 256, (6, 8, *shape[2:])).astype(np.uint8), shape[1::-1])


def make_video(folder, frames=12, video_id="a01_s01_e00_v01"):
    folder.mkdir(parents=True, exist_ok=True)
    sources = {}
    for modality, shape in (("rgb", (24, 32, 3)), ("depth", (12, 16))):
        paths = [folder / f"{modality}_{i}.jpg" for i in range(frames)]
        for i, path in enumerate(paths):
            path.write_bytes(encode_jpeg(picture(i, shape), 95))
        sources[modality] = ImageSequence(tuple(paths))
    return Video(video_id, 3, sources)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_grey_and_colour_images_keep_their_channels(tmp_path):
    (tmp_path / "colour.jpg").write_bytes(encode_jpeg(picture(), 95))
    (tmp_path / "grey.jpg").write_bytes(encode_jpeg(picture(shape=(24, 32)), 95))
    assert read_image(tmp_path / "colour.jpg").shape == (24, 32, 3)
    assert read_image(tmp_path / "grey.jpg").shape == (24, 32)
    np.testing.assert_allclose(read_image(tmp_path / "grey.jpg"), picture(shape=(24, 32)), atol=12)


def thumbnailed(content):
    """A JPEG with a complete JPEG inside a metadata segment, as cameras write it."""
    thumbnail = b"Exif\0\0" + encode_jpeg(picture()[:8, :8], 50)
    return content[:2] + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + content[2:]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: b"", "the file is empty"),
        (lambda content: content[: len(content) // 2], "the JPEG is cut off"),
        (lambda content: content[:-2], "the JPEG is cut off"),
        (lambda content: content[: len(content) // 2] + bytes(len(content) // 2), "the JPEG is cut off"),
        (lambda content: content[:3], "the JPEG is cut off"),
        (lambda content: thumbnailed(content)[:-200], "the JPEG is cut off"),
        (lambda content: b"<html>404</html>", "neither a JPEG nor a PNG image"),
        (lambda content: content[:2] + b"\xff\xda" + bytes(8) + b"\xff\xd9", "the JPEG cannot be decoded"),
    ],
)
def test_damaged_files_are_named(tmp_path, damage, message):
    path = tmp_path / "frame_7_tc_1_rgb.jpg"
    path.write_bytes(damage(encode_jpeg(picture(), 95)))
    with pytest.raises(InputError, match=rf"frame_7_tc_1_rgb\.jpg: {message}; download it again"):
        read_image(path)


def test_a_missing_file_and_a_folder_in_its_place_are_named(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    for name in ("missing.jpg", "folder.jpg"):
        with pytest.raises(InputError, match=f"{name}: .*; download it again"):
            read_image(tmp_path / name)


def test_complete_files_with_fill_bytes_thumbnail_or_trailing_bytes_are_read(tmp_path):
    content = encode_jpeg(picture(), 95)
    expected = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    filled = content[:2] + b"\xff\xff\xff" + content[2:]
    for variant in (thumbnailed(content), filled, content + bytes(10)):
        (tmp_path / "x.jpg").write_bytes(variant)
        np.testing.assert_array_equal(read_image(tmp_path / "x.jpg"), expected)


def test_shrinking_averages_all_pixels():
    image = picture(shape=(32, 48, 3))
    blocks = image.reshape(8, 4, 8, 6, 3).astype(float).mean(axis=(1, 3))
    np.testing.assert_allclose(resize(image, 8), blocks, atol=1)
    assert resize(image, 64).shape == (64, 64, 3)
    assert resize(image[..., 0], 40).shape == (40, 40)


def test_frames_are_aligned_resized_and_described(tmp_path):
    video = make_video(tmp_path / "raw")
    result = extract_video(video, frames_dir=tmp_path / "frames", settings=SETTINGS)
    folder = tmp_path / "frames" / video.video_id
    assert (result.label, result.frames, result.length, result.warnings) == (3, 12, 12, ())
    assert read_video_file(folder) == result
    for modality, shape in (("rgb", (16, 16, 3)), ("depth", (16, 16))):
        names = sorted(path.name for path in (folder / modality).iterdir())
        assert names == [f"{i:06d}.jpg" for i in range(12)]
        assert read_image(folder / modality / "000011.jpg").shape == shape
        expected = encode_jpeg(resize(read_image(video.sources[modality].paths[11]), 16), 95)
        assert (folder / modality / "000011.jpg").read_bytes() == expected


@pytest.mark.parametrize("frames", [1, 2, 8, 9])
def test_short_videos_repeat_their_last_frame(tmp_path, frames):
    video = make_video(tmp_path / "raw", frames)
    result = extract_video(video, frames_dir=tmp_path, settings=SETTINGS)
    assert (result.frames, result.length) == (frames, 9)
    for modality in ("rgb", "depth"):
        files = [(tmp_path / video.video_id / modality / f"{i:06d}.jpg").read_bytes() for i in range(9)]
        assert len(set(files[:frames])) == frames
        assert set(files[frames - 1 :]) == {files[frames - 1]}


def test_an_unreadable_image_leaves_its_moment_out_of_all_modalities(tmp_path):
    video = make_video(tmp_path / "raw")
    bad = video.sources["depth"].paths[4]
    whole = bad.read_bytes()
    bad.write_bytes(whole[:-20])
    result = extract_video(video, frames_dir=tmp_path, settings=SETTINGS)
    assert (result.frames, result.length) == (11, 11)
    assert result.warnings == (f"{bad}: the JPEG is cut off; download it again; its frame is left out",)
    expected = encode_jpeg(resize(read_image(video.sources["rgb"].paths[5]), 16), 95)
    assert (tmp_path / video.video_id / "rgb" / "000004.jpg").read_bytes() == expected
    # downloaded again: noticed
    bad.write_bytes(whole)
    assert extract_video(video, frames_dir=tmp_path, settings=SETTINGS).frames == 12


def test_a_video_without_a_readable_frame_is_skipped(tmp_path):
    video = make_video(tmp_path / "raw", 2)
    for path in video.sources["rgb"].paths:
        path.write_bytes(b"")
    result = extract_video(video, frames_dir=tmp_path / "frames", settings=SETTINGS)
    assert isinstance(result, Skipped)
    assert "no frame can be read" in result.reason
    assert "rgb_0.jpg: the file is empty" in result.reason
    assert not list((tmp_path / "frames").iterdir())


def test_complete_videos_are_kept_and_left_overs_of_an_interruption_replaced(tmp_path):
    video = make_video(tmp_path / "raw")
    extract_video(video, frames_dir=tmp_path / "undisturbed", settings=SETTINGS)
    unfinished = tmp_path / "frames" / f"{video.video_id}.partial" / "rgb"
    unfinished.mkdir(parents=True)
    (unfinished / "000099.jpg").write_bytes(b"half")
    for _ in range(2):
        extract_video(video, frames_dir=tmp_path / "frames", settings=SETTINGS)
    assert contents(tmp_path / "frames") == contents(tmp_path / "undisturbed")
    marker = tmp_path / "frames" / video.video_id / "rgb" / "000000.jpg"
    written = marker.stat().st_mtime_ns
    extract_video(video, frames_dir=tmp_path / "frames", settings=SETTINGS)
    assert marker.stat().st_mtime_ns == written


def test_frames_of_other_settings_are_refused(tmp_path):
    video = make_video(tmp_path / "raw")
    extract_frames([video], tmp_path / "frames", SETTINGS, workers=1)
    with pytest.raises(InputError, match=r"frames was made with size=16, but size=24 is asked for: use another"):
        extract_frames([video], tmp_path / "frames", FrameSettings("nwucla", 24), workers=1)
    (tmp_path / "frames" / "frames.json").write_text("[1")
    with pytest.raises(InputError, match=r"frames\.json is damaged"):
        extract_frames([video], tmp_path / "frames", SETTINGS, workers=1)


def test_a_damaged_video_file_is_named(tmp_path):
    video = make_video(tmp_path / "raw")
    extract_video(video, frames_dir=tmp_path, settings=SETTINGS)
    (tmp_path / video.video_id / "video.json").write_text('{"video_id": ')
    with pytest.raises(InputError, match=rf"{video.video_id}/video\.json is damaged .*delete the folder"):
        extract_video(video, frames_dir=tmp_path, settings=SETTINGS)


def run_script(*arguments):
    command = [sys.executable, str(ROOT / "data_prep" / "extract_frames.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_the_script_extracts_counts_and_lists(tmp_path, write_nwucla_tree):
    write_nwucla_tree(tmp_path, actions=(1, 7), views=(1,), frames=9)
    bad = sorted((tmp_path / "multiview_action/view_1/a01_s01_e00").glob("*_rgb.jpg"))[0]
    bad.write_bytes(b"")
    run = run_script("--dataset=nwucla", f"--data_dir={tmp_path}", "--size=16", "--workers=2")
    assert run.returncode == 0, run.stderr
    assert "1 videos in" in run.stdout
    assert "1 skipped and 1 warnings" in run.stdout
    report = json.loads((tmp_path / "frames/16/skipped.json").read_text())
    assert "unknown action id 7" in report["skipped"][0]["reason"]
    assert bad.name in report["warnings"][0]["reason"]
    assert len(list((tmp_path / "frames/16/a01_s01_e00_v01/rgb").iterdir())) == 9


def test_the_script_ends_with_one_line_where_there_is_nothing(tmp_path):
    run = run_script("--dataset=nwucla", f"--data_dir={tmp_path / 'nowhere'}")
    assert run.returncode == 2
    assert run.stderr.startswith("error: ")
    assert len(run.stderr.splitlines()) == 1
    assert "nowhere" in run.stderr


def test_a_file_in_the_place_of_the_output_folder_is_named(tmp_path, write_nwucla_tree):
    write_nwucla_tree(tmp_path, actions=(1,), views=(1,), frames=9)
    (tmp_path / "taken").write_text("a file")
    run = run_script("--dataset=nwucla", f"--data_dir={tmp_path}", "--size=16", f"--frames_dir={tmp_path / 'taken'}")
    assert run.returncode == 2
    assert run.stderr == f"error: {tmp_path / 'taken'}: File exists; give another place, or make way\n"
