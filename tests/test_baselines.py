"""The methods beside DMCL: values computed by hand, gradients, and what the random ones draw."""

import numpy as np
import pytest
import tensorflow as tf
from method_formulas import drawn_labels, softmax

from dmcl_tf import methods
from dmcl_tf.methods import Outputs, Step, cross_entropy, winner
from dmcl_tf.methods.distillation import draw_teachers

SEED = tf.constant([5, 11], tf.int64)

# Two networks on one sample of label 0 and three classes. The first is the better one by its cross-entropy, but the
# second is so sure that class 2 is wrong that leaving the sample to the first would cost more.
PREDICTIONS = np.array([[[0.75, 0.125, 0.125]], [[0.7, 0.299, 0.001]]])
ENTROPIES = [0.287682, 0.356675]  # -log .75, -log .7
DIVERGENCES = [0.383575, 1.725320]  # -log 3 - mean log p
LABELS = tf.constant([0], tf.int64)


def outputs_of(predictions):
    return Outputs(tf.constant(np.log(predictions), tf.float32))


def test_smcl_by_hand():
    losses = methods.smcl(outputs_of(PREDICTIONS), LABELS, Step())
    np.testing.assert_allclose(losses[:, 0], [ENTROPIES[0], 0.0], atol=1e-5)


def test_smcl_divides_by_the_batch_and_not_by_the_wins():
    """A network that wins one of four samples has a quarter of that sample's loss."""
    logits = tf.constant([[[2.0, 0.0], *[[0.0, 2.0]] * 3], [[0.0, 2.0], *[[2.0, 0.0]] * 3]])
    losses = methods.smcl(Outputs(logits), tf.zeros(4, tf.int64), Step())
    entropy = np.log1p(np.exp(-2.0))
    np.testing.assert_allclose(tf.reduce_mean(losses, axis=1), [entropy / 4, 3 * entropy / 4], rtol=1e-5)


@pytest.mark.parametrize(
    ("beta", "expected"),
    [
        (0.75, [0.75 * DIVERGENCES[0], ENTROPIES[1]]),
        (0.0, [ENTROPIES[0], 0.0]),
        (0.05, [ENTROPIES[0], 0.05 * DIVERGENCES[1]]),  # .3739 for the first, .3759 for the second
        (0.06, [0.06 * DIVERGENCES[0], ENTROPIES[1]]),  # .3912 and .3797
    ],
)
def test_cmcl_by_hand(beta, expected):
    losses = methods.cmcl(outputs_of(PREDICTIONS), LABELS, Step(), beta=beta)
    np.testing.assert_allclose(losses[:, 0], expected, atol=1e-5)


def test_cmcl_draws_the_others_to_the_uniform_distribution():
    """The gradient of β · KL(U ‖ softmax(z)) is β · (softmax(z) - 1 / C), whatever C is."""
    for classes in (2, 7):
        logits = tf.random.stateless_normal((3, 4, classes), (1, 2))
        with tf.GradientTape() as tape:
            tape.watch(logits)
            losses = methods.cmcl(Outputs(logits), tf.zeros(4, tf.int64), Step(), beta=0.5)
        gradient = tape.gradient(losses, logits).numpy()
        has_sample = np.isclose(losses, cross_entropy(logits, tf.zeros(4, tf.int64)))
        assert has_sample.sum() == 4
        expected = 0.5 * (softmax(logits.numpy()) - 1.0 / classes)
        np.testing.assert_allclose(gradient[~has_sample], expected[~has_sample], atol=1e-6)


