"""The ensemble: any subset of modalities, the joint step, its figures, and several devices."""

import itertools
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from method_formulas import FORMULAS
from tiny import linear_networks

from dmcl_tf import methods
from dmcl_tf.config import Config, resolve
from dmcl_tf.learning.optimizers import make_optimizer
from dmcl_tf.methods import LOSSES, Step
from dmcl_tf.networks import NETWORKS
from dmcl_tf.networks.ensemble import NOT_FINITE, ModalityEnsemble, make_ensemble, stack
from dmcl_tf.registry import METHODS

ROOT = Path(__file__).parents[1]
MODALITIES = ("rgb", "depth", "flow")
CLASSES = 4
RATE, DECAY = 0.5, 1e-4


def make_batch(modalities=MODALITIES, batch=6):
    clips = {
        modality: tf.random.stateless_normal((batch, 2, 4, 4, 3), (seed, 1)) * 10.0
        for seed, modality in enumerate(modalities)
    }
    labels = tf.random.stateless_uniform((batch,), (9, 9), maxval=CLASSES, dtype=tf.int64)
    return {"clips": clips, "label": labels}


def method_of(name):
    """The loss of a method with some weights."""
    weights = {"temperature": 3.0, "label_weight": 0.75, "soft_weight": 2.5, "beta": 0.6}
    return partial(LOSSES[name], **{weight: weights[weight] for weight in METHODS[name].weights})


def linear_ensemble(name, modalities=MODALITIES, **options):
    return ModalityEnsemble(linear_networks(modalities, CLASSES), method_of(name), **options)


def compiled(ensemble, **settings):
    config = resolve("authors", "full", {"learning_rate": RATE, "warmup_epochs": 0, **settings})
    optimizer = make_optimizer(config, 10, ensemble.trainable_variables)
    ensemble.compile(optimizer=optimizer, jit_compile=False)
    return ensemble


def fit(ensemble, batch, epochs=1):
    """Trains with one step per epoch on the same batch; returns the reported figures by name, one per epoch."""
    dataset = tf.data.Dataset.from_tensors(batch).repeat()
    return ensemble.fit(dataset, epochs=epochs, steps_per_epoch=1, verbose=0).history


@pytest.mark.parametrize("size", [1, 2, 3])
def test_any_subset_of_the_modalities(size):
    ensemble = linear_ensemble("dmcl")
    clips = make_batch()["clips"]
    every = ensemble(clips)
    for subset in itertools.permutations(MODALITIES, size):
        logits = ensemble({modality: clips[modality] for modality in subset})
        assert list(logits) == [modality for modality in MODALITIES if modality in subset]
        for modality in subset:
            assert logits[modality].shape == (6, CLASSES)
            np.testing.assert_array_equal(logits[modality], every[modality])
            np.testing.assert_array_equal(logits[modality], ensemble.networks[modality](clips[modality])["logits"])


def test_unknown_and_no_modalities_are_refused():
    ensemble = linear_ensemble("dmcl")
    with pytest.raises(ValueError, match=r"infrared.*expected one or more of rgb, depth, flow"):
        ensemble({"infrared": tf.zeros((1, 2, 4, 4, 3))})
    with pytest.raises(ValueError, match="expected one or more of rgb, depth, flow"):
        ensemble({})


def teacher_of_sound():
    """A frozen network of a modality that no student has."""
    network = linear_networks(["sound"], CLASSES)["sound"]
    return lambda clips: stack([network(clips["sound"])])


def gradients_by_hand(ensemble, batch, decay):
    """∂/∂v of mean over samples of the sum over networks, + decay · v for kernels."""
    variables = ensemble.trainable_variables
    with tf.GradientTape() as tape:
        outputs = stack([ensemble.networks[m](batch["clips"][m], training=True) for m in ensemble.modalities])
        losses = ensemble.method(outputs, batch["label"], ensemble._given(batch["clips"]))
        loss = tf.reduce_sum(losses) / len(batch["label"])
    gradients = tape.gradient(loss, variables)
    return [g + decay * v if len(v.shape) > 1 else g for g, v in zip(gradients, variables)], loss


