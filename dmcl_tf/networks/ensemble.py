"""The ensemble: one network per modality, trained together, usable in any subset."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter

import keras
import tensorflow as tf

from dmcl_tf.config import Config
from dmcl_tf.data.pipeline import training_input
from dmcl_tf.learning.loss_scale import LossScale
from dmcl_tf.learning.optimizers import decays_itself, is_decayed
from dmcl_tf.methods import LOSSES, Outputs, Step, cross_entropy, winner
from dmcl_tf.networks import NETWORKS
from dmcl_tf.networks.recompute import Recomputed

NOT_FINITE = "the loss is not finite"  # how the message of the error begins


class ModalityEnsemble(keras.Model):
    """Networks of several modalities with a joint training step.

    A batch is a dict with the `label`, (B,) integers, and what `prepare` makes clips of: modality → (B, T, H, W, 3)
    float32. Clips of other modalities are the teacher's, if there is one.

    Args:
        networks: modality → Keras model from clips to `logits` (B, C) and `features` (B, F); the order breaks ties.
        method: `method(outputs, labels, step)` → (M, B) losses, one of `methods.LOSSES` with its weights.
        weight_decay: w in w·Σv²/2, added to the loss over all kernels.
        seed: of what the method draws.
        teacher: function from clips by modality to logits (B, C) of frozen networks, which are no part of this model.
        prepare: function from a batch to its clips by modality, such as augmentation; None: they are there as `clips`.
        recompute: whether training computes the inside of residual blocks twice instead of keeping it.
        loss_scale: of training in float16.
        name: of the model.

    Raises:
        InputError: a network has no residual blocks to recompute.
    """

    def __init__(
        self,
        networks: Mapping[str, keras.Model],
        method: Callable[[Outputs, tf.Tensor, Step], tf.Tensor],
        *,
        weight_decay: float = 0.0,
        seed: int = 0,
        teacher: Callable[[Mapping[str, tf.Tensor]], tf.Tensor] | None = None,
        prepare: Callable[[Mapping], Mapping[str, tf.Tensor]] | None = None,
        recompute: bool = False,
        loss_scale: LossScale | None = None,
        name: str = "modality_ensemble",
    ):
        # Keras would scale the loss of a float16 model once more
        super().__init__(name=name, dtype="float32" if loss_scale else None)
        self.networks = dict(networks)
        self.modalities = tuple(networks)
        self.method = method
        self.weight_decay = weight_decay
        self.seed = seed
        self.teacher = teacher
        self.prepare = prepare or itemgetter("clips")
        self.loss_scale = loss_scale
        self._recomputed = [Recomputed(network) for network in networks.values()] if recompute else []
        names = ["loss", *(f"{m}_{kind}" for kind in ("loss", "cross_entropy", "accuracy", "wins") for m in networks)]
        self.means = {name: keras.metrics.Mean(name=name) for name in names}
        self.built = True  # by its networks

    def call(self, inputs, training=False):
        """Clips of any subset of the modalities → logits (B, C) of each of them, by modality."""
        unknown = set(inputs) - set(self.modalities)
        if not inputs or unknown:
            raise ValueError(f"modalities {sorted(inputs)}: expected one or more of {', '.join(self.modalities)}")
        return {m: self.networks[m](inputs[m], training=training)["logits"] for m in self.modalities if m in inputs}

    def forward(self, clips, training=False) -> Outputs:
        """Clips of all modalities, and perhaps more → what the networks say of them."""
        return _stack([self.networks[modality](clips[modality], training=training) for modality in self.modalities])

    def stacked_logits(self, clips, training=False) -> tf.Tensor:
        """Clips of all modalities, and perhaps more → logits (M, B, C)."""
        return self.forward(clips, training).logits

    def train_step(self, batch):
        """`learn`, as Keras' `fit` wants it: returns the figures' means so far."""
        return self._means(self.learn(batch), batch)

    def learn(self, batch) -> dict[str, tf.Tensor]:
        """One step on a replica's share of a batch: clips, logits, losses, mean plus decay, gradients, update.

        The gradient is that of the mean over the *global* batch: each replica divides by its own share and by the
        number of replicas, and the optimiser sums.

        Returns:
            What the history reports of the share, scalars: `loss` and, of each modality, `<modality>_loss`,
            `_cross_entropy`, `_accuracy` and `_wins`.

        Raises:
            InvalidArgumentError: the loss is not finite; the message holds `NOT_FINITE`.
        """
        clips = self.prepare(batch)
        step = self._given(clips)
        kept = [part.enter(clips[modality]) for part, modality in zip(self._recomputed, self.modalities)]
        entering = [tensors[-1] for tensors in kept]  # the parts of the networks that are not recomputed
        with tf.GradientTape() as tape:
            tape.watch(entering)
            if self._recomputed:
                outputs = _stack([part.rest(x, training=True) for part, x in zip(self._recomputed, entering)])
            else:
                outputs = self.forward(clips, training=True)
            losses = self.method(outputs, batch["label"], step)  # (M, B)
            loss = tf.debugging.check_numerics(tf.reduce_sum(tf.reduce_mean(losses, axis=1)), NOT_FINITE)
            total = (loss + self._decay()) / tf.distribute.get_strategy().num_replicas_in_sync
            if self.loss_scale:
                total *= self.loss_scale.value
        variables = self.trainable_variables
        gradients, of_entering = tape.gradient(total, (variables, entering))
        by_variable = {id(variable): gradient for variable, gradient in zip(variables, gradients)}
        for part, tensors, gradient in zip(self._recomputed, kept, of_entering):
            for recomputed, variable in part.gradients(tensors, gradient):
                decay = by_variable[id(variable)]
                by_variable[id(variable)] = recomputed if decay is None else decay + recomputed
        gradients = [by_variable[id(variable)] for variable in variables]
        if self.loss_scale:
            self.loss_scale.apply(self.optimizer, gradients, variables)
        else:
            self.optimizer.apply_gradients(list(zip(gradients, variables)))
        return self._figures(losses, outputs.logits, batch["label"])

    def test_step(self, batch):
        """Loss and accuracy of each network on a batch of clips, without training."""
        clips = self.prepare(batch)
        outputs = self.forward(clips)
        losses = self.method(outputs, batch["label"], self._given(clips))
        return self._means(self._figures(losses, outputs.logits, batch["label"]), batch)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing: the networks are built. Keras 3 would average a batch over replicas here, labels and all."""

    def _given(self, clips) -> Step:
        """A seed of its own for each step and replica, and what the teacher says."""
        step = tf.cast(tf.convert_to_tensor(self.optimizer.iterations), tf.int64)
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        seed = tf.random.experimental.stateless_fold_in(tf.stack([self.seed, step]), replica)
        return Step(seed, self.teacher(clips) if self.teacher else None)

    def _decay(self) -> tf.Tensor:
        if not self.weight_decay:
            return tf.constant(0.0)
        kernels = [variable for variable in self.trainable_variables if is_decayed(variable)]
        return self.weight_decay * tf.add_n([tf.nn.l2_loss(tf.convert_to_tensor(kernel)) for kernel in kernels])

    def _figures(self, losses, logits, labels) -> dict[str, tf.Tensor]:
        entropies = cross_entropy(logits, labels)
        correct = tf.equal(tf.argmax(logits, axis=2, output_type=labels.dtype), labels)
        best = winner(entropies)
        figures = {"loss": tf.reduce_sum(tf.reduce_mean(losses, axis=1))}
        for index, modality in enumerate(self.modalities):
            figures[f"{modality}_loss"] = tf.reduce_mean(losses[index])
            figures[f"{modality}_cross_entropy"] = tf.reduce_mean(entropies[index])
            figures[f"{modality}_accuracy"] = tf.reduce_mean(tf.cast(correct[index], tf.float32))
            figures[f"{modality}_wins"] = tf.reduce_mean(tf.cast(tf.equal(best, index), tf.float32))
        return figures

    def _means(self, figures, batch) -> dict[str, tf.Tensor]:
        for name, value in figures.items():
            self.means[name].update_state(value, sample_weight=tf.shape(batch["label"])[0])
        return {name: mean.result() for name, mean in self.means.items()}


