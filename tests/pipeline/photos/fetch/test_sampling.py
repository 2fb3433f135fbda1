"""Where points fall, and which way is left."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlas.errors import InputError
from pipeline.photos.areas import read_shapes
from pipeline.photos.fetch.google import GoogleOptions
from pipeline.photos.fetch.mapillary import BOX_LIMIT, MapillaryOptions, box
from pipeline.photos.fetch.request import FetchRequest, plan
from pipeline.photos.fetch.roads import apart, left_of, read_roads
from pipeline.photos.fetch.sampling import Field, draw_points, field_plane
from pipeline.photos.plane import Plane, moved

TRAFALGAR = (51.508, -0.128)


def metres(a, b):
    """Great-circle distance."""
    (lat0, lon0), (lat1, lon1) = np.radians(a), np.radians(b)
    chord = (
        math.sin((lat1 - lat0) / 2) ** 2 + math.cos(lat0) * math.cos(lat1) * math.sin((lon1 - lon0) / 2) ** 2
    ) ** 0.5
    return 2 * 6_371_008.8 * math.asin(chord)


def write_lines(path, *features):
    value = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": p, "geometry": {"type": "LineString", "coordinates": c}}
            for c, p in features
        ],
    }
    path.write_text(json.dumps(value))
    return path


def test_a_circle_is_filled_evenly():
    points = draw_points(Field(Plane(TRAFALGAR[0]), TRAFALGAR, 15_000), 4000, 1, None)
    distances = np.array([metres(TRAFALGAR, point) for point in points])
    assert distances.max() < 15_000 * 1.003
    # Half the surface lies within √½ of the radius; five standard deviations of 4,000 draws are 0.04.
    assert np.mean(distances < 15_000 * 0.5**0.5) == pytest.approx(0.5, abs=0.04)
    east = np.mean(points[:, 1] > TRAFALGAR[1])
    assert east == pytest.approx(0.5, abs=0.04)


def test_the_seed_decides():
    field = Field(Plane(51.5), TRAFALGAR, 1000)
    np.testing.assert_array_equal(draw_points(field, 50, 1, None), draw_points(field, 50, 1, None))
    assert not np.array_equal(draw_points(field, 50, 1, None), draw_points(field, 50, 2, None))


def test_points_lie_inside_areas(region):
    region.areas = dict(list(region.areas.items())[:1])
    region.write()
    areas = read_shapes(region.folder / "areas.geojson")
    points = draw_points(Field(field_plane(None, areas), areas=areas), 500, 1, None)
    assert ((points > 0) & (points < 0.01)).all()
    assert np.ptp(points, axis=0) == pytest.approx([0.01, 0.01], rel=0.1)


def test_as_many_points_in_each_decile(tmp_path, region):
    from pipeline.photos.areas import read_areas
    from pipeline.photos.imd import read_imd
    from pipeline.photos.region import make_region

    for i in range(20):
        code = f"E01{100000 + i}"
        west = 0.02 * i
        region.areas[code] = [[[west, 1], [west + 0.001 * (i + 1), 1], [west + 0.001 * (i + 1), 1.01], [west, 1.01]]]
        region.areas[code][0].append(region.areas[code][0][0])
        region.ranks[code] = (i + 1, 1000 + i, 50 + i, 90 + i)
    region.write()
    request = FetchRequest(
        MapillaryOptions(),
        points=103,
        areas=region.folder / "areas.geojson",
        imd=region.folder / "file7.csv",
        stratify="income",
    )
    points, _ = plan(request)
    table = read_imd(request.imd)
    areas = read_areas(request.areas, table)
    joined = make_region(areas, table)
    area, _ = areas.locate(points[:, 1], points[:, 0])
    tenths = np.minimum((joined.percentiles[joined.rows[area], 1] * 10).astype(int), 9)
    assert sorted(np.bincount(tenths, minlength=10)) == [10] * 7 + [11] * 3
    assert len(set(tenths[:15])) > 5  # mixed, so that a fetch that is stopped early is still spread


def test_points_along_roads_by_their_length(tmp_path):
    long, short = [[0.0, 0.0], [0.009, 0.0]], [[0.0, 0.001], [0.001, 0.001]]
    plane = Plane(0.0)
    roads = read_roads(write_lines(tmp_path / "r.geojson", (long, {}), (short, {})), plane)
    points = draw_points(Field(plane, (0.0, 0.0), 5000), 2000, 1, roads)
    on_long = np.abs(points[:, 0]) < 1e-6
    assert on_long.mean() == pytest.approx(0.9, abs=0.04)
    np.testing.assert_allclose(points[~on_long, 0], 0.001, atol=1e-6)


def test_no_road_in_the_circle(tmp_path):
    plane = Plane(0.0)
    roads = read_roads(write_lines(tmp_path / "r.geojson", ([[1.0, 1.0], [1.1, 1.0]], {})), plane)
    with pytest.raises(InputError, match="hardly any point of a road"):
        draw_points(Field(plane, (0.0, 0.0), 100), 5, 1, roads)


def test_circle_and_areas_apart(region):
    region.write()
    with pytest.raises(InputError, match="do not meet"):
        plan(FetchRequest(MapillaryOptions(), points=1, near=TRAFALGAR, areas=region.folder / "areas.geojson"))
    with pytest.raises(InputError, match="say where to look"):
        plan(FetchRequest(MapillaryOptions(), points=1))


@given(st.floats(0, 359.99), st.floats(-70, 70))
def test_bearing_of_a_road(bearing, lat):
    plane = Plane(lat)
    end = moved(lat, 10.0, bearing, 200.0)
    from pipeline.photos.fetch.roads import Roads

    line = np.array([plane.line(np.array([[10.0, lat], [end[1], end[0]]]))], object)
    import shapely

    roads = Roads(line, plane, shapely.STRtree(line))
    middle = moved(lat, 10.0, bearing, 100.0)
    found = roads.bearing(*middle, within=5.0)
    assert apart(found, bearing) < 0.1
    assert apart(left_of(found), bearing - 90) < 0.1
    assert roads.bearing(*moved(*middle, bearing + 90, 30.0), within=20.0) is None


def test_the_nearest_segment_counts(tmp_path):
    corner = [[0.0, 0.0], [0.001, 0.0], [0.001, 0.0], [0.001, 0.001]]
    roads = read_roads(write_lines(tmp_path / "r.geojson", (corner, {})), Plane(0.0))
    assert roads.bearing(0.0, 0.0005, 10) == pytest.approx(90)
    assert roads.bearing(0.0005, 0.001, 10) == pytest.approx(0)


@given(st.floats(-84, 84), st.floats(-179, 179), st.floats(1, 1000))
def test_a_box_is_below_the_limit(lat, lon, side):
    west, south, east, north = box(lat, lon, side)
    assert 0 < east - west < BOX_LIMIT
    assert 0 < north - south < BOX_LIMIT
    assert west < lon < east


@given(st.floats(-80, 80), st.floats(-179, 179), st.floats(0, 360), st.floats(0, 100))
def test_moved_by_so_many_metres(lat, lon, heading, distance):
    assert metres((lat, lon), moved(lat, lon, heading, distance)) == pytest.approx(distance, rel=0.002, abs=1e-4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not valid JSON"),
        ("[]", "must be a GeoJSON FeatureCollection"),
        ('{"features": []}', "holds no LineString"),
        ('{"features": [{"geometry": {"type": "LineString", "coordinates": [["x"]]}}]}', "malformed"),
        ('{"features": [{"geometry": {"type": "LineString", "coordinates": [[530000, 180000], [1, 2]]}}]}', "degrees"),
    ],
)
def test_bad_roads(tmp_path, text, said):
    (tmp_path / "r.geojson").write_text(text)
    with pytest.raises(InputError, match=said):
        read_roads(tmp_path / "r.geojson", Plane(0.0))


@pytest.mark.parametrize(
    "make",
    [
        lambda: GoogleOptions(size=641),
        lambda: GoogleOptions(fov=5),
        lambda: MapillaryOptions(size=640),
        lambda: MapillaryOptions(box=2000),
        lambda: MapillaryOptions(tolerance=0),
    ],
)
def test_bad_options(make):
    with pytest.raises(InputError, match=r"must be"):
        make()
