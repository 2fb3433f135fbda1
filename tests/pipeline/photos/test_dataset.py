"""dataset.zip: round trips, golden bytes, the official layout, and everything that can be wrong with one."""

import csv
import hashlib
import io
import json
import struct
import weakref
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from atlas.errors import InputError
from pipeline.photos.dataset import (
    Photo,
    check_size,
    encode_png,
    member_name,
    open_dataset,
    write_dataset,
    write_encoded,
)

GOLDEN = "fac3e7faf19c82117dc54e02ca54fae9c934cf9aed2bb282336e2711a473020f"


def photo(i=0, **changes):
    values = {
        "file": "",
        "source": "photos.zip",
        "source_id": f"p{i}.jpg",
        "lat": 51.5 + i / 7,
        "lon": -0.1,
        "taken": "2018-07",
        "area": f"E0100000{i}",
        "ranks": (i + 1, 2, 3),
        "percentiles": (i / 10, 0.25, 1.0),
        "group": "W00007N05726",
        "attributes": {"blurry": "0"},
    }
    return Photo(**{**values, **changes})


def pictures(count, size=8):
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.fixture
def sound(tmp_path):
    path = tmp_path / "dataset.zip"
    write_dataset(path, ((photo(i), image) for i, image in enumerate(pictures(3))), {"licence": "CC0"})
    return path


def rewrite(path, change):
    """Write the zip again with ``change`` applied to its members (a dict of name → bytes)."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)
shares = st.floats(0, 1)
photos = st.builds(
    Photo,
    file=st.just(""),
    source=texts,
    source_id=texts,
    lat=st.floats(-90, 90),
    lon=st.floats(-180, 180),
    taken=texts,
    area=texts,
    ranks=st.tuples(*[st.integers(1, 40_000)] * 3),
    percentiles=st.tuples(shares, shares, shares),
    group=texts,
    attributes=st.fixed_dictionaries({"colour, of door": texts}),
)


@settings(max_examples=40)
@given(rows=st.lists(photos, min_size=1, max_size=4))
def test_what_is_written_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("round") / "dataset.zip"
    images = pictures(len(rows), size=4)
    write_dataset(path, zip(rows, images, strict=True), {"licence": "CC0", "note": "é"})
    dataset = open_dataset(path)
    assert [{**vars(p), "file": ""} for p in dataset.photos] == [vars(p) for p in rows]
    assert dataset.files == tuple(f"00000/img0000000{i}.png" for i in range(len(rows)))
    np.testing.assert_array_equal(dataset.images(), images)
    np.testing.assert_array_equal(dataset.labels, np.array([p.percentiles for p in rows], np.float32))
    assert dataset.labels.dtype == np.float32
    assert dataset.size == 4
    assert dataset.meta == {"format": 1, "size": 4, "photographs": len(rows), "licence": "CC0", "note": "é"}


def test_chosen_images_come_in_the_order_asked(sound):
    images = pictures(3)
    np.testing.assert_array_equal(open_dataset(sound).images([2, 0]), images[[2, 0]])
    with pytest.raises(IndexError):
        open_dataset(sound).images([3])


def plain_png(value, size=4):
    """A PNG made by hand and stored uncompressed, so that its bytes depend on no library."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes([value] * 3 * size)) * size
    stored = b"\x78\x01\x01" + struct.pack("<HH", len(rows), 0xFFFF - len(rows)) + rows
    stored += struct.pack(">I", zlib.adler32(rows))
    header = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", stored) + chunk(b"IEND", b"")


