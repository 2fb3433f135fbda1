"""`atlas dataset import` on a small region: what is joined, what is dropped, and every kind of bad input."""

import io
import json
import re
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.photos.dataset import open_dataset
from pipeline.photos.importing import import_photographs


def jpeg(image, **options):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


def process(*arguments):
    """Run the command as its own process."""
    command = [sys.executable, "-c", "from atlas.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_photographs_are_joined(region, atlas):
    result = atlas(*region.command(), "--licence", "CC BY-SA 4.0", "--attribution", "A. Person <a@b>")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == f"{region.out}: 4 of 4 photographs imported"
    dataset = open_dataset(region.out)
    first = dataset.photos[0]
    assert (first.source, first.source_id, first.lat, first.lon) == ("photos.zip", "p0.jpg", 0.005, 0.004)
    assert (first.taken, first.area, first.group) == ("2018-01", "E01000001", "E00000N00000")
    assert (first.ranks, first.percentiles) == ((7, 40, 20), (0.0, 1.0, 0.0))
    assert first.attributes == {"imd_rank": "100"}
    np.testing.assert_allclose(dataset.labels, [[0, 1, 0], [1 / 3, 2 / 3, 1 / 3], [2 / 3, 1 / 3, 2 / 3], [1, 0, 1]])
    for i, image in enumerate(dataset.images()):
        whole = Image.open(io.BytesIO(region.photos[f"p{i}.jpg"]))
        np.testing.assert_array_equal(image, np.asarray(whole.resize((16, 16), Image.Resampling.LANCZOS)))
    assert dataset.meta == {
        "format": 1,
        "size": 16,
        "photographs": 4,
        "licence": "CC BY-SA 4.0",
        "attribution": "A. Person <a@b>",
        "source": {"photos": "photos.zip", "photos_csv": "photos.csv", "areas": "areas.geojson", "imd": "file7.csv"},
        "joined_by": "camera",
        "boundary_year": 2011,
        "areas": 4,
        "resize_filter": "lanczos",
        "square": "crop",
        "axes": ["health", "income", "education"],
        "counts": {
            "listed": 4,
            "imported": 4,
            "dropped": {"outside every area": 0, "on a boundary of areas": 0, "area without ranks": 0},
            "repaired": {
                "converted to RGB": 0,
                "turned as EXIF says": 0,
                "cropped to a square": 0,
                "padded to a square": 0,
                "enlarged": 0,
            },
        },
        "per_decile": {
            "health": [1, 0, 0, 1, 0, 0, 1, 0, 0, 1],
            "income": [1, 0, 0, 1, 0, 0, 1, 0, 0, 1],
            "education": [1, 0, 0, 1, 0, 0, 1, 0, 0, 1],
        },
    }


def test_a_folder_is_as_good_as_a_zip(region, atlas):
    folder = region.folder / "pictures"
    folder.mkdir()
    for name, data in region.photos.items():
        (folder / name).write_bytes(data)
    assert atlas(*region.command()).exit_code == 0
    from_zip = open_dataset(region.out).images()
    assert atlas(*region.command(photos="pictures")).exit_code == 0
    np.testing.assert_array_equal(open_dataset(region.out).images(), from_zip)
    assert open_dataset(region.out).photos[0].source == "pictures"


def test_what_is_outside_or_without_ranks_is_dropped_and_counted(region, atlas):
    region.listing[0]["lat"] = 9.0
    del region.ranks["E01000003"]
    region.listing[3].update(lat=0.01, lon=0.015)  # between areas 2 and 4
    result = atlas(*region.command())
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1].endswith(
        "1 of 4 photographs imported; dropped: 1 outside every area, 1 on a boundary of areas, 1 area without ranks"
    )
    counts = open_dataset(region.out).meta["counts"]
    assert counts["dropped"] == {"outside every area": 1, "on a boundary of areas": 1, "area without ranks": 1}
    assert (counts["listed"], counts["imported"]) == (4, 1)
    assert open_dataset(region.out).photos[0].area == "E01000002"


def test_further_columns_are_carried_but_not_ours(region, atlas):
    for i, row in enumerate(region.listing):
        row.update({"blurry": i % 2, "photographer": 'O"Neil, <b>', "area": "mine"})
    assert atlas(*region.command()).exit_code == 0
    photo = open_dataset(region.out).photos[1]
    assert photo.attributes == {"blurry": "1", "photographer": 'O"Neil, <b>', "imd_rank": "101"}
    assert photo.area == "E01000002"


def test_photographs_are_padded_where_asked_for_and_it_is_recorded(region, atlas):
    region.photos["p2.jpg"] = jpeg(Image.new("RGB", (20, 10), "white"))
    result = atlas(*region.command(), "--square", "pad")
    assert result.exit_code == 0, result.stderr
    assert "1 padded to a square" in result.stdout
    dataset = open_dataset(region.out)
    assert dataset.meta["square"] == "pad"
    assert dataset.meta["counts"]["repaired"]["padded to a square"] == 1
    picture = dataset.images([2])[0]
    assert picture[:2].max() < 40
    assert picture[7:9].min() > 200


