"""Modalities of different length and with unreadable frames: aligned within a tolerance, refused beyond it."""

from __future__ import annotations

import weakref

import numpy as np
import pytest
from raw import colour_frame, depth_frame, write_image, write_video

from data_prep.raw.base import RawVideo
from data_prep.video.alignment import AlignedReader, allowed_difference
from data_prep.video.depth import DepthSettings
from data_prep.video.frames import decode_image
from data_prep.video.record import VideoSettings, make_frames
from data_prep.video.sources import Frame, ImageFolder, ImageSequence, VideoFile
from dmcl_tf.errors import InputError


def video_and_folder(root, rgb, depth):
    """A video of `rgb` frames and a folder of `depth` images."""
    for index in range(depth):
        write_image(root / "depth" / f"{index}.png", depth_frame(index))
    return {"rgb": VideoFile(write_video(root / "rgb.avi", rgb)), "depth": ImageFolder(root / "depth")}


def extract(sources, **settings):
    """The JPEGs by modality, and the warnings."""
    settings = VideoSettings(tuple(sources), 16, **{"depth": DepthSettings("clip_mm"), **settings})
    return make_frames(RawVideo("clip", "wave", sources), settings)[:2]


@pytest.mark.parametrize(
    ("length", "tolerance", "frames"),
    [(100, 0.1, 10), (19, 0.1, 1), (5, 0.1, 1), (100, 0, 0), (100, 1, 1), (100, 7, 7), (3, 0.5, 1)],
)
def test_the_tolerance_is_a_share_or_frames(length, tolerance, frames):
    assert allowed_difference(length, tolerance) == frames


@pytest.mark.parametrize(("rgb", "depth"), [(20, 18), (18, 20)])
def test_within_the_tolerance_the_shortest_counts(tmp_path, rgb, depth):
    frames, warnings = extract(video_and_folder(tmp_path, rgb, depth))
    assert warnings == [
        f"the modalities differ in their number of frames (rgb {rgb}, depth {depth}): aligned on the first 18",
    ]
    assert {modality: len(images) for modality, images in frames.items()} == {"rgb": 18, "depth": 18}


def test_beyond_it_the_video_is_refused_with_both_numbers(tmp_path):
    sources = video_and_folder(tmp_path, 20, 12)
    with pytest.raises(InputError, match=r"\(rgb 20, depth 12\) by more than --length_tolerance=0\.1"):
        extract(sources)
    assert len(extract(sources, length_tolerance=8)[0]["rgb"]) == 12


def test_element_i_of_each_modality_shows_the_same_moment(tmp_path):
    sources = video_and_folder(tmp_path, 12, 12)
    bad = tmp_path / "depth" / "4.png"
    bad.write_bytes(b"")
    moments = list(AlignedReader(sources, 0.1))
    kept = [index for index in range(12) if index != 4]
    assert len(moments) == 11
    for moment, index in zip(moments, kept):
        np.testing.assert_array_equal(moment["depth"].image, depth_frame(index))
        assert np.abs(moment["rgb"].image.astype(int) - colour_frame(index)).mean() < 15  # JPEG, of hardly any pixels
    frames, warnings = extract(sources)
    assert warnings == [f"{bad}: the file is empty; download it again; its frame is left out"]
    stored = decode_image(frames["depth"][9]).mean(axis=0)  # of the tenth moment left, frame 10
    expected = depth_frame(10).reshape(24, 16, 2).mean(axis=(0, 2))
    assert np.corrcoef(stored, expected)[0, 1] > 0.99


def test_a_video_that_stops_early(tmp_path):
    path = write_video(tmp_path / "rgb.avi", 40)
    path.write_bytes(path.read_bytes()[: int(0.7 * path.stat().st_size)])
    found = sum(1 for _ in VideoFile(path).frames())
    assert 10 < found < 36
    counts = f"{path}: {found} frames can be decoded, but the file declares 40"
    with pytest.raises(InputError) as error:
        extract({"rgb": VideoFile(path)})
    assert str(error.value) == f"{counts}; copy it again, or raise --length_tolerance"
    frames, warnings = extract({"rgb": VideoFile(path)}, length_tolerance=30)
    assert len(frames["rgb"]) == found
    assert warnings == [counts]


def test_a_source_that_cannot_be_opened(tmp_path):
    (tmp_path / "rgb.avi").write_text("text")
    with pytest.raises(InputError) as error:
        extract({"rgb": VideoFile(tmp_path / "rgb.avi")})
    assert str(error.value) == f"{tmp_path}/rgb.avi: not a video that can be decoded; copy or download it again"


def test_nothing_to_read():
    with pytest.raises(InputError, match="no frame can be read"):
        list(AlignedReader({"rgb": ImageSequence(())}, 0.1))


def test_one_frame_is_kept_and_said(tmp_path):
    frames, warnings = extract(video_and_folder(tmp_path, 1, 1))
    assert len(frames["rgb"]) == 1
    assert warnings == ["it has one frame only, and so no motion"]


def test_blank_depth_is_kept_and_said(tmp_path):
    for index in range(10):
        write_image(tmp_path / "depth" / f"{index}.png", np.zeros((24, 32), np.uint16))
    sources = {"rgb": VideoFile(write_video(tmp_path / "rgb.avi", 10)), "depth": ImageFolder(tmp_path / "depth")}
    for mode in ("clip_mm", "per_clip", "jet"):
        _, warnings = extract(sources, depth=DepthSettings(mode))
        assert warnings == ["depth is blank: every frame is of one colour"]
    black = VideoFile(write_video(tmp_path / "black.avi", [np.zeros((24, 32, 3), np.uint8)] * 10))
    _, warnings = extract({"rgb": sources["rgb"], "depth": black}, depth=DepthSettings())
    assert warnings == ["depth is blank: every frame is of one colour"]


def test_a_screen_of_one_colour_is_blank_too(tmp_path):
    blue = VideoFile(write_video(tmp_path / "blue.avi", [np.full((24, 32, 3), (200, 40, 10), np.uint8)] * 10))
    _, warnings = extract({"rgb": blue})
    assert warnings == ["rgb is blank: every frame is of one colour"]


def test_16_bits_where_8_are_said(tmp_path):
    sources = video_and_folder(tmp_path, 9, 9)
    where = f"{tmp_path}/depth/0.png"
    with pytest.raises(InputError, match=f"{where}: an image of 16 bits per pixel, but as_is takes 8: choose "):
        extract(sources, depth=DepthSettings("as_is"))
    with pytest.raises(InputError, match=f"{where}: more than 8 bits per pixel: where these are distances, "):
        extract(sources, depth_modalities=("other",))


class Tracked:
    """A source that counts how many of its frames are alive."""

    files = ()

    def __init__(self):
        self.alive = self.most = 0

    def frames(self, limits):
        for index in range(50):
            image = colour_frame(index)
            self.alive += 1
            self.most = max(self.most, self.alive)
            weakref.finalize(image, self._forget)
            yield Frame(str(index), image)
            del image

    def _forget(self):
        self.alive -= 1

    def lacking(self, found):
        return 0


def test_memory_is_bounded_by_a_few_frames():
    source = Tracked()
    assert len(extract({"rgb": source})[0]["rgb"]) == 50
    assert source.most <= 3
