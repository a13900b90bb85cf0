"""What is done with a damaged input of each kind, in a process that may hang or be killed."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from data_prep.inspection.record_checks import check_record
from data_prep.make_tfrecords import describe, read_existing
from data_prep.raw.base import RawVideo, Skipped
from data_prep.raw.custom import configure
from data_prep.synthetic.rendering.dataset import render_folder
from data_prep.video.depth import DepthSettings
from data_prep.video.fingerprint import fingerprint
from data_prep.video.record import VideoSettings, make_record
from data_prep.video.sources import open_sources
from dmcl_tf import evaluate, train
from dmcl_tf.data.records import decode_video, encode_video, read_record, write_record
from dmcl_tf.data.table import Records, Video, checksum
from dmcl_tf.datasets import find_dataset
from dmcl_tf.datasets.splits import make_splits
from dmcl_tf.errors import InputError
from dmcl_tf.files import remove
from dmcl_tf.reporting.loading import load_runs
from dmcl_tf.runs.folder import RunFolder
from dmcl_tf.runs.progress import done_epochs, identify_checkpoint
from workflow import predict

from . import originals
from .mutations import Random, damage_bytes, damage_file

TAKEN, SKIPPED, REFUSED = "taken", "skipped", "refused"


class Outcome(NamedTuple):
    """What became of an input: how it ended, what was said, and whether a changed raw file or record is noticed."""

    ending: str
    said: str = ""
    noticed: bool = False


class Place(NamedTuple):
    """Where a trial happens: the sound inputs, a new folder for the damaged copies, and whether they are damaged."""

    sound: Path
    case: Path
    damages: bool = True

    def damage(self, path: Path, random: Random) -> None:
        """Damages a file, unless it is to be seen that sound ones are taken."""
        if self.damages:
            damage_file(path, random)


Trial = Callable[[Place, Random], Outcome]


def choose(paths: Iterable[Path], random: Random) -> Path:
    found = sorted(paths)
    return found[random.randint(len(found))]


def one_line(text: str) -> str:
    """The text, which must be fit to be printed as one line."""
    assert text.strip(), "nothing is said"
    assert len(text.splitlines()) == 1, f"not one line: {text!r}"
    text.encode()
    return text


def in_turn(*acts: Callable[[], object]) -> Outcome:
    """Does several things that do not depend on each other; each may be refused in one line, and nothing else."""

    said = []
    for act in acts:
        try:
            act()
        except InputError as error:
            said.append(one_line(str(error)))
    return Outcome(REFUSED, said[0]) if said else Outcome(TAKEN)


# ---- raw files


def _make_record(place: Place, modality: str, path: Path, before: Path) -> Outcome:
    settings = VideoSettings((modality,), 24, depth=DepthSettings("per_clip"))
    try:
        sources, _ = open_sources({modality: path}, root=place.case)
    except InputError as error:
        return Outcome(SKIPPED, one_line(str(error)))
    for problem in sources[modality].problems():
        one_line(problem)
    result = make_record(RawVideo("clip", "wave", sources), settings=settings, directory=place.case / "records")
    if isinstance(result, Skipped):
        return Outcome(SKIPPED, one_line(result.reason))
    if result.warnings:  # frames that were left out, most often
        return Outcome(SKIPPED, one_line(result.warnings))
    original, _ = open_sources({modality: before}, root=place.sound)
    return Outcome(TAKEN, "", fingerprint(original, {}) != fingerprint(sources, {}))


def images(place: Place, random: Random) -> Outcome:
    folder = choose((place.sound / "raw" / "images").iterdir(), random)
    copy = Path(shutil.copytree(folder, place.case / folder.name))
    place.damage(choose(copy.iterdir(), random), random)
    return _make_record(place, "depth" if folder.name in originals.GREY else "rgb", copy, folder)


def videos(place: Place, random: Random) -> Outcome:
    return _single(place, random, "videos")


def volumes(place: Place, random: Random) -> Outcome:
    return _single(place, random, "volumes")


def _single(place: Place, random: Random, kind: str) -> Outcome:
    path = choose((place.sound / "raw" / kind).iterdir(), random)
    copy = Path(shutil.copy(path, place.case))
    place.damage(copy, random)
    return _make_record(place, "depth" if path.name in ("gray16.mkv",) or kind == "volumes" else "rgb", copy, path)


def skeletons(place: Place, random: Random) -> Outcome:
    copy = Path(shutil.copytree(place.sound / "raw" / "skeletons", place.case / "skeletons"))
    place.damage(choose(copy.iterdir(), random), random)
    summary: list[Any] = []
    outcome = in_turn(lambda: summary.append(render_folder(copy, place.case / "out", size=16, workers=1)))
    if summary and summary[0].skipped:
        return Outcome(SKIPPED, one_line(next(iter(summary[0].skipped.values()))))
    return outcome


def own_videos(place: Place, random: Random) -> Outcome:
    """The CSV file of own videos."""

    for path in (place.sound / "own").iterdir():
        (place.case / path.name).symlink_to(path)
    csv = place.case / "videos.csv"
    csv.unlink()
    shutil.copy(place.sound / "own" / "videos.csv", csv)
    place.damage(csv, random)
    listings: list[Any] = []
    outcome = in_turn(
        lambda: listings.append(configure(videos=str(csv), allow_outside=True).list_videos(place.case / "out"))
    )
    reasons = [one_line(entry.reason) for listing in listings for entry in listing.skipped]
    return Outcome(SKIPPED, reasons[0]) if reasons else outcome


# ---- files of ours


def _copy_records(place: Place) -> Path:
    directory = place.case / "records"
    directory.mkdir()
    for path in (place.sound / "records").iterdir():
        if path.is_file():
            shutil.copy(path, directory)
    (directory / "videos").symlink_to(place.sound / "records" / "videos")
    return directory


def tables(place: Place, random: Random) -> Outcome:
    """`dataset.json` and `videos.csv`, as training and a continued preparation read them."""
    import preparing
    import tiny_run

    directory = _copy_records(place)
    place.damage(directory / ("dataset.json", "videos.csv")[random.randint(2)], random)

    def start_training():
        values = tiny_run.parse_flags(train, records=directory, checkpoints=place.case / "checkpoints")
        settings = train.settings_from_flags(values, data_root=place.case)
        records = Records.load(settings.records)
        make_splits(find_dataset(settings.dataset), records, settings.protocol)
        records.check_files(records.videos)

    def continue_preparation():
        own = ("--dataset=custom", f"--videos={place.sound}/own/videos.csv", f"--data_dir={place.case}")
        settings = preparing.settings(*own, f"--records={directory}", "--frame_size=40")
        read_existing(settings, describe(settings, settings.raw.reader()))

    outcome = in_turn(start_training)
    in_turn(continue_preparation)
    return outcome


def states(place: Place, random: Random) -> Outcome:
    """The files of a run, as continuing it, an evaluation, a report and an export read them."""

    run = Path(shutil.copytree(place.sound / "runs" / "run", place.case / "runs" / "run"))
    names = ("config.json", "history.csv", "results.json", "predictions.csv", "confusion.csv")
    names += ("last/checkpoint", "best/checkpoint")
    place.damage(run / names[random.randint(len(names))], random)
    folder, found = RunFolder(run), []
    outcome = in_turn(
        lambda: done_epochs(folder, folder.load().config),
        lambda: [identify_checkpoint(folder, name) for name in ("last", "best")],
        lambda: found.append(evaluate.current_results(evaluate.EvaluateSettings(run, place.sound / "records"))),
        lambda: load_runs(place.case / "runs"),
    )
    again = outcome.ending == TAKEN and found == [None]
    return Outcome(REFUSED, "it is evaluated again") if again else outcome


def records(place: Place, random: Random) -> Outcome:
    """Records as training, evaluation and the check read them; half of them are whole, but wrong."""
    import tensorflow as tf

    from dmcl_tf.data.faults import explain

    found, splits, datasets = _input_pipelines(place.case.parent / "records", place.sound / "records")
    video = splits.train[random.randint(len(splits.train))]
    path = found.path(video)
    whole = path.read_bytes()
    try:
        if random.rand() < 0.5 or not place.damages:
            place.damage(path, random)
        else:
            video = _falsify(path, video, random)
        rows = {**found.by_id, video.video_id: video}
        found = dataclasses.replace(found, videos=tuple(rows.values()))
        videos = [rows[other.video_id] for other in splits.train]
        noticed = bool(check_record(video, directory=found.directory, description=found.description).problems)
        try:
            found.check_files(videos)
            damage = found.find_damage(videos)
            for dataset in datasets:
                for _ in dataset:
                    pass
        except InputError as error:
            return Outcome(REFUSED, one_line(str(error)), noticed)
        except tf.errors.OpError as error:
            explained = explain(found, videos, error)
            if not isinstance(explained, InputError):
                raise explained from None
            return Outcome(REFUSED, one_line(str(explained)), noticed)
        return Outcome(REFUSED, one_line(str(damage)), noticed) if damage else Outcome(TAKEN, "", noticed)
    finally:
        remove(path)
        path.write_bytes(whole)


def _falsify(path: Path, video: Video, random: Random) -> Video:
    """Writes another record in place of one; returns what a table would say of it."""
    about, frames = decode_video(read_record(path))
    modality, kind = sorted(frames)[random.randint(len(frames))], random.randint(7)
    place = random.randint(about.length)
    image = frames[modality][place]
    if kind == 0:
        del frames[modality]
    elif kind == 1:
        about = dataclasses.replace(about, length=place or 1)
        frames = {name: images[: about.length] for name, images in frames.items()}
    elif kind == 2:
        about = dataclasses.replace(about, video_id="another")
    elif kind == 3:
        frames[modality][place] = cv2.imencode(".jpg", np.zeros((8, 9, 3), np.uint8))[1].tobytes()
    elif kind == 4:
        frames[modality][place] = cv2.imencode(".png", np.zeros((40, 40, 3), np.uint8))[1].tobytes()
    else:
        frames[modality][place] = damage_bytes(image, random)[0]
    serialized = encode_video(about, frames)
    write_record(path, serialized)
    return dataclasses.replace(video, bytes=path.stat().st_size, checksum=checksum(serialized))


@lru_cache(maxsize=1)
def _input_pipelines(directory: Path, sound: Path):
    """A copy of the records for all trials of a process, its splits, and a dataset that reads the training videos."""
    import tiny
    import tiny_run

    from dmcl_tf.data import pipeline

    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(sound, directory)
    found = Records.load(directory)
    splits = tiny.split(found)
    config = tiny_run.make_config(modalities=originals.MODALITIES, epochs=1, batch_size=3)
    training = pipeline.training_dataset(found, splits, config)
    return found, splits, (training, pipeline.evaluation_dataset(found, splits, "train", config, 2))


def checkpoints(place: Place, random: Random) -> Outcome:
    from dmcl_tf.runs.checkpoints import Checkpoints

    name = ("last", "best")[random.randint(2)]
    run = place.case / "run"
    shutil.copytree(place.sound / "runs" / "run" / name, run / name)
    place.damage(choose((run / name).iterdir(), random), random)
    return in_turn(lambda: Checkpoints(run, _ensemble()).restore(name))


@lru_cache(maxsize=1)
def _ensemble():
    import tiny_run

    from dmcl_tf.networks.ensemble import make_ensemble

    return make_ensemble(tiny_run.make_config(modalities=originals.MODALITIES), 6)


def exports(place: Place, random: Random) -> Outcome:
    version = Path(shutil.copytree(place.sound / "exported" / "1", place.case / "exported" / "1"))
    place.damage(choose((path for path in version.rglob("*") if path.is_file()), random), random)

    def act():
        model, exported = predict.find_model(version.parent)
        paths = {"rgb": place.sound / "raw" / "videos" / "own.avi"}
        if "rgb" in exported.config.modalities:
            predict.predict_video(predict.PredictSettings(model, exported, paths, 1))

    return in_turn(act)


TRIALS: dict[str, Trial] = {
    "images": images,
    "videos": videos,
    "volumes (MATLAB, NumPy)": volumes,
    "skeletons (JSON)": skeletons,
    "CSV of own videos": own_videos,
    "tables of records": tables,
    "records": records,
    "state files of a run": states,
    "checkpoints": checkpoints,
    "exported models": exports,
}
