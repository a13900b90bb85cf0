"""`python -m workflow COMMAND …`, which is what `bash run.sh COMMAND …` calls."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags, logging

from dmcl_tf.datasets import DATASETS
from dmcl_tf.errors import InputError, ending_in_one_line, meant, raise_on_termination
from dmcl_tf.flag_groups import define
from workflow import command_line

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what concerns the user comes as an exception

# commands with FLAG_GROUPS, or flag_groups(arguments), and main(values)
_MODULES = {"report": "dmcl_tf.report", "predict": "workflow.predict", "serve": "server.command"}


def main(arguments: Sequence[str]) -> int:
    """Runs a command; returns the exit status."""
    name, *rest = arguments or [""]
    if name in DATASETS:
        from workflow import demo, stages

        return demo.main(rest) if name == "demo" and demo.is_whole(rest) else stages.main(name, rest)
    if name == "experiments":
        from workflow import experiments

        return experiments.main(rest)
    if name == "check":
        return _check(rest)
    if name == "random_features":
        return _run("dmcl_tf.random_features", rest, data_root=command_line.data_root())
    if name in _MODULES:
        return _run(_MODULES[name], rest)
    commands = [*DATASETS, "experiments", "check", "random_features", *_MODULES]
    hint = meant(name, commands)
    raise InputError(f"{name!r}: expected a data set or a command, one of {', '.join(commands)}{hint}")


def _check(arguments: Sequence[str]) -> int:
    """`check DATASET` looks at raw files, `check records` at records."""
    name, *rest = arguments or [""]
    if command_line.asks_for_help([name]):
        print("check DATASET says what is wrong with raw files, check records with records; each has its own --help")
        return 0
    if name == "records":
        return _run("data_prep.check_records", rest, data_root=command_line.data_root())
    if name not in DATASETS:
        raise InputError(f"check {name}: expected a data set, one of {', '.join(DATASETS)}, or records")
    return _run("data_prep.check_dataset", [f"--dataset={name}", *rest], data_root=command_line.data_root())


def _run(module_name: str, arguments: Sequence[str], **folders: Path) -> int:
    module = importlib.import_module(module_name)
    groups = module.FLAG_GROUPS if hasattr(module, "FLAG_GROUPS") else module.flag_groups(arguments)
    values = define(groups, flags.FlagValues())
    if command_line.asks_for_help(arguments):
        command_line.print_help(module.__doc__ or "", values)
        return 0
    module.main(command_line.parse(values, arguments), **folders)
    return 0


if __name__ == "__main__":
    logging.set_verbosity(logging.WARNING)
    raise_on_termination()
    with ending_in_one_line():
        sys.exit(main(sys.argv[1:]))