def test_golden_bytes(tmp_path):
    path = tmp_path / "dataset.zip"
    write_encoded(path, ((photo(i), plain_png(40 * i)) for i in range(3)), {"licence": "CC0"})
    assert hashlib.sha256(path.read_bytes()).hexdigest() == GOLDEN
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        names = [info.filename for info in infos]
        table = archive.read("photos.csv").decode()
        labels = json.loads(archive.read("dataset.json"))
    assert names == sorted(names)
    assert {(i.date_time, i.compress_type, i.external_attr, i.create_system) for i in infos} == {
        ((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED, 0o100644 << 16, 3)
    }
    assert labels == {"labels": [[f"00000/img0000000{i}.png", [i / 10, 0.25, 1.0]] for i in range(3)]}
    assert table.splitlines()[:2] == [
        "file,source,source_id,lat,lon,taken,area,health_rank,income_rank,education_rank,"
        "health_percentile,income_percentile,education_percentile,group,blurry",
        "00000/img00000000.png,photos.zip,p0.jpg,51.5,-0.1,2018-07,E01000000,1,2,3,0.0,0.25,1.0,W00007N05726,0",
    ]


def test_members_are_numbered_as_the_official_tool_does():
    assert member_name(0) == "00000/img00000000.png"
    assert member_name(14_563) == "00014/img00014563.png"
    names = [member_name(i) for i in (0, 9, 999, 1000, 99_999, 100_000)]
    assert names == sorted(names)


def official_reader(path):
    """Read a zip as stylegan2-ada-pytorch describes its ImageFolderDataset: (images, labels)."""
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        image_names = sorted(n for n in names if "." + n.rpartition(".")[2].lower() in Image.registered_extensions())
        assert image_names
        images = []
        for name in image_names:
            with archive.open(name) as stream:
                array = np.array(Image.open(stream))
            images.append(array.transpose(2, 0, 1))  # HWC → CHW
        labels = dict(json.loads(archive.read("dataset.json"))["labels"])
    shapes = {image.shape for image in images}
    assert len(shapes) == 1
    channels, height, width = shapes.pop()
    assert channels == 3
    assert height == width
    labels = np.array([labels[name.replace("\\", "/")] for name in image_names])
    return np.stack(images), labels.astype({1: np.int64, 2: np.float32}[labels.ndim])


def test_the_official_layout(sound):
    images, labels = official_reader(sound)
    dataset = open_dataset(sound)
    np.testing.assert_array_equal(images.transpose(0, 2, 3, 1), dataset.images())
    np.testing.assert_array_equal(labels, dataset.labels)


def test_only_one_image_is_held_at_a_time(tmp_path):
    alive = weakref.WeakSet()
    most = 0

    class Held(np.ndarray):
        __hash__ = object.__hash__

    def items():
        nonlocal most
        for i in range(50):
            image = np.full((8, 8, 3), i, np.uint8).view(Held)
            alive.add(image)
            most = max(most, len(alive))
            yield photo(i % 10), image

    write_dataset(tmp_path / "dataset.zip", items(), {})
    assert most <= 2


def test_a_failure_midway_leaves_nothing(tmp_path):
    def items():
        yield photo(0), pictures(1)[0]
        raise RuntimeError("power cut")

    path = tmp_path / "dataset.zip"
    with pytest.raises(RuntimeError):
        write_dataset(path, items(), {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "items",
    [
        [(photo(0), np.zeros((4, 5, 3), np.uint8))],
        [(photo(0), np.zeros((4, 4, 3), np.float32))],
        [(photo(0), np.zeros((4, 4, 3), np.uint8)), (photo(1), np.zeros((8, 8, 3), np.uint8))],
        [(photo(0, percentiles=(0.1, 0.2, float("nan"))), np.zeros((4, 4, 3), np.uint8))],
        [(photo(0), np.zeros((4, 4, 3), np.uint8)), (photo(1, attributes={}), np.zeros((4, 4, 3), np.uint8))],
        [(photo(0, attributes={"lat": "1"}), np.zeros((4, 4, 3), np.uint8))],
    ],
)
def test_the_writer_refuses_what_it_could_not_read(tmp_path, items):
    with pytest.raises(ValueError, match="must be"):
        write_dataset(tmp_path / "dataset.zip", items, {})


def test_no_photographs(tmp_path):
    with pytest.raises(InputError, match="no photographs"):
        write_dataset(tmp_path / "dataset.zip", [], {})


FIRST = "00000/img00000000.png"


def set_label(value):
    def change(members):
        members["dataset.json"] = json.dumps({"labels": [[n, value] for n in members if n.endswith("png")]}).encode()

    return change


def replace(name, data):
    return lambda members: members.update({name: data})


def edit_table(function):
    def change(members):
        rows = list(csv.reader(io.StringIO(members["photos.csv"].decode())))
        function(rows)
        stream = io.StringIO()
        csv.writer(stream).writerows(rows)
        members["photos.csv"] = stream.getvalue().encode()

    return change


FAULTS = {
    "no table": (lambda m: m.pop("photos.csv"), "has no photos.csv"),
    "no labels": (lambda m: m.pop("dataset.json"), "has no dataset.json"),
    "no meta": (lambda m: m.pop("dataset-meta.json"), "has no dataset-meta.json"),
    "meta is no JSON": (replace("dataset-meta.json", b"{"), "not valid JSON"),
    "meta is a list": (replace("dataset-meta.json", b"[]"), "must say the size"),
    "meta has no size": (replace("dataset-meta.json", b"{}"), "must say the size"),
    "meta has a huge size": (replace("dataset-meta.json", b'{"size": 1000000}'), "must say the size"),
    "meta has another size": (replace("dataset-meta.json", b'{"size": 16}'), "must be 16 × 16, got 8 × 8"),
    "label NaN": (set_label([0.1, float("nan"), 0.2]), "must be three numbers 0 … 1, got .0.1, nan, 0.2."),
    "label above 1": (set_label([0.1, 1.5, 0.2]), "must be three numbers"),
    "label true": (set_label([0.1, True, 0.2]), "must be three numbers"),
    "label of two": (set_label([0.1, 0.2]), "must be three numbers"),
    "label of a class": (set_label(3), "must be three numbers"),
    "labels differ from the table": (set_label([0.5, 0.5, 0.5]), "must be its percentiles in photos.csv"),
    "labels null": (replace("dataset.json", b'{"labels": null}'), 'must hold "labels"'),
    "labels missing one": (replace("dataset.json", b'{"labels": []}'), "has no label in dataset.json"),
    "deep JSON": (replace("dataset.json", b"[" * 100_000), "not valid JSON"),
    "not UTF-8": (replace("photos.csv", b"\xff\xfe"), "not UTF-8"),
    "photograph missing": (lambda m: m.pop(FIRST), "listed in photos.csv and not in the zip"),
    "photograph not listed": (replace("00000/img00000009.png", plain_png(1, 8)), "is not listed in photos.csv"),
    "photograph of another size": (replace(FIRST, plain_png(1, 4)), "must be 8 × 8, got 4 × 4"),
    "photograph no PNG": (replace(FIRST, b"GIF89a" + bytes(40)), "not a PNG file"),
    "photograph empty": (replace(FIRST, b""), "not a PNG file"),
    "ten gigapixels": (
        replace(FIRST, plain_png(1)[:16] + struct.pack(">II", 100_000, 100_000) + plain_png(1)[24:]),
        "must be 8 × 8, got 100000 × 100000",
    ),
    "row with a latitude of 95": (edit_table(lambda rows: rows[1].__setitem__(3, "95")), "row 2: lat must be a number"),
    "row with no rank": (
        edit_table(lambda rows: rows[2].__setitem__(7, "")),
        "row 3: health_rank must be a whole number",
    ),
    "row short": (edit_table(lambda rows: rows[1].pop()), "row 2 must have 15 cells"),
    "rows out of order": (edit_table(lambda rows: rows.append(rows.pop(1))), "must be sorted"),
    "row twice": (edit_table(lambda rows: rows.insert(1, rows[1])), "must be sorted, each once"),
    "column missing": (edit_table(lambda rows: [row.pop(6) for row in rows]), "has no column 'area'"),
    "no rows": (edit_table(lambda rows: rows.__delitem__(slice(1, None))), "holds no photographs"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_malformed(sound, atlas, fault):
    change, message = FAULTS[fault]
    rewrite(sound, change)
    with pytest.raises(InputError, match=message):
        open_dataset(sound)
    result = atlas("dataset", "check", sound)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("share", [0.02, 0.9])
def test_a_damaged_photograph_is_found_when_it_is_read(tmp_path, share):
    path = tmp_path / "dataset.zip"
    write_dataset(path, [(photo(0), pictures(1, 64)[0])], {})
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(FIRST)
    data = bytearray(path.read_bytes())
    data[info.header_offset + 30 + len(FIRST) + int(share * info.file_size)] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"img00000000\.png' is damaged"):
        open_dataset(path).images()


def test_a_photograph_cut_short_is_found_when_it_is_read(sound):
    rewrite(sound, lambda members: members.update({FIRST: members[FIRST][:60]}))
    with pytest.raises(InputError, match=r"img00000000\.png' is damaged"):
        open_dataset(sound).images()


def test_not_a_zip(tmp_path):
    with pytest.raises(InputError, match="is not there"):
        open_dataset(tmp_path / "dataset.zip")
    (tmp_path / "dataset.zip").write_bytes(b"PK, or so")
    with pytest.raises(InputError, match="not a readable zip"):
        open_dataset(tmp_path / "dataset.zip")


@pytest.mark.parametrize("size", [0, 3, 48, 2048, -4])
def test_sizes_that_no_generator_has(size):
    with pytest.raises(InputError, match="power of two"):
        check_size(size)


def test_png_keeps_every_pixel():
    image = pictures(1, 32)[0]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode_png(image)))), image)
