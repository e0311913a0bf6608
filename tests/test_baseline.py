"""The baseline, of models and of data: the newest blessed one other than the candidate."""

import pathlib
from typing import Any

import pytest
from fake_versions import write_model
from tfx.types import standard_artifacts

from components.baseline import BaselineStrategy, DataBaselineStrategy, choose_baseline
from components.validation import DataBlessing
from components.version_records import Origin, Record, write_record
from components.versions import prune, publish, rollback


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    for number in range(1, 6):
        (tmp_path / str(number)).mkdir()
    return tmp_path


def _model(folder: pathlib.Path, number: int) -> standard_artifacts.Model:
    model = standard_artifacts.Model()
    model.id = number
    model.uri = str(folder / str(number))
    return model


def _blessing(number: int, model: int, blessed: int = 1) -> standard_artifacts.ModelBlessing:
    """Makes a blessing as TFX's Evaluator does."""
    blessing = standard_artifacts.ModelBlessing()
    blessing.id = number
    blessing.set_int_custom_property("blessed", blessed)
    blessing.set_int_custom_property("current_model_id", model)
    return blessing


def _chosen(folder: pathlib.Path, candidate: int | None, models: list[int], *blessings: tuple[int, ...]) -> int | None:
    """Returns the baseline's id, given the blessings as (id, model's id, blessed)."""
    found = choose_baseline(
        _model(folder, candidate) if candidate else None,
        [_model(folder, number) for number in models],
        [_blessing(*blessing) for blessing in blessings],
    )
    if found is None:
        return None
    model, blessing = found
    assert blessing.get_int_custom_property("current_model_id") == model.id
    return model.id


def test_first_run_has_none(folder: pathlib.Path) -> None:
    assert _chosen(folder, 1, [1]) is None
    assert _chosen(folder, 1, []) is None


def test_newest_blessed_model_is_chosen(folder: pathlib.Path) -> None:
    assert _chosen(folder, 4, [1, 2, 3, 4], (11, 1), (12, 2), (13, 3)) == 3


def test_model_that_was_not_blessed_is_passed_over(folder: pathlib.Path) -> None:
    assert _chosen(folder, 4, [1, 2, 3, 4], (11, 1), (12, 2), (13, 3, 0)) == 2
    assert _chosen(folder, 2, [1, 2], (11, 1, 0)) is None


def test_model_without_any_blessing_is_passed_over(folder: pathlib.Path) -> None:
    assert _chosen(folder, 4, [1, 2, 3, 4], (11, 1)) == 1


def test_candidate_that_is_the_newest_blessed_is_compared_with_the_one_before(folder: pathlib.Path) -> None:
    assert _chosen(folder, 3, [1, 2, 3], (11, 1), (12, 2), (13, 3)) == 2


def test_candidate_that_is_the_only_blessed_has_none(folder: pathlib.Path) -> None:
    assert _chosen(folder, 1, [1], (11, 1)) is None


def test_order_of_blessings_decides_and_not_that_of_models(folder: pathlib.Path) -> None:
    # Model 1 was blessed once more after model 2, for instance since a setting was taken back.
    assert _chosen(folder, 3, [1, 2, 3], (11, 1), (12, 2), (13, 1)) == 1
    assert _chosen(folder, 3, [3, 2, 1], (13, 1), (12, 2), (11, 1)) == 1


def test_candidate_blessed_between_two_others_does_not_count(folder: pathlib.Path) -> None:
    assert _chosen(folder, 2, [1, 2, 3], (11, 1), (12, 3), (13, 2)) == 3


def test_model_whose_folder_is_gone_is_passed_over(folder: pathlib.Path) -> None:
    (folder / "3").rmdir()
    assert _chosen(folder, 4, [1, 2, 3, 4], (11, 1), (12, 2), (13, 3)) == 2


def test_blessing_of_a_model_that_the_store_does_not_hold_is_passed_over(folder: pathlib.Path) -> None:
    assert _chosen(folder, 4, [1, 4], (11, 1), (12, 5)) == 1


