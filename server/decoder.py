"""Videos are decoded in processes that are killed where they take too long; networks stay in the server's own."""

from __future__ import annotations

import multiprocessing
import queue
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.video.record import reason_of
from dmcl_tf.errors import InputError, held_back, send
from dmcl_tf.export import Exported
from server.limits import Refused, RequestLimits, ServerLimits, TooMuch

_MOST_WINDOWS = 1200  # of a timeline

Serve = Callable[[str, Mapping[str, np.ndarray]], np.ndarray]  # of a part, "video" or "timeline": clips → logits


@dataclass(frozen=True)
class Job:
    """A video to be looked at.

    Attributes:
        paths: of its files, by modality.
        video_id: seeds which frames are drawn.
        exported: what the model was made from.
        modalities: to predict from.
        clips: to average over.
        window: seconds of each part of the timeline.
        stride: seconds from one part to the next.
        limits: of the server.
    """

    paths: Mapping[str, Path]
    video_id: str
    exported: Exported
    modalities: tuple[str, ...]
    clips: int
    window: float
    stride: float
    limits: ServerLimits


def look(job: Job, serve: Serve) -> dict[str, Any]:
    """Decodes a video, hands its clips to `serve`, and returns what a page shows: frames, pictures, times.

    Raises:
        InputError: a file cannot be used.
    """
    import cv2

    from data_prep.raw.base import RawVideo
    from data_prep.video.videos import VideoFile
    from workflow.footage import read_clips, video_settings
    from workflow.timeline import read_windows

    settings = video_settings(job.exported, job.modalities, given=tuple(job.paths))
    sources = {name: VideoFile(job.paths[name]) for name in settings.recorded}
    rate = 0.0
    for source in sources.values():
        own = source.frame_rate() or 30.0
        length = source.declared_length()
        if length and length / own > job.limits.duration:
            raise TooMuch(
                f"{source.path.name}: {length / own:.0f} seconds; expected {job.limits.duration:g} at most: cut it"
            )
        rate = rate or own
    settings = replace(settings, limits=RequestLimits.of(job.limits, rate))
    video, frames = RawVideo(job.video_id, "", sources), job.exported.config.clip_frames
    clips, moments = read_clips(video, settings, clips=job.clips, frames=frames)
    if moments / rate / job.stride > _MOST_WINDOWS:
        raise InputError(
            f"stride={job.stride:g}: expected {moments / rate / _MOST_WINDOWS:.3g} seconds or more for a video of "
            f"{moments / rate:.0f} seconds"
        )
    serve("video", clips)
    windows = []
    if moments / rate >= job.window + job.stride:
        found = read_windows(
            video,
            settings,
            lambda parts: serve("timeline", parts),
            rate=rate,
            window=job.window,
            stride=job.stride,
            frames=frames,
        )
        windows = [(window.begin, window.end) for window in found]

    def jpeg(image: np.ndarray) -> bytes:
        return cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()

    pictures = {name: [jpeg(image) for image in clip[0]] for name, clip in clips.items()}
    return {"frames": moments, "rate": rate, "windows": windows, "pictures": pictures}


def work(connection) -> None:
    """Looks at one video after the other until the server is gone."""
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            job = connection.recv()

            def serve(part, clips):
                send(connection, ("serve", part, dict(clips)))
                return connection.recv()

            try:
                answer: tuple = ("done", look(job, serve))
            except (EOFError, BrokenPipeError, ConnectionResetError):
                raise
            except Exception as error:
                status = 413 if _asks_too_much(error) else 422
                folder = f"{next(iter(job.paths.values())).parent}/"
                reason = str(error) if isinstance(error, InputError) else reason_of(error)
                answer = ("refused", status, reason.replace(folder, ""))
            send(connection, answer)


def _asks_too_much(error: BaseException | None) -> bool:
    """Whether it is `TooMuch`, or was raised because of one."""
    return error is not None and (isinstance(error, TooMuch) or _asks_too_much(error.__cause__ or error.__context__))


class _Process:
    def __init__(self):
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=work, args=(other,), daemon=True)
        with held_back(signal.SIGINT):  # of a terminal, which the server hears as well
            self.process.start()
        other.close()

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


class Decoders:
    """A few processes, each of which looks at one video at a time.

    Args:
        count: of processes.
        on_kill: called when one is killed or has died.
    """

    def __init__(self, count: int, on_kill: Callable[[], object] = lambda: None):
        self._idle: queue.Queue[_Process] = queue.Queue()
        self._on_kill = on_kill
        for _ in range(count):
            self._idle.put(_Process())

    def __call__(self, job: Job, serve: Serve, deadline: float) -> dict[str, Any]:
        """What `look` returns.

        Args:
            job: the video.
            serve: the networks, called in this thread.
            deadline: of `time.monotonic`.

        Raises:
            Refused: the video cannot be used, or took too long.
        """
        late = Refused(408, f"the video took longer than {job.limits.seconds:g} seconds: send a shorter or smaller one")
        try:
            process = self._idle.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise late from None
        sound = False
        try:
            send(process.connection, job)
            while True:
                if not process.connection.poll(max(0.0, deadline - time.monotonic())):
                    raise late
                kind, *rest = process.connection.recv()
                if kind == "serve":
                    send(process.connection, serve(*rest))
                    continue
                sound = True
                if kind == "refused":
                    raise Refused(*rest)
                return rest[0]
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise Refused(
                422, "the process that decoded the video died of it: convert it, or send a smaller one"
            ) from None
        finally:
            if not sound:
                process.end()
                process = _Process()
                self._on_kill()
            self._idle.put(process)

    def processes(self) -> list[int]:
        """The identifiers of the processes that are idle."""
        return [process.process.pid for process in list(self._idle.queue)]

    def close(self) -> None:
        """Ends the processes."""
        while not self._idle.empty():
            self._idle.get().end()
