"""A run's report: what it says and in which order, what it bears, and how a browser shows it."""

import dataclasses
import html.parser
import json
import pathlib
import re
from typing import Any

import pytest
from browser import browser, find_browser
from fake_evaluation import NAMES, make_evaluation

from components.evaluation import ImageScore, write_evaluation
from pipeline import console, report, report_page, report_pictures, run, runs
from pipeline.cli import main
from pipeline.report_page import Content
from pipeline.runs import Summary

RUN = "20261120T120000Z"
_VOID_TAGS = {"meta", "link", "br", "img"}
_DATA = {
    "dataset": "mini",
    "classes": list(NAMES),
    "splits": {
        "train": {"listed": 30, "generated": 5, "quarantined": 25, "sizes": {"64x48": 5}, "distinct_sizes": 1}
        | {
            "class_pixels": {"background": 30, "cat": 10, NAMES[2]: 0},
            "class_images": {"background": 5, "cat": 2, NAMES[2]: 0},
        },
        "test": {"listed": 0},
    },
    "quarantined": [
        {"split": "train", "key": f"k{number:02}", "file": "<img src=x>.png", "reason": "is truncated", "cause": "bad"}
        for number in range(25)
    ],
    "leaks": [],
    "near_duplicates": [],
}


def _write_run(root: pathlib.Path, name: str = RUN, evaluated: bool = True, **values: Any) -> Summary:
    """Writes a run's record, and what its components left as far as it is small."""
    folder = root / "runs" / name
    left = folder / "left"
    left.mkdir(parents=True)
    (folder / runs.CONFIG_FILE).write_text(json.dumps({"preset": "mini", "train": {"epochs": 3, "loss": "<i>"}, "data": {}}))
    (left / "history.csv").write_text(
        "epoch,loss,mean_iou,val_loss,val_mean_iou\n1,2.0,0.1,,\n2,1.5,0.2,1.6,0.3\n3,1.0,0.4,,\n"
    )
    (left / "report.json").write_text(json.dumps(_DATA))
    if evaluated:
        write_evaluation(make_evaluation(), str(left))
    places = {"evaluation": "", "history": "history.csv", "data report": "report.json", "examples": "e", "trained": "t"}
    steps = [{"name": "Trainer", "status": "run", "seconds": 9.25, "peak_memory_bytes": 2**30}]
    summary = Summary(run=name, pipeline="mini.embedded", **{"status": "succeeded", "steps": steps} | values)
    summary.paths |= {key: str(left / place) for key, place in places.items()} | {"metadata": str(root / "metadata.sqlite")}
    runs.write(summary, folder / runs.SUMMARY_FILE)
    return summary


def _content(**values: Any) -> Content:
    """Returns what a report shows where nothing but the evaluation is left."""
    return Content(
        **{
            "summary": Summary(run=RUN, pipeline="mini.embedded", status="succeeded"),
            "config": {},
            "evaluation": make_evaluation(),
            "history": [],
            "data": None,
            "gallery": report_pictures.Gallery({}, ()),
            "executions": (),
            "missing": {},
        }
        | values
    )


