"""What a network is made of: a box for each use of a layer, in an order in which branches stay whole."""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

_SHORT = {"BatchNormalization": "BN", "GroupNormalization": "GN"}
_ACTIVATIONS = ("Activation", "ReLU", "LeakyReLU")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Box:
    """A use of a layer.

    Attributes:
        kind: the layer's class, and the size of its kernel, with /2 for a stride, x2 for upsampling, d6 for a dilation.
        name: the layer's own.
        shape: of the (last) output without the batch, as text.
        level: how often the resolution has been halved.
        sources: numbers of the boxes that it reads, each before its own.
        parameters: of the layer; None where an earlier box is of the same layer.
        behind: what follows at once and is drawn in the same box: its activation, and what `fold` puts there.
    """

    kind: str
    name: str
    shape: str
    level: int
    sources: tuple[int, ...]
    parameters: int | None = 0
    behind: tuple[str, ...] = ()


def read(model: "keras.Model") -> list[Box]:
    """Returns the boxes of a network, branch by branch; a network within it is one box."""
    boxes: list[Box] = []
    made: dict[int, tuple[int, int, int]] = {}  # Of a tensor: its box, its level and its height.
    seen: set[int] = set()
    for node in _in_order(model):
        operation = node.operation
        sources = [made[id(tensor)] for tensor in node.input_tensors]
        for tensor in node.output_tensors:
            height = tensor.shape[1] if len(tensor.shape) == 4 else 1
            level = _level(operation, sources, height)
            made[id(tensor)] = (len(boxes), level, height)
        activation = _activation(operation)
        boxes.append(
            Box(
                kind=_kind(operation),
                name=operation.name,
                shape=" x ".join(map(str, tensor.shape[1:])),
                level=level,
                sources=tuple(sorted({number for number, _, _ in sources})),
                parameters=None if id(operation) in seen else _parameters(operation),
                behind=(activation,) if activation else (),
            )
        )
        seen.add(id(operation))
    return boxes


def fold(boxes: Sequence[Box]) -> list[Box]:
    """Puts normalisations and activations into the box of the convolution before them, where nothing else reads that."""
    readers: dict[int, int] = {}
    for box in boxes:
        for source in box.sources:
            readers[source] = readers.get(source, 0) + 1
    folded: list[Box] = []
    place: dict[int, int] = {}  # Of a box: where it is now.
    for number, box in enumerate(boxes):
        short = _SHORT.get(box.kind) or (box.kind in _ACTIVATIONS and (*box.behind, box.kind)[0])
        if short and box.sources == (number - 1,) and readers[number - 1] == 1 and "Conv" in folded[-1].kind:
            folded[-1] = dataclasses.replace(folded[-1], behind=(*folded[-1].behind, short))
        else:
            folded.append(dataclasses.replace(box, sources=tuple(sorted({place[source] for source in box.sources}))))
        place[number] = len(folded) - 1
    return folded


def _in_order(model: "keras.Model") -> list[Any]:
    """Returns the nodes, each behind those that it reads, and a branch in one piece, the longest first."""
    by_depth = model._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]  # All branches at once.
    maker = {id(tensor): node for node in nodes for tensor in node.output_tensors}
    parents = {node: [maker[id(tensor)] for tensor in node.input_tensors] for node in nodes}
    length: dict[Any, int] = {}
    for node in nodes:
        length[node] = 1 + max((length[parent] for parent in parents[node]), default=0)
    ordered: dict[Any, None] = {}
    todo = sorted(nodes, key=lambda node: length[node])  # The last, which reads all, is on top.
    while todo:
        node = todo[-1]
        missing = [parent for parent in parents[node] if parent not in ordered]
        if missing:
            todo += sorted(missing, key=lambda parent: length[parent])
        else:
            ordered[todo.pop()] = None
    return list(ordered)


def _level(operation: Any, sources: Sequence[tuple[int, int, int]], height: int) -> int:
    """Returns a tensor's level: that of the largest one it is made of, and how often that was halved."""
    if not sources:
        return 0
    _, level, before = max(sources, key=lambda source: source[2])
    if any(part in type(operation).__name__ for part in ("Crop", "Global")):  # Smaller, but no coarser.
        return level
    return level + round(math.log2(before / height))


def _kind(operation: Any) -> str:
    kind = type(operation).__name__
    if kernel := getattr(operation, "kernel_size", None):
        kind += " " + "x".join(map(str, kernel))
        if max(operation.strides) > 1:
            kind += f" {'x' if 'Transpose' in kind else '/'}{max(operation.strides)}"
        if max(operation.dilation_rate) > 1:
            kind += f" d{max(operation.dilation_rate)}"
    elif factor := getattr(operation, "factor", None):
        kind += f" x{factor}"
    return kind


def _activation(operation: Any) -> str:
    """Returns the name of a layer's activation; empty where it has none, or one that changes nothing."""
    name = getattr(getattr(operation, "activation", None), "__name__", "linear")
    return "" if name == "linear" else name


def _parameters(operation: Any) -> int:
    count = getattr(operation, "count_params", None)  # An operation such as an addition is no layer, and has none.
    return count() if count else 0
