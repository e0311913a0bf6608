"""What a training has reached, kept outside the artifacts: TFX deletes those of a step that dies."""

import dataclasses
import io
import json
import logging
import os
import re
import zipfile
from typing import Any

import numpy as np
import tensorflow as tf

_STATE_FILE = "state.json"
_ARRAYS_FILE = "arrays.npz"
_FINISHED_FILE = "finished"
_DAMAGED = (ValueError, EOFError, zipfile.BadZipFile, tf.errors.NotFoundError)


@dataclasses.dataclass
class TrainingState:
    """A training after some of its epochs.

    Attributes:
        epoch: epochs done.
        arrays: the network's weights, all that the optimizer keeps, and averages of batch statistics.
        best_score: best validation mean IoU so far, 0..1, or -1 before any.
        best_epoch: epochs done when it was measured.
        best_weights: the network's weights then.
        dropout: the dropout rate of the next epoch.
        history: a row an epoch, for the log.
    """

    epoch: int = 0
    arrays: list[np.ndarray] = dataclasses.field(default_factory=list)
    best_score: float = -1.0
    best_epoch: int = 0
    best_weights: list[np.ndarray] = dataclasses.field(default_factory=list)
    dropout: float = 0.0
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def encode(state: TrainingState | None) -> bytes:
    """Returns a state, or that there is none, as bytes for another host."""
    if state is None:
        return b""
    facts = json.dumps({**_facts(state), "arrays": len(state.arrays)}).encode()
    return _pack([np.frombuffer(facts, np.uint8), *state.arrays, *state.best_weights])


def decode(content: bytes) -> TrainingState | None:
    """Returns what `encode` was given."""
    if not content:
        return None
    first, *arrays = _unpack(content)
    facts = json.loads(first.tobytes())
    count = facts.pop("arrays")
    return TrainingState(**facts, arrays=arrays[:count], best_weights=arrays[count:])


class StateFolder:
    """Keeps the newest state of a training in a folder, local or remote, whole or not at all.

    Args:
        folder: where; made when something is kept.
    """

    def __init__(self, folder: str) -> None:
        """Keeps the place."""
        self.folder = folder

    def save(self, state: TrainingState) -> None:
        """Keeps a state, then drops the one before.

        A state counts once its `state.json` is there, which is written last and names the files that belong to it; so whatever
        moment a kill chooses, one whole state remains.
        """
        name, best = f"epoch-{state.epoch:06d}", f"best-{state.best_epoch:06d}.npz"
        folder = os.path.join(self.folder, name)
        tf.io.gfile.makedirs(folder)
        # An epoch that a kill interrupted may have left its best weights; elsewhere than on a CPU they are not quite these.
        if state.best_weights and (state.best_epoch == state.epoch or not tf.io.gfile.exists(os.path.join(self.folder, best))):
            _write(os.path.join(self.folder, best), _pack(state.best_weights))
        _write(os.path.join(folder, _ARRAYS_FILE), _pack(state.arrays))
        facts = {"best": best if state.best_weights else None, **_facts(state)}
        _write(os.path.join(folder, _STATE_FILE), json.dumps(facts).encode())
        for other in tf.io.gfile.listdir(self.folder):
            other = other.rstrip("/")  # Some stores list folders with it.
            if re.fullmatch(r"epoch-\d+", other) and other != name:
                tf.io.gfile.rmtree(os.path.join(self.folder, other))
            elif re.fullmatch(r"best-\d+\.npz.*", other) and other != best:
                tf.io.gfile.remove(os.path.join(self.folder, other))

    def load(self) -> TrainingState | None:
        """Returns the newest whole state, or None if there is none; what a power cut left of one counts as none."""
        if not tf.io.gfile.exists(self.folder):
            return None
        names = (name.rstrip("/") for name in tf.io.gfile.listdir(self.folder))
        for name in sorted((name for name in names if re.fullmatch(r"epoch-\d+", name)), reverse=True):
            if tf.io.gfile.exists(os.path.join(self.folder, name, _STATE_FILE)):
                try:
                    return self._read(name)
                except _DAMAGED as error:
                    logging.warning("%s cannot be read: %r", os.path.join(self.folder, name), error)
        return None

    def _read(self, name: str) -> TrainingState:
        facts = json.loads(_read(os.path.join(self.folder, name, _STATE_FILE)))
        best = facts.pop("best")
        return TrainingState(
            **facts,
            arrays=_unpack(_read(os.path.join(self.folder, name, _ARRAYS_FILE))),
            best_weights=_unpack(_read(os.path.join(self.folder, best))) if best else [],
        )

    def finish(self) -> None:
        """Says that all is done and exported. The state stays for `remove_finished`: the artifacts are not published yet."""
        tf.io.gfile.makedirs(self.folder)
        _write(os.path.join(self.folder, _FINISHED_FILE), b"")


def remove_finished(parent: str, keep: str = "") -> None:
    """Drops the states of trainings that have said to be finished.

    To be called when their artifacts are published: a training that is killed between its end and that is run again, and then
    only exports what the state has.

    Args:
        parent: the folder of all states.
        keep: the name of one that stays.
    """
    for name in tf.io.gfile.listdir(parent) if tf.io.gfile.exists(parent) else ():
        folder = os.path.join(parent, name.rstrip("/"))
        if name.rstrip("/") == keep or not tf.io.gfile.exists(os.path.join(folder, _FINISHED_FILE)):
            continue
        for inner in tf.io.gfile.listdir(folder):
            path = os.path.join(folder, inner.rstrip("/"))
            if tf.io.gfile.isdir(path):
                tf.io.gfile.rmtree(path)
            elif inner != _FINISHED_FILE:  # It goes last: what a kill leaves behind is found again.
                tf.io.gfile.remove(path)
        tf.io.gfile.rmtree(folder)


def _facts(state: TrainingState) -> dict[str, Any]:
    """Returns all that is no array."""
    return {name: getattr(state, name) for name in ("epoch", "best_score", "best_epoch", "dropout", "history")}


def _pack(arrays: list[np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **{f"{number:06d}": array for number, array in enumerate(arrays)})
    return buffer.getvalue()


def _unpack(content: bytes) -> list[np.ndarray]:
    arrays = np.load(io.BytesIO(content), allow_pickle=False)
    return [arrays[name] for name in sorted(arrays.files)]


def _read(path: str) -> bytes:
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()


def _write(path: str, content: bytes) -> None:
    partial = f"{path}.partial"
    with tf.io.gfile.GFile(partial, "wb") as file:
        file.write(content)
    tf.io.gfile.rename(partial, path, overwrite=True)