def test_odd_photographs_are_repaired_and_counted(region, atlas):
    exif = Image.Exif()
    exif[0x0112] = 3
    picture = Image.fromarray(np.arange(20 * 20 * 3, dtype=np.uint8).reshape(20, 20, 3))
    region.photos["p0.jpg"] = jpeg(picture, exif=exif)
    region.photos["p1.jpg"] = jpeg(picture.convert("CMYK"))
    region.photos["p2.jpg"] = jpeg(picture.convert("L").crop((0, 0, 20, 10)))
    result = atlas(*region.command())
    assert result.exit_code == 0, result.stderr
    repaired = "repaired: 2 converted to RGB, 1 turned as EXIF says, 1 cropped to a square, 1 enlarged"
    assert result.stdout.splitlines()[-1].endswith(f"4 of 4 photographs imported; {repaired}")
    turned = Image.open(io.BytesIO(region.photos["p0.jpg"])).transpose(Image.Transpose.ROTATE_180)
    np.testing.assert_array_equal(
        open_dataset(region.out).images([0])[0], np.asarray(turned.resize((16, 16), Image.Resampling.LANCZOS))
    )


def change_row(index, **values):
    return lambda region: region.listing[index].update(values)


def drop_column(name):
    return lambda region: [row.pop(name) for row in region.listing]


def lose(*names):
    return lambda region: [region.photos.pop(name) for name in names]


def damage(name, length=120):
    return lambda region: region.photos.update({name: region.photos[name][:length]})


def huge(region):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")
    png = stream.getvalue()
    header = b"IHDR" + struct.pack(">II", 100_000, 100_000) + png[24:29]
    region.photos["p2.jpg"] = png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


def shift_years(region):
    region.year = 2021


