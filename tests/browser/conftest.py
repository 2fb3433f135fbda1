"""A real archive, packed and built into a site, and a real Chromium that looks at it."""

import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import quote

import numpy as np
import pytest

from atlas.archive import ArchiveInfo, ArchiveWriter, open_atlas
from atlas.grid import AXES, Grid
from atlas.packs import build_packs
from atlas.preset import PackSettings, SiteSettings
from atlas.site import build_site

STEPS, SIZE = 2, 56  # 56 is no multiple of 16, and makes two packs
TITLE = "Streets <script>document.title = 'run'</script> & <b>houses</b>"
NAMES = ("seed 1", "b&b=ü <i>", "3")


def node_image(base, health, income, education):
    """A picture by which its node can be told: three bars, as long as the three indices, on the base's own ground."""
    ground = np.array([(60, 70, 110), (110, 70, 60), (60, 110, 70)][base], dtype=float)
    image = np.empty((SIZE, SIZE, 3))
    image[:] = ground + np.linspace(0, 30, SIZE)[:, None, None]
    for bar, (index, colour) in enumerate(
        zip((health, income, education), ((230, 80, 60), (230, 220, 90), (90, 180, 240)), strict=True)
    ):
        top = 6 + 16 * bar
        image[top : top + 12, : 8 + 11 * index] = colour
    return image.round().astype(np.uint8)


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The folder ROOT/some/where with a site in it, and the archive that it shows."""
    root = tmp_path_factory.mktemp("web")
    grid = Grid(bases=3, steps=STEPS)
    info = ArchiveInfo(
        TITLE, "browser", grid, SIZE, 2, 4, "projector", "a" * 64, "b" * 64, "CC0-1.0", "Drawn <here>", 0.7, 1, NAMES
    )
    archive = root / "browser.zarr"
    writer = ArchiveWriter.create(archive, info, np.zeros((3, 2, 4), "f4"), np.ones((3, 2, 4), "f4"), resume=False)
    for base, health in grid.planes():
        plane = [[node_image(base, health, i, e) for e in range(grid.side)] for i in range(grid.side)]
        writer.write_plane(base, health, np.array(plane))
    distance = np.abs(np.indices(grid.shape[1:]) - STEPS).sum(axis=0)
    typicality = np.broadcast_to(1 - distance / 6, grid.shape).astype("f4")
    writer.finish(np.zeros((*grid.shape, 3), "f4"), typicality)
    build_packs(archive, root / "packs", PackSettings(quality=90))
    (root / "report.json").write_text(json.dumps(report()))
    folder = root / "some" / "where"
    build_site(root / "packs", folder, report=root / "report.json", settings=SiteSettings(authors="The testers"))
    opened = open_atlas(archive)
    images = np.stack([[opened.plane(b, h) for h in range(grid.side)] for b in range(grid.bases)]).astype(np.int16)
    return SimpleNamespace(root=root, folder=folder, archive=opened, images=images)


def report():
    """Tables as wide as real ones are."""
    cell = [-12.34, -12.34, -12.34]
    kind = {"table": [[cell] * 3] * 3, "times": [10.5] * 3, "reached": False}
    look = {"change": -0.123, "interval": [-0.123, -0.123]}
    looks = dict.fromkeys(("vegetation", "sky", "brightness", "saturation", "edges"), look)
    curve = {name: [0.0, 1.0] for name in ("at", "percentile", "low", "high")}
    typicality = {"at": [-1, -0.5, 0, 0.5, 1], "typicality": dict.fromkeys(AXES, [0.01] * 5)}
    names = ["hedge", "door_hue", "brick_tone"]
    row = {"precision": 0.7, "recall": 0.6, "f1": 0.65, "auc": 0.71, "f1_interval": [0.6, 0.7]}
    row |= {"auc_interval": [0.62, 0.79], "n": 12345, "n_train": 987, "areas": 1187, "folds": 5}
    paper = {"method": "E4E", "precision": 0.794, "recall": 0.721, "f1": 0.756}
    protocols = ({"protocol": "random"}, {"protocol": "blocks", "p": 0.0049})
    return {
        "references": ["features"],
        "directions": {"projector": "partial"},
        "units": {"projector": dict.fromkeys(AXES, curve)},
        "moves": {"projector": {"bases": 12, "measured": [[cell] * 3] * 3}},
        "changes": {"projector": {"bases": 64, "axes": dict.fromkeys(AXES, looks), **typicality}},
        "validation": {
            "projector": {"attributes": names, "bases": 64, "bar": 5.0, "kinds": {"partial": kind, "orthogonal": kind}}
        },
        "table1": [
            {"axis": axis, "method": method, **row, **protocol}
            for method in ("projector", "features")
            for axis in AXES
            for protocol in protocols
        ],
        "paper_table1": [{"axis": axis, **paper} for axis in AXES],
        "dataset": {"photographs": 2000, "areas": 334},
    }


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


@pytest.fixture(scope="session")
def http(built):
    """The site's address under a sub-path of a plain server, which knows neither ranges nor headers."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(built.root))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/some/where/"
        server.shutdown()


