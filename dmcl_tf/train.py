"""Trains an ensemble: `python -m dmcl_tf.train --records=data/demo/records/80 --scale=compact`.

A run lives in checkpoints/<data set>/<method>/<run>; the same command continues it after an interruption. Settings
that are not given come from --recipe and --scale. Methods:

  independent               every network learns from the labels alone
  dmcl                      the network that is best at a sample, its winner, teaches the others
  random_teacher            DMCL with a teacher drawn at random for each sample
  mutual                    every network learns from all the others (deep mutual learning)
  smcl                      only the winner learns the label
  cmcl                      one network learns the label, the others to predict all classes alike (--beta)
  cmcl_stochastic           one network learns the label, the others random labels (--beta)
  generalized_distillation  networks learn from those of a finished run, which may see other modalities
                            (--teacher_run, --teacher_modalities)

For example, a student of RGB and a teacher of depth:
--method=generalized_distillation --modalities=rgb --teacher_run=checkpoints/demo/independent/authors-compact-seed0
--teacher_modalities=depth
"""

from __future__ import annotations

import os
from pathlib import Path

import tensorflow as tf
from absl import flags

from dmcl_tf import config_flags as setting_flags
from dmcl_tf.config import Config, resolve
from dmcl_tf.data import records
from dmcl_tf.errors import InputError, run_script
from dmcl_tf.learning import loop as training
from dmcl_tf.runs.folder import Run, RunFolder
from dmcl_tf.runs.teacher import Teacher


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the script's flags: one for each setting of `Config`, and the few that are not settings."""
    flags.DEFINE_string(
        "records", "data/demo/records/80", "folder of TFRecords with dataset.json", flag_values=flag_values
    )
    flags.DEFINE_string("checkpoints", "checkpoints", "folder under which runs are kept", flag_values=flag_values)
    flags.DEFINE_string(
        "run_name", None, "name of the run; default: <recipe>-<scale>-seed<seed>", flag_values=flag_values
    )
    flags.DEFINE_float(
        "lambda",
        None,
        "λ of Eq. 3: label weight 1-λ and distillation weight λ, for losers and students",
        flag_values=flag_values,
    )
    setting_flags.define(flag_values)


def config_from_flags(flag_values: flags.FlagValues = flags.FLAGS) -> Config:
    """The run's configuration: recipe and scale, overridden by the flags that were given.

    Raises:
        InputError: for an impossible value.
    """
    given = setting_flags.given(flag_values)
    if given.get("teacher_run"):
        given["teacher_run"] = os.path.relpath(given["teacher_run"])
    weight = flag_values["lambda"].value
    if weight is not None:
        if not 0 <= weight <= 1:
            raise InputError(f"--lambda={weight}: expected a value from 0 to 1")
        given.setdefault("loser_ground_truth_weight", 1 - weight)
        given.setdefault("distillation_weight", weight)
    return resolve(given.pop("recipe"), given.pop("scale"), given)


def run_path(dataset: str, config: Config, run_name: str | None) -> Path:
    """Where a run is kept under the folder of checkpoints: `<data set>/<method>/<run>`."""
    return Path(dataset) / config.method / (run_name or f"{config.recipe}-{config.scale}-seed{config.seed}")


def main() -> None:
    """Trains the run that the flags describe."""
    config = config_from_flags(flags.FLAGS)
    directory = Path(flags.FLAGS.records)
    info = records.DatasetInfo.load(directory)
    strategy = tf.distribute.MirroredStrategy()
    training.check(config, info, strategy)  # before there is a folder: a corrected setting makes another run of it
    folder = RunFolder(Path(flags.FLAGS.checkpoints) / run_path(info.dataset, config, flags.FLAGS.run_name))
    teacher = Teacher.of(config)
    identity = teacher.identity() if teacher else None
    videos = {split: sum(shard.videos for shard in shards) for split, shards in info.shards.items()}
    records_dir = os.path.relpath(directory)
    folder.create_or_match(
        Run(info.dataset, records_dir, info.class_names, config, identity, info.depth, info.protocol, videos)
    )
    print(f"run: {folder.directory}")
    training.train(config, info, folder, strategy)


if __name__ == "__main__":
    define_flags()
    run_script(main)
