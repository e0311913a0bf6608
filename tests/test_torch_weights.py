"""The reader of PyTorch's files: what it reads, and what it refuses."""

import hashlib
import math
import os
import pathlib
import pickle
import struct
from typing import Any

import numpy as np
import pytest

from components.errors import ModelError
from components.models import torch_weights
from components.models.encoders import efficientnet_lite

# A writer of the format, opcode by opcode, so that no PyTorch is needed.


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<i", len(value)) + value.encode()


def _tuple(*items: bytes | int) -> bytes:
    return b"(" + b"".join(b"J" + struct.pack("<i", item) if isinstance(item, int) else item for item in items) + b"t"


def _tensor(key: str, kind: str, length: int, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> bytes:
    storage = _tuple(_text("storage"), f"ctorch\n{kind}\n".encode(), _text(key), _text("cpu"), length, b"N") + b"Q"
    hooks = b"ccollections\nOrderedDict\n)R"
    arguments = _tuple(storage, offset, _tuple(*shape), _tuple(*strides), b"\x89", hooks)
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"


def _state(**tensors: bytes) -> bytes:
    items = b"".join(_text(name) + tensor for name, tensor in tensors.items())
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + items + b"u."


PARTS = [
    pickle.dumps(0x1950A86A20F9469CFC6C, 2),
    pickle.dumps(1001, 2),
    pickle.dumps({"protocol_version": 1001, "little_endian": True}, 2),
    _state(
        weight=_tensor("7", "FloatStorage", 6, (2, 3), (3, 1)),
        turned=_tensor("7", "FloatStorage", 6, (3, 2), (1, 3)),
        part=_tensor("7", "FloatStorage", 6, (2,), (2,), offset=1),
        count=_tensor("9", "LongStorage", 1, (), ()),
        none=_tensor("8", "FloatStorage", 0, (0, 4), (4, 1)),
    ),
    pickle.dumps(["9", "7", "8"], 2),
    struct.pack("<qq", 1, 2**40),
    struct.pack("<q6f", 6, 0, 1, 2, 3, 4, 5),
    struct.pack("<q", 0),
]
STATE = 3


def _content(replaced: dict[int, bytes] | None = None) -> bytes:
    return b"".join((replaced or {}).get(number, part) for number, part in enumerate(PARTS))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_tensors_are_read_by_name_with_shape_strides_offset_and_dtype() -> None:
    read = torch_weights.parse(_content())
    assert list(read) == ["weight", "turned", "part", "count", "none"]
    assert read["weight"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert read["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]
    assert read["part"].tolist() == [1, 3]
    assert (read["count"].dtype, read["count"].shape, int(read["count"])) == (np.int64, (), 2**40)
    assert (read["none"].dtype, read["none"].shape) == (np.float32, (0, 4))


def test_arrays_that_shared_a_storage_are_independent() -> None:
    read = torch_weights.parse(_content())
    read["weight"][0, 1] = 9
    assert read["part"][0] == 1


class Evil:
    """A pickle of it calls a function when it is loaded."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.called = function, arguments

    def __reduce__(self) -> Any:
        return self.called


@pytest.mark.parametrize("part", range(5))
def test_pickle_that_calls_a_function_is_refused_and_calls_nothing(tmp_path: pathlib.Path, part: int) -> None:
    target = tmp_path / "made"
    evil = pickle.dumps(Evil(os.mkdir, str(target)), 2)
    pickle.loads(evil)
    assert target.is_dir()  # It is evil indeed.
    target.rmdir()
    with pytest.raises(ModelError, match=r"asks for posix.mkdir, which has no business in a file of weights; it was not run"):
        torch_weights.parse(_content({part: evil}))
    assert not target.exists()


@pytest.mark.parametrize(
    "name",
    ["builtins\neval", "torch\nload", "collections\nnamedtuple", "torch._utils\n_rebuild_parameter", "torch\nQInt8Storage"],
)
def test_what_is_no_tensor_is_refused_by_name(name: str) -> None:
    state = _state(weight=b"c" + name.encode() + b"\n)R")
    with pytest.raises(ModelError, match=f"asks for {name}".replace("\n", r"\.")):
        torch_weights.parse(_content({STATE: state}))


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [((7,), (1,), 0), ((2, 3), (3, 2), 0), ((6,), (1,), 1), ((2,), (-1,), 1), ((1,), (1,), -1), ((2**31 - 1,), (1,), 0)],
)
def test_tensor_that_reaches_beyond_its_storage_is_refused(
    shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> None:
    # A view of NumPy's would show what lies beside it in memory.
    state = _state(weight=_tensor("7", "FloatStorage", 6, shape, strides, offset))
    with pytest.raises(ModelError, match="reaches beyond its storage of 6 numbers"):
        torch_weights.parse(_content({STATE: state}))


@pytest.mark.parametrize("length", [-1, 10**6, 2**31 - 1])
def test_storage_larger_than_the_file_is_refused_before_it_is_made(length: int) -> None:
    state = _state(weight=_tensor("7", "FloatStorage", length, (1,), (1,)))
    with pytest.raises(ModelError, match="is larger than the file"):
        torch_weights.parse(_content({STATE: state}))


def test_file_cut_anywhere_is_refused() -> None:
    content = _content()
    for length in range(len(content)):
        with pytest.raises(ModelError):
            torch_weights.parse(content[:length])


def test_storage_of_another_length_than_the_pickle_says_is_refused() -> None:
    with pytest.raises(ModelError, match="a storage of 6 numbers has 5"):
        torch_weights.parse(_content({6: struct.pack("<q6f", 5, 0, 1, 2, 3, 4, 5)}))


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({0: pickle.dumps(17, 2)}, "before PyTorch 1.6"),
        ({1: pickle.dumps(1002, 2)}, "before PyTorch 1.6"),
        ({0: b"PK\x03\x04"}, "damaged or truncated"),
        ({2: pickle.dumps({"little_endian": False}, 2)}, "big-endian"),
        ({4: pickle.dumps(["9", "7", "unknown"], 2)}, "damaged or truncated"),
    ],
    ids=["magic number", "version", "zip", "byte order", "unknown storage"],
)
def test_other_format_is_refused(replaced: dict[int, bytes], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        torch_weights.parse(_content(replaced))


def test_file_with_another_digest_is_not_looked_into(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(_content())
    assert set(torch_weights.read(str(path), _sha256(_content()))) == {"weight", "turned", "part", "count", "none"}
    monkeypatch.setattr(torch_weights, "parse", lambda content: pytest.fail("parsed"))
    path.write_bytes(_content()[:-1])
    with pytest.raises(ModelError, match=f"weights.pth is not the expected file: its SHA-256 is {_sha256(_content()[:-1])}"):
        torch_weights.read(str(path), _sha256(_content()))


def test_error_inside_a_file_names_it(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"weights\.pth: damaged or truncated"):
        torch_weights.read(str(path), _sha256(b"nothing"))


@pytest.mark.parametrize(
    ("name", "parameters"),  # Published, in millions: 4.7, 5.4 and 6.1.
    [("efficientnet_lite0", 4_652_008), ("efficientnet_lite1", 5_416_680), ("efficientnet_lite2", 6_092_072)],
)
def test_installed_file_has_the_published_number_of_parameters(name: str, parameters: int) -> None:
    state = torch_weights.read(efficientnet_lite.weights_path(name), efficientnet_lite.VARIANTS[name].sha256)
    moving = ("running_mean", "running_var", "num_batches_tracked")
    assert sum(array.size for name, array in state.items() if not name.endswith(moving)) == parameters
    assert state["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert math.isfinite(sum(float(np.abs(array).sum()) for array in state.values()))
