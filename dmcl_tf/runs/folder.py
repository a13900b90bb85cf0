"""The folder of a training run: its configuration, history, checkpoints and results.

checkpoints/<data set>/<method>/<run>/
    config.json       every setting, the records and their split, the teacher's weights, package versions, git commit
    history.csv       one row per epoch
    tensorboard/      the same figures for TensorBoard
    last/, best/      checkpoints: to continue from, and of the best validation accuracy
    step/             a checkpoint inside an epoch, while there is one
    results.json, predictions.csv, confusion.csv     from dmcl_tf.evaluate
"""

from __future__ import annotations

import dataclasses
import io
import platform
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Optional

import msgspec
import pandas as pd

from dmcl_tf.config import Config
from dmcl_tf.data.table import Records
from dmcl_tf.datasets import find_dataset
from dmcl_tf.datasets.base import describe, in_words
from dmcl_tf.datasets.splits import Splits, make_splits
from dmcl_tf.errors import InputError
from dmcl_tf.files import check_component, read_bytes, read_json, write_json, write_text

_PACKAGES = ("tensorflow", "keras", "tensorflow-addons", "numpy", "opencv-contrib-python-headless", "pandas")


@dataclass(frozen=True)
class Weights:
    """What tells the weights of a checkpoint from any others.

    Attributes:
        epoch: after which they were saved, counted from 0.
        checksum: of all values.
    """

    epoch: int
    checksum: str


@dataclass(frozen=True)
class Run:
    """What makes a run; two runs of equal values are the same one.

    Attributes:
        dataset: name of the data set.
        records: folder of its records, relative to the working directory where it lies below it.
        origin: where the raw frames came from, in prose.
        class_names: by label.
        protocol: the settings that made the splits.
        videos: of each split.
        splits: checksum of names and labels of the videos of each split; "" where it is not known.
        config: every setting of the training.
        depth: how distances became 8 bits in the records; None without depth.
        flow: how flow was computed; None without flow.
        crop: how frames were cut to the person in the records; None where they are whole.
        teacher: the weights of its teacher; None without a teacher.
        sources: what its networks started from, in words, by modality; None where all started afresh.
        learned_from: further modalities that had a part in the weights of its teacher or of what its networks started
            from.
    """

    dataset: str
    records: str
    origin: str
    class_names: tuple[str, ...]
    protocol: dict[str, object]
    videos: dict[str, int]
    splits: str
    config: Config
    depth: Optional[dict[str, object]] = None
    flow: Optional[dict[str, object]] = None
    crop: Optional[dict[str, object]] = None
    teacher: Optional[Weights] = None
    sources: Optional[dict[str, str]] = None
    learned_from: tuple[str, ...] = ()

    def __post_init__(self):
        check_component(self.dataset, "the data set")

    @property
    def saw(self) -> tuple[str, ...]:
        """Every modality that had a part in its weights."""
        return tuple(dict.fromkeys((*self.config.inputs, *self.config.teacher_modalities, *self.learned_from)))

    def saw_by(self, networks: Collection[str]) -> tuple[str, ...]:
        """Every modality that had a part in the weights of some of its networks; independent ones learn apart."""
        if self.config.method != "independent":
            return self.saw
        return tuple(dict.fromkeys((*map(self.config.sees, networks), *self.learned_from)))


def run_path(dataset: str, config: Config, run_name: str | None) -> Path:
    """Where a run is kept under the folder of checkpoints: `<data set>/<method>/<run>`.

    Raises:
        InputError: the name of the run is none of a folder.
    """
    name = run_name or f"{config.recipe}-{config.scale}-seed{config.seed}"
    return Path(dataset) / config.method / check_component(name, "--run_name")


