import json

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.cli import main
from atlas.errors import InputError
from atlas.hosts import HOSTS, Host
from atlas.plan import _fit, plan
from atlas.preset import InvertSettings, PackSettings, Preset, RenderSettings, find_preset, load_preset


def a_preset(bases="random:8", steps=5, quality=80):
    return Preset("x", "X", render=RenderSettings(bases=bases, steps=steps), pack=PackSettings(quality))


def run(*arguments):
    return CliRunner().invoke(main, ["plan", *arguments])


def test_the_call_that_checks_make():
    result = run("presets/paper.toml", "--size", "256", "--host", "github-pages", "--json")
    assert result.exit_code == 0, result.output
    value = json.loads(result.stdout)
    assert value["images"] == 937_500
    assert value["fits"] is False
    assert value["limit"] == "bytes"
    assert value["bytes"] > 1_000_000_000
    assert value["files"] > 60 * 800
    assert value["layout"]["sheets"]["block"] == [2, 2, 5]
    assert [h["host"] for h in value["hosts"]] == ["github-pages"]
    for stage in ("train", "invert", "render", "pack"):
        assert value["seconds"][stage]["estimate"] > 0
        assert value["seconds"][stage]["basis"]
    assert "estimate" in value["seconds"]["train"]["basis"]


def test_all_hosts_are_listed_with_their_sources():
    result = run("paper")
    assert result.exit_code == 0
    for host in HOSTS.values():
        assert host.title in result.output
        assert host.note in result.output
    assert "937,500" in result.output


def test_a_small_atlas_fits_every_host_for_sites():
    made = plan(load_preset(find_preset("calibration")))
    assert all(fit.fits for fit in made.hosts)
    assert made.to_json()["limit"] is None


def test_the_projector_s_time_is_that_of_the_photographs_it_inverts():
    def seconds(**settings):
        return plan(Preset("x", "X", invert=InvertSettings(**settings))).seconds["invert"][0]

    every = seconds(compared=100)
    assert seconds(methods=("e4e", "restyle")) == 0
    assert seconds(limit=300, compared=100) == pytest.approx(every * 400 / 2000)
    assert seconds(limit=1990, compared=100) == every


def test_numbers_can_be_replaced():
    made = plan(a_preset(), size=32, steps=2, bases=3)
    assert (made.grid.images, made.size) == (3 * 125, 32)


def test_what_the_plan_says_is_what_the_packs_are(tmp_path, helpers):
    """Files exactly; bytes within the spread of pictures, which are smoother here than photographs."""
    from atlas.packs import build_packs
    from atlas.preset import SiteSettings
    from atlas.site import build_site

    info = helpers.info(bases=2, steps=2, size=24)
    build_packs(helpers.archive(tmp_path / "x.zarr", info), tmp_path / "packs", PackSettings())
    build_site(tmp_path / "packs", tmp_path / "site", report=None, settings=SiteSettings())
    built = [p for p in (tmp_path / "site").rglob("*") if p.is_file()]
    made = plan(a_preset("random:2", 2), size=24)
    assert made.files == len(built)
    assert made.bytes / 4 < sum(p.stat().st_size for p in built) < made.bytes
    archived = sum(p.stat().st_size for p in (tmp_path / "x.zarr").rglob("*") if p.is_file())
    assert archived < made.archive_bytes + 20_000


@given(st.integers(1, 80), st.integers(1, 12), st.sampled_from([32, 64, 256, 512]), st.integers(20, 95))
@settings(max_examples=30)
def test_more_is_never_less(bases, steps, size, quality):
    small, more = plan(a_preset(quality=quality), size=size, steps=steps, bases=bases), None
    for more in (
        plan(a_preset(quality=quality), size=size, steps=steps, bases=bases + 1),
        plan(a_preset(quality=quality), size=size * 2, steps=steps, bases=bases),
        plan(a_preset(quality=quality), size=size, steps=steps + 1, bases=bases),
    ):
        assert more.bytes > small.bytes
        assert more.archive_bytes > small.archive_bytes


@pytest.mark.parametrize(
    ("site", "files", "largest", "archive", "limit"),
    [
        (1000, 10, 100, 5000, None),
        (1001, 10, 100, 5000, "bytes"),
        (1000, 11, 100, 5000, "files"),
        (1000, 10, 101, 5000, "file_bytes"),
    ],
)
def test_limits_to_the_last_byte(site, files, largest, archive, limit):
    fit = _fit(Host("h", "H", 10, 1000, 100, "site", ""), site, files, largest, archive)
    assert (fit.fits, fit.limit) == (limit is None, limit)


def test_a_repository_takes_archive_and_zipped_site():
    host = Host("h", "H", 2, 6000, 5000, "deposit", "")
    assert _fit(host, 1000, 99_999, 1, 5000).fits
    assert _fit(host, 1001, 1, 1, 5000).limit == "bytes"
    assert _fit(host, 10, 1, 1, 5001).limit == "file_bytes"


def test_inverted_bases_are_counted():
    assert plan(a_preset("inverted:a.png,b.png,c.png")).grid.bases == 3


@pytest.mark.parametrize("bases", ["random:", "random:0", "random:x", "inverted:", "inverted:a,,b", "all"])
def test_bases_that_mean_nothing(bases):
    with pytest.raises(InputError, match="must be random:COUNT"):
        plan(a_preset(bases))


def test_bad_input_is_one_line_and_exit_code_2(tmp_path):
    assert run("nothing.toml").exit_code == 2
    assert run("paper", "--host", "geocities").exit_code == 2
    result = run("paper", "--size", "5000")
    assert result.exit_code == 2
    assert "Error: size must be 1 … 4096 pixels, got 5000" in result.output
    assert result.output.count("\n") == 1
    with pytest.raises(InputError, match="host must be one of github-pages"):
        plan(a_preset(), host="geocities")
    with pytest.raises(InputError, match="at least 1 base"):
        plan(a_preset(), bases=0)
