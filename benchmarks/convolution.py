"""How to compute a factorised convolution: 2-D kernels on folded axes, as `networks.layers`, against 3-D kernels.

    python -m benchmarks.convolution

Forward and backward pass of one network in both formulations, with equal weights; that their outputs are equal is
checked first, and how far their gradients differ is printed for float32. No weights are updated: with 3-D kernels in
bfloat16, TensorFlow 2.15 was seen to return a gradient of 1e37 on a CPU, and nothing can be timed after that. The last
contestants are batch normalisation with gradients, on tensors of rank 5 and with time folded into the batch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks.train_step import network_flags, network_settings, random_batch, title
from benchmarks.turns import Ratios, Step, machine, print_ratio, print_turns, take_turns, turn_flags
from dmcl_tf.config import Config, resolve
from dmcl_tf.data import pipeline
from dmcl_tf.errors import run_script
from dmcl_tf.methods import cross_entropy
from dmcl_tf.networks.ensemble import make_ensemble
from dmcl_tf.networks.layers import Convolution


class Convolution3D(Convolution):
    """The same convolution with a 3-D kernel."""

    def call(self, inputs):
        """As `Convolution.call`."""
        kernel = tf.cast(tf.convert_to_tensor(self.kernel), inputs.dtype)
        temporal_stride, stride = self.strides
        margin = (self.kernel_size[1] - 1) // 2 if stride > 1 else 0
        if margin:
            inputs = tf.pad(inputs, [[0, 0], [0, 0], [margin, margin], [margin, margin], [0, 0]])
        strides = (1, temporal_stride, stride, stride, 1)
        return tf.nn.conv3d(inputs, kernel, strides, padding="VALID" if margin else "SAME")


def with_3d_kernels(network: keras.Model) -> keras.Model:
    """A copy of a network, weights included, whose convolutions have 3-D kernels."""

    def copy(layer):
        kind = Convolution3D if isinstance(layer, Convolution) else type(layer)
        return kind.from_config(layer.get_config())

    other = keras.models.clone_model(network, clone_function=copy)
    other.set_weights(network.get_weights())
    return other


def gradient_functions(config: Config) -> dict[str, Callable[[], list[tf.Tensor]]]:
    """Forward and backward pass of one network in both formulations: name → function to the gradients of its weights.

    Raises:
        AssertionError: the networks' outputs differ.
    """
    (modality,) = config.modalities
    batch = random_batch(config)
    clips = pipeline.network_input(batch["clips"][modality], config.value_range)
    folded = make_ensemble(config, 10).networks[modality]
    networks = {"folded 2-D": folded, "3-D": with_3d_kernels(folded)}
    outputs = [network(clips[:2])["logits"].numpy() for network in networks.values()]
    tolerance = 1e-4 if config.precision == "float32" else 0.1
    np.testing.assert_allclose(*outputs, rtol=tolerance, atol=tolerance * np.abs(outputs[0]).max())

    def gradients(network):
        with tf.GradientTape() as tape:
            loss = cross_entropy(network(clips, training=True)["logits"][None], batch["label"])
        return tape.gradient(loss, network.trainable_variables)

    return {
        f"{name} kernels {config.precision}": tf.function(partial(gradients, network))
        for name, network in networks.items()
    }


def largest_difference(functions: dict[str, Callable[[], list[tf.Tensor]]]) -> float:
    """The largest relative distance between the gradients of one weight."""
    pairs = zip(*(function() for function in functions.values()))
    return max(float(tf.norm(one - other) / tf.norm(one)) for one, other in pairs)


def normalization_functions(config: Config) -> dict[str, Callable[[], list[tf.Tensor]]]:
    """Batch normalisation of the first stage's activations, forward and backward, on both ranks."""
    size = config.crop_size // 4
    shape = (config.batch_size, config.clip_frames, size, size, config.width)
    inputs = tf.cast(tf.random.stateless_normal(shape, (0, 0)), tf.as_dtype(config.precision))
    ones, zeros, empty = tf.ones(config.width), tf.zeros(config.width), tf.constant([])

    def gradient(data_format, axes):
        @tf.function
        def run():
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                x = tf.reshape(inputs, axes)
                y = tf.raw_ops.FusedBatchNormV3(
                    x=x, scale=ones, offset=zeros, mean=empty, variance=empty, data_format=data_format
                )[0]
            return [tape.gradient(y, inputs, x)]

        return run

    return {
        f"normalisation, rank 5 {config.precision}": gradient("NDHWC", shape),
        f"normalisation, rank 4 {config.precision}": gradient("NHWC", (-1, *shape[2:])),
    }


def _contestant(gradients: Callable[[], list[tf.Tensor]], samples: int) -> Callable[[], Step]:
    def step():
        gradients()[0].numpy()  # the first weight's is computed last: this waits for all, on any device
        return samples

    return lambda: step


def define_flags(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines this script's flags."""
    network_flags(flag_values)
    flags.DEFINE_list("precisions", ["float32", "bfloat16"], "Which to compare in.", flag_values=flag_values)
    turn_flags(flag_values, seconds=2.0)


def main(values: flags.FlagValues) -> Ratios:
    """Prints the table, and returns its ratios."""
    settings = {**network_settings(values), "modalities": ("rgb",), "method": "independent", "select_by": "rgb"}
    contestants, pairs, differences, ratios = {}, [], {}, {}
    for precision in values.precisions:
        config = resolve("authors", "compact", {**settings, "precision": precision})
        kernels, normalizations = gradient_functions(config), normalization_functions(config)
        if precision == "float32":  # on noise, the rounding of bfloat16 alone changes gradients altogether
            differences[precision] = largest_difference(kernels)
        for functions in (kernels, normalizations):
            contestants.update({name: _contestant(function, values.batch) for name, function in functions.items()})
            pairs.append(tuple(functions))
    turns = take_turns(contestants, rounds=values.rounds, seconds=values.seconds)
    print(machine())
    print(title(config))
    print_turns(turns)
    for ours, other in pairs:
        ratios |= print_ratio(turns, ours, other)
    for precision, difference in differences.items():
        print(f"gradients of the two formulations {precision}: largest relative difference {difference:.1e}")
    return ratios


if __name__ == "__main__":
    define_flags()
    run_script(lambda: main(flags.FLAGS))
