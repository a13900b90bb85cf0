"""Networks that imitate features or activations of others, most often to stand in for a modality that will be missing.

The networks compared are of one kind and width. Where the authors sum over activations, a sum depends on the network,
the size of clips and the batch; here it is their mean over the elements of a sample, which a weight brings to scale.
"""

from __future__ import annotations

import tensorflow as tf

from dmcl_tf.methods.common import Outputs, Step, cross_entropy
from dmcl_tf.methods.distillation import soft_cross_entropy


def mars(outputs: Outputs, labels: tf.Tensor, step: Step, *, feature_weight: float) -> tf.Tensor:
    """MARS: the network of RGB learns the label, and to have the pooled features of a frozen network of flow.

    Crasto et al., CVPR 2019, and their code (MARS_train.py). The loss is

        CE(y, z) + feature_weight · mean over F of (f - f_flow)².

    Stages: the network of flow learns the labels (`independent`); then that of RGB, which starts afresh. Deviations:
    the network is R(2+1)D-18 or another of this project, theirs a 3-D ResNeXt-101, which on small data sets starts from
    Kinetics and trains its last stage and head; optimiser, schedule and clips are those of the recipe, and the best
    epoch is chosen on validation videos, theirs on the test videos. With several teachers the distance is the mean of
    theirs.

    Args:
        feature_weight: 50 in their code.
    """
    distances = [tf.add_n([_distance(f, teacher) for teacher in step.teacher.features]) for f in outputs.features]
    return cross_entropy(outputs.logits, labels) + feature_weight * tf.stack(distances) / len(step.teacher.features)


def _distance(imitating, imitated):
    """Mean squared difference of (B, …) and (B, …), without gradient through the latter, (B,)."""
    squares = (imitating - tf.stop_gradient(imitated)) ** 2
    return tf.reduce_mean(squares, axis=list(range(1, len(squares.shape))))


def hallucination(outputs: Outputs, labels: tf.Tensor, step: Step, *, middle_weight: float) -> tf.Tensor:
    """Modality hallucination: a network that sees RGB learns the label and the activations of the network of depth.

    Hoffman et al., CVPR 2016. The networks are, in this order, RGB, depth and the hallucination network. With σ the
    sigmoid and A the activations of the last part, the sum of the losses of all networks is

        γ · Σ (σ(A_d) - σ(A_h))² + CE(z_rgb) + CE(z_d) + CE(z_h) + CE((z_rgb + z_d) / 2) + CE((z_rgb + z_h) / 2),

    in which γ makes the first term `middle_weight` times the largest of the others. At test time RGB and the
    hallucination network see RGB, and their logits are averaged.

    Stages: RGB learns the labels; depth does, and starts from RGB; then all together, RGB and depth from these, the
    hallucination network from depth, which is frozen up to A. Deviations: the paper sets γ once, by hand, so that the
    term is about ten times any other; here it is found in every batch, without gradient. It grows as the activations
    become alike, and so does the gradient, whose norm over all networks is cut to 10 (`clip_norm`), as in code of
    others (Lambert et al., dlupi-heteroscedastic-dropout). Theirs is detection with Fast R-CNN, which has losses of
    boxes as well, and A is its last pooling; ours is the recipe's classification.

    Args:
        middle_weight: 10 in the paper.
    """
    rgb, depth, hallucinated = tf.unstack(outputs.logits, num=3)
    fused = tf.stack([rgb + depth, rgb + hallucinated]) / 2.0
    losses = cross_entropy(tf.concat([outputs.logits, fused], axis=0), labels)  # the five
    distance = _distance(tf.sigmoid(outputs.middle[2]), tf.sigmoid(outputs.middle[1]))
    largest = tf.reduce_max(tf.reduce_mean(losses, axis=1))
    gamma = tf.stop_gradient(tf.math.divide_no_nan(middle_weight * largest, tf.reduce_mean(distance)))
    return tf.stack([losses[0], losses[1] + losses[3], losses[2] + losses[4] + gamma * distance])


def two_streams(outputs: Outputs, labels: tf.Tensor, step: Step) -> tf.Tensor:
    """Networks learn the label by the mean of their logits alone, whose cross-entropy they share equally.

    The second and the last stage of Garcia et al. 2018, see `modality_distillation_student`: first RGB with depth, then
    RGB with the hallucination network.
    """
    mean = tf.reduce_mean(outputs.logits, axis=0, keepdims=True)
    networks = tf.shape(outputs.logits)[0]
    return tf.repeat(cross_entropy(mean, labels) / tf.cast(networks, mean.dtype), networks, axis=0)


_ELEMENTS = 5 * 5 * 7 * 7 * 2048  # over which the authors sum: 5 videos of 5 frames of activations of ResNet-50


def modality_distillation_student(
    outputs: Outputs,
    labels: tf.Tensor,
    step: Step,
    *,
    temperature: float,
    label_weight: float,
    soft_weight: float,
    middle_weight: float,
) -> tf.Tensor:
    """Modality distillation: a hallucination network, which sees RGB, learns to be a frozen network of depth.

    Garcia et al., ECCV 2018, and their code (modality-distillation, s3_distillation.py). The last of the networks is
    the hallucination network, whose loss is

        label_weight · CE(y, z) + soft_weight · CE(softmax(z_d / T), z / T) + middle_weight · Σ (σ(A_d) - σ(A))²,

    with the activations A of the last part; others, which are frozen, are there for later. Two weightings are published
    (`--weighting`): eccv2018, .25 : .25 : .005, and admd_code, 1 : T² : .01, of the group's later code; T is 10. Of the
    latter only the weights are taken: there, A is a bottleneck of 128 numbers, so that the last term weighs far less.

    Stages: RGB and depth learn the labels; both learn by the mean of their logits (`modality_distillation_teacher`);
    the hallucination network starts from that depth, and learns as above; it and that RGB learn by the mean of their
    logits (`modality_distillation`), which is tested. Deviations: R(2+1)D instead of a ResNet-50 of frames with
    temporal convolutions, whose initialisation is broken in their code; weights do not start from ImageNet's;
    optimiser, schedule and augmentation are the recipe's, and the best epoch is kept. The sum is over as many elements
    as in the code of 2018: the mean of a sample's times the number in their batch. The connection of the streams by
    products, off by default in their code, is `--connection`.

    Args:
        temperature: T > 0.
        label_weight: of the label.
        soft_weight: of the teacher's soft targets.
        middle_weight: of the sum over activations.
    """
    losses = cross_entropy(outputs.logits, labels)
    soft_targets = tf.nn.softmax(step.teacher.logits[0] / temperature)
    imitation = soft_cross_entropy(soft_targets, outputs.logits[-1:] / temperature)
    distance = _distance(tf.sigmoid(outputs.middle[-1]), tf.sigmoid(step.teacher.middle[0]))
    student = label_weight * losses[-1:] + soft_weight * imitation + middle_weight * _ELEMENTS * distance
    return tf.concat([losses[:-1], student], axis=0)