def test_blessing_without_a_model_is_passed_over(folder: pathlib.Path) -> None:
    stray = standard_artifacts.ModelBlessing()
    stray.id = 99
    stray.set_int_custom_property("blessed", 1)
    models = [_model(folder, 1), _model(folder, 2)]
    found = choose_baseline(models[1], models, [_blessing(11, 1), stray])
    assert found is not None and found[0].id == 1


def test_without_a_candidate_the_newest_blessed_is_chosen(folder: pathlib.Path) -> None:
    assert _chosen(folder, None, [1, 2], (11, 1), (12, 2)) == 2


def test_later_refusal_of_the_same_model_does_not_take_an_earlier_blessing_back(folder: pathlib.Path) -> None:
    # Else one evaluation under a stricter floor would leave later candidates without a baseline.
    assert _chosen(folder, 2, [1, 2], (11, 1), (12, 1, 0)) == 1


# ServingCheck's word.


def _check(number: int, model: int, blessed: int) -> standard_artifacts.InfraBlessing:
    check = standard_artifacts.InfraBlessing()
    check.id = number
    check.set_int_custom_property("blessed", blessed)
    check.set_int_custom_property("current_model_id", model)
    return check


def _tried(folder: pathlib.Path, *checks: standard_artifacts.InfraBlessing) -> int:
    """Returns the baseline of model 4 where 1 to 3 are blessed by the Evaluator."""
    inputs = {
        "candidate": [_model(folder, 4)],
        "model": [_model(folder, number) for number in (1, 2, 3, 4)],
        "model_blessing": [_blessing(10 + number, number) for number in (1, 2, 3)],
        "infra_blessing": list(checks),
    }
    answer = BaselineStrategy().resolve_artifacts(None, inputs)  # type: ignore[arg-type]
    assert set(answer) == set(inputs) and answer["infra_blessing"] == []
    return answer["model"][0].id


def test_model_that_cannot_be_served_is_passed_over(folder: pathlib.Path) -> None:
    assert _tried(folder, _check(21, 1, 1), _check(22, 2, 1), _check(23, 3, 0)) == 2


def test_model_that_was_refused_and_later_served_counts(folder: pathlib.Path) -> None:
    # Refused for a budget that was too small, before or after.
    for verdicts in ((0, 1), (1, 0)):
        assert _tried(folder, *(_check(21 + number, 3, verdict) for number, verdict in enumerate(verdicts))) == 3


def test_model_that_was_never_tried_counts(folder: pathlib.Path) -> None:
    older = standard_artifacts.InfraBlessing()  # Says not whom it is about: older, or of a model that was not tried.
    older.set_int_custom_property("blessed", 0)
    assert _tried(folder) == _tried(folder, _check(22, 2, 1), older) == 3


def test_rollback_to_a_model_that_cannot_be_served_leaves_the_newest_blessed(folder: pathlib.Path) -> None:
    models = [_model(folder, number) for number in (1, 2, 3)]
    blessings = [_blessing(10 + number, number) for number in (1, 2)]
    found = choose_baseline(models[2], models, blessings, preferred_uri=models[0].uri, checks=[_check(21, 1, 0)])
    assert found is not None and found[0].id == 2


# After a rollback.


def _shop(folder: pathlib.Path, *pushed: tuple[int, int, bool]) -> str:
    """Writes pushed versions, given as (number, model's number, whether a rollback made it); 0 for a model: no record."""
    shop = folder / "models"
    for version, model, rolled_back in pushed:
        (shop / str(version)).mkdir(parents=True)
        if model:
            uri, replaced = str(folder / str(model)), "99" if rolled_back else ""
            links = {"copy_of": replaced, "rolled_back_from": replaced}
            write_record(shop, Record(version=str(version), digest="", seal="", pushed="", model_uri=uri, **links))
    return str(shop)


