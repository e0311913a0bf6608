"""The networks of `epoch` in PyTorch, in a process that trains an epoch whenever it is told to; needs torch and NumPy alone.

    python -m benchmarks.pytorch_networks FOLDER BATCH < orders > answers

FOLDER holds images.npy, float32 [N, H, W, 3], and labels.npy, int32 [N, H, W]. An order is a line `NETWORK LAYOUT`, the answer
to it a line of JSON: parameters, and the loss of the last step.
"""

import json
import os
import pathlib
import sys
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

CLASSES = 21
VOID = 255
LEARNING_RATE = 1e-3
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


def block(inputs: int, outputs: int, times: int = 2) -> nn.Sequential:
    """Returns 3x3 convolutions with ReLU."""
    layers: list[nn.Module] = []
    for _ in range(times):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
        inputs = outputs
    return nn.Sequential(*layers)


def enlarge(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """Returns what doubles height and width."""
    return nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)


class UNet(nn.Module):
    """`unet` with 32 filters."""

    def __init__(self, widths: Sequence[int] = (32, 64, 128, 256, 512)) -> None:
        """Builds it."""
        super().__init__()
        *levels, deepest = widths
        self.down = nn.ModuleList(block(*ends) for ends in zip((3, *levels[:-1]), levels, strict=True))
        self.middle = block(levels[-1], deepest)
        ends = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(enlarge(*end) for end in ends)
        self.merge = nn.ModuleList(block(2 * outputs, outputs) for _, outputs in ends)
        self.head = nn.Sequential(block(levels[0], levels[0], times=1), nn.Conv2d(levels[0], CLASSES, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns logits, float32 [B, C, H, W]."""
        skips = []
        for layer in self.down:
            x = layer(x)
            skips.append(x)
            x = functional.max_pool2d(x, 2)
        x = self.middle(x)
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([up(x), skips.pop()], 1))
        return self.head(x)


class StridedUNet(nn.Module):
    """`unet_strided`."""

    def __init__(self) -> None:
        """Builds it."""
        super().__init__()
        down, up = (128, 256, 512, 512, 512, 512), (512, 512, 512, 512, 256)
        ends = zip((3, *down[:-1]), down, strict=True)
        self.down = nn.ModuleList(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1) for inputs, outputs in ends)
        merged = [outputs + skip for outputs, skip in zip(up, down[-2::-1], strict=True)]
        self.up = nn.ModuleList(enlarge(*end) for end in zip((down[-1], *merged[:-1]), up, strict=True))
        self.head = enlarge(merged[-1], CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns logits, float32 [B, C, H, W]."""
        skips = []
        for layer in self.down:
            x = functional.leaky_relu(layer(x), 0.3)
            skips.append(x)
        skips.pop()
        for up in self.up:
            x = torch.cat([torch.relu(up(x)), skips.pop()], 1)
        return self.head(x)


NETWORKS = {"unet": UNet, "unet_strided": StridedUNet}


class Training:
    """A network, its optimizer and what it learns from.

    Args:
        name: of the network.
        layout: one of LAYOUTS.
        images: float32 [N, H, W, 3].
        labels: int32 [N, H, W].
        batch: pictures a step.
    """

    def __init__(self, name: str, layout: str, images: np.ndarray, labels: np.ndarray, batch: int) -> None:
        """Builds it."""
        torch.manual_seed(0)
        self._format, self._batch = LAYOUTS[layout], batch
        self._network = NETWORKS[name]().to(memory_format=self._format)
        self.parameters = sum(weight.numel() for weight in self._network.parameters())
        self._optimizer = torch.optim.Adam(self._network.parameters(), LEARNING_RATE, fused=True)
        self._images = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(memory_format=self._format)
        self._labels = torch.from_numpy(labels).long()

    def train(self) -> float:
        """Trains one epoch in a new order; returns the last step's loss."""
        for chosen in torch.randperm(len(self._images)).split(self._batch):
            images = self._images[chosen].contiguous(memory_format=self._format)
            loss = functional.cross_entropy(self._network(images), self._labels[chosen], ignore_index=VOID)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
        return loss.item()


def main() -> None:
    """Obeys until there are no more orders."""
    folder, batch = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    images, labels = (np.load(folder / f"{name}.npy") for name in ("images", "labels"))
    trainings: dict[str, Training] = {}
    for order in sys.stdin:
        if order not in trainings:
            trainings[order] = Training(*order.split(), images, labels, batch)
        loss = trainings[order].train()
        print(json.dumps({"parameters": trainings[order].parameters, "loss": loss}), flush=True)


if __name__ == "__main__":
    main()
