"""A script: whole runs with data and root in TensorFlow's memory, in this one process; prints what came of them as JSON.

Arguments: a folder with data, and an empty one for the records of the runs.
"""

import contextlib
import json
import os
import sys
import uuid
import warnings
from typing import Any


def main(data: str, local: str) -> None:
    """Runs twice, the second time with nothing changed, and then prunes nothing."""
    import pytest
    import ram_files

    from components import stores
    from pipeline.request import Request
    from pipeline.run import run
    from pipeline_config import override, preset

    ram_files.make_known(pytest.MonkeyPatch())
    store = uuid.uuid4().hex
    touched: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        """Notes what asks the operating system for a file by an address in the store."""
        if event == "open" or event.startswith(("os.", "shutil.")):
            touched.extend(f"{event} {one}" for one in arguments if isinstance(one, str) and store in one)

    sys.addaudithook(watch)
    stores.upload(data, f"ram://{store}/data")
    small = {"train.epochs": "2", "model.filters": "4", "model.depth": "2", "evaluate.beat_constant": "false"}
    config = override(preset("mini"), small | {"evaluate.min_mean_iou": "0"})
    with contextlib.redirect_stdout(sys.stderr):
        request = Request(root=f"ram://{store}/store", data=f"ram://{store}/data", local=local)
        found = [run(config, request) for _ in range(2)]
    paths = stores.names_below(f"ram://{store}/store")
    steps = [{step["name"]: step["status"] for step in summary.steps} for summary in found]
    print(json.dumps({"steps": steps, "pushed": found[0].pushed, "paths": found[0].paths, "files": paths, "touched": touched}))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    data, local = sys.argv[1:]
    sys.argv = sys.argv[:1]
    os.chdir(local)
    main(data, os.path.join(local, "records"))
