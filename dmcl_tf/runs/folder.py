"""The folder of a training run: its configuration, history, checkpoints and results.

checkpoints/<data set>/<method>/<run>/
    config.json       every setting, the records and their split, the teacher's weights, package versions, git commit
    history.csv       one row per epoch
    tensorboard/      the same figures for TensorBoard
    last/, best/      checkpoints: to continue from, and of the best validation accuracy
    results.json, predictions.csv, confusion.csv     from dmcl_tf.evaluate
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pandas as pd

from dmcl_tf.config import Config
from dmcl_tf.errors import InputError

_PACKAGES = ("tensorflow", "keras", "tensorflow-addons", "numpy", "opencv-contrib-python-headless", "pandas")


@dataclass(frozen=True)
class Run:
    """What makes a run.

    Attributes:
        dataset: name of the data set.
        records: folder of its TFRecords, relative to the working directory where it lies below it.
        class_names: by label.
        config: every setting.
        teacher: what tells the weights of its teacher from others, `Teacher.identity`; None without a teacher.
        depth: how distances became 8 bits in the records; None without depth.
        protocol: the settings that made the records' splits; None where that was not recorded.
        videos: of each split; None where that was not recorded.
    """

    dataset: str
    records: str
    class_names: tuple[str, ...]
    config: Config
    teacher: Mapping[str, object] | None = None
    depth: Mapping[str, object] | None = None
    protocol: Mapping[str, object] | None = None
    videos: Mapping[str, int] | None = None

    def settings(self) -> dict:
        """All that must be equal for a run to be the same one, as JSON values."""
        # made again elsewhere or of another protocol, records may still lie in the same folder
        records = {"records": self.records, "protocol": self.protocol, "videos": self.videos}
        return {"dataset": self.dataset, **records, "teacher": self.teacher, **self.config.to_json()}


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
            InputError: where it was not; the message names the settings that differ.
        """
        if self.config_path.exists():
            there, now = self.load().settings(), run.settings()
            for name in ("protocol", "videos"):  # earlier versions did not record them
                if there[name] is None:
                    del now[name]
            differing = [f"{k}: {there.get(k)} there, {now[k]} now" for k in now if there.get(k) != now[k]]
            if differing:
                raise InputError(
                    f"{self.directory} holds a run of another configuration ({'; '.join(differing)}); "
                    "choose another --run_name or remove the folder"
                )
            return
        record = {
            "dataset": run.dataset,
            "records": run.records,
            "class_names": list(run.class_names),
            "depth": run.depth,
            "protocol": run.protocol,
            "videos": run.videos,
            "config": run.config.to_json(),
            "teacher": run.teacher,
            "git_commit": _git_commit(),
            "python": platform.python_version(),
            "versions": {name: _version(name) for name in _PACKAGES},
        }
        write_text(self.config_path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")

    def load(self) -> Run:
        """What the folder was made with.

        Raises:
            InputError: where this is no run folder.
        """
        record = self._read_config()
        try:
            config = Config.from_json(record["config"])
            class_names = tuple(record["class_names"])
            given = {name: record.get(name) for name in ("teacher", "depth", "protocol", "videos")}
            return Run(record["dataset"], record["records"], class_names, config, **given)
        except (KeyError, TypeError) as error:
            raise InputError(f"{self.config_path}: {error}; expected the settings of a run of this version") from None

    def _read_config(self) -> dict:
        try:
            return json.loads(self.config_path.read_text(encoding="utf-8"))
        except OSError:
            raise InputError(
                f"{self.config_path} does not exist: expected a run, checkpoints/<data set>/<method>/<run>"
            ) from None
        except ValueError as error:
            raise InputError(f"{self.config_path} is not JSON ({error}): restore it or start another run") from None

    def read_history(self) -> pd.DataFrame:
        """The epochs so far, empty for a new run."""
        if not self.history_path.exists():
            return pd.DataFrame()
        return pd.read_csv(self.history_path, float_precision="round_trip")  # every digit, to be written again

    def write_history(self, history: pd.DataFrame) -> None:
        """Writes all epochs, atomically."""
        write_text(self.history_path, history.to_csv(index=False))


def write_text(path: Path, text: str) -> None:
    """Writes a file under its final name only when complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


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
