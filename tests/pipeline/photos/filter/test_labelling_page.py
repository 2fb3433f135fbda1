"""The labelling page, opened from disk by a double click, in a real Chromium."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

from pipeline.photos.filter.labels import read_labels, write_page

NAMES = ["a.jpg", 'comma, "quoted".jpg', "</script><img src=x onerror=document.title='run'>.jpg", "d&amp;.jpg", "e.jpg"]


def jpeg(seed):
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture
def page(chromium, tmp_path):
    write_page(tmp_path / "labelling", ((name, jpeg(i)) for i, name in enumerate(NAMES)), "Usable? <b>")
    context = chromium.new_context(accept_downloads=True)
    opened = context.new_page()
    opened.faults = []
    opened.on("pageerror", lambda error: opened.faults.append(str(error)))
    opened.on("console", lambda m: opened.faults.append(m.text) if m.type in ("error", "warning") else None)
    opened.goto((tmp_path / "labelling" / "index.html").as_uri())
    yield opened
    assert opened.faults == []
    context.close()


def progress(page):
    return page.text_content("#progress")


@pytest.mark.browser
def test_two_keys_and_undo(page, tmp_path):
    assert page.title() == "Usable? <b>"
    assert progress(page) == "0 of 5 labelled, 0 usable"
    assert page.is_disabled("#save")
    page.wait_for_function("document.getElementById('photograph').naturalWidth === 8")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("u")
    assert progress(page) == "1 of 5 labelled, 1 usable"
    page.keyboard.press("ArrowRight")
    page.click("#not")
    page.reload()  # what was done is still there
    assert progress(page) == "3 of 5 labelled, 2 usable"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")  # there is none left
    assert progress(page) == "5 of 5 labelled, 4 usable. All done: save the labels."
    page.keyboard.press("Backspace")
    page.keyboard.press("ArrowLeft")
    with page.expect_download() as saving:
        page.click("#save")
    saved = tmp_path / "labels.csv"
    saving.value.save_as(saved)
    assert saving.value.suggested_filename == "labels.csv"
    with saved.open(newline="") as stream:
        assert list(csv.reader(stream)) == [["file", "usable"], *([n, v] for n, v in zip(NAMES, "11010", strict=True))]
    assert read_labels([saved], NAMES) == dict(zip(NAMES, [True, True, False, True, False], strict=True))
    assert page.title() == "Usable? <b>"
