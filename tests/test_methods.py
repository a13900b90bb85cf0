"""The methods: equal to the authors' values and to independent formulas, for any number of networks."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from imitation_formulas import IMITATIONS
from method_formulas import FORMULAS, by_samples, drawn_labels, gradient_by_samples, log_softmax

from dmcl_tf.config import resolve
from dmcl_tf.methods import LOSSES, Outputs, Step, cross_entropy, dmcl, winner
from dmcl_tf.methods.distillation import draw_teachers
from dmcl_tf.registry import METHODS

GOLDEN = np.load(Path(__file__).parent / "golden" / "loss.npz")
GOLDEN_CASES = sorted({name.split("/")[0] for name in GOLDEN.files})
WEIGHTS = {"temperature": 3.0, "label_weight": 0.75, "soft_weight": 2.5, "beta": 0.6}  # none is neutral
TAUGHT = {"teacher_run": "somewhere"}


def weights_of(name):
    return {weight: WEIGHTS[weight] for weight in METHODS[name].weights}


def random_case(networks, batch, classes, seed=0):
    random = np.random.RandomState(seed)
    logits = random.normal(scale=3.0, size=(networks, batch, classes)).astype(np.float32)
    return tf.constant(logits), tf.constant(random.randint(classes, size=batch), tf.int64)


def make_step(batch, classes):
    teaching = 3.0 * tf.random.stateless_normal((2, batch, classes), (7, 3))
    return Step(tf.constant([7, 3], tf.int64), Outputs(teaching))


def given_by_sample(name, logits, step, losses):
    """What the formula of a method needs beside the logits and the label of each sample: what was given or drawn."""
    teachers = draw_teachers(step.seed, losses).numpy()
    labels, teaching = drawn_labels(logits, losses, WEIGHTS["beta"])[0], np.mean(step.teacher.logits, axis=0)
    return [
        {"teacher": teachers[b], "labels": labels[:, b], "teacher_logits": teaching[b]} for b in range(len(teachers))
    ]


def test_every_method_has_a_loss_with_its_weights_and_a_formula():
    assert set(LOSSES) == set(METHODS) == set(FORMULAS) | set(IMITATIONS)
    for name, method in METHODS.items():
        parameters = inspect.signature(LOSSES[name]).parameters
        required = [parameter.name for parameter in parameters.values() if parameter.default is parameter.empty]
        assert required == ["outputs", "labels", "step", *method.weights], name
        assert all(parameters[weight].kind is parameters[weight].KEYWORD_ONLY for weight in method.weights)
        config = resolve("authors", "full", {"method": name, **(TAUGHT if method.needs_teacher else {})})
        assert set(config.loss_weights()) == set(method.weights)


SHAPES = [(2, 3, 4), (3, 5, 10), (5, 6, 4), (3, 10, 10), (3, 4, 4), (2, 2, 2), (5, 5, 5), (3, 1, 7)]


@pytest.mark.parametrize("name", FORMULAS)
def test_losses_equal_the_formula_for_any_number_of_networks(name):
    """Includes batches of as many samples as classes or networks, where a rank-1 condition broadcasts wrongly."""
    for shape in SHAPES:
        logits, labels = random_case(*shape)
        step = make_step(*shape[1:])
        losses = LOSSES[name](Outputs(logits), labels, step, **weights_of(name))
        given = given_by_sample(name, logits, step, losses)
        assert losses.shape == shape[:2]
        assert losses.dtype == tf.float32
        expected = by_samples(FORMULAS[name], logits, labels, given, **weights_of(name))
        np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=3e-6, err_msg=str(shape))


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("shape", [(2, 3, 4), (5, 4, 4)])
def test_gradient_flows_where_the_formula_lets_it(name, shape):
    logits, labels = random_case(*shape, seed=4)
    step = make_step(*shape[1:])
    with tf.GradientTape() as tape:
        tape.watch([logits, step.teacher.logits])
        losses = LOSSES[name](Outputs(logits), labels, step, **weights_of(name))
        loss = tf.reduce_sum(losses)
    gradient, of_teacher = tape.gradient(loss, [logits, step.teacher.logits])
    given = given_by_sample(name, logits, step, losses)
    expected = gradient_by_samples(FORMULAS[name], logits, labels, given, **weights_of(name))
    np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-5)
    assert of_teacher is None


def test_ties_go_to_the_lowest_index():
    """Of equal networks the first wins; of equal ones behind a worse one the second."""
    logits, labels = random_case(1, 5, 4)
    wrong = -30.0 * tf.one_hot(labels, 4)[None]
    for networks in (2, 3, 5):
        tied = tf.repeat(logits, networks, axis=0)
        for case in (tied, tf.concat([wrong, tied], axis=0)):
            best = int(case.shape[0] > networks)
            np.testing.assert_array_equal(winner(cross_entropy(case, labels)), np.full(5, best))
            for name in ("dmcl", "smcl", "cmcl"):
                losses = LOSSES[name](Outputs(case), labels, Step(), **weights_of(name))
                expected = by_samples(FORMULAS[name], case, labels, [{}] * 5, **weights_of(name))
                np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FORMULAS)
def test_methods_run_in_graphs_of_unknown_shape(name):
    numbers, integers = tf.TensorSpec((None, None, None)), tf.TensorSpec((None,), tf.int64)

    @tf.function(input_signature=[numbers, integers, integers, numbers])
    def traced(logits, labels, seed, teaching):
        return LOSSES[name](Outputs(logits), labels, Step(seed, Outputs(teaching)), **weights_of(name))

    for shape in ((2, 3, 4), (5, 10, 10)):
        logits, labels = random_case(*shape)
        step = make_step(*shape[1:])
        expected = LOSSES[name](Outputs(logits), labels, step, **weights_of(name))
        np.testing.assert_allclose(
            traced(logits, labels, step.seed, step.teacher.logits), expected, rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("case", GOLDEN_CASES)
def test_dmcl_equals_the_authors_values(case):
    golden = {name.split("/")[1]: GOLDEN[name] for name in GOLDEN.files if name.startswith(f"{case}/")}
    logits, labels = tf.constant(golden["logits"]), tf.constant(golden["labels"])
    temperature, soft = float(golden["temperature"]), float(golden["a_distill"])
    weights = {"temperature": temperature, "label_weight": float(golden["a_loser_gt"])}
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = dmcl(Outputs(logits), labels, Step(), **weights, soft_weight=soft * temperature**2)
        loss = tf.reduce_sum(tf.reduce_mean(losses, axis=1))
    entropies = cross_entropy(logits, labels)
    np.testing.assert_allclose(entropies, golden["cross_entropy"], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(winner(entropies), golden["winner"])
    ground_truth = dmcl(Outputs(logits), labels, Step(), **weights, soft_weight=0.0)
    np.testing.assert_allclose(tf.reduce_sum(ground_truth) / len(labels), golden["loss_ground_truth"], rtol=1e-5)
    distillation = tf.reduce_sum(losses - ground_truth) / len(labels)
    np.testing.assert_allclose(distillation, golden["loss_distillation"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(loss, golden["loss_ground_truth"] + golden["loss_distillation"], rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(loss, logits), golden["grad_logits"], rtol=1e-5, atol=1e-6)


def test_golden_cases_include_a_batch_of_as_many_samples_as_classes():
    assert any(GOLDEN[f"{case}/logits"].shape[1] == GOLDEN[f"{case}/logits"].shape[2] for case in GOLDEN_CASES)
    assert len(GOLDEN_CASES) == 5


def test_no_gradient_flows_into_the_teacher():
    logits, labels = random_case(3, 6, 5, seed=2)
    is_teacher = tf.equal(tf.range(3)[:, None], winner(cross_entropy(logits, labels)))
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = dmcl(Outputs(logits), labels, Step(), **weights_of("dmcl"))
        losers = tf.reduce_sum(tf.where(is_teacher, 0.0, losses))
    gradient = tape.gradient(losers, logits).numpy()
    np.testing.assert_array_equal(gradient[is_teacher.numpy()], 0.0)
    assert (np.abs(gradient[~is_teacher.numpy()]).sum(axis=1) > 0.01).all()


def test_gradient_of_the_distillation_is_the_difference_of_the_softened_predictions():
    logits, labels = random_case(3, 6, 5, seed=3)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = tf.reduce_sum(dmcl(Outputs(logits), labels, Step(), temperature=5.0, label_weight=0.0, soft_weight=25.0))
    soft = np.exp(log_softmax(logits.numpy() / 5.0))
    hard = np.exp(log_softmax(logits.numpy()))
    gradient = tape.gradient(loss, logits).numpy()
    for sample, teacher in enumerate(winner(cross_entropy(logits, labels)).numpy()):
        expected = 5.0 * (soft[:, sample] - soft[teacher, sample])  # T² / T
        expected[teacher] = hard[teacher, sample] - np.eye(5)[labels[sample]]
        np.testing.assert_allclose(gradient[:, sample], expected, rtol=1e-4, atol=1e-5)
