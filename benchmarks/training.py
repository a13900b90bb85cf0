"""Training from records against training on a batch that is in memory: what the input pipeline costs a step.

    python -m benchmarks.training

Compact networks with `dmcl`, all cores shared by the pipeline and the step. A sample is one clip of each modality. The
script also runs in earlier versions of the project, where it is copied to, so that two versions can take turns.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import tensorflow as tf
from absl import flags

from benchmarks.input_pipeline import write_records, write_sources
from benchmarks.turns import machine, print_ratio, print_turns, take_turns, turn_flags
from dmcl_tf.config import resolve
from dmcl_tf.data import pipeline
from dmcl_tf.errors import run_script
from dmcl_tf.learning.optimizers import make_optimizer
from dmcl_tf.networks.ensemble import make_ensemble

RECORDS, MEMORY = "from records", "from memory"


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    flags.DEFINE_integer("videos", 8, "Different videos.", 1, flag_values=flag_values)
    flags.DEFINE_integer("frames", 24, "Frames of each.", 9, flag_values=flag_values)
    flags.DEFINE_integer("batch", 16, "Clips per step.", 1, flag_values=flag_values)
    flags.DEFINE_string("variant", "authors", "The network.", flag_values=flag_values)
    flags.DEFINE_list("modalities", ["rgb", "depth", "flow"], "A network for each of these.", flag_values=flag_values)
    turn_flags(flag_values)


def main(values: flags.FlagValues) -> dict[str, float]:
    """Prints the table, and returns its ratio."""
    settings = {"batch_size": values.batch, "learning_rate": 1e-9, "epochs": 10**6, "variant": values.variant}
    settings |= {"modalities": tuple(values.modalities), "select_by": values.modalities[0]}
    config = resolve("authors", "compact", settings)
    with tempfile.TemporaryDirectory() as name:
        sources = write_sources(Path(name), values.videos, values.frames)
        records, splits = write_records(Path(name), sources, config.frame_size)
        ensemble = make_ensemble(config, len(splits.class_names))
        ensemble.compile(optimizer=make_optimizer(config, 100, ensemble.trainable_variables), jit_compile=False)
        train = tf.function(ensemble.train_step)

        def dataset():
            return pipeline.training_dataset(records, splits, config)

        def stepping(batches):
            def step():
                float(train(next(batches))["loss"])
                return values.batch

            return step

        contestants = {
            RECORDS: lambda: stepping(iter(dataset())),
            MEMORY: lambda: stepping(iter(dataset().take(1).cache().repeat())),
        }
        turns = take_turns(contestants, rounds=values.rounds, seconds=values.seconds)
    print(machine())
    print_turns(turns)
    return print_ratio(turns, RECORDS, MEMORY)


if __name__ == "__main__":
    define_flags()
    run_script(lambda: main(flags.FLAGS))
