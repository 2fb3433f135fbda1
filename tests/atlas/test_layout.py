"""SPEC.md's worked rows, and what must hold for every grid."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.errors import InputError
from atlas.grid import Grid
from atlas.layout import (
    MAX_SIDE,
    MAX_THUMBS,
    KeyLayout,
    SheetLayout,
    ThumbLayout,
    choose_sheets,
    choose_thumbs,
    image_bytes,
    key_steps,
)
from atlas.manifest import FileEntry
from atlas.words import step_words, typicality_byte, view_hash

STREETS = ("seed 12", "b&b=ü", "3")


def ints(row, *names):
    return tuple(int(row[name]) for name in names)


def test_steps(helpers):
    for row in helpers.rows("steps"):
        n, step, index = ints(row, "n", "step", "index")
        assert Grid(1, n).index(0, step, 0, 0)[1] == index


def test_packs(helpers):
    for row in helpers.rows("packs"):
        n, columns, pitch = ints(row, "n", "columns", "pitch")
        block = tuple(int(length) for length in row["block"].split())
        layout = SheetLayout(2 * n + 1, pitch, block, columns)
        index = tuple(step + n for step in ints(row, "health", "income", "education"))
        pack, cell = layout.locate(index)
        assert (pack, cell, *layout.corner(cell)) == ints(row, "pack", "cell", "x", "y"), row


def test_thumbnails(helpers):
    for row in helpers.rows("thumbs"):
        n, stride, cell = ints(row, "n", "stride", "cell")
        assert ThumbLayout(n, stride, 16).nearest(ints(row, "health", "income", "education")) == cell, row


def test_chosen_layouts(helpers):
    for row in helpers.rows("layout"):
        bases, n, size, quality = ints(row, "bases", "n", "size", "quality")
        sheets, thumbs = choose_sheets(Grid(bases, n), size, quality), choose_thumbs(Grid(bases, n), size)
        assert " ".join(map(str, sheets.block)) == row["block"]
        assert (sheets.columns, thumbs.stride, thumbs.size) == ints(row, "columns", "stride", "thumb")


def test_names(helpers):
    for row in helpers.rows("names"):
        stem = f"a/{row['base']}/{row['what']}"
        assert row["file"] == f"{stem}.{row['sha256'][:12]}.jpg"
        entry = FileEntry.of(stem, b"data", "jpg")
        assert entry.file == f"{stem}.{entry.sha256[:12]}.jpg"
        assert len(entry.file) == len(row["file"])


def test_words(helpers):
    for row in helpers.rows("words"):
        assert step_words(int(row["step"])) == row["words"]


def test_links(helpers):
    for row in helpers.rows("links; streets"):
        steps = ints(row, "health", "income", "education")
        assert view_hash(STREETS[int(row["street"])], steps) == row["hash"]


def test_typicality_bytes(helpers):
    for row in helpers.rows("typicality"):
        assert typicality_byte(float(row["share"])) == int(row["byte"])


few = settings(max_examples=30)
grids = st.builds(Grid, st.integers(1, 60), st.integers(1, 12))
sizes = st.sampled_from([8, 16, 24, 40, 64, 100, 128, 256, 512, 1024])


@few
@given(grids, sizes, st.integers(30, 95))
def test_every_node_has_exactly_one_cell(grid, size, quality):
    layout = choose_sheets(grid, size, quality)
    seen = set()
    for pack in range(layout.packs):
        spans = layout.spans(pack)
        cells = math.prod(b - a for a, b in spans)
        first = layout.locate((spans[0][0], spans[1][0], spans[2][0]))
        last = layout.locate((spans[0][1] - 1, spans[1][1] - 1, spans[2][1] - 1))
        assert (first, last) == ((pack, 0), (pack, cells - 1))
        seen.update((pack, cell) for cell in range(cells))
        x, y = layout.corner(cells - 1)
        width, height = layout.pixels(pack)
        assert x + layout.pitch <= width
        assert y + layout.pitch == height
    assert len(seen) == grid.side**3


@few
@given(st.integers(1, 4), st.data())
def test_locating_is_the_inverse_of_spans(n, data):
    side = 2 * n + 1
    block = tuple(data.draw(st.integers(1, side)) for _ in range(3))
    layout = SheetLayout(side, 16, block, 3)
    found = {layout.locate((h, i, e)) for h in range(side) for i in range(side) for e in range(side)}
    assert len(found) == side**3
    for index in ((0, 0, 0), (side - 1, 0, n), (n, n, n)):
        pack, _ = layout.locate(index)
        assert all(a <= i < b for i, (a, b) in zip(index, layout.spans(pack), strict=True))


@few
@given(grids, sizes, st.integers(30, 95))
def test_sheets_stay_within_their_bounds(grid, size, quality):
    layout = choose_sheets(grid, size, quality)
    width, height = layout.pixels(0)
    assert width <= MAX_SIDE
    assert height <= MAX_SIDE
    assert layout.pitch % 16 == 0
    assert layout.pitch >= size
    cells = math.prod(layout.block)
    assert cells == 1 or cells * image_bytes(size, quality) <= 250_000


@few
@given(grids, sizes)
def test_thumbnails_are_few_and_hold_the_original(grid, size):
    layout = choose_thumbs(grid, size)
    assert layout.side**3 <= MAX_THUMBS
    assert grid.steps in layout.indices()
    assert layout.nearest((0, 0, 0)) == layout.side**3 // 2
    for step in range(-grid.steps, grid.steps + 1):
        k = layout.nearest((step, 0, 0)) // layout.side**2
        assert abs(layout.indices()[k] - grid.steps - step) <= layout.stride


def test_key_nodes():
    assert key_steps(5) == [(0, 0, 0), (-5, 0, 0), (5, 0, 0), (0, -5, 0), (0, 5, 0), (0, 0, -5), (0, 0, 5)]
    assert KeyLayout(64).corner(2) == (2 * 80 + 8, 8)
    assert KeyLayout(1024).pixels()[0] <= MAX_SIDE


def test_a_pack_beyond_the_last_is_refused():
    with pytest.raises(IndexError):
        SheetLayout(3, 16, (3, 3, 3), 6).spans(1)


def test_pictures_too_large_for_a_sheet_are_refused():
    with pytest.raises(InputError, match="4096 px"):
        choose_sheets(Grid(1, 1), 5000, 80)