class _Reader(html.parser.HTMLParser):
    """Checks that tags are nested, and keeps the tags and the text of cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID_TAGS:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"line {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data.strip()


def _section(text: str, name: str) -> str:
    return text.partition(f'<h2 id="{name}"')[2].partition("</h2>")[2].partition("</section>")[0]


# The page.


def test_verdict_comes_first_and_refusals_before_other_reasons() -> None:
    text = report_page.render(_content())
    body = text.partition("<body>")[2]
    places = [body.index(part) for part in ("Not blessed", "IoU of cat falls", "reaches the floor", "95 % interval")]
    assert places == sorted(places)
    assert body.count("IoU of cat falls") == 1
    order = [body.index(f'<h2 id="{name}"') for name in ("verdict", "overall", "classes", "confusion", "slices", "training")]
    order += [body.index(f'<h2 id="{name}"') for name in ("data", "pictures", "configuration", "lineage", "cost")]
    assert order == sorted(order)
    assert "<title>mini.embedded, run 20261120T120000Z: not blessed</title>" in text


def test_blessed_model_is_said_to_be_blessed_and_where_it_went() -> None:
    pushed = Summary(run=RUN, pipeline="p", status="succeeded", pushed={"version": "17", "path": "m/17", "new": False})
    text = report_page.render(_content(evaluation=make_evaluation(blessed=True), summary=pushed))
    verdict = _section(text, "verdict")
    assert "✓ Blessed" in text
    assert "refused" not in verdict
    assert "Pushed as version 17 (by an earlier run)." in verdict
    assert "No model was pushed." in report_page.render(_content())


def test_blessed_model_that_cannot_be_served_is_said_to_be_so_with_the_reason() -> None:
    reasons = ["mean IoU 0.5500 reaches the floor", "cannot be served: <no answer> in 60 s"]
    verdict = {"blessed": True, "servable": False, "reasons": reasons, "refusals": reasons[1:]}
    refused = Summary(run=RUN, pipeline="p", status="succeeded", verdict=verdict)
    text = report_page.render(_content(evaluation=make_evaluation(blessed=True), summary=refused))
    assert "<strong>✗ Blessed, but it cannot be served</strong>" in text
    assert "run 20261120T120000Z: blessed, but it cannot be served</title>" in text
    body = text.partition("<body>")[2]
    assert '<section class="verdict refused"' in body
    assert body.index("<b>cannot be served: &lt;no answer&gt; in 60 s</b>") < body.index("reaches the floor")
    assert body.count("cannot be served: ") == 1


def test_score_stands_beside_the_baselines_with_intervals() -> None:
    overall = _Reader(_section(report_page.render(_content()), "overall")).rows
    assert overall[1:4] == [
        ["this model", "0.5500", "0.4500 to 0.6500"],
        ["baseline", "0.5000", "0.4000 to 0.6000"],
        ["change, in points", "▲ +5.00", "\u22122.00 to +12.00"],
    ]
    assert "holds zero" in report_page.render(_content())
    sure = dataclasses.replace(make_evaluation(), change_interval=(0.01, 0.1))
    assert "holds zero" not in report_page.render(_content(evaluation=sure))


def test_classes_are_sorted_by_their_change() -> None:
    rows = _Reader(_section(report_page.render(_content()), "classes")).rows[1:]
    assert [row[0] for row in rows] == ["cat", "background", NAMES[2]]
    assert rows[0][2:7] == ["0.3000", "0.6000", "▼ \u221230.00", "0.4000", "▼ \u221230.00"]
    assert rows[2][2:5] == ["\u2013", "0.2000", "\u2013"]


def test_without_a_baseline_no_column_of_it_is_left() -> None:
    text = report_page.render(_content(evaluation=make_evaluation(baseline=False)))
    assert "There was no earlier blessed model" in text
    rows = _Reader(_section(text, "classes")).rows
    assert [cell for cell in rows[0] if cell] == ["class", "IoU", "accuracy", "Dice", "boundary IoU"]
    assert rows[1] == ["cat", "", "0.3000", "0.4000", "0.4615", "0.1500"]


def test_slices_with_and_without_something_to_measure() -> None:
    rows = _Reader(_section(report_page.render(_content()), "slices")).rows[1:]
    assert rows == [
        ["contains", NAMES[2], "0", "", "\u2013", "\u2013", "\u2013"],
        ["size", "to 0.1 megapixels", "4", "", "0.3000", "0.5000", "▼ \u221220.00"],
    ]


def test_whatever_comes_from_the_data_is_escaped(tmp_path: pathlib.Path) -> None:
    summary = _write_run(tmp_path)
    content = report.gather(summary, str(tmp_path / "runs" / RUN))
    score = ImageScore(filename='"><script>x</script>', mean_iou=0.5, baseline_mean_iou=None, mask_sha256="")
    drawn = report_pictures.Drawn(
        score=score,
        size=(1, 1),
        image="data:,",
        truth="data:,",
        prediction="",
        error_map="",
        wrong=None,
        classes=(2,),
        note="<u>",
    )
    gallery = report_pictures.Gallery({"worst": (drawn,)}, ((0, 0, 0),) * 3)
    text = report_page.render(dataclasses.replace(content, gallery=gallery))
    assert "<script" not in text
    assert text.count("&lt;script&gt;") > 5
    assert "<img src=x>" not in text
    assert "<i>" not in text
    assert "<u>" not in text
    reader = _Reader(text)
    alts = [attributes["alt"] for tag, attributes in reader.tags if tag == "img"]
    assert alts == ['"><script>x</script>: picture', '"><script>x</script>: truth']


def test_page_is_nested_labelled_and_asks_for_nothing(tmp_path: pathlib.Path) -> None:
    reader = _Reader(report_page.render(report.gather(_write_run(tmp_path), str(tmp_path / "runs" / RUN))))
    tags = [tag for tag, _ in reader.tags]
    assert ("html", {"lang": "en"}) in reader.tags
    assert tags.count("h1") == 1
    assert tags.count("table") == tags.count("caption") > 8
    assert "script" not in tags
    addresses = [value for _, attributes in reader.tags for name, value in attributes.items() if name in ("src", "href")]
    assert addresses
    assert all(str(value).startswith("data:") for value in addresses)
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {attributes["aria-labelledby"] for _, attributes in reader.tags if "aria-labelledby" in attributes} <= set(ids)


# What a run left.


def test_all_that_a_run_left_is_shown(tmp_path: pathlib.Path) -> None:
    text = report_page.render(report.gather(_write_run(tmp_path, peak_memory_bytes=2**31), str(tmp_path / "runs" / RUN)))
    assert "25 of 30 listed pairs are not used; the first 20" in text
    assert "k19" in text
    assert "k20" not in text
    assert "Dotted: epoch 2, whose weights were kept" in text
    classes = _Reader(_section(text, "data")).rows
    assert ["cat", "25.00 %", "2", "\u2013", "0"] in classes
    assert "peak memory 2.00 GiB" in text
    assert ["Trainer", "run", "9.25", "1.00 GiB"] in _Reader(_section(text, "cost")).rows
    assert "epochs" in _section(text, "configuration")


def test_report_comes_without_what_is_gone_and_says_so(tmp_path: pathlib.Path) -> None:
    summary = _write_run(tmp_path)
    summary.paths = {"evaluation": summary.paths["evaluation"], "history": "gone.csv", "metadata": str(tmp_path / "gone")}
    (tmp_path / "runs" / RUN / runs.CONFIG_FILE).unlink()
    content = report.gather(summary, str(tmp_path / "runs" / RUN))
    assert sorted(content.missing) == ["configuration", "data", "history", "lineage", "pictures"]
    assert content.missing["data"] == "The run's record does not say where its data report is."
    text = report_page.render(content)
    assert text.count('class="missing"') == 5
    assert "The pictures cannot be shown" in text
    assert "Not blessed" in text


def test_damaged_data_report_is_not_said_to_be_nowhere(tmp_path: pathlib.Path) -> None:
    summary = _write_run(tmp_path)
    pathlib.Path(summary.paths["data report"]).write_text("{}")
    assert "does not say where" not in report.gather(summary, str(tmp_path / "runs" / RUN)).missing["data"]


def test_file_name_that_is_no_unicode_does_not_stop_it(tmp_path: pathlib.Path) -> None:
    summary = _write_run(tmp_path)
    quarantined = [{"split": "train", "key": "k", "file": "caf\udce9.png", "reason": "r", "cause": "bad"}]
    pathlib.Path(summary.paths["data report"]).write_text(json.dumps(_DATA | {"quarantined": quarantined}))
    assert rb"caf\udce9.png" in report.make(summary, str(tmp_path / "runs" / RUN))


def test_epoch_without_validation_leaves_gaps(tmp_path: pathlib.Path) -> None:
    (tmp_path / "h.csv").write_text("epoch,loss,val_loss\n1,2.5,\n2,1.5,nan\n")
    history = report.read_history(str(tmp_path / "h.csv"))
    assert history[0] == {"epoch": 1, "loss": 2.5}
    [chart] = report_page.draw_history(history, None)
    assert [line.name for line in chart.lines] == ["training"]


# The command.


def test_newest_run_with_an_evaluation_is_reported(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write_run(tmp_path, "20261120T110000Z")
    _write_run(tmp_path, RUN)
    _write_run(tmp_path, "20261120T130000Z", evaluated=False)
    assert main(["report", "--root", str(tmp_path)]) == 0
    place = tmp_path / "runs" / RUN / "report.html"
    assert capsys.readouterr().out == f"report: {place}\n"
    assert RUN in place.read_text()
    assert list(tmp_path.glob("runs/*/.report*")) == []


def test_report_of_a_named_run_goes_where_it_is_asked_to(tmp_path: pathlib.Path) -> None:
    _write_run(tmp_path, "20261120T110000Z")
    _write_run(tmp_path, RUN)
    assert main(["report", "20261120T110000Z", "--root", str(tmp_path), "--output", str(tmp_path / "r.html")]) == 0
    assert "20261120T110000Z" in (tmp_path / "r.html").read_text()
    assert list(tmp_path.glob("runs/*/report.html")) == []


def test_unknown_run_lists_the_known_ones(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write_run(tmp_path, "20261120T110000Z")
    _write_run(tmp_path, RUN)
    assert main(["report", "../x", "--root", str(tmp_path)]) == 1
    assert f"There is no run ../x in {tmp_path}. There are: {RUN}, 20261120T110000Z." in capsys.readouterr().err


def test_root_without_runs_or_evaluations_is_told(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--root", str(tmp_path)]) == 1
    assert "There are no runs in" in capsys.readouterr().err
    _write_run(tmp_path, evaluated=False)
    assert main(["report", "--root", str(tmp_path)]) == 1
    assert "No run in" in capsys.readouterr().err


def test_run_without_an_evaluation_says_why(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write_run(tmp_path, evaluated=False)
    assert main(["report", RUN, "--root", str(tmp_path)]) == 1
    assert re.search(r"no evaluation to report: there is no .*evaluation\.json\. Run it again", capsys.readouterr().err)
    failed = Summary(run="20261120T130000Z", pipeline="p", status="failed", error="the disk is full")
    with pytest.raises(report.VocsegError, match=r"it failed \(the disk is full\)"):
        report.gather(failed, str(tmp_path))


def test_damaged_evaluation_is_named(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = _write_run(tmp_path)
    path = pathlib.Path(summary.paths["evaluation"]) / "evaluation.json"
    path.write_text('{"split": "test"}')
    assert main(["report", RUN, "--root", str(tmp_path)]) == 1
    assert f"{path} cannot be read" in capsys.readouterr().err


def test_output_that_cannot_be_written_is_told(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    _write_run(tmp_path)
    assert main(["report", "--root", str(tmp_path), "--output", str(tmp_path / "no" / "r.html")]) == 1
    assert "--output" in capsys.readouterr().err


# At the end of a run.


def test_run_writes_its_report_and_notes_where(tmp_path: pathlib.Path) -> None:
    summary = _write_run(tmp_path)
    folder = tmp_path / "runs" / RUN
    with (tmp_path / "out").open("w") as stream:
        run._report(summary, folder, console.RunView(stream))
    assert summary.paths["report"] == str(folder / "report.html")
    assert "Not blessed" in (folder / "report.html").read_text()


def test_run_that_succeeded_bears_a_report_that_cannot_be_made(
    tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]
) -> None:
    summary = _write_run(tmp_path, evaluated=False)
    with (tmp_path / "out").open("w") as stream:
        run._report(summary, tmp_path / "runs" / RUN, console.RunView(stream))
    assert "There is no report of this run: The run 20261120T120000Z has no evaluation" in (tmp_path / "out").read_text()
    assert "Traceback" in capfd.readouterr().err
    assert "report" not in summary.paths
    assert summary.status == "succeeded"


# In a browser.


@pytest.mark.parametrize("width", [390, 1280])
def test_browser_shows_it_without_errors_requests_or_overflow(width: int, tmp_path: pathlib.Path) -> None:
    find_browser()
    content = report.gather(_write_run(tmp_path), str(tmp_path / "runs" / RUN))
    names = tuple(f"a class with quite a long name, number {number}" for number in range(30))
    matrix = [[1000 if row == column else 1 for column in range(30)] for row in range(30)]
    overall = content.evaluation.overall
    candidate = dataclasses.replace(overall.candidate, confusion_matrix=matrix)
    evaluation = dataclasses.replace(
        content.evaluation, class_names=names, overall=dataclasses.replace(overall, candidate=candidate)
    )
    path = tmp_path / "report.html"
    path.write_text(report_page.render(dataclasses.replace(content, evaluation=evaluation)))
    with browser(tmp_path / "browser") as page:
        page.resize(width, 800)
        page.open(path.as_uri())
        assert page.run("document.documentElement.scrollWidth") <= width
        assert page.run("document.querySelectorAll('table.matrix tbody tr').length") == 30
        assert page.problems == []
        assert [address for address in page.requests if not address.startswith("data:")] == [path.as_uri()]
