"""The earlier runs that a method starts from or is taught by, each a run like any other.

A function for each such method calls `run(method, networks, **settings)` for its stages in turn and hands the folder of
one to the next; `run` says what the folder is, and may have found a finished run that serves as well.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from dmcl_tf.config import Config, parse_frozen, parse_network, reported_accuracies
from dmcl_tf.errors import InputError
from dmcl_tf.registry import HALLUCINATION, METHODS

Run = Callable[..., Path]


def _taught(method: str) -> Callable[[Run, str, tuple[str, ...]], Path]:
    """One network, taught by others that have learned from the labels."""

    def stages(run: Run, student: str, teachers: tuple[str, ...]) -> Path:
        teaching = run("independent", teachers)
        return run(method, (student,), teacher_run=str(teaching), teacher_modalities=teachers)

    return stages


def _hallucination(run: Run, student: str, teachers: tuple[str, ...]) -> Path:
    (depth,) = teachers
    alone = run("independent", (student,))
    started = run("independent", teachers, initial_weights=(f"{depth}={alone}:{student}",))
    sources = (f"{student}={alone}:{student}", f"{depth}={started}:{depth}", f"{HALLUCINATION}={started}:{depth}")
    networks = (student, depth, HALLUCINATION)
    selection = f"{student}+{HALLUCINATION}"
    return run("hallucination", networks, initial_weights=sources, freeze=(f"{depth}:middle",), select_by=selection)


def _streams(run: Run, student: str, teachers: tuple[str, ...]) -> Path:
    networks = (student, *teachers)
    alone = run("independent", networks)
    sources = tuple(f"{name}={alone}:{name}" for name in networks)
    return run("modality_distillation_teacher", networks, initial_weights=sources, select_by="sum")


def _distilled(run: Run, student: str, teachers: tuple[str, ...]) -> Path:
    return _imitating("modality_distillation_student", run, student, teachers, _streams(run, student, teachers))


def _imitating(method: str, run: Run, student: str, teachers: tuple[str, ...], source: Path, *frozen: str) -> Path:
    """A hallucination network that starts from the teacher of a run; the student of that run is kept beside it."""
    return run(
        method,
        (student, HALLUCINATION),
        initial_weights=(f"{student}={source}:{student}", f"{HALLUCINATION}={source}:{teachers[0]}"),
        teacher_run=str(source),
        teacher_modalities=teachers,
        freeze=(f"{student}:all", *frozen),
        select_by=HALLUCINATION,
    )


def _modality_distillation(run: Run, student: str, teachers: tuple[str, ...]) -> Path:
    source, networks = _distilled(run, student, teachers), (student, HALLUCINATION)
    sources = tuple(f"{name}={source}:{name}" for name in networks)
    return run("modality_distillation", networks, initial_weights=sources, select_by="sum")


def _admd(run: Run, student: str, teachers: tuple[str, ...]) -> Path:
    alone = run("independent", (student, *teachers))
    return _imitating("admd", run, student, teachers, alone, f"{HALLUCINATION}:head")


_TAUGHT = ("generalized_distillation", "mars", "graph_distillation")  # by any number of teachers, others by one
STAGES: dict[str, Callable[[Run, str, tuple[str, ...]], Path]] = {
    **{method: _taught(method) for method in _TAUGHT},
    "hallucination": _hallucination,
    "modality_distillation_teacher": _streams,
    "modality_distillation_student": _distilled,
    "modality_distillation": _modality_distillation,
    "admd": _admd,
}
_TEACHERS = {"mars": ("flow",), "graph_distillation": ("depth", "flow")}  # others learn from depth


def roles(method: str, modalities: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Which modality learns and which teach: the first, RGB where none is given, and the others, or the usual ones.

    Raises:
        InputError: one teaches itself, there are too many, or one is no modality.
    """
    if HALLUCINATION in modalities:
        raise InputError(
            f"--modalities={','.join(modalities)}: --method={method} makes a hallucination network where it needs one; "
            "name the modality that learns and then those that it learns from, such as rgb,depth"
        )
    student, *teachers = modalities if len(modalities) > 1 else (*(modalities or ("rgb",)), *usual_teachers(method))
    if student in teachers or (method not in _TAUGHT and len(teachers) > 1):
        raise InputError(
            f"--modalities={','.join(modalities)}: --method={method} needs the modality that learns and then "
            f"{'those' if method in _TAUGHT else 'one'} that it learns from, such as rgb,depth"
        )
    return student, tuple(teachers)


