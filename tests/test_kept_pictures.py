"""Pictures that an earlier run of the root has drawn, and when they are drawn anew."""

import os
import pathlib

import pytest

from components.evaluation import ImageScore
from pipeline import kept_pictures
from pipeline.report_pictures import Drawn, Gallery

PLACES = ("root/examples/1", "test", "root/model/2")


def _score(digest: str = "ab") -> ImageScore:
    return ImageScore(filename="a.jpg", mean_iou=0.1 + 0.2, baseline_mean_iou=None, mask_sha256=digest)


def _gallery(score: ImageScore, note: str = "") -> Gallery:
    drawn = Drawn(
        score=score,
        size=(3, 2),
        image="data:image/jpeg;base64,AA==",
        truth="data:image/png;base64,AA==",
        prediction="data:image/png;base64,AQ==",
        error_map="",
        wrong=1 / 3,
        classes=(0, 20),
        note=note,
    )
    return Gallery({"best": (drawn,), "median": ()}, ((0, 0, 0), (128, 0, 0)))


class Runs:
    """A root's runs, which count what they draw."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder, self.drawn = folder, 0

    def find(self, run: str, score: ImageScore | None = None, places: tuple[str, ...] = PLACES) -> Gallery:
        (self.folder / run).mkdir(exist_ok=True)
        score = score or _score()

        def draw() -> Gallery:
            self.drawn += 1
            return _gallery(score)

        return kept_pictures.find_or_draw({"best": [score], "median": []}, places, str(self.folder / run), draw)


@pytest.fixture
def root(tmp_path: pathlib.Path) -> Runs:
    return Runs(tmp_path)


def test_later_run_has_the_same_pictures_without_drawing(root: Runs) -> None:
    assert root.find("1") == root.find("2") == root.find("1") == _gallery(_score())
    assert root.drawn == 1
    assert list((root.folder / "2").iterdir()) == []


def test_other_predictions_places_or_code_are_drawn(root: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    root.find("1")
    assert root.find("2", _score("cd")) == _gallery(_score("cd"))
    root.find("3", places=("root/examples/1", "test", "root/model/3"))
    monkeypatch.setattr(kept_pictures, "code_digest", lambda module: "other")
    root.find("4")
    assert root.drawn == 4


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"groups": {"best": [{}]}, "palette": []}', '{"groups": [], "palette": []}']
)
def test_damaged_ones_are_drawn_anew(root: Runs, content: str) -> None:
    root.find("1")
    [kept] = (root.folder / "1").iterdir()
    kept.write_text(content)
    assert root.find("1") == root.find("1") == _gallery(_score())
    assert root.drawn == 2


@pytest.mark.parametrize(
    "gallery", [_gallery(_score(), "Predicted anew."), Gallery({"best": (), "median": ()}, ())], ids=["noted", "missing"]
)
def test_pictures_of_which_some_are_missing_or_otherwise_are_not_kept(root: Runs, gallery: Gallery) -> None:
    chosen = {"best": [_score()], "median": []}
    (root.folder / "1").mkdir()
    assert kept_pictures.find_or_draw(chosen, ("root",), str(root.folder / "1"), lambda: gallery) == gallery
    assert list((root.folder / "1").iterdir()) == []


def test_removed_run_takes_its_pictures_along(root: Runs) -> None:
    root.find("1")
    [kept] = (root.folder / "1").iterdir()
    os.remove(kept)
    root.find("2")
    assert root.drawn == 2
