"""One Beam job from listed pairs to examples, quarantine and report: what a check and ExampleGen have in common."""

import collections
import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import tensorflow as tf

from components.datasets import leaks, near_duplicates
from components.datasets.examples import EncodeExamples, Quarantined
from components.datasets.layout import Pair
from components.datasets.report import CountFacts, Report, SplitReport
from components.datasets.spec import DatasetSpec

MAX_NEAR_DUPLICATES = 1000
"""That a report names, the nearest first: a film whose frames were dealt to the splits has thousands; fewer tell as much."""

Pairs = Mapping[str, Sequence[Pair]]
"""The listed pairs by the builder's names of the splits."""

Write = Callable[[beam.PCollection], None]
"""What is done with the examples, PCollection[(split, (key, example))]."""


def generate(make_pipeline: Callable[[], beam.Pipeline], spec: DatasetSpec, pairs: Pairs, folder: str, write: Write) -> Report:
    """Reads all pairs, writes the examples, and tells what was found.

    Pictures that another split has too are left out of train where the description says so. Those with one path are known
    before anything is read; where only the pixels tell, the job runs a second time without them.

    Args:
        make_pipeline: makes a Beam pipeline.
        spec: the data set.
        pairs: the listed pairs; a split without any is not in it.
        folder: an empty one for what the job passes on, on a file system of Beam's and TensorFlow's.
        write: takes the examples; writes anew what an earlier call wrote.

    Raises:
        RuntimeError: examples and quarantined pairs are not together the listed pairs; cannot be, so it is a bug.
    """
    dropping = spec.leaks == "drop_from_train"
    drop = leaks.to_drop(same_files(pairs)) if dropping else set()
    report = _generate(make_pipeline, spec, pairs, drop, os.path.join(folder, "1"), write)
    found = leaks.to_drop(report.leaks) if dropping else set()
    return _generate(make_pipeline, spec, pairs, drop | found, os.path.join(folder, "2"), write) if found else report


def same_files(pairs: Pairs) -> list[leaks.Leak]:
    """Returns the leaks that the lists alone show: one picture's path in two splits."""
    by_file = collections.defaultdict(list)
    for split, listed in pairs.items():
        for pair in listed:
            by_file[pair.image].append((split, pair.key, pair.image))
    return [leaks.Leak(tuple(found)) for found in by_file.values() if len({split for split, _, _ in found}) > 1]


def without(pairs: Pairs, drop: set[tuple[str, str]]) -> dict[str, list[Pair]]:
    """Returns the pairs but for some, given by split and key; a split may have none left."""
    return {split: [pair for pair in listed if (split, pair.key) not in drop] for split, listed in pairs.items()}


def _generate(
    make_pipeline: Callable[[], beam.Pipeline],
    spec: DatasetSpec,
    pairs: Pairs,
    drop: set[tuple[str, str]],
    folder: str,
    write: Write,
) -> Report:
    tf.io.gfile.makedirs(folder)
    with make_pipeline() as pipeline:
        listed = without(pairs, drop)
        encoded = (
            pipeline
            | "Manifest" >> beam.Create([_write_manifest(os.path.join(folder, "pairs.jsonl"), listed)], reshuffle=False)
            | "Read" >> beam.FlatMap(_read_manifest)
            | "Encode" >> EncodeExamples(spec, sum(map(len, listed.values())))
        )
        write(encoded["examples"])
        ones = encoded["examples"] | "One each" >> beam.Map(lambda example: 1)
        splits = encoded["facts"] | "Count facts" >> beam.CombineGlobally(CountFacts(spec)).without_defaults()
        found = {
            "splits": splits | "As dicts" >> beam.Map(_as_dicts),
            "generated": ones | "Count" >> beam.CombineGlobally(sum).without_defaults(),
            "quarantined": encoded["quarantined"],
            "leaks": encoded["fingerprints"] | "Find leaks" >> leaks.FindLeaks(),
            "near_duplicates": encoded["fingerprints"] | "Find near-duplicates" >> near_duplicates.FindNearDuplicates(),
        }
        _write_findings(found, os.path.join(folder, "findings.jsonl"))
    return _assemble(spec, pairs, drop, _read_findings(os.path.join(folder, "findings.jsonl")))


