"""Trains an ensemble: `python -m dmcl_tf.train --dataset=demo`.

A run lives in checkpoints/<data set>/<method>/<run>; the same command continues it after an interruption. Records come
from data/<data set>/records/<frame size>, or --records; the protocol's flags choose the videos to train, validate and
test on. Settings that are not given come from --recipe and --scale.

    python -m dmcl_tf.train --dataset=nwucla --scale=compact --train_views=1,3 --test_view=2
    python -m dmcl_tf.train --records=my_records --modalities=rgb,depth --method=independent --epochs=30

A student of RGB and a teacher of depth, which is a finished run:

    python -m dmcl_tf.train --dataset=demo --method=generalized_distillation --modalities=rgb
        --teacher_run=checkpoints/demo/independent/paper-compact-seed0 --teacher_modalities=depth

Methods:

"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from absl import flags

from dmcl_tf import flag_groups
from dmcl_tf.config import Config
from dmcl_tf.data.table import Records, read_description
from dmcl_tf.datasets import dataset_of, find_dataset
from dmcl_tf.datasets.base import Dataset, describe
from dmcl_tf.datasets.splits import Splits, make_splits
from dmcl_tf.errors import check_address_space, run_script
from dmcl_tf.files import lock, remove_stale
from dmcl_tf.registry import METHODS
from dmcl_tf.runs import stages
from dmcl_tf.runs.folder import Run, RunFolder, run_path
from dmcl_tf.runs.progress import remove_others

if TYPE_CHECKING:
    from dmcl_tf.learning.workers import Workers  # with TensorFlow

__doc__ += flag_groups.methods_help()


def saving_flags(values: flags.FlagValues) -> None:
    """How often a run is saved."""
    text = "save every so many steps inside an epoch as well, to continue there; 0: after each epoch only"
    flags.DEFINE_integer("save_every_steps", 0, text, 0, flag_values=values)


FLAG_GROUPS = (
    flag_groups.dataset_flags,
    flag_groups.records_flags,
    flag_groups.frame_flags,
    flag_groups.protocol_flags,
    flag_groups.training_flags,
    flag_groups.run_name_flags,
    flag_groups.strategy_flags,
    saving_flags,
)


@dataclass(frozen=True)
class TrainSettings:
    """What a run is.

    Attributes:
        config: every setting of the training.
        dataset: name of the data set.
        records: folder of its records.
        protocol: of the data set, from `Dataset.protocol`.
        directory: folder of the run.
        strategy: who computes, one of `dmcl_tf.config.STRATEGIES`; None: by what is there.
        save_every_steps: how often to save inside an epoch; 0: never.
        stages: the runs that it starts from or is taught by, in their order, to be made where they are missing.
    """

    config: Config
    dataset: str
    records: Path
    protocol: dict[str, object]
    directory: Path
    strategy: Optional[str] = None
    save_every_steps: int = 0
    stages: tuple[TrainSettings, ...] = ()


def settings_from_flags(
    values: flags.FlagValues, *, modalities: Sequence[str] | None = None, data_root: Path = Path("data")
) -> TrainSettings:
    """The settings that the flags say; what they leave open is the data set's, the scale's and the recipe's.

    Args:
        values: parsed flags of `FLAG_GROUPS`.
        modalities: to train on where the flags do not say; None: the data set's, or all that the records have.
        data_root: folder of all data, below which records are looked for unless the flags name them.

    Raises:
        InputError: for an impossible value, or records that are needed to know more and are not there.
    """
    dataset, records, settings, protocol = choose_data(values, modalities=modalities, data_root=data_root)
    given, method = flag_groups.given_config(values), str(settings.get("method", Config.method))
    checkpoints, name = Path(values["checkpoints"].value), values["run_name"].value
    computing = {flag: values[flag].value for flag in ("strategy", "save_every_steps")}
    runs: list[TrainSettings] = []

    def run(stage: str, networks: tuple[str, ...], **wired) -> Path:
        last = stage == method
        of_stage = of_method(settings, given, stage)
        config = flag_groups.make_config(stages.stage_settings(stage, networks, of_stage, wired, last=last))
        directory = checkpoints / run_path(dataset.name, config, name)
        if not last:
            directory = directory.with_name(f"{directory.name}-{stages.stage_name(networks, wired)}")
        runs.append(TrainSettings(config, dataset.name, records, protocol, directory, **computing))
        return directory

    if method in stages.STAGES and not (given.get("teacher_run") or given.get("initial_weights")):
        student, teachers = stages.roles(method, given.get("modalities", ()))
        stages.STAGES[method](run, student, teachers)
        stages.check_concerned(given, [made.config for made in runs])
        return dataclasses.replace(runs[-1], stages=tuple(runs[:-1]))
    config = flag_groups.make_config(of_method(settings, given, method))
    directory = checkpoints / run_path(dataset.name, config, name)
    return TrainSettings(config, dataset.name, records, protocol, directory, **computing)


def of_method(settings: Mapping[str, Any], given: Collection[str], method: str) -> dict[str, Any]:
    """Settings without those of a data set that a method prescribes otherwise; what the user has given stays."""
    prescribed = METHODS[method].defaults if method in METHODS else {}  # an unknown one is refused with all settings
    return {name: value for name, value in settings.items() if name in given or name not in prescribed}


def choose_data(
    values: flags.FlagValues, *, modalities: Sequence[str] | None = None, data_root: Path = Path("data")
) -> tuple[Dataset, Path, dict[str, Any], dict[str, object]]:
    """The data set, its folder of records, settings and the protocol; arguments as of `settings_from_flags`."""
    name, given = values["dataset"].value, values["records"].value
    dataset = find_dataset(name or "demo") if name or not given else dataset_of(read_description(Path(given)).dataset)
    records = Path(given or data_root / dataset.folder / "records" / str(_frame_size(values, dataset)))
    chosen = modalities or dataset.modalities
    if not chosen and not values["modalities"].value:
        chosen = read_description(records).modalities
    defaults = {**dataset.defaults, **({"modalities": tuple(chosen)} if chosen else {})}
    settings = {**defaults, **flag_groups.given_config(values)}
    return dataset, records, settings, flag_groups.protocol_from_flags(dataset, values)


def _frame_size(values: flags.FlagValues, dataset: Dataset) -> int:
    given = values["frame_size"].value or dataset.defaults.get("frame_size")
    scale = values["scale"].value or dataset.defaults.get("scale", Config.scale)
    return given if isinstance(given, int) else flag_groups.make_config({"scale": scale}).frame_size


def train(settings: TrainSettings) -> RunFolder:
    """Trains a run to its end, continuing from its last complete epoch, after those it needs; returns its folder.

    Raises:
        InputError: the records or the teacher do not fit the settings, the folder holds another run or is in use, a
            record cannot be used, the loss is not finite, or there are no workers to train with.
        Stopped: SIGTERM came; what was done is saved.
    """
    # Operations side by side keep cores busier than threads within each (benchmarks/environment.py), and on few cores
    # accuracies do not depend on how many there are. TensorFlow reads the number at its first operation.
    threads = (os.cpu_count() or 1) // (2 * len(settings.config.modalities))
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(max(1, threads)))
    check_address_space()
    # here, so that settings and --help are there at once
    from dmcl_tf.learning.workers import working_together

    dataset, records = find_dataset(settings.dataset), Records.load(settings.records)
    splits = make_splits(dataset, records, settings.protocol)
    with working_together(settings.strategy) as workers:
        if settings.stages:
            _check_stages((*settings.stages, settings), len(splits.class_names))
        for run in (*settings.stages, settings):
            folder = _train(run, records, splits, workers)
            workers.wait()  # until the chief has written what the next one starts from
    return folder


def _check_stages(stages: Sequence[TrainSettings], classes: int) -> None:
    from dmcl_tf.learning import checks

    checks.check_stages({str(stage.directory): stage.config for stage in stages}, classes)


def _train(settings: TrainSettings, records: Records, splits: Splits, workers: Workers) -> RunFolder:
    from dmcl_tf.learning import checks, loop

    run, folder = _describe(settings, records, splits), RunFolder(settings.directory)
    # before there is a folder: a corrected setting makes another run of it
    checks.check(run, records, splits, workers.strategy.num_replicas_in_sync)
    with lock(folder.directory) if workers.chief else contextlib.nullcontext():
        if workers.chief:
            _begin(folder, run, settings, splits)
        workers.wait()  # until the chief has the folder
        folder.create_or_match(run)
        loop.fit(run, records, splits, folder, workers, settings.save_every_steps)
    return folder


def _begin(folder: RunFolder, run: Run, settings: TrainSettings, splits: Splits) -> None:
    remove_stale(folder.directory)
    folder.create_or_match(run)
    for name in ("last", "best", "step"):
        remove_others(folder.directory / name)
    print(f"run: {folder.directory}")
    counts = ", ".join(f"{count} {split}" for split, count in run.videos.items())
    print(f"videos: {counts} ({describe(settings.protocol) or 'no protocol'})")
    for warning in splits.warnings:
        print(f"warning: {warning}")


def _describe(settings: TrainSettings, records: Records, splits: Splits) -> Run:
    from dmcl_tf.runs.sources import find_sources
    from dmcl_tf.runs.teacher import Teacher

    directory, teacher = os.path.relpath(settings.records), Teacher.of(settings.config)
    sources = find_sources(settings.config)
    saw = [modality for source in sources.values() for modality in source.saw()]
    saw += teacher.run.saw_by(teacher.modalities) if teacher else ()
    known = (*settings.config.inputs, *settings.config.teacher_modalities)
    return Run(
        dataset=settings.dataset,
        records=os.path.abspath(settings.records) if directory.startswith("..") else directory,
        origin=records.description.origin,
        class_names=splits.class_names,
        protocol=settings.protocol,
        videos=splits.counts(),
        splits=splits.checksum(),
        config=settings.config,
        depth=records.description.depth,
        flow=records.description.flow,
        crop=records.description.crop,
        teacher=teacher.identity() if teacher else None,
        sources={modality: source.describe() for modality, source in sources.items()} or None,
        learned_from=tuple(dict.fromkeys(modality for modality in saw if modality not in known)),
    )


def main() -> None:
    """Trains the run that the flags describe."""
    train(settings_from_flags(flags.FLAGS))


if __name__ == "__main__":
    flag_groups.define(FLAG_GROUPS, flags.FLAGS)
    run_script(main)
