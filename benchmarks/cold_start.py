"""A pushed model's load and first answer in a process that is new, beside its second answer; and what it takes on disk."""

import json
import pathlib
import statistics
import tempfile

from benchmarks import child, models, voc
from benchmarks.harness import Measured, Row

_CLIENT = """
import json, sys, time

def timed(call):
    started = time.perf_counter()
    result = call()
    return result, time.perf_counter() - started

def load():
    import tensorflow as tf
    return tf

tf, imported = timed(load)
images = tf.constant([open(sys.argv[2], "rb").read()])
model, loaded = timed(lambda: tf.saved_model.load(sys.argv[1]))
answer = lambda: model.signatures["serving_default"](images=images)["mask"].numpy()
first, second = (timed(answer) for _ in range(2))
assert first[0][0] and first[0][0] == second[0][0]
print(json.dumps({"import": imported, "load": loaded, "first": first[1], "second": second[1]}))
"""
"""A process that has TensorFlow and none of our code, as whoever serves a model."""


def answer_twice(model: pathlib.Path, picture: str) -> dict[str, float]:
    """Returns seconds in a new process: the import of TensorFlow, the load, the first answer, the second."""
    return json.loads(child.python("-c", _CLIENT, str(model), picture).splitlines()[-1])


def sizes(model: pathlib.Path) -> tuple[int, int]:
    """Returns the bytes of all files, and those of the checkpoint in them."""
    files = {path: path.stat().st_size for path in model.rglob("*") if path.is_file()}
    return sum(files.values()), sum(size for path, size in files.items() if path.parent.name == "variables")


def run(data: pathlib.Path, turns: int) -> list[Row]:
    """Times so many new processes."""
    picture = voc.pairs(data, "test")[0].image
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name, "model")
        network = models.export(folder, data)
        weights = sum(weight.value.numpy().nbytes for weight in network.weights)
        total, checkpoint = sizes(folder)
        answer_twice(folder, picture)  # The files are in the cache from here on.
        taken = [answer_twice(folder, picture) for _ in range(turns)]
    imported, loaded, first = (statistics.median(one[what] for one in taken) for what in ("import", "load", "first"))
    note = (
        f"load {loaded:.2f} s, first answer {first:.2f} s; import of TensorFlow apart: {imported:.1f} s; export "
        f"{total / 2**20:.1f} MiB, of which the checkpoint {checkpoint / 2**20:.1f}; the weights before folding are "
        f"{weights / 2**20:.1f}"
    )
    return [
        Row(
            what="cold start: load and first answer",
            unit="answers",
            ours=Measured("load and first answer", tuple(one["load"] + one["first"] for one in taken), 1),
            reference=Measured("second answer", tuple(one["second"] for one in taken), 1),
            note=note,
        )
    ]
