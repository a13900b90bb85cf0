"""Who computes: one device, all devices of this machine, or several workers, each with those of its machine."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from dmcl_tf.errors import InputError, explain
from dmcl_tf.learning.cluster import Cluster, Watch, find_cluster


@dataclass(frozen=True)
class Workers:
    """What computes together.

    Attributes:
        strategy: of all devices of all workers.
        cluster: the workers; None where there is one alone.
    """

    strategy: tf.distribute.Strategy
    cluster: Cluster | None = None

    @property
    def count(self) -> int:
        """How many workers there are."""
        return len(self.cluster.addresses) if self.cluster else 1

    @property
    def index(self) -> int:
        """Which of them this is."""
        return self.cluster.index if self.cluster else 0

    @property
    def chief(self) -> bool:
        """Whether this one writes what is kept, and reports."""
        return self.index == 0

    def distribute(self, share: Callable[[tf.distribute.InputContext], tf.data.Dataset]) -> Iterable:
        """The batches of a data set, of which `share` makes what one worker reads, on the devices that compute.

        One processor alone reads it as it is. A strategy would add a thread that tunes nothing, for which the end of a
        run waits, up to half a minute on idle cores.
        """
        if self.strategy.num_replicas_in_sync == 1 and not tf.config.list_physical_devices("GPU"):
            return share(tf.distribute.InputContext())
        return self.strategy.distribute_datasets_from_function(share)

    def sum(self, values: np.ndarray) -> np.ndarray:
        """The sum over all workers of an array of the same shape in each; all must call it."""
        if self.count == 1:
            return values
        local = len(self.strategy.extended.worker_devices)

        def of_replica(context):
            first = context.replica_id_in_sync_group % local == 0
            return tf.constant(values if first else np.zeros_like(values))

        each = self.strategy.experimental_distribute_values_from_function(of_replica)
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, each, axis=None).numpy()

    def wait(self) -> None:
        """Waits for all workers to come here."""
        self.sum(np.zeros(1, np.float32))


@contextmanager
def working_together(name: str | None) -> Iterator[Workers]:
    """Joins the others, and parts from them when the block is done by all.

    Args:
        name: one of `dmcl_tf.config.STRATEGIES`; None: the workers that `TF_CONFIG` or Slurm names, else all devices.

    Raises:
        InputError: there is no cluster to work with, or there is one and none is asked for.
    """
    cluster = find_cluster()
    if name == "multi_worker" and cluster is None:
        raise InputError(
            "--strategy=multi_worker: neither TF_CONFIG nor Slurm says who the workers are; see docs/cluster.md"
        )
    if cluster is None or len(cluster.addresses) == 1 or name not in (None, "multi_worker"):
        if cluster and len(cluster.addresses) > 1:
            raise InputError(
                f"--strategy={name}: TF_CONFIG or Slurm names {len(cluster.addresses)} workers, which would train the "
                "same run beside each other; leave the flag out, or the variables"
            )
        yield Workers(_of_this_machine(name))
        return
    if cluster.index == 0:
        print(f"{len(cluster.addresses)} workers: {', '.join(cluster.addresses)}", flush=True)
    with Watch(cluster) as watch:
        try:
            workers = Workers(_of_cluster(cluster), cluster)
            yield workers
            workers.wait()
        except BaseException as error:
            _leave(error, watch)


def _of_this_machine(name: str | None) -> tf.distribute.Strategy:
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if name == "one_device" or (name is None and len(devices) == 1):
        return tf.distribute.OneDeviceStrategy(devices[0].name)
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _of_cluster(cluster: Cluster) -> tf.distribute.Strategy:
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(cluster.addresses)}),
        task_type="worker",
        task_id=cluster.index,
        num_accelerators={"GPU": len(tf.config.list_physical_devices("GPU"))},
        rpc_layer="grpc",
    )
    return tf.distribute.MultiWorkerMirroredStrategy(resolver)


def _leave(error: BaseException, watch: Watch) -> None:
    """Ends this process at once: the others are in the middle of something, and TensorFlow would wait for them."""
    explained = explain(error)
    if explained is None and isinstance(error, tf.errors.OpError):
        watch.leave_if_lost()
    sys.stdout.flush()
    if explained:
        print(explained[0], file=sys.stderr, flush=True)
    else:
        traceback.print_exception(type(error), error, error.__traceback__)
        sys.stderr.flush()
    os._exit(explained[1] if explained else 1)
