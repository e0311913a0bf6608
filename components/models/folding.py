"""A trained network for inference alone: batch normalisation becomes part of the convolution before it."""

import collections
from typing import Any

import keras
import numpy as np
from keras import layers


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Returns the same function with fewer passes over the pixels, for inference only.

    There, a batch normalisation is a factor and an offset a channel; behind a convolution, these are a factor of its kernel and
    a bias (Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3.2). The results differ by rounding.

    Args:
        model: of float32 layers, nested functional models among them; stays as it is.

    Returns:
        A model with the same inputs and outputs. Convolutions that took a normalisation up have weights of their own, all other
        layers are shared. Normalisations behind anything else stay, and so does a model that is not functional as a whole.
    """
    if not _is_functional(model):
        return model
    pairs = _find_pairs(model)
    skipped = set(pairs.values())
    folded = {normalisation: _fold(convolution, normalisation) for normalisation, convolution in pairs.items()}

    def call(layer: layers.Layer, *args: Any, **kwargs: Any) -> Any:
        if layer in skipped:
            return args[0]  # On to the normalisation, in whose place both are computed.
        return folded[layer](args[0]) if layer in folded else layer(*args, **kwargs)

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call, recursive=True)


def _find_pairs(model: keras.Model) -> dict[layers.BatchNormalization, layers.Layer]:
    """Returns each normalisation that can be folded, with its convolution: each is used once, and no other sees between."""
    nodes, results = _graph_of(model)
    calls = collections.Counter(node.operation for node in nodes)
    uses = collections.Counter(id(tensor) for tensor in [*results, *(one for node in nodes for one in node.input_tensors)])
    pairs = {}
    for node in nodes:
        layer = node.operation
        if _is_plain(layer, layers.BatchNormalization) and layer.axis in (-1, 3):
            (between,) = node.input_tensors
            before = between._keras_history.operation
            if _is_linear(before) and calls[layer] == calls[before] == uses[id(between)] == 1:
                pairs[layer] = before
    return pairs


def _graph_of(model: keras.Model) -> tuple[list[Any], list[Any]]:
    """Returns all calls of layers in a functional model, and the tensors that are results; of the models nested in it, too."""
    nodes = [node for level in model._nodes_by_depth.values() for node in level]
    results = list(model.outputs)
    for inner in [node.operation for node in nodes if _is_functional(node.operation)]:
        inner_nodes, inner_results = _graph_of(inner)
        nodes += inner_nodes
        results += inner_results
    return nodes, results


def _is_functional(layer: Any) -> bool:
    return hasattr(layer, "_nodes_by_depth")


def _is_plain(layer: Any, *kinds: type[layers.Layer]) -> bool:
    """Tells whether a layer is of one of Keras' own kinds, on float32: what derives from them may compute something else."""
    return type(layer) in kinds and layer.compute_dtype == "float32"


def _is_linear(layer: Any) -> bool:
    """Tells whether a layer is a convolution, channels last, with no activation of its own."""
    if not _is_plain(layer, layers.Conv2D, layers.DepthwiseConv2D):
        return False
    return layer.data_format == "channels_last" and layer.activation is keras.activations.linear


def _fold(convolution: layers.Layer, normalisation: layers.BatchNormalization) -> layers.Layer:
    """Returns a convolution that does what both do in inference."""
    folded = type(convolution).from_config(convolution.get_config() | {"use_bias": True})
    folded.build(convolution.input.shape)
    mean, variance = (np.asarray(value, np.float64) for value in (normalisation.moving_mean, normalisation.moving_variance))
    factor = 1 / np.sqrt(variance + normalisation.epsilon)  # [C]
    if normalisation.scale:
        factor *= np.asarray(normalisation.gamma)
    bias = -mean if convolution.bias is None else np.asarray(convolution.bias) - mean
    offset = np.asarray(normalisation.beta) if normalisation.center else 0
    kernel = np.asarray(convolution.kernel)
    # A convolution's kernel ends in C; a depthwise one's in (input channels, results each), which make up C.
    by_channel = factor.reshape(kernel.shape[2:]) if isinstance(convolution, layers.DepthwiseConv2D) else factor
    folded.set_weights([kernel * by_channel, bias * factor + offset])
    return folded
