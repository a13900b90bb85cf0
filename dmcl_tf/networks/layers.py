"""Convolution and normalisation on video tensors (B, T, H, W, C), as 2-D kernels on folded axes.

A 1×k×k convolution is a 2-D convolution of B·T images; a k×1×1 convolution is a 2-D convolution over (T, H·W). The
results are those of 3-D kernels. In speed the two were equal within a few percent where measured
(`benchmarks/convolution.py`); 3-D kernels in bfloat16 gave a gradient of 1e37 on one processor, these never did.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

import keras
import tensorflow as tf

# Whether batch normalisation updates its moving statistics in training; of each replica's thread
_STATISTICS_MOVE = contextvars.ContextVar("statistics_move", default=True)


@contextlib.contextmanager
def recomputing() -> Iterator[None]:
    """Within it, layers compute what they have computed before: moving statistics do not move a second time."""
    token = _STATISTICS_MOVE.set(False)
    try:
        yield
    finally:
        _STATISTICS_MOVE.reset(token)


@keras.saving.register_keras_serializable("dmcl_tf")
class Convolution(keras.layers.Layer):
    """A 1×k×k (spatial) or k×1×1 (temporal) convolution without bias.

    Padding as in the authors' resnet_3D.py: a strided spatial kernel sees a symmetric explicit zero padding of
    (k - 1) / 2, all others TensorFlow's "SAME". Kernels are drawn from a truncated normal with variance 1 / fan-in.

    Args:
        filters: number of output channels.
        kernel_size: (temporal, spatial) extent; one of the two is 1.
        strides: (temporal, spatial) stride.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        ValueError: where both extents exceed 1.
    """

    def __init__(self, filters: int, kernel_size: tuple[int, int], strides: tuple[int, int] = (1, 1), **kwargs):
        super().__init__(**kwargs)
        if min(kernel_size) != 1:
            raise ValueError(f"kernel_size {kernel_size}: a factorised convolution is 1×k×k or k×1×1")
        self.filters = filters
        self.kernel_size = tuple(kernel_size)
        self.strides = tuple(strides)

    def build(self, input_shape):
        """Creates the kernel, of shape (temporal, spatial, spatial, C, filters)."""
        temporal, spatial = self.kernel_size
        self.kernel = self.add_weight(
            name="kernel",
            shape=(temporal, spatial, spatial, input_shape[-1], self.filters),
            initializer=keras.initializers.VarianceScaling(),
        )
        self.built = True

    def call(self, inputs):
        """(B, T, H, W, C) → (B, T / temporal stride, H / spatial stride, W / spatial stride, filters)."""
        kernel = tf.cast(tf.convert_to_tensor(self.kernel), inputs.dtype)
        temporal, spatial, _, *channels = kernel.shape
        if temporal == 1:  # reshaped, not sliced: the gradient of a slice is a copy of the kernel
            return self._spatial(inputs, tf.reshape(kernel, (spatial, spatial, *channels)))
        return self._temporal(inputs, tf.reshape(kernel, (temporal, 1, *channels)))

    def _spatial(self, inputs, kernel):
        temporal_stride, stride = self.strides
        if self.kernel_size[1] == 1 and max(self.strides) > 1:
            # such a kernel sees only these pixels; with one copy of them, backward too, a step is 2 % faster
            inputs, stride = inputs[:, ::temporal_stride, ::stride, ::stride], 1
        elif temporal_stride > 1:
            inputs = inputs[:, ::temporal_stride]
        _, time, height, width, channels = _dimensions(inputs)
        images = tf.reshape(inputs, (-1, height, width, channels))
        margin = (self.kernel_size[1] - 1) // 2
        if stride > 1:
            # padded by hand: explicit padding inside the convolution misses the fast CPU kernels
            images = tf.pad(images, [[0, 0], [margin, margin], [margin, margin], [0, 0]])
        outputs = self.convolve(images, kernel, stride, "SAME" if stride == 1 else "VALID")
        _, height, width, _ = _dimensions(outputs)
        return tf.reshape(outputs, (-1, time, height, width, self.filters))

    def _temporal(self, inputs, kernel):
        _, time, height, width, channels = _dimensions(inputs)
        columns = tf.reshape(inputs, (-1, time, height * width, channels))
        outputs = self.convolve(columns, kernel, (self.strides[0], 1), "SAME")
        return tf.reshape(outputs, (-1, _dimensions(outputs)[1], height, width, self.filters))

    def convolve(self, images, kernel, strides, padding):
        """The 2-D convolution that both kinds are: images (B, H, W, C) and a kernel (h, w, C, filters)."""
        return tf.nn.conv2d(images, kernel, strides, padding=padding)

    def get_config(self):
        """The constructor's arguments."""
        config = {"filters": self.filters, "kernel_size": self.kernel_size, "strides": self.strides}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("dmcl_tf")
