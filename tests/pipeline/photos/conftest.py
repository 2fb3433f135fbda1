"""A small invented study region, and the real one where a folder is named by ATLAS_LONDON."""

import csv
import io
import json
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from atlas.cli import main

CODES = ("E01000001", "E01000002", "E01000003", "E01000004")
RANK_HEADINGS = (
    "Index of Multiple Deprivation (IMD) Rank (where 1 is most deprived)",
    "Income Rank (where 1 is most deprived)",
    "Education, Skills and Training Rank (where 1 is most deprived)",
    "Health Deprivation and Disability Rank (where 1 is most deprived)",
)


def jpeg(image, **options):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=95, **options)
    return stream.getvalue()


def scene(seed=0, size=(20, 20)):
    """A smooth picture of its own for each seed."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def square(west, south, side=0.01):
    east, north = west + side, south + side
    return [[[west, south], [east, south], [east, north], [west, north], [west, south]]]


@dataclass
class Region:
    """Four areas of 0.01° around the point 0.01, 0.01, their ranks, and one photograph in each."""

    folder: Path
    photos: dict[str, bytes] = field(default_factory=dict)
    listing: list[dict[str, object]] = field(default_factory=list)
    areas: dict[str, list] = field(default_factory=dict)
    ranks: dict[str, tuple] = field(default_factory=dict)
    year: int = 2011
    area_property: str = "LSOA11CD"

    def __post_init__(self):
        for i, code in enumerate(CODES):
            west, south = 0.01 * (i % 2), 0.01 * (i // 2)
            self.areas[code] = square(west, south)
            self.ranks[code] = (100 + i, 10 * (4 - i), 20 + i, 7 * (i + 1))
            self.photos[f"p{i}.jpg"] = jpeg(scene(i))
            self.listing.append(
                {"file": f"p{i}.jpg", "lat": south + 0.005, "lon": west + 0.004, "taken": f"2018-0{i + 1}"}
            )

    def write(self):
        with zipfile.ZipFile(self.folder / "photos.zip", "w") as archive:
            for name, data in self.photos.items():
                archive.writestr(name, data)
        with (self.folder / "photos.csv").open("w", newline="") as stream:
            table = csv.DictWriter(stream, list(self.listing[0]))
            table.writeheader()
            table.writerows(self.listing)
        features = [
            {
                "type": "Feature",
                "properties": {self.area_property: code, "name": f"Area {code}"},
                "geometry": {"type": "Polygon", "coordinates": rings},
            }
            for code, rings in self.areas.items()
        ]
        (self.folder / "areas.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        with (self.folder / "file7.csv").open("w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow([f"LSOA code ({self.year})", f"LSOA name ({self.year})", *RANK_HEADINGS])
            rows.writerows([code, f"Name, of {code}", *ranks] for code, ranks in self.ranks.items())

    def command(self, **changes):
        """Write everything and return the arguments of the import."""
        self.write()
        given = {"photos_csv": "photos.csv", "areas": "areas.geojson", "imd": "file7.csv", **changes}
        photos = self.folder / given.pop("photos", "photos.zip")
        options = [
            part for key, name in given.items() for part in (f"--{key.replace('_', '-')}", str(self.folder / name))
        ]
        out = ["--size", "16", "--out", str(self.folder / "out" / "dataset.zip")]
        return ["dataset", "import", str(photos), *options, *out]

    @property
    def out(self):
        return self.folder / "out" / "dataset.zip"


@pytest.fixture
def region(tmp_path):
    return Region(tmp_path)


@pytest.fixture
def atlas():
    """Run the command in this process; returns click's result."""

    def call(*arguments):
        return CliRunner().invoke(main, [str(a) for a in arguments])

    return call


@pytest.fixture(scope="session")
def london():
    folder = os.environ.get("ATLAS_LONDON")
    if not folder:
        pytest.skip("ATLAS_LONDON names no folder with real photographs")
    return Path(folder)