@pytest.mark.parametrize(("name", "count"), [*((name, 3) for name in FORMULAS), ("dmcl", 2), ("dmcl", 4)])
def test_a_step_follows_the_gradient_of_the_mean_loss_and_the_weight_decay(name, count):
    modalities = ("rgb", "depth", "flow", "infrared")[:count]
    ensemble = compiled(linear_ensemble(name, modalities, weight_decay=0.1, teacher=teacher_of_sound()))
    batch = make_batch((*modalities, "sound"))
    before = [tf.identity(variable) for variable in ensemble.trainable_variables]
    assert len(before) == 2 * count
    gradients, loss = gradients_by_hand(ensemble, batch, 0.1)
    figures = fit(ensemble, batch)
    assert figures["loss"][0] == pytest.approx(float(loss), rel=1e-5)
    for variable, value, gradient in zip(ensemble.trainable_variables, before, gradients):
        np.testing.assert_allclose(variable, value - RATE * gradient, rtol=1e-4, atol=1e-5)


def test_methods_are_given_the_features():
    def mean_of_features(outputs, labels, step):
        return tf.reduce_mean(outputs.features, axis=2)

    ensemble = compiled(ModalityEnsemble(linear_networks(MODALITIES, CLASSES), mean_of_features))
    batch = make_batch()
    expected = sum(float(tf.reduce_mean(clips)) for clips in batch["clips"].values())
    figures = ensemble.evaluate(tf.data.Dataset.from_tensors(batch), verbose=0, return_dict=True)
    assert figures["loss"] == pytest.approx(expected, rel=1e-5)


def test_weight_decay_of_the_network_acts_on_kernels_only():
    config = resolve("authors", "full", {"modalities": ("rgb",), "width": 4, "weight_decay": 0.1})
    ensemble = make_ensemble(config, 3)
    with tf.GradientTape() as tape:
        loss = ensemble._decay()
    kernels = [v for v in ensemble.trainable_variables if len(v.shape) > 1]
    assert len(kernels) == 39  # 38 convolutions and one dense layer
    expected = 0.1 * sum(float(np.sum(np.asarray(tf.identity(v), np.float64) ** 2)) / 2 for v in kernels)
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    for variable, gradient in zip(ensemble.trainable_variables, tape.gradient(loss, ensemble.trainable_variables)):
        if len(variable.shape) > 1:
            np.testing.assert_allclose(gradient, 0.1 * tf.identity(variable), rtol=1e-5)
        else:
            assert gradient is None


@pytest.mark.parametrize("optimizer", Config.__dataclass_fields__["optimizer"].metadata["choices"])
def test_weights_decay_once_with_every_optimizer(optimizer):
    config = resolve("authors", "full", {"optimizer": optimizer, "variant": "testing", "modalities": ("rgb",)})
    ensemble = make_ensemble(config, 2)
    decoupled = optimizer in ("sgdw", "lamb")
    assert ensemble.weight_decay == (0.0 if decoupled else 1e-4)
    assert (float(ensemble._decay()) == 0.0) == decoupled


def test_figures_of_a_step():
    ensemble = compiled(linear_ensemble("dmcl"))
    batch = make_batch()
    outputs = ensemble.forward(batch["clips"])
    losses = method_of("dmcl")(outputs, batch["label"], Step()).numpy()
    entropies = methods.cross_entropy(outputs.logits, batch["label"]).numpy()
    for figures in (ensemble.evaluate(tf.data.Dataset.from_tensors(batch), verbose=0, return_dict=True), None):
        figures = figures or {name: values[0] for name, values in fit(ensemble, batch).items()}
        assert figures["loss"] == pytest.approx(losses.sum() / 6, rel=1e-5)
        for index, modality in enumerate(MODALITIES):
            expected = {
                "loss": losses[index].mean(),
                "cross_entropy": entropies[index].mean(),
                "accuracy": np.mean(outputs.logits[index].numpy().argmax(axis=1) == batch["label"].numpy()),
                "wins": np.mean(entropies.argmin(axis=0) == index),
            }
            actual = {kind: figures[f"{modality}_{kind}"] for kind in expected}
            assert actual == pytest.approx(expected, rel=1e-5)
        assert sum(figures[f"{modality}_wins"] for modality in MODALITIES) == pytest.approx(1.0)


