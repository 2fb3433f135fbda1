"""What the pictures themselves hold: colours as they are, and features that tell one picture from another."""

import numpy as np

from pipeline.boundaries.references import reference_codes
from pipeline.photos.dataset import open_dataset


def test_two_colours(few):
    dataset = open_dataset(few.data)
    rich = np.array([photo.percentiles[1] > 0.5 for photo in dataset.photos])
    rows = np.sort(np.concatenate([np.flatnonzero(rich)[:20], np.flatnonzero(~rich)[:20]]))  # of several batches
    found = reference_codes(dataset, rows, "cpu")
    assert (found["features"].shape, found["features"].dtype) == ((40, 1280), np.float32)
    assert (found["colour"].shape, found["colour"].dtype) == ((40, 3), np.float32)
    of_colour = {True: (200 / 255, 0, 0), False: (0, 0, 200 / 255)}
    np.testing.assert_allclose(found["colour"], [of_colour[bool(rich[row])] for row in rows], atol=1e-6)
    red, blue = found["features"][rich[rows]], found["features"][~rich[rows]]
    np.testing.assert_allclose(red, red[:1].repeat(len(red), 0), atol=1e-4)
    assert np.abs(red[0] - blue[0]).max() > 0.1
    assert (red > 0).any()


def test_rows_are_those_asked_for(few):
    dataset = open_dataset(few.data)
    every = reference_codes(dataset, np.arange(12), "cpu")
    some = reference_codes(dataset, np.array([3, 11]), "cpu")
    np.testing.assert_allclose(some["features"], every["features"][[3, 11]], atol=1e-4)
    np.testing.assert_array_equal(some["colour"], every["colour"][[3, 11]])
