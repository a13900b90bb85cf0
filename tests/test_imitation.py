"""Methods that imitate features or activations: equal to independent formulas, in values and in gradients."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from imitation_formulas import IMITATIONS, Case

from dmcl_tf.config import resolve
from dmcl_tf.methods import LEARNED, LOSSES, Outputs, Step
from dmcl_tf.networks.ensemble import Learned
from dmcl_tf.registry import METHODS

BATCH, CLASSES, FEATURES = 4, 3, 5
NETWORKS = {"mars": 2, "hallucination": 3, "graph_distillation": 1}  # others: RGB and the hallucination network
TEACHERS = {"mars": 2, "hallucination": 0, "graph_distillation": 3}
WEIGHTS = {"temperature": 3.0, "label_weight": 0.75, "soft_weight": 2.5, "feature_weight": 7.0, "middle_weight": 0.6}


def outputs_of(random, networks):
    """Logits, features and activations of some networks, in float32."""
    logits = random.normal(scale=2.0, size=(networks, BATCH, CLASSES)).astype(np.float32)
    features = [random.normal(size=(BATCH, FEATURES)).astype(np.float32) for _ in range(networks)]
    middle = [random.normal(size=(BATCH, 1, 2, 2, 2)).astype(np.float32) for _ in range(networks)]
    return Outputs(tf.constant(logits), list(map(tf.constant, features)), list(map(tf.constant, middle)))


def make_case(name):
    random = np.random.RandomState(len(name))
    students = outputs_of(random, NETWORKS.get(name, 2))
    teachers = outputs_of(random, TEACHERS.get(name, 1)) if TEACHERS.get(name, 1) else None
    shapes = LEARNED[name](CLASSES, FEATURES) if name in LEARNED else {}
    learned = {key: tf.constant(random.normal(scale=0.5, size=shape), tf.float32) for key, shape in shapes.items()}
    labels = tf.constant(random.randint(CLASSES, size=BATCH), tf.int64)
    return students, labels, Step(teacher=teachers, learned=learned)


def by_formula(name, students, labels, step, moved=None, moved_learned=None):
    """The formula of a method in float64; `moved` and `moved_learned` are where gradients flow."""

    def case(outputs):
        if outputs is None:
            return None
        arrays = [np.asarray(outputs.logits, np.float64)]
        return Case(*arrays, *([np.asarray(x, np.float64) for x in xs] for xs in (outputs.features, outputs.middle)))

    fixed_learned = {key: np.asarray(value, np.float64) for key, value in step.learned.items()}
    weights = {weight: WEIGHTS[weight] for weight in METHODS[name].weights}
    fixed = case(students)
    return IMITATIONS[name](
        moved or fixed,
        fixed,
        labels.numpy(),
        case(step.teacher),
        moved_learned or fixed_learned,
        fixed_learned,
        **weights,
    )


def loss_of(name):
    return partial(LOSSES[name], **{weight: WEIGHTS[weight] for weight in METHODS[name].weights})


@pytest.mark.parametrize("name", IMITATIONS)
def test_losses_equal_the_formula(name):
    students, labels, step = make_case(name)
    losses = loss_of(name)(students, labels, step)
    assert losses.shape == (NETWORKS.get(name, 2), BATCH)
    np.testing.assert_allclose(losses, by_formula(name, students, labels, step), rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("name", IMITATIONS)
def test_gradient_flows_where_the_formula_lets_it(name):
    students, labels, step = make_case(name)
    teachers = tf.nest.flatten(step.teacher) if step.teacher else []
    with tf.GradientTape() as tape:
        tape.watch([tf.nest.flatten(students), list(step.learned.values()), teachers])
        loss = tf.reduce_sum(loss_of(name)(students, labels, step))
    gradients, of_learned, of_teachers = tape.gradient(loss, (students, dict(step.learned), teachers))
    assert not [gradient for gradient in of_teachers if gradient is not None and np.any(gradient)]
    random = np.random.RandomState(1)
    flat = tf.nest.flatten(students)
    for index, (tensor, gradient) in enumerate(zip(flat, tf.nest.flatten(gradients))):
        direction = random.normal(size=tensor.shape)
        slope = _slope(
            lambda step_size, i=index, d=direction: _moved(students, i, step_size * d), name, students, labels, step
        )
        found = 0.0 if gradient is None else float(np.sum(gradient * direction))
        assert found == pytest.approx(slope, rel=2e-3, abs=2e-4), index
    for key, tensor in step.learned.items():
        direction = random.normal(size=tensor.shape)
        sums = []
        for sign in (1e-5, -1e-5):
            moved = {k: np.asarray(v, np.float64) for k, v in step.learned.items()}
            moved[key] = moved[key] + sign * direction
            sums.append(by_formula(name, students, labels, step, moved_learned=moved).sum())
        found = float(np.sum(of_learned[key] * direction))
        assert found == pytest.approx((sums[0] - sums[1]) / 2e-5, rel=2e-3, abs=2e-4), key
    assert not step.learned or any(np.any(gradient) for gradient in of_learned.values())


def _moved(students, index, change):
    """The outputs in float64 with one of their tensors moved."""
    flat = [np.asarray(tensor, np.float64) for tensor in tf.nest.flatten(students)]
    flat[index] = flat[index] + change
    networks = len(students.features)
    return Case(flat[0], flat[1 : 1 + networks], flat[1 + networks :])


def _slope(move, name, students, labels, step):
    sums = [by_formula(name, students, labels, step, moved=move(sign)).sum() for sign in (1e-5, -1e-5)]
    return (sums[0] - sums[1]) / 2e-5


def test_the_hallucination_term_is_ten_times_the_largest_cross_entropy():
    students, labels, step = make_case("hallucination")
    without = LOSSES["hallucination"](students, labels, step, middle_weight=0.0)
    with_term = LOSSES["hallucination"](students, labels, step, middle_weight=10.0)
    term = tf.reduce_mean(with_term - without, axis=1)
    largest = max(
        float(tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)))
        for logits in (*students.logits, *((students.logits[0] + other) / 2.0 for other in students.logits[1:]))
    )
    np.testing.assert_allclose(term, [0.0, 0.0, 10.0 * largest], rtol=1e-5, atol=1e-6)


def test_both_published_weightings_of_modality_distillation():
    """Their ratios of label, soft target and activations: .25 : .25 : .005 and 1 : 10² : .01, at T = 10."""
    weights = {}
    for name in ("eccv2018", "admd_code"):
        settings = {"method": "modality_distillation_student", "weighting": name, "teacher_run": "somewhere"}
        weights[name] = resolve("authors", "full", settings).loss_weights()
    assert weights["eccv2018"] == {
        "temperature": 10.0,
        "label_weight": 0.25,
        "soft_weight": 0.25,
        "middle_weight": 0.005,
    }
    assert weights["admd_code"] == {
        "temperature": 10.0,
        "label_weight": 1.0,
        "soft_weight": 100.0,
        "middle_weight": 0.01,
    }


def test_weights_of_a_method_are_initialised_by_their_names():
    learned = Learned({"a_kernel": (50, 40), "a_gamma": (3,), "a_beta": (3,)}).tensors()
    assert 0.1 < np.std(learned["a_kernel"]) < 0.2  # Glorot: sqrt(2 / 90)
    np.testing.assert_array_equal(learned["a_gamma"], 1.0)
    np.testing.assert_array_equal(learned["a_beta"], 0.0)
