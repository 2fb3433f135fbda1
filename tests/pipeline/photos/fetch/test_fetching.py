"""A fetch against servers that behave as the APIs do: whatever goes wrong, nothing is lost, fetched twice, or told."""

import csv
import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest
from click.testing import CliRunner

from atlas.cli import main
from atlas.errors import InputError
from pipeline.photos.fetch.fetching import fetch
from pipeline.photos.fetch.google import GoogleOptions
from pipeline.photos.fetch.mapillary import MapillaryOptions
from pipeline.photos.fetch.request import FetchRequest
from pipeline.photos.fetch.web import FetchError

NEAR = (51.5, -0.1 + 0.0029)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "photographs"


class Fetch:
    """One source, its server and its request; waits are noted, not waited."""

    def __init__(self, server, request, out, key):
        self.server, self.request, self.out, self.key, self.waits = server, request, out, key, []

    def __call__(self, **changes):
        given = {"key": self.key, "rate": 100.0, "endpoint": self.server.address, **changes}
        return fetch(self.request, self.out, sleep=self.waits.append, **given)

    def rows(self):
        with (self.out / "photos.csv").open(newline="") as stream:
            return list(csv.DictReader(stream))

    def tree(self):
        return {p.relative_to(self.out).as_posix(): p.read_bytes() for p in self.out.rglob("*") if p.is_file()}


@pytest.fixture
def from_google(google_server, roads, out, key):
    options = GoogleOptions(size=64)
    request = FetchRequest(
        options, points=30, near=NEAR, radius_km=0.3, roads=roads, seed=3, permission="A. Person, Google, 1 May: yes"
    )
    return Fetch(google_server, request, out, key)


@pytest.fixture
def from_mapillary(mapillary_server, roads, out, key):
    request = FetchRequest(MapillaryOptions(), points=12, near=NEAR, radius_km=0.3, roads=roads, seed=3)
    return Fetch(mapillary_server, request, out, key)


@pytest.fixture(params=["google", "mapillary"])
def either(request):
    return request.getfixturevalue(f"from_{request.param}")


def require_sound(job):
    """What must hold after any fetch that ended well."""
    assert job.server.served
    assert max(job.server.served.values()) == 1
    rows = job.rows()
    assert len(rows) == len({row["photo_id"] for row in rows}) > 3
    assert sorted(row["file"] for row in rows) == sorted(n for n in job.tree() if n.startswith("images/"))
    for row in rows:
        assert job.server.served["picture", row["photo_id"]] == 1
    for name, data in job.tree().items():
        assert job.key.encode() not in data, name


def test_google_looks_to_the_left_of_travel(from_google):
    outcome = from_google()
    require_sound(from_google)
    rows = from_google.rows()
    assert outcome.photographs == len(rows) == 10
    assert outcome.requests == 30 + 10  # the metadata of every point, one picture a panorama
    for row in rows:
        assert float(row["heading"]) == pytest.approx(0, abs=0.1)  # the road goes east
        assert (row["taken"], row["provider"], row["contributor"]) == ("2018-07", "google", "© Google")
        assert (float(row["lat"]), float(row["lon"])) == from_google.server.panoramas[row["photo_id"]]
    asked = [query for kind, _, query in from_google.server.asked if kind == "picture"]
    assert {(q["size"], q["fov"], q["return_error_code"]) for q in asked} == {("64x64", "90", "true")}
    acquisition = json.loads((from_google.out / "acquisition.json").read_text())
    assert acquisition["permission"] == "A. Person, Google, 1 May: yes"
    assert acquisition["counts"]["photographs"] == 10


def test_a_panorama_away_from_every_road_is_left_out(from_google):
    from_google.server.panoramas = {}
    from_google.server.away = {"off_road": (NEAR[0] + 0.0004, NEAR[1])}  # 44 m from the road, within reach of points
    outcome = from_google()
    assert (outcome.photographs, outcome.empty, outcome.finished) == (0, 30, True)
    assert not [kind for kind, _, _ in from_google.server.asked if kind == "picture"]


