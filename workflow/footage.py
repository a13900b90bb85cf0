"""The frames of a video that a prediction needs, prepared as the records were; the rest is decoded and forgotten."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import cv2
import msgspec
import numpy as np

from data_prep.flow.algorithms import ALGORITHMS, flow_between
from data_prep.flow.encoding import bound_in_pixels, encode_flow
from data_prep.flow.settings import FlowSettings
from data_prep.raw.base import RawVideo
from data_prep.video.alignment import AlignedReader
from data_prep.video.base import Frame, Source
from data_prep.video.crop import Crop
from data_prep.video.depth import DepthSettings
from data_prep.video.given_flow import accept_given_flow
from data_prep.video.record import FLOW, VideoSettings, make_encoders
from dmcl_tf.data.records import MINIMUM_FRAMES, draw_clips
from dmcl_tf.errors import InputError
from dmcl_tf.export import Exported

Images = dict[str, np.ndarray]


def computed_flow(exported: Exported) -> FlowSettings | None:
    """How the flow that the model was trained on was computed; None where it has none, or it was given.

    Raises:
        InputError: it was computed in a way that this version does not know.
    """
    if FLOW not in exported.config.inputs or not exported.flow or exported.flow.get("algorithm") == "given":
        return None
    known = {name: value for name, value in exported.flow.items() if name != "bound_in_pixels"}
    try:
        settings = msgspec.convert(known, FlowSettings)
    except msgspec.ValidationError as error:
        raise InputError(f"the settings of the model's flow are not of this version ({error}): export again") from None
    if settings.algorithm not in ALGORITHMS:
        raise InputError(f"the model's flow is of the unknown algorithm {settings.algorithm!r}: export again")
    try:
        ALGORITHMS[settings.algorithm].make(settings.parameters)
    except TypeError as error:  # a parameter that there is no more
        raise InputError(
            f"the parameters of the model's flow are not of this version ({error}): prepare and train again"
        ) from None
    return settings


def available_modalities(exported: Exported, given: Collection[str]) -> set[str]:
    """What can be predicted from: what is given, and flow where its source is."""
    flow = computed_flow(exported)
    return {*given, FLOW} if flow and flow.source in given else set(given)


def video_settings(exported: Exported, modalities: tuple[str, ...], given: Sequence[str] = ()) -> VideoSettings:
    """How the frames of some modalities are prepared: as the records that the model was trained on.

    Args:
        exported: the model.
        modalities: to predict from.
        given: those of which there are files; flow that is not among them is computed.

    Raises:
        InputError: frames shall be cut to the person as in the records, and cannot.
    """
    flow = computed_flow(exported) if FLOW in modalities and FLOW not in given else None
    depth: dict[str, Any] = dict(exported.depth or {})
    distances = tuple(depth.pop("modalities", ()))
    try:
        depth_settings = DepthSettings(**depth)
    except TypeError as error:
        raise InputError(f"the model's record of depth cannot be used ({error}): export the model anew") from None
    settings = VideoSettings(
        modalities,
        exported.config.frame_size,
        depth=depth_settings,
        depth_modalities=distances,
        flow=flow,
        crop=_crop(exported),
    )
    found_in = settings.crop.found_in if settings.crop else None
    if found_in in settings.recorded and found_in not in (*given, *modalities):
        raise InputError(
            f"the model knows frames that are cut to the person, who is found in {found_in}: give --{found_in} as well"
        )
    if settings.crop and FLOW in settings.recorded:
        raise InputError(
            "the model knows flow of frames that are cut to the person, which images of flow cannot be cut to: give "
            f"{exported.flow['source'] if exported.flow else 'its source'} instead, of which it is computed"
        )
    return settings


def _crop(exported: Exported) -> Crop | None:
    try:
        return msgspec.convert(exported.crop, Crop) if exported.crop else None
    except msgspec.ValidationError as error:
        raise InputError(f"the model's cut of frames is not of this version ({error}): export again") from None


def read_clips(video: RawVideo, settings: VideoSettings, *, clips: int, frames: int) -> tuple[Images, int]:
    """Reads the frames of the clips by which a video is judged.

    Args:
        video: whose name seeds the choice of frames, as it does in the evaluation.
        settings: how frames are prepared.
        clips: their number.
        frames: of each clip.

    Returns:
        Clips (clips, frames, size, size, 3) uint8 (red, green, blue) by modality; and the number of moments.

    Raises:
        InputError: a source cannot be read.
    """
    moments = sum(1 for _ in AlignedReader(_sources(video, settings), settings.length_tolerance, settings.limits))
    drawn = draw_clips(video.video_id, max(moments, MINIMUM_FRAMES, frames), clips=clips, frames=frames)
    indices = np.minimum(drawn, moments - 1)  # a short video repeats its last frame
    shape = (clips, frames, settings.size, settings.size, 3)
    result = {modality: np.empty(shape, np.uint8) for modality in settings.modalities}
    chosen = set(indices.ravel().tolist())
    for index, images in read_moments(video, settings, lambda index: index in chosen):
        for modality, image in images.items():
            result[modality][indices == index] = image
    return result, moments


def read_moments(
    video: RawVideo, settings: VideoSettings, wanted: Callable[[int], bool]
) -> Iterator[tuple[int, Images]]:
    """Yields the moments of a video that are wanted, one after the other; memory does not grow with its length.

    Flow is computed at those moments alone. It leads to the next moment; the last one repeats that of the one before.

    Args:
        video: whose sources are read.
        settings: how frames are prepared.
        wanted: whether the moment of an index is.

    Yields:
        The index, and images (size, size, 3) uint8 (red, green, blue) by modality.

    Raises:
        InputError: a source cannot be read.
    """
    sources, computed = _sources(video, settings), settings.computed_flow
    encoders = make_encoders(sources, settings)

    def encode(moment: Mapping[str, Frame]) -> Images:
        return {modality: encoders[modality](frame) for modality, frame in moment.items()}

    flow = _Flow(computed) if computed else None
    waiting: tuple[int, Images] | None = None  # for the frame that its flow leads to
    before: dict[str, Frame] = {}
    for index, moment in enumerate(AlignedReader(sources, settings.length_tolerance, settings.limits)):
        if flow is None:
            if wanted(index):
                yield index, _coloured(encode(moment), settings.modalities)
            continue
        if waiting is not None:
            waiting[1][FLOW] = flow(waiting[1][flow.source], encoders[flow.source](moment[flow.source]))
            yield waiting[0], _coloured(waiting[1], settings.modalities)
            waiting = None
        if wanted(index):
            waiting = index, encode(moment)
            last = before  # of which the flow is, should no frame follow
        before = moment
    if flow is not None and waiting is not None:
        images = waiting[1]
        first = encoders[flow.source](last[flow.source]) if last else images[flow.source]
        images[FLOW] = flow(first, images[flow.source])
        yield waiting[0], _coloured(images, settings.modalities)


def _sources(video: RawVideo, settings: VideoSettings) -> dict[str, Source]:
    return accept_given_flow({name: video.sources[name] for name in settings.recorded})


def _coloured(images: Images, modalities: Sequence[str]) -> Images:
    """Images of three channels, red, green, blue."""
    result = {}
    for modality in modalities:
        image = images[modality]
        if image.ndim == 2:
            result[modality] = np.repeat(image[..., None], 3, axis=2)
        else:
            result[modality] = image[..., ::-1]
    return result


class _Flow:
    """Images of flow between two frames, as the records hold them.

    Args:
        settings: how it is computed.
    """

    def __init__(self, settings: FlowSettings):
        self.source = settings.source
        self._settings = settings
        self._algorithm = ALGORITHMS[settings.algorithm].make(settings.parameters)

    def __call__(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The image (H, W, 3) uint8 (blue, green, red) of the flow between frames (H, W) or (H, W, 3) uint8."""
        if first is second:  # the only frame of a video: there is no motion
            flow = np.zeros((*first.shape[:2], 2), np.float32)
        else:
            flow = flow_between(self._algorithm, _grey(first), _grey(second))
        bound = bound_in_pixels(self._settings.bound, *flow.shape[:2])
        return encode_flow(flow, bound, self._settings.encoding)[..., ::-1]


def _grey(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
