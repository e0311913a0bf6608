"""What a run found, read from what its steps left into its summary."""

import datetime
import os
from typing import TYPE_CHECKING

from components.datasets import files
from pipeline import runs
from pipeline.locations import Locations

if TYPE_CHECKING:
    from pipeline.runners import Step


def fill_in(summary: runs.Summary, locations: Locations, steps: "dict[str, Step]") -> None:
    """Reads metrics, verdict and places from what the components left."""
    from tfx.utils import path_utils

    from components import base_model, blessings, card_files, trainer, training_log
    from components.evaluation import read_evaluation
    from components.example_gen import QUARANTINE_FILE, REPORT_FILE, read_report

    evaluation = steps["Evaluator"].outputs["evaluation"][0]
    found = read_evaluation(evaluation.uri)
    summary.metrics = found.overall.candidate.metrics
    summary.baseline = found.overall.baseline.metrics if found.overall.baseline else None
    tried = steps["ServingCheck"].outputs["blessing"][0]
    servable = tried.get_int_custom_property(blessings.BLESSED) == 1
    refusals = list(found.refusals)
    if found.blessed and not servable:
        why = tried.get_string_custom_property(blessings.REASONS).split("\n")
        refusals += [f"cannot be served: {reason}" for reason in why]
    summary.verdict = {
        "blessed": found.blessed,
        "servable": servable,
        "split": found.split,
        "reasons": [*found.reasons, *(refusal for refusal in refusals if refusal not in found.reasons)],
        "refusals": refusals,
        "interval": found.overall.candidate.interval,
    }
    pushed = steps["Pusher"].outputs["pushed_model"][0]
    if pushed.get_int_custom_property("pushed"):
        version = pushed.get_string_custom_property("pushed_version")
        begun = int(datetime.datetime.fromisoformat(summary.started).timestamp())
        # A first try may have published it and failed after that. Versions are seconds since 1970.
        new = pushed.get_int_custom_property("new_version") == 1 or int(version) >= begun
        summary.pushed = {
            "version": version,
            "path": pushed.get_string_custom_property("pushed_destination"),
            "new": steps["Pusher"].status == "run" and new,
        }
    quarantine = steps["ExampleGen"].outputs["quarantine"][0].uri
    data_report = steps["ExampleGen"].outputs["report"][0].uri
    data = read_report(data_report)
    summary.listed, summary.generated, summary.quarantined = data.listed, data.generated, len(data.quarantined)
    summary.near_duplicates = len(data.near_duplicates)
    summary.unfinished = _count(locations.unfinished)
    model_run = steps["Trainer"].outputs["model_run"][0].uri
    start = base_model.read_start(model_run)
    summary.start = {"base": start.base, "refusal": start.refusal}
    summary.paths |= {
        "trained": path_utils.serving_model_path(steps["Trainer"].outputs["model"][0].uri),
        "metadata": locations.metadata,
        "models": locations.models,
        "examples": steps["ExampleGen"].outputs["examples"][0].uri,
        "evaluation": evaluation.uri,
        "model card": os.path.join(steps["ModelCardGen"].outputs["card"][0].uri, card_files.HTML_FILE),
        "quarantine": os.path.join(quarantine, QUARANTINE_FILE),
        "data report": os.path.join(data_report, REPORT_FILE),
        "tensorboard": model_run,
        "history": os.path.join(model_run, training_log.HISTORY_FILE),
        "picture": os.path.join(model_run, trainer.PICTURE_FILE),
    }
    if summary.unfinished:
        summary.paths["unfinished"] = locations.unfinished


def _count(folder: str) -> int:
    return len(files.names(folder)) if files.is_folder(folder) else 0
