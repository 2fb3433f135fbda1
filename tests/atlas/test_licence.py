"""Which licences keep pictures at home."""

import tomllib
from pathlib import Path

import pytest

from atlas.licence import local_only

PRESETS = Path(__file__).resolve().parents[2] / "presets"


@pytest.mark.parametrize(
    "licence",
    [
        "",
        " \n",
        "All Rights Reserved",
        "Photographs: all rights\nreserved. Statistics: Open Government Licence v3.0",
        "Google Street View: all rights reserved, not for redistribution",
        "May not be published",
        "never to be redistributed",
        "proprietary",
        "none",
        "Unknown.",
        "no license",
    ],
)
def test_stays_at_home(licence):
    assert local_only(licence)


@pytest.mark.parametrize(
    "licence",
    ["CC0-1.0", "CC BY-SA 4.0", "Open Government Licence v3.0", "public domain", "some rights reserved: CC BY"],
)
def test_may_be_published(licence):
    assert not local_only(licence)


@pytest.mark.parametrize("name", ["london", "paper"])
def test_the_presets_of_others_photographs_are_local_until_a_licence_says_otherwise(name):
    preset = tomllib.loads((PRESETS / f"{name}.toml").read_text())
    assert local_only(preset["dataset"].get("licence", ""))
