"""The page of `vocseg serve` in a real browser: a picture is dropped, looked at, and a file that is none is refused."""

import pathlib
from collections.abc import Iterator

import pytest
import serving_process
from browser import Page, browser, find_browser
from serving_process import Server

SHOWN = """!document.querySelector('#result').hidden
    && [...document.querySelectorAll('#picture, #mask')].every(image => image.complete && image.naturalWidth)"""
DROP = """(() => {
    const bytes = Uint8Array.from(atob('CONTENT'), letter => letter.charCodeAt(0));
    const dropped = new DataTransfer();
    dropped.items.add(new File([bytes], 'dropped.jpg', {type: 'image/jpeg'}));
    const event = new DragEvent('drop', {dataTransfer: dropped, bubbles: true, cancelable: true});
    document.querySelector('#drop').dispatchEvent(event);
})()"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    find_browser()  # Before the model is made.
    folder = tmp_path_factory.mktemp("server")
    model = serving_process.save_constant_model(folder / "model", 15)
    with serving_process.serve(model, folder, "--name", "pets") as running:
        yield running


@pytest.fixture
def page(server: Server, tmp_path: pathlib.Path) -> Iterator[Page]:
    with browser(tmp_path) as opened:
        yield opened


def _text(page: Page, selector: str) -> str:
    return page.run(f"document.querySelector({selector!r}).innerText")


@pytest.mark.parametrize("width", [1280, 390])
def test_picture_is_shown_with_mask_legend_and_boxes_and_a_text_file_is_refused(
    server: Server, page: Page, tmp_path: pathlib.Path, width: int
) -> None:
    photo, text, damaged = tmp_path / "photo.jpg", tmp_path / "notes.jpg", tmp_path / "damaged.jpg"
    photo.write_bytes(serving_process.picture(300, 400))
    text.write_text("This is no picture.")
    damaged.write_bytes(serving_process.picture(300, 400)[:1000])
    page.resize(width, 800)
    page.open(server.address)
    assert "pets" in _text(page, "header")

    page.choose_file("#file", photo)
    page.wait(SHOWN)
    assert _text(page, "#status") == "photo.jpg: 400 x 300 pixels"
    assert _text(page, "#legend").split() == ["person", "100.0", "%", "120,000"]
    assert _text(page, "#boxes") == "person 0.12"  # e / (e + 20)
    sizes = page.run("['#picture', '#mask', '#boxes'].map(name => document.querySelector(name).getBoundingClientRect().width)")
    assert sizes[0] > 300 and sizes[0] == sizes[1] == sizes[2]
    assert page.run("document.documentElement.scrollWidth") <= width  # Nothing to scroll sideways.

    page.run("document.querySelector('input[value=mask]').click()")
    assert page.run("[document.querySelector('#mask').style.opacity, document.querySelector('#picture').style.visibility]") == [
        "1",
        "hidden",
    ]
    page.run("document.querySelector('input[value=picture]').click()")
    assert page.run("document.querySelector('#mask').hidden")
    page.run("document.querySelector('#with-boxes').click()")
    assert page.run("document.querySelector('#boxes').hidden")

    page.choose_file("#file", text)
    page.wait("document.querySelector('#status').classList.contains('bad')")
    assert _text(page, "#status") == "notes.jpg: not a picture that can be read; expected a JPEG or a PNG."
    assert page.run("document.querySelector('#result').hidden")
    assert page.problems == []

    page.choose_file("#file", damaged)
    page.wait("document.querySelector('#status').innerText.startsWith('damaged.jpg: not a readable picture')")
    # The browser itself notes each answer that is a 4xx.
    assert [problem for problem in page.problems if "status of 422" not in problem] == []
    outside = [url for url in page.requests if not url.startswith((server.address, f"blob:{server.address}", "data:"))]
    assert outside == []
    assert f"{server.address}predict" in page.requests


def test_picture_is_dropped_and_every_input_has_a_label(server: Server, page: Page) -> None:
    page.open(server.address)
    page.run(DROP.replace("CONTENT", serving_process.picture_base64(40, 60)))
    page.wait(SHOWN)
    assert _text(page, "#status") == "dropped.jpg: 60 x 40 pixels"
    assert page.run("[...document.querySelectorAll('input')].filter(input => !input.labels.length).length") == 0
    assert page.run("[...document.querySelectorAll('img')].filter(image => !image.alt).length") == 0
    assert page.problems == []
