"""Long videos: windows that are read while the video is decoded, their table, the strip and the captions."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from raw import write_video

from data_prep.flow.settings import preset_settings
from data_prep.raw.base import RawVideo
from data_prep.video.record import VideoSettings
from data_prep.video.sources import open_source
from data_prep.video.videos import VideoFile
from dmcl_tf.errors import InputError
from workflow import timeline

NAMES = ("dark", "bright", "never")
SETTINGS = VideoSettings(("rgb",), 16)


def brightness(clips):
    """Logits of a network that tells bright from dark by the mean of a clip."""
    level = clips["rgb"].mean(axis=(1, 2, 3, 4)) - 127.5
    return np.stack([-level, level, np.full_like(level, -1000)], axis=1)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Two seconds dark, then two seconds bright, at 30 frames per second."""
    levels = [20] * 60 + [230] * 60
    frames = [np.full((24, 32, 3), level, np.uint8) for level in levels]
    return write_video(tmp_path_factory.mktemp("clip") / "long.avi", frames)


def windows_of(path, serve=brightness, settings=SETTINGS, **changes):
    video = RawVideo("long", "", {"rgb": open_source(path)})
    values = {"rate": 30.0, "window": 1.0, "stride": 0.5, "frames": 8, **changes}
    return timeline.read_windows(video, settings, serve, **values)


def test_every_window_is_predicted(clip):
    windows = windows_of(clip)
    assert [(window.begin, window.end) for window in windows] == [(n / 2, n / 2 + 1) for n in range(7)]
    labels = [int(window.probabilities.argmax()) for window in windows]
    assert labels[:3] == [0, 0, 0]
    assert labels[4:] == [1, 1, 1]


@pytest.mark.parametrize(("window", "stride"), [(1.0, 0.5), (0.5, 0.5), (1.0, 0.3), (0.1, 0.5), (0.2, 1 / 30)])
def test_a_window_has_the_middle_frame_of_each_part(tmp_path, window, stride):
    """Whether windows overlap, touch, or leave gaps, and where one frame stands for several parts."""
    frames = [np.full((16, 16, 3), 3 * index, np.uint8) for index in range(80)]
    path, seen = write_video(tmp_path / "x.avi", frames), []

    def serve(clips):
        seen.extend(np.round(clips["rgb"].mean(axis=(2, 3, 4)) / 3).astype(int).tolist())
        return np.zeros((len(clips["rgb"]), 3))

    windows_of(path, serve, window=window, stride=stride)
    length, step = round(30 * window), round(30 * stride)
    middles = [int((part + 0.5) * length / 8) for part in range(8)]
    expected = [[begin + middle for middle in middles] for begin in range(0, 80 - middles[-1], step)]
    assert np.abs(np.array(seen) - np.array(expected)).max() <= 0


def test_flow_of_windows_is_that_of_the_whole_video(tmp_path):
    random = np.random.RandomState(0)
    texture = cv2.GaussianBlur(random.randint(0, 256, (60, 60, 3)).astype(np.uint8), (0, 0), 2)
    path = write_video(tmp_path / "x.avi", [np.roll(texture, index, 1)[:40, :40] for index in range(12)])
    settings = VideoSettings(("flow",), 40, flow=preset_settings("farneback", "fast"))
    video = RawVideo("x", "", {"rgb": open_source(path)})
    whole = dict(timeline.read_moments(video, settings, lambda index: True))
    assert list(whole) == list(range(12))
    np.testing.assert_array_equal(whole[11]["flow"], whole[10]["flow"])
    assert np.abs(whole[5]["flow"].astype(int) - whole[4]["flow"]).max() > 0
    for index, images in timeline.read_moments(video, settings, lambda index: index in (3, 4, 11)):
        np.testing.assert_array_equal(images["flow"], whole[index]["flow"])


def test_a_short_video_is_named(clip):
    with pytest.raises(InputError, match="long: shorter than --window=9 seconds at 30 frames per second"):
        windows_of(clip, window=9.0)


def test_pictures_of_a_long_video_are_few_and_spread(clip, monkeypatch):
    monkeypatch.setattr(timeline, "_PICTURES", 4)
    windows = windows_of(clip, stride=1 / 30)
    places = [place for place, window in enumerate(windows) if window.picture is not None]
    assert len(windows) > 80
    assert 4 <= len(places) <= 8
    assert places[0] == 0
    assert max(np.diff(places)) <= len(windows) / 3


def test_table_strip_and_captions(clip, tmp_path):
    windows = windows_of(clip)
    timeline.write_table(tmp_path / "timeline.csv", windows, NAMES)
    table = pd.read_csv(tmp_path / "timeline.csv")
    assert table.columns.tolist() == [
        "begin",
        "end",
        "class",
        "probability",
        *(f"probability:{name}" for name in NAMES),
    ]
    assert table["class"].tolist()[::6] == ["dark", "bright"]
    timeline.draw_strip(tmp_path / "timeline.png", windows, NAMES)
    strip = cv2.imread(str(tmp_path / "timeline.png"))
    assert strip.shape[1] > strip.shape[0] > 100
    centres = np.array([(window.begin + window.end) / 2 for window in windows])
    source = open_source(clip)
    for name in ("out.mp4", "out.avi"):
        timeline.annotate(
            tmp_path / name, source, 30.0, NAMES, lambda t: windows[np.abs(centres - t).argmin()].probabilities
        )
        frames = [frame.image for frame in open_source(tmp_path / name).frames()]
        assert len(frames) == 120
        assert frames[0].shape == (304, 320, 3)
        assert frames[0][:200].mean() < 60 < 180 < frames[-1][:200].mean()
        assert np.ptp(frames[0][242:262]) > 100  # a caption
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.avi", "out.mp4", "timeline.csv", "timeline.png"]
    before = (tmp_path / "out.avi").read_bytes()
    with pytest.raises(InputError, match=r"--annotate=.*out.avi: it is one of the videos that are read"):
        timeline.annotate(
            tmp_path / "out.avi", VideoFile(tmp_path / "out.avi"), 30.0, NAMES, lambda t: windows[0].probabilities
        )
    assert (tmp_path / "out.avi").read_bytes() == before
    with pytest.raises(InputError, match=r"--annotate=out.gif: expected a name that ends in .mp4 or .avi"):
        timeline.annotate(Path("out.gif"), source, 30.0, NAMES, lambda t: windows[0].probabilities)
