"""Vertex AI in miniature: runs a compiled specification's containers as processes of this machine, one task after the other.

It does what TFX's compiler and containers count on: a driver runs before the cache is asked, what it writes counts there, and
resolvers look through all earlier artifacts. How Google's own service does it is not known from this.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
from typing import Any

Json = dict[str, Any]


@dataclasses.dataclass
class FakeVertex:
    """Keeps artifacts and cache from job to job.

    Attributes:
        folder: for all that the tasks write.
        artifacts: all so far, the newest last.
        cache: outputs by what made them.
    """

    folder: pathlib.Path
    artifacts: list[Json] = dataclasses.field(default_factory=list)
    cache: dict[str, Json] = dataclasses.field(default_factory=dict)

    def run(self, job: Json) -> dict[str, str]:
        """Runs a PipelineJob; returns for each task whether it was run, cached or resolved."""
        spec = json.loads(json.dumps(job["pipelineSpec"]))
        tasks, outputs, states = spec["root"]["dag"]["tasks"], {}, {}
        while len(states) < len(tasks):
            name = next(name for name in tasks if name not in states and _needs(tasks[name]) <= states.keys())
            component = spec["components"][tasks[name]["componentRef"]["name"]]
            executor = spec["deploymentSpec"]["executors"][component["executorLabel"]]
            inputs = tasks[name].get("inputs", {})
            read = {key: _output(outputs, one["taskOutputArtifact"]) for key, one in inputs.get("artifacts", {}).items()}
            parameters = {key: one["runtimeValue"]["constant"] for key, one in inputs.get("parameters", {}).items()}
            if "resolver" in executor:
                outputs[name], states[name] = self._resolve(executor["resolver"], read), "resolved"
            else:
                outputs[name], states[name] = self._execute(name, executor["container"], component, read, parameters)
        return states

    def newest(self, of: str) -> Json:
        """Returns the newest artifact of "<task>-<key>"."""
        return [one for one in self.artifacts if one["name"].endswith(f"-{of}")][-1]

    def _resolve(self, resolver: Json, read: Json) -> Json:
        """Returns the newest artifact that fits each query, if there is one."""
        found = {}
        for key, query in resolver["outputArtifactQueries"].items():
            conditions = query["filter"].split(" AND ")
            fitting = [one for one in self.artifacts if all(_fits(one, condition, read) for condition in conditions)]
            found[key] = fitting[-1:]
        return found

    def _execute(self, name: str, container: Json, component: Json, read: Json, parameters: Json) -> tuple[Json, str]:
        """Runs driver and executor, unless there are outputs of the same execution."""
        folder = self.folder / f"{len(list(self.folder.iterdir()))}-{name}"
        folder.mkdir()
        definitions = component.get("outputDefinitions", {}).get("artifacts", {})
        wanted = {key: self._new(key, one["artifactType"], folder) for key, one in definitions.items()}
        output_file = folder / "executor_output.json"
        executor_input = {
            "inputs": {"parameterValues": parameters, "artifacts": {key: {"artifacts": found} for key, found in read.items()}},
            "outputs": {
                "artifacts": {key: {"artifacts": [one]} for key, one in wanted.items()},
                "outputFile": str(output_file),
            },
        }
        if driver := container.get("lifecycle", {}).get("preCacheCheck"):
            _run(driver, executor_input, folder)
        driven = json.loads(output_file.read_text())["parameterValues"] if driver else {}
        names = {key: [one["name"] for one in found] for key, found in read.items()}
        identity = json.dumps([name, container["image"], parameters, driven, names], sort_keys=True)
        digest = hashlib.sha256(identity.encode()).hexdigest()
        if digest in self.cache:
            return self.cache[digest], "cached"
        _run(container, executor_input, folder)
        written = json.loads(output_file.read_text()).get("artifacts", {})
        for key, one in wanted.items():
            one["metadata"] = written[key]["artifacts"][0].get("metadata", {})
            self.artifacts.append(one)
        self.cache[digest] = {key: [one] for key, one in wanted.items()}
        return self.cache[digest], "run"

    def _new(self, key: str, kind: Json, folder: pathlib.Path) -> Json:
        (folder / key).mkdir()  # In a bucket nothing need be made.
        return {"name": f"projects/1/artifacts/{folder.name}-{key}", "uri": str(folder / key), "type": kind}


def _needs(task: Json) -> set[str]:
    artifacts = task.get("inputs", {}).get("artifacts", {}).values()
    return {*task.get("dependentTasks", ()), *(one["taskOutputArtifact"]["producerTask"] for one in artifacts)}


def _output(outputs: dict[str, Json], place: Json) -> list[Json]:
    return outputs[place["producerTask"]][place["outputArtifactKey"]]


def _fits(artifact: Json, condition: str, read: Json) -> bool:
    """Tells whether an artifact meets one condition of a resolver's query."""
    if condition == "state=LIVE":
        return True
    if title := re.fullmatch(r'schema_title="(.*)"', condition):
        return artifact["type"]["instanceSchema"].startswith(f"title: {title[1]}\n")
    if number := re.fullmatch(r"metadata\.(\w+)\.number_value=(\d+)", condition):
        return artifact["metadata"].get(number[1]) == int(number[2])
    of_input = re.fullmatch(r"""name="{{\$\.inputs\.artifacts\['(\w+)'\]\.metadata\['(\w+)'\]}}\"""", condition)
    assert of_input, condition
    return any(artifact["name"] == one["metadata"][of_input[2]] for one in read[of_input[1]])


def _run(command: Json, executor_input: Json, folder: pathlib.Path) -> None:
    """Runs a container's command with what Vertex AI puts into its placeholder."""
    words = [*command["command"], *command["args"]]
    assert words[0] == "python"
    filled = [json.dumps(executor_input) if word == "{{$}}" else word for word in words[1:]]
    environment = os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[1]), "CUDA_VISIBLE_DEVICES": "-1"}
    ended = subprocess.run([sys.executable, *filled], cwd=folder, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-5000:]
