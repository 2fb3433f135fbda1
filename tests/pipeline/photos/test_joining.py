"""The join beyond the usual: another country's table, the house's place, a list of those to keep."""

import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.errors import InputError
from atlas.preset import DatasetSettings, load_preset
from pipeline.photos.dataset import open_dataset
from pipeline.photos.joining import JoinSettings, join_of
from pipeline.photos.mapping import parse_options, read_columns, read_ranks

MAPPING = ("area=zone", "health=score:high:illness", "income=rank:low:income", "education=score:low:years")


def other_country(folder, **changes):
    """A table with a score that is high where deprived, a rank, and a score that is low where deprived."""
    rows = [
        {"zone": "S1", "illness": "9.5", "income": "1", "years": "-3"},
        {"zone": "S2", "illness": "1e1", "income": "2", "years": "0.5"},
        {"zone": "S3", "illness": "2", "income": "2", "years": "7"},
        {"zone": "S4", "illness": "2.0", "income": "4", "years": "11"},
    ]
    rows[1].update(changes)
    path = folder / "zones.csv"
    with path.open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


def test_another_country(tmp_path):
    table = read_ranks(other_country(tmp_path), parse_options(MAPPING))
    assert (table.codes, table.year, table.overall) == (("S1", "S2", "S3", "S4"), None, None)
    np.testing.assert_array_equal(table.ranks, [[2, 1, 1], [1, 2, 2], [3, 2, 3], [3, 4, 4]])