@pytest.fixture(scope="session")
def file(built):
    """The same site, opened from disk."""
    return (built.folder / "index.html").as_uri()


class Visit:
    """A page, everything that it said and asked for, and what a person would do with it."""

    def __init__(self, page, images):
        self.page, self.images = page, images
        self.said, self.asked = [], []
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("dialog", lambda dialog: self.said.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: self.asked.append(request.url))

    def open(self, address, until="load"):
        self.page.goto(address, wait_until=until)
        return self

    def slider(self, axis):
        return self.page.locator(f"#{axis}")

    def drag(self, axis, share, release=True):
        """Drag the thumb of a slider from where it is to a share 0 … 1 of its track, by mouse."""
        slider = self.slider(axis)
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        low, high, now = (int(slider.get_attribute("min")), int(slider.get_attribute("max")), slider.input_value())
        thumb = 26
        start = box["x"] + thumb / 2 + (int(now) - low) / (high - low) * (box["width"] - thumb)
        y = box["y"] + box["height"] / 2
        self.page.mouse.move(start, y)
        self.page.mouse.down()
        self.page.mouse.move(box["x"] + share * box["width"], y, steps=6)
        if release:
            self.page.mouse.up()

    def shows(self, street=0, health=0, income=0, education=0, sharp=True):
        """Wait until the canvas claims to show a node; check that it does, pixel by pixel where the page may look."""
        view = f"#street={quote(NAMES[street])}&health={health}&income={income}&education={education}"
        place = f'[data-view="{view}"][data-sharp={str(sharp).lower()}]'
        self.page.locator(f"#canvas{place}").wait_for(timeout=15000)
        assert self.page.locator("#street-number").inner_text() == str(street + 1)
        pixels = self.pixels()
        if sharp:
            assert self.nearest(pixels) == (street, health, income, education)
        return pixels

    def pixels(self):
        script = """canvas => {
            const copy = document.createElement("canvas");
            [copy.width, copy.height] = [canvas.width, canvas.height];
            const brush = copy.getContext("2d", { willReadFrequently: true });
            brush.drawImage(canvas, 0, 0);
            return Array.from(brush.getImageData(0, 0, copy.width, copy.height).data);
        }"""
        data = self.page.locator("#canvas").evaluate(script)
        return np.array(data).reshape(SIZE, SIZE, 4)[..., :3].astype(np.int16)

    def nearest(self, pixels, within=5):
        """The node of the archive whose image is nearest, by (street, three steps); it must be near indeed."""
        distance = np.abs(self.images - pixels).mean(axis=(4, 5, 6))
        best = np.unravel_index(distance.argmin(), distance.shape)
        assert distance[best] < within
        return (int(best[0]), *(int(i) - STEPS for i in best[1:]))


@pytest.fixture
def visit(chromium, built):
    """Make visits; whoever made them must have seen an empty console and no foreign host."""
    contexts = []

    def make(*, silent=True, **options):
        context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        made = Visit(context.new_page(), built.images)
        contexts.append((context, made, silent))
        return made

    yield make
    for context, made, silent in contexts:
        context.close()
        assert not silent or made.said == []
        assert {url.partition("://")[0] for url in made.asked} <= {"http", "file"}
        assert all(url.startswith(("http://127.0.0.1:", f"file://{built.folder}/")) for url in made.asked)
