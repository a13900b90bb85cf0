"""The networks: equal to the authors' own, with exactly their parameters; the published one by its formula."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from dmcl_tf.config import Config
from dmcl_tf.networks import NETWORKS, r2plus1d
from dmcl_tf.networks.tf1 import load_tf1_variables

GOLDEN = np.load(Path(__file__).parent / "golden" / "network_width8.npz")


def golden_variables():
    return {name.partition("/")[2]: GOLDEN[name] for name in GOLDEN.files if name.startswith("variable/")}


@pytest.fixture(scope="module")
def golden_network():
    network = r2plus1d.authors(10, width=8)
    load_tf1_variables(network, golden_variables())
    return network


def relative_error(actual, expected):
    return np.abs(actual - expected).max() / np.abs(expected).max()


def test_authors_network_at_inference(golden_network):
    outputs = golden_network(GOLDEN["input"], training=False)
    assert relative_error(outputs["features"], GOLDEN["inference/features"]) < 1e-4
    assert relative_error(outputs["logits"], GOLDEN["inference/logits"]) < 1e-4


def test_authors_network_in_training(golden_network):
    weights = golden_network.get_weights()
    with tf.GradientTape() as tape:
        outputs = golden_network(GOLDEN["input"], training=True)
        entropies = tf.nn.sparse_softmax_cross_entropy_with_logits(GOLDEN["labels"], outputs["logits"])
        loss = tf.reduce_mean(entropies)
    gradients = tape.gradient(loss, golden_network.trainable_variables)
    golden_network.set_weights(weights)  # the moving statistics have moved
    assert relative_error(outputs["features"], GOLDEN["training/features"]) < 1e-4
    assert relative_error(outputs["logits"], GOLDEN["training/logits"]) < 1e-4
    assert float(loss) == pytest.approx(float(GOLDEN["training/loss"]), rel=1e-4)
    # Keras lists its variables in the order of the layers, the file in that of the authors' creation: compare by name
    norms = {}
    layers = {id(weight): layer.name for layer in golden_network.layers for weight in layer.weights}
    for variable, gradient in zip(golden_network.trainable_variables, gradients):
        kind = variable.name.split("/")[-1].split(":")[0]
        norms[layers[id(variable)], kind] = float(tf.norm(gradient))
    expected = {}
    kinds = {"conv3d": "convolution", "batch_normalization": "normalization"}
    for name in GOLDEN.files:
        if name.startswith("grad_norm/"):
            _, _, scope, kind = name.split("/")
            base, _, number = scope.rpartition("_") if scope[-1].isdigit() else (scope, "", "0")
            layer = "logits" if scope == "dense" else f"{kinds[base]}_{number}"
            expected[layer, kind] = float(GOLDEN[name])
    assert norms == pytest.approx(expected, rel=1e-3)


def test_parameters_of_the_authors_network():
    network = r2plus1d.authors(10)
    assert network.count_params() == 15_401_418
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == 15_383_882
    # of 30, 60 and 120 classes; only the last layer grows
    last = network.get_layer("logits").count_params()
    for classes, total in ((30, 15_411_678), (60, 15_427_068), (120, 15_457_848)):
        assert network.count_params() - last + last // 10 * classes == total
    layer = network.get_layer("normalization_3")
    assert (layer.momentum, layer.epsilon) == (0.997, 1e-5)


def tran2018_parameters(classes):
    """Counted from Tran et al., Sec. 3.5 and Table 1: each t×d×d kernel becomes a pair of as many parameters."""

    def pair(channels, filters, middle):
        kernels = 9 * channels * middle + 3 * middle * filters
        return kernels + 4 * middle + 4 * filters  # batch normalisation: scale, offset, mean, variance

    def matched(channels, filters):
        return int(3 * 9 * channels * filters / (9 * channels + 3 * filters))

    total = 49 * 3 * 45 + 3 * 45 * 64 + 4 * (45 + 64)
    channels = 64
    for filters in (64, 128, 256, 512):
        for block in range(2):
            total += pair(channels, filters, matched(channels, filters))
            total += pair(filters, filters, matched(filters, filters))
            if block == 0 and channels != filters:
                total += channels * filters + 4 * filters
            channels = filters
    return total + 512 * classes + classes


def test_parameters_of_the_published_network():
    network = r2plus1d.tran2018(400)
    assert network.count_params() == tran2018_parameters(400)
    assert network.count_params() == pytest.approx(33.4e6, rel=0.01)  # R3D-18, whose kernels are matched
    stem = network.get_layer("convolution_0")
    assert tuple(stem.kernel.shape) == (1, 7, 7, 3, 45)


# variant → (number of convolutions, shape at the input of the pooling for clips of 8×48×48)
VARIANTS = {"authors": (38, (1, 2, 2, 32)), "tran2018": (37, (1, 3, 3, 32)), "testing": (2, (8, 12, 12, 8))}


def test_every_variant_has_a_network_and_a_case():
    choices = Config.__dataclass_fields__["variant"].metadata["choices"]
    assert set(VARIANTS) == set(NETWORKS) == set(choices)


@pytest.mark.parametrize("variant", VARIANTS)
def test_shapes_and_types_of_a_variant(variant):
    convolutions, last_shape = VARIANTS[variant]
    network = NETWORKS[variant](7, width=4, batch_norm_momentum=0.9, name="rgb")
    assert network.name == "rgb"
    assert sum(layer.name.startswith("convolution_") for layer in network.layers) == convolutions
    normalizations = [layer for layer in network.layers if layer.name.startswith("normalization_")]
    assert {layer.momentum for layer in normalizations} == {0.9}
    probe = keras.Model(network.input, [network.get_layer("features").input, *network.output.values()])
    last, features, logits = probe(tf.random.stateless_uniform((2, 8, 48, 48, 3), (1, 2), maxval=255.0))
    assert last.shape == (2, *last_shape)
    np.testing.assert_allclose(features, tf.reduce_mean(last, axis=(1, 2, 3)), rtol=1e-5)
    assert features.shape == (2, last_shape[-1])
    assert logits.shape == (2, 7)
    assert features.dtype == logits.dtype == tf.float32
    # clips of another length and of odd, oblong frames
    assert network(tf.zeros((1, 9, 37, 45, 3)))["logits"].shape == (1, 7)


def test_features_and_logits_stay_float32_in_bfloat16():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        network = r2plus1d.authors(3, width=4)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    inputs = tf.random.stateless_uniform((1, 8, 32, 32, 3), (1, 2), maxval=255.0)
    probe = keras.Model(network.input, [network.get_layer("convolution_5").output, *network.output.values()])
    assert [output.dtype for output in probe(inputs)] == [tf.bfloat16, tf.float32, tf.float32]
    assert {tf.as_dtype(weight.dtype) for weight in network.weights} == {tf.float32}


def test_tf1_variables_are_found_under_any_prefix(golden_network):
    renamed = {f"tower/resnet_rgb/{name.partition('/')[2]}:0": array for name, array in golden_variables().items()}
    expected = golden_network.get_weights()
    golden_network.set_weights([np.full_like(weight, 7.0) for weight in expected])
    load_tf1_variables(golden_network, renamed)
    for loaded, weight in zip(golden_network.get_weights(), expected):
        np.testing.assert_array_equal(loaded, weight)


def test_a_missing_superfluous_or_misshapen_tf1_variable_is_named(golden_network):
    variables = golden_variables()
    kernel = "net/conv3d_3/kernel"
    missing = {name: array for name, array in variables.items() if name != kernel}
    with pytest.raises(ValueError, match="no variable for convolution_3/kernel"):
        load_tf1_variables(golden_network, missing)
    with pytest.raises(ValueError, match="net/conv3d_38/kernel has no place"):
        load_tf1_variables(golden_network, {**variables, "net/conv3d_38/kernel": variables[kernel]})
    with pytest.raises(ValueError, match=r"net/conv3d_3/kernel has shape \(3, 1, 1, 8, 8\).*\(1, 3, 3, 8, 8\)"):
        load_tf1_variables(golden_network, {**variables, kernel: variables["net/conv3d_4/kernel"]})
    with pytest.raises(ValueError, match=r"no variable for|has no place|has shape"):
        load_tf1_variables(NETWORKS["testing"](10), variables)
