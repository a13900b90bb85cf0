"""Networks for inference elsewhere: normalisation folded into kernels, and planes instead of volumes.

Converters and runtimes know 2-D convolutions and pooling best; some know no batch normalisation or pooling of
(B, T, H, W, C) at all. A folded network has the same logits up to rounding, and about two layers in three.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from dmcl_tf.networks.layers import BatchNormalization, Convolution


class BiasedConvolution(Convolution):
    """A convolution with a bias and perhaps ReLU, which runtimes make one operation of.

    Args:
        relu: whether max(x, 0) follows.
        **kwargs: of `Convolution`.
    """

    def __init__(self, *, relu: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.relu = relu

    def build(self, input_shape):
        """Creates kernel and bias."""
        super().build(input_shape)
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")

    def convolve(self, images, kernel, strides, padding):
        """As of `Convolution`, with bias and ReLU on the images themselves."""
        outputs = super().convolve(images, kernel, strides, padding) + tf.convert_to_tensor(self.bias)
        return tf.nn.relu(outputs) if self.relu else outputs


class PlanarPooling(keras.layers.MaxPooling3D):
    """Maximum pooling over space alone, as 2-D pooling of B·T images."""

    def call(self, inputs):
        """(B, T, H, W, C) → (B, T, H / stride, W / stride, C)."""
        shape, padding = inputs.shape, self.padding.upper()
        images = tf.reshape(inputs, (-1, *shape[2:]))
        images = tf.nn.max_pool2d(images, self.pool_size[1:], self.strides[1:], padding)
        return tf.reshape(images, (-1, shape[1], *images.shape[1:]))


def fold(network: keras.Model, clip: tuple[int, int, int]) -> keras.Model:
    """The same network for inference on clips of one size, as far as its layers are known; others are kept.

    Args:
        network: in float32.
        clip: frames, height and width.
    """
    convolutions = {id(layer.output): layer for layer in network.layers if isinstance(layer, Convolution)}
    folded = {
        convolutions[id(layer.input)].name: layer
        for layer in network.layers
        if isinstance(layer, BatchNormalization) and id(layer.input) in convolutions
    }

    def replace(layer):
        config = layer.get_config()
        if isinstance(layer, Convolution) and layer.name in folded:
            return BiasedConvolution(relu=folded[layer.name].relu, **config)
        if layer in folded.values():
            return keras.layers.Activation("linear", name=layer.name)
        if isinstance(layer, keras.layers.MaxPooling3D) and (layer.pool_size[0], layer.strides[0]) == (1, 1):
            return PlanarPooling.from_config(config)
        return type(layer).from_config(config)

    clips = keras.Input((*clip, 3), name="clips")
    clone = keras.models.clone_model(network, input_tensors=clips, clone_function=replace)
    for layer in network.layers:
        if layer.name in folded:
            clone.get_layer(layer.name).set_weights(_fold_weights(layer, folded[layer.name]))
        elif layer.get_weights() and layer not in folded.values():
            clone.get_layer(layer.name).set_weights(layer.get_weights())
    return clone


def _fold_weights(convolution: Convolution, normalization: BatchNormalization) -> list[np.ndarray]:
    """Kernel and bias of a convolution and the normalisation after it."""
    (kernel,) = convolution.get_weights()
    gamma, beta, mean, variance = (weights.astype(np.float64) for weights in normalization.get_weights())
    scale = gamma / np.sqrt(variance + normalization.epsilon)
    return [(kernel * scale).astype(np.float32), (beta - mean * scale).astype(np.float32)]


def multiply_adds(network: keras.Model, clip: tuple[int, int, int]) -> int:
    """Multiplications with addition in the convolutions and matrix products of one clip.

    Args:
        network: a network of one modality.
        clip: frames, height and width.
    """
    graph = tf.function(network).get_concrete_function(tf.TensorSpec((1, *clip, 3))).graph
    total = 0
    for operation in graph.get_operations():
        if operation.type in ("Conv2D", "Conv3D", "MatMul", "BatchMatMulV2"):  # the last is Keras 3's
            *kernel, _ = operation.inputs[1].shape  # all that one output is summed over
            total += operation.outputs[0].shape.num_elements() * int(np.prod(kernel))
        elif operation.type == "DepthwiseConv2dNative":
            total += operation.outputs[0].shape.num_elements() * int(np.prod(operation.inputs[1].shape[:2]))
    return total
