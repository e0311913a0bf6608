"""The configuration of a run: one frozen dataclass a stage, and the presets.

Nothing here reads files or the environment or imports TensorFlow: the command line does that and overrides fields with
`override`. A component receives its stage as JSON (`to_json` / `from_json`), so a stage holds only numbers, strings, booleans,
`None` and tuples of them. The modules of a stage do not count this file towards their code digest: the *values* reach TFX as
execution properties, so that a new preset does not rerun old steps. Keep logic that shapes results out of this file.
"""

import dataclasses
import difflib
import json
import re
import typing
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class ConfigError(ValueError):
    """A configuration that cannot work; the message says what was expected, what arrived and what to do."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def _require_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    _require(value in allowed, f"{name} must be one of {', '.join(allowed)}; got {value!r}.{_nearest(value, allowed)}")


def _nearest(value: str, allowed: typing.Iterable[str]) -> str:
    near = difflib.get_close_matches(value, list(allowed), n=3, cutoff=0.4)
    return f" Did you mean {' or '.join(near)}?" if near else ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which data set, and how much dirt is borne.

    Attributes:
        spec: the data set's description: the name of a built-in one or the path of a TOML file; empty: the `vocseg.toml` in the
            data folder, else what the folder looks like.
        official: the built-in data set that is downloaded, or embedded, where no data folder is given.
        span: of a data folder with `{SPAN}` in its path, which spans are meant: newest, last:N, A-B or A.
        name: name of the data set in the pipeline's name; empty: derived from the builder and the data folder. Models are
            compared only within one pipeline, so two folders never share a name unless it is given here.
        embedded: where no data folder is given, write and use the miniature set instead of downloading the official one.
        max_quarantined_fraction: share of the listed pairs, 0..1, that may be bad before the run fails.
        max_drift: how far class shares, sizes and void shares may lie from those of the data accepted before, 0..1 (the
            divergence of Jensen and Shannon; see components/drift.py). With 1 any change is borne.
    """

    spec: str = ""
    official: str = "voc2007"
    span: str = "newest"
    name: str = ""
    embedded: bool = False
    max_quarantined_fraction: float = 0.0
    max_drift: float = 0.3

    def __post_init__(self) -> None:
        """Checks the ranges."""
        _require(
            re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*|", self.name) is not None,
            f"data.name takes letters, digits, _, - and . (it becomes a folder's name); got {self.name!r}.",
        )
        _require(self.name != "embedded", "data.name=embedded is what the embedded set is called. Choose another name.")
        _require(
            0 <= self.max_quarantined_fraction <= 1,
            f"data.max_quarantined_fraction is a share from 0 to 1; got {self.max_quarantined_fraction}.",
        )
        _require(0 <= self.max_drift <= 1, f"data.max_drift lies in 0..1; got {self.max_drift}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformConfig:
    """The size at which pictures are trained, and how they get there.

    Attributes:
        height_px: height of the network's logits, and of its input less the model's margin.
        width_px: width of them, likewise.
        resize_method: how *images* are resized: bilinear, bicubic, area, lanczos3 or nearest. Labels are always nearest.
    """

    height_px: int = 256
    width_px: int = 256
    resize_method: str = "bilinear"

    def __post_init__(self) -> None:
        """Checks the ranges."""
        _require(self.height_px > 0, f"transform.height_px must be positive; got {self.height_px}.")
        _require(self.width_px > 0, f"transform.width_px must be positive; got {self.width_px}.")
        _require_one_of("transform.resize_method", self.resize_method, ("bilinear", "bicubic", "area", "lanczos3", "nearest"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """How training pictures are varied, image and mask together; validation and test pictures never are.

    Attributes:
        crop_height_px: height of the crop that is trained on; 0: the height that Transform wrote, which may be larger.
        crop_width_px: width of it, likewise.
        flip: mirror half of the pictures, left to right.
        min_scale: smallest factor by which a picture is resized before the crop; padding is the image's mean and void.
        max_scale: largest factor.
        rotation_deg: largest turn to either side, degrees.
        brightness: largest change to either side, as a share of full brightness, 0..1.
        contrast: largest change of the contrast's factor 1 to either side, 0..1.
        saturation: largest change of the saturation's factor 1 to either side, 0..1.
        hue: largest turn of the hue to either side, as a share of the colour wheel, 0..0.5.
        copy_paste: share of the pictures, 0..1, onto which the objects of another one are pasted: what is not class 0, if
            that is called background; in other sets nothing is.
    """

    crop_height_px: int = 0
    crop_width_px: int = 0
    flip: bool = False
    min_scale: float = 1.0
    max_scale: float = 1.0
    rotation_deg: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    copy_paste: float = 0.0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        _require(self.crop_height_px >= 0, f"augment.crop_height_px must not be negative; got {self.crop_height_px}.")
        _require(self.crop_width_px >= 0, f"augment.crop_width_px must not be negative; got {self.crop_width_px}.")
        _require(
            0 < self.min_scale <= self.max_scale <= 8,
            f"augment.min_scale and max_scale must satisfy 0 < min <= max <= 8; got {self.min_scale} and {self.max_scale}.",
        )
        _require(0 <= self.rotation_deg <= 180, f"augment.rotation_deg lies in 0..180; got {self.rotation_deg}.")
        for name in ("brightness", "contrast", "saturation", "copy_paste"):
            _require(0 <= getattr(self, name) <= 1, f"augment.{name} lies in 0..1; got {getattr(self, name)}.")
        _require(0 <= self.hue <= 0.5, f"augment.hue lies in 0..0.5; got {self.hue}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """What is known of an architecture before it is built.

    Attributes:
        stride_px: heights and widths that fit lie this far apart; None: 2**model.depth.
        on_encoder: it stands on an encoder, which it names "encoder".
        has_dropout: it has layers whose rate is model.dropout.
        valid_convolutions: its logits are smaller than its input, by what unpadded convolutions eat at each level.
    """

    stride_px: int | None = None
    on_encoder: bool = False
    has_dropout: bool = False
    valid_convolutions: bool = False


MODELS: dict[str, Architecture] = {
    "unet": Architecture(has_dropout=True),
    "unet_strided": Architecture(stride_px=64),
    "unet_original": Architecture(has_dropout=True, valid_convolutions=True),
    "fcn32s": Architecture(stride_px=32, has_dropout=True),
    "fcn16s": Architecture(stride_px=32, has_dropout=True),
    "fcn8s": Architecture(stride_px=32, has_dropout=True),
    "unet_pretrained": Architecture(stride_px=32, on_encoder=True, has_dropout=True),
    "deeplabv3plus": Architecture(stride_px=32, on_encoder=True, has_dropout=True),
}
"""The architectures, files of `components/models`."""

_ENCODERS = (
    "efficientnet_lite0",
    "efficientnet_lite1",
    "efficientnet_lite2",
    "mobilenet_v2",
    "efficientnet_v2_b0",
    "resnet50",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The architecture, and the settings of those that have any.

    Attributes:
        name: a file of `components/models`: unet, unet_strided, unet_original, fcn32s, fcn16s, fcn8s, unet_pretrained or
            deeplabv3plus.
        head: softmax, a channel a class; or sigmoid, one channel for the second of two classes.
        filters: channels of the first level (unet, unet_original, fcn*; the papers of the latter have 64).
        depth: number of poolings (unet, unet_original); sizes are multiples of 2**depth, for unet_original and 4 more.
        dropout: rate at the two deepest levels (unet, unet_original), behind the two layers that were fully connected (fcn*),
            behind the context and before the logits (unet_pretrained), or behind the pyramid (deeplabv3plus), 0..1.
        normalization: behind each convolution that an activation follows: none, batch or group (unet, unet_original, fcn*).
        upsampling: of score maps (fcn*): transposed, a transposed convolution that begins as bilinear; resize, bilinear and a
            convolution; or unpool, to where the poolings found their maxima.
        activation: Keras name of the activation (unet, unet_original, fcn*).
        kernel_initializer: Keras name of the initialiser (unet, unet_original, fcn*).
        encoder: what finds the features (unet_pretrained, deeplabv3plus): efficientnet_lite0, efficientnet_lite1 or
            efficientnet_lite2, whose weights are installed with the project, or mobilenet_v2, efficientnet_v2_b0 or resnet50,
            whose weights Keras downloads.
        encoder_weights: imagenet; none; or the path of an .h5 file of the encoder's weights.
        frozen_batch_norm: the encoder normalises with the statistics of its pretraining, also in training: those of small
            batches ruin what it has learnt. Its weights learn in either case.
    """

    name: str = "unet"
    head: str = "softmax"
    filters: int = 32
    depth: int = 4
    dropout: float = 0.3
    normalization: str = "none"
    upsampling: str = "transposed"
    activation: str = "relu"
    kernel_initializer: str = "he_normal"
    encoder: str = "efficientnet_lite0"
    encoder_weights: str = "imagenet"
    frozen_batch_norm: bool = True

    def __post_init__(self) -> None:
        """Checks the ranges."""
        _require_one_of("model.name", self.name, tuple(MODELS))
        _require_one_of("model.head", self.head, ("softmax", "sigmoid"))
        _require(self.filters > 0, f"model.filters must be positive; got {self.filters}.")
        _require(1 <= self.depth <= 7, f"model.depth must lie in 1..7; got {self.depth}.")
        _require(0 <= self.dropout < 1, f"model.dropout must lie in [0, 1); got {self.dropout}.")
        _require_one_of("model.normalization", self.normalization, ("none", "batch", "group"))
        _require_one_of("model.upsampling", self.upsampling, ("transposed", "resize", "unpool"))
        _require_one_of("model.encoder", self.encoder, _ENCODERS)
        if not self.encoder_weights.endswith(".h5"):
            _require(
                self.encoder_weights in ("imagenet", "none"),
                f"model.encoder_weights is imagenet, none or the path of an .h5 file; got {self.encoder_weights!r}."
                f"{_nearest(self.encoder_weights, ('imagenet', 'none'))}",
            )
        _require(
            not (MODELS[self.name].valid_convolutions and self.normalization == "group"),
            f"model.normalization=group goes by the picture, and {self.name} takes large ones through in tiles, which would "
            "show. Set model.normalization=batch, or none.",
        )
        _require(
            not (self.has_encoder and self.frozen_batch_norm and self.encoder_weights == "none"),
            "model.frozen_batch_norm keeps the statistics of a pretraining, and model.encoder_weights=none has had none. "
            "Set model.frozen_batch_norm=false.",
        )

    @property
    def has_encoder(self) -> bool:
        """Whether the architecture stands on an encoder."""
        return MODELS[self.name].on_encoder

    @property
    def stride_px(self) -> int:
        """Heights and widths that fit lie this far apart."""
        return MODELS[self.name].stride_px or 2**self.depth

    @property
    def offset_px(self) -> int:
        """Heights and widths that fit are multiples of `stride_px`, and this many more."""
        return 4 % self.stride_px if MODELS[self.name].valid_convolutions else 0

    @property
    def margin_px(self) -> int:
        """How much larger the network's input is than its logits, on each side: what valid convolutions eat."""
        return 6 * 2**self.depth - 4 if MODELS[self.name].valid_convolutions else 0

    def fits(self, size_px: int) -> bool:
        """Tells whether logits can be of this height or width."""
        return size_px > 0 and size_px % self.stride_px == self.offset_px

    def nearest_size(self, size_px: int) -> int:
        """Returns the nearest height or width that fits."""
        smallest = self.offset_px or self.stride_px
        return max(smallest, round((size_px - self.offset_px) / self.stride_px) * self.stride_px + self.offset_px)


LOSS_TERMS = ("cross_entropy", "dice", "lovasz_softmax", "reconstruction")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How the model is fitted.

    Attributes:
        epochs: passes over the training split.
        batch_size: examples a step, over all devices.
        seed: of weights, shuffling, augmentation and dropout.
        loss: a sum of terms with weights, for instance "cross_entropy" or "cross_entropy + 0.5*dice"; the terms are
            cross_entropy, dice, lovasz_softmax and reconstruction.
        class_weights: of the cross-entropy: none; or median_frequency, the median of the classes' frequencies by their own.
        hardest_fraction: share of the pixels, those with the largest cross-entropy, that count, 0..1.
        optimizer: adam, adamw or sgd.
        learning_rate: its peak, after the warm-up.
        encoder_rate_factor: what the encoder's rate is of the learning rate (unet_pretrained, deeplabv3plus).
        schedule: of the learning rate after the warm-up: constant; poly, to 0 by a power; or cosine, to 0.
        poly_power: the power of poly.
        warmup_epochs: over which the rate rises in equal steps; a training that ends within them never reaches its peak.
        weight_decay: decoupled, of kernels only (adamw, sgd).
        momentum: of sgd, 0..1.
        clip_norm: gradients are shortened to this norm, over all weights; 0: they are not.
        ema_momentum: a moving average of the weights, with this share of the old ones an update, is what is validated and kept,
            0..1; 0: the weights themselves.
        accumulate_steps: batches whose gradients are averaged before the weights change.
        balance_classes: draw pictures with rare classes more often.
        validate_every: epochs from one validation to the next; the last epoch is always validated.
        patience: validations without a better mean IoU after which the training ends; 0: it does not.
        dropout_rise: by how much the dropout rate rises an epoch, up to 0.9, until the mean IoU stops rising.
        panel_images: validation pictures drawn to TensorBoard after each validation.
        warm_start: begin with the weights of the newest blessed model of the pipeline, where there is one that fits.
    """

    epochs: int = 20
    batch_size: int = 8
    seed: int = 0
    loss: str = "cross_entropy"
    class_weights: str = "none"
    hardest_fraction: float = 1.0
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    encoder_rate_factor: float = 1.0
    schedule: str = "constant"
    poly_power: float = 0.9
    warmup_epochs: int = 0
    weight_decay: float = 0.0
    momentum: float = 0.9
    clip_norm: float = 0.0
    ema_momentum: float = 0.0
    accumulate_steps: int = 1
    balance_classes: bool = False
    validate_every: int = 1
    patience: int = 0
    dropout_rise: float = 0.0
    panel_images: int = 4
    warm_start: bool = False

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in ("epochs", "batch_size", "accumulate_steps", "validate_every", "panel_images"):
            _require(getattr(self, name) > 0, f"train.{name} must be at least 1; got {getattr(self, name)}.")
        for name in ("learning_rate", "encoder_rate_factor", "poly_power"):
            _require(getattr(self, name) > 0, f"train.{name} must be positive; got {getattr(self, name)}.")
        for name in ("warmup_epochs", "weight_decay", "clip_norm", "patience"):
            _require(getattr(self, name) >= 0, f"train.{name} must not be negative; got {getattr(self, name)}.")
        for name in ("momentum", "ema_momentum", "dropout_rise"):
            _require(0 <= getattr(self, name) < 1, f"train.{name} must lie in [0, 1); got {getattr(self, name)}.")
        _require(0 <= self.seed < 2**32, f"train.seed must not be negative, nor above 4294967295; got {self.seed}.")
        _require(0 < self.hardest_fraction <= 1, f"train.hardest_fraction lies in (0, 1]; got {self.hardest_fraction}.")
        _require_one_of("train.class_weights", self.class_weights, ("none", "median_frequency"))
        _require_one_of("train.optimizer", self.optimizer, ("adam", "adamw", "sgd"))
        _require_one_of("train.schedule", self.schedule, ("constant", "poly", "cosine"))
        _require(
            self.weight_decay == 0 or self.optimizer != "adam",
            f"train.weight_decay={self.weight_decay:g} does nothing with train.optimizer=adam. Set train.optimizer=adamw.",
        )
        _require(
            "cross_entropy" in (name for _, name in self.loss_terms)
            or (self.class_weights == "none" and self.hardest_fraction == 1),
            f"train.class_weights and train.hardest_fraction concern the cross-entropy, which train.loss={self.loss} has not. "
            "Add it: --set train.loss='cross_entropy + ...'",
        )

    @property
    def loss_terms(self) -> tuple[tuple[float, str], ...]:
        """The terms of the loss, each with its weight.

        Raises:
            ConfigError: the text is no such sum.
        """
        terms = []
        for term in self.loss.split("+"):
            weight, star, name = term.strip().rpartition("*")
            name = name.strip()
            _require_one_of("A term of train.loss", name, LOSS_TERMS)
            try:
                terms.append((float(weight) if star else 1.0, name))
            except ValueError:
                terms.append((-1.0, name))
            _require(
                0 < terms[-1][0] < float("inf"),
                f"A weight in train.loss must be a positive number, as in 0.5*{name}; got {term.strip()!r}.",
            )
        names = [name for _, name in terms]
        _require(len(set(names)) == len(names), f"train.loss names a term twice: {self.loss!r}.")
        return tuple(terms)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServingConfig:
    """Limits of the exported model.

    Attributes:
        micro_batch_size: pictures that pass through the network together, whatever the request's size.
        max_megapixels: larger pictures are answered with an error by `serving_default` (a decompression bomb must not take the
            server); `serving_examples`, which is for TFX, takes what ExampleGen lets pass.
    """

    micro_batch_size: int = 8
    max_megapixels: int = 32

    def __post_init__(self) -> None:
        """Checks the ranges."""
        _require(self.micro_batch_size > 0, f"serving.micro_batch_size must be at least 1; got {self.micro_batch_size}.")
        _require(self.max_megapixels > 0, f"serving.max_megapixels must be at least 1; got {self.max_megapixels}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """The gate: what a model must reach to be blessed.

    Attributes:
        min_mean_iou: floor for the mean IoU, 0..1.
        beat_constant: the mean IoU must be above what answering the commonest class everywhere scores, where there are others.
        min_iou: floors for the IoU of named classes, 0..1: "person=0.5, dog=0.3"; one that occurs in no measured picture is
            missed.
        max_mean_iou_drop: by how much the mean IoU may fall below the baseline's, 0..1.
        max_iou_drop: by how much the IoU of any class may, 0..1. On VOC 2007's test split, with a dozen pictures of a class,
            two seeds of ten epochs differed by up to 0.19 in one class, and by 0.004 in the mean.
    """

    min_mean_iou: float = 0.05
    beat_constant: bool = True
    min_iou: str = ""
    max_mean_iou_drop: float = 0.0
    max_iou_drop: float = 0.2

    def __post_init__(self) -> None:
        """Checks the ranges."""
        for name in ("min_mean_iou", "max_mean_iou_drop", "max_iou_drop"):
            _require(0 <= getattr(self, name) <= 1, f"evaluate.{name} lies in 0..1; got {getattr(self, name)}.")
        _ = self.class_floors

    @property
    def class_floors(self) -> tuple[tuple[str, float], ...]:
        """The named classes and their floors.

        Raises:
            ConfigError: the text is no such list.
        """
        floors = []
        for text in filter(None, map(str.strip, self.min_iou.split(","))):
            name, _, number = text.rpartition("=")
            try:
                floor = float(number)
            except ValueError:
                floor = -1.0
            _require(
                bool(name.strip()) and 0 <= floor <= 1,
                f"evaluate.min_iou takes CLASS=FLOOR with floors from 0 to 1, as in 'person=0.5, dog=0.3'; got {text!r}.",
            )
            floors.append((name.strip(), floor))
        names = [name for name, _ in floors]
        _require(len(set(names)) == len(names), f"evaluate.min_iou names a class twice: {self.min_iou!r}.")
        return tuple(floors)

    def check_classes(self, class_names: tuple[str, ...]) -> None:
        """Fails over floors for classes that the data set does not have.

        Raises:
            ConfigError: there are such; the message has the nearest names.
        """
        for name, _ in self.class_floors:
            _require_one_of("A class in evaluate.min_iou", name, class_names)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """What a blessed model may take in the process that tries it before it is pushed.

    Attributes:
        max_seconds: from the start of the process, which imports TensorFlow, to the last of about two dozen answers.
        max_memory_gib: resident memory, in GiB; TensorFlow alone takes about 0.5.
    """

    max_seconds: int = 120
    max_memory_gib: float = 4.0

    def __post_init__(self) -> None:
        """Checks the ranges."""
        _require(self.max_seconds > 0, f"check.max_seconds must be at least 1; got {self.max_seconds}.")
        _require(self.max_memory_gib > 0, f"check.max_memory_gib must be above 0; got {self.max_memory_gib}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CardConfig:
    """What people say about a model on its card; the rest is measured.

    Attributes:
        owner: who answers for it.
        intended_use: what it is for.
        limits: what else is known about where it fails.
        licence: of the model.
        data_licence: of the pictures; empty: what is known of a built-in data set.
    """

    owner: str = ""
    intended_use: str = ""
    limits: str = ""
    licence: str = ""
    data_licence: str = ""

    def __post_init__(self) -> None:
        """Checks the lengths."""
        for name, text in dataclasses.asdict(self).items():
            _require(len(text) <= 2000, f"card.{name} takes at most 2000 characters; got {len(text)}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class CloudConfig:
    """What runs where on Google Cloud (`vocseg run --runner dataflow`, `vocseg compile --target vertex`).

    None of it changes a result. On this machine no step runs again because of it; on Vertex AI some do (docs/scale.md).

    Attributes:
        project: id of the project.
        region: of Dataflow and Vertex AI.
        image: container of the steps and of Beam's workers, made from the Dockerfile.
        trainer_image: container of the Trainer, made with the CUDA lock; empty: that of the other steps.
        service_account: that the steps run as; empty: the project's default.
        network: subnetwork of the workers, as `regions/REGION/subnetworks/NAME`; empty: the project's default.
        beam_machine: machine type of Dataflow's workers.
        beam_workers: largest number of them.
        beam_disk_gb: disk of each.
        trainer_machine: machine type of a host that trains.
        trainer_hosts: how many there are.
        accelerator: type of the Trainer's GPUs on Vertex AI, as it names them, for instance NVIDIA_L4; empty: none.
        accelerator_count: GPUs of each host.
    """

    project: str = ""
    region: str = ""
    image: str = ""
    trainer_image: str = ""
    service_account: str = ""
    network: str = ""
    beam_machine: str = "n1-standard-4"
    beam_workers: int = 10
    beam_disk_gb: int = 50
    trainer_machine: str = "n1-standard-8"
    trainer_hosts: int = 1
    accelerator: str = ""
    accelerator_count: int = 0

    def __post_init__(self) -> None:
        """Checks the form of what is given; what a cloud needs besides is pipeline/cloud.py's to say."""
        for name, (pattern, expected) in _CLOUD_FORMS.items():
            value = getattr(self, name)
            _require(not value or re.fullmatch(pattern, value) is not None, f"cloud.{name} is {expected}; got {value!r}.")
        counts = {"beam_workers": 1, "beam_disk_gb": 30, "trainer_hosts": 1, "accelerator_count": 0}  # 30: Dataflow's least.
        for name, least in counts.items():
            _require(getattr(self, name) >= least, f"cloud.{name} must be at least {least}; got {getattr(self, name)}.")
        _require(
            bool(self.beam_machine), "cloud.beam_machine must not be empty. Give a machine type, for instance n1-standard-4."
        )
        _require(bool(self.trainer_machine), "cloud.trainer_machine must not be empty. Give one, for instance n1-standard-8.")
        _require(
            bool(self.accelerator) == bool(self.accelerator_count),
            "cloud.accelerator and cloud.accelerator_count go together, for instance NVIDIA_L4 and 1, or neither; "
            f"got {self.accelerator!r} and {self.accelerator_count}.",
        )
        subnetwork_region = re.search(r"regions/([^/]+)/", self.network)
        _require(
            not (subnetwork_region and self.region) or subnetwork_region[1] == self.region,
            f"cloud.network lies in another region than cloud.region: got {self.network!r} and {self.region!r}.",
        )


_IMAGE_PATTERN = (
    r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_IMAGE_EXPECTED = "a container as docker names it, for instance us-central1-docker.pkg.dev/PROJECT/vocseg/vocseg:1"
_MACHINE_PATTERN = r"[a-z][a-z0-9]*(-[a-z0-9]+)+"
_MACHINE_EXPECTED = "a machine type of Compute Engine, for instance n1-standard-4"
_CLOUD_FORMS = {
    "project": (
        r"([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]",
        "a project's id (not its name or number): 6 to 30 lower-case letters, digits and -, a letter first, no - last",
    ),
    "region": (r"[a-z]+-[a-z]+[0-9]+", "a region, for instance us-central1 (us-central1-a is a zone)"),
    "image": (_IMAGE_PATTERN, _IMAGE_EXPECTED),
    "trainer_image": (_IMAGE_PATTERN, _IMAGE_EXPECTED),
    "service_account": (
        r"[a-z0-9][a-z0-9.-]*@([a-z0-9-]+\.)*gserviceaccount\.com",
        "a service account's e-mail address, for instance NAME@PROJECT.iam.gserviceaccount.com",
    ),
    "network": (
        r"(https://www\.googleapis\.com/compute/v1/projects/[a-z0-9.:-]+/)?"
        r"regions/[a-z0-9-]+/subnetworks/[a-z]([a-z0-9-]*[a-z0-9])?",
        "a subnetwork, as regions/REGION/subnetworks/NAME (before it, https://www.googleapis.com/compute/v1/projects/HOST/)",
    ),
    "beam_machine": (_MACHINE_PATTERN, _MACHINE_EXPECTED),
    "trainer_machine": (_MACHINE_PATTERN, _MACHINE_EXPECTED),
    "accelerator": (r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", "a type as Vertex AI names it, for instance NVIDIA_L4"),
}
"""Patterns of the fields of `CloudConfig` that are names, with what is expected, in words."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """A whole run.

    Attributes:
        preset: the preset that it derives from; with the data set's name it names the pipeline.
        data: the data set.
        transform: size and resizing.
        augment: how training pictures are varied.
        model: the architecture.
        train: the fit.
        serving: the exported model's limits.
        evaluate: the gate.
        check: budgets of the trial before the push.
        card: words on the model's card.
        cloud: machines and containers.
    """

    preset: str
    data: DataConfig = DataConfig()
    transform: TransformConfig = TransformConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    serving: ServingConfig = ServingConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    check: CheckConfig = CheckConfig()
    card: CardConfig = CardConfig()
    cloud: CloudConfig = CloudConfig()

    def __post_init__(self) -> None:
        """Checks what concerns two stages."""
        self._check_sizes()
        if self.train.dropout_rise:
            dropping = ", ".join(name for name, architecture in MODELS.items() if architecture.has_dropout)
            _require(
                MODELS[self.model.name].has_dropout,
                f"train.dropout_rise raises the rate of dropout, of which {self.model.name} has none. "
                f"Set train.dropout_rise=0, or model.name to one that has: {dropping}.",
            )
            _require(
                self.model.dropout > 0,
                "train.dropout_rise raises model.dropout, which is 0. Set model.dropout=0.5, for instance.",
            )

    def _check_sizes(self) -> None:
        """Names all sizes that do not go with the architecture at once."""
        sizes = {
            "transform.height_px": self.transform.height_px,
            "transform.width_px": self.transform.width_px,
            # A crop of 0 is Transform's size, and mended with it.
            "augment.crop_height_px": self.augment.crop_height_px,
            "augment.crop_width_px": self.augment.crop_width_px,
        }
        wrong = {name: size for name, size in sizes.items() if size and not self.model.fits(size)}
        if not wrong:
            return
        offset = f" and {self.model.offset_px} more" if self.model.offset_px else ""
        fitting = {name: self.model.nearest_size(size) for name, size in wrong.items()}
        use = " ".join(f"--set {name}={size}" for name, size in fitting.items())
        raise ConfigError(
            f"{', '.join(wrong)} must be {'a multiple' if len(wrong) == 1 else 'multiples'} of {self.model.stride_px}{offset} "
            f"for the model {self.model.name}; got {', '.join(map(str, wrong.values()))}. "
            f"Use {', '.join(map(str, fitting.values()))}: {use}"
        )


def voc2007_scratch() -> PipelineConfig:
    """PASCAL VOC 2007 with a network that has seen nothing else.

    `vocseg run --preset voc2007_scratch --data DIR`: 23 min on two cores, mean IoU 0.111 on the test split (0.125 on the
    validation split, which chose epoch 210 of 300). Pictures are small so that there can be thousands of steps: after five
    hundred, the network still answers background everywhere.
    """
    return PipelineConfig(
        preset="voc2007_scratch",
        transform=TransformConfig(height_px=160, width_px=160),
        augment=AugmentConfig(
            crop_height_px=128,
            crop_width_px=128,
            flip=True,
            min_scale=0.5,
            max_scale=1.5,
            rotation_deg=5.0,
            brightness=0.15,
            contrast=0.3,
            saturation=0.3,
            hue=0.03,
        ),
        model=ModelConfig(name="unet_pretrained", encoder_weights="none", frozen_batch_norm=False, dropout=0.2),
        train=TrainConfig(
            epochs=300,
            batch_size=8,
            optimizer="adamw",
            weight_decay=0.05,
            learning_rate=2e-3,
            schedule="poly",
            warmup_epochs=2,
            ema_momentum=0.998,
            validate_every=10,
        ),
    )


def voc2007() -> PipelineConfig:
    """PASCAL VOC 2007 with a decoder on an encoder that knows ImageNet: the default.

    `vocseg run --preset voc2007 --data DIR`: 30 min on two cores that did other work at low priority, mean IoU 0.600 on the
    test split (0.600 on the validation split, which chose epoch 50 of 60). With crops of 256 from 288 px, all else equal, 18
    min, 0.568 and 0.564. One run each; a hundredth is within the noise. Before that, on the validation split:
    efficientnet_lite2 instead of 0 brought 40 epochs from 0.500 to 0.547, all else equal; the encoder at a twentieth of the
    decoder's rate instead of a fifth, the best of a long run from 0.551 to 0.566, both at epoch 40, with other numbers of
    epochs and validations. A decoder with group normalisation, and without projections of the encoder's features, stood at
    0.17.
    """
    base = voc2007_scratch()
    return dataclasses.replace(
        base,
        preset="voc2007",
        transform=TransformConfig(height_px=352, width_px=352),
        augment=dataclasses.replace(
            base.augment, crop_height_px=320, crop_width_px=320, min_scale=0.55, max_scale=1.75, copy_paste=0.5
        ),
        model=ModelConfig(name="unet_pretrained", encoder="efficientnet_lite2", dropout=0.2),
        train=dataclasses.replace(base.train, epochs=60, learning_rate=1e-3, encoder_rate_factor=0.05, validate_every=5),
    )


def voc2007_gpu() -> PipelineConfig:
    """The idea of `voc2007` for a GPU: larger pictures, crops and batches. Not measured yet.

    `vocseg run --preset voc2007_gpu --data DIR`.
    """
    base = voc2007()
    return dataclasses.replace(
        base,
        preset="voc2007_gpu",
        transform=TransformConfig(height_px=512, width_px=512),
        augment=dataclasses.replace(base.augment, crop_height_px=512, crop_width_px=512, min_scale=0.5, max_scale=2.0),
        model=dataclasses.replace(base.model, name="deeplabv3plus"),
        train=dataclasses.replace(base.train, epochs=200, batch_size=16),
        cloud=CloudConfig(trainer_machine="g2-standard-12", accelerator="NVIDIA_L4", accelerator_count=1),
    )


def mini() -> PipelineConfig:
    """The embedded miniature VOC, written on the spot from a seed: `make run`.

    Coloured shapes, a colour a class, so that a small U-Net learns them in under a minute on two cores, to a mean IoU of 0.90
    on the test split. Background everywhere scores 0.04; the floor of 0.5 says that most classes are found.
    """
    return PipelineConfig(
        preset="mini",
        data=DataConfig(embedded=True),
        transform=TransformConfig(height_px=64, width_px=64),
        model=ModelConfig(filters=16, depth=3, dropout=0.1),
        train=TrainConfig(epochs=40, batch_size=8, learning_rate=2e-3),
        evaluate=EvaluateConfig(min_mean_iou=0.5),
    )


PRESETS: dict[str, Callable[[], PipelineConfig]] = {f.__name__: f for f in (mini, voc2007_scratch, voc2007, voc2007_gpu)}


def preset(name: str) -> PipelineConfig:
    """Returns the preset of that name.

    Raises:
        ConfigError: there is none; the message offers the nearest names.
    """
    if name not in PRESETS:
        raise ConfigError(f"There is no preset {name!r}; there are {', '.join(PRESETS)}.{_nearest(name, PRESETS)}")
    return PRESETS[name]()


def fields(config: Any) -> dict[str, Any]:
    """Returns every leaf of a configuration as `{"train.batch_size": 8, ...}`."""
    leaves: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            leaves |= {f"{field.name}.{key}": leaf for key, leaf in fields(value).items()}
        else:
            leaves[field.name] = value
    return leaves


def override(config: PipelineConfig, assignments: dict[str, str]) -> PipelineConfig:
    """Sets leaves by name, from text, in one step, so that checks between fields see all of them.

    Args:
        config: the configuration to derive from.
        assignments: for instance `{"train.batch_size": "4"}`.

    Raises:
        ConfigError: a field that does not exist (the nearest names are offered), or a value of the wrong type or range.
    """
    return dataclasses.replace(config, **override_stages(config, assignments))


def override_stages(config: PipelineConfig, assignments: dict[str, str]) -> dict[str, Any]:
    """Returns the stages that `override` would change, as they become, before checks between stages.

    Raises:
        ConfigError: as `override` does.
    """
    known = fields(config)
    values: dict[str, dict[str, Any]] = {}
    for name, text in assignments.items():
        if name not in known or "." not in name:
            settable = [key for key in known if "." in key]
            hint = _nearest(name, settable) or f" `vocseg config --preset {config.preset}` lists them all."
            raise ConfigError(f"There is no field {name!r} in the configuration.{hint}")
        stage, field = name.split(".")
        kind = typing.get_type_hints(type(getattr(config, stage)))[field]
        values.setdefault(stage, {})[field] = _parse(name, text, kind)
    return {stage: dataclasses.replace(getattr(config, stage), **change) for stage, change in values.items()}


def _parse(name: str, text: str, kind: Any) -> Any:
    if kind is bool:
        _require(text.lower() in ("true", "false"), f"{name} takes true or false; got {text!r}.")
        return text.lower() == "true"
    try:
        value = kind(text)
    except ValueError:
        raise ConfigError(f"{name} takes a value of type {kind.__name__}; got {text!r}.") from None
    finite = not isinstance(value, float) or abs(value) < float("inf")
    _require(finite, f"{name} takes a finite number; got {text!r}.")
    return value


def to_json(config: Any) -> str:
    """Returns a stage (or a whole configuration) as JSON with sorted keys, the form in which TFX carries it."""
    return json.dumps(dataclasses.asdict(config), sort_keys=True)


def from_json(kind: type[T], text: str) -> T:
    """Restores what `to_json` wrote; lists become tuples again."""
    return _restore(kind, json.loads(text))


def _restore(kind: Any, values: dict[str, Any]) -> Any:
    hints = typing.get_type_hints(kind)
    restored = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]):
            restored[name] = _restore(hints[name], value)
        else:
            restored[name] = _tuples(value)
    return kind(**restored)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
