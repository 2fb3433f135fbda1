"""Fixtures that every room's tests may use."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout that is being tested."""
    return Path(__file__).resolve().parent.parent
