"""The objectives: equal to the authors' values and to independent formulas, for any number of networks."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from dmcl_tf import objectives

GOLDEN = np.load(Path(__file__).parent / "golden" / "loss.npz")
CASES = sorted({name.split("/")[0] for name in GOLDEN.files})


def log_softmax(logits):
    shifted = logits - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))


def losses_by_loops(logits, labels, *, temperature=2.0, label_weight=1.0, teacher_weight=1.0, scale=4.0):
    """Eq. 1 to 3 and the authors' form of it, one sample and network at a time in float64."""
    logits = np.asarray(logits, np.float64)
    losses = np.empty(logits.shape[:2])
    teachers = []
    for sample, label in enumerate(labels):
        entropies = [-log_softmax(logits[network, sample])[label] for network in range(len(logits))]
        teacher = int(np.argmin(entropies))
        teachers.append(teacher)
        soft = np.exp(log_softmax(logits[teacher, sample] / temperature))
        for network, entropy in enumerate(entropies):
            distillation = -(soft * log_softmax(logits[network, sample] / temperature)).sum()
            loser = label_weight * entropy + teacher_weight * scale * distillation
            losses[network, sample] = entropy if network == teacher else loser
    return losses, np.array(teachers)


def random_case(networks, batch, classes, seed=0):
    random = np.random.RandomState(seed)
    logits = random.normal(scale=3.0, size=(networks, batch, classes)).astype(np.float32)
    return tf.constant(logits), tf.constant(random.randint(classes, size=batch), tf.int64)


def independent_by_loops(logits, labels):
    return losses_by_loops(logits, labels, label_weight=1.0, teacher_weight=0.0)


# each objective by its name, beside an independent formula of it
FORMULAS = {"independent": independent_by_loops, "dmcl": losses_by_loops}


def test_every_objective_has_a_formula():
    assert set(FORMULAS) == set(objectives.OBJECTIVES)