def _resolved(folder: pathlib.Path, shop: str, candidate: int) -> int | None:
    """Returns the baseline of a candidate where models 1 to 4 are blessed, in this order."""
    models = [_model(folder, number) for number in (1, 2, 3, 4, 5)]
    answer = BaselineStrategy(shop).resolve_artifacts(
        None,  # type: ignore[arg-type]
        {
            "candidate": [_model(folder, candidate)],
            "model": models,
            "model_blessing": [_blessing(10 + number, number) for number in (1, 2, 3, 4)],
        },
    )
    return answer["model"][0].id if answer["model"] else None


PUSHED = [(1, 1, False), (2, 2, False), (3, 3, False)]


def test_model_that_was_gone_back_to_is_the_baseline(folder: pathlib.Path) -> None:
    shop = _shop(folder, *PUSHED)
    assert _resolved(folder, shop, candidate=5) == 4
    _shop(folder, (4, 1, True))
    assert _resolved(folder, shop, candidate=5) == 1


def test_rollback_decides_until_another_model_is_pushed(folder: pathlib.Path) -> None:
    shop = _shop(folder, *PUSHED, (4, 2, True))
    assert _resolved(folder, shop, candidate=5) == 2
    assert _resolved(folder, shop, candidate=3) == 2
    # The candidate's own push changes nothing for it: a rerun finds what the run before found.
    _shop(folder, (5, 5, False))
    assert _resolved(folder, shop, candidate=5) == 2
    # For the next candidate the newest blessed counts again.
    assert _resolved(folder, shop, candidate=1) == 4


def test_candidate_that_was_gone_back_to_is_compared_with_the_newest_blessed(folder: pathlib.Path) -> None:
    assert _resolved(folder, _shop(folder, *PUSHED, (4, 2, True)), candidate=2) == 4


def test_rollback_to_a_model_whose_folder_is_gone_leaves_the_newest_blessed(folder: pathlib.Path) -> None:
    shop = _shop(folder, *PUSHED, (4, 2, True))
    (folder / "2").rmdir()
    assert _resolved(folder, shop, candidate=5) == 4


def test_rollback_to_a_model_that_is_not_blessed_leaves_the_newest_blessed(folder: pathlib.Path) -> None:
    assert _resolved(folder, _shop(folder, *PUSHED, (4, 5, True)), candidate=3) == 4


def test_rollback_to_a_version_without_a_record_leaves_the_newest_blessed(folder: pathlib.Path) -> None:
    assert _resolved(folder, _shop(folder, (1, 1, True), (2, 0, True)), candidate=5) == 4


def test_rerun_after_a_prune_finds_the_model_that_was_gone_back_to(folder: pathlib.Path) -> None:
    shop = folder / "models"
    for number in (1, 2):
        publish(write_model(folder / str(number), seed=number), shop, Origin(model_uri=str(folder / str(number))))
    rollback(shop)
    publish(write_model(folder / "5", seed=5), shop, Origin(model_uri=str(folder / "5")))
    assert _resolved(folder, str(shop), candidate=5) == 1
    prune(shop, 1)
    assert _resolved(folder, str(shop), candidate=5) == 1
    # Of other candidates the newest blessed is the baseline, as before.
    assert _resolved(folder, str(shop), candidate=3) == 4


# The strategy, with the dictionaries that TFX hands over.


def test_strategy_answers_with_model_blessing_and_candidate(folder: pathlib.Path) -> None:
    models = [_model(folder, number) for number in (1, 2, 3)]
    blessings = [_blessing(11, 1), _blessing(12, 2)]
    answer = BaselineStrategy().resolve_artifacts(
        None,  # type: ignore[arg-type]
        {"candidate": [models[2]], "model": models, "model_blessing": blessings},
    )
    assert answer == {"candidate": [models[2]], "model": [models[1]], "model_blessing": [blessings[1]]}


def test_strategy_answers_with_empty_lists_where_there_is_no_baseline(folder: pathlib.Path) -> None:
    candidate = _model(folder, 1)
    answer = BaselineStrategy().resolve_artifacts(
        None,  # type: ignore[arg-type]
        {"candidate": [candidate], "model": [candidate], "model_blessing": []},
    )
    assert answer == {"candidate": [candidate], "model": [], "model_blessing": []}


