"""Runs a pipeline with Beam options of one's choice: `portable_driver.py ROOT DATA FIELDS BEAM_ARGS`, the last two as JSON.

What it writes to ROOT/outputs.json: the folder of each output, by step and name.
"""

import json
import pathlib
import sys

import pipeline_config
from pipeline import datasets, graph, runners, targets
from pipeline.locations import locate


def main() -> None:
    """Runs it."""
    root, data, fields, beam_args = sys.argv[1:]
    del sys.argv[1:]  # TFX reads them.
    config = pipeline_config.override(pipeline_config.preset("mini"), json.loads(fields))
    locations = locate(config, root, data)
    spec = datasets.find_spec(None, locations.data, config.data.span, print, locations.description)
    target = targets.Target(metadata=runners.local_metadata(locations), beam_args=tuple(json.loads(beam_args)))
    pipeline = graph.create_pipeline(config, locations, spec, target)
    steps = runners.run_local(pipeline, "run", lambda name, *_: print(name, flush=True), lambda step: print(step.seconds))
    outputs = {step.name: {key: found[0].uri for key, found in step.outputs.items() if found} for step in steps}
    (pathlib.Path(root) / "outputs.json").write_text(json.dumps(outputs))


if __name__ == "__main__":
    main()
