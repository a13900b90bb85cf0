"""Runs a data set through its stages: `python -m workflow.stages nwucla [prepare|train|evaluate|export] [flags]`.

Every flag goes to the stages that know it, and each stage skips what is already complete. Without a stage, all four
run in turn. Data are under $DATA_ROOT, by default data, in a folder of the data set's or its family's name.
"""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from absl import flags

from data_prep import make_tfrecords
from data_prep.raw import DATASETS
from dmcl_tf import evaluate, export, train
from dmcl_tf.config import Config
from dmcl_tf.errors import InputError, ending_in_one_line

STAGES = {
    "prepare": (make_tfrecords, ["data_prep/make_tfrecords.py"]),
    "train": (train, ["-m", "dmcl_tf.train"]),
    "evaluate": (evaluate, ["-m", "dmcl_tf.evaluate"]),
    "export": (export, ["-m", "dmcl_tf.export"]),
}


def parse(stage: str, arguments: list[str]) -> tuple[flags.FlagValues, list[str]]:
    """What a stage makes of the arguments: the values of its flags, and the arguments it does not know.

    Raises:
        InputError: where a flag has an impossible value.
    """
    values = flags.FlagValues()
    STAGES[stage][0].define_flags(values)
    try:
        rest = values([stage, *arguments], known_only=True)[1:]
    except flags.Error as error:
        raise InputError(str(error).replace("\n", " ")) from None
    return values, rest


def check_known(arguments: list[str], parsed: dict[str, tuple[flags.FlagValues, list[str]]]) -> None:
    """Checks that some stage knows each argument.

    Raises:
        InputError: where none does; the message suggests the nearest flag.
    """
    for argument in arguments:
        if all(argument in rest for _, rest in parsed.values()):
            name = argument.lstrip("-").split("=")[0]
            known = sorted({flag for values, _ in parsed.values() for flag in values})
            close = difflib.get_close_matches(name, known, n=1)
            if not argument.startswith("-"):
                hint = ": a stage goes right after the data set, and every setting is a flag, --name=value"
            elif close:
                hint = f"; did you mean --{close[0]}?"
            else:
                hint = "; python -m dmcl_tf.train --help lists the settings"
            raise InputError(f"unknown argument {argument!r}{hint}")


def present(values: flags.FlagValues) -> list[str]:
    """The flags that were given, as arguments."""
    return [values[name].serialize() for name in values if values[name].present]


def prepared(arguments: list[str]) -> make_tfrecords.RecordSettings:
    """What the stage `prepare` makes of its command line."""
    return make_tfrecords.settings_from_flags(parse("prepare", arguments)[0])


def stage_flags(dataset: str, arguments: list[str], stages: Collection[str] = tuple(STAGES)) -> dict[str, list[str]]:
    """The flags of every stage, with the folders of one stage handed to the next.

    Args:
        dataset: its name.
        arguments: flags of any of the stages.
        stages: that are to run.

    Raises:
        InputError: for an unknown argument or an impossible value.
    """
    description = DATASETS[dataset]
    data_dir = Path(os.environ.get("DATA_ROOT", "data")) / description.folder
    arguments = [*description.default_flags, *arguments]
    parsed = {stage: parse(stage, arguments) for stage in STAGES}
    check_known(arguments, parsed)

    prepare = [f"--dataset={dataset}", f"--data_dir={data_dir}"]
    modalities = prepared([*prepare, *present(parsed["prepare"][0])]).modalities
    if parsed["train"][0]["modalities"].value is None and modalities != Config.modalities:
        arguments.append(f"--modalities={','.join(modalities)}")
        parsed = {stage: parse(stage, arguments) for stage in STAGES}
    config = train.config_from_flags(parsed["train"][0])
    size = parsed["prepare"][0]["size"]
    if "train" in stages and size.present and size.value != config.frame_size:
        raise InputError(
            f"--size={size.value}: training expects frames of --frame_size={config.frame_size}; give "
            f"--frame_size={size.value} instead, which goes for all stages, and a --crop_size that fits"
        )

    given = {"prepare": [*prepare, f"--size={config.frame_size}", *present(parsed["prepare"][0])]}
    records = prepared(given["prepare"]).output
    given["train"] = [f"--records={records}", *present(parsed["train"][0])]
    values = parse("train", given["train"])[0]
    run_dir = Path(values["checkpoints"].value) / train.run_path(dataset, config, values["run_name"].value)
    for stage in ("evaluate", "export"):
        given[stage] = [f"--run_dir={run_dir}", *present(parsed[stage][0])]
    if not any(parsed["evaluate"][0][name].present for name in ("run_dir", "records")):
        given["evaluate"].append(f"--records={records}")
    return given


def command(stage: str, arguments: list[str]) -> list[str]:
    """The command line of a stage with these flags."""
    return [sys.executable, *STAGES[stage][1], *arguments]


def commands(dataset: str, stages: list[str], arguments: list[str]) -> list[list[str]]:
    """The command line of each stage; arguments and errors as of `stage_flags`."""
    given = stage_flags(dataset, arguments, stages)
    return [command(stage, given[stage]) for stage in stages]


def check_dataset(name: str) -> None:
    """Checks that there is such a data set.

    Raises:
        InputError: where there is none; the message suggests the nearest name.
    """
    if name not in DATASETS:
        close = difflib.get_close_matches(name, DATASETS, n=1)
        hint = f"; did you mean {close[0]}?" if close else "; then a stage and flags, or neither"
        raise InputError(f"{name!r}: expected a data set, one of {', '.join(DATASETS)}{hint}")


def main(arguments: list[str]) -> int:
    """Runs the stages; returns the exit status of the first that failed, else 0."""
    dataset, *rest = arguments or [""]
    check_dataset(dataset)
    stages = list(STAGES)
    if rest and not rest[0].startswith("-"):
        if rest[0] not in STAGES:
            raise InputError(f"unknown stage {rest[0]!r}: expected one of {', '.join(STAGES)}")
        stages = [rest.pop(0)]
    for stage, line in zip(stages, commands(dataset, stages, rest)):
        print(f"\n== {dataset}: {stage} ==", flush=True)
        status = subprocess.run(line, check=False).returncode
        if status:
            return status if status > 0 else 128 - status  # ended by a signal: as shells report it
    return 0


if __name__ == "__main__":
    with ending_in_one_line():
        sys.exit(main(sys.argv[1:]))
