"""The folded 2-D formulation equals plain 3-D kernels, and batch normalisation an independent formula."""

import numpy as np
import pytest
import tensorflow as tf

from dmcl_tf.networks.layers import BatchNormalization, Convolution

# (kernel_size, strides): every kind of convolution in the networks
CONVOLUTIONS = [
    ((1, 7), (1, 2)),
    ((1, 3), (1, 1)),
    ((1, 3), (1, 2)),
    ((3, 1), (1, 1)),
    ((3, 1), (2, 1)),
    ((1, 1), (1, 1)),
    ((1, 1), (2, 2)),
    ((1, 3), (2, 2)),
]
LAYERS = [
    Convolution(4, (1, 3), (1, 2)),
    BatchNormalization(momentum=0.9, epsilon=1e-5),
    BatchNormalization(momentum=0.9, epsilon=1e-5, relu=True),
]
SHAPES = [(2, 8, 12, 16, 3), (1, 5, 7, 9, 3), (3, 1, 11, 6, 3)]


def plain_conv3d(inputs, kernel, strides):
    """The authors' conv3d_fixed_padding: explicit spatial padding where the spatial stride exceeds 1."""
    temporal_stride, stride = strides
    if stride == 1:
        return tf.nn.conv3d(inputs, kernel, (1, temporal_stride, 1, 1, 1), "SAME")
    margin = (kernel.shape[1] - 1) // 2
    padded = tf.pad(inputs, [[0, 0], [0, 0], [margin, margin], [margin, margin], [0, 0]])
    return tf.nn.conv3d(padded, kernel, (1, temporal_stride, stride, stride, 1), "VALID")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("kernel_size", "strides"), CONVOLUTIONS)
def test_convolution_equals_conv3d(kernel_size, strides, shape):
    inputs = tf.random.stateless_normal(shape, (1, 2))
    layer = Convolution(5, kernel_size, strides)
    with tf.GradientTape() as tape:
        outputs = layer(inputs)
        loss = tf.reduce_sum(outputs**2)
    kernel = tf.convert_to_tensor(layer.kernel)
    assert kernel.shape == (kernel_size[0], kernel_size[1], kernel_size[1], 3, 5)
    with tf.GradientTape() as plain_tape:
        plain_tape.watch(kernel)
        expected = plain_conv3d(inputs, kernel, strides)
        expected_loss = tf.reduce_sum(expected**2)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    gradient = tape.gradient(loss, layer.trainable_variables)[0]
    np.testing.assert_allclose(gradient, plain_tape.gradient(expected_loss, kernel), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(("kernel_size", "strides"), CONVOLUTIONS)
def test_convolution_in_bfloat16(kernel_size, strides):
    inputs = tf.cast(tf.random.stateless_normal((2, 5, 7, 9, 3), (3, 4)), tf.bfloat16)
    layer = Convolution(4, kernel_size, strides, dtype="mixed_bfloat16")
    outputs = layer(inputs)
    assert outputs.dtype == tf.bfloat16
    kernel = tf.convert_to_tensor(layer.kernel)
    assert kernel.dtype == tf.float32  # the variable itself keeps its digits
    rounded = tf.cast(tf.cast(kernel, tf.bfloat16), tf.float32)
    expected = plain_conv3d(tf.cast(inputs, tf.float32), rounded, strides)
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), expected, rtol=0.02, atol=0.03)


def test_convolution_of_clips_of_unknown_size():
    layer = Convolution(2, (1, 3), (1, 2))
    layer(tf.zeros((1, 2, 4, 4, 3)))
    traced = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, None, 3))])
    for shape in SHAPES:
        inputs = tf.random.stateless_normal(shape, (5, 6))
        np.testing.assert_allclose(traced(inputs), layer(inputs), atol=1e-6)


def test_kernels_start_with_variance_of_one_over_fan_in():
    layer = Convolution(64, (1, 3))
    layer.build((None, None, None, None, 32))
    kernel = np.asarray(layer.kernel)
    assert kernel.var() == pytest.approx(1 / (9 * 32), rel=0.05)  # not He's 2 / fan-in
    assert np.abs(kernel).max() < 2.4 / np.sqrt(9 * 32)  # truncated


