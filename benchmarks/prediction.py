"""`vocseg predict` on a thousand pictures, beside the bare network on a batch that is ready."""

import pathlib
import tempfile

import keras
import numpy as np
import PIL.Image
import tensorflow as tf

from benchmarks import models, voc
from benchmarks.harness import Row, Way, measure
from components import predicted_files, preprocessing
from components.prediction import Model

BARE = "predict_on_batch of a ready batch"
IMAGES = 1000
BATCH = 8
COMPARED = 16
TOLERANCE = 1e-4
"""Share of the pixels that may differ: batches of another size round differently, which decides pixels that are a tie."""


def bare_mask(network: keras.Model, picture: pathlib.Path) -> np.ndarray:
    """Returns ids, int64 [H, W], by the network alone: decode, resize, network, enlarge, argmax."""
    image = preprocessing.decode_image(tf.io.read_file(str(picture)))
    small = preprocessing.scale_image(preprocessing.resize_image(image, models.config().transform))
    logits = tf.image.resize(network(small[tf.newaxis], training=False), image.shape[:2])
    return tf.argmax(logits[0], axis=-1).numpy()


def _compare(network: keras.Model, outputs: dict[pathlib.Path, predicted_files.Outputs]) -> None:
    """Fails where masks that were written are not the network's."""
    differing = [np.asarray(PIL.Image.open(mask)) != bare_mask(network, picture) for picture, (mask, _) in outputs.items()]
    share = float(np.mean(np.concatenate([one.reshape(-1) for one in differing])))
    if share > TOLERANCE:
        raise AssertionError(f"{share:.3%} of the pixels of the masks are not what the network answers")


def run(data: pathlib.Path, turns: int) -> list[Row]:
    """Times them; ours reads, decodes, enlarges, finds regions, and writes mask and overlay of each picture, too."""
    side_px = models.config().transform.height_px
    found = [pathlib.Path(pair.image) for split in ("train", "validation", "test") for pair in voc.pairs(data, split)]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        network = models.export(folder / "model", data)
        (folder / "in").mkdir()
        for number in range(IMAGES):
            voc.link(found[number % len(found)], folder / "in" / f"{number}.jpg")
        model = Model(folder / "model")
        outputs = predicted_files.output_paths(sorted((folder / "in").iterdir()), folder / "out")

        def ours(wanted: dict[pathlib.Path, predicted_files.Outputs] = outputs) -> None:
            if errors := [one.error for one in predicted_files.predict_files(model, wanted) if one.error]:
                raise AssertionError(errors[0])

        some = dict(list(outputs.items())[:COMPARED])
        ours(some)
        _compare(network, some)

        batch = np.random.default_rng(0).random((BATCH, side_px, side_px, 3), np.float32)

        def bare() -> None:
            for _ in range(IMAGES // BATCH):  # `model.predict` would keep all logits: 5 GiB.
                network.predict_on_batch(batch)

        ways = [Way("predict", ours, IMAGES), Way(BARE, bare, IMAGES)]
        taken = measure(ways, turns)
    return [
        Row(
            what=f"predict once running, {IMAGES} pictures, {side_px} px",
            unit="images",
            ours=taken["predict"],
            reference=taken[BARE],
            aim=0.7,
        )
    ]
