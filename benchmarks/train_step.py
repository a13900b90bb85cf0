"""The ensemble's training step against separate steps of its networks, and against a matrix product.

    python -m benchmarks.train_step

The ensemble trains three networks with `dmcl` in one step; the other contestant trains the same three networks one
after the other with `independent`, each with a step and an optimiser of its own. The rest is DMCL's price. A sample is
one clip of each modality. A step begins with what is left of augmentation, which is also timed alone.

GFLOP/s count the multiply-adds of the convolutions, twice, for the forward pass and twice more for the gradients of
inputs and kernels. The peak is that of a 2048³ matrix product of the same type, taking its turns among the others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks.turns import (
    Ratios,
    Step,
    machine,
    print_ratio,
    print_turns,
    processor_seconds,
    rates,
    take_turns,
    turn_flags,
)
from dmcl_tf.config import Config, resolve
from dmcl_tf.data import augmentation
from dmcl_tf.errors import run_script
from dmcl_tf.learning.optimizers import make_optimizer
from dmcl_tf.networks.ensemble import ModalityEnsemble, make_ensemble
from dmcl_tf.registry import VARIANTS

_CLASSES = 10
_MATRIX = 2048
LEARNING_RATE = 1e-9  # hundreds of steps on one batch of noise would diverge under a real one


def random_batch(config: Config) -> dict:
    """A batch of noise, as the input pipeline would deliver it: with grey depth."""
    random, batch = np.random.default_rng(config.seed), config.batch_size
    shape = (batch, config.clip_frames, config.crop_size, config.crop_size)
    channels = {modality: 1 if modality == "depth" else 3 for modality in config.modalities}
    drawn = [
        augmentation.draw(config, tf.constant(config.clip_frames), (config.seed, place))._asdict()
        for place in range(batch)
    ]
    return {
        "clips": {m: tf.constant(random.integers(0, 256, (*shape, c), np.uint8)) for m, c in channels.items()},
        **{name: tf.stack([d[name] for d in drawn]) for name in ("flip", "color_order", "color_strengths")},
        "label": tf.constant(random.integers(0, _CLASSES, batch)),
    }


def training_step(ensemble: ModalityEnsemble, config: Config) -> Callable[[dict], dict]:
    """The compiled training step of an ensemble, with the optimiser of `config` at next to no learning rate."""
    config = dataclasses.replace(config, learning_rate=LEARNING_RATE)
    ensemble.compile(optimizer=make_optimizer(config, 100, ensemble.trainable_variables), jit_compile=False)
    return tf.function(ensemble.train_step)


def forward_flops(network: keras.Model, config: Config) -> int:
    """Floating-point operations of the convolutions for one clip: two per multiply-add."""
    shape = (1, config.clip_frames, config.crop_size, config.crop_size, 3)
    graph = tf.function(network).get_concrete_function(tf.TensorSpec(shape, tf.float32)).graph
    flops = 0
    for operation in (operation for operation in graph.get_operations() if operation.type == "Conv2D"):
        kernel = operation.inputs[1].shape
        flops += 2 * operation.outputs[0].shape.num_elements() * kernel[0] * kernel[1] * kernel[2]
    return flops


def make_contestants(config: Config) -> dict[str, Callable[[], Step]]:
    """The ensemble, its networks apart, and the matrix product, in the precision of `config`."""
    batch = random_batch(config)
    ensemble = make_ensemble(config, _CLASSES)
    together, augment = training_step(ensemble, config), tf.function(ensemble.prepare)
    apart = []
    for modality in config.modalities:
        own = dataclasses.replace(config, modalities=(modality,), method="independent", select_by=modality)
        own_batch = {**batch, "clips": {modality: batch["clips"][modality]}}
        apart.append((training_step(make_ensemble(own, _CLASSES), own), own_batch))
    matrix = tf.cast(tf.random.stateless_normal((_MATRIX, _MATRIX), (0, 0)), tf.as_dtype(config.precision))

    def ensemble_step():
        float(together(batch)["loss"])  # waits for the end, on any device
        return config.batch_size

    def separate_steps():
        for step, own_batch in apart:
            float(step(own_batch)["loss"])
        return config.batch_size

    def augmentation_alone():
        for clips in augment(batch).values():
            clips[0, 0, 0, 0, 0].numpy()
        return config.batch_size

    def product():
        tf.matmul(matrix, matrix)[0, 0].numpy()
        return 1

    return {
        f"ensemble {config.precision}": lambda: ensemble_step,
        f"separate {config.precision}": lambda: separate_steps,
        f"augmentation {config.precision}": lambda: augmentation_alone,
        f"matrix product {config.precision}": lambda: product,
    }


def network_flags(flag_values: flags.FlagValues) -> None:
    """The networks, and the batches that they see; compact ones by default."""
    flags.DEFINE_integer("size", 64, "Height and width of the clips: 64, 112, 224, …", 16, flag_values=flag_values)
    flags.DEFINE_integer("width", 16, "Channels of the first stage; 64 is full size.", 1, flag_values=flag_values)
    flags.DEFINE_enum("variant", "authors", VARIANTS, "The network.", flag_values=flag_values)
    flags.DEFINE_integer("batch", 16, "Clips per step.", 1, flag_values=flag_values)
    flags.DEFINE_list("modalities", list(Config.modalities), "A network for each of these.", flag_values=flag_values)


def network_settings(values: flags.FlagValues) -> dict:
    """What these flags say, as settings of `Config`."""
    return {
        **{"crop_size": values.size, "frame_size": values.size, "width": values.width, "variant": values.variant},
        **{"batch_size": values.batch, "modalities": tuple(values.modalities), "select_by": values.modalities[0]},
    }


def title(config: Config) -> str:
    """What a step works on."""
    return f"clips of {config.clip_frames}×{config.crop_size}², width {config.width}, batches of {config.batch_size}"


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    network_flags(flag_values)
    flags.DEFINE_list("precisions", ["float32", "bfloat16"], "Which to compare in.", flag_values=flag_values)
    turn_flags(flag_values)


def main(values: flags.FlagValues) -> Ratios:
    """Prints the table, and returns its ratios."""
    tf.get_logger().setLevel("ERROR")  # each network's own step looks like a step that is traced again and again
    settings, contestants, ratios = network_settings(values), {}, {}
    for precision in values.precisions:
        config = resolve("authors", "compact", {**settings, "precision": precision})
        contestants.update(make_contestants(config))
    networks = make_ensemble(resolve("authors", "compact", settings), _CLASSES).networks.values()
    flops = sum(forward_flops(network, config) for network in networks)
    turns = take_turns(contestants, rounds=values.rounds, seconds=values.seconds)
    print(machine())
    print(f"{title(config)}; forward pass of all networks {flops / 1e9:.3f} GFLOP per clip")
    print_turns(turns)
    for precision in values.precisions:
        ratios |= print_ratio(turns, f"ensemble {precision}", f"separate {precision}")
    for precision in values.precisions:
        whole, part = (processor_seconds(turns[f"{name} {precision}"]).mean() for name in ("ensemble", "augmentation"))
        print(f"augmentation {precision}: {100 * part / whole:.2f} % of the processor time of a step")
        # a forward pass and twice that for the gradients
        achieved = 3 * flops * np.median(rates(turns[f"ensemble {precision}"])) / 1e9
        peak = 2 * _MATRIX**3 * np.median(rates(turns[f"matrix product {precision}"])) / 1e9
        print(f"ensemble {precision}: {achieved:.1f} GFLOP/s, {achieved / peak:.2f} of a matrix product's {peak:.1f}")
    return ratios


if __name__ == "__main__":
    define_flags()
    run_script(lambda: main(flags.FLAGS))
