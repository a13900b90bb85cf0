"""Methods with weights of their own, in `step.learned`, which one optimiser trains together with the networks.

Whose gradient a term is for is said by `stop_gradient`.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from dmcl_tf.methods.common import Outputs, Step, cross_entropy

_HIDDEN = (256, 128)  # of the discriminator
_SLOPES = {"first": 0.04, "second": 0.04, "last": 0.2}  # of what is negative after each of its layers
_EPSILON = 1e-5  # of its normalisation


def discriminator_shapes(classes: int, features: int) -> dict[str, tuple[int, ...]]:
    """The weights of ADMD's discriminator."""
    widths = (features, *_HIDDEN, classes + 1)
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, before, after in zip(_SLOPES, widths, widths[1:]):
        shapes |= {f"{layer}_kernel": (before, after), f"{layer}_gamma": (after,), f"{layer}_beta": (after,)}
    return shapes


def discriminate(features: tf.Tensor, weights: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """What the discriminator says of features: (B, F) → logits (B, C + 1), of class 0 for imitated ones."""
    x = features
    for layer, slope in _SLOPES.items():
        x = x @ weights[f"{layer}_kernel"]
        mean, variance = tf.nn.moments(x, axes=[0])
        beta, gamma = weights[f"{layer}_beta"], weights[f"{layer}_gamma"]
        x = tf.nn.leaky_relu(tf.nn.batch_normalization(x, mean, variance, beta, gamma, _EPSILON), slope)
    return x


def admd(outputs: Outputs, labels: tf.Tensor, step: Step) -> tf.Tensor:
    """Adversarial discriminative modality distillation: features of RGB that pass for those of depth, class by class.

    Garcia et al., TPAMI 2019 (arXiv 1810.08437), and their code (admd, s2_gan_hall.py). A discriminator D tells the
    features f_h of the hallucination network, the last one, from those f_d of a frozen network of depth. It knows C + 1
    classes: 0 is imitated, y + 1 is depth's of class y. Its loss and that of the hallucination network are

        ½ · CE(0, D(f_h)) + ½ · CE(y + 1, D(f_d))    and    CE(y + 1, D(f_h)),

    each with the other side fixed; their sum is returned. Both steps are taken from the same forward pass and weights,
    as in the authors' code, which runs the two optimisers in one call: with Adam one optimiser for both is the same.
    As there, every layer of D ends in normalisation by the batch and a leaky ReLU, the last one too, and in the hidden
    ones the ReLU is taken twice, so that its slope of 0.2 becomes 0.04.

    Stages: RGB and depth learn the labels (`independent`); the hallucination network starts from depth and keeps its
    classifier. Tested is the mean of its logits and those of RGB, which stays as it is. Deviations: R(2+1)D instead of
    a ResNet-50 of frames; D sees the pooled features of a clip, without a bottleneck of 128 and without the place of a
    frame; the two networks are not trained together at the end, which is off in the authors' command; the schedule and
    the choice of the epoch are the recipe's; Adam, its rate of 1e-3 and no weight decay are the authors'.
    """
    losses = cross_entropy(outputs.logits, labels)
    real, imitated = step.teacher.features[0], outputs.features[-1]
    fixed = {name: tf.stop_gradient(weight) for name, weight in step.learned.items()}
    of_real = discriminate(tf.stop_gradient(real), step.learned)
    of_imitated = discriminate(tf.stop_gradient(imitated), step.learned)
    discriminator = cross_entropy(of_real[None], labels + 1) + cross_entropy(of_imitated[None], tf.zeros_like(labels))
    generator = cross_entropy(discriminate(imitated, fixed)[None], labels + 1)
    return tf.concat([losses[:-1], 0.5 * discriminator + generator], axis=0)


_SIZE = 32  # of what each of logits and features becomes before edges are weighed
_SHARPNESS = 1.0 / 8.0  # of the softmax of edges
_LOGITS, _FEATURES, _PRIOR = 10.0, 1.0, 10.0  # weights of the three terms


def edge_shapes(classes: int, features: int) -> dict[str, tuple[int, ...]]:
    """The weights by which graph distillation weighs its edges."""
    return {
        "logits_kernel": (classes, _SIZE),
        "logits_bias": (_SIZE,),
        "features_kernel": (features, _SIZE),
        "features_bias": (_SIZE,),
        "edges_kernel": (4 * _SIZE, 1),
    }


def graph_distillation(outputs: Outputs, labels: tf.Tensor, step: Step) -> tf.Tensor:
    """Graph distillation: one network learns the label, and to agree with teachers whose weights are learned as well.

    Luo et al., ECCV 2018, and their code (graph_distillation). With teachers j, logits z, features h and the cosine,
    the loss of the student is

        CE(y, z) + Σ_j w_j · [10 · (1 - cos(z, z_j)) + 1 · (1 - cos(h, h_j))] + 10 · Σ_j (mean_b e_j - 1/K)²,

    where w_j = e_j + 1/K, mean_b is over the batch, and e is the softmax over j of α · v·[u; u_j], with u = [W z; W' h]
    and α = 1/8. The prior 1/K of K teachers is theirs, uniform. Gradients flow through e into the student and W, W', v,
    none into z_j and h_j.

    Stages: every modality learns the labels (`independent`); the student starts afresh. Deviations: R(2+1)D instead of
    ResNet-18 of stacked frames and, for skeletons, recurrent networks; all modalities of a clip are cropped and
    mirrored alike; teachers normalise by their moving statistics, theirs by the batch; optimiser, schedule and clips
    are the recipe's; all training videos are used, where their code takes up to 33 of a class unless told otherwise.
    DMCL's Table 5 has RGB with six modalities, some of them skeletons.
    """
    z, h, teacher = outputs.logits[0], outputs.features[0], step.teacher
    teachers = len(teacher.features)
    others = [(tf.stop_gradient(teacher.logits[j]), tf.stop_gradient(teacher.features[j])) for j in range(teachers)]
    own = _node(z, h, step.learned)
    scores = [tf.concat([own, _node(*other, step.learned)], axis=1) @ step.learned["edges_kernel"] for other in others]
    edges = tf.nn.softmax(_SHARPNESS * tf.concat(scores, axis=1))  # (B, K)
    prior = 1.0 / teachers
    distances = [
        _LOGITS * _cosine_distance(z, other[0]) + _FEATURES * _cosine_distance(h, other[1]) for other in others
    ]
    imitation = tf.reduce_sum((edges + prior) * tf.stack(distances, axis=1), axis=1)
    regular = _PRIOR * tf.reduce_sum((tf.reduce_mean(edges, axis=0) - prior) ** 2)
    return cross_entropy(outputs.logits, labels) + imitation + regular


def _node(z, h, weights):
    """u of a network: (B, C) and (B, F) → (B, 2 · size)."""
    logits = z @ weights["logits_kernel"] + weights["logits_bias"]
    return tf.concat([logits, h @ weights["features_kernel"] + weights["features_bias"]], axis=1)


def _cosine_distance(first, second):
    """1 - cos of (B, N) and (B, N), (B,)."""
    return 1.0 - tf.reduce_sum(tf.math.l2_normalize(first, axis=1) * tf.math.l2_normalize(second, axis=1), axis=1)
