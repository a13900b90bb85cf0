"""Streams connected by products (Garcia et al. 2018), which one network of the other makes different."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from synthetic_runs import right_in, write_run
from tiny_run import TRAINING, make_config, write_noisy_records

from dmcl_tf import serving
from dmcl_tf.config import Config
from dmcl_tf.datasets import DATASETS
from dmcl_tf.errors import InputError
from dmcl_tf.evaluate import EvaluateSettings, evaluate
from dmcl_tf.export import ExportSettings, export
from dmcl_tf.networks.ensemble import make_ensemble
from dmcl_tf.runs.checkpoints import restore_ensemble
from dmcl_tf.train import TrainSettings, train


@pytest.fixture(scope="module")
def ensemble():
    settings = {"method": "modality_distillation", "modalities": ("rgb", "hallucination"), "variant": "authors"}
    keras.utils.set_random_seed(2)
    return make_ensemble(make_config(**settings, width=2, connection=True), 3)


def test_the_second_network_multiplies_into_the_first(ensemble):
    """By hand through the layers of the first stage; the rest is checked by what reaches it."""
    clips = tf.random.stateless_uniform((1, 8, 16, 16, 3), (1, 2), -1.0, 1.0)
    outputs = ensemble.forward({"rgb": clips})
    receiver, giver = ensemble.networks.values()
    np.testing.assert_allclose(outputs.logits[1], giver(clips)["logits"], rtol=1e-4, atol=1e-6)
    alone = receiver(clips)["logits"]
    assert np.abs(outputs.logits[0] - alone).max() > 1e-5 * np.abs(alone).max()
    np.testing.assert_allclose(ensemble.served("rgb")(clips)["logits"], outputs.logits[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ensemble({"rgb": clips})["rgb"], outputs.logits[0], rtol=1e-4, atol=1e-6)

    def walk(x, given):
        """The receiver's layers one after the other, with the product in the residual of each second block."""
        tensors, injected, ended = {id(receiver.input): x}, {}, 0
        for layer in receiver.layers[1:]:
            entering = tensors if isinstance(layer, keras.layers.Add) else {**tensors, **injected}
            arguments = tf.nest.map_structure(lambda tensor, entering=entering: entering[id(tensor)], layer.input)
            value = tensors[id(layer.output)] = layer(arguments)
            if isinstance(layer, keras.layers.ReLU):
                ended += 1
                if ended % 2:  # the first block of a stage
                    injected[id(layer.output)] = value + arguments * given[ended // 2]
        return tensors[id(receiver.output["logits"])]

    ends = [layer.output for layer in giver.layers if isinstance(layer, keras.layers.ReLU)]
    given = keras.Model(giver.input, ends)(clips)[::2]
    np.testing.assert_allclose(walk(clips, given), outputs.logits[0], rtol=1e-4, atol=1e-6)


def test_what_cannot_be_connected():
    settings = {"method": "modality_distillation", "modalities": ("rgb", "depth"), "connection": True}
    with pytest.raises(InputError, match="--connection: the networks of rgb and depth must be of one kind and width"):
        make_ensemble(make_config(**settings), 3)
    with pytest.raises(InputError, match="must be of one kind and width, with two residual blocks in each stage"):
        make_ensemble(make_config(**settings, variant="movinet_a0"), 3)
    with pytest.raises(InputError, match="--connection: --method=dmcl has no two streams"):
        Config(connection=True)
    with pytest.raises(InputError, match="leave out --recompute"):
        make_config(**settings, recompute=True)


def test_connected_networks_have_no_files_of_their_own(tmp_path):
    right = {"rgb": right_in((0, 3)), "hallucination": right_in((0, 2))}
    folder = write_run(tmp_path, right, method="modality_distillation", connection=True)
    with pytest.raises(InputError, match="--formats: connected networks are exported as a SavedModel alone"):
        export(ExportSettings(folder.directory, formats=("savedmodel", "weights")))


def test_a_connected_run_is_trained_evaluated_and_served(tmp_path):
    """Both networks learn, and a signature of the first says what the second multiplies into it."""
    records = write_noisy_records(tmp_path / "records")
    settings = {**TRAINING, "method": "modality_distillation", "modalities": ("rgb", "hallucination"), "epochs": 1}
    config = make_config(**{**settings, "variant": "authors", "width": 2, "connection": True})
    protocol = DATASETS["custom"].protocol()
    folder = train(TrainSettings(config, "custom", records.directory, protocol, directory=tmp_path / "run"))
    assert np.isfinite(folder.read_history()[["rgb_loss", "hallucination_loss"]].to_numpy()).all()
    assert evaluate(EvaluateSettings(folder.directory)).evaluated.videos == 7
    ensemble = restore_ensemble(folder, "best")
    clips = tf.constant(np.random.RandomState(0).randint(0, 256, (2, 8, 40, 40, 3)), tf.uint8)
    expected = ensemble.forward({"rgb": serving.prepare_clips(clips, config)}).logits
    served = tf.saved_model.load(str(export(ExportSettings(folder.directory, tmp_path / "model")))).signatures
    for logits, name in zip(expected, ("rgb", "hallucination")):
        np.testing.assert_allclose(served[name](rgb=clips)["logits"], logits, rtol=1e-4, atol=1e-4)
    alone = ensemble.networks["rgb"](serving.prepare_clips(clips, config))["logits"]
    assert np.abs(expected[0] - alone).max() > 1e-3
