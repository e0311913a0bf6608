"""The TensorFlow Datasets builder behind every data set: a description on disk becomes examples of `components.features`."""

import dataclasses
import functools
import hashlib
import importlib
import inspect
import json
import os
from collections.abc import Sequence
from typing import Any, ClassVar

import apache_beam as beam
import numpy as np
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from components import features, progress
from components.datasets import archives, files, layout, leaks, registry, spans
from components.datasets.digests import DIGESTS_FILE, DigestCache
from components.datasets.examples import EncodeExamples, Quarantined, check_quarantine
from components.datasets.generate import same_files, without
from components.datasets.layout import Pair
from components.datasets.spec import SPLITS, DatasetSpec
from components.errors import DataError


def make_builder(spec: DatasetSpec, source: str, span: str, work_dir: str) -> "SegmentationBuilder":
    """Returns the builder of a data set.

    Args:
        spec: the description.
        source: the data folder or pattern of spans, or empty for the official download.
        span: which spans are meant.
        work_dir: for downloads and, on this machine, remembered digests.
    """
    name = registry.builder_of(spec)
    importlib.import_module(registry.module_of(name))
    custom = {"spec": spec} if name == registry.CUSTOM else {}
    # A database needs a disk; of a store's objects nothing need be remembered.
    digests = None if files.is_remote(work_dir) else os.path.join(work_dir, DIGESTS_FILE)
    return tfds.builder(name, source=source or None, span=span, digests=digests, data_dir=work_dir, **custom)


def make_download_manager(builder: "SegmentationBuilder", work_dir: str) -> tfds.download.DownloadManager:
    """Returns tfds's manager, which downloads and extracts below `work_dir` and verifies the builder's checksums."""
    return tfds.download.DownloadManager(
        download_dir=os.path.join(work_dir, "downloads"),
        url_infos=builder.url_infos,
        dataset_name=builder.name,
        force_checksums_validation=True,
    )


class SegmentationBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A data set with class masks (see `components.features` for its examples); each one is a subclass with its description.

    Args:
        source: the data folder, one with `{SPAN}` in its path, or, for a set that has them, a folder with the official
            archives; without it they are downloaded, and verified by their checksums.
        span: which spans of the source are meant, see `components.datasets.spans`.
        digests: the file that keeps digests of what has not changed, or None.
        **kwargs: of `tfds.core.GeneratorBasedBuilder`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    SPEC: DatasetSpec
    HOST = ""
    ARCHIVES: ClassVar[tuple[str, ...]] = ()
    HOMEPAGE = ""

    def __init__(
        self, *, source: epath.PathLike | None = None, span: str = "newest", digests: str | None = None, **kwargs: Any
    ) -> None:
        """Remembers the source; nothing is read before the examples are generated."""
        self._source = "" if source is None else os.fspath(source)
        self._span = span
        self._digests = digests
        super().__init__(**kwargs)
        # What the base class restores when it is unpickled.
        self._original_state |= {"source": source, "span": span, "digests": digests}

    @property
    def spec(self) -> DatasetSpec:
        """The description."""
        return self.SPEC

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self._text("README.md"),
            citation=self._text("CITATIONS.bib"),
            homepage=self.HOMEPAGE or None,
            features=tfds.features.FeaturesDict(
                {
                    features.IMAGE: tfds.features.Image(shape=(None, None, 3)),
                    features.FILENAME: tfds.features.Text(),
                    features.HEIGHT: np.int64,
                    features.WIDTH: np.int64,
                    features.LABEL: tfds.features.LabeledImage(
                        labels=list(self.spec.classes), shape=(None, None, 1), encoding_format="png"
                    ),
                    features.CLASSES: tfds.features.Sequence(np.int64),
                    features.VOID_FRACTION: np.float32,
                }
            ),
            supervised_keys=(features.IMAGE, features.LABEL),
        )

    def _text(self, name: str) -> str:
        """Returns a text that lies beside the class of the data set."""
        return (epath.Path(inspect.getfile(type(self))).parent / name).read_text()

    def source_digest(self) -> str:
        """Returns a digest of the data's content without generating it; time stamps do not count.

        Raises:
            DataError: the source does not hold the data set.
        """
        if not self._source:
            self._check_download()
            checksums = {url: info.checksum for url, info in self.url_infos.items()}
            return hashlib.sha256(json.dumps(checksums, sort_keys=True).encode()).hexdigest()
        found = self._given_archives()
        return self._archives_digest(found) if found else content_digest(self._list(self._folders()), self._digests)

    def _given_archives(self) -> list[epath.Path]:
        """Returns the archives in the source; none where they have been extracted beside them."""
        if spans.has_span(self._source) or layout.holds(self._source, self.spec):
            return []
        if not any(files.exists(files.join(self._source, name)) for name in self.ARCHIVES):
            return []  # Asked so since epath knows fewer stores than TensorFlow.
        return archives.find_archives(self._source, self.ARCHIVES)

    def _archives_digest(self, paths: Sequence[epath.Path]) -> str:
        with DigestCache(self._digests) as cache:
            return hashlib.sha256("".join(cache.digests([os.fspath(path) for path in paths])).encode()).hexdigest()

    def pairs_by_split(self, dl_manager: tfds.download.DownloadManager) -> dict[str, list[Pair]]:
        """Returns the listed pairs of each split that has any, after download and extraction where they are needed.

        Raises:
            DataError: the source does not hold the data set.
        """
        if not self._source:
            found = self._download(dl_manager)
        else:
            found = self._given_archives()
        if not found:
            return self._list(self._folders())
        extracted = f"{self.spec.name}-{self._archives_digest(found)[:16]}"
        folder = archives.extract_listed(found, self.spec, epath.Path(dl_manager.download_dir) / "extracted" / extracted)
        return self._list({"": os.fspath(folder)})

    def describe_oddities(self) -> list[str]:
        """Returns what editors have left in the lists, and what in the folders is not looked at; nothing for archives."""
        if not self._source or self._given_archives():
            return []
        lines = []
        for folder in self._folders().values():
            lines += layout.describe_lists(folder, self.spec) + layout.describe_rest(folder, self.spec)
        return lines

    def _folders(self) -> dict[str, str]:
        """Returns the data folders by the prefix of their pictures' keys: the spans, or the one folder."""
        source = self._source
        if not spans.has_span(source):
            return {"": source}
        return {f"span-{span.number}/": span.folder for span in spans.resolve_spans(source, self._span)}

    def _list(self, folders: dict[str, str]) -> dict[str, list[Pair]]:
        joined: dict[str, list[Pair]] = {}
        for prefix, folder in folders.items():
            for split, pairs in layout.list_pairs(folder, self.spec).items():
                joined.setdefault(split, []).extend(dataclasses.replace(pair, key=prefix + pair.key) for pair in pairs)
        return {split: joined[split] for split in SPLITS if split in joined}

    def _check_download(self) -> None:
        if not self.ARCHIVES:
            raise DataError(f"The data set {self.spec.name} cannot be downloaded. Give --data a folder that holds it.")

    def _download(self, dl_manager: tfds.download.DownloadManager) -> list[epath.Path]:
        self._check_download()
        names = self.ARCHIVES
        size = sum(info.size for info in self.url_infos.values()) / 1e9
        progress.report(
            0, len(names), "archives", f"{size:.1f} GB from {self.HOST}, unless they are here from before", at_once=True
        )
        try:
            with files.os_errors(""):  # A file that TensorFlow could not write is in its message.
                paths = dl_manager.download({name: f"{self.HOST}/{name}" for name in names})
        except Exception as error:  # tfds, requests and urllib3 have each their own.
            if isinstance(error, OSError) and error.errno in files.FULL:
                raise
            raise DataError(
                f"The official archives could not be downloaded from {self.HOST}: {type(error).__name__}: {str(error)[:300]}\n"
                f"Try again, or give --data a folder that holds {self.spec.layout.root} or {' and '.join(names)}."
            ) from error
        return [epath.Path(paths[name]) for name in names]

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, beam.PTransform]:
        pairs = self.pairs_by_split(dl_manager)
        shared = same_files(pairs)
        if self.spec.leaks == "drop_from_train":
            pairs, shared = without(pairs, leaks.to_drop(shared)), leaks.remaining(shared)
        leaks.check_leaks(shared)
        return {split: self._generate_examples(split, listed) for split, listed in pairs.items()}

    def _generate_examples(self, split: str, pairs: Sequence[Pair]) -> beam.PTransform:
        listed = f"List {split}" >> beam.Create([(split, pair) for pair in pairs], reshuffle=False)
        return listed | EncodeExamples(self.spec, len(pairs)) | _GoodExamples(len(pairs))

    def download_and_prepare(self, *, download_config: tfds.download.DownloadConfig | None = None, **kwargs: Any) -> None:
        """As in the base class; Beam runs in this process unless the configuration says otherwise.

        Without a runner tfds asks on standard input, and newer Beam fetches a runner's binary.
        """
        config = download_config or tfds.download.DownloadConfig()
        if config.beam_runner is None and config.beam_options is None:
            options = PipelineOptions(["--runner=FnApiRunner", "--direct_running_mode=in_memory"])
            config = config.replace(beam_options=options)
        super().download_and_prepare(download_config=config, **kwargs)


