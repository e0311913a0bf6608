"""Reads the tensors of a PyTorch file without PyTorch, and without running the code that a pickle may carry.

The format is the one that torch.save wrote before version 1.6, and `torch.serialization._legacy_load` reads: five pickles (a
magic number, the protocol's version, sizes of C's types, the state dict, the storages' keys), then of each storage its length,
int64, and its numbers. In the state dict a tensor is a call of `_rebuild_tensor_v2` on a part of a storage.
"""

import collections
import hashlib
import io
import pickle
from typing import Any, NoReturn

import numpy as np

from components.errors import ModelError

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
_STORAGES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4"}


def read(path: str, sha256: str) -> dict[str, np.ndarray]:
    """Reads a state dict.

    Args:
        path: of a local file.
        sha256: hexadecimal digest of the file, looked at before anything of it is interpreted.

    Returns:
        Array by name, in the file's order; of the tensors' shapes and dtypes.

    Raises:
        ModelError: another digest, another format, a truncated file, or a pickle that asks for more than tensors.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        content = file.read()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ModelError(f"{path} is not the expected file: its SHA-256 is {found}, not {sha256}. Install its package again.")
    try:
        return parse(content)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def parse(content: bytes) -> dict[str, np.ndarray]:
    """Returns the arrays of a file's bytes by name.

    Raises:
        ModelError: another format, truncated, or a pickle that asks for more than tensors.
    """
    file = io.BytesIO(content)
    try:
        if pickle_of(file).load() != _MAGIC_NUMBER or pickle_of(file).load() != _PROTOCOL_VERSION:
            raise ModelError("not a file of torch.save in the format before PyTorch 1.6")
        if not pickle_of(file).load()["little_endian"]:
            raise ModelError("written on a big-endian machine, which is not supported")
        reader = pickle_of(file)
        state = reader.load()
        keys = pickle_of(file).load()
        for key in keys:
            _fill(reader.storages[key], file)
        return {name: np.array(view) for name, view in state.items()}
    except ModelError:
        raise
    except Exception as error:  # What a damaged pickle raises is not documented: EOFError, KeyError, struct.error, ...
        raise ModelError(f"damaged or truncated ({type(error).__name__}: {error})") from error


def pickle_of(file: io.BytesIO) -> "TensorUnpickler":
    """Returns a reader of the pickle that begins at the file's position."""
    return TensorUnpickler(file, limit=len(file.getbuffer()))


class TensorUnpickler(pickle.Unpickler):
    """Knows tensors, storages and OrderedDict and nothing else, so that a pickle cannot call what it likes.

    See https://docs.python.org/3/library/pickle.html#restricting-globals.
    """

    def __init__(self, file: io.BytesIO, limit: int) -> None:
        """Takes the file, and the number of bytes that no storage can exceed."""
        super().__init__(file)
        self.storages: dict[str, np.ndarray] = {}
        self._limit = limit

    def find_class(self, module: str, name: str) -> Any:
        """Returns what stands for a global of PyTorch.

        Raises:
            ModelError: it has no business in a state dict.
        """
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _view
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        _refuse(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> np.ndarray:
        """Returns a storage, to be filled once the pickle is read: ("storage", dtype, key, device, length, None).

        Raises:
            ModelError: it is no whole storage, or larger than the file.
        """
        kind, dtype, key, _, length, part = pid
        if kind != "storage" or part is not None or dtype not in _STORAGES.values():
            _refuse(f"the reference {pid!r}")
        if not 0 <= length * np.dtype(dtype).itemsize <= self._limit:
            raise ModelError(f"truncated: the storage {key} of {length} numbers is larger than the file")
        return self.storages.setdefault(key, np.zeros(length, dtype))


def _refuse(what: str) -> NoReturn:
    raise ModelError(f"the pickle asks for {what}, which has no business in a file of weights; it was not run")


def _view(storage: np.ndarray, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> np.ndarray:
    """Stands for `_rebuild_tensor_v2`; offset and strides count numbers.

    Raises:
        ModelError: it would reach beyond its storage.
    """
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if min((offset, *shape, *strides)) < 0 or (0 not in shape and last >= storage.size):
        raise ModelError(f"a tensor of shape {shape} reaches beyond its storage of {storage.size} numbers")
    in_bytes = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, in_bytes)


def _fill(storage: np.ndarray, file: io.BytesIO) -> None:
    """Reads a storage's length and numbers.

    Raises:
        ModelError: another length than the pickle says, or the file ends.
    """
    [length] = np.frombuffer(file.read(8), "<i8")
    numbers = file.read(storage.nbytes)
    if length != storage.size or len(numbers) != storage.nbytes:
        raise ModelError(f"truncated: a storage of {storage.size} numbers has {min(length, len(numbers) // storage.itemsize)}")
    storage[:] = np.frombuffer(numbers, storage.dtype)
