"""Records of several splits written by several bundles, some of them tried twice."""

import pathlib

import apache_beam as beam
import pytest
import tensorflow as tf

from components.datasets.storing_sink import SplitsSink


def _read(folder: pathlib.Path) -> dict[str, list[bytes]]:
    """Returns the records of each file."""
    files = sorted(folder.rglob("*.gz"))
    return {
        str(path.relative_to(folder)): list(tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator()) for path in files
    }


def _sink(folder: pathlib.Path) -> SplitsSink:
    return SplitsSink({split: str(folder / split / "data") for split in ("train", "test", "empty")})


def test_several_bundles_some_of_which_lack_a_split(tmp_path: pathlib.Path) -> None:
    sink = _sink(tmp_path)
    folders = sink.initialize_write()
    written = []
    for number, records in enumerate([[("train", b"a"), ("test", b"b"), ("train", b"c")], [("train", b"d")]]):
        writer = sink.open_writer(folders, str(number))
        for record in records:
            writer.write(record)
        written.append(writer.close())
    lost = sink.open_writer(folders, "lost")  # A bundle that was tried again.
    lost.write(("train", b"a"))
    lost.close()
    sink.pre_finalize(folders, written)
    expected = {
        "empty/data-00000-of-00001.gz": [],
        "test/data-00000-of-00001.gz": [b"b"],
        "train/data-00000-of-00002.gz": [b"a", b"c"],
        "train/data-00001-of-00002.gz": [b"d"],
    }
    for _ in range(2):  # The second time, as after a worker that died behind it.
        list(sink.finalize_write(folders, written, None))
        assert _read(tmp_path) == expected
        assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "test", "train"]
        assert not list(tmp_path.rglob("*temp*"))


@pytest.mark.parametrize("repeated", [0, 2])
def test_job_writes_each_record_once_though_bundles_are_repeated(tmp_path: pathlib.Path, repeated: int) -> None:
    records = [("train", b"%d" % number) for number in range(50)] + [("test", b"x")]
    options = ["--runner=FnApiRunner", "--direct_running_mode=in_memory", f"--direct_runner_bundle_repeat={repeated}"]
    with beam.Pipeline(argv=options) as job:
        _ = job | beam.Create(records) | beam.io.Write(_sink(tmp_path))
    found = [(name.split("/")[0], record) for name, of_file in _read(tmp_path).items() for record in of_file]
    assert sorted(found) == sorted(records)
    assert list(_read(tmp_path / "empty").values()) == [[]]