def test_the_right_of_a_road_that_is_drawn_the_other_way(from_google, roads):
    value = json.loads(roads.read_text())
    value["features"][0]["properties"]["oneway"] = "-1"
    roads.write_text(json.dumps(value))
    from_google.request = dataclasses.replace(from_google.request, options=GoogleOptions(size=64, side="right"))
    from_google()
    assert {float(row["heading"]) for row in from_google.rows()} == {0.0}


def test_mapillary_takes_cameras_that_look_across(from_mapillary):
    outcome = from_mapillary()
    require_sound(from_mapillary)
    assert outcome.finished
    for row in from_mapillary.rows():
        assert float(row["heading"]) in (3.5, 183.5)
        assert row["licence"] == "CC BY-SA 4.0"
        assert row["contributor"] == f"person <{row['photo_id']}>"
        assert row["page"].endswith(row["photo_id"])
        assert row["taken"] == "2018-07-14"
    assert all(from_mapillary.server.keyless)  # no token goes to where the thumbnails lie
    assert not [kind for kind, _, _ in from_mapillary.server.asked if kind == "address"]


@pytest.mark.parametrize(("side", "heading"), [("left", 3.5), ("right", 183.5)])
def test_mapillary_one_side(from_mapillary, side, heading):
    from_mapillary.request = dataclasses.replace(from_mapillary.request, options=MapillaryOptions(side=side))
    from_mapillary()
    assert {float(row["heading"]) for row in from_mapillary.rows()} == {heading}


def test_mapillary_without_roads_takes_any_heading(from_mapillary):
    from_mapillary.request = dataclasses.replace(from_mapillary.request, roads=None, per_point=4, points=30)
    from_mapillary()
    assert {float(row["heading"]) for row in from_mapillary.rows()} == {3.5, 93.5, 183.5}


@pytest.mark.parametrize("fault", ["429", "429:7", "500", "503", "truncated", "hang up"])
@pytest.mark.parametrize("kind", ["look", "picture"])
def test_a_fault_that_passes_is_waited_out(either, fault, kind):
    either.server.faults[kind].extend([fault, "well", fault, fault])
    assert either().finished
    require_sound(either)
    backoff = [wait for wait in either.waits if wait >= 1 or wait == 7]
    assert backoff == ([7, 7, 7] if fault == "429:7" else [1, 1, 2])


def test_a_picture_that_is_cut_short_though_its_length_is_right(either):
    either.server.faults["picture"].append("cut picture")
    either()
    require_sound(either)


@pytest.mark.parametrize("kind", ["look", "picture"])
def test_a_server_that_stays_broken(either, kind):
    either.server.faults[kind].extend(["well"] * 2)
    either.server.always[kind] = "500"
    with pytest.raises(FetchError, match=r"5 requests in a row failed.*HTTP 500.*run the same command again"):
        either()
    assert len(either.rows()) == 2
    either.server.always.clear()
    assert either().finished
    require_sound(either)


def test_a_fault_of_one_point_does_not_stop_the_others(either):
    either.server.faults["picture"].extend(["500"] * 5)
    with pytest.raises(FetchError, match=r"at 1 of \d+ points a request failed.*HTTP 500 \(5 attempts\)"):
        either()
    there = len(either.rows())
    assert there > 3
    either()
    assert len(either.rows()) == there + 1
    require_sound(either)


def test_a_server_that_asks_for_an_hour(either):
    either.server.faults["look"].extend(["well", "429:3600"])
    with pytest.raises(FetchError, match=r"asks to wait 3600 s"):
        either()
    assert not [wait for wait in either.waits if wait > 1]
    assert either().finished
    require_sound(either)


@pytest.mark.parametrize("kind", ["look", "picture"])
def test_a_key_that_expires(either, kind, caplog):
    either.server.faults[kind].extend(["well"] * 2)
    either.server.always[kind] = "expired"
    if kind == "picture" and "mapillary" in either.request.source:
        either.server.always = {}
        either.server.faults["picture"].append("expired")
        either.server.always["address"] = "expired"
    with caplog.at_level(logging.DEBUG), pytest.raises(FetchError, match="refused") as caught:
        either()
    assert either.key not in str(caught.value)
    assert "•••" in str(caught.value)
    assert either.key not in caplog.text
    assert len(either.rows()) == 2
    either.server.always.clear()
    assert either().finished
    require_sound(either)