def test_figures_start_afresh_in_every_epoch():
    ensemble = compiled(linear_ensemble("independent"), momentum=0.0)
    batch = make_batch()
    losses = fit(ensemble, batch, epochs=3)["loss"]
    ensemble.reset_metrics()
    after = ensemble.evaluate(tf.data.Dataset.from_tensors(batch), verbose=0, return_dict=True)["loss"]
    reference = compiled(linear_ensemble("independent"), momentum=0.0)
    assert len(set(losses)) == 3
    reference.set_weights(ensemble.get_weights())
    assert after == pytest.approx(float(gradients_by_hand(ensemble, batch, 0.0)[1]), rel=1e-5)
    # the second epoch's loss is that of its own step alone
    assert fit(ensemble, batch)["loss"][0] == pytest.approx(after, rel=1e-5)


def test_a_loss_that_is_not_finite_stops_the_training():
    ensemble = compiled(linear_ensemble("dmcl"))
    batch = make_batch()
    batch["clips"]["depth"] *= np.inf
    with pytest.raises(tf.errors.InvalidArgumentError, match=NOT_FINITE):
        fit(ensemble, batch)


def test_the_teacher_is_no_part_of_the_model():
    network = linear_networks(["sound"], CLASSES)["sound"]
    method, teacher = method_of("generalized_distillation"), lambda clips: stack([network(clips["sound"])])
    ensemble = compiled(linear_ensemble("generalized_distillation", ["rgb"], teacher=teacher))
    assert len(network.variables) == len(ensemble.trainable_variables) == 2
    assert not {id(variable) for variable in network.variables} & {id(variable) for variable in ensemble.variables}
    before = [tf.identity(variable) for variable in network.variables]
    batch = make_batch(("rgb", "sound"))
    expected = method(ensemble.forward(batch["clips"]), batch["label"], Step(teacher=teacher(batch["clips"])))
    figures = ensemble.evaluate(tf.data.Dataset.from_tensors(batch), verbose=0, return_dict=True)
    assert figures["loss"] == pytest.approx(float(tf.reduce_mean(expected)), rel=1e-5)
    assert fit(ensemble, batch)["loss"][0] == pytest.approx(figures["loss"], rel=1e-5)
    for variable, value in zip(network.variables, before):
        np.testing.assert_array_equal(variable, value)


def seed_as_loss(outputs, labels, step):
    """A method whose loss tells its seed."""
    return tf.cast(step.seed[0] % 65521, tf.float32) + 0.0 * tf.reduce_sum(outputs.logits, axis=2)


def test_seeds_are_of_the_run_and_the_step():
    def losses(seed, epochs):
        ensemble = compiled(ModalityEnsemble(linear_networks(["rgb"], CLASSES), seed_as_loss, seed=seed))
        batch = make_batch(["rgb"])
        return [*fit(ensemble, batch, epochs)["loss"], *fit(ensemble, batch, 2)["loss"]]

    first = losses(3, epochs=2)
    assert len(set(first)) == 4
    assert losses(3, epochs=1) == first[:3]  # continued: the step counts, not the call
    assert not set(losses(4, epochs=2)) & set(first)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_ensemble_of_a_run_has_its_method_weights_and_seed(name):
    settings = {"temperature": 5.0, "loser_ground_truth_weight": 0.25, "distillation_weight": 0.5, "beta": 0.125}
    teacher = {"teacher_run": "somewhere"} if METHODS[name].needs_teacher else {}
    run = {"method": name, "variant": "testing", "modalities": ("rgb", "depth"), "seed": 7}
    config = resolve("authors", "full", {**run, **settings, **teacher})
    ensemble = make_ensemble(config, CLASSES)
    assert (ensemble.modalities, ensemble.seed, ensemble.teacher) == (("rgb", "depth"), 7, None)
    assert (ensemble.method.func, ensemble.method.keywords) == (LOSSES[name], config.loss_weights())
    assert ensemble.networks["depth"].count_params() == NETWORKS["testing"](CLASSES).count_params()


