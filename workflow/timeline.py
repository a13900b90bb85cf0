"""What a model says of a long video, window by window: a table, a strip picture, and the video with captions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from tqdm import tqdm

from data_prep.raw.base import RawVideo
from data_prep.video.base import Frame, Source
from data_prep.video.record import VideoSettings
from data_prep.video.videos import VideoFile
from dmcl_tf.errors import InputError
from dmcl_tf.files import atomic_path
from dmcl_tf.scoring.accuracy import softmax
from workflow.footage import read_moments
from workflow.served import Serve, probability_columns

_BATCH = 8  # windows that are served at once
_PICTURES = 16  # of the strip, at most


@dataclass(frozen=True)
class Window:
    """A part of a video.

    Attributes:
        begin: in seconds.
        end: in seconds.
        probabilities: (C,).
        picture: a frame of it, (size, size, 3) uint8 (red, green, blue); None where the strip needs none.
    """

    begin: float
    end: float
    probabilities: np.ndarray
    picture: np.ndarray | None


def read_windows(
    video: RawVideo, settings: VideoSettings, serve: Serve, *, rate: float, window: float, stride: float, frames: int
) -> list[Window]:
    """Predicts every window of a video while it is decoded, once; memory holds a few windows' frames.

    Of a window its clip is taken that has the middle frame of each of its equal parts.

    Args:
        video: to be read.
        settings: how frames are prepared.
        serve: of the modalities of `settings`.
        rate: frames per second.
        window: its length in seconds.
        stride: seconds from the beginning of one to that of the next.
        frames: of a clip.

    Raises:
        InputError: the video is shorter than a window, or cannot be read.
    """
    length, step = max(1, round(window * rate)), max(1, round(stride * rate))
    result: list[Window] = []
    spacing = 1  # of windows whose picture is kept
    complete: list[tuple[int, dict[str, np.ndarray]]] = []

    def serve_complete() -> None:
        clips = {name: np.stack([clip[name] for _, clip in complete]) for name in settings.modalities}
        for (number, clip), logits in zip(complete, serve(clips)):
            begin = number * step / rate
            picture = clip[settings.modalities[0]][frames // 2] if number % spacing == 0 else None
            result.append(Window(begin, begin + length / rate, softmax(logits), picture))
        complete.clear()

    for clip in _clips_of_windows(video, settings, length=length, step=step, frames=frames):
        complete.append(clip)
        if len(complete) == _BATCH:
            serve_complete()
            while len(result) > 2 * _PICTURES * spacing:  # however long the video is, pictures are few
                spacing *= 2
                result = [
                    one if place % spacing == 0 else replace(one, picture=None) for place, one in enumerate(result)
                ]
    if complete:
        serve_complete()
    if not result:
        raise InputError(
            f"{video.video_id}: shorter than --window={window:g} seconds at {rate:g} frames per second; give a shorter "
            "one, or leave --window out"
        )
    return result


def _clips_of_windows(
    video: RawVideo, settings: VideoSettings, *, length: int, step: int, frames: int
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Yields the number of each window, and its clip (frames, size, size, 3) by modality."""
    offsets, windows_at = _offsets(length, frames), wanted_by_windows(length, step, frames)
    begun: dict[int, dict[str, np.ndarray]] = {}
    shape = (frames, settings.size, settings.size, 3)
    moments = read_moments(video, settings, lambda index: bool(windows_at(index)))
    for index, images in tqdm(moments, desc="predict", unit="frame", dynamic_ncols=True, leave=False):
        for number, offset in windows_at(index):
            if number not in begun:
                begun[number] = {name: np.empty(shape, np.uint8) for name in settings.modalities}
            for name, image in images.items():
                begun[number][name][offsets == offset] = image
            if offset == offsets[-1]:
                yield number, begun.pop(number)


def _offsets(length: int, frames: int) -> np.ndarray:
    return ((np.arange(frames) + 0.5) * length / frames).astype(int)


