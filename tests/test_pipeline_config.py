"""Presets, overrides from text and the JSON form of the configuration."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import pytest

import pipeline_config
from pipeline_config import ConfigError, override, preset

ROOT = pathlib.Path(pipeline_config.__file__).parent

# One value that differs from the default for each kind of field whose values are not free.
CHOICES = {
    "model.name": "unet_strided",
    "transform.resize_method": "area",
    "data.spec": "my_set",
    "data.official": "voc2012",
    "data.span": "last:3",
    "model.head": "sigmoid",
    "data.name": "quarry",
    "model.normalization": "group",
    "model.upsampling": "unpool",
    "model.activation": "gelu",
    "model.kernel_initializer": "glorot_uniform",
    "model.encoder": "resnet50",
    "train.loss": "cross_entropy + 0.5*dice",
    "train.class_weights": "median_frequency",
    "train.optimizer": "sgd",
    "train.schedule": "cosine",
    "model.encoder_weights": "weights.h5",
    "evaluate.min_iou": "dog=0.3",
    "card.owner": "Ada",
    "card.intended_use": "counting ships",
    "card.limits": "fog",
    "card.licence": "MIT",
    "card.data_licence": "ours",
    "cloud.project": "pictures-1",
    "cloud.region": "europe-west4",
    "cloud.image": "europe-west4-docker.pkg.dev/pictures-1/vocseg/vocseg:1",
    "cloud.trainer_image": "gcr.io/pictures-1/vocseg-gpu",
    "cloud.service_account": "trainer@pictures-1.iam.gserviceaccount.com",
    "cloud.network": "regions/europe-west4/subnetworks/workers",
    "cloud.beam_machine": "e2-highmem-8",
    "cloud.trainer_machine": "g2-standard-24",
    "cloud.accelerator": "NVIDIA_TESLA_T4",
}
# Each field has an effect there: dropout can rise, and there is an encoder.
SIZES = dict.fromkeys(("transform.height_px", "transform.width_px"), "384") | dict.fromkeys(
    ("augment.crop_height_px", "augment.crop_width_px"), "256"
)
"""Which suit each architecture but unet_original."""
GPU = {"cloud.accelerator": "NVIDIA_L4", "cloud.accelerator_count": "1"}
BASE = override(preset("voc2007"), SIZES | GPU | {"model.name": "deeplabv3plus"})
SETTABLE = [name for name in pipeline_config.fields(preset("voc2007")) if "." in name]


def _changed(name: str) -> tuple[str, object]:
    """Returns a text for a field, and the value that it stands for; both differ from the default and lie in range."""
    value = pipeline_config.fields(BASE)[name]
    if isinstance(value, bool):
        return str(not value).lower(), not value
    if isinstance(value, int):
        other = value * 2 or 1  # A double of a size keeps it a multiple of the stride; depth goes from 4 to 8, out of range.
        other = {"model.depth": 3, "augment.crop_height_px": 64, "augment.crop_width_px": 64}.get(name, other)
        return str(other), other
    if isinstance(value, float):
        other = 4.0 if name == "augment.max_scale" else 0.25
        return str(other), other
    return CHOICES[name], CHOICES[name]


@pytest.mark.parametrize("name", pipeline_config.PRESETS)
def test_preset_is_valid_and_carries_its_own_name(name: str) -> None:
    config = preset(name)
    assert config.preset == name
    assert config.model.fits(config.transform.height_px)
    assert config.model.fits(config.transform.width_px)


@pytest.mark.parametrize("name", pipeline_config.PRESETS)
def test_preset_has_a_floor_above_what_all_background_scores(name: str) -> None:
    # One class of 21 at an IoU of at most 1 gives a mean of at most 1/21 = 0.0476.
    assert preset(name).evaluate.min_mean_iou > 1 / 21


def test_unknown_preset_offers_the_nearest_and_lists_all() -> None:
    with pytest.raises(ConfigError, match=r"no preset 'voc207'.*there are mini, voc2007_scratch, .*Did you mean voc2007"):
        preset("voc207")


def test_unknown_preset_like_none_offers_nothing_but_lists_all() -> None:
    with pytest.raises(ConfigError, match="mini, voc2007_scratch, voc2007") as error:
        preset("zzz")
    assert "Did you mean" not in str(error.value)


def test_config_error_is_a_value_error() -> None:
    assert issubclass(ConfigError, ValueError)


def test_configuration_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        preset("mini").train.epochs = 1  # type: ignore[misc]


def test_fields_name_every_leaf_once() -> None:
    leaves = pipeline_config.fields(preset("mini"))
    assert leaves["preset"] == "mini"
    assert leaves["train.batch_size"] == 8
    assert {name.split(".")[0] for name in leaves} == {
        "preset",
        "data",
        "transform",
        "augment",
        "model",
        "train",
        "serving",
        "evaluate",
        "check",
        "card",
        "cloud",
    }
    assert not any(dataclasses.is_dataclass(leaf) for leaf in leaves.values())


def test_overriding_nothing_changes_nothing() -> None:
    assert override(preset("mini"), {}) == preset("mini")


@pytest.mark.parametrize("name", SETTABLE)
def test_field_at_every_stage_is_settable_from_text(name: str) -> None:
    text, value = _changed(name)
    before = pipeline_config.fields(BASE)
    after = pipeline_config.fields(override(BASE, {name: text}))
    assert before[name] != value
    assert after == before | {name: value}
    assert type(after[name]) is type(before[name])


def test_override_leaves_the_original_alone() -> None:
    config = preset("mini")
    override(config, {"train.epochs": "99"})
    assert config == preset("mini")


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("train.batchsize", "train.batch_size"),
        ("batch_size", "train.batch_size"),
        ("trian.epochs", "train.epochs"),
        ("transform.height", "transform.height_px"),
        ("evaluate.mean_iou", "evaluate.min_mean_iou"),
    ],
)
def test_misspelt_field_offers_the_nearest(name: str, offered: str) -> None:
    with pytest.raises(ConfigError, match=f"no field '{name}'.*Did you mean .*{offered}"):
        override(preset("mini"), {name: "1"})


@pytest.mark.parametrize("name", ["preset", "train", "", "qqqq", "train.batch_size.x", "__class__", "train.__class__"])
def test_what_is_no_leaf_of_a_stage_is_not_settable(name: str) -> None:
    with pytest.raises(ConfigError, match=f"There is no field '{name}'"):
        override(preset("mini"), {name: "voc2007"})


def test_field_like_no_other_points_to_the_command_that_lists_them() -> None:
    with pytest.raises(ConfigError, match="vocseg config --preset mini"):
        override(preset("mini"), {"qqqq": "1"})


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("train.epochs", "many", "int"),
        ("train.epochs", "1.5", "int"),
        ("train.epochs", "", "int"),
        ("train.epochs", "nan", "int"),
        ("train.learning_rate", "fast", "float"),
        ("model.dropout", "", "float"),
    ],
)
def test_value_of_the_wrong_type_names_field_type_and_text(name: str, text: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} takes a value of type {kind}; got '{text}'"):
        override(preset("mini"), {name: text})


@pytest.mark.parametrize("text", ["yes", "1", ""])
def test_word_that_is_neither_true_nor_false_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=f"data.embedded takes true or false; got '{text}'"):
        override(preset("mini"), {"data.embedded": text})


def test_true_and_false_are_taken_in_any_case() -> None:
    assert override(preset("voc2007"), {"data.embedded": "True"}).data.embedded is True
    assert override(preset("mini"), {"data.embedded": "FALSE"}).data.embedded is False


@pytest.mark.parametrize("text", ["nan", "NaN", "inf", "-inf", "Infinity", "1e999"])
@pytest.mark.parametrize(
    "name", ["train.learning_rate", "model.dropout", "evaluate.min_mean_iou", "data.max_quarantined_fraction"]
)
def test_value_that_is_not_finite_is_refused(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} takes a finite number; got '{text}'"):
        override(preset("mini"), {name: text})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data.max_quarantined_fraction", "-0.01"),
        ("data.max_quarantined_fraction", "1.01"),
        ("transform.height_px", "0"),
        ("transform.width_px", "-64"),
        ("model.filters", "0"),
        ("model.depth", "0"),
        ("model.depth", "8"),
        ("model.dropout", "1"),
        ("model.dropout", "-0.1"),
        ("train.epochs", "0"),
        ("train.batch_size", "-8"),
        ("train.learning_rate", "0"),
        ("train.seed", "-1"),
        ("train.panel_images", "0"),
        ("serving.micro_batch_size", "0"),
        ("serving.max_megapixels", "0"),
        ("evaluate.min_mean_iou", "1.5"),
        ("evaluate.max_mean_iou_drop", "-0.1"),
    ],
)
def test_value_out_of_range_names_field_and_value(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} .*; got {text}"):
        override(preset("mini"), {name: text})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data.max_quarantined_fraction", "0"),
        ("data.max_quarantined_fraction", "1"),
        ("model.dropout", "0"),
        ("train.seed", "0"),
        ("train.panel_images", "1"),
        ("evaluate.min_mean_iou", "1"),
    ],
)
def test_value_at_the_edge_of_its_range_is_taken(name: str, text: str) -> None:
    assert pipeline_config.fields(override(preset("mini"), {name: text}))[name] == float(text)


@pytest.mark.parametrize(
    ("name", "text", "near"), [("model.name", "unets", "unet"), ("transform.resize_method", "bilinaer", "bilinear")]
)
def test_word_that_is_no_choice_lists_the_choices_and_the_nearest(name: str, text: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be one of .*; got '{text}'. Did you mean {near}"):
        override(preset("mini"), {name: text})


def test_nan_is_refused_at_construction_too() -> None:
    with pytest.raises(ConfigError, match="a share from 0 to 1; got nan"):
        pipeline_config.DataConfig(max_quarantined_fraction=float("nan"))


@pytest.mark.parametrize(
    "pairs",
    [
        # Depth 5 needs multiples of 32: mini's 64 would do, but 96 needs no more than 32; either order is one step.
        {"model.depth": "5", "transform.height_px": "96", "transform.width_px": "32"},
        {"transform.width_px": "32", "transform.height_px": "96", "model.depth": "5"},
    ],
)
def test_fields_of_two_stages_change_in_one_step(pairs: dict[str, str]) -> None:
    config = override(preset("mini"), pairs)
    assert (config.model.depth, config.transform.height_px, config.transform.width_px) == (5, 96, 32)


def test_coupled_fields_that_are_invalid_one_by_one_are_valid_together() -> None:
    # 36 = 9 * 2**2: no multiple of mini's 2**3.
    assert override(preset("mini"), {"transform.height_px": "36", "model.depth": "2"}).transform.height_px == 36
    with pytest.raises(ConfigError, match="height_px"):
        override(preset("mini"), {"transform.height_px": "36"})


@pytest.mark.parametrize(
    ("depth", "size", "use"),
    [
        (4, 100, 96),  # 100 / 16 = 6.25, rounded 6.
        (4, 105, 112),  # 105 / 16 = 6.56, rounded 7.
        (4, 3, 16),  # 3 / 16 = 0.19, rounded 0, but a size is at least one stride.
        (5, 257, 256),  # 257 / 32 = 8.03, rounded 8.
    ],
)
@pytest.mark.parametrize("field", ["height_px", "width_px"])
def test_size_that_is_no_multiple_of_the_stride_suggests_one_that_works(field: str, depth: int, size: int, use: int) -> None:
    stride = 2**depth
    with pytest.raises(
        ConfigError,
        match=rf"transform.{field} must be a multiple of {stride} .*; got {size}. Use {use}: --set transform\.{field}={use}$",
    ):
        override(preset("voc2007"), {"model.name": "unet", "model.depth": str(depth), f"transform.{field}": str(size)})
    settings = {"model.name": "unet", "model.depth": str(depth), f"transform.{field}": str(use)}
    suggested = override(preset("voc2007"), settings)
    assert getattr(suggested.transform, field) == use


def test_unet_strided_halves_six_times_whatever_the_depth() -> None:
    assert override(preset("voc2007"), SIZES | {"model.name": "unet_strided", "model.depth": "1"}).model.stride_px == 64
    with pytest.raises(ConfigError, match=r"multiple of 64 for the model unet_strided; got 96. Use 128"):
        # 96 / 64 = 1.5; Python rounds half to even: 2.
        override(preset("mini"), {"model.name": "unet_strided", "transform.height_px": "96"})


@pytest.mark.parametrize("name", pipeline_config.PRESETS)
def test_json_round_trip_equals(name: str) -> None:
    config = preset(name)
    assert pipeline_config.from_json(pipeline_config.PipelineConfig, pipeline_config.to_json(config)) == config


@pytest.mark.parametrize("stage", [f.name for f in dataclasses.fields(pipeline_config.PipelineConfig) if f.name != "preset"])
def test_json_round_trip_of_a_single_stage_equals(stage: str) -> None:
    changes = {name: _changed(name)[0] for name in SETTABLE if name.startswith(f"{stage}.")}
    config = getattr(override(BASE, changes), stage)
    assert pipeline_config.from_json(type(config), pipeline_config.to_json(config)) == config


def test_json_restores_tuples_that_json_made_lists() -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Stage:
        sizes: tuple[int, ...] = (1, 2)

    assert pipeline_config.to_json(Stage()) == '{"sizes": [1, 2]}'
    assert pipeline_config.from_json(Stage, '{"sizes": [1, 2]}') == Stage()


def test_json_keys_are_sorted_so_that_equal_configurations_have_equal_text() -> None:
    text = pipeline_config.to_json(preset("mini"))
    assert text == json.dumps(json.loads(text), sort_keys=True)


@pytest.mark.parametrize("name", ["unet_pretrained", "deeplabv3plus"])
def test_model_on_an_encoder_takes_multiples_of_32_whatever_the_depth(name: str) -> None:
    assert override(preset("voc2007"), {"model.name": name, "model.depth": "1"}).model.stride_px == 32
    with pytest.raises(ConfigError, match=rf"multiple of 32 for the model {name}; got 80. Use 64"):
        # 80 / 32 = 2.5; Python rounds half to even: 2.
        override(preset("voc2007"), {"model.name": name, "transform.height_px": "80"})


@pytest.mark.parametrize(
    ("value", "near"), [("imagenett", " Did you mean imagenet"), ("pretrained", ""), ("weights.pth", ""), ("", "")]
)
def test_weights_are_imagenet_none_or_a_file_of_keras(value: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"is imagenet, none or the path of an .h5 file; got '{value}'.{near}"):
        override(preset("voc2007"), {"model.encoder_weights": value})


def test_statistics_that_were_never_learnt_are_not_frozen() -> None:
    fields = {"model.name": "unet_pretrained", "model.encoder_weights": "none"}
    with pytest.raises(ConfigError, match="Set model.frozen_batch_norm=false"):
        override(preset("voc2007"), fields)
    assert override(preset("voc2007"), fields | {"model.frozen_batch_norm": "false"}).model.encoder_weights == "none"
    bare = override(preset("mini"), {"model.encoder_weights": "none"})
    assert bare.model.has_encoder is False  # A U-Net has no encoder.


def test_json_with_a_value_out_of_range_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"train.epochs"):
        pipeline_config.from_json(pipeline_config.TrainConfig, '{"epochs": 0}')


@pytest.mark.parametrize("heavy", ["tensorflow", "numpy", "apache_beam", "components"])
def test_importing_the_configuration_imports_nothing_heavy(heavy: str) -> None:
    code = f"import sys, pipeline_config; sys.exit({heavy!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)


@pytest.mark.parametrize(
    ("depth", "size", "use"),
    [
        (4, 256, 260),  # (256 - 4) / 16 = 15.75, rounded 16.
        (4, 572, 580),  # The input of the paper's, for which the logits' 388 is meant: (572 - 4) / 16 = 35.5, rounded to even.
        (4, 2, 4),  # (2 - 4) / 16, rounded 0: the smallest.
        (3, 256, 260),  # (256 - 4) / 8 = 31.5, rounded to even: 32.
    ],
)
def test_unet_original_takes_4_more_than_multiples(depth: int, size: int, use: int) -> None:
    fields = {"model.name": "unet_original", "model.depth": str(depth), "transform.height_px": str(use)}
    fields |= {"augment.crop_height_px": "0", "augment.crop_width_px": "0"}
    message = (
        rf"transform.width_px must be a multiple of {2**depth} and 4 more for the model unet_original; got {size}. Use {use}:"
    )
    with pytest.raises(ConfigError, match=message):
        override(preset("voc2007"), fields | {"transform.width_px": str(size)})
    assert override(preset("voc2007"), fields | {"transform.width_px": str(use)}).model.fits(use)


def test_all_sizes_that_do_not_fit_are_named_with_what_to_paste() -> None:
    with pytest.raises(ConfigError) as error:
        override(preset("voc2007"), SIZES | {"model.name": "unet_original"})
    names = ("transform.height_px", "transform.width_px", "augment.crop_height_px", "augment.crop_width_px")
    assert str(error.value).startswith(
        f"{', '.join(names)} must be multiples of 16 and 4 more for the model unet_original; got 384, 384, 256, 256. Use "
    )
    # (384 - 4) / 16 = 23.75 and (256 - 4) / 16 = 15.75, rounded up.
    paste = str(error.value).partition(": ")[2]
    assert paste == " ".join(f"--set {name}={size}" for name, size in zip(names, (388, 388, 260, 260), strict=True))
    pasted = dict(text.split("=") for text in paste.removeprefix("--set ").split(" --set "))
    assert override(preset("voc2007"), {"model.name": "unet_original"} | pasted).model.margin_px == 92


def test_crop_that_is_as_large_as_the_picture_is_not_complained_of() -> None:
    with pytest.raises(ConfigError) as error:
        override(preset("mini"), {"transform.height_px": "36"})
    assert "augment" not in str(error.value)


def test_tiles_do_not_go_with_normalisation_by_the_picture() -> None:
    with pytest.raises(ConfigError, match=r"unet_original takes large ones through in tiles.* model.normalization=batch"):
        pipeline_config.ModelConfig(name="unet_original", normalization="group")


def test_dropout_does_not_rise_where_there_is_none() -> None:
    with pytest.raises(ConfigError, match=r"of which unet_strided has none. Set train.dropout_rise=0, .*: unet, unet_orig"):
        override(preset("voc2007"), SIZES | {"model.name": "unet_strided", "train.dropout_rise": "0.1"})
    with pytest.raises(ConfigError, match=r"raises model.dropout, which is 0. Set model.dropout=0.5"):
        override(preset("mini"), {"model.dropout": "0", "train.dropout_rise": "0.1"})
    assert override(preset("mini"), {"train.dropout_rise": "0.1"}).train.dropout_rise == 0.1


@pytest.mark.parametrize("name", pipeline_config.PRESETS)
def test_every_preset_can_be_tried_for_an_epoch(name: str) -> None:
    assert override(preset(name), {"train.epochs": "1"}).train.epochs == 1


def test_crop_must_fit_the_architecture_too() -> None:
    with pytest.raises(
        ConfigError, match=r"augment.crop_width_px must be a multiple of 16 for the model unet; got 100. Use 96"
    ):
        override(preset("voc2007"), {"model.name": "unet", "augment.crop_width_px": "100"})
    assert override(preset("voc2007"), {"augment.crop_width_px": "96"}).augment.crop_width_px == 96


@pytest.mark.parametrize("name", pipeline_config.MODELS)
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 7])
def test_nearest_size_fits_and_none_is_nearer(name: str, depth: int) -> None:
    config = pipeline_config.ModelConfig(name=name, depth=depth)
    for size in range(1, 300, 7):
        nearest = config.nearest_size(size)
        assert config.fits(nearest)
        assert not any(
            config.fits(other) for other in range(max(1, size - abs(size - nearest) + 1), size + abs(size - nearest))
        )


def test_data_cannot_be_called_as_the_embedded_set_is() -> None:
    with pytest.raises(ConfigError, match=r"data\.name=embedded is what the embedded set is called"):
        override(preset("voc2007"), {"data.name": "embedded"})