@pytest.mark.parametrize("name", objectives.OBJECTIVES)
@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 5, 10), (4, 6, 5), (3, 10, 10), (3, 4, 4), (2, 2, 2), (3, 1, 7)])
def test_objective_equals_its_formula_for_any_number_of_networks(name, shape):
    """Includes batches of as many samples as classes or networks, where a rank-1 condition broadcasts wrongly."""
    logits, labels = random_case(*shape)
    objective = objectives.OBJECTIVES[name](logits, labels)
    losses, teachers = FORMULAS[name](logits.numpy(), labels.numpy())
    assert objective.loss.shape == shape[:2]
    assert objective.loss.dtype == tf.float32
    np.testing.assert_allclose(objective.loss, losses, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(objective.teacher, teachers)
    assert objective.teacher.dtype == tf.int32


@pytest.mark.parametrize("case", CASES)
def test_dmcl_equals_the_authors_values(case):
    golden = {name.split("/")[1]: GOLDEN[name] for name in GOLDEN.files if name.startswith(f"{case}/")}
    logits, labels = tf.constant(golden["logits"]), tf.constant(golden["labels"])
    settings = {
        "temperature": float(golden["temperature"]),
        "loser_ground_truth_weight": float(golden["a_loser_gt"]),
        "distillation_weight": float(golden["a_distill"]),
    }
    with tf.GradientTape() as tape:
        tape.watch(logits)
        objective = objectives.dmcl(logits, labels, **settings)
        loss = tf.reduce_sum(tf.reduce_mean(objective.loss, axis=1))
    entropies = objectives.cross_entropy(logits, labels)
    np.testing.assert_allclose(entropies, golden["cross_entropy"], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(objective.teacher, golden["winner"])
    ground_truth = objectives.dmcl(logits, labels, **{**settings, "distillation_weight": 0.0}).loss
    np.testing.assert_allclose(tf.reduce_sum(ground_truth) / len(labels), golden["loss_ground_truth"], rtol=1e-5)
    distillation = tf.reduce_sum(objective.loss - ground_truth) / len(labels)
    np.testing.assert_allclose(distillation, golden["loss_distillation"], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(loss, golden["loss_ground_truth"] + golden["loss_distillation"], rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(loss, logits), golden["grad_logits"], rtol=1e-5, atol=1e-6)


def test_golden_cases_include_a_batch_of_as_many_samples_as_classes():
    assert any(GOLDEN[f"{case}/logits"].shape[1] == GOLDEN[f"{case}/logits"].shape[2] for case in CASES)
    assert len(CASES) == 5


@pytest.mark.parametrize("weight", [0.5, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
def test_equation_3_of_the_paper(weight, temperature):
    logits, labels = random_case(3, 7, 10, seed=1)
    objective = objectives.dmcl(
        logits,
        labels,
        temperature=temperature,
        loser_ground_truth_weight=1 - weight,
        distillation_weight=weight,
        scale_by_temperature_squared=False,
    )
    expected, _ = losses_by_loops(
        logits.numpy(),
        labels.numpy(),
        temperature=temperature,
        label_weight=1 - weight,
        teacher_weight=weight,
        scale=1.0,
    )
    np.testing.assert_allclose(objective.loss, expected, rtol=1e-5, atol=1e-6)


def test_ties_go_to_the_lowest_index():
    logits, labels = random_case(1, 5, 4)
    for networks in (2, 3, 4):
        tied = tf.repeat(logits, networks, axis=0)
        np.testing.assert_array_equal(objectives.dmcl(tied, labels).teacher, np.zeros(5))
        worse_first = tf.concat([tf.zeros_like(logits), tied], axis=0)
        entropies = objectives.cross_entropy(worse_first, labels)
        expected = np.where(entropies[1] < entropies[0], 1, 0)
        np.testing.assert_array_equal(objectives.dmcl(worse_first, labels).teacher, expected)


def test_no_gradient_flows_into_the_teacher():
    logits, labels = random_case(3, 6, 5, seed=2)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        objective = objectives.dmcl(logits, labels)
        is_teacher = tf.equal(tf.range(3)[:, None], objective.teacher)
        losers = tf.reduce_sum(tf.where(is_teacher, 0.0, objective.loss))
    gradient = tape.gradient(losers, logits).numpy()
    np.testing.assert_array_equal(gradient[is_teacher.numpy()], 0.0)
    assert (np.abs(gradient[~is_teacher.numpy()]).sum(axis=1) > 0.01).all()


def test_gradient_of_the_distillation_is_the_difference_of_the_softened_predictions():
    logits, labels = random_case(3, 6, 5, seed=3)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        objective = objectives.dmcl(logits, labels, temperature=5.0, loser_ground_truth_weight=0.0)
        loss = tf.reduce_sum(objective.loss)
    soft = np.exp(log_softmax(logits.numpy() / 5.0))
    hard = np.exp(log_softmax(logits.numpy()))
    gradient = tape.gradient(loss, logits).numpy()
    for sample, teacher in enumerate(objective.teacher.numpy()):
        expected = 5.0 * (soft[:, sample] - soft[teacher, sample])  # T² / T
        expected[teacher] = hard[teacher, sample] - np.eye(5)[labels[sample]]
        np.testing.assert_allclose(gradient[:, sample], expected, rtol=1e-4, atol=1e-5)


def test_objectives_run_in_graphs_of_unknown_shape():
    specification = [tf.TensorSpec((None, None, None)), tf.TensorSpec((None,), tf.int64)]
    for name, objective in objectives.OBJECTIVES.items():
        traced = tf.function(objective, input_signature=specification)
        for shape in ((2, 3, 4), (3, 10, 10)):
            logits, labels = random_case(*shape)
            np.testing.assert_allclose(
                traced(logits, labels).loss, FORMULAS[name](logits.numpy(), labels.numpy())[0], 1e-5
            )
