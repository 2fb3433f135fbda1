"""What the tests of several rooms take: made-up weights in the layout of published files."""

import pytest
import torch

from pipeline.lpips import Lpips, lpips_files


@pytest.fixture
def write_lpips():
    """Writes torchvision's and LPIPS's files of a network: (folder, "alexnet" or "vgg16") → contents and paths."""

    def write(folder, net):
        torch.manual_seed(1)
        mine = Lpips(net)
        layers = mine.network.features.state_dict()
        network = {f"features.{name}": torch.randn_like(t) * 0.05 for name, t in layers.items()}
        learnt = {f"lin{i}.model.1.weight": torch.rand(1, len(w), 1, 1) for i, w in enumerate(mine.learnt.weights())}
        torch.save(network | {"classifier.1.weight": torch.zeros(2, 2)}, folder / f"{net}-0a1b2c3d.pth")
        torch.save(learnt, folder / f"{mine.recipe.linear}.pth")
        return network, learnt, lpips_files(folder, net)

    return write
