"""What can be known of a run before it begins."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from dmcl_tf.config import Config, parse_start
from dmcl_tf.data import pipeline
from dmcl_tf.data.table import Records
from dmcl_tf.datasets.splits import Splits
from dmcl_tf.errors import InputError
from dmcl_tf.networks.ensemble import make_ensemble
from dmcl_tf.registry import HALLUCINATION, METHODS
from dmcl_tf.runs.folder import Run
from dmcl_tf.runs.sources import find_sources, load_sources
from dmcl_tf.runs.stages import check_roles
from dmcl_tf.runs.teacher import Teacher


def check(run: Run, records: Records, splits: Splits, replicas: int) -> None:
    """Checks all that can be known of a run before it begins.

    Raises:
        InputError: for records of other modalities or frames, too few or too short videos, a missing or half-written
            record, flow that cannot be negated, a batch that does not divide among the replicas, float16 on several of
            them, a network that cannot be recomputed or has no part to freeze, networks or teachers that are not the
            method's, or a teacher or initial weights that do not fit.
    """
    config, teacher = run.config, Teacher.of(run.config)
    if teacher:
        teacher.check(run)
    sources = find_sources(config)
    check_roles(config, teacher.modalities if teacher else (), sources)
    if teacher:
        _check_shapes(config, teacher.run.config, teacher.modalities, teacher.folder.directory)
    else:
        _check_shapes(config, config, config.modalities[1:2], "this run")
    inputs = input_modalities(config, teacher)
    records.check(inputs, config.frame_size)
    pipeline.check_negation(records.description, config, inputs)
    pipeline.check_lengths(splits, config)
    pipeline.steps_per_epoch(splits, config)
    records.check_files(splits.train + splits.validation)
    if config.batch_size % replicas:
        raise InputError(
            f"--batch_size={config.batch_size} does not divide among {replicas} devices: choose a multiple"
        )
    if replicas > 1 and config.precision == "float16":
        raise InputError(f"--precision=float16 works on one device, not on {replicas}: choose another, or one device")
    for source in sources.values():
        source.check(run)
    # what cannot be built or loaded is found now
    load_sources(make_ensemble(config, len(run.class_names)).networks, run)


def check_stages(stages: Mapping[str, Config], classes: int) -> None:
    """Checks what would else be found when earlier runs have been trained: networks that later ones need.

    Args:
        stages: configurations of runs that are made from each other, by their folders.
        classes: C.

    Raises:
        InputError: a network or a part of one that cannot be made, or networks of two kinds where one imitates the
            other or starts from it.
    """
    for config in stages.values():
        make_ensemble(config, classes)
        if config.teacher_run in stages:
            _check_shapes(config, stages[config.teacher_run], config.teacher_modalities, config.teacher_run)
        elif not config.teacher_run:
            _check_shapes(config, config, config.modalities[1:2], "this run")
        for start in map(parse_start, config.initial_weights):
            if start.path in stages:
                ours, theirs = config.network(start.target), stages[start.path].network(start.network)
                what = f"--method={config.method} starts networks from others"
                _check_alike(what, start.target, ours, start.network, start.path, theirs)


def input_modalities(config: Config, teacher: Teacher | None) -> tuple[str, ...]:
    """The modalities that the run's networks see, then those that only its teacher sees."""
    return tuple(dict.fromkeys((*config.inputs, *(teacher.inputs if teacher else ()))))


def _check_shapes(config: Config, there: Config, teaching: Sequence[str], where: object) -> None:
    """Checks that those whose features or activations are compared are networks of one kind and width.

    Raises:
        InputError: naming two that are not.
    """
    method = METHODS[config.method]
    students = (HALLUCINATION,) if HALLUCINATION in config.modalities else config.modalities
    for taught, teacher in itertools.product(students, teaching if method.compares else ()):
        what = f"--method={config.method} compares {method.compares}"
        _check_alike(what, taught, config.network(taught), teacher, where, there.network(teacher))


def _check_alike(what: str, network: str, ours: tuple, other: str, where: object, theirs: tuple) -> None:
    if ours != theirs:
        raise InputError(
            f"{what}: {network} is {ours[0]}/{ours[1]}, but {other} of {where} is {theirs[0]}/{theirs[1]}; choose the "
            "same network and width, --networks"
        )
