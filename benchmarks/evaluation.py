"""Evaluation from records, all of it, against nothing but the networks' forward passes.

    python -m benchmarks.evaluation

Evaluation reads videos, decodes their frames, cuts ten clips of each, and averages logits. The other contestant calls
the same networks on clips that are in memory already, as many at a time. A sample is one clip of each modality.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from absl import flags

from benchmarks.input_pipeline import write_records, write_sources
from benchmarks.train_step import network_flags, network_settings
from benchmarks.turns import Ratios, Step, machine, print_ratio, print_turns, take_turns, turn_flags
from dmcl_tf.config import Config, resolve
from dmcl_tf.data.records import CLIPS
from dmcl_tf.data.table import Records
from dmcl_tf.datasets.splits import Splits
from dmcl_tf.errors import run_script
from dmcl_tf.networks.ensemble import ModalityEnsemble, make_ensemble
from dmcl_tf.scoring.logits import Evaluator

EVALUATION, FORWARD = "evaluation", "forward passes alone"


def make_contestants(
    ensemble: ModalityEnsemble, records: Records, splits: Splits, config: Config
) -> dict[str, Callable[[], Step]]:
    """Evaluation of the test split, and forward passes of batches as large as there."""
    evaluator = Evaluator(ensemble, records, splits, config)
    clips = min(len(splits.test), evaluator.videos_per_batch()) * CLIPS
    shape = (clips, config.clip_frames, config.crop_size, config.crop_size, 3)
    inputs = {m: tf.random.stateless_uniform(shape, (row, 0), 0.0, 255.0) for row, m in enumerate(config.modalities)}
    forward = tf.function(ensemble.stacked_logits)

    def evaluate():
        evaluator("test")
        return CLIPS * len(splits.test)

    def forward_alone():
        forward(inputs)[0, 0, 0].numpy()
        return clips

    return {EVALUATION: lambda: evaluate, FORWARD: lambda: forward_alone}


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    network_flags(flag_values)
    flags.DEFINE_integer("videos", 8, "Different videos.", 1, flag_values=flag_values)
    flags.DEFINE_integer("frames", 24, "Frames of each.", 9, flag_values=flag_values)
    flags.DEFINE_integer("repetitions", 4, "How often the split has each video.", 1, flag_values=flag_values)
    turn_flags(flag_values)


def main(values: flags.FlagValues) -> Ratios:
    """Prints the table, and returns its ratio."""
    config = resolve("authors", "compact", {**network_settings(values), "frame_size": values.size * 5 // 4})
    with tempfile.TemporaryDirectory() as name:
        sources = write_sources(Path(name), values.videos, values.frames)
        records, splits = write_records(Path(name), sources, config.frame_size)
        splits = splits._replace(test=records.videos * values.repetitions)
        contestants = make_contestants(make_ensemble(config, len(splits.class_names)), records, splits, config)
        turns = take_turns(contestants, rounds=values.rounds, seconds=values.seconds)
    print(machine())
    print(f"clips of {config.clip_frames}×{values.size}², width {values.width}, {values.frames} frames per video")
    print_turns(turns)
    return print_ratio(turns, EVALUATION, FORWARD)


if __name__ == "__main__":
    define_flags()
    run_script(lambda: main(flags.FLAGS))
