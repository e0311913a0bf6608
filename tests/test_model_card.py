"""A model's card: what stands in it, by hand-made measurements; how it is shown; and that it is in a published version."""

import dataclasses
import html.parser
import json
import pathlib
from typing import Any

import pytest
from tfx.types import standard_artifacts

from components import card_files, licences
from components.card_files import ModelCard
from components.datasets import report
from components.datasets.examples import Quarantined
from components.evaluation import OVERALL, Evaluation, Measured, Slice, write_evaluation
from components.example_gen import DataReport
from components.model_card import ModelCardGen, Provenance, limits, make_card
from components.model_card_page import number, to_html
from components.trainer import CONFIG_FILE, TrainerConfig
from pipeline_config import AugmentConfig, CardConfig, ModelConfig, ServingConfig, TrainConfig, TransformConfig, to_json

CLASSES = ("ground", "<script>alert('x')</script>", "ship & boat")
SCRIPT, SHIP = CLASSES[1:]


def _measured(mean: float | None, scores: dict[str, float | None], count: int = 40) -> Measured:
    metrics = {"mean_iou": mean, "pixel_accuracy": 0.9, "example_count": float(count)}
    metrics |= {f"iou/{name}": score for name, score in scores.items()}
    metrics |= {f"accuracy/{name}": score for name, score in scores.items()}
    metrics |= {f"dice/{name}": score and 2 * score / (1 + score) for name, score in scores.items()}
    return Measured(metrics=metrics, confusion_matrix=[[1] * 3] * 3, interval=(0.55, 0.65) if mean else None)


def _slice(group: str, value: str, mean: float | None, count: int = 25) -> Slice:
    return Slice(group=group, value=value, candidate=_measured(mean, {}, count), baseline=None)


OVERALL_SLICE = Slice(
    group=OVERALL,
    value="",
    candidate=_measured(0.6, {"ground": 0.8, SCRIPT: 0.4, SHIP: None}),
    baseline=_measured(0.5, {"ground": 0.7, SCRIPT: 0.3, SHIP: None}),
)
EVALUATION = Evaluation(
    split="test",
    class_names=CLASSES,
    overall=OVERALL_SLICE,
    change_interval=(0.02, 0.18),
    slices=(
        _slice("size", "small", 0.5),
        _slice("contains", SCRIPT, 0.3, count=20),
        _slice("contains", SHIP, 0.1, count=19),  # Too few to tell.
        _slice("void", "none", None),
        _slice("aspect", "wide", 0.45),
        _slice("aspect", "tall", 0.2),
        _slice("contains", "ground", 0.1, count=40),  # In all pictures: no slice.
    ),
    images=(),
    blessed=True,
    reasons=("mean IoU 0.6000 reaches the floor of 0.1000",),
    refusals=(),
)


def _split(count: int, images: dict[str, int]) -> report.SplitReport:
    return report.SplitReport(
        listed=count + 1, generated=count, class_pixels={"ground": 60, SCRIPT: 40}, class_images=images, void_pixels=25
    )


DATA = report.Report(
    dataset="voc2007",
    classes=CLASSES,
    splits={
        "train": _split(100, {"ground": 100, SCRIPT: 50}),
        "validation": _split(30, {"ground": 30, SCRIPT: 25}),
        "test": _split(40, {"ground": 40, SCRIPT: 12}),
    },
    quarantined=[Quarantined(split="train", key="a", file="a.jpg", reason="is no picture", cause="bad")],
    leaks=[],
    near_duplicates=[],
)
CONFIG = TrainerConfig(
    transform=TransformConfig(height_px=96, width_px=128),
    augment=AugmentConfig(),
    model=ModelConfig(name="deeplabv3plus", encoder="efficientnet_lite0", encoder_weights="imagenet"),
    train=TrainConfig(epochs=7),
    serving=ServingConfig(),
    class_names=CLASSES,
    palette=((0, 0, 0), (1, 1, 1), (2, 2, 2)),
)
PROVENANCE = Provenance(
    pipeline="mini.test", preset="mini", data_digest="da7a", code_digest="c0de", libraries={"tensorflow": "2.16.2"}
)


