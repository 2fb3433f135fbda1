import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser

import pytest

from atlas.errors import InputError
from atlas.hosts import HEADERS, headers_file, netlify_toml
from atlas.packs import build_packs
from atlas.preset import PackSettings, SiteSettings
from atlas.site import build_site
from atlas.stage import run_stage
from atlas.stages import pack_stage, site_stage

EVIL = "</title><script>alert(1)</script>\"'&"
REPORT = {
    "methods": ["projector"],
    "axes": ["health", "income", "education"],
    "dataset": {"photographs": 2000, "areas": 334},
    "table1": [
        {
            "axis": axis, "method": "projector", "protocol": "area", "precision": 0.7, "recall": 0.6, "f1": f1,
            "auc": 0.71, "f1_interval": [f1 - 0.04, f1 + 0.04], "auc_interval": [0.49, 0.78],
            "n": 1234, "n_train": 987, "areas": 187, "folds": 5,
        }
        for axis, f1 in (("health", 0.66), ("income", 0.61), ("education", 0.63))
    ],
    "paper_table1": [{"axis": "income", "method": "E4E", "precision": 0.794, "recall": 0.721, "f1": 0.756}],
    "retained": {"projector": [0.5, 0.42, 0.31]},
    "warnings": ["projector: little is left of <health>"],
}  # fmt: skip


@pytest.fixture(scope="module")
def packs(archive, tmp_path_factory):
    out = tmp_path_factory.mktemp("packs")
    build_packs(archive, out, PackSettings())
    return out


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.json"
    path.write_text(json.dumps(REPORT))
    return path