def check_roles(config: Config, teachers: tuple[str, ...], started: Collection[str]) -> None:
    """Checks that a run has the networks and teachers that the loss of its method is about.

    Args:
        config: of the run.
        teachers: the networks of its teacher.
        started: the networks that start from weights.

    Raises:
        InputError: it has not.
    """
    method, networks = METHODS[config.method], config.modalities
    right = method.networks in (0, len(networks)) and (networks[-1] == HALLUCINATION) >= method.hallucinates
    if not right:
        names = [f"network {number}" for number in range(1, method.networks + 1 - method.hallucinates)]
        names += [HALLUCINATION] * method.hallucinates
        raise InputError(
            f"--modalities={','.join(networks)}: --method={config.method} has {method.networks} "
            f"network{'s' * (method.networks > 1)} ({', '.join(names)}); leave out --teacher_run and "
            "--initial_weights, and it makes the runs that it needs"
        )
    if method.needs_teacher and method.hallucinates and len(teachers) != 1:
        raise InputError(
            f"--teacher_modalities={','.join(config.teacher_modalities)}: --method={config.method} is taught by one "
            f"network of {', '.join(teachers)}: name it"
        )
    if config.method == "admd" and HALLUCINATION not in started:  # whose classifier is never trained
        raise InputError(
            "--initial_weights: the hallucination network of --method=admd keeps the classifier that it starts with: "
            f"give {HALLUCINATION}=RUN:depth, or leave out --teacher_run, and it makes the runs that it needs"
        )


def usual_teachers(method: str) -> tuple[str, ...]:
    """The modalities that teach where nothing else is said."""
    return _TEACHERS.get(method, ("depth",))


def stage_settings(
    method: str, networks: tuple[str, ...], given: Mapping[str, Any], wired: Mapping[str, Any], *, last: bool
) -> dict[str, Any]:
    """The settings of a stage: those given, as far as they concern its networks, then its own.

    Args:
        method: of the stage.
        networks: of the stage.
        given: by the user for all stages.
        wired: which tie it to earlier ones.
        last: whether it is what was asked for; earlier ones select by their usual accuracy and freeze nothing of the
            user's.
    """
    settings = {**that_concern(given, method, networks), "method": method, "modalities": networks}
    for name in ("select_by", "freeze"):
        settings.pop(name, None)
        if last and name in given:
            settings[name] = given[name]
    if wired.get("freeze"):
        wired = {**wired, "freeze": (*wired["freeze"], *settings.get("freeze", ()))}
    return {**wired, **settings, **{name: value for name, value in wired.items() if name != "select_by"}}


_OF_LOSSES = (
    *("temperature", "loser_ground_truth_weight", "distillation_weight", "scale_by_temperature_squared"),
    *("beta", "feature_weight", "middle_weight", "weighting"),
)
# settings that concern some networks or methods alone
OF_SOME = ("networks", "freeze", "select_by", "connection", "middle_layer", *_OF_LOSSES)


def that_concern(settings: Mapping[str, Any], method: str, networks: tuple[str, ...]) -> dict[str, Any]:
    """The settings without those that concern other methods or networks than a run's, where many runs share them."""

    def concerns(name: str, entry: str) -> bool:
        modality = parse_network(entry)[0] if name == "networks" else parse_frozen(entry)[0]
        return modality in ("", *networks)

    of = dict(settings)
    for name in {"networks", "freeze"} & of.keys():
        of[name] = tuple(entry for entry in of[name] if concerns(name, entry))
    known = {
        **dict.fromkeys(_OF_LOSSES, bool(METHODS[method].weights)),
        "connection": METHODS[method].connects,
        "middle_layer": METHODS[method].compares == "middle",
        "select_by": of.get("select_by") in reported_accuracies(networks),
    }
    return {name: value for name, value in of.items() if known.get(name, True)}


def check_concerned(given: Mapping[str, Any], configs: Sequence[Config]) -> None:
    """Checks that what concerns some runs alone concerns any of those that are made.

    Raises:
        InputError: a setting, or an entry of it, that no run takes.
    """
    for name in OF_SOME:
        value = given.get(name)
        for entry in value if isinstance(value, tuple) else (value,):
            taken = [getattr(config, name) for config in configs]
            if entry and not any(entry in one if isinstance(one, tuple) else entry == one for one in taken):
                networks = sorted({network for config in configs for network in config.modalities})
                raise InputError(
                    f"--{name}={entry}: it concerns none of the runs, whose networks are {', '.join(networks)} and "
                    f"whose methods are {', '.join(sorted({config.method for config in configs}))}"
                )


def stage_name(networks: tuple[str, ...], wired: Mapping[str, Any]) -> str:
    """What tells an earlier run from others of its method: its networks, and where they start from."""
    sources = [entry.rpartition(":")[2] for entry in wired.get("initial_weights", ())]
    return "-from-".join(["+".join(networks), *(["+".join(sources)] if sources else [])])