def _stack(outputs: Sequence[Mapping[str, tf.Tensor]]) -> Outputs:
    """The outputs of M networks as one."""
    return Outputs(*(tf.stack([output[name] for output in outputs]) for name in Outputs._fields))


def make_networks(config: Config, num_classes: int, modalities: Sequence[str] = ()) -> dict[str, keras.Model]:
    """Freshly initialised networks by modality, in the precision of the configuration; without names: all."""
    policy = config.precision if config.precision == "float32" else f"mixed_{config.precision}"
    keras.mixed_precision.set_global_policy(policy)
    momentum = config.batch_norm_momentum
    networks = {
        modality: NETWORKS[config.variant](num_classes, config.width, batch_norm_momentum=momentum, name=modality)
        for modality in modalities or config.modalities
    }
    if config.sync_batch_norm:
        for network in networks.values():
            for layer in network.layers:
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.synchronized = True
    return networks


def make_ensemble(
    config: Config, num_classes: int, teacher: Callable[[Mapping[str, tf.Tensor]], tf.Tensor] | None = None
) -> ModalityEnsemble:
    """A freshly initialised ensemble for a run, whose batches are those of its input pipeline.

    Weights depend on Keras' global seed.

    Args:
        config: of the run.
        num_classes: C.
        teacher: as of `ModalityEnsemble`.
    """
    return ModalityEnsemble(
        make_networks(config, num_classes),
        partial(LOSSES[config.method], **config.loss_weights()),
        weight_decay=0.0 if decays_itself(config) else config.weight_decay,
        seed=config.seed,
        teacher=teacher,
        prepare=partial(training_input, config=config),
        recompute=config.recompute,
        loss_scale=LossScale() if config.precision == "float16" else None,
    )
