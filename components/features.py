"""The data contract: what a record holds, from the builder through Transform to the model and the evaluation.

| key | in the record | meaning |
|---|---|---|
| `image` | bytes | the encoded picture: the file's own bytes if it is a JPEG or a PNG, else an RGB PNG |
| `image/filename` | bytes | its file name, UTF-8; without its ending it is the example's key |
| `image/height`, `image/width` | int64 | size in pixels, of a JPEG or TIFF after it is turned as its EXIF tag says |
| `label` | bytes | one-channel PNG of the picture's size: class ids 0..C-1, or 255 where void |
| `label/classes` | int64 list | ids present, ascending, without 255 |
| `label/void_fraction` | float32 | share of void pixels, 0..1 |

The scalars are there for schema, drift and slices: TFDV cannot look inside a PNG. Transform emits `image` and `label` as
serialised uint8 tensors of the network's size, `[H, W, 3]` and `[H, W]`, and passes `image/filename` on.
"""

IMAGE = "image"
FILENAME = "image/filename"
HEIGHT = "image/height"
WIDTH = "image/width"
LABEL = "label"
CLASSES = "label/classes"
VOID_FRACTION = "label/void_fraction"

IGNORE_LABEL = 255
"""Pixels with this label count neither in the loss nor in a metric (VOC's void)."""

MAX_PIXELS = 178_956_970
"""Most pixels of a picture in the data: Pillow's own limit against decompression bombs."""

MAX_SIDE_PX = 16_384
"""Longest side of a picture, in the data and in a request: memory grows with the width, however few the rows."""

TRAIN_SPLIT = "train"
EVAL_SPLIT = "eval"
TEST_SPLIT = "test"
"""Names of the splits in TFX; the builder's own are train, validation and test."""

Color = tuple[int, int, int]
"""(red, green, blue), 0..255."""

METADATA_FILE = "assets.extra/vocseg.json"
"""In a SavedModel's folder, where TensorFlow ignores it: class names, palette, ignore label and size, for whoever predicts."""

CARD_FILES = ("assets.extra/model_card.json", "assets.extra/model_card.html")
"""In a pushed version: its card. It is no part of what the model is, and the model's digest leaves it out."""

VOC_CLASSES = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""The classes of PASCAL VOC in the order of their ids (Everingham et al. 2010)."""


def voc_palette(size: int = 256) -> tuple[Color, ...]:
    """Returns VOC's colour map: entry i is the (red, green, blue), 0..255, of index i.

    The bits of the index are dealt to the three channels in turn, lowest bit of the index to the highest of the colour, as the
    VOC development kit defines. Index 255 comes out as (224, 224, 192), the colour of void.
    """
    palette = []
    for index in range(size):
        red = green = blue = 0
        for bit in range(8):
            red |= (index >> (3 * bit) & 1) << (7 - bit)
            green |= (index >> (3 * bit + 1) & 1) << (7 - bit)
            blue |= (index >> (3 * bit + 2) & 1) << (7 - bit)
        palette.append((red, green, blue))
    return tuple(palette)
