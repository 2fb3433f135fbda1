"""Which area a point lies in, against an independent computation; ranks and percentiles; boundaries and tables."""

import json

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata, spearmanr

from atlas.errors import InputError
from pipeline.photos.areas import Areas, read_areas
from pipeline.photos.checking import correlations
from pipeline.photos.imd import RankTable, read_imd
from pipeline.photos.region import (
    NO_RANKS,
    ON_A_BOUNDARY,
    OUTSIDE,
    average_ranks,
    cell,
    make_region,
    per_decile,
    percentiles,
    place,
)


def inside(rings, x, y):
    """Whether (x, y) is inside rings, by counting the edges that a ray to the right crosses."""
    crossings = 0
    for ring in rings:
        for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
            if (y0 <= y) != (y1 <= y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
                crossings += 1
    return crossings % 2 == 1


def star(seed, centre, points=9):
    """A polygon that is not convex."""
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.uniform(0, 2 * np.pi, points))
    radii = rng.uniform(0.2, 1.0, points)
    return [(centre[0] + r * np.cos(a), centre[1] + r * np.sin(a)) for a, r in zip(angles, radii, strict=True)]


STARS = [star(seed, (2 * (seed % 4), 2 * (seed // 4))) for seed in range(16)]
STAR_AREAS = Areas("stars", tuple(f"S{i:02d}" for i in range(16)), np.array([shapely.Polygon(s) for s in STARS]))


@settings(max_examples=60)
@given(points=st.lists(st.tuples(st.floats(-1, 7), st.floats(-1, 7)), min_size=1, max_size=40))
def test_points_in_polygons_against_ray_casting(points):
    x, y = np.array(points).T
    found, ambiguous = STAR_AREAS.locate(x, y)
    expected = [next((i for i, s in enumerate(STARS) if inside([s], *p)), -1) for p in points]
    # A point within rounding of an edge may be told either way.
    edges = shapely.distance(shapely.MultiLineString([[*s, s[0]] for s in STARS]), shapely.points(points)) > 1e-12
    np.testing.assert_array_equal(found[edges], np.array(expected)[edges])
    assert not ambiguous[edges].any()


def test_many_random_points_against_ray_casting():
    points = np.random.default_rng(7).uniform(-1, 7, (500, 2))
    found, _ = STAR_AREAS.locate(*points.T)
    expected = [next((i for i, s in enumerate(STARS) if inside([s], *p)), -1) for p in points]
    assert found.tolist() == expected
    assert len(set(expected)) > 10


def test_a_hole_is_outside():
    ring, hole = [(0, 0), (9, 0), (9, 9), (0, 9)], [(3, 3), (6, 3), (6, 6), (3, 6)]
    areas = Areas("hole", ("A",), np.array([shapely.Polygon(ring, [hole])]))
    found, ambiguous = areas.locate(np.array([1, 4.5, 3]), np.array([1, 4.5, 4]))
    assert found.tolist() == [0, -1, -1]
    assert ambiguous.tolist() == [False, False, True]


def test_a_point_on_a_boundary_is_in_no_area(region):
    region.areas = dict(reversed(region.areas.items()))
    region.write()
    areas = read_areas(region.folder / "areas.geojson", read_imd(region.folder / "file7.csv"))
    assert areas.codes == ("E01000001", "E01000002", "E01000003", "E01000004")
    lon, lat = [0.01, 0.01, 0.015, 0.0, 0.005, 9.0], [0.005, 0.01, 0.01, 0.005, 0.005, 0.0]
    found, ambiguous = areas.locate(np.array(lon), np.array(lat))
    assert found.tolist() == [-1, -1, -1, -1, 0, -1]
    assert ambiguous.tolist() == [True, True, True, True, False, False]


def test_a_point_where_areas_overlap_is_in_neither():
    squares = [shapely.box(0, 0, 2, 2), shapely.box(1, 0, 3, 2)]
    found, ambiguous = Areas("two", ("a", "b"), np.array(squares, object)).locate(
        np.array([0.5, 1.5, 2.5]), np.array([1.0, 1.0, 1.0])
    )
    assert found.tolist() == [0, -1, 1]
    assert ambiguous.tolist() == [False, True, False]


def test_the_codes_property_may_have_any_name(region):
    region.area_property = "geo_code"
    region.write()
    table = read_imd(region.folder / "file7.csv")
    assert read_areas(region.folder / "areas.geojson", table).codes == table.codes


def change_geojson(region, change):
    path = region.folder / "areas.geojson"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


BAD_AREAS = {
    "no features": (lambda g: g.pop("features"), "must be a GeoJSON FeatureCollection"),
    "a feature is text": (lambda g: g["features"].append("x"), "must be a GeoJSON FeatureCollection"),
    "code missing": (lambda g: g["features"][1]["properties"].clear(), "must have its area's code as LSOA11CD"),
    "code twice": (
        lambda g: g["features"][1]["properties"].update(LSOA11CD="E01000001"),
        "area E01000001 is there twice",
    ),
    "a point": (
        lambda g: g["features"][0].update(geometry={"type": "Point", "coordinates": [0, 0]}),
        "area E01000001 must be a Polygon or a MultiPolygon, got Point",
    ),
    "no geometry": (lambda g: g["features"][0].update(geometry=None), "must be a Polygon or a MultiPolygon, got None"),
    "a broken ring": (
        lambda g: g["features"][0]["geometry"].update(coordinates=[[[0, 0], [1, 1]]]),
        "boundary of area E01000001 is malformed",
    ),
    "national grid": (
        lambda g: g["features"][0]["geometry"].update(
            coordinates=[[[530000, 180000], [530900, 180000], [530000, 181000]]]
        ),
        "must give longitude and latitude in degrees",
    ),
    "a crs": (
        lambda g: g.update(crs={"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::27700"}}),
        "export it as WGS 84",
    ),
}


@pytest.mark.parametrize("fault", BAD_AREAS)
def test_bad_boundaries(region, fault):
    change, message = BAD_AREAS[fault]
    region.write()
    change_geojson(region, change)
    with pytest.raises(InputError, match=message):
        read_areas(region.folder / "areas.geojson", read_imd(region.folder / "file7.csv"))


def test_boundaries_of_another_year_by_their_property(region):
    region.area_property = "LSOA21CD"
    region.write()
    with pytest.raises(InputError, match=r"boundaries of 2021 \(LSOA21CD\) and file7.csv the ranks for those of 2011"):
        read_areas(region.folder / "areas.geojson", read_imd(region.folder / "file7.csv"))


def test_boundaries_of_another_year_by_their_codes(region):
    region.area_property = "code"
    region.areas = {
        code.replace("E0100000", "E0103000") if i else code: rings
        for i, (code, rings) in enumerate(region.areas.items())
    }
    region.write()
    with pytest.raises(InputError, match="only 1 codes are in both: give boundaries of 2011"):
        read_areas(region.folder / "areas.geojson", read_imd(region.folder / "file7.csv"))


def test_boundaries_with_no_code_of_the_table(region):
    region.area_property = "code"
    region.areas = {f"X{i}": rings for i, rings in enumerate(region.areas.values())}
    region.write()
    with pytest.raises(InputError, match="no property with the area codes of file7"):
        read_areas(region.folder / "areas.geojson", read_imd(region.folder / "file7.csv"))


def test_a_ring_that_crosses_itself_is_mended(region):
    region.areas["E01000001"] = [[[0, 0], [0.01, 0.01], [0.01, 0], [0, 0.01], [0, 0]]]
    region.write()
    areas = read_areas(region.folder / "areas.geojson", read_imd(region.folder / "file7.csv"))
    found, _ = areas.locate(np.array([0.002, 0.008, 0.005]), np.array([0.005, 0.005, 0.002]))
    assert found.tolist() == [0, 0, -1]


# The table of ranks


def test_file_7_is_read_whatever_else_it_holds(region):
    region.write()
    path = region.folder / "file7.csv"
    path.write_text("\ufeff" + path.read_text().replace("\n", ",x\n"), encoding="utf-8")
    table = read_imd(path)
    assert table.year == 2011
    assert table.codes == ("E01000001", "E01000002", "E01000003", "E01000004")
    assert table.ranks.tolist() == [[7, 40, 20], [14, 30, 21], [21, 20, 22], [28, 10, 23]]
    assert table.overall.tolist() == [100, 101, 102, 103]


BAD_TABLES = {
    "no code column": (("LSOA code (2011)", "code"), 'has no column "LSOA code \\(YYYY\\)"'),
    "no health column": (("Health Deprivation", "H"), 'has no column that begins with "Health Deprivation'),
    "no income column": (("Income Rank", "Income Score"), 'has no column that begins with "Income Rank"'),
    "no education column": (
        ("Education, Skills", "Education"),
        'that begins with "Education, Skills and Training Rank"',
    ),
    "a code malformed": (
        ("E01000003,", "E0100003,"),
        "row 4: LSOA code .2011. must look like E01000001, got 'E0100003'",
    ),
    "a code twice": (("E01000003,", "E01000002,"), "row 4: area E01000002 is there twice"),
    "a rank with a point": ((",22,", ",22.5,"), "row 4: Education.* must be a whole number of at least 1, got '22.5'"),
    "a rank missing": ((",22,", ",,"), "row 4: Education.* must be a whole number of at least 1, got ''"),
    "a rank of 0": ((",22,", ",0,"), "must be a whole number of at least 1, got '0'"),
    "a cell too many": ((",22,", ",2,2,"), "row 4 must have 6 cells"),
}


@pytest.mark.parametrize("fault", BAD_TABLES)
def test_bad_tables(region, fault):
    (old, new), message = BAD_TABLES[fault]
    region.write()
    path = region.folder / "file7.csv"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        read_imd(path)


def test_a_table_that_is_no_text(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        read_imd(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(b"")
    with pytest.raises(InputError, match="no column"):
        read_imd(tmp_path / "a.csv")


# The region


def test_percentiles_worked_by_hand():
    ranks = np.array([[10, 5, 1], [20, 5, 2], [30, 9, 3], [40, 1, 4], [50, 5, 5]])
    expected = [[0, 0.5, 0], [0.25, 0.5, 0.25], [0.5, 1, 0.5], [0.75, 0, 0.75], [1, 0.5, 1]]
    np.testing.assert_allclose(percentiles(ranks), expected)


@given(st.lists(st.integers(1, 30), min_size=2, max_size=40))
def test_percentiles_are_places_among_all(ranks):
    shares = percentiles(np.array(ranks)[:, None])[:, 0]
    for rank, share in zip(ranks, shares, strict=True):
        below, same = sum(r < rank for r in ranks), sum(r == rank for r in ranks)
        assert share == pytest.approx((below + (same - 1) / 2) / (len(ranks) - 1))


@given(st.lists(st.sampled_from([0.0, 0.5, 1.5, 2.5, 7.0]), min_size=1, max_size=30))
def test_average_ranks_are_scipys(values):
    np.testing.assert_array_equal(average_ranks(np.array(values)), rankdata(values))


def test_correlation_is_scipys():
    shares = np.round(np.random.default_rng(1).uniform(0, 1, (50, 3)), 1)
    expected = spearmanr(shares).statistic
    found = correlations(shares)
    assert found["health-education"] == pytest.approx(expected[0, 2], abs=1e-4)
    assert found["income-education"] == pytest.approx(expected[1, 2], abs=1e-4)


def table_of(*codes):
    ranks = np.arange(1, 3 * len(codes) + 1).reshape(-1, 3)
    return RankTable("table", 2011, codes, ranks, None)


def test_areas_without_ranks_and_points_outside(region):
    region.write()
    areas = read_areas(region.folder / "areas.geojson", read_imd(region.folder / "file7.csv"))
    joined = make_region(areas, table_of("E01000001", "E01000004", "E01000009"))
    assert joined.codes == ("E01000001", "E01000004")
    places = place(areas, joined, np.array([0.005, 0.015, 0.015, 5]), np.array([0.005, 0.005, 0.015, 5]))
    assert places.rows.tolist() == [0, -1, 1, -1]
    assert places.dropped == {OUTSIDE: 1, ON_A_BOUNDARY: 0, NO_RANKS: 1}


def test_one_area_has_no_order(region):
    region.write()
    areas = read_areas(region.folder / "areas.geojson", read_imd(region.folder / "file7.csv"))
    with pytest.raises(InputError, match="at least 2 areas, they share 1"):
        make_region(areas, table_of("E01000001", "E01000009"))


@given(st.floats(-89, 89), st.floats(-179, 179))
def test_cells_are_a_kilometre(lat, lon):
    metre = 1 / 111_195
    assert cell(lat, lon) == cell(lat, lon)
    assert cell(lat + 1001 * metre, lon) != cell(lat, lon)
    assert cell(lat, lon + 1030 * metre / np.cos(np.radians(lat))) != cell(lat, lon)


def test_cells_have_plain_names():
    assert cell(51.5074, -0.1278) == "W00009N05727"
    assert cell(-0.001, 0.001) == "E00000S00001"


def test_deciles():
    shares = np.array([[0, 0.1, 1], [0.05, 0.95, 0.999], [0.1, 0.099, 0.5]])
    assert per_decile(shares) == {
        "health": [2, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        "income": [1, 1, 0, 0, 0, 0, 0, 0, 0, 1],
        "education": [0, 0, 0, 0, 0, 1, 0, 0, 0, 2],
    }
