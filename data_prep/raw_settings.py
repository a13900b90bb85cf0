"""Which raw data are read and how their frames are made: the flags that the scripts share, and what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from absl import flags

from data_prep.flow.settings import FlowSettings, GivenFlowSettings
from data_prep.flow_flags import FLOW_FLAGS, flow_settings_from_flags
from data_prep.raw import READERS
from data_prep.raw.base import Listing, Reader
from data_prep.running.processes import default_workers
from data_prep.video.crop import Crop
from data_prep.video.depth import MODES, DepthSettings
from data_prep.video.opening import Limits
from data_prep.video.record import FLOW, VideoSettings
from data_prep.video.skeletons import SKELETON
from dmcl_tf.config import SCALES, Config, check_frame_size
from dmcl_tf.datasets import DATASETS, find_dataset
from dmcl_tf.datasets.base import Dataset, in_words
from dmcl_tf.errors import InputError
from dmcl_tf.files import expand_home
from dmcl_tf.flag_groups import define_settings_of, given_settings, modality_names
from dmcl_tf.registry import HALLUCINATION

WHOLE, PERSON = "none", "person"  # of --crop


def raw_flags(values: flags.FlagValues) -> None:
    """Where the raw data are, and what they are."""
    folders = ", ".join(f"data/{folder}" for folder in READERS)
    flags.DEFINE_string("data_dir", None, f"folder of the raw files; default: {folders}", flag_values=values)
    define_settings_of({folder: reader.options for folder, reader in READERS.items()}, values)
    flags.DEFINE_integer("workers", None, "parallel processes; default: one for each core", 1, flag_values=values)


def reading_flags(values: flags.FlagValues) -> None:
    """What raw files may be like: their largest size, and by how much the modalities of a video may differ."""
    flags.DEFINE_float(
        "length_tolerance",
        VideoSettings.length_tolerance,
        "how much the modalities of a video may differ in length: a share of the longest (below 1; one frame at "
        "least), or frames (1 and more); within it they are aligned on the shortest, else the video is skipped",
        0.0,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "max_pixels", Limits.pixels, "most pixels that an image may have, read from its header", 1, flag_values=values
    )
    flags.DEFINE_integer("max_frames", Limits.frames, "most frames that a video may have", 1, flag_values=values)


def video_flags(values: flags.FlagValues) -> None:
    """How the frames of a video are made; `frame_flags` belong to them."""
    flags.DEFINE_alias("size", "frame_size", flag_values=values)
    flags.DEFINE_integer("jpeg_quality", VideoSettings.jpeg_quality, "quality of the JPEGs", 1, 100, flag_values=values)
    flags.DEFINE_enum(
        "depth_mode",
        None,
        list(MODES),
        "how depth becomes 8 bits: as it is; millimetres from --depth_near to --depth_far, clipped (clip_mm); from the "
        "nearest to the farthest reading of each clip (per_clip); or clip_mm in colours (jet). Readings become 16 … "
        "255, and 0 stays no reading; default: clip_mm for NTU RGB+D and UTD-MHAD, else as_is",
        flag_values=values,
    )
    for name, text in (("near", "nearest"), ("far", "farthest")):
        default, of_utd = (getattr(settings, name) for settings in (DepthSettings, READERS["utd_mhad"].depth))
        help_text = f"clip_mm and jet: {text} distance in millimetres; default: {default:g}, of UTD-MHAD {of_utd:g}"
        flags.DEFINE_float(f"depth_{name}", None, help_text, 0.0, flag_values=values)
    flags.DEFINE_list(
        "depth_modalities",
        None,
        "the modalities that hold distances, to which --depth_mode applies; default: depth",
        flag_values=values,
    )
    reading_flags(values)
    text = "modality that flow is computed from; default: rgb, of UTD-MHAD depth"
    flags.DEFINE_string("flow_from", None, text, flag_values=values)
    flags.DEFINE_enum(
        "crop",
        WHOLE,
        [WHOLE, PERSON],
        "what frames are cut to before they are resized: nothing, or a square around the person that holds all of the "
        "clip's motion (person), who is found in depth without its background (UTD-MHAD, own videos) or in skeletons "
        "that say where their joints are in the pictures (NTU RGB+D)",
        flag_values=values,
    )


@dataclass(frozen=True)
class RawSettings:
    """Which raw data are read, and how.

    Attributes:
        dataset: the data set's name.
        data_dir: where its raw files are.
        options: what else its reader must know.
        videos: how frames and flow are made.
        workers: parallel processes.
    """

    dataset: str
    data_dir: Path
    videos: VideoSettings
    options: Mapping[str, object] = field(default_factory=dict)
    workers: int = 1

    def reader(self) -> Reader:
        """The reader of its folders, which knows the options; of own data it reads the CSV file."""
        return make_reader(find_dataset(self.dataset), self.options, self.videos.recorded)

    @property
    def source(self) -> Path:
        """What lists the videos: the CSV file of own ones, else the folder of the raw data."""
        return Path(str(self.options.get("videos") or self.data_dir))

    def list_videos(self, reader: Reader) -> Listing:
        """Lists the raw videos of the data set's classes, after making them where they are generated.

        Raises:
            InputError: the raw data are not there, may not be read, or hold no usable video.
        """
        dataset = find_dataset(self.dataset)
        if reader.generate:
            reader.generate(self.data_dir, workers=self.workers)
        try:
            listing = reader.list_videos(self.data_dir)
        except OSError as error:
            raise InputError(f"{error.filename}: {error.strerror}; {dataset.title} is read from there") from error
        known = dataset.class_names or reader.class_names
        listing = replace(listing, videos=tuple(video for video in listing.videos if video.label in known))
        if not listing.videos and not listing.away:
            example = f", for example {listing.skipped[0].reason}" if listing.skipped else ""
            raise InputError(f"{self.source}: no usable video among {len(listing.skipped)}{example}")
        return listing


def make_reader(dataset: Dataset, options: Mapping[str, object], modalities: Sequence[str] | None) -> Reader:
    """The reader of a data set, which knows the options and the modalities to read; None: all that there are."""
    reader = READERS[dataset.folder]
    return reader.configure(**options, modalities=modalities) if reader.configure else reader


def raw_settings_from_flags(
    values: flags.FlagValues, *, data_root: Path = Path("data"), with_flow: bool = True
) -> RawSettings:
    """Reads the flags, with the defaults of the data set filled in.

    Args:
        values: of the groups `dataset_flags`, `frame_flags`, `raw_flags`, `video_flags` and, with flow, `flow_flags`.
        data_root: the folder of all data sets.
        with_flow: whether flow is computed where the data set does not have it.

    Raises:
        InputError: a value cannot be used, or is none of this data set's.
    """
    dataset = find_dataset(values.dataset or next(iter(DATASETS)))
    options = _options_from_flags(dataset, values)
    given = None
    if values.modalities is not None:  # the hallucination network sees another modality, and has no frames of its own
        given = tuple(name for name in modality_names(values.modalities) if name != HALLUCINATION)
    source = values.flow_from or READERS[dataset.folder].flow_from
    reader = make_reader(dataset, options, [*given, source] if given and FLOW in given else given)
    scale = values.scale or str(dataset.defaults.get("scale", Config.scale))
    if scale not in SCALES:
        raise InputError(f"--scale={scale}: expected one of {', '.join(SCALES)}")
    usual: Any = dataset.defaults.get("frame_size", SCALES[scale].get("frame_size", Config.frame_size))
    size: int = usual if values.frame_size is None else values.frame_size
    check_frame_size(size)
    default = reader.modalities if with_flow else reader.recorded
    if values.flow_from and with_flow and FLOW not in default:
        default = (*default, FLOW)
    modalities = default if given is None else given
    if not modalities or "" in modalities or len(set(modalities)) < len(modalities):
        raise InputError(f"--modalities={','.join(modalities)}: expected different names, separated by commas")
    available = {*reader.recorded, *reader.optional, *([FLOW] if with_flow else [])}
    for modality in modalities:
        if modality not in available:
            raise InputError(
                f"--modalities={','.join(modalities)}: {dataset.title} has no {modality!r}; expected some of "
                f"{', '.join(sorted(available))}"
            )
    data_dir = Path(values.data_dir or data_root / dataset.folder)
    preset = "fast" if scale == "compact" else "default"
    crop = _crop_from_flags(dataset, reader, values)
    computed_from = [source] if FLOW in modalities and FLOW not in reader.recorded else []
    seen = tuple(dict.fromkeys([*modalities, *computed_from, *([crop.found_in] if crop else [])]))
    videos = VideoSettings(
        modalities=modalities,
        size=size,
        jpeg_quality=values.jpeg_quality,
        depth=_depth_from_flags(reader, values),
        depth_modalities=_depth_modalities(values, seen),
        length_tolerance=values.length_tolerance,
        limits=Limits(values.max_pixels, values.max_frames),
        root=expand_home(str(options["videos"])).parent if "videos" in options else data_dir,
        flow=_flow_from_flags(dataset, reader, values, modalities, source, preset),
        crop=crop,
    )
    _check_crop(dataset, videos)
    return RawSettings(dataset.name, data_dir, videos, options, values.workers or default_workers())


def _options_from_flags(dataset: Dataset, values: flags.FlagValues) -> dict[str, object]:
    settings = READERS[dataset.folder].options
    for folder, reader in READERS.items():
        for name in reader.options:
            if name not in settings and values[name].value is not None:
                raise InputError(f"--{name}: {dataset.name} has no such setting, only {folder}")
    return {**{name: setting.default for name, setting in settings.items()}, **given_settings(settings, values)}


def _depth_from_flags(reader: Reader, values: flags.FlagValues) -> DepthSettings:
    given = {name: values[f"depth_{name}"].value for name in ("mode", "near", "far")}
    depth = replace(reader.depth, **{name: value for name, value in given.items() if value is not None})
    if not depth.near < depth.far:
        raise InputError(f"--depth_near={depth.near:g} --depth_far={depth.far:g}: expected near below far")
    for name in ("near", "far"):
        if given[name] is not None and name not in depth.to_json():
            raise InputError(
                f"--depth_{name}={given[name]:g} is of no use with --depth_mode={depth.mode}: choose clip_mm or jet"
            )
    return depth


def _depth_modalities(values: flags.FlagValues, modalities: Sequence[str]) -> tuple[str, ...]:
    """The modalities that hold distances: those named, else `depth` in whatever case it is written."""
    if values.depth_modalities is None:
        found = tuple(modality for modality in modalities if modality.lower() == "depth")
        if values.depth_mode is not None and not found:
            raise InputError(
                f"--depth_mode={values.depth_mode} applies to nothing: none of {', '.join(modalities)} is called "
                "depth; name those that hold distances in --depth_modalities"
            )
        return found
    for modality in values.depth_modalities:
        if modality not in modalities:
            raise InputError(
                f"--depth_modalities={','.join(values.depth_modalities)}: there is no {modality!r} among "
                f"{', '.join(modalities)}"
            )
    return tuple(values.depth_modalities)


def _crop_from_flags(dataset: Dataset, reader: Reader, values: flags.FlagValues) -> Crop | None:
    if values.crop == WHOLE:
        return None
    if reader.person_in not in (*reader.recorded, *reader.optional):
        there = f"{reader.person_in}, which {dataset.title} do not have" if reader.person_in else ""
        reason = there or f"what shows nothing else, and the depth of {dataset.title} shows the room as well"
        raise InputError(f"--crop={PERSON}: the person is found in {reason}; leave it out")
    return Crop(reader.person_in)


def _check_crop(dataset: Dataset, videos: VideoSettings) -> None:
    """Raises `InputError` where frames shall be cut to the person, and there is a modality that cannot be."""
    if not videos.crop or videos.crop.found_in == SKELETON:
        return
    for modality in videos.recorded:
        if modality not in (videos.crop.found_in, SKELETON):
            raise InputError(
                f"--crop={PERSON}: the person is found in {videos.crop.found_in}, and {modality} of {dataset.title} is "
                f"not known to show the same part of the room: leave {modality} out with --modalities"
                + (", and compute flow of depth with --flow_from=depth" if FLOW in videos.modalities else "")
            )


def _flow_from_flags(
    dataset: Dataset, reader: Reader, values: flags.FlagValues, modalities: tuple[str, ...], source: str, preset: str
) -> FlowSettings | GivenFlowSettings | None:
    given = [name for name in ("flow_from", *FLOW_FLAGS) if name in values and values[name].present]
    if FLOW not in modalities:
        if given:
            shown = f"--{given[0]}={in_words(values[given[0]].value)}"
            raise InputError(f"{shown} is of no use: there is no flow among the modalities {','.join(modalities)}")
        return None
    if FLOW in reader.recorded:
        others = [name for name in given if name != "flow_encoding"]
        if others:
            shown = f"--{others[0]}={in_words(values[others[0]].value)}"
            raise InputError(f"{shown}: {dataset.title} bring their flow; leave one of them out")
        return GivenFlowSettings(values.flow_encoding if given else None)
    if source not in reader.recorded:
        raise InputError(
            f"flow cannot be computed from {source!r}, which {dataset.title} do not have: give --flow_from="
            f"{'|'.join(reader.recorded)}"
        )
    return replace(flow_settings_from_flags(values, default_preset=preset), source=source)