class DepthwiseConvolution(keras.layers.Layer):
    """A 1×k×k (spatial) or k×1×1 (temporal) convolution of each channel alone, without bias, padded with zeros.

    Args:
        kernel_size: (temporal, spatial) extent; one of the two is 1.
        stride: in space, of a spatial kernel.
        causal: whether a temporal kernel reaches back only.
        **kwargs: of `keras.layers.Layer`.
    """

    def __init__(self, kernel_size: tuple[int, int], stride: int = 1, causal: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size, self.stride, self.causal = tuple(kernel_size), stride, causal

    def build(self, input_shape):
        """Creates the kernel, of shape (k, k or 1, C, 1)."""
        temporal, spatial = self.kernel_size
        self.kernel = self.add_weight(
            name="kernel",
            shape=(spatial, spatial, input_shape[-1], 1) if temporal == 1 else (temporal, 1, input_shape[-1], 1),
            # by the fan-in of one channel, which Keras cannot know
            initializer=keras.initializers.TruncatedNormal(stddev=(temporal * spatial**2) ** -0.5),
        )
        self.built = True

    def call(self, inputs):
        """(B, T, H, W, C) → (B, T, H / stride, W / stride, C)."""
        kernel = tf.cast(tf.convert_to_tensor(self.kernel), inputs.dtype)
        _, time, height, width, channels = _dimensions(inputs)
        strides = (1, self.stride, self.stride, 1)
        if self.kernel_size[0] == 1:
            images = tf.reshape(inputs, (-1, height, width, channels))
            outputs = tf.nn.depthwise_conv2d(images, kernel, strides, "SAME")
            return tf.reshape(outputs, (-1, time, *_dimensions(outputs)[1:]))
        columns, padding = tf.reshape(inputs, (-1, time, height * width, channels)), "SAME"
        if self.causal:
            columns, padding = tf.pad(columns, [[0, 0], [self.kernel_size[0] - 1, 0], [0, 0], [0, 0]]), "VALID"
        outputs = tf.nn.depthwise_conv2d(columns, kernel, (1, 1, 1, 1), padding)
        return tf.reshape(outputs, (-1, time, height, width, channels))

    def get_config(self):
        """The constructor's arguments."""
        config = {"kernel_size": self.kernel_size, "stride": self.stride, "causal": self.causal}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("dmcl_tf")
class MeanUpToNow(keras.layers.Layer):
    """The mean over space and time, or, if causal, over space and all frames up to each: → (B, 1 or T, 1, 1, C)."""

    def __init__(self, causal: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.causal = causal

    def call(self, inputs):
        """(B, T, H, W, C) → (B, 1 or T, 1, 1, C)."""
        if not self.causal:
            return tf.reduce_mean(inputs, axis=[1, 2, 3], keepdims=True)
        means = tf.cumsum(tf.reduce_mean(inputs, axis=[2, 3], keepdims=True), axis=1)
        counts = tf.range(1, _dimensions(inputs)[1] + 1)
        return means / tf.cast(tf.reshape(counts, (1, -1, 1, 1, 1)), means.dtype)

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "causal": self.causal}


@keras.saving.register_keras_serializable("dmcl_tf")
class FoldTime(keras.layers.Layer):
    """Clips as images."""

    def call(self, inputs):
        """(B, T, H, W, C) → (B·T, H, W, C)."""
        return tf.reshape(inputs, (-1, *_dimensions(inputs)[2:]))


@keras.saving.register_keras_serializable("dmcl_tf")
class UnfoldTime(keras.layers.Layer):
    """Images as the clips that they were."""

    def call(self, inputs):
        """(B·T, H, W, C), and the clips (B, T, …) → (B, T, H, W, C)."""
        images, clips = inputs
        return tf.reshape(images, (-1, _dimensions(clips)[1], *_dimensions(images)[1:]))


@keras.saving.register_keras_serializable("dmcl_tf")
class BatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation over (B, T, H, W) with TensorFlow's fused kernel, as the authors' (Keras: rank 4 at most).

    As in the fused kernel, the moving variance averages unbiased batch variances. Statistics are float32 under every
    precision. Under several replicas each normalises by its own share of a batch, and the moving averages are averaged;
    with `synchronized`, Keras' own attribute, all normalise by the whole batch.

    Args:
        relu: whether max(x, 0) follows; as part of this layer TensorFlow fuses it with the kernel on CPUs.
        **kwargs: of `keras.layers.BatchNormalization`.
    """

    def __init__(self, *, relu: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.relu = relu

    def call(self, inputs, training=False, **_):
        """(B, T, H, W, C) → the same shape; with `training` by batch statistics, else or frozen by the moving ones."""
        shape = _dimensions(inputs)
        training = training and self.trainable  # what is frozen stays as it is, its statistics too
        if training and self.synchronized and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            return self._call_synchronized(inputs)
        # In float32 the authors' own kernel, equal to the last bit. That for images makes a step a tenth faster, but
        # oneDNN's ReLU behind it takes NaN for 0, and its gradients were seen to be wrong late in a long process.
        exact = inputs.dtype == tf.float32
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs if exact else tf.reshape(inputs, (-1, *shape[2:])),
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.constant([]) if training else tf.convert_to_tensor(self.moving_mean),
            variance=tf.constant([]) if training else tf.convert_to_tensor(self.moving_variance),
            epsilon=self.epsilon,  # tf.nn.fused_batch_norm would raise it to 1.001e-5
            data_format="NDHWC" if exact else "NHWC",
            is_training=bool(training),
        )
        if training:
            self._move(mean, variance)
        if self.relu:  # before the reshaping, which would come between the two
            outputs = tf.nn.relu(outputs)
        return outputs if exact else tf.reshape(outputs, (-1, *shape[1:]))

    def _call_synchronized(self, inputs):
        """Normalises by the mean and the variance over all replicas, each of which has a share of the same size."""
        replica, mean_of = tf.distribute.get_replica_context(), tf.distribute.ReduceOp.MEAN
        x, axes = tf.cast(inputs, tf.float32), (0, 1, 2, 3)
        mean = replica.all_reduce(mean_of, tf.reduce_mean(x, axes))
        # in two passes: the mean of squares minus the square of the mean loses digits where frames are bright
        variance = replica.all_reduce(mean_of, tf.reduce_mean(tf.math.squared_difference(x, mean), axes))
        count = tf.cast(tf.size(x) // x.shape[-1] * replica.num_replicas_in_sync, tf.float32)
        self._move(mean, variance * count / tf.maximum(count - 1.0, 1.0))
        offset, scale = tf.convert_to_tensor(self.beta), tf.convert_to_tensor(self.gamma)
        outputs = tf.cast(tf.nn.batch_normalization(x, mean, variance, offset, scale, self.epsilon), inputs.dtype)
        return tf.nn.relu(outputs) if self.relu else outputs

    def _move(self, mean, variance) -> None:
        if _STATISTICS_MOVE.get():
            for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
                moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "relu": self.relu}


def classify(x: keras.KerasTensor, num_classes: int) -> dict[str, keras.KerasTensor]:
    """The outputs of a network on its last activations: pooled `features` (B, F) and `logits` (B, C) from these."""
    # float32 whatever the precision policy: the average and the logits are cheap and the loss wants digits
    features = keras.layers.GlobalAveragePooling3D(name="features", dtype="float32")(x)
    logits = keras.layers.Dense(num_classes, name="logits", dtype="float32")(features)
    return {"features": features, "logits": logits}


def _dimensions(tensor) -> list:
    """The shape of `tensor`, static where known."""
    dynamic = tf.shape(tensor)
    return [dynamic[i] if size is None else size for i, size in enumerate(tensor.shape)]