def _card(**changes: Any) -> dict[str, Any]:
    given = {"config": CONFIG, "words": CardConfig(), "evaluation": EVALUATION, "data": DATA, "provenance": PROVENANCE}
    return make_card(**given | changes)


class _Text(html.parser.HTMLParser):
    """What a browser would show, and the tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.text = ""
        self._in_cell = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not {"src", "href"} & {name for name, _ in attrs}  # Nothing from elsewhere.
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self._in_cell = tag in ("td", "th", "code") or self._in_cell

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._in_cell:
            self.rows[-1][-1] += data


# The card.


def test_measures_are_those_of_the_evaluation() -> None:
    analysis = _card()["quantitative_analysis"]
    assert analysis["split"] == "test"
    assert analysis["overall"] == {
        "example_count": 40,
        "mean_iou": 0.6,
        "pixel_accuracy": 0.9,
        "mean_iou_interval": [0.55, 0.65],
    }
    assert analysis["baseline"]["mean_iou"] == 0.5
    assert analysis["change_interval"] == [0.02, 0.18]
    assert analysis["reasons"] == ["mean IoU 0.6000 reaches the floor of 0.1000"]
    assert analysis["classes"] == [
        {"name": "ground", "pictures": 40, "iou": 0.8, "accuracy": 0.8, "dice": pytest.approx(1.6 / 1.8)},
        {"name": SCRIPT, "pictures": 12, "iou": 0.4, "accuracy": 0.4, "dice": pytest.approx(0.8 / 1.4)},
        {"name": SHIP, "pictures": 0, "iou": None, "accuracy": None, "dice": None},
    ]


def test_three_worst_slices_are_named_worst_first() -> None:
    assert [(one["value"], one["mean_iou"], one["pictures"]) for one in _card()["quantitative_analysis"]["worst_slices"]] == [
        ("tall", 0.2, 25),
        (SCRIPT, 0.3, 20),
        ("wide", 0.45, 25),
    ]


def test_data_is_counted_and_shared_out_by_split() -> None:
    data = _card()["data"]
    assert (data["name"], data["quarantined"]) == ("voc2007", 1)
    assert {name: split["pictures"] for name, split in data["splits"].items()} == {"train": 100, "validation": 30, "test": 40}
    assert data["splits"]["train"]["class_shares"] == {"ground": 0.6, SCRIPT: 0.4}
    assert data["splits"]["train"]["void_fraction"] == 0.2  # 25 of 125.


def test_configuration_and_provenance_are_there() -> None:
    card = _card()
    assert card["model_details"]["name"] == "mini.test"
    assert card["model_parameters"]["model"]["name"] == "deeplabv3plus"
    assert card["model_parameters"]["input"]["height_px"] == 96
    assert card["model_parameters"]["training"]["epochs"] == 7
    assert card["provenance"] == dataclasses.asdict(PROVENANCE)


def test_limits_follow_from_the_numbers() -> None:
    found = limits(CONFIG, EVALUATION, DATA)
    assert f"IoU below 0.5: {SCRIPT} (0.40)." in found
    assert f"Measured on fewer than 20 pictures of the test split: {SCRIPT} (12)." in found
    assert f"Not measured, since the test split has none: {SHIP}." in found
    assert any("96 x 128 px" in text for text in found)
    assert not any("epoch was chosen" in text for text in found)


def test_class_that_only_the_model_sees_is_not_measured_rather_than_bad() -> None:
    metrics = OVERALL_SLICE.candidate.metrics | {f"iou/{SHIP}": 0.0, f"dice/{SHIP}": 0.0}
    candidate = dataclasses.replace(OVERALL_SLICE.candidate, metrics=metrics)
    seen = dataclasses.replace(EVALUATION, overall=dataclasses.replace(OVERALL_SLICE, candidate=candidate))
    assert limits(CONFIG, seen, DATA) == limits(CONFIG, EVALUATION, DATA)


def test_measures_on_the_validation_split_are_said_to_flatter() -> None:
    evaluation = dataclasses.replace(EVALUATION, split="eval")
    found = limits(CONFIG, evaluation, DATA)
    assert any("by which the epoch was chosen" in text for text in found)
    assert not any("fewer than 20" in text for text in found)  # 25 of the validation split.
    assert _card(evaluation=evaluation)["quantitative_analysis"]["split"] == "validation"


def test_words_of_the_owner_replace_what_is_said_by_default() -> None:
    before = _card()
    assert before["model_details"]["owner"] == "not named"
    assert SHIP in before["considerations"]["intended_use"]
    words = CardConfig(owner="Ada", intended_use="counting ships", limits="fog", licence="MIT", data_licence="ours")
    card = _card(words=words)
    assert card["model_details"]["owner"] == "Ada"
    assert card["considerations"]["intended_use"] == "counting ships"
    assert card["considerations"]["limits"][0] == "fog"
    assert card["considerations"]["limits"][1:] == before["considerations"]["limits"]
    assert card["model_details"]["licences"][0] == {"of": "the model", "licence": "MIT"}
    assert card["data"]["licence"] == "ours"


def test_licences_of_all_parts_are_named() -> None:
    named = {one["of"]: one["licence"] for one in _card()["model_details"]["licences"]}
    assert set(named) == {
        "the model",
        "the code that made it (vocseg)",
        "the encoder's first weights (efficientnet_lite0)",
        "the data (voc2007)",
    }
    assert "flickr" in named["the data (voc2007)"]
    assert "ImageNet" in named["the encoder's first weights (efficientnet_lite0)"]


@pytest.mark.parametrize(
    ("name", "pipeline", "words"),
    [
        ("voc2007", "voc2007.voc2007", licences.of_data("voc2007", "a.voc2007")),
        ("voc2007", "mini.embedded", "made by vocseg, Apache 2.0"),
        ("voc2007", "voc2007.mine-012345", f"{licences.UNKNOWN}; if it is voc2007 itself: PASCAL VOC's"),
        ("mine", "voc2007.mine-012345", licences.UNKNOWN),
        ("mine", "voc2007.mine", licences.UNKNOWN),
    ],
)
def test_terms_of_data_are_claimed_only_where_it_is_known_which_it_is(name: str, pipeline: str, words: str) -> None:
    assert licences.of_data(name, pipeline).startswith(words)
    if "if it is" not in words:
        assert licences.of_data(name, pipeline) == words
    provenance = dataclasses.replace(PROVENANCE, pipeline=pipeline)
    card = _card(data=dataclasses.replace(DATA, dataset=name), provenance=provenance)
    assert card["data"]["licence"] == licences.of_data(name, pipeline)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "unet"}, None),
        ({"name": "deeplabv3plus", "encoder_weights": "none", "frozen_batch_norm": False}, None),
        ({"name": "deeplabv3plus", "encoder_weights": "mine.h5"}, "not known"),
        ({"name": "deeplabv3plus", "encoder": "resnet50", "encoder_weights": "imagenet"}, "Keras"),
    ],
)
def test_licence_of_weights_is_named_where_there_are_any(settings: dict[str, Any], words: str | None) -> None:
    found = licences.of_encoder(ModelConfig(**settings))
    assert (len(found) == 1 and words in found[0][1]) if words else found == []


def test_card_of_the_same_model_is_the_same() -> None:
    assert json.dumps(_card()) == json.dumps(_card())


def test_long_words_are_refused() -> None:
    with pytest.raises(ValueError, match=r"card\.limits takes at most 2000 characters; got 2001"):
        CardConfig(limits="x" * 2001)


# The page.


def test_page_shows_names_as_they_are_and_runs_nothing() -> None:
    words = CardConfig(owner="<b>Ada</b>", limits='"><img src=x onerror=alert(1)>')
    page = to_html(_card(words=words))
    shown = _Text(page)
    assert not shown.tags & {"script", "img", "b"}
    assert SCRIPT in shown.text and SHIP in shown.text and "<b>Ada</b>" in shown.text and words.limits in shown.text


def test_page_has_the_numbers_of_the_card() -> None:
    rows = _Text(to_html(_card())).rows
    assert ["mean IoU", "0.6000", "0.5000"] in rows
    assert ["mean IoU interval", "0.5500 to 0.6500", "0.5500 to 0.6500"] in rows
    assert ["change of mean IoU, interval", "0.0200 to 0.1800", ""] in rows
    assert [SCRIPT, "12", "0.4000", "0.4000", "0.5714"] in rows
    assert [SHIP, "0", "-", "-", "-"] in rows
    assert ["aspect", "tall", "0.2000", "25"] in rows
    assert [SCRIPT, "40.00 %", "40.00 %", "40.00 %"] in rows
    assert ["training.epochs", "7"] in rows
    assert ["digest of the data", "da7a"] in rows


def test_page_of_the_first_model_of_a_pipeline_has_no_baseline() -> None:
    alone = dataclasses.replace(EVALUATION, overall=dataclasses.replace(OVERALL_SLICE, baseline=None), change_interval=None)
    rows = _Text(to_html(_card(evaluation=alone))).rows
    assert ["mean IoU", "0.6000"] in rows


def test_model_that_could_not_be_measured_has_a_card() -> None:
    nothing = _measured(None, dict.fromkeys(CLASSES))
    overall = dataclasses.replace(OVERALL_SLICE, candidate=nothing, baseline=None)
    evaluation = dataclasses.replace(EVALUATION, overall=overall, change_interval=None, slices=(), blessed=False)
    shown = _Text(to_html(_card(evaluation=evaluation)))
    assert ["mean IoU", "-"] in shown.rows
    assert "The gate: not blessed." in shown.text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0.0, "0.0000"), (1.0, "1.0000"), (12, "12"), ([0.1, None], "0.1000 to -")]
)
def test_number_is_shown(value: Any, text: str) -> None:
    assert number(value) == text


# The component.


def test_component_writes_both_files(tmp_path: pathlib.Path) -> None:
    artifacts = {
        "model": standard_artifacts.Model(),
        "evaluation": standard_artifacts.ModelEvaluation(),
        "examples": standard_artifacts.Examples(),
        "data_report": DataReport(),
    }
    for name, artifact in artifacts.items():
        artifact.uri = str(tmp_path / name)
        (tmp_path / name).mkdir()
    artifacts["examples"].set_string_custom_property("data_digest", "da7a")
    (tmp_path / "model" / CONFIG_FILE).parent.mkdir()
    (tmp_path / "model" / CONFIG_FILE).write_text(to_json(CONFIG))
    write_evaluation(EVALUATION, artifacts["evaluation"].uri)
    (tmp_path / "data_report" / "report.json").write_text(report.to_json(DATA))
    card = ModelCard()
    card.uri = str(tmp_path / "card")
    ModelCardGen.EXECUTOR_SPEC.executor_class().Do(
        {name: [artifact] for name, artifact in artifacts.items()},
        {"card": [card]},
        {
            "words": to_json(CardConfig(owner="Ada")),
            "pipeline": "mini.test",
            "preset": "mini",
            "trainer_code_digest": "c0de",
            "code_digest": "0",
        },
    )
    files = card_files.read_files(card.uri)
    assert set(files) == {"assets.extra/model_card.json", "assets.extra/model_card.html"}
    made = json.loads(files["assets.extra/model_card.json"])
    assert set(made["provenance"]["libraries"]) == {"tensorflow", "keras", "tfx"}
    libraries = made["provenance"]["libraries"]
    expected = _card(words=CardConfig(owner="Ada"), provenance=dataclasses.replace(PROVENANCE, libraries=libraries))
    assert made == json.loads(json.dumps(expected))
    assert files["assets.extra/model_card.html"].decode() == to_html(made)
