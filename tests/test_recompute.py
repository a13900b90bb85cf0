"""Gradient checkpointing: the same steps, with some of the forward pass computed twice."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import linear_networks

from benchmarks.train_step import random_batch
from dmcl_tf.config import resolve
from dmcl_tf.errors import InputError
from dmcl_tf.learning.optimizers import make_optimizer
from dmcl_tf.networks import NETWORKS
from dmcl_tf.networks.ensemble import make_ensemble
from dmcl_tf.networks.parts import with_middle
from dmcl_tf.networks.recompute import Recomputed, block_inputs

# large enough for batch normalisation not to blow up rounding
SETTINGS = {"modalities": ("rgb",), "select_by": "rgb", "frame_size": 64, "crop_size": 64, "batch_size": 4}
SETTINGS |= {
    "variant": "testing",
    "warmup_epochs": 0,
    "learning_rate": 1.0,
    "weight_decay": 0.1,
    "value_range": "-1..1",
}


def one_step(**changes):
    """By how much a step moves weights and moving statistics, its figures, and its graph."""
    config = resolve("authors", "full", {**SETTINGS, **changes})
    keras.utils.set_random_seed(1)
    ensemble = make_ensemble(config, 10)
    ensemble.compile(optimizer=make_optimizer(config, 10, ensemble.trainable_variables), jit_compile=False)
    network = ensemble.networks["rgb"]
    before = [np.array(weight) for weight in network.get_weights()]
    step, batch = tf.function(ensemble.train_step), random_batch(config)
    figures = {name: float(value) for name, value in step(batch).items()}
    moved = [after - weight for after, weight in zip(network.get_weights(), before)]
    return moved, figures, step.get_concrete_function(batch).graph


def test_steps_are_the_same_and_blocks_are_computed_twice():
    (kept, figures, graph), (recomputed, same_figures, larger) = (
        one_step(recompute=recompute) for recompute in (False, True)
    )
    assert same_figures == pytest.approx(figures, rel=1e-4)
    for moved, same in zip(kept, recomputed):
        assert np.linalg.norm(same - moved) <= 1e-3 * np.linalg.norm(moved)
        assert np.any(moved)
    # forward convolutions: all of them, then again that before the only block
    count = [sum(o.type.endswith("Conv2D") for o in g.get_operations()) for g in (graph, larger)]
    assert count[1] - count[0] == 1


def test_networks_are_computed_again_one_after_the_other():
    modalities = ("rgb", "depth", "flow")
    graph = one_step(recompute=True, modalities=modalities)[-1]
    waiting = [o for o in graph.get_operations() if o.type == "Identity" and len(o.control_inputs) > 1]
    assert len(waiting) == len(modalities) - 1
    for operation in waiting:  # for its own gradient, and for those of the variables of the network before
        assert any("FusedBatchNormGrad" in awaited.name for awaited in operation.control_inputs)


@pytest.mark.parametrize(("variant", "first"), [("authors", "stem"), ("r2plus1d_18", "stem")])
def test_networks_are_cut_where_their_residual_blocks_begin(variant, first):
    network = NETWORKS[variant](3, width=4)
    inputs = block_inputs(network)
    assert len(inputs) == 8
    producers = {id(layer.output): layer.name for layer in network.layers}
    assert producers[id(inputs[0])].startswith(first)
    assert all(producers[id(tensor)].startswith(("re_lu", "stage")) for tensor in inputs[1:])
    assert [tensor.shape[-1] for tensor in inputs] == [4, 4, 4, 8, 8, 16, 16, 32]


def test_a_network_without_residual_blocks_is_refused():
    with pytest.raises(InputError, match="--recompute: the network of this --variant has no residual blocks"):
        Recomputed(linear_networks(["rgb"], 3)["rgb"])


def test_a_middle_layer_is_among_what_is_kept():
    network = NETWORKS["authors"](3, width=4)
    clips = tf.random.stateless_uniform((2, 4, 32, 32, 3), (1, 2), -1.0, 1.0)
    with_stage3 = with_middle(network, "stage3")
    recomputed = Recomputed(with_stage3)
    outputs = recomputed.rest(recomputed.enter(clips)[-1], training=True)
    np.testing.assert_allclose(outputs["middle"], with_stage3(clips, training=True)["middle"], rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="--recompute: a --middle_layer of the first half is not kept"):
        Recomputed(with_middle(network, "stage2"))