def _write_manifest(path: str, pairs: Pairs) -> str:
    """Lists the pairs in a file: a job's description has no room for millions."""
    with tf.io.gfile.GFile(path, "w") as file:
        file.write("")  # Else there is no file where there are no pairs.
        for split, listed in pairs.items():
            for pair in listed:
                file.write(json.dumps([split, *dataclasses.astuple(pair)]) + "\n")
    return path


def _read_manifest(path: str) -> Iterator[tuple[str, Pair]]:
    with tf.io.gfile.GFile(path) as file:
        for line in file:
            split, *fields = json.loads(line)
            yield split, Pair(*fields)


def _as_dicts(splits: Mapping[str, SplitReport]) -> dict[str, Any]:
    return {split: dataclasses.asdict(found) for split, found in splits.items()}


def _to_json(value: Any, name: str) -> str:
    return json.dumps([name, dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value])  # type: ignore[arg-type]


def _write_findings(found: Mapping[str, beam.PCollection], path: str) -> None:
    """Writes all in one file, each with its name: to set up a sink takes a runner longer than to fill it."""
    lines = [collection | f"{name} to JSON" >> beam.Map(_to_json, name) for name, collection in found.items()]
    one_file = beam.io.WriteToText(path, shard_name_template="", num_shards=1)
    _ = lines | "All findings" >> beam.Flatten() | "Write findings" >> one_file


def _read_findings(path: str) -> dict[str, list[Any]]:
    found = collections.defaultdict(list)
    with tf.io.gfile.GFile(path) as file:
        for line in file:
            name, value = json.loads(line)
            found[name].append(value)
    return found


def _all_leaks(by_path: Sequence[leaks.Leak], by_pixels: Sequence[Mapping[str, Any]]) -> list[leaks.Leak]:
    """Joins both kinds: a picture that cannot be read has no pixels to compare, and those of one path have the same."""
    found = [leaks.Leak(tuple(map(tuple, leak["pictures"]))) for leak in by_pixels]
    known = {picture for leak in found for picture in leak.pictures}
    return found + [leak for leak in by_path if not known.issuperset(leak.pictures)]


def _assemble(spec: DatasetSpec, pairs: Pairs, drop: set[tuple[str, str]], lines: Mapping[str, list[Any]]) -> Report:
    """Joins what the job wrote with what was listed, and checks that no pair is lost."""
    quarantined = [Quarantined(**record) for record in lines["quarantined"]]
    reason = "another split has the same picture; left out of train"
    quarantined += [
        Quarantined(split, pair.key, pair.image, reason, cause="leak")
        for split, listed in pairs.items()
        for pair in listed
        if (split, pair.key) in drop
    ]
    quarantined.sort(key=lambda record: (list(pairs).index(record.split), record.key))
    causes = collections.Counter((record.split, record.cause) for record in quarantined)
    counted: Mapping[str, Any] = next(iter(lines["splits"]), {})  # Of no example, nothing is written.
    generated = sum(lines["generated"])
    splits = {}
    for split, listed in pairs.items():
        splits[split] = SplitReport(**counted.get(split, {}))
        splits[split].listed = len(listed)
        splits[split].quarantined, splits[split].dropped = causes[split, "bad"], causes[split, "leak"]
    report = Report(
        dataset=spec.name,
        classes=spec.classes,
        splits=splits,
        quarantined=quarantined,
        leaks=_all_leaks(same_files(without(pairs, drop)), lines["leaks"]),
        near_duplicates=[
            near_duplicates.NearDuplicate(tuple(pair["first"]), tuple(pair["second"]), pair["distance"])
            for pair in lines["near_duplicates"]
        ],
    )
    report.leaks.sort(key=str)
    report.near_duplicates.sort(key=lambda pair: (pair.distance, str(pair)))
    del report.near_duplicates[MAX_NEAR_DUPLICATES:]
    if not generated + len(quarantined) == report.generated + len(quarantined) == report.listed:
        raise RuntimeError(
            f"{report.listed} pairs are listed, {generated} examples were made, {report.generated} were counted, "
            f"and {len(quarantined)} pairs quarantined: some were lost. This is a bug."
        )
    return report