@pytest.mark.parametrize("inputs", [{}, {"candidate": [], "model": [], "model_blessing": []}], ids=["missing", "empty"])
def test_strategy_bears_empty_channels(inputs: dict[str, list]) -> None:
    answer = BaselineStrategy().resolve_artifacts(None, inputs)  # type: ignore[arg-type]
    assert answer == {"candidate": [], "model": [], "model_blessing": []}


# Data: the same rule.


def _statistics(folder: pathlib.Path, number: int) -> standard_artifacts.ExampleStatistics:
    statistics = standard_artifacts.ExampleStatistics()
    statistics.id = number
    statistics.uri = str(folder / str(number))
    return statistics


def _data_blessing(number: int, statistics: int) -> DataBlessing:
    """Makes a blessing as the DataGate does."""
    blessing = DataBlessing()
    blessing.id = number
    blessing.set_int_custom_property("blessed", 1)
    blessing.set_int_custom_property("current_statistics_id", statistics)
    return blessing


def _resolve_data(candidate: Any, statistics: list[Any], blessings: list[Any]) -> dict[str, list[Any]]:
    return DataBaselineStrategy().resolve_artifacts(
        None,  # type: ignore[arg-type]
        {"candidate": [candidate], "statistics": statistics, "data_blessing": blessings},
    )


def test_data_strategy_answers_with_statistics_blessing_and_candidate(folder: pathlib.Path) -> None:
    statistics = [_statistics(folder, number) for number in (1, 2, 3)]
    blessings = [_data_blessing(11, 1), _data_blessing(12, 2)]
    answer = _resolve_data(statistics[2], statistics, blessings)
    assert answer == {"candidate": [statistics[2]], "statistics": [statistics[1]], "data_blessing": [blessings[1]]}


def test_first_data_has_no_baseline(folder: pathlib.Path) -> None:
    candidate = _statistics(folder, 1)
    assert _resolve_data(candidate, [candidate], []) == {"candidate": [candidate], "statistics": [], "data_blessing": []}


def test_unchanged_data_is_not_compared_with_itself(folder: pathlib.Path) -> None:
    one, two = _statistics(folder, 1), _statistics(folder, 2)
    assert _resolve_data(one, [one], [_data_blessing(11, 1)])["statistics"] == []
    assert _resolve_data(two, [one, two], [_data_blessing(11, 1), _data_blessing(12, 2)])["statistics"] == [one]


def test_refused_data_is_no_baseline(folder: pathlib.Path) -> None:
    # Data 2 was refused: the gate failed, and left no blessing.
    statistics = [_statistics(folder, number) for number in (1, 2, 3)]
    assert _resolve_data(statistics[2], statistics, [_data_blessing(11, 1)])["statistics"] == [statistics[0]]


def test_data_whose_statistics_are_gone_is_passed_over(folder: pathlib.Path) -> None:
    statistics = [_statistics(folder, number) for number in (1, 2, 3)]
    (folder / "2").rmdir()
    answer = _resolve_data(statistics[2], statistics, [_data_blessing(11, 1), _data_blessing(12, 2)])
    assert answer["statistics"] == [statistics[0]]


def test_blessing_of_a_model_blesses_no_data(folder: pathlib.Path) -> None:
    statistics = [_statistics(folder, number) for number in (1, 2)]
    assert _resolve_data(statistics[1], statistics, [_blessing(11, 1)])["statistics"] == []


@pytest.mark.parametrize("inputs", [{}, {"candidate": [], "statistics": [], "data_blessing": []}], ids=["missing", "empty"])
def test_data_strategy_bears_empty_channels(inputs: dict[str, list]) -> None:
    answer = DataBaselineStrategy().resolve_artifacts(None, inputs)  # type: ignore[arg-type]
    assert answer == {"candidate": [], "statistics": [], "data_blessing": []}
