"""Folders of a store: copied there and here, whole or recognised as not whole."""

import os
import pathlib

import pytest
import tensorflow as tf

from components import stores
from components.datasets import files


def _folder(folder: pathlib.Path) -> pathlib.Path:
    for name in ("a.b", "a/b", "a/.hidden", "z"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def test_names_are_sorted_folder_by_folder(tmp_path: pathlib.Path) -> None:
    assert stores.names_below(str(_folder(tmp_path))) == ["a/.hidden", "a/b", "a.b", "z"]
    assert stores.names_below(str(tmp_path / "none")) == []


def test_what_is_uploaded_comes_back_the_same(tmp_path: pathlib.Path, ram_store: str) -> None:
    source, address = _folder(tmp_path / "x"), f"{ram_store}/x"
    stores.upload(str(source), address)
    with stores.fetched(address) as folder:
        assert {name: pathlib.Path(folder, name).read_bytes() for name in stores.names_below(folder)} == {
            name: name.encode() for name in ("a/.hidden", "a/b", "a.b", "z")
        }
    assert not os.path.exists(folder)


def test_local_folder_is_not_copied(tmp_path: pathlib.Path) -> None:
    with stores.fetched(str(tmp_path)) as folder:
        assert folder == str(tmp_path)
    assert tmp_path.is_dir()


def test_upload_that_died_does_not_count_as_whole(
    tmp_path: pathlib.Path, ram_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, address = _folder(tmp_path / "x"), f"{ram_store}/x"
    real = tf.io.gfile.copy

    def fail(source: str, target: str, overwrite: bool) -> None:
        if target.endswith("z"):
            raise tf.errors.UnavailableError(None, None, "the network is away")
        real(source, target, overwrite=overwrite)

    with monkeypatch.context() as patch:
        patch.setattr(tf.io.gfile, "copy", fail)
        with pytest.raises(OSError, match="the network is away"):
            stores.upload(str(source), address)
    assert files.exists(f"{address}/a/b") and not stores.is_complete(address)
    stores.upload(str(source), address)
    assert stores.is_complete(address)


def test_store_that_can_be_written_to_is_left_without_a_trace(ram_store: str) -> None:
    stores.try_writing(f"{ram_store}/root")
    assert stores.names_below(ram_store) == []


def test_unknown_store_is_an_error_of_the_operating_systems_kind() -> None:
    with pytest.raises(OSError, match="nowhere"):
        stores.try_writing("nowhere://bucket/root")


@pytest.mark.parametrize("size_bytes", [0, 1, 3 << 20])
def test_digest_is_that_of_all_bytes(ram_store: str, tmp_path: pathlib.Path, size_bytes: int) -> None:
    import hashlib

    content = os.urandom(size_bytes)
    stores.write_bytes(f"{ram_store}/x", content)
    assert stores.sha256_of(f"{ram_store}/x") == hashlib.sha256(content).hexdigest()
