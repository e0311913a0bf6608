"""`vocseg predict` on a thousand pictures, beside the bare network on a batch that is ready."""

import pathlib
import tempfile

import numpy as np

from benchmarks import models, voc
from benchmarks.harness import Row, Way, measure
from components import predicted_files
from components.prediction import Model

IMAGES = 1000
BATCH = 8


def run(data: pathlib.Path, turns: int) -> list[Row]:
    """Times them; ours reads, decodes, enlarges, finds regions, and writes mask and overlay of each picture, too."""
    side_px = models.config().transform.height_px
    found = [pathlib.Path(pair.image) for split in ("train", "validation", "test") for pair in voc.pairs(data, split)]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        network = models.export(folder / "model")
        (folder / "in").mkdir()
        for number in range(IMAGES):
            voc.link(found[number % len(found)], folder / "in" / f"{number}.jpg")
        model = Model(folder / "model")
        outputs = predicted_files.output_paths(sorted((folder / "in").iterdir()), folder / "out")

        def ours() -> None:
            assert all(not one.error for one in predicted_files.predict_files(model, outputs))

        batch = np.random.default_rng(0).random((BATCH, side_px, side_px, 3), np.float32)
        ready = np.concatenate([batch] * (IMAGES // BATCH))
        ways = [
            Way("predict", ours, IMAGES),
            Way("model.predict on ready arrays", lambda: network.predict(ready, BATCH, verbose=0), len(ready)),
        ]
        taken = measure(ways, turns)
    return [
        Row(
            what=f"predict, {IMAGES} pictures",
            unit="images",
            ours=taken["predict"],
            reference=taken["model.predict on ready arrays"],
            aim=0.7,
        )
    ]
