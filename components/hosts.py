"""Hosts: those that train together, what role this one has among them, and how they divide the work.

One host uses all its GPUs. Several are named by `TF_CONFIG`, as Vertex AI sets it in each of them: every one runs the same
`run_fn` on the same records, and the first, the chief, is the one that reads and writes states and artifacts.
"""

import contextlib
import dataclasses
import functools
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from components.errors import TrainingError

_ROLES = ("chief", "worker")
_SUM = tf.distribute.ReduceOp.SUM
_PIECE_BYTES = 1 << 28
"""What is broadcast at a time: gRPC and TensorFlow have limits of 2 GiB."""
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
"""What a collective operation raises, depending on the moment, when another host is gone."""
_LOST_TEXTS = ("collective", "peer", "heartbeat", "coordination", "connection", "nccl")
"""Of an InternalError in that case: the same type is raised for much else."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hosts:
    """The hosts of a training, as one of them sees it.

    Attributes:
        strategy: how a batch is divided among all their devices.
        index: of this host, from 0.
        count: of hosts.
    """

    strategy: tf.distribute.Strategy
    index: int = 0
    count: int = 1

    @property
    def is_chief(self) -> bool:
        """Tells whether states and artifacts are this host's business."""
        return self.index == 0

    def broadcast(self, content: bytes) -> bytes:
        """Returns the chief's content on every host; all have to call it."""
        if self.count == 1:
            return content
        own = content if self.is_chief else b""
        [size] = self._sum(np.array([len(own)], np.int64).view(np.int32)).view(np.int64)
        starts = range(0, size, _PIECE_BYTES)
        return b"".join(self._broadcast(own[start : start + _PIECE_BYTES], min(_PIECE_BYTES, size - start)) for start in starts)

    def _broadcast(self, own: bytes, size: int) -> bytes:
        """Returns the chief's bytes, of which there are as many; `own` is empty on the other hosts."""
        words = np.zeros(-(-size // 4), np.int32)
        words.view(np.uint8)[: len(own)] = np.frombuffer(own, np.uint8)
        return self._sum(words).tobytes()[:size]

    def check_same(self, name: str) -> None:
        """Makes sure that all hosts are about to do the same; all have to call it.

        Args:
            name: a digest of what this host is about to do.

        Raises:
            TrainingError: another host has another name, on all hosts alike.
        """
        if self.count == 1:
            return
        differs = self.broadcast(name.encode()) != name.encode()
        differing = self._sum(np.eye(self.count, dtype=np.int32)[self.index] * differs)
        if differing.any():
            raise TrainingError(
                f"All {self.count} hosts must train the same, but data, code or configuration of host "
                f"{', '.join(map(str, np.flatnonzero(differing)))} differ from those of host 0, the chief. "
                "Start the same image with the same arguments on each."
            )

    def wait(self) -> None:
        """Returns when all hosts have called it."""
        if self.count > 1:
            self._sum(np.zeros(1, np.int32))

    def _sum(self, array: np.ndarray) -> np.ndarray:
        """Returns the sum of all hosts' arrays, int32 [N]."""
        return self._add(tf.constant(array)).numpy()

    @functools.cached_property
    def _add(self) -> Callable[[tf.Tensor], tf.Tensor]:
        devices = self.strategy.num_replicas_in_sync // self.count

        def share(array: tf.Tensor) -> tf.Tensor:
            first = tf.distribute.get_replica_context().replica_id_in_sync_group % devices == 0
            return tf.where(first, array, tf.zeros_like(array))  # A host's devices have the same, and it counts once.

        @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
        def add(array: tf.Tensor) -> tf.Tensor:
            return self.strategy.reduce(_SUM, self.strategy.run(share, (array,)), axis=None)

        return add


def join(tf_config: str | None) -> Hosts:
    """Returns the hosts that train together; to be called before TensorFlow is used, since it cannot be joined to others later.

    Waits until all have come.

    Args:
        tf_config: what `TF_CONFIG` says, in JSON; empty or None: this host is alone.

    Raises:
        TrainingError: it is malformed, names roles that this training does not have, or TensorFlow has been used.
    """
    index, count = parse(tf_config)
    if count == 1:
        return Hosts(strategy=local_strategy())
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise TrainingError(
            f"This host could not be joined to the {count - 1} others that TF_CONFIG names: {error}. "
            "TensorFlow must not have been used in this process before."
        ) from error
    # Each host has as many whole batches: they need not ask one another, step by step, whether there is one more.
    strategy.extended.experimental_enable_get_next_as_optional = False
    return Hosts(strategy=strategy, index=index, count=count)


def local_strategy() -> tf.distribute.Strategy:
    """Returns one that uses all GPUs of this host, or the default one."""
    return tf.distribute.MirroredStrategy() if len(tf.config.list_physical_devices("GPU")) > 1 else tf.distribute.get_strategy()


def parse(tf_config: str | None) -> tuple[int, int]:
    """Returns this host's index, with the chief first, and the number of hosts.

    Args:
        tf_config: as of `join`.

    Raises:
        TrainingError: as of `join`.
    """
    try:
        config = json.loads(tf_config or "{}")
    except json.JSONDecodeError as error:
        raise _malformed(tf_config, f"it is no JSON: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("cluster", {}), dict):
        raise _malformed(tf_config, "it is no object with the object `cluster` in it")
    cluster = config.get("cluster", {})
    if not cluster:
        return 0, 1
    task = config.get("task")
    if not isinstance(task, dict) or not isinstance(task.get("type"), str) or type(task.get("index")) is not int:
        raise _malformed(tf_config, "`task` has no `type` and `index`, a number, that tell which host this is")
    _check_roles([*cluster, task["type"]])
    counts = {role: _count(cluster, role, tf_config) for role in _ROLES}
    if counts["chief"] > 1:
        raise _malformed(tf_config, f"it names {counts['chief']} chiefs")
    if not 0 <= task["index"] < counts[task["type"]]:
        raise _malformed(tf_config, f"this is {task['type']} {task['index']} of {counts[task['type']]}, counted from 0")
    before = counts["chief"] if task["type"] == "worker" else 0
    return before + task["index"], sum(counts.values())


def _count(cluster: dict[str, Any], role: str, tf_config: str | None) -> int:
    addresses = cluster.get(role, [])
    if not isinstance(addresses, list) or not all(isinstance(address, str) and ":" in address for address in addresses):
        raise _malformed(tf_config, f"`{role}` is no list of addresses with a port")
    return len(addresses)


def _check_roles(roles: list[str]) -> None:
    """Refuses roles that would wait for something that never comes."""
    for role in roles:
        if role not in _ROLES:
            raise TrainingError(
                f"TF_CONFIG has the role {role!r}, but all hosts train in step here, as chief or worker: there are no "
                "parameter servers and no evaluators. On Vertex AI, have worker pools 0 and 1 only."
            )


def _malformed(tf_config: str | None, reason: str) -> TrainingError:
    return TrainingError(
        f"TF_CONFIG cannot be used, for {reason}. Expected, for instance, "
        '{"cluster": {"chief": ["a:2222"], "worker": ["b:2222"]}, "task": {"type": "worker", "index": 0}}; got '
        f"{tf_config}. Unset it to train on this host alone."
    )


@contextlib.contextmanager
def advice_on_loss(hosts: Hosts) -> Iterator[None]:
    """Says in words what to do when another host is gone.

    Raises:
        TrainingError: it is.
    """
    try:
        yield
    except (*_LOST, tf.errors.InternalError) as error:
        if hosts.count == 1 or not (isinstance(error, _LOST) or any(text in error.message.lower() for text in _LOST_TEXTS)):
            raise
        raise TrainingError(
            f"This host, number {hosts.index} of {hosts.count}, counted from 0, lost touch with the others ({error.message}). "
            "If one has ended, its log says why. Start all of them again: training goes on from its last epoch."
        ) from error