def test_another_country_is_imported(region, atlas):
    region.areas = dict(zip(("S1", "S2", "S3", "S4"), region.areas.values(), strict=True))
    region.area_property = "LSOA11CD"  # whatever the property is called, the codes decide
    arguments = region.command()
    arguments[arguments.index("--imd") + 1] = str(other_country(region.folder))
    result = atlas(*arguments, *(part for text in MAPPING for part in ("--column", text)))
    assert result.exit_code == 0, result.stderr
    dataset = open_dataset(region.out)
    assert [photo.ranks for photo in dataset.photos] == [(2, 1, 1), (1, 2, 2), (3, 2, 3), (3, 4, 4)]
    np.testing.assert_allclose(
        dataset.labels, [[1 / 3, 0, 0], [0, 0.5, 1 / 3], [5 / 6, 0.5, 2 / 3], [5 / 6, 1, 1]], rtol=1e-6
    )
    assert dataset.meta["columns"]["axes"][0] == {"heading": "illness", "kind": "score", "deprived": "high"}


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_turning_a_score_round_turns_the_order_round(tmp_path_factory, scores):
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_text("a,s,r\n" + "".join(f"{i:03d},{s!r},{i + 1}\n" for i, s in enumerate(scores)))
    low, high = (
        read_ranks(path, read_columns("a", f"score:{end}:s", "rank:low:r", "rank:low:r")).ranks[:, 0]
        for end in ("low", "high")
    )
    for i, a in enumerate(scores):
        assert low[i] == 1 + sum(b < a for b in scores)
        assert high[i] == 1 + sum(b > a for b in scores)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (MAPPING[:3], "says nothing of education"),
        (("zone=x",), "NAME one of area, health, income, education"),
        ((*MAPPING[:3], "education=years"), "must be given as rank:low:HEADING"),
        ((*MAPPING[:3], "education=score:bad:years"), "must be given as rank:low:HEADING"),
    ],
)
def test_bad_mappings(given, said):
    with pytest.raises(InputError, match=said):
        parse_options(given)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"illness": "nan"}, "row 3: illness must be a number, got 'nan'"),
        ({"illness": "n/a"}, "row 3: illness must be a number"),
        ({"income": "2.5"}, "row 3: income must be a whole number"),
        ({"zone": ""}, "row 3: zone must be an area's code"),
        ({"zone": "S1"}, "row 3: area S1 is there twice"),
    ],
)
def test_bad_tables(tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        read_ranks(other_country(tmp_path, **change), parse_options(MAPPING))


def test_a_missing_column(tmp_path):
    columns = read_columns("zone", "score:high:sickness", "rank:low:income", "score:low:years")
    with pytest.raises(InputError, match="no column 'sickness'"):
        read_ranks(other_country(tmp_path), columns)


def test_the_house_decides_not_the_camera(region, atlas):
    """Cameras stand 5 m south of the middle line and look at houses across it, in the next area."""
    metre = 1 / 111_195
    for i, row in enumerate(region.listing):
        row.update(lat=0.01 - 5 * metre, lon=0.004, heading=(0, 90, 180, 359.5)[i])
    assert atlas(*region.command()).exit_code == 0
    assert [p.area for p in open_dataset(region.out).photos] == ["E01000001"] * 4
    result = atlas(*region.command(), "--look-ahead", "10")
    assert result.exit_code == 0, result.stderr
    dataset = open_dataset(region.out)
    assert [p.area for p in dataset.photos] == ["E01000003", "E01000001", "E01000001", "E01000003"]
    assert dataset.photos[0].lat == pytest.approx(0.01 - 5 * metre, abs=1e-9)  # the table keeps the camera's place
    assert (dataset.meta["joined_by"], dataset.meta["look_ahead_metres"]) == ("house", 10.0)


@pytest.mark.parametrize(
    ("heading", "options", "said"),
    [
        (None, ("--look-ahead", "10"), "has no column 'heading'"),
        ("", ("--look-ahead", "10"), "'p0.jpg': heading must be a number 0 … 360, got ''"),
        ("nan", ("--look-ahead", "10"), "heading must be a number"),
        ("0", ("--look-ahead", "101"), "look-ahead must be 0 … 100 metres"),
    ],
)
def test_bad_headings(region, atlas, heading, options, said):
    for row in region.listing:
        row.update({} if heading is None else {"heading": heading})
    result = atlas(*region.command(), *options)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert said in result.stderr


def test_a_plain_list_of_those_to_keep(region, atlas):
    (region.folder / "kept.csv").write_text("file\np3.jpg\np1.jpg\n")
    result = atlas(*region.command(), "--keep", region.folder / "kept.csv")
    assert result.exit_code == 0, result.stderr
    dataset = open_dataset(region.out)
    assert [photo.source_id for photo in dataset.photos] == ["p1.jpg", "p3.jpg"]
    assert dataset.meta["counts"]["dropped"]["filtered: not in the list of those to keep"] == 2
    assert dataset.meta["counts"]["listed"] == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name\np1.jpg\n", "no column 'file'"),
        ("file\nelsewhere.jpg\n", "row 2: 'elsewhere.jpg' is not among the photographs"),
        ("file,keep\np1.jpg,maybe\n", "row 2: keep must be 1 or 0"),
        ("file,keep\np1.jpg,0\n", "keeps none of the 4 photographs"),
    ],
)
def test_bad_lists(region, atlas, text, said):
    (region.folder / "kept.csv").write_text(text)
    result = atlas(*region.command(), "--keep", region.folder / "kept.csv")
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert said in result.stderr


def test_the_record_of_a_fetch_goes_along(region, atlas):
    (region.folder / "acquisition.json").write_text(
        '{"licence": "CC BY-SA 4.0", "attribution": "A. Body", "permission": "in writing"}'
    )
    assert atlas(*region.command()).exit_code == 0
    meta = open_dataset(region.out).meta
    assert (meta["licence"], meta["attribution"]) == ("CC BY-SA 4.0", "A. Body")
    assert meta["acquisition"]["permission"] == "in writing"
    assert atlas(*region.command(), "--licence", "mine").exit_code == 0
    assert open_dataset(region.out).meta["licence"] == "mine"


def test_a_preset_can_say_all_of_it(tmp_path):
    path = tmp_path / "p.toml"
    path.write_text(
        'name = "p"\ntitle = "P"\n[dataset]\nsource = "photographs"\nlook_ahead = 10\nkeep = "filter.csv"\n'
        'area_column = "zone"\nhealth_column = "score:high:illness"\nincome_column = "rank:low:income"\n'
        'education_column = "score:low:years"\n'
    )
    join = join_of(load_preset(path).dataset, tmp_path)
    assert join == JoinSettings(10.0, parse_options(MAPPING), tmp_path / "filter.csv")


def test_a_preset_that_says_none_of_it(tmp_path):
    assert join_of(DatasetSettings(), tmp_path) == JoinSettings()
