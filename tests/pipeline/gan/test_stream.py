"""The order of photographs."""

import os

import numpy as np
import pytest
import torch

from pipeline.gan import stream as stream_module
from pipeline.gan.stream import PhotographStream
from pipeline.photos.dataset import open_dataset


@pytest.fixture(scope="module")
def dataset(tiny_dataset):
    return open_dataset(tiny_dataset)


@pytest.mark.parametrize("mirror", [False, True])
def test_every_epoch_has_every_photograph_once(dataset, mirror):
    size = 40 * (1 + mirror)
    stream = PhotographStream(dataset, 7, mirror)
    epochs = stream.indices(0, 3 * size).reshape(3, size)
    for epoch in epochs:
        assert sorted(epoch) == list(range(size))
    assert not np.array_equal(epochs[0], epochs[1])


def test_a_position_has_its_photograph_however_one_gets_there(dataset):
    whole = PhotographStream(dataset, 7, False).indices(0, 200)
    jumping = PhotographStream(dataset, 7, False)
    for start in (150, 3, 77, 39, 40):
        assert np.array_equal(jumping.indices(start, 12), whole[start : start + 12])
    assert not np.array_equal(whole, PhotographStream(dataset, 8, False).indices(0, 200))


def test_pixels_are_the_photographs(dataset, monkeypatch):
    stream = PhotographStream(dataset, 7, True)
    batch, indices = stream.batch(30, 60), stream.indices(30, 60)
    assert batch.shape == (60, 3, 16, 16)
    for image, index in zip(batch, indices, strict=True):
        pixels = dataset.images([index % 40])[0]
        pixels = pixels[:, ::-1] if index >= 40 else pixels
        assert torch.equal(image, torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 127.5 - 1)
    monkeypatch.setattr(stream_module, "MEMORY_SHARE", 0.0)
    assert torch.equal(PhotographStream(dataset, 7, True).batch(30, 60), batch)


def test_free_memory_is_asked_for_as_each_system_can_say_it(dataset, monkeypatch):
    assert 0 < stream_module.free_memory() < 1 << 50
    sysconf = os.sysconf
    page, whole = sysconf("SC_PAGE_SIZE"), sysconf("SC_PHYS_PAGES")

    def macos(name):
        if name == "SC_AVPHYS_PAGES":
            raise ValueError("unrecognized configuration name")
        return sysconf(name)

    monkeypatch.setattr(os, "sysconf", macos)
    assert stream_module.free_memory() == page * whole // 2
    monkeypatch.delattr(os, "sysconf")  # Windows
    assert stream_module.free_memory() == 0
    batch = PhotographStream(dataset, 7, True).batch(30, 60)
    monkeypatch.undo()
    assert torch.equal(PhotographStream(dataset, 7, True).batch(30, 60), batch)
