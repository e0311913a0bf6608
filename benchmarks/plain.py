"""The bare parts of a `voc2007` run in one script: convert, train, validate, save, evaluate; no checks, no records, no gate.

    python -m benchmarks.plain DATA FOLDER EPOCHS    # DATA holds VOCdevkit/VOC2007; FOLDER gets the records and the model

Plain TensorFlow and Keras; the network, the variation of pictures and the decoding are the project's, as they are not what is
measured. Prints the parts' seconds and the mean IoU as a line of JSON.
"""

import itertools
import json
import pathlib
import sys
import time
from collections.abc import Iterator

import keras
import numpy as np
import PIL.Image
import tensorflow as tf

from benchmarks import voc
from components import augment, features, input_pipeline, iou, masks, pixels, preprocessing
from components.models import registry
from components.untuned import untuned
from pipeline_config import PipelineConfig, override, preset

CLASSES = len(features.VOC_CLASSES)
SPLITS = ("train", "validation", "test")
Pair = tuple[tf.Tensor, tf.Tensor]


def convert(data: pathlib.Path, folder: pathlib.Path) -> None:
    """Writes each split as TFRecord: the picture's bytes, and the mask's ids as PNG."""
    for split in SPLITS:
        with tf.io.TFRecordWriter(f"{folder}/{split}", "GZIP") as writer:
            for pair in voc.pairs(data, split):
                ids = masks.encode_ids(np.asarray(PIL.Image.open(pair.mask)))
                values = {features.IMAGE: pathlib.Path(pair.image).read_bytes(), features.LABEL: ids}
                feature = {name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[one])) for name, one in values.items()}
                writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def encoded(folder: pathlib.Path, split: str) -> tf.data.Dataset:
    """Returns the files of each picture and of its mask."""
    described = {key: tf.io.FixedLenFeature([], tf.string) for key in (features.IMAGE, features.LABEL)}

    def parse(record: tf.Tensor) -> Pair:
        parsed = tf.io.parse_single_example(record, described)
        return parsed[features.IMAGE], parsed[features.LABEL]

    return tf.data.TFRecordDataset(f"{folder}/{split}", "GZIP").map(parse)


def load(folder: pathlib.Path, split: str, config: PipelineConfig) -> Pair:
    """Returns a split at the training's size: uint8 [N, H, W, 3] and uint8 [N, H, W]."""

    def resize(image: tf.Tensor, label: tf.Tensor) -> Pair:
        return preprocessing.load_image(image, config.transform), preprocessing.load_label(label, config.transform)

    pairs = encoded(folder, split).map(resize, tf.data.AUTOTUNE)
    images, labels = zip(*pairs, strict=True)
    return tf.stack(images), tf.stack(labels)


def training_batches(images: tf.Tensor, labels: tf.Tensor, config: PipelineConfig) -> tf.data.Dataset:
    """Returns varied batches without end."""
    count, seed, pictures = len(images), config.train.seed, pixels.join(images, labels)

    def vary(number: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        return augment.augment(pictures[number], config.augment, seeds)

    def draw(number: tf.Tensor, partner: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        return augment.copy_paste(vary(number, seeds), lambda: vary(partner, seeds + 1), config.augment, seeds + 2)

    numbers, partners = (tf.data.Dataset.range(count).shuffle(count, seed + which).repeat() for which in range(2))
    seeds = tf.data.Dataset.random(seed).batch(2)
    drawn = tf.data.Dataset.zip(numbers, partners, seeds).map(draw, tf.data.AUTOTUNE)
    return untuned(drawn.batch(config.train.batch_size).map(input_pipeline.to_network).prefetch(tf.data.AUTOTUNE))


def train(images: tf.Tensor, labels: tf.Tensor, config: PipelineConfig) -> keras.Model:
    """Returns the network with its averaged weights."""
    keras.utils.set_random_seed(config.train.seed)
    steps = -(-len(images) // config.train.batch_size)
    model = registry.build(config.model, CLASSES)
    rule = keras.optimizers.AdamW(
        keras.optimizers.schedules.PolynomialDecay(config.train.learning_rate, steps * config.train.epochs, 0.0, power=0.9),
        weight_decay=config.train.weight_decay,
        use_ema=True,
        ema_momentum=config.train.ema_momentum,
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=features.IGNORE_LABEL)
    model.compile(rule, loss, jit_compile=False)
    batches = training_batches(images, labels, config)
    model.fit(batches, epochs=config.train.epochs, steps_per_epoch=steps, verbose=0)
    return model


def validate(model: keras.Model, images: tf.Tensor, labels: tf.Tensor, batch_size: int) -> float:
    """Returns the mean IoU at the training's size."""
    predict = tf.function(lambda batch: tf.argmax(model(preprocessing.scale_image(batch), training=False), -1))
    batches = untuned(tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch_size))
    return _mean_iou((truth, predict(some)) for some, truth in batches)


def evaluate(model: keras.Model, folder: pathlib.Path, config: PipelineConfig) -> float:
    """Returns the mean IoU of the test split at the pictures' own sizes."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.string)] * 2)
    def answer(image: tf.Tensor, label: tf.Tensor) -> Pair:
        truth = tf.io.decode_png(label, channels=1)[..., 0]
        small = preprocessing.scale_image(preprocessing.load_image(image, config.transform))
        logits = tf.image.resize(model(small[tf.newaxis], training=False), tf.shape(truth))
        return truth, tf.argmax(logits[0], -1)

    return _mean_iou(answer(image, label) for image, label in encoded(folder, "test"))


def _mean_iou(answers: Iterator[Pair]) -> float:
    return float(iou.mean_iou(sum(iou.confusion_matrix(truth.numpy(), ids.numpy(), CLASSES) for truth, ids in answers)))


def main() -> None:
    """Does one part after the other."""
    data, folder = (pathlib.Path(argument) for argument in sys.argv[1:3])
    config = override(preset("voc2007"), {"train.epochs": sys.argv[3]})
    marks = {"begun": time.monotonic()}
    convert(data, folder)
    marks["convert"] = time.monotonic()
    (images, labels), held_out = (load(folder, split, config) for split in ("train", "validation"))
    marks["load"] = time.monotonic()
    model = train(images, labels, config)
    marks["train"] = time.monotonic()
    validation_score = validate(model, *held_out, config.train.batch_size)
    marks["validate"] = time.monotonic()
    model.save(folder / "model.keras")
    marks["save"] = time.monotonic()
    score = evaluate(model, folder, config)
    marks["evaluate"] = time.monotonic()
    ends = list(marks.items())
    seconds = {name: round(end - begun, 1) for (_, begun), (name, end) in itertools.pairwise(ends)}
    print(json.dumps({"seconds": seconds, "mean_iou": score, "validation_mean_iou": validation_score}))


if __name__ == "__main__":
    main()
