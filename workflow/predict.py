"""Predicts the class of videos with an exported model.

    bash run.sh predict                                                    # the samples, with the model that is there
    bash run.sh predict --model=exported/custom/dmcl/authors-compact-seed0 --rgb=clip.avi
    bash run.sh predict --model=… --videos=list.csv                        # many: predictions/predictions.csv
    bash run.sh predict --model=… --rgb=long.mp4 --window=2 --stride=0.5   # predictions/timeline.csv and timeline.png

The model has a flag for each of its modalities, and any of them will do: a video file, a folder of images, a MATLAB or
NumPy volume, prepared as the records were. Flow is computed on the way as it was for the records, where the modality
that it comes from is given; or it is given as images of flow. As in the evaluation, several clips of the video are
drawn and their logits averaged; of a window it is one. --with=rgb or --with=rgb+flow chooses among what can be had;
default: all of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from absl import flags
from tqdm import tqdm

from data_prep.raw.base import RawVideo
from data_prep.raw.csv_file import read_table
from data_prep.raw_settings import reading_flags
from data_prep.video.opening import DEFAULT_LIMITS, Limits
from data_prep.video.record import FLOW, VideoSettings
from data_prep.video.sources import open_sources
from dmcl_tf.errors import InputError
from dmcl_tf.export import Exported
from dmcl_tf.files import atomic_path
from dmcl_tf.flag_groups import Group
from dmcl_tf.scoring.accuracy import softmax
from workflow import command_line
from workflow.footage import available_modalities, computed_flow, read_clips, video_settings
from workflow.served import Serve, find_model, load, probability_columns

_TOP = 5
SAMPLES = Path(os.path.relpath(Path(__file__).parents[1] / "samples"))


@dataclass(frozen=True)
class PredictSettings:
    """What to predict.

    Attributes:
        model: folder of the exported model.
        exported: what it was made from.
        paths: of the one video, by modality; empty where there are many.
        clips: how many to average over.
        chosen: the networks that are asked; empty: all that see what is given or can be computed.
        json: whether the result is printed as JSON.
        videos: CSV file that lists many.
        output: folder for tables and pictures.
        window: seconds of each part of a long video; None: the video is taken as a whole.
        stride: seconds from one window to the next.
        rate: frames per second; None: as the video file says.
        annotate: the video with captions, to be written.
        length_tolerance: by how much the modalities may differ in length, as in preparation.
        limits: of what is read.
        keep: whether the table of many videos is written; without flags a look leaves nothing behind.
    """

    model: Path
    exported: Exported
    paths: Mapping[str, Path]
    clips: int = 10
    chosen: tuple[str, ...] = ()
    json: bool = False
    videos: Path | None = None
    output: Path = Path("predictions")
    window: float | None = None
    stride: float = 0.5
    rate: float | None = None
    annotate: Path | None = None
    length_tolerance: float = VideoSettings.length_tolerance
    limits: Limits = DEFAULT_LIMITS
    keep: bool = True

    @property
    def modalities(self) -> tuple[str, ...]:
        """The networks that are asked, in the model's order.

        Raises:
            InputError: one was chosen that sees what is neither given nor can be computed.
        """
        config, computed = self.exported.config, computed_flow(self.exported)
        available = available_modalities(self.exported, self.paths)
        for name in self.chosen:
            if name not in config.modalities:
                raise InputError(f"--with: the model has no {name}, only {', '.join(config.modalities)}")
            seen = config.sees(name)
            if seen not in available:
                source = f", or --{computed.source}, of which it is computed" if computed and seen == FLOW else ""
                raise InputError(f"--with: {seen} is not given; give --{seen}{source}")
        chosen = self.chosen or config.modalities
        return tuple(name for name in config.modalities if name in chosen and config.sees(name) in available)

    @cached_property
    def preparation(self) -> VideoSettings:
        """How frames are prepared."""
        seen = tuple(dict.fromkeys(map(self.exported.config.sees, self.modalities)))
        settings = video_settings(self.exported, seen, given=tuple(self.paths))
        return replace(settings, length_tolerance=self.length_tolerance, limits=self.limits)

    def open_video(self, video_id: str = "") -> RawVideo:
        """Opens the files; the name of the first is the video's where it has none.

        Raises:
            InputError: a file cannot be opened.
        """
        recorded = self.preparation.recorded
        sources, left_out = open_sources({modality: self.paths[modality] for modality in recorded})
        for line in left_out:
            print(f"warning: {line}", file=sys.stderr)
        return RawVideo(video_id or self.paths[recorded[0]].stem, "", sources)


class Predictor:
    """Networks of one model, each subset of which is loaded once.

    Args:
        model: folder of the version.
        exported: what it was made from.
    """

    def __init__(self, model: Path, exported: Exported):
        self._model, self._exported = model, exported
        self._served: dict[tuple[str, ...], Serve] = {}

    def serve(self, modalities: tuple[str, ...]) -> Serve:
        """The function of a subset, as of `served.load`."""
        if modalities not in self._served:
            self._served[modalities] = load(self._model, self._exported, modalities)
        return self._served[modalities]

    def __call__(self, settings: PredictSettings, video_id: str = "") -> tuple[np.ndarray, int]:
        """Class probabilities (C,) of one video, and how many moments it has.

        The probabilities are the softmax of logits averaged over clips and modalities, as in the evaluation.

        Raises:
            InputError: a file cannot be read.
        """
        video, frames = settings.open_video(video_id), self._exported.config.clip_frames
        clips, moments = read_clips(video, settings.preparation, clips=settings.clips, frames=frames)
        return softmax(self.serve(settings.modalities)(clips).mean(axis=0)), moments


def predict_video(settings: PredictSettings) -> tuple[np.ndarray, int]:
    """As `Predictor`, of one video."""
    return Predictor(settings.model, settings.exported)(settings)


def predict(settings: PredictSettings) -> None:
    """Prints the likeliest classes of a video, and writes it with captions where that is asked for."""
    if settings.annotate:
        from workflow import timeline

        timeline.frame_rate(settings.open_video(), settings.rate)  # or it is said now that nothing tells it
    probabilities, moments = predict_video(settings)
    names, order = settings.exported.class_names, np.argsort(-probabilities, kind="stable")
    if settings.annotate:
        _annotate(settings, lambda _: probabilities)
    if settings.json:
        result = {
            "files": {modality: str(path) for modality, path in settings.paths.items()},
            "modalities": settings.modalities,
            "frames": moments,
            "clips": settings.clips,
            "classes": [{"class": names[label], "probability": float(probabilities[label])} for label in order],
        }
        print(msgspec.json.encode(result).decode())
        return
    order = order[:_TOP]
    table = pd.DataFrame({"class": np.array(names)[order], "%": 100 * probabilities[order]})
    print(f"{_given(settings)}: {moments} frames, {settings.clips} clips; by {'+'.join(settings.modalities)}")
    print(table.to_string(index=False, formatters={"%": "{:.2f}".format}))


def _given(settings: PredictSettings) -> str:
    return ", ".join(f"{modality} of {path}" for modality, path in settings.paths.items())


def predict_many(settings: PredictSettings) -> pd.DataFrame:
    """Predicts the videos of a CSV file, whose columns are `video_id` and modalities, and perhaps `label`.

    Paths are relative to it. A video that cannot be used has its reason in the column `error`.

    Returns:
        A row for each video: video_id, label where it is known, prediction, probability, modalities, frames, error,
        and the probability of every class.

    Raises:
        InputError: the file cannot be read, or names no video.
    """
    assert settings.videos is not None
    columns, lines = read_table(settings.videos)
    inputs = settings.exported.config.inputs
    known = [name for name in inputs if name in columns]
    if not known or not lines:
        raise InputError(
            f"--videos={settings.videos}: expected a line for each video, below columns video_id and one or more of "
            f"{', '.join(inputs)}"
        )
    predictor, names, rows = Predictor(settings.model, settings.exported), settings.exported.class_names, []
    for number, values in tqdm(lines, desc="predict", unit="video", dynamic_ncols=True, leave=False):
        paths = {name: settings.videos.parent / values[name] for name in known if values[name]}
        row: dict[str, object] = {"video_id": values.get("video_id") or f"line {number}"}
        row.update({"label": values["label"]} if "label" in columns else {})
        row.update({"prediction": "", "probability": np.nan, "modalities": "", "frames": 0, "error": ""})
        try:
            if not paths:
                raise InputError(f"line {number} names no file")
            one = replace(settings, paths=paths)
            probabilities, moments = predictor(one, values.get("video_id", ""))
            best = int(probabilities.argmax())
            row.update(prediction=names[best], probability=float(probabilities[best]), frames=moments)
            row.update(modalities="+".join(one.modalities))
            row.update(zip(probability_columns(names), probabilities.tolist()))
        except InputError as error:
            row["error"] = str(error)
            tqdm.write(f"warning: {row['video_id']}: {error}", file=sys.stderr)
        rows.append(row)
    return pd.DataFrame(rows)


def _show_many(settings: PredictSettings) -> None:
    if settings.keep:
        settings.output.mkdir(parents=True, exist_ok=True)
    table = predict_many(settings)
    if settings.json:
        print(table.to_json(orient="records", force_ascii=False))
    else:
        shown = [name for name in ("video_id", "label", "prediction", "probability", "modalities") if name in table]
        text = table[shown].assign(probability=100 * table["probability"]).rename(columns={"probability": "%"})
        print(text.to_string(index=False, formatters={"%": "{:.2f}".format}))
    if not settings.keep:
        return
    with atomic_path(settings.output / "predictions.csv") as partial:
        table.to_csv(partial, index=False, float_format="%.6g")
    failed = int((table["error"] != "").sum())
    note = f"; {failed} of {len(table)} could not be predicted, see the column error" if failed else ""
    print(f"{settings.output / 'predictions.csv'}{note}", file=sys.stderr)


def _show_timeline(settings: PredictSettings) -> None:
    from workflow import timeline

    assert settings.window is not None
    settings.output.mkdir(parents=True, exist_ok=True)
    video, names = settings.open_video(), settings.exported.class_names
    serve = Predictor(settings.model, settings.exported).serve(settings.modalities)
    rate, frames = timeline.frame_rate(video, settings.rate), settings.exported.config.clip_frames
    windows = timeline.read_windows(
        video, settings.preparation, serve, rate=rate, window=settings.window, stride=settings.stride, frames=frames
    )
    timeline.write_table(settings.output / "timeline.csv", windows, names)
    timeline.draw_strip(settings.output / "timeline.png", windows, names)
    if settings.annotate:
        centres = np.array([(window.begin + window.end) / 2 for window in windows])
        _annotate(settings, lambda time: windows[int(np.abs(centres - time).argmin())].probabilities)
    table = timeline.table(windows, names)
    if settings.json:
        print(table.to_json(orient="records", force_ascii=False))
        return
    print(f"{_given(settings)}: {len(windows)} windows; by {'+'.join(settings.modalities)}")
    table["%"] = 100 * table["probability"]
    print(table[["begin", "end", "class", "%"]].to_string(index=False, float_format="{:.2f}".format))
    print(f"{settings.output / 'timeline.csv'}, {settings.output / 'timeline.png'}")


def _annotate(settings: PredictSettings, probabilities_at) -> None:
    from workflow import timeline

    assert settings.annotate is not None
    video = settings.open_video()
    source = next(iter(video.sources.values()))
    timeline.annotate(
        settings.annotate,
        source,
        timeline.frame_rate(video, settings.rate),
        settings.exported.class_names,
        probabilities_at,
    )


def flag_groups(arguments: Sequence[str]) -> tuple[Group, ...]:
    """The flags of the command, with one for each modality of the model that the arguments name.

    Raises:
        InputError: they name none, or a modality that it does not have.
    """
    if command_line.asks_for_help(arguments) and not any(a.startswith("--model") for a in arguments):
        return (_own_flags,)
    named = flags.FlagValues()
    _own_flags(named)
    try:
        rest = named(["predict", *arguments], known_only=True)[1:]
    except flags.Error as error:
        raise InputError(" ".join(str(error).split())) from None
    model = named["model"].value
    if not model and (rest or named["videos"].value):
        raise InputError("--model is missing: expected an exported model, exported/<data set>/<method>/<run>")
    folder = Path(command_line.user_path(model)) if model else SAMPLES / "model"
    modalities = find_model(folder)[1].config.inputs
    for argument in rest:
        name = argument.lstrip("-").partition("=")[0]
        if argument.startswith("-") and name not in (*modalities, "help", "h"):
            raise InputError(f"--{name}: the model has no such modality, only {', '.join(modalities)}")

    def modality_flags(values: flags.FlagValues) -> None:
        for modality in modalities:
            text = f"the video's {modality}: a video file, a folder of images, or a volume"
            flags.DEFINE_string(modality, None, text, flag_values=values)

    return (_own_flags, modality_flags)


def _own_flags(values: flags.FlagValues) -> None:
    text = "exported model, exported/<data set>/<method>/<run>; without it and a video: the one of the samples"
    flags.DEFINE_string("model", None, text, flag_values=values)
    text = "CSV file of many videos: columns video_id and modalities, paths relative to it"
    flags.DEFINE_string("videos", None, text, flag_values=values)
    flags.DEFINE_integer("clips", 10, "clips to average over", 1, flag_values=values)
    text = "networks to ask, such as rgb or rgb+flow; default: all that see what is given or can be computed"
    flags.DEFINE_string("with", None, text, flag_values=values)
    flags.DEFINE_boolean("json", False, "print the result as JSON, with all classes", flag_values=values)
    flags.DEFINE_string("output", "predictions", "folder for tables and pictures", flag_values=values)
    text = "seconds of each part of a long video that is predicted; default: the video as a whole"
    flags.DEFINE_float("window", None, text, 0.05, flag_values=values)
    flags.DEFINE_float("stride", 0.5, "seconds from one window to the next", 0.01, flag_values=values)
    flags.DEFINE_float("fps", None, "frames per second; default: as the video file says", 0.1, flag_values=values)
    text = "video to write, out.mp4 or out.avi, with the likeliest classes below its frames"
    flags.DEFINE_string("annotate", None, text, flag_values=values)
    reading_flags(values)


def settings_from_flags(values: flags.FlagValues) -> PredictSettings:
    """The settings of a prediction.

    Raises:
        InputError: no video is given, or flags that do not go together.
    """
    model, exported = find_model(Path(values["model"].value or SAMPLES / "model"))
    modalities = exported.config.inputs
    paths = {m: Path(command_line.user_path(values[m].value)) for m in modalities if values[m].value}
    videos = values["videos"].value or (None if values["model"].value else SAMPLES / "videos.csv")
    if not paths and not videos:
        raise InputError(
            f"no video: give one or more of {', '.join(f'--{modality}' for modality in modalities)}, or --videos"
        )
    if videos:
        for name in (*modalities, "window", "annotate"):
            if values[name].value:
                raise InputError(f"--{name} is of one video, and --videos lists many: leave one of the two out")
    annotated = Path(values["annotate"].value) if values["annotate"].value else None
    if annotated:
        from workflow.timeline import check_annotated

        check_annotated(annotated, list(paths.values()))
    return PredictSettings(
        model,
        exported,
        paths,
        values["clips"].value,
        tuple(values["with"].value.split("+")) if values["with"].value else (),
        values["json"].value,
        Path(videos) if videos else None,
        Path(values["output"].value),
        values["window"].value,
        values["stride"].value,
        values["fps"].value,
        annotated,
        values["length_tolerance"].value,
        Limits(values["max_pixels"].value, values["max_frames"].value),
        keep=bool(values["videos"].value) or values["output"].present > 0,
    )


def main(values: flags.FlagValues) -> None:
    """Predicts the class of the video, or videos, that the flags name."""
    settings = settings_from_flags(values)
    if settings.videos:
        _show_many(settings)
    else:
        assert settings.modalities, "some are given, and what is chosen is among them"
        _show_timeline(settings) if settings.window else predict(settings)