def test_thumbnails_that_expire_are_asked_for_anew(from_mapillary):
    from_mapillary.server.expire_at_once = True
    assert from_mapillary().finished
    rows = from_mapillary.rows()
    assert len(rows) > 3
    addresses = Counter(name for kind, name, _ in from_mapillary.server.asked if kind == "address")
    assert addresses == Counter(row["photo_id"] for row in rows)
    require_sound(from_mapillary)


def test_a_photograph_that_was_taken_down(from_mapillary):
    from_mapillary.server.expire_at_once = True
    from_mapillary.server.faults["address"].append("well")
    down = from_mapillary.server.photos
    original = from_mapillary.server.well

    def well(kind, name, query):
        if kind == "address" and len(down) == 20:
            del down[name]
        return original(kind, name, query)

    from_mapillary.server.well = well
    outcome = from_mapillary()
    assert (outcome.gone, outcome.finished) == (1, True)
    before = len(from_mapillary.server.asked)
    assert from_mapillary().finished
    assert len(from_mapillary.server.asked) == before


def test_an_empty_place(google_server, mapillary_server, from_google, from_mapillary):
    google_server.empty, mapillary_server.photos = True, {}
    for job in (from_google, from_mapillary):
        job.out = job.out.with_name(job.request.source)
        outcome = job()
        assert (outcome.photographs, outcome.empty, outcome.finished) == (0, outcome.points, True)
        assert job.rows() == []


def test_the_budget(either):
    runs = 0
    outcome = either(max_requests=7)
    while not outcome.finished:
        assert outcome.requests == 7
        runs += 1
        outcome = either(max_requests=7)
    assert runs >= 2
    require_sound(either)
    before = len(either.server.asked)
    again = either()
    assert (again.requests, len(either.server.asked)) == (0, before)


def test_retries_count_against_the_budget(either):
    either.server.always["look"] = "429"
    assert either(max_requests=3).requests == 3 == len(either.server.asked)


def test_the_rate(either):
    either(rate=4.0)
    assert 0.25 * 0.8 < max(either.waits) < 100
    assert len(either.waits) >= len(either.server.asked) - 1


def test_the_same_fetch_gives_the_same_bytes(either, tmp_path):
    either()
    first = either.tree()
    either.out = tmp_path / "again"
    either()
    assert either.tree() == first


def test_another_request_is_refused(either):
    either()
    either.request = dataclasses.replace(either.request, seed=4)
    with pytest.raises(InputError, match=r"other settings \(seed, points_sha256\)"):
        either()