def test_precision_of_a_run():
    config = resolve("authors", "full", {"variant": "testing", "modalities": ("rgb",), "precision": "bfloat16"})
    try:
        ensemble = make_ensemble(config, 2)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    logits = ensemble({"rgb": tf.ones((1, 8, 32, 32, 3))})["rgb"]
    assert logits.dtype == tf.float32
    assert ensemble.networks["rgb"].get_layer("convolution_1").compute_dtype == "bfloat16"
    assert {tf.as_dtype(variable.dtype) for variable in ensemble.trainable_variables} == {tf.float32}


@pytest.fixture(scope="module")
def two_devices(tmp_path_factory):
    """What tests/two_devices.py printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, str(ROOT / "tests" / "two_devices.py"), str(tmp_path_factory.mktemp("records"))]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-3000:]
    result = json.loads(finished.stdout.splitlines()[-1])
    assert result["devices"] == 2
    return result


def test_two_devices_take_the_same_steps_as_one(two_devices):
    """The loss is divided by the global batch: three steps with momentum and weight decay end at the same weights."""
    result = two_devices["without_batch_statistics"]
    assert result["difference"]["trainable"] < 1e-5
    assert result["two"] == pytest.approx(result["one"], rel=1e-4)
    assert result["two"]["rgb_wins"] + result["two"]["depth_wins"] == pytest.approx(1.0)


def test_two_devices_clip_the_sum_of_their_gradients(two_devices):
    """Cut to a norm that each device's share exceeds, and the whole."""
    result = two_devices["clipped"]
    assert result["difference"]["trainable"] < 1e-5
    assert result["two"] == pytest.approx(result["one"], rel=1e-4)
    assert result["one"]["loss"] != pytest.approx(two_devices["without_batch_statistics"]["one"]["loss"], rel=1e-4)


def test_two_devices_train_with_batch_statistics_as_one(two_devices):
    """Each device has the same half of the batch, so that their batch statistics are those of the whole."""
    result = two_devices["with_batch_statistics"]
    assert result["difference"]["trainable"] < 1e-3
    assert result["difference"]["moving"] < 1e-3
    assert result["two"] == pytest.approx(result["one"], rel=1e-3)


def test_two_devices_that_synchronize_batch_statistics_train_as_one(two_devices):
    """And compute their networks again for the gradients."""
    result = two_devices["synchronized"]
    assert result["difference"]["trainable"] < 1e-3
    assert result["difference"]["moving"] < 1e-3
    assert result["two"] == pytest.approx(result["one"], rel=1e-4)


@pytest.mark.parametrize(("split", "videos"), [("validation", 1), ("test", 3)])
def test_two_devices_evaluate_as_one(two_devices, split, videos):
    result = two_devices["evaluation"][split]
    assert result["two"] == result["one"] == [f"{split}-{k}" for k in range(videos)]
    assert result["labels"] == list(range(videos))
    assert result["difference"] < 1e-4


def test_two_devices_are_taught_as_one(two_devices):
    result = two_devices["taught"]
    assert result["difference"]["trainable"] < 1e-5
    assert result["two"] == pytest.approx(result["one"], rel=1e-4)


def test_two_devices_draw_apart(two_devices):
    assert len(set(map(tuple, two_devices["seeds"]))) == 2
