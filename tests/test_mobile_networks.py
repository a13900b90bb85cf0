"""Networks made for shipping: their size, their cost, and what the causal variant sees."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tiny import split
from tiny_run import describe_run, make_config, write_noisy_records

from dmcl_tf.errors import InputError
from dmcl_tf.learning import checks
from dmcl_tf.networks import NETWORKS
from dmcl_tf.networks.ensemble import make_networks
from dmcl_tf.networks.folding import multiply_adds
from dmcl_tf.networks.layers import DepthwiseConvolution, MeanUpToNow
from dmcl_tf.runs.sources import load_sources


def test_parameters_and_multiply_adds():
    networks = {name: NETWORKS[name](10) for name in ("authors", "movinet_a0")}
    cost = {name: multiply_adds(network, (8, 224, 224)) for name, network in networks.items()}
    assert cost["movinet_a0"] <= cost["authors"] / 10
    assert cost["movinet_a0"] == 587_532_544  # the sum over the widths, kernels and strides of its layers
    last = networks["movinet_a0"].get_layer("logits").count_params()
    assert networks["movinet_a0"].count_params() - last == movinet_parameters()


def movinet_parameters():
    """Counted from the paper's table of A0: block by block, with squeeze-and-excitation of a quarter."""
    total, channels = 27 * 8 + 4 * 8, 8
    stages = {8: [(24, 1, 5)], 32: [(80, 3, 3)] * 3, 56: [(184, 5, 3), (112, 3, 3), (184, 3, 3), (184, 5, 3)]}
    stages[56] += [(184, 3, 3)] * 3
    stages[104] = [(384, 5, 3), (280, 1, 5), (280, 1, 5), (344, 1, 5)]
    for filters, blocks in stages.items():
        for expanded, temporal, size in blocks:
            squeezed = int(expanded / 4 + 4) // 8 * 8
            total += channels * expanded + 4 * expanded + (size**2 + 4) * expanded
            total += (temporal + 4) * expanded if temporal > 1 else 0
            total += (expanded + 1) * squeezed + (squeezed + 1) * expanded
            total += expanded * filters + 4 * filters
            channels = filters
    return total + 104 * 480 + 4 * 480


def test_a_causal_network_does_not_see_what_is_to_come():
    clips = tf.random.stateless_uniform((1, 6, 32, 32, 3), (1, 2), maxval=255.0)
    later = tf.concat([clips[:, :4], 255.0 - clips[:, 4:]], axis=1)
    network = NETWORKS["movinet_a0_causal"](3, 8)
    activations = keras.Model(network.input, network.get_layer("stage6").output)
    before, after = activations(clips), activations(later)
    changes = [float(tf.reduce_max(tf.abs(before[:, t] - after[:, t]))) for t in range(6)]
    assert max(changes[:4]) <= 1e-3 * min(changes[4:])
    assert min(changes[4:]) > 0


@pytest.mark.parametrize(("kernel", "stride", "causal"), [((1, 3), 2, False), ((3, 1), 1, False), ((3, 1), 1, True)])
def test_depthwise_convolutions_by_hand(kernel, stride, causal):
    clips = tf.random.stateless_normal((2, 5, 6, 6, 3), (1, 2))
    layer = DepthwiseConvolution(kernel, stride, causal=causal)
    outputs, weights = layer(clips).numpy(), layer.kernel.numpy()[..., 0]
    expected = np.zeros_like(outputs)
    x = clips.numpy()
    for t, i, j in np.ndindex(*outputs.shape[1:4]):
        for a, b in np.ndindex(*weights.shape[:2]):
            if kernel[0] == 1:  # "SAME" pads an even side of stride 2 behind only
                place = (t, i * stride + a - (stride == 1), j * stride + b - (stride == 1))
            else:
                place = (t + a - (2 if causal else 1), i, j)
            if all(0 <= p < size for p, size in zip(place, x.shape[1:4])):
                expected[:, t, i, j] += x[(slice(None), *place)] * weights[a, b]
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


def test_the_mean_up_to_now():
    clips = tf.constant([1.0, 3.0, 8.0])[None, :, None, None, None] * tf.ones((1, 3, 2, 2, 1))
    np.testing.assert_allclose(tf.squeeze(MeanUpToNow(causal=True)(clips)), [1.0, 2.0, 4.0])
    np.testing.assert_allclose(tf.squeeze(MeanUpToNow()(clips)), 4.0)


@pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # Keras 3 saves TensorFlow's variables
def test_a_backbone_starts_from_a_file_of_weights(tmp_path):
    records = write_noisy_records(
        tmp_path / "records", videos={"train": 2, "validation": 1, "test": 1}, lengths=(8,), classes=2
    )
    keras.utils.set_random_seed(5)
    backbone = keras.applications.MobileNetV2(
        input_shape=(None, None, 3), alpha=1 / 16, include_top=False, weights=None
    )
    path = tmp_path / "mobilenet.weights.h5"
    backbone.save_weights(path)
    settings = {"modalities": ("rgb",), "select_by": "rgb", "batch_size": 2, "initial_weights": (str(path),)}
    config = make_config(**settings, networks=("rgb:mobilenet_v2/4",))
    run = describe_run(records, config)
    networks = make_networks(config, 2)
    (sentence,) = load_sources(networks, run)
    assert sentence.endswith("; its head is new, for 2 classes")
    clips = tf.random.stateless_uniform((2, 8, 32, 32, 3), (1, 2))
    images = backbone(tf.reshape(clips, (16, 32, 32, 3)), training=False)
    expected = tf.reduce_mean(tf.reshape(images, (2, -1, images.shape[-1])), axis=1)
    np.testing.assert_allclose(networks["rgb"](clips)["features"], expected, rtol=1e-4, atol=1e-5)
    other = make_config(**settings)
    with pytest.raises(InputError, match="rgb: its network has no backbone of keras"):
        checks.check(describe_run(records, other), records, split(records), replicas=1)
    wider = make_config(**settings, networks=("rgb:mobilenet_v2/8",))
    with pytest.raises(InputError, match=r"--initial_weights=.*weights\.h5: rgb: .*expected weights of mobilenetv2"):
        load_sources(make_networks(wider, 2), describe_run(records, wider))