@pytest.fixture(scope="module")
def site(packs, report, tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    build_site(packs, out, report=report, settings=SiteSettings())
    return out


class Page(HTMLParser):
    """Elements, references and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.inside, self.scripts = [], [], []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside.append(tag)

    def handle_endtag(self, tag):
        while self.inside and self.inside.pop() != tag:
            pass

    def handle_data(self, data):
        if self.inside and self.inside[-1] in ("script", "style"):
            self.scripts.append(data)
        else:
            self.text += data

    def references(self):
        return [a[name] for _, a in self.elements for name in ("src", "href") if a.get(name)]


def test_every_file_is_listed_with_its_hash(site):
    lines = (site / "manifest-sha256.txt").read_text().splitlines()
    listed = dict(reversed(line.split("  ")) for line in lines)
    on_disk = {p.relative_to(site).as_posix() for p in site.rglob("*") if p.is_file()}
    assert set(listed) == on_disk - {"manifest-sha256.txt"}
    assert list(listed) == sorted(listed)
    assert all(hashlib.sha256((site / name).read_bytes()).hexdigest() == digest for name, digest in listed.items())


def test_manifest_and_its_script_say_the_same(site, packs):
    value = json.loads((site / "manifest.json").read_text())
    script = (site / "manifest.js").read_text()
    assert json.loads(script.removeprefix("var ATLAS_MANIFEST = ").removesuffix(";\n")) == value
    assert value["packs"] == json.loads((packs / "packs.json").read_text())
    for entry in value["page"]:
        assert (site / entry["file"]).stat().st_size == entry["bytes"]


def test_references_are_relative_and_there(site):
    page = Page((site / "index.html").read_text())
    references = [r for r in page.references() if not r.startswith("#")]
    assert len(references) > 10
    for reference in references:
        assert re.fullmatch(r"[a-z0-9][\w./-]*", reference), reference
        assert (site / reference).is_file(), reference


def test_nothing_is_inline_and_the_policy_is_strict(site):
    page = Page((site / "index.html").read_text())
    assert "".join(page.scripts).strip() == ""
    for tag, attributes in page.elements:
        assert tag != "style"
        assert not [name for name in attributes if name == "style" or name.startswith("on")], tag
        assert tag != "script" or attributes["src"]
        assert "integrity" not in attributes  # it blocks a page opened from disk
        assert attributes.get("type") != "module"
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'")
    assert "unsafe" not in policy
    assert page.elements.index(("meta", {"http-equiv": "Content-Security-Policy", "content": policy})) < 5


def test_no_foreign_address_anywhere(site):
    for path in site.rglob("*"):
        if path.suffix in (".html", ".js", ".css", ".json"):
            assert "://" not in path.read_text(), path


def test_controls_are_native_and_labelled(site):
    elements = Page((site / "index.html").read_text()).elements
    ranges = {a["id"]: a for tag, a in elements if tag == "input" and a.get("type") == "range"}
    assert list(ranges) == ["health", "income", "education"]
    for axis, slider in ranges.items():
        assert (slider["min"], slider["max"], slider["step"], slider["value"]) == ("-1", "1", "1", "0")
        assert slider["aria-valuetext"] == "as in the original"
        assert any(tag == "label" and a.get("for") == axis for tag, a in elements)
        assert any(tag == "output" and a.get("for") == axis for tag, a in elements)
    live = [a for _, a in elements if a.get("aria-live") not in (None, "off")]
    assert len(live) == 1
    assert live[0]["aria-live"] == "polite"
    assert all("alt" in a for tag, a in elements if tag == "img")


def test_the_page_without_script_has_picture_words_and_tables(site):
    page = Page((site / "index.html").read_text())
    assert any(tag == "img" and re.match(r"a/0/original\.", a["src"]) for tag, a in page.elements)
    assert "goes together" in page.text
    assert "rests on 2,000 pictures of streets from 334 areas." in " ".join(page.text.split())
    assert "interval of the AUC reaches down to 0.5 is no evidence" in " ".join(page.text.split())
    assert sum(tag == "image" for tag, _ in page.elements) == 9
    for cell in (
        "0.66",
        "0.62 – 0.70",
        "0.71",
        "0.49 – 0.78",
        "1,234",
        "by area, 187 areas, 5 folds",
        "0.76",
        "health 50%",
    ):
        assert cell in page.text
    assert "little is left of <health>" in page.text  # escaped in the file, itself in the text


def test_without_a_report_there_is_no_table_of_numbers(packs, tmp_path):
    build_site(packs, tmp_path, report=None, settings=SiteSettings())
    text = (tmp_path / "index.html").read_text()
    assert "Can the measures be read" not in text
    assert "rests on" not in text


WARNING = "projector: the boundary of <income> does no better than chance"


@pytest.mark.parametrize("with_report", [False, True])
def test_what_the_archive_warns_of_is_on_the_page_with_and_without_a_report(tmp_path, helpers, report, with_report):
    both = REPORT["warnings"][0]
    info = helpers.info(warnings=(WARNING, both))
    build_packs(helpers.archive(tmp_path / "x.zarr", info), tmp_path / "packs", PackSettings())
    build_site(tmp_path / "packs", tmp_path / "site", report=report if with_report else None, settings=SiteSettings())
    page = Page((tmp_path / "site" / "index.html").read_text())
    assert "What to be wary of" in page.text
    assert page.text.count(WARNING) == page.text.count(both) == 1
    assert page.text.index(WARNING) < page.text.index(both)


def test_without_warnings_there_is_no_section_of_them(packs, tmp_path):
    build_site(packs, tmp_path, report=None, settings=SiteSettings())
    assert "What to be wary of" not in (tmp_path / "index.html").read_text()


NOT_SHOWN = "The pictures that it studied are not shown here"


@pytest.mark.parametrize(
    ("licence", "marked", "said"),
    [
        ("CC0-1.0", None, False),
        ("CC0-1.0", False, False),
        ("CC0-1.0", True, True),
        ("", None, True),
        ("Photographs © Nobody, all rights reserved", False, True),
    ],
)
def test_pictures_that_must_stay_at_home(tmp_path, helpers, licence, marked, said):
    build_packs(helpers.archive(tmp_path / "x.zarr", helpers.info(licence=licence)), tmp_path / "packs", PackSettings())
    path = tmp_path / "report.json"
    if marked is not None:
        dataset = {**REPORT["dataset"], "local_only": marked}
        figures = {"photographs": {"files": ["figures/photographs.png"], "local_only": marked}}
        path.write_text(json.dumps({**REPORT, "dataset": dataset, "figures": figures}))
    site = tmp_path / "site"
    build_site(tmp_path / "packs", site, report=path if path.exists() else None, settings=SiteSettings())
    assert (NOT_SHOWN in (site / "index.html").read_text()) == said
    assert not [p for p in site.rglob("*") if p.is_file() and b"photographs.png" in p.read_bytes()]


def test_foreign_text_is_escaped(tmp_path, helpers):
    names = ("<img src=x onerror=alert(1)>", "b\"'&")
    info = helpers.info(title=EVIL, attribution=EVIL, licence=EVIL, base_names=names)
    build_packs(helpers.archive(tmp_path / "x.zarr", info), tmp_path / "packs", PackSettings())
    build_site(tmp_path / "packs", tmp_path / "site", report=None, settings=SiteSettings(authors=EVIL))
    for name in ("index.html", "404.html"):
        page = Page((tmp_path / "site" / name).read_text())
        assert EVIL in page.text
        assert "".join(page.scripts).strip() == ""
        assert not [a for _, a in page.elements if "onerror" in a]
    streets = next((tmp_path / "site" / "a").glob("streets.*.js")).read_text()
    assert (
        json.loads(streets.removeprefix('ATLAS.put("streets", ').removesuffix(");\n"))["streets"][0]["name"] == names[0]
    )


def test_absolute_addresses_only_where_one_is_given(packs, tmp_path):
    build_site(packs, tmp_path, report=None, settings=SiteSettings(url="https://example.org/atlas"))
    text = (tmp_path / "index.html").read_text()
    assert '<link rel="canonical" href="https://example.org/atlas/">' in text
    assert re.search(r'property="og:image" content="https://example\.org/atlas/a/0/original\.\w{12}\.jpg"', text)
    for url in ("javascript:alert(1)", "https://example.org/<b>", "example.org"):
        with pytest.raises(InputError, match=r"site\.url must be"):
            build_site(packs, tmp_path, report=None, settings=SiteSettings(url=url))


def test_what_killed_writers_left_is_removed_and_nothing_else(packs, tmp_path):
    build_site(packs, tmp_path, report=None, settings=SiteSettings())
    (tmp_path / "download").mkdir()
    leftovers = [tmp_path / ".index.html.x1.partial", tmp_path / "a" / "0" / ".key.x1.partial"]
    theirs = [tmp_path / "film.mp4.partial", tmp_path / "download" / ".film.partial"]
    for path in (*leftovers, *theirs):
        path.write_text("half")
    build_site(packs, tmp_path, report=None, settings=SiteSettings())
    assert [path.exists() for path in (*leftovers, *theirs)] == [False, False, True, True]


def test_unchanged_files_are_not_touched_and_strangers_stay(packs, report, tmp_path, helpers):
    (tmp_path / "CNAME").write_text("example.org")
    (tmp_path / ".gitkeep").touch()
    build_site(packs, tmp_path, report=report, settings=SiteSettings())
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    (tmp_path / "a" / "stale.0123456789ab.js").write_text("old")
    (tmp_path / "a" / "9").mkdir()
    build_site(packs, tmp_path, report=report, settings=SiteSettings())
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == before
    assert not (tmp_path / "a" / "9").exists()
    assert (tmp_path / "CNAME").read_text() == "example.org"
    build_site(packs, tmp_path, report=report, settings=SiteSettings(authors="Someone else"))
    touched = {p.name for p in before if p.stat().st_mtime_ns != before[p]}
    assert touched == {"index.html", "manifest-sha256.txt"}


def test_a_damaged_file_is_put_right(packs, site, tmp_path, report, helpers):
    build_site(packs, tmp_path, report=report, settings=SiteSettings())
    victim = next((tmp_path / "a" / "0").glob("thumbs.*"))
    victim.unlink()
    victim.write_bytes(b"not a picture")
    build_site(packs, tmp_path, report=report, settings=SiteSettings())
    assert helpers.tree(tmp_path) == helpers.tree(site)


def test_damaged_packs_are_refused(archive, tmp_path):
    build_packs(archive, tmp_path / "packs", PackSettings())
    sheet = next((tmp_path / "packs" / "a" / "0").glob("sheet-0.*"))
    data = bytearray(sheet.read_bytes())
    data[-20] ^= 1
    sheet.write_bytes(data)
    with pytest.raises(InputError, match="is damaged: make the packs again"):
        build_site(tmp_path / "packs", tmp_path / "site", report=None, settings=SiteSettings())
    sheet.unlink()
    with pytest.raises(InputError, match="is missing: make the packs again"):
        build_site(tmp_path / "packs", tmp_path / "site", report=None, settings=SiteSettings())
    assert not (tmp_path / "site" / "index.html").exists()


def test_a_strangers_folder_is_not_taken_over(packs, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="did not make"):
        build_site(packs, tmp_path, report=None, settings=SiteSettings())
    assert (tmp_path / "a" / "letter.txt").exists()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "a").symlink_to(tmp_path / "a")
    with pytest.raises(InputError, match="it is a link"):
        build_site(packs, tmp_path / "b", report=None, settings=SiteSettings())


BUILD = """
import sys
from pathlib import Path
from atlas.preset import SiteSettings
from atlas.site import build_site
build_site(Path(sys.argv[1]), Path(sys.argv[2]), report=Path(sys.argv[3]), settings=SiteSettings())
"""


@pytest.mark.parametrize("passing", [1, 4, 12, 19])
def test_killed_and_gone_on(packs, report, site, tmp_path, helpers, passing):
    command = [sys.executable, "-c", BUILD, str(packs), str(tmp_path), str(report)]
    killed = subprocess.run(command, env={**os.environ, "ATLAS_FAULT": f"site.file:{passing}"}, check=False)
    assert killed.returncode == -9
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    assert len(kept) == passing
    subprocess.run(command, check=True)
    assert {p: p.stat().st_mtime_ns for p in kept} == kept
    assert helpers.tree(tmp_path) == helpers.tree(site)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("table1"), "the key 'table1' is missing"),
        (lambda r: r["table1"][0].pop("auc"), "the key 'auc' is missing"),
        (lambda r: r["table1"][0].update(f1="good"), "not a report"),
        (lambda r: r["table1"][0].update(axis="crime"), "'crime' is none of"),
        (lambda r: r["table1"][0].update(f1_interval=[1]), "not a report"),
        (lambda r: r.update(retained={"projector": [1]}), "not a report"),
    ],
)
def test_reports_that_cannot_be_read(packs, tmp_path, change, message):
    value = json.loads(json.dumps(REPORT))
    change(value)
    path = tmp_path / "report.json"
    path.write_text(json.dumps(value))
    with pytest.raises(InputError, match=message):
        build_site(packs, tmp_path / "site", report=path, settings=SiteSettings())


def test_an_absent_report(packs, tmp_path):
    with pytest.raises(InputError, match="written by `atlas boundaries`"):
        build_site(packs, tmp_path, report=tmp_path / "report.json", settings=SiteSettings())


# Headers


def test_headers_of_all_hosts_are_one_table(repository, site):
    committed = (repository / "netlify.toml").read_text()
    assert committed == netlify_toml()
    parsed = tomllib.loads(committed)
    assert parsed["build"] == {"publish": "site"}
    assert {h["for"]: h["values"] for h in parsed["headers"]} == HEADERS
    assert (site / "_headers").read_text() == headers_file()
    table, pattern = {}, ""
    for line in headers_file().splitlines():
        if line.startswith("/"):
            pattern = line
            table[pattern] = {}
        elif line:
            name, _, value = line.strip().partition(": ")
            table[pattern][name] = value
        assert len(line) <= 2000
    assert table == HEADERS


def test_the_header_and_the_page_have_the_same_policy(site):
    page = Page((site / "index.html").read_text())
    policy = next(a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy == HEADERS["/*"]["Content-Security-Policy"]


# Stages


def test_stages_skip_what_is_up_to_date(archive, report, tmp_path, helpers):
    packs, site = tmp_path / "packs", tmp_path / "site"
    lines = []

    def run():
        pack = pack_stage(archive, PackSettings(), packs, packs / "stage.json")
        ran = run_stage(*pack, log=lines.append)
        built = site_stage(packs, report, SiteSettings(), site, site / "stage.json")
        return ran, run_stage(*built, log=lines.append)

    assert run() == (True, True)
    first = helpers.tree(tmp_path)
    assert run() == (False, False)
    (site / "index.html").unlink()
    assert run() == (False, True)
    assert helpers.tree(tmp_path) == first
    assert "stage.json" not in (site / "manifest-sha256.txt").read_text()


def test_every_number_is_carried_as_json_but_nothing_of_figures(packs, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.dumps({**REPORT, "figures": {"photographs": {"numbers": {"shown": ["a.png"]}}}}))
    build_site(packs, tmp_path / "site", report=path, settings=SiteSettings())
    page = Page((tmp_path / "site" / "index.html").read_text())
    (reference,) = [r for r in page.references() if re.fullmatch(r"a/report\.\w{12}\.json", r)]
    assert json.loads((tmp_path / "site" / reference).read_text()) == REPORT
    assert "a.png" not in (tmp_path / "site" / reference).read_text()
