"""Which photographs are kept, and why: on drawn pictures whose faults are known."""

import csv
import io
import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from atlas.errors import InputError
from pipeline.photos.filter.filtering import FilterSettings, filter_photographs, write_labelling_page
from pipeline.photos.filter.quality import brightness, difference_hash, hamming, near_duplicates, sharpness


def street(seed):
    """A house with windows, of its own kind for each seed."""
    rng = np.random.default_rng(seed)
    image = np.full((96, 96, 3), rng.integers(120, 200, 3), np.uint8)
    image[40:] = rng.integers(60, 120, 3)
    for _ in range(12):
        y, x = rng.integers(5, 70, 2)
        image[y : y + rng.integers(6, 20), x : x + rng.integers(6, 20)] = rng.integers(0, 256, 3)
    light = Image.fromarray(rng.integers(0, 80, (8, 8), dtype=np.uint8)).resize((96, 96), Image.Resampling.BICUBIC)
    grain = rng.normal(0, 12, (96, 96))
    lit = image.astype(float) - np.asarray(light)[..., None] + grain[..., None]
    return Image.fromarray(lit.clip(0, 255).astype(np.uint8))


def meadow(seed):
    """Nothing but stripes of green."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(60, 140, 96)
    image = np.zeros((96, 96, 3), np.uint8)
    image[..., 1] = rows[:, None] + rng.integers(0, 40, (96, 96))
    return Image.fromarray(image)


def encode(image, quality=92):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


class Photographs:
    def __init__(self, folder):
        self.zip, self.csv, self.out = folder / "p.zip", folder / "p.csv", folder / "out"
        self.files, self.places = {}, {}

    def add(self, name, image, lat=51.5, lon=0.0):
        self.files[name] = image if isinstance(image, bytes) else encode(image)
        self.places[name] = (lat, lon)

    def write(self):
        with zipfile.ZipFile(self.zip, "w") as archive:
            for name, data in self.files.items():
                archive.writestr(name, data)
        with self.csv.open("w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(["file", "lat", "lon"])
            rows.writerows([name, *place] for name, place in self.places.items())

    def label(self, path, labels):
        path.write_text("file,usable\n" + "".join(f"{name},{value}\n" for name, value in labels.items()))
        return path

    def table(self):
        with (self.out / "filter.csv").open(newline="") as stream:
            return {row["file"]: row for row in csv.DictReader(stream)}


@pytest.fixture
def photographs(tmp_path):
    return Photographs(tmp_path)


def test_reasons_without_labels(photographs):
    photographs.add("fine.jpg", street(1))
    photographs.add("blurred.jpg", street(2).filter(ImageFilter.GaussianBlur(8)))
    photographs.add("dark.jpg", Image.eval(street(3), lambda v: v // 12), lat=51.6)
    photographs.add("again.jpg", encode(street(1).resize((80, 80)), quality=60), lat=51.50001)
    photographs.add("again elsewhere.jpg", encode(street(1), quality=60), lat=51.6)
    photographs.add("damaged.jpg", encode(street(5))[:200])
    photographs.write()
    report = filter_photographs(
        photographs.zip, photographs.csv, photographs.out, FilterSettings(sharpness=0.001, brightness=0.1)
    )
    table = photographs.table()
    reasons = {name: row["reason"] for name, row in table.items()}
    twin = next(name for name, reason in reasons.items() if reason == "near-duplicate")
    assert twin in ("fine.jpg", "again.jpg")
    assert {table[twin]["duplicate_of"], twin} == {"fine.jpg", "again.jpg"}
    assert reasons["blurred.jpg"] == "blurred"
    assert reasons["dark.jpg"] in ("dark", "blurred")  # darkness takes contrast too
    assert reasons["again elsewhere.jpg"] == ""
    assert (reasons["damaged.jpg"], table["damaged.jpg"]["sharpness"]) == ("damaged", "")
    assert {name: row["keep"] for name, row in table.items()} == {n: str(int(not r)) for n, r in reasons.items()}
    assert report["kept"] + sum(report["dropped"].values()) == report["photographs"] == 6
    assert report["classifier"] is None
    assert sorted(p.name for p in photographs.out.iterdir()) == ["filter.csv", "filter.json"]


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """Thirty streets and thirty meadows, half of each labelled, and two labels that overrule."""
    folder = tmp_path_factory.mktemp("learnt")
    photographs = Photographs(folder)
    for i in range(30):
        photographs.add(f"street {i}.jpg", street(i), lat=51.4 + 0.01 * i)
        photographs.add(f"meadow {i}.jpg", meadow(i), lat=51.4 + 0.01 * i, lon=0.2)
    photographs.write()
    labels = {f"{kind} {i}.jpg": int(kind == "street") for kind in ("street", "meadow") for i in range(14)}
    labels["street 20.jpg"] = 0
    first = photographs.label(folder / "labels.csv", {**labels, "street 1.jpg": 0})
    second = photographs.label(folder / "more.csv", {"street 1.jpg": 1})
    settings = FilterSettings(sharpness=0, brightness=0, bits=-1, doubtful=10)
    report = filter_photographs(photographs.zip, photographs.csv, photographs.out, settings, [first, second])
    return photographs, report, [first, second], settings


def test_a_classifier_learns_from_labels(learnt):
    photographs, report, _, _ = learnt
    table = photographs.table()
    unlabelled = {name: row for name, row in table.items() if not row["label"]}
    right = [row["keep"] == str(int(name.startswith("street"))) for name, row in unlabelled.items()]
    assert len(right) == 60 - 29
    assert np.mean(right) > 0.9
    assert (table["street 20.jpg"]["keep"], table["street 20.jpg"]["reason"]) == ("0", "labelled not usable")
    assert (table["street 1.jpg"]["keep"], table["street 1.jpg"]["label"]) == ("1", "1")
    classifier = report["classifier"]
    assert (classifier["labelled"], classifier["usable"], classifier["split"]) == (29, 14, "1 km blocks")
    for name in ("precision", "recall"):
        low, high = classifier[f"{name}_interval"]
        assert 0.5 < low <= classifier[name] <= high <= 1
    assert high - low > 0.05  # fourteen photographs do not prove more


def test_cross_validation_does_not_flatter(learnt, monkeypatch):
    """With labels that mean nothing the held-out precision is that of a coin, though the fit itself is perfect."""
    from pipeline.photos.filter.scoring import select

    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 400)).astype(np.float32)
    labels = {i: bool(v) for i, v in enumerate(rng.integers(0, 2, 200))}
    selection = select(features, labels, [str(i % 40) for i in range(200)], threshold=0.5, seed=1)
    assert 0.3 < selection.precision < 0.7
    assert selection.by_block


def test_the_doubtful_ones_are_laid_out(learnt):
    photographs, _, _, settings = learnt
    sheet = Image.open(photographs.out / "doubtful.jpg")
    assert sheet.format == "JPEG"
    assert len(list((photographs.out / "doubtful" / "thumbnails").iterdir())) == settings.doubtful
    table = photographs.table()
    page = (photographs.out / "doubtful" / "index.html").read_text()
    listed = json.loads(page.partition('id="photographs">')[2].partition("</script>")[0])
    distances = {n: abs(float(r["score"]) - 0.5) for n, r in table.items() if not r["label"]}
    chosen = {name for name, _ in listed}
    assert max(distances[n] for n in chosen) <= min(d for n, d in distances.items() if n not in chosen)


def test_the_same_again(learnt, tmp_path):
    photographs, _, labels, settings = learnt
    filter_photographs(photographs.zip, photographs.csv, tmp_path, settings, labels, workers=2)
    for file in sorted(p for p in tmp_path.rglob("*") if p.is_file()):
        assert file.read_bytes() == (photographs.out / file.relative_to(tmp_path)).read_bytes(), file.name


def test_too_few_labels(photographs, tmp_path):
    for i in range(12):
        photographs.add(f"{i}.jpg", street(i))
    photographs.write()
    labels = photographs.label(tmp_path / "l.csv", {f"{i}.jpg": int(i < 10) for i in range(12)})
    with pytest.raises(InputError, match="10 usable and 2 not: label more"):
        filter_photographs(photographs.zip, photographs.csv, photographs.out, FilterSettings(), [labels])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file\na.jpg\n", "no column 'usable'"),
        ("file,usable\na.jpg,yes\n", "row 2: usable must be 1 or 0, got 'yes'"),
        ("file,usable\nb.jpg,1\n", "row 2: 'b.jpg' is not among the photographs"),
    ],
)
def test_bad_labels(photographs, tmp_path, text, said):
    photographs.add("a.jpg", street(1))
    photographs.write()
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        filter_photographs(photographs.zip, photographs.csv, photographs.out, FilterSettings(), [tmp_path / "l.csv"])


def test_the_page_leaves_out_what_is_labelled(photographs, tmp_path):
    for i in range(6):
        photographs.add(f"{i}.jpg", street(i))
    photographs.write()
    labels = photographs.label(tmp_path / "l.csv", {"0.jpg": 1, "1.jpg": 0})
    assert write_labelling_page(photographs.zip, photographs.csv, tmp_path / "page", 100, 1, [labels]) == 4
    page = (tmp_path / "page" / "index.html").read_text()
    assert "2.jpg" in page
    assert '"0.jpg"' not in page


def test_the_command_and_the_import_that_follows(region, atlas):
    region.photos = {f"p{i}.jpg": encode(street(i)) for i in range(4)}
    region.photos["p2.jpg"] = encode(street(2).filter(ImageFilter.GaussianBlur(8)))
    arguments = region.command()
    photos, table = region.folder / "photos.zip", region.folder / "photos.csv"
    result = atlas("dataset", "filter", photos, "--photos-csv", table, "--out", region.folder / "f")
    assert result.exit_code == 0, result.stderr
    assert "3 of 4 photographs kept" in result.stdout
    assert "dropped, blurred: 1" in result.stdout
    result = atlas(*arguments, "--keep", region.folder / "f" / "filter.csv")
    assert result.exit_code == 0, result.stderr
    assert "3 of 4 photographs imported; dropped: 1 filtered: blurred" in result.stdout


def test_measures_move_as_they_should():
    image = np.asarray(street(7))
    soft = np.asarray(street(7).filter(ImageFilter.GaussianBlur(3)))
    assert sharpness(soft) < 0.2 * sharpness(image)
    assert brightness(np.zeros_like(image)) == 0
    assert brightness(np.full_like(image, 255)) == pytest.approx(1)
    small = np.asarray(street(7).resize((64, 64)))
    assert hamming(difference_hash(image), difference_hash(small)) <= 4
    assert hamming(difference_hash(image), difference_hash(np.asarray(street(8)))) > 8


@given(st.lists(st.tuples(st.integers(0, 15), st.floats(0, 0.001)), min_size=1, max_size=30), st.integers(0, 3))
def test_duplicates_stand_behind_one_that_stays(photos, bits):
    hashes, lat = [h for h, _ in photos], np.array([x for _, x in photos])
    order = list(range(len(photos)))
    found = near_duplicates(hashes, lat, np.zeros(len(photos)), order, bits=bits, metres=30)
    for index, twin in found.items():
        assert twin not in found
        assert twin < index
        assert hamming(hashes[index], hashes[twin]) <= bits
        assert abs(lat[index] - lat[twin]) * 111_195 <= 30.1
    left = [i for i in order if i not in found]
    for a in left:
        for b in left:
            alike = a != b and hamming(hashes[a], hashes[b]) <= bits
            assert not (alike and abs(lat[a] - lat[b]) * 111_195 < 29.9)