def test_a_kernel_extending_in_time_and_space_is_refused():
    with pytest.raises(ValueError, match=r"\(3, 3\).*1×k×k or k×1×1"):
        Convolution(4, (3, 3))


@pytest.mark.parametrize("layer", LAYERS)
def test_layers_survive_their_configuration(layer):
    inputs = tf.random.stateless_normal((1, 3, 5, 5, 2), (7, 8))
    expected = layer(inputs)
    copy = type(layer).from_config(layer.get_config())
    copy.build(inputs.shape)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(copy(inputs), expected)


def make_normalization(dtype, **options):
    layer = BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=dtype, **options)
    layer.build((None, None, None, None, 3))
    random = np.random.RandomState(0)
    layer.set_weights([random.uniform(0.5, 2.0, 3).astype(np.float32) for _ in range(4)])
    return layer


def by_name(layer):
    return {weight.name.split("/")[-1].split(":")[0]: np.asarray(weight) for weight in layer.weights}


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.03)])
@pytest.mark.parametrize("shape", SHAPES)
def test_batch_normalization_equals_the_formula(shape, dtype, tolerance):
    layer = make_normalization(dtype)
    before = by_name(layer)
    inputs = tf.cast(3.0 + 2.0 * tf.random.stateless_normal(shape, (9, 10)), layer.compute_dtype)
    x = tf.cast(inputs, tf.float32).numpy().astype(np.float64)

    moved = (x - before["moving_mean"]) / np.sqrt(before["moving_variance"] + 1e-5) * before["gamma"] + before["beta"]
    outputs = layer(inputs, training=False)
    assert outputs.dtype == layer.compute_dtype
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), moved, rtol=tolerance, atol=tolerance)
    assert all(np.array_equal(value, before[name]) for name, value in by_name(layer).items())

    mean, variance = x.mean((0, 1, 2, 3)), x.var((0, 1, 2, 3))
    normalized = (x - mean) / np.sqrt(variance + 1e-5) * before["gamma"] + before["beta"]
    outputs = layer(inputs, training=True)
    np.testing.assert_allclose(tf.cast(outputs, tf.float32), normalized, rtol=tolerance, atol=tolerance)
    after = by_name(layer)
    count = np.prod(shape[:-1])
    unbiased = variance * count / (count - 1)
    np.testing.assert_allclose(after["moving_mean"], 0.9 * before["moving_mean"] + 0.1 * mean, rtol=1e-4)
    np.testing.assert_allclose(after["moving_variance"], 0.9 * before["moving_variance"] + 0.1 * unbiased, rtol=1e-4)
    assert {value.dtype for value in after.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("training", [True, False])
def test_relu_within_batch_normalization(dtype, training):
    inputs = 3.0 + 2.0 * tf.random.stateless_normal(SHAPES[0], (9, 10))
    inputs = tf.cast(inputs, make_normalization(dtype).compute_dtype)
    upstream = tf.cast(tf.random.stateless_normal(SHAPES[0], (11, 12)), inputs.dtype)
    results = []
    for within in (True, False):
        layer = make_normalization(dtype, relu=within)

        @tf.function  # where kernels are fused
        def outputs_and_gradients(layer=layer, within=within):
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = layer(inputs, training=training)
                outputs = outputs if within else tf.nn.relu(outputs)
            watched = [inputs, layer.gamma, layer.beta]
            return outputs, *tape.gradient(outputs, watched, output_gradients=upstream)

        results.append([tf.cast(value, tf.float32) for value in outputs_and_gradients()])
    assert 0.1 < np.mean(results[0][0] == 0) < 0.9
    for fused, apart in zip(*results):
        np.testing.assert_allclose(fused, apart, rtol=0.02 if dtype != "float32" else 1e-5, atol=1e-3)


def test_only_scale_and_offset_are_trainable():
    layer = make_normalization("float32")
    assert [weight.shape for weight in layer.trainable_weights] == [(3,), (3,)]
    assert len(layer.non_trainable_weights) == 2