class CustomSemantic(SegmentationBuilder):
    """A user's own data set, by its description.

    Args:
        spec: the description, see `components.datasets.spec.read_spec`.
        **kwargs: of `SegmentationBuilder`, the source among them.
    """

    def __init__(self, *, spec: DatasetSpec, **kwargs: Any) -> None:
        """Keeps apart what tfds prepares by different descriptions, also of one name: an edited one must not find the old."""
        self._spec = spec
        digest = hashlib.sha256(json.dumps(dataclasses.asdict(spec)).encode()).hexdigest()
        name = f"{spec.name}-{digest[:8]}"
        kwargs.setdefault("config", tfds.core.BuilderConfig(name=name, description="By a user's own description."))
        super().__init__(**kwargs)
        self._original_state["spec"] = spec

    @property
    def spec(self) -> DatasetSpec:
        """The description."""
        return self._spec

    def _text(self, name: str) -> str:
        return f"The data set {self._spec.name}, with {len(self._spec.classes)} classes." if name == "README.md" else ""


def content_digest(pairs: dict[str, list[Pair]], cache_path: str | None) -> str:
    """Returns a SHA-256 over the lists and the bytes of every listed file (or its absence); names count, time stamps do not.

    A link that leaves the data folder is not followed, here as where the examples are made.

    Args:
        pairs: by split.
        cache_path: of the digests that are known, or None.
    """
    digest = hashlib.sha256()
    folder_stays_inside = functools.cache(files.stays_inside)

    def stays_inside(path: str, folder: str) -> bool:
        if not folder_stays_inside(os.path.dirname(path), folder):
            return False
        return not os.path.islink(path) or files.stays_inside(path, folder)

    with DigestCache(cache_path) as cache:
        for split, listed in pairs.items():
            digest.update(f"{split} {len(listed)}\n".encode())
            found = [(pair, path) for pair in listed for path in dict.fromkeys((pair.image, pair.mask))]
            inside = [not pair.folder or stays_inside(path, pair.folder) for pair, path in found]
            states = iter(cache.digests([path for (_, path), good in zip(found, inside, strict=True) if good]))
            for (pair, path), good in zip(found, inside, strict=True):
                state = next(states) if good else "outside"
                line = f"{pair.key} {os.path.basename(path)} {pair.problem} {state}\n"
                digest.update(line.encode(errors="surrogateescape"))  # A name need not be UTF-8.
    return digest.hexdigest()


class _GoodExamples(beam.PTransform):
    """Keeps the examples, and fails the job where any pair is bad: tfds has no place for a second output."""

    def __init__(self, listed: int) -> None:
        super().__init__()
        self._listed = listed

    def expand(self, outputs: dict[str, beam.PCollection]) -> beam.PCollection:
        listed = self._listed

        def check(quarantined: list[Quarantined]) -> None:
            check_quarantine(quarantined, listed, max_fraction=0.0)

        _ = outputs["quarantined"] | "Collect" >> beam.combiners.ToList() | "Check" >> beam.Map(check)
        return outputs["examples"] | "Of the split" >> beam.Values()