def wanted_by_windows(length: int, step: int, frames: int) -> Callable[[int], list[tuple[int, int]]]:
    """A function from the index of a moment to the windows that want it, and its offset in each.

    Args:
        length: of a window, in moments.
        step: from one window to the next.
        frames: of a clip.
    """
    offsets = sorted(set(_offsets(length, frames).tolist()))
    return lambda index: [
        ((index - offset) // step, offset) for offset in offsets if index >= offset and (index - offset) % step == 0
    ]


def write_table(path: Path, windows: Sequence[Window], class_names: Sequence[str]) -> None:
    """Writes a CSV file: begin, end, the likeliest class, its probability, and that of every class."""
    with atomic_path(path) as partial:
        table(windows, class_names).to_csv(partial, index=False, float_format="%.6g")


def table(windows: Sequence[Window], class_names: Sequence[str]) -> pd.DataFrame:
    """The content of the CSV file."""
    probabilities = np.stack([window.probabilities for window in windows])
    columns = {
        "begin": [window.begin for window in windows],
        "end": [window.end for window in windows],
        "class": np.array(class_names)[probabilities.argmax(axis=1)],
        "probability": probabilities.max(axis=1),
    }
    return pd.concat(
        [pd.DataFrame(columns), pd.DataFrame(probabilities, columns=probability_columns(class_names))], axis=1
    )


def draw_strip(path: Path, windows: Sequence[Window], class_names: Sequence[str]) -> None:
    """Draws frames of the video above the probabilities of the classes over time."""
    import matplotlib.pyplot as plt

    kept = [window for window in windows if window.picture is not None]
    chosen = [kept[round(place)] for place in np.linspace(0, len(kept) - 1, min(len(kept), _PICTURES))]
    probabilities = np.stack([window.probabilities for window in windows])
    shown = np.sort(np.argsort(-probabilities.max(axis=0), kind="stable")[:12])
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(11, 1.6 + 0.26 * len(shown)), height_ratios=(1, 0.26 * len(shown)), layout="constrained"
    )
    pictures = [window.picture for window in chosen if window.picture is not None]
    above.imshow(np.concatenate(pictures, axis=1), aspect="equal")
    above.set_axis_off()
    step = windows[1].begin - windows[0].begin if len(windows) > 1 else windows[0].end - windows[0].begin
    centres = [(window.begin + window.end) / 2 for window in (windows[0], windows[-1])]
    extent = (centres[0] - step / 2, centres[1] + step / 2, len(shown) - 0.5, -0.5)
    image = below.imshow(probabilities[:, shown].T, aspect="auto", vmin=0, vmax=1, cmap="Blues", extent=extent)
    below.set_yticks(range(len(shown)), [class_names[label] for label in shown])
    below.set_xlabel("seconds, middle of the window")
    figure.colorbar(image, ax=below, label="probability")
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=110)
    plt.close(figure)


_CODES = {".mp4": "mp4v", ".avi": "MJPG"}  # codecs of annotated videos


def frame_rate(video: RawVideo, given: float | None) -> float:
    """Frames per second, as they are given or as a file says.

    Raises:
        InputError: nothing says it.
    """
    rates = [source.frame_rate() for source in video.sources.values() if isinstance(source, VideoFile)]
    rate = given or next((rate for rate in rates if rate), None)
    if not rate:
        raise InputError(f"{video.video_id}: the files do not say their frames per second; give --fps=30 or what it is")
    return rate


def check_annotated(path: Path, files: Sequence[Path]) -> None:
    """Checks the name of an annotated video, before any work.

    Raises:
        InputError: its ending is of no format that is written, or it is one of the files that it is made from.
    """
    if path.suffix.lower() not in _CODES:
        raise InputError(f"--annotate={path}: expected a name that ends in {' or '.join(_CODES)}")
    if path.is_dir():
        raise InputError(f"--annotate={path}: it is a folder; give the name of a file")
    if any(path.exists() and file.exists() and path.samefile(file) for file in files):
        raise InputError(f"--annotate={path}: it is one of the videos that are read; give another name")


def annotate(
    path: Path, source: Source, rate: float, class_names: Sequence[str], probabilities_at: Callable[[float], np.ndarray]
) -> None:
    """Writes a video with the three likeliest classes below each frame.

    Args:
        path: of the video, `.mp4` or `.avi`.
        source: whose frames it shows.
        rate: frames per second.
        class_names: by label.
        probabilities_at: (C,) at a time in seconds.

    Raises:
        InputError: it cannot be written, or the source cannot be read.
    """
    writer, suffix = None, path.suffix.lower()
    check_annotated(path, source.files)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as partial:
        target = partial.with_name(partial.name + suffix)  # OpenCV goes by the ending
        try:
            for index, frame in enumerate(source.frames()):
                if not isinstance(frame, Frame):
                    continue  # damaged, which the prediction has said
                image = _caption(frame.image, class_names, probabilities_at(index / rate))
                if writer is None:
                    height, width = image.shape[:2]
                    code = cv2.VideoWriter_fourcc(*_CODES[suffix])
                    writer = cv2.VideoWriter(str(target.absolute()), cv2.CAP_FFMPEG, code, rate, (width, height))
                    if not writer.isOpened():
                        raise InputError(f"--annotate={path}: OpenCV cannot write it; try another folder or .avi")
                writer.write(image)
            if writer is not None:
                writer.release()
            target.rename(partial)
        finally:
            target.unlink(missing_ok=True)


def _caption(image: np.ndarray, class_names: Sequence[str], probabilities: np.ndarray) -> np.ndarray:
    """A frame, 320 pixels wide at least, above bars of its likeliest classes; (H, W, 3) uint8 of even sides."""
    if image.dtype != np.uint8:
        image = cv2.normalize(image, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    width = max(320, image.shape[1]) // 2 * 2
    height = round(image.shape[0] * width / image.shape[1]) // 2 * 2
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    line = max(20, height // 16) // 2 * 2
    bars = np.full((3 * line + 4, width, 3), 32, np.uint8)
    scale = line / 36
    for row, label in enumerate(np.argsort(-probabilities, kind="stable")[:3]):
        top, share = 2 + row * line, float(probabilities[label])
        cv2.rectangle(bars, (0, top), (round(share * width) - 1, top + line - 3), (150, 90, 40), cv2.FILLED)
        text = f"{class_names[label]}  {100 * share:.0f} %".encode("ascii", "replace").decode()
        place = (6, top + round(0.7 * line))
        cv2.putText(bars, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1, cv2.LINE_AA)
    return np.concatenate([image, bars])
