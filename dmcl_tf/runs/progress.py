"""How far a run is, from its files alone: neither TensorFlow nor a network is needed to say it."""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import pandas as pd

from dmcl_tf.config import Config
from dmcl_tf.errors import InputError
from dmcl_tf.files import read_bytes, remove
from dmcl_tf.runs.folder import RunFolder, Weights, training_columns

# What TensorFlow writes in the file `checkpoint`; a path that leaves the folder is none of ours
_LINE = re.compile(
    r'(?:all_)?model_checkpoint_paths?: "ckpt-(\d+)"'
    r"|(?:all_model_checkpoint_timestamps|last_preserved_timestamp): [-+.e\d]+"
)


def find_checkpoint(directory: Path) -> Path | None:
    """The path of a checkpoint in its folder, `last`, `best` or `step` of a run, without the endings of its files.

    Its name is `ckpt-<epoch>`, counted from 0, or `ckpt-<step>`. None where there is no checkpoint.

    Raises:
        InputError: files are missing, or the one called `checkpoint` is not what TensorFlow wrote.
    """
    state = directory / "checkpoint"
    if not state.exists():
        files = sorted(path.name for path in directory.glob("ckpt-*"))
        if files:
            raise _damaged(state, f"it is missing, but {files[0]} is there")
        return None
    try:
        matches = [_LINE.fullmatch(line) for line in read_bytes(state).decode().splitlines()]
    except (OSError, UnicodeDecodeError, InputError) as error:
        raise _damaged(state, str(error)) from None
    first = matches[0] if matches else None
    if not first or not all(matches) or not first[1] or not first[0].startswith("model_"):
        raise _damaged(state, 'expected the line model_checkpoint_path: "ckpt-<epoch>" and the like')
    path = directory / f"ckpt-{int(first[1])}"
    for pattern in (f"{path.name}.index", f"{path.name}.data-*"):
        if not any(file.is_file() for file in directory.glob(pattern)):
            raise _damaged(state, f"it names {path.name}, but there is no {pattern}")
    return path


def remove_others(directory: Path) -> None:
    """Removes from the folder of a checkpoint what is not of it: older ones, and what TensorFlow left half-written.

    Raises:
        InputError: as `find_checkpoint`.
    """
    newest = find_checkpoint(directory)
    if newest is None:
        return
    for path in directory.glob("ckpt-*"):
        if not path.name.startswith(f"{newest.name}."):
            remove(path)


def _damaged(state: Path, reason: str) -> InputError:
    run = state.parent.parent
    return InputError(f"{state} is damaged ({reason}): restore {state.parent}, or remove {run} to train anew")


def checkpoint_number(path: Path) -> int:
    """The number in the path of a checkpoint: its epoch, counted from 0, or its step."""
    return int(path.name.partition("-")[2])


def identify_checkpoint(folder: RunFolder, name: str) -> Weights:
    """What tells a run's checkpoint ("best" or "last") from any other.

    Raises:
        InputError: there is no such checkpoint, or it is damaged.
    """
    path = find_checkpoint(folder.directory / name)
    if path is None:
        raise InputError(f"{folder.directory}: no {name} checkpoint; train the run first, python -m dmcl_tf.train")
    index = read_bytes(path.with_name(f"{path.name}.index"))  # it holds the checksum of every tensor
    return Weights(checkpoint_number(path), f"{zlib.crc32(index):08x}")


def done_epochs(folder: RunFolder, config: Config) -> int:
    """How many epochs of a run are complete: those up to its last checkpoint.

    The best checkpoint, the history and the last checkpoint are written in that order, the last one after every
    `save_every` epochs, so that a process may end with the first two as many epochs ahead of it; those are to be done
    again. Anything else means that files were lost, and training on would overwrite what is left of a run; as does a
    history of all epochs without a last checkpoint, although a run that was killed just before its first looks alike.

    Raises:
        InputError: the files do not belong together; the message says what is there.
    """
    history = folder.read_history(training_columns(config))
    last, best = (find_checkpoint(folder.directory / name) for name in ("last", "best"))
    done = 0 if last is None else checkpoint_number(last) + 1
    best_epoch = None if best is None else checkpoint_number(best)
    rows = history["epoch"].tolist() if len(history) else []
    selected = best_score(history[:done], config) >= 0 or done >= config.epochs  # then there is a best epoch
    until = min(done + config.save_every, config.epochs)  # how far a process may be that has not saved again
    complete = rows == list(range(len(rows))) and done <= len(rows) <= until
    if not complete or (last is None and len(rows) == config.epochs):
        fault = f"{folder.history_path.name} has {_epochs(rows)}"
    elif (best_epoch is None and selected) or (best_epoch is not None and best_epoch >= until):
        fault = (
            "there is no best checkpoint" if best_epoch is None else f"the best checkpoint is of epoch {best_epoch + 1}"
        )
    else:
        return done
    there = "no last checkpoint" if last is None else f"a last checkpoint of epoch {done}"
    raise InputError(
        f"{folder.directory}: the files of this run do not belong together: there is {there}, but {fault}; restore "
        "what is missing, or remove the folder to train anew"
    )


def done_steps(folder: RunFolder, config: Config, steps_per_epoch: int) -> int:
    """How many steps of a run are complete: those of its complete epochs, and of a checkpoint of steps after them.

    One of earlier steps was left by a process that ended before it could remove it.

    Raises:
        InputError: as `done_epochs`, or the checkpoint is damaged.
    """
    complete, epochs = done_epochs(folder, config) * steps_per_epoch, len(folder.read_history())
    path = find_checkpoint(folder.directory / "step")
    step = 0 if path is None else checkpoint_number(path)
    return step if complete < step < (epochs + 1) * steps_per_epoch else complete


def _epochs(rows: list[int]) -> str:
    if rows == list(range(len(rows))):
        return f"{len(rows)} epoch{'s' * (len(rows) > 1)}" if rows else "no epochs"
    return "others than the epochs 1, 2, 3 …"


def best_score(history: pd.DataFrame, config: Config) -> float:
    """The best validation accuracy so far, by which the best checkpoint was selected; -1 where there is none.

    Args:
        history: of the epochs that count.
        config: of the run.
    """
    scores = history.get(f"validation_{config.select_by}", pd.Series(dtype=float)).dropna()
    return float(scores.max()) if len(scores) else -1.0