@dataclass(frozen=True)
class Record:
    """`config.json`: a run, and the code and packages that it was begun with."""

    run: Run
    git_commit: Optional[str] = None
    python: str = ""
    versions: dict[str, Optional[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class RunFolder:
    """The files of one run."""

    directory: Path

    @property
    def config_path(self) -> Path:
        """Settings of the run."""
        return self.directory / "config.json"

    @property
    def history_path(self) -> Path:
        """One row per epoch."""
        return self.directory / "history.csv"

    def create_or_match(self, run: Run) -> None:
        """Writes `config.json`, or checks that the folder was made with the same settings and records.

        Raises:
            InputError: where it was not, and the message names the settings that differ; or where only other files of a
                run are there.
        """
        if self.config_path.exists():
            # `learned_from` follows from the teacher and the sources, and was told less exactly before
            there, now = (_flat(dataclasses.replace(r, learned_from=())) for r in (self.load(), run))
            different = [name for name in now if there.get(name) != now[name]]
            differing = [f"{name}: {in_words(there.get(name))} there, {in_words(now[name])} now" for name in different]
            if differing:
                raise InputError(
                    f"{self.directory} holds a run of another configuration ({'; '.join(differing)}); "
                    "choose another --run_name or remove the folder"
                )
            return
        left = [name for name in ("history.csv", "last", "best") if (self.directory / name).exists()]
        if left:
            raise InputError(
                f"{self.directory} holds {left[0]}, but no {self.config_path.name} that says of what run: restore "
                "it, or remove the folder to train anew"
            )
        versions = {name: _version(name) for name in _PACKAGES}
        write_json(self.config_path, Record(run, _git_commit(), platform.python_version(), versions))

    def load(self) -> Run:
        """What the folder was made with.

        Raises:
            InputError: where this is no run folder.
        """
        remedy = "expected a run of this version, checkpoints/<data set>/<method>/<run>; train it anew"
        return read_json(self.config_path, Record, remedy).run

    def splits(self, records: Records) -> Splits:
        """The splits of the run, on its records or a copy of them.

        Raises:
            InputError: the records give others, by which it may have been trained on what would now be tested.
        """
        run = self.load()
        dataset = find_dataset(run.dataset)
        try:
            splits = make_splits(dataset, records, dataset.protocol(run.protocol))
        except (TypeError, ValueError, LookupError) as error:
            raise InputError(
                f"{self.config_path}: its protocol ({describe(run.protocol)}) does not fit the videos of "
                f"{records.directory} ({error}); give the run's own --records"
            ) from None
        if splits.class_names != run.class_names:
            raise InputError(
                f"{records.directory}: its classes are not those of {self.directory}; give its own --records"
            )
        if run.splits and splits.checksum() != run.splits:
            raise InputError(
                f"{records.directory}: other videos or splits ({_counts(splits.counts())}) than {self.directory} was "
                f"trained on ({_counts(run.videos)}); give its own --records, or train anew"
            )
        return splits

    def read_history(self, columns: Sequence[str] = ("epoch",)) -> pd.DataFrame:
        """The epochs so far, empty for a new run.

        Args:
            columns: that it must have, such as `training_columns`.

        Raises:
            InputError: the file is no history, or not one of these columns.
        """
        if not self.history_path.exists():
            return pd.DataFrame()
        try:
            content = io.BytesIO(read_bytes(self.history_path))
            history = pd.read_csv(content, float_precision="round_trip")  # every digit, to be written again
            history.astype(float)  # nothing but numbers
            lacking = [name for name in columns if name not in history]
            if lacking:
                raise ValueError(f"no column {', '.join(lacking)}")
            history["epoch"] = history["epoch"].astype(int)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{self.history_path} is no history of a run ({error}): restore it, or remove {self.directory} to "
                "start afresh"
            ) from None
        return history

    def write_history(self, history: pd.DataFrame) -> None:
        """Writes all epochs, atomically."""
        write_text(self.history_path, history.to_csv(index=False))


def training_columns(config: Config) -> list[str]:
    """The columns of a history that every epoch fills; those of validations are beside them."""
    kinds = ("loss", "cross_entropy", "accuracy", "wins")
    return ["epoch", "learning_rate", "loss", *(f"{m}_{kind}" for kind in kinds for m in config.modalities)]


def _flat(run: Run) -> dict[str, object]:
    """Every setting by name, those of the training beside the others."""
    values = msgspec.to_builtins(run)
    return {**values.pop("config"), **values}


def _counts(videos: dict[str, int]) -> str:
    return ", ".join(f"{count} {split}" for split, count in videos.items())


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of this code, with `+` where files differ from it; None outside a git checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.check_output(command, cwd=Path(__file__).parent, stderr=subprocess.DEVNULL, text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        return None