BAD = {
    "corrupt JPEG": (damage("p1.jpg"), "1 of the 4 photographs in .*photos.zip cannot be decoded: p1.jpg \\("),
    "two corrupt JPEGs": (
        lambda r: (damage("p1.jpg")(r), damage("p3.jpg", 0)(r)),
        "2 of the 4 photographs in .* cannot be decoded: p1.jpg \\(.*\\), p3.jpg \\(.*\\); replace them",
    ),
    "ten gigapixels": (huge, "cannot be decoded: p2.jpg \\(.*80000000"),
    "no latitude column": (drop_column("lat"), "photos.csv has no column 'lat'"),
    "no longitude column": (drop_column("lon"), "photos.csv has no column 'lon'"),
    "no file column": (drop_column("file"), "photos.csv has no column 'file'"),
    "latitude of 95": (change_row(2, lat=95), "row 4: lat must be a number -90 … 90, got '95'"),
    "longitude of 181": (change_row(0, lon=181), "row 2: lon must be a number -180 … 180, got '181'"),
    "latitude NaN": (change_row(1, lat="NaN"), "row 3: lat must be a number .* got 'NaN'"),
    "latitude empty": (change_row(1, lat=""), "row 3: lat must be a number .* got ''"),
    "latitude with a comma": (change_row(1, lat="51,5"), "row 3: lat must be a number .* got '51,5'"),
    "listed twice": (change_row(1, file="p0.jpg"), "row 3: 'p0.jpg' is listed twice"),
    "no name": (change_row(1, file=""), "row 3: file must name a photograph"),
    "one absent": (lose("p2.jpg"), "1 of the 4 photographs listed in .*photos.csv are not in .*photos.zip: p2.jpg"),
    "all absent": (
        lose("p0.jpg", "p1.jpg", "p2.jpg", "p3.jpg"),
        "4 of the 4 photographs listed in .*: p0.jpg, p1.jpg, p2.jpg and 1 more",
    ),
    "a path outside": (lambda r: r.photos.update({"../x.jpg": b""}), "member '../x.jpg' leads outside its folder"),
    "wrong year": (shift_years, "holds the boundaries of 2011 .LSOA11CD. and file7.csv the ranks for those of 2021"),
    "nobody inside": (
        lambda r: [row.update(lat=50) for row in r.listing],
        "none of the 4 photographs in .* lies in an area",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_input(region, atlas, fault):
    change, message = BAD[fault]
    change(region)
    result = atlas(*region.command())
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert re.search(message, result.stderr), result.stderr
    assert not region.out.exists()


@pytest.mark.parametrize("fault", ["corrupt JPEG", "wrong year"])
def test_bad_input_in_a_process_of_its_own(region, fault):
    BAD[fault][0](region)
    result = process(*region.command())
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert "Traceback" not in result.stdout + result.stderr


@pytest.mark.parametrize("missing", ["photos", "photos_csv", "areas", "imd"])
def test_a_file_that_is_not_there(region, atlas, missing):
    result = atlas(*region.command(**{missing: "nowhere"}))
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "nowhere" in result.stderr


def test_a_size_that_no_generator_has(region, atlas):
    result = atlas(*region.command(), "--size", "48")
    assert (result.exit_code, "power of two" in result.stderr) == (2, True)


def many(region, count=80):
    """As many photographs as make the pool of processes start."""
    region.photos = {f"{i:03d}.jpg": region.photos[f"p{i % 4}.jpg"] for i in range(count)}
    region.listing = [{**region.listing[i % 4], "file": f"{i:03d}.jpg"} for i in range(count)]
    region.write()
    files = [region.folder / name for name in ("photos.zip", "photos.csv", "areas.geojson", "file7.csv")]
    return files


def test_the_number_of_processes_changes_no_byte(region):
    files = many(region)
    for workers in (1, 2, None):
        import_photographs(*files, 16, region.folder / f"{workers}.zip", workers=workers)
    assert (region.folder / "1.zip").read_bytes() == (region.folder / "2.zip").read_bytes()
    assert (region.folder / "1.zip").read_bytes() == (region.folder / "None.zip").read_bytes()


def test_progress_counts_to_the_end(region):
    files, news = many(region, 10), []
    import_photographs(*files, 16, region.out, progress=lambda done, total: news.append((done, total)))
    assert news == [(i, 10) for i in range(1, 11)]


def test_a_stage_record_is_written_and_nothing_done_twice(region, atlas):
    command = region.command()
    first = atlas(*command)
    assert "dataset: running" in first.stdout
    record = json.loads((region.out.parent / "dataset.stage.json").read_text())
    assert (record["stage"], record["settings"]["size"]) == ("dataset", 16)
    written = region.out.stat().st_mtime_ns
    assert "dataset: up to date" in atlas(*command).stdout
    assert region.out.stat().st_mtime_ns == written
    assert "dataset: running" in atlas(*command, "--attribution", "B. Person").stdout
    assert open_dataset(region.out).meta["attribution"] == "B. Person"


def test_a_killed_import_ends_in_the_same_bytes(region, monkeypatch):
    command = region.command()
    assert process(*command).returncode == 0
    unbroken = region.out.read_bytes()
    region.out.unlink()
    monkeypatch.setenv("ATLAS_FAULT", "dataset.photograph:3")
    assert process(*command).returncode == -9
    assert not region.out.exists()
    monkeypatch.delenv("ATLAS_FAULT")
    stranger = region.out.parent / ".other.zip.1.partial"
    stranger.touch()
    assert process(*command).returncode == 0
    assert region.out.read_bytes() == unbroken
    left = sorted(p.name for p in region.out.parent.iterdir())
    assert left == [".other.zip.1.partial", "dataset.stage.json", "dataset.zip"]


def test_check_says_what_the_dataset_holds(region, atlas):
    assert atlas(*region.command(), "--licence", "CC0").exit_code == 0
    facts = json.loads(atlas("dataset", "check", region.out, "--json").stdout)
    assert (facts["photographs"], facts["size"], facts["areas"], facts["study_areas"], facts["blocks"]) == (
        4,
        16,
        4,
        4,
        4,
    )
    assert facts["correlation"] == {"health-income": -1.0, "health-education": 1.0, "income-education": -1.0}
    assert facts["per_decile"]["health"] == [1, 0, 0, 1, 0, 0, 1, 0, 0, 1]
    assert facts["counts"]["listed"] == 4
    assert facts["warnings"][0] == "no photograph is in decile 2, 3, 5, 6, 8, 9 of health"
    assert facts["warnings"][-1].startswith("health and education are correlated at 1.00")
    text = atlas("dataset", "check", region.out).stdout
    assert "4 photographs, 16 × 16" in text
    assert "licence: CC0" in text
    assert "attribution: not stated" in text


def test_check_of_one_area_has_no_correlation(region, atlas):
    for row in region.listing:
        row.update(lat=0.005, lon=0.005)
    assert atlas(*region.command()).exit_code == 0
    facts = json.loads(atlas("dataset", "check", region.out, "--json").stdout)
    assert set(facts["correlation"].values()) == {None}


def test_check_decodes_every_photograph(region, atlas):
    assert atlas(*region.command(), "--size", "64").exit_code == 0
    with zipfile.ZipFile(region.out) as archive:
        info = archive.infolist()[2]
    assert info.file_size > 4500  # beyond what opening the dataset reads
    data = bytearray(region.out.read_bytes())
    data[info.header_offset + 30 + len(info.filename) + info.file_size - 50] ^= 0x55
    region.out.write_bytes(data)
    open_dataset(region.out)
    result = atlas("dataset", "check", region.out)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert f"'{info.filename}' is damaged" in result.stderr