def test_cmcl_of_very_sure_networks_is_finite_and_still_learns():
    logits = tf.constant([[[200.0, 0.0, 0.0]], [[150.0, 0.0, 0.0]]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = methods.cmcl(Outputs(logits), LABELS, Step(), beta=0.75)
    # -log 3 + (2 · 200) / 3 and the like: the sample is left to the surer network
    np.testing.assert_allclose(losses[:, 0], [0.0, 0.75 * (100.0 - np.log(3.0))], rtol=1e-5)
    gradient = tape.gradient(losses, logits)
    np.testing.assert_allclose(gradient[1, 0], [0.75 * 2 / 3, -0.25, -0.25], atol=1e-5)


def test_mutual_by_hand():
    losses = methods.mutual(outputs_of(PREDICTIONS), LABELS, Step())
    first, second = PREDICTIONS[:, 0]
    expected = [
        ENTROPIES[0] + np.sum(second * np.log(second / first)),
        ENTROPIES[1] + np.sum(first * np.log(first / second)),
    ]
    np.testing.assert_allclose(losses[:, 0], expected, atol=1e-5)


def test_mutual_learning_of_one_network_is_independent_training():
    logits, labels = tf.random.stateless_normal((1, 4, 3), (1, 2)), tf.constant([0, 1, 2, 0])
    losses = methods.mutual(Outputs(logits), labels, Step())
    np.testing.assert_allclose(losses, cross_entropy(logits, labels), atol=1e-6)


@pytest.mark.parametrize("scale", [4.0, 1.0])
def test_generalized_distillation_by_hand(scale):
    """λ = .25, T = 2: the softened prediction (√.64, √.16, √.04) / 1.4, the student's logits not divided by T."""
    teacher_logits = outputs_of([[[0.64, 0.16, 0.04]]]).logits + 3.0
    losses = methods.generalized_distillation(
        outputs_of(PREDICTIONS),
        LABELS,
        Step(teacher=Outputs(teacher_logits)),
        temperature=2.0,
        label_weight=0.75,
        soft_weight=0.25 * scale,
    )
    soft = np.array([0.8, 0.4, 0.2]) / 1.4
    distillation = [-np.sum(soft * np.log(row)) for row in PREDICTIONS[:, 0]]
    expected = [0.75 * e + 0.25 * scale * d for e, d in zip(ENTROPIES, distillation)]
    np.testing.assert_allclose(losses[:, 0], expected, rtol=1e-5)


def test_generalized_distillation_of_a_single_student():
    logits, labels = tf.random.stateless_normal((1, 4, 3), (1, 2)), tf.constant([0, 1, 2, 0])
    step, weights = Step(teacher=Outputs(logits)), {"temperature": 1.0, "label_weight": 0.5, "soft_weight": 0.5}
    losses = methods.generalized_distillation(Outputs(logits), labels, step, **weights)
    predictions = softmax(logits[0].numpy())
    own_entropy = -np.sum(predictions * np.log(predictions), axis=1)
    np.testing.assert_allclose(losses[0], 0.5 * cross_entropy(logits, labels)[0] + 0.5 * own_entropy, rtol=1e-5)


def test_random_teacher_is_dmcl_where_the_winner_is_drawn():
    logits, labels = tf.random.stateless_normal((3, 200, 4), (1, 2)), tf.repeat(tf.range(4), 50)
    weights = {"temperature": 3.0, "label_weight": 0.5, "soft_weight": 2.25}
    drawn = methods.random_teacher(Outputs(logits), labels, Step(SEED), **weights).numpy()
    best = methods.dmcl(Outputs(logits), labels, Step(), **weights).numpy()
    same = draw_teachers(SEED, drawn).numpy() == winner(cross_entropy(logits, labels)).numpy()
    assert 30 < same.sum() < 110  # a third of 200
    np.testing.assert_allclose(drawn[:, same], best[:, same], rtol=1e-6)
    assert not np.isclose(drawn[:, ~same], best[:, ~same]).all(axis=0).any()


def assert_uniform(draws, outcomes):
    """Every outcome within five standard deviations of its expected number."""
    counts = np.bincount(np.ravel(draws), minlength=outcomes)
    assert len(counts) == outcomes
    expected, deviation = counts.sum() / outcomes, np.sqrt(counts.sum() * (1 - 1 / outcomes) / outcomes)
    assert (np.abs(counts - expected) < 5.0 * deviation).all(), counts


def teachers_of(seed, networks, batch=20000):
    return draw_teachers(seed, tf.zeros((networks, batch))).numpy()


def labels_of(seed, classes, networks=3, batch=10000):
    # logits that tell the drawn label from the loss, and the last network as the one assigned, which draws none
    logits = tf.tile(tf.range(classes, dtype=tf.float32)[None, None], (networks, batch, 1))
    logits = tf.concat([logits, 50.0 * tf.one_hot(tf.zeros((1, batch), tf.int32), classes)], axis=0)
    losses = methods.cmcl_stochastic(Outputs(logits), tf.zeros(batch, tf.int64), Step(seed), beta=0.75)
    labels, distances = drawn_labels(logits, losses, beta=0.75)
    assert (distances[:networks] < 1e-4).all()
    return labels[:networks]


@pytest.mark.parametrize("networks", [2, 3, 5])
def test_random_teachers_are_uniform(networks):
    assert_uniform(teachers_of(SEED, networks), networks)


@pytest.mark.parametrize("classes", [3, 10, 17])
def test_random_labels_are_uniform_for_any_number_of_classes(classes):
    labels = labels_of(SEED, classes)
    for row in labels:
        assert_uniform(row, classes)
    # two networks draw apart: they agree by chance
    assert np.mean(labels[0] == labels[1]) == pytest.approx(1 / classes, abs=0.02)


@pytest.mark.parametrize("draw", [teachers_of, labels_of])
def test_draws_are_functions_of_the_seed(draw):
    np.testing.assert_array_equal(draw(SEED, 4), draw(SEED, 4))
    for other in ([5, 12], [6, 11]):
        assert np.mean(draw(SEED, 4) == draw(tf.constant(other, tf.int64), 4)) == pytest.approx(0.25, abs=0.02)
