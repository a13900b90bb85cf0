"""The ensemble: one network per modality, trained together, usable in any subset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import keras
import tensorflow as tf

from dmcl_tf import methods as objectives
from dmcl_tf.config import Config
from dmcl_tf.learning.optimizers import is_decayed
from dmcl_tf.networks import r2plus1d as networks


class ModalityEnsemble(keras.Model):
    """Networks of several modalities with a joint training step.

    A batch is a dict: `clips`, modality → (B, T, H, W, 3) float32; `label`, (B,) integers; `video_id`, of any
    type, (B, …), for messages. Clips of other modalities are the teacher's, if there is one.

    Args:
        networks: modality → Keras model from clips (B, T, H, W, 3) to logits (B, C); the order breaks ties.
        objective: `objective(logits (M, B, C), labels (B,), …)` → `objectives.Objective`, of `objectives.OBJECTIVES`.
        weight_decay: w in w·Σv²/2, added to the loss over all kernels.
        seed: of what the objective draws.
        name: of the model.

    Attributes:
        teacher: for an objective that asks for `teacher_logits`: a function from clips by modality to logits (B, C) of
            frozen networks, which are no part of this model. None until it is set.
    """

    def __init__(
        self,
        networks: Mapping[str, keras.Model],
        objective: Callable[..., objectives.Objective],
        *,
        weight_decay: float = 0.0,
        seed: int = 0,
        name: str = "modality_ensemble",
    ):
        super().__init__(name=name)
        self.networks = dict(networks)
        self.modalities = tuple(networks)
        self.objective = objective
        self.weight_decay = weight_decay
        self.seed = seed
        self.teacher: Callable[[Mapping[str, tf.Tensor]], tf.Tensor] | None = None
        names = ["loss", *(f"{m}_{kind}" for kind in ("loss", "cross_entropy", "accuracy", "wins") for m in networks)]
        self.means = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True  # by its networks

    def call(self, inputs, training=False):
        """Clips of any subset of the modalities → logits (B, C) of each of them, by modality."""
        unknown = set(inputs) - set(self.modalities)
        if not inputs or unknown:
            raise ValueError(f"modalities {sorted(inputs)}: expected one or more of {', '.join(self.modalities)}")
        return {m: self.networks[m](inputs[m], training=training) for m in self.modalities if m in inputs}

    def stacked_logits(self, clips, training=False) -> tf.Tensor:
        """Clips of all modalities, and perhaps more → logits (M, B, C)."""
        logits = self({modality: clips[modality] for modality in self.modalities}, training=training)
        return tf.stack([logits[modality] for modality in self.modalities])

    def train_step(self, batch):
        """One step on a replica's share of a batch: winners, objective, gradients, update.

        The gradient is that of the mean over the *global* batch: each replica divides by its own share and by the
        number of replicas, and the optimiser sums.

        Raises:
            InvalidArgumentError: where the loss is not finite; the message holds the batch's video ids.
        """
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        given = self._step_inputs(batch["clips"])
        with tf.GradientTape() as tape:
            logits = self.stacked_logits(batch["clips"], training=True)
            objective = self.objective(logits, batch["label"], **given)
            loss = tf.reduce_sum(tf.reduce_mean(objective.loss, axis=1))
            is_finite = tf.reduce_all(tf.math.is_finite(loss))
            check = tf.debugging.Assert(is_finite, ["non-finite loss", batch["video_id"]], summarize=2**20)
            with tf.control_dependencies([check] if check is not None else []):
                total = (tf.identity(loss) + self._decay_loss()) / replicas
        variables = self.trainable_variables
        gradients = tape.gradient(total, variables)
        self.optimizer.apply_gradients(zip(gradients, variables))
        return self._report(loss, objective, logits, batch["label"])

    def test_step(self, batch):
        """Loss and accuracy of each network on a batch of clips, without training."""
        logits = self.stacked_logits(batch["clips"])
        objective = self.objective(logits, batch["label"], **self._step_inputs(batch["clips"]))
        loss = tf.reduce_sum(tf.reduce_mean(objective.loss, axis=1))
        return self._report(loss, objective, logits, batch["label"])

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing: the networks are built. Keras 3 would average a batch over replicas here, video ids and all."""

    def _step_inputs(self, clips) -> dict[str, tf.Tensor]:
        """What the objective asks of a step: a seed of its own for each step and replica, the teacher's logits."""
        asked, given = objectives.step_inputs(self.objective), {}
        if "seed" in asked:
            step = tf.cast(tf.convert_to_tensor(self.optimizer.iterations), tf.int64)
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            given["seed"] = tf.random.experimental.stateless_fold_in(tf.stack([self.seed, step]), replica)
        if "teacher_logits" in asked:
            given["teacher_logits"] = self.teacher(clips)
        return given

    def _decay_loss(self) -> tf.Tensor:
        if not self.weight_decay:
            return tf.constant(0.0)
        kernels = [variable for variable in self.trainable_variables if is_decayed(variable)]
        return self.weight_decay * tf.add_n([tf.nn.l2_loss(tf.convert_to_tensor(kernel)) for kernel in kernels])

    def _report(self, loss, objective, logits, labels) -> dict[str, tf.Tensor]:
        cross_entropy = objectives.cross_entropy(logits, labels)
        correct = tf.equal(tf.argmax(logits, axis=2, output_type=labels.dtype), labels)
        winner = objectives.winner(cross_entropy)
        self.means["loss"].update_state(loss)
        for index, modality in enumerate(self.modalities):
            self.means[f"{modality}_loss"].update_state(objective.loss[index])
            self.means[f"{modality}_cross_entropy"].update_state(cross_entropy[index])
            self.means[f"{modality}_accuracy"].update_state(correct[index])
            self.means[f"{modality}_wins"].update_state(tf.equal(winner, index))
        return {name: mean.result() for name, mean in self.means.items()}


def make_objective(config: Config) -> Callable[..., objectives.Objective]:
    """The objective of a run, with its settings; what is left are the arguments that a training step gives."""
    return partial(objectives.OBJECTIVES[config.method], **config.objective_settings())


def make_ensemble(config: Config, num_classes: int) -> ModalityEnsemble:
    """A freshly initialised ensemble for a run; weights depend on `config.seed` through Keras' global seed."""
    keras.mixed_precision.set_global_policy("mixed_bfloat16" if config.precision == "bfloat16" else "float32")
    members = {
        modality: networks.r2plus1d_18(
            num_classes,
            config.width,
            config.variant,
            batch_norm_momentum=config.batch_norm_momentum,
            name=modality,
        )
        for modality in config.modalities
    }
    decay = config.weight_decay if config.optimizer in ("sgd", "adam") else 0.0  # the others decay by themselves
    return ModalityEnsemble(members, make_objective(config), weight_decay=decay, seed=config.seed)
