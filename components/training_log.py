"""The course of a training, as a table (CSV) and for TensorBoard."""

import csv
import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from components import iou

HISTORY_FILE = "history.csv"
"""In the ModelRun artifact: a row an epoch."""


def make_row(
    epoch: int,
    learning_rate: float,
    dropout: float | None,
    seconds: float,
    train: tuple[float, np.ndarray],
    validation: tuple[float, np.ndarray] | None,
    class_names: Sequence[str],
) -> dict[str, Any]:
    """Returns what is logged of an epoch.

    Args:
        epoch: epochs done.
        learning_rate: at its end.
        dropout: its rate, if that rises.
        seconds: that it took.
        train: mean loss, and confusion matrix int64 [C, C] of the varied pictures as they were learnt.
        validation: the same of the validation split, if it was measured.
        class_names: C of them.
    """
    row: dict[str, Any] = {"epoch": epoch, "learning_rate": learning_rate, "seconds": round(seconds, 2)}
    row |= {} if dropout is None else {"dropout": dropout}
    row |= {"loss": train[0], "mean_iou": iou.mean_iou(train[1])}
    if validation:
        row |= {"val_loss": validation[0], "val_mean_iou": iou.mean_iou(validation[1])}
        row |= {f"val_iou/{name}": float(value) for name, value in zip(class_names, iou.iou(validation[1]), strict=True)}
    return row


def to_csv(history: Sequence[dict[str, Any]]) -> str:
    """Returns the rows as CSV; what an epoch did not measure stays empty."""
    text = io.StringIO()
    columns = list(dict.fromkeys(name for row in history for name in row))
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


def write_history(history: Sequence[dict[str, Any]], folder: str) -> None:
    """Writes the rows to `history.csv`."""
    tf.io.gfile.makedirs(folder)
    with tf.io.gfile.GFile(os.path.join(folder, HISTORY_FILE), "w") as file:
        file.write(to_csv(history))


class TensorBoardLog:
    """Writes rows and pictures for TensorBoard: training and validation as two runs, so that their curves share a chart.

    Args:
        folder: the log folder.
    """

    def __init__(self, folder: str) -> None:
        """Opens the files."""
        self._train = tf.summary.create_file_writer(os.path.join(folder, "train"))
        self._validation = tf.summary.create_file_writer(os.path.join(folder, "validation"))

    def write(self, row: dict[str, Any]) -> None:
        """Writes an epoch's numbers, each at the epoch as its step."""
        for name, value in row.items():
            writer = self._validation if name.startswith("val_") else self._train
            if name != "epoch":
                with writer.as_default(step=row["epoch"]):
                    tf.summary.scalar(name.removeprefix("val_"), value)
        self.flush()

    def draw(self, panel: np.ndarray, epoch: int) -> None:
        """Writes pictures, uint8 [B, H, W, 3]."""
        with self._validation.as_default(step=epoch):
            tf.summary.image("image, truth, prediction", panel, max_outputs=len(panel))
        self.flush()

    def flush(self) -> None:
        """Brings it to the files, for whoever watches."""
        self._train.flush()
        self._validation.flush()