def test_a_folder_of_something_else_is_refused(either):
    either.out.mkdir()
    (either.out / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        either()
    assert [p.name for p in either.out.iterdir()] == ["thesis.txt"]


def test_a_line_of_the_journal_that_was_cut_short(either):
    either(max_requests=9)
    journal = either.out / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"photograph": "10')
    assert either().finished
    require_sound(either)
    assert journal.read_bytes().startswith(whole)


def test_a_damaged_journal(either):
    either(max_requests=9)
    journal = either.out / "journal.jsonl"
    journal.write_bytes(b'{"point": 0}\n' + journal.read_bytes())
    with pytest.raises(InputError, match="line 1: this journal is damaged"):
        either()


def test_google_needs_permission_and_roads(roads):
    with pytest.raises(InputError, match="unless Google has agreed to it in writing"):
        FetchRequest(GoogleOptions(), points=1, near=NEAR, roads=roads)
    with pytest.raises(InputError, match="--roads"):
        FetchRequest(GoogleOptions(), points=1, near=NEAR, permission="yes")
    with pytest.raises(InputError, match="looks to the left"):
        FetchRequest(MapillaryOptions(side="left"), points=1, near=NEAR)


def command(job, roads, *more):
    google = ("--permission", "yes, in writing", "--size", "64") if job.request.source == "google" else ()
    return [
        *("dataset", "fetch", "--source", job.request.source, f"--near={NEAR[0]},{NEAR[1]}", "--radius", "0.3"),
        *("--roads", str(roads), "--points", "12", "--rate", "100", "--endpoint", job.server.address),
        *("--out", str(job.out), *google, *more),
    ]


def variables(job):
    name = {"google": "GOOGLE_MAPS_API_KEY", "mapillary": "MAPILLARY_ACCESS_TOKEN"}[job.request.source]
    return {name: job.key}


# The loudest a user can make it: every logger at its lowest level, on standard error.
_LOUD = "import logging; logging.basicConfig(level=1); from atlas.cli import main; main()"


def process(job, arguments, **more):
    environment = {**os.environ, **variables(job), **more}
    return subprocess.run(
        [sys.executable, "-c", _LOUD, *arguments], capture_output=True, env=environment, timeout=60, check=False
    )


def test_the_command_tells_no_key_however_loud(either, roads):
    ended = process(either, command(either, roads))
    assert ended.returncode == 0, ended.stderr
    assert b"photographs; 12 of 12 points looked at" in ended.stdout
    either.server.always["look"] = "expired"
    either.out = either.out.with_name("second")
    refused = process(either, command(either, roads))
    assert refused.returncode == 2
    assert b"refused" in refused.stderr.splitlines()[-1]
    for text in (ended.stdout, ended.stderr, refused.stdout, refused.stderr):
        assert either.key.encode() not in text
        assert b"SECRET" not in text  # nor in its escaped form


@pytest.mark.parametrize("point", ["fetch.look:4", "fetch.photograph:3", "fetch.photograph:5"])
def test_killed_and_run_again(either, roads, point):
    killed = process(either, command(either, roads), ATLAS_FAULT=point)
    assert killed.returncode == -signal.SIGKILL
    ended = process(either, command(either, roads))
    assert ended.returncode == 0, ended.stderr
    require_sound(either)
    resumed = either.tree()
    either.out = either.out.with_name("at once")
    assert process(either, command(either, roads)).returncode == 0
    assert {**either.tree(), "journal.jsonl": b""} == {**resumed, "journal.jsonl": b""}


def test_two_at_once_are_refused(either, roads):
    import fcntl

    either(max_requests=5)
    with (either.out / "journal.jsonl").open("ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process is fetching"):
            either()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--near", "here"], "--near must be LAT,LON"),
        (["--near", "91,0"], "latitude within 85"),
        (["--rate", "0"], "--rate must be"),
        (["--max-requests", "0"], "--max-requests must be"),
        (["--points", "0"], "must be at least 1"),
        (["--stratify", "income"], "give --areas and --imd"),
        (["--roads", "nowhere.geojson"], "is not there"),
        (["--endpoint", "gopher://x"], "cannot be asked"),
    ],
)
def test_bad_options_are_one_line(either, roads, more, said):
    result = CliRunner(env=variables(either)).invoke(main, command(either, roads, *more))
    assert result.exit_code == 2, result.output
    assert said in result.stderr.splitlines()[-1]


def test_no_key(either, roads):
    result = CliRunner(env=dict.fromkeys(variables(either), "")).invoke(main, command(either, roads))
    assert result.exit_code == 2
    assert f"no key: put it in the environment as {next(iter(variables(either)))}" in result.stderr
    assert not either.out.exists()


def test_what_was_fetched_can_be_imported(either, roads, region, atlas):
    from pipeline.photos.dataset import open_dataset

    either()
    for i, code in enumerate(region.areas):
        west = -0.105 + 0.005 * i
        region.areas[code] = [[[west, 51.4], [west + 0.005, 51.4], [west + 0.005, 51.6], [west, 51.6], [west, 51.4]]]
    region.write()
    result = atlas(
        *("dataset", "import", either.out, "--photos-csv", either.out / "photos.csv", "--size", "16"),
        *("--areas", region.folder / "areas.geojson", "--imd", region.folder / "file7.csv", "--out", region.out),
    )
    assert result.exit_code == 0, result.stderr
    dataset = open_dataset(region.out)
    assert len(dataset) == len(either.rows())
    assert {photo.attributes["contributor"] for photo in dataset.photos} == {r["contributor"] for r in either.rows()}
