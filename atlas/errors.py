"""What can go wrong, as the library says it; the command line turns each into one line and exit code 2."""

from __future__ import annotations


class AtlasError(Exception):
    """Base of every error that is meant for a person.

    The message is one sentence: which thing, what it must be, what it was, and what to do about it.
    """


class InputError(AtlasError):
    """A file, option, preset or table that was given cannot be used as it is."""


class SpaceError(AtlasError):
    """The disk has too little room for what is about to be written."""
