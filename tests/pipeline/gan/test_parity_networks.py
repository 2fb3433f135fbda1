"""Generator and discriminator against tensors recorded from the official implementation."""

import pytest
import torch

from pipeline.gan import load_discriminator, load_generator

IMAGES = {
    "psi1": {},
    "psi0.7": {"truncation_psi": 0.7},
    "psi0.7_cutoff3": {"truncation_psi": 0.7, "truncation_cutoff": 3},
}


@pytest.mark.parametrize("which", ["a", "b"])
@pytest.mark.parametrize("case", IMAGES)
def test_mapping_and_synthesis(which, case, recording, network_files, device):
    recorded = recording(f"generator_{which}").on(device)
    G = load_generator(network_files(f"generator_{which}"), device)
    ws = G.mapping(recorded.tensors["in.z"], recorded.tensors.get("in.c"), **IMAGES[case])
    recorded.check(f"out.ws_{case}", ws)
    modes = [m for m in ("const", "none") if f"out.img_{case}_{m}" in recorded.tensors]
    assert modes
    for mode in modes:
        recorded.check(f"out.img_{case}_{mode}", G.synthesis(ws, noise_mode=mode))


@pytest.mark.parametrize("which", ["a", "b"])
def test_every_layer_takes_its_own_w(which, recording, network_files, device):
    recorded = recording(f"generator_{which}").on(device)
    G = load_generator(network_files(f"generator_{which}"), device)
    ws = recorded.tensors["in.wplus"]
    recorded.check("out.img_wplus_const", G.synthesis(ws, noise_mode="const"))
    recorded.check("out.img_wplus_none_unfused", G.synthesis(ws, noise_mode="none"))


@pytest.mark.parametrize("which", ["a", "b"])
def test_architecture_is_read_off_the_tensors(which, recording, network_files):
    config = recording(f"generator_{which}").entry["config"]
    G = load_generator(network_files(f"generator_{which}"))
    assert (G.z_dim, G.c_dim, G.w_dim) == (config["z_dim"], config["c_dim"], config["w_dim"])
    assert (G.img_resolution, G.num_ws) == (config["img_resolution"], config["num_ws"])
    assert G.architecture.mapping_layers == config["num_layers"]


@pytest.mark.parametrize("which", ["a", "b"])
def test_discriminator(which, recording, network_files, device):
    recorded = recording(f"discriminator_{which}").on(device)
    D = load_discriminator(network_files(f"discriminator_{which}"), device)
    images = recorded.tensors["in.img"].clone().requires_grad_()
    c = recorded.tensors.get("in.c")
    logits = D(images, c)
    recorded.check("out.logits", logits)
    (slope,) = torch.autograd.grad(logits.sum(), images)
    recorded.check("out.grad_sum_logits_wrt_img", slope)
    recorded.check("out.r1_penalty", slope.square().sum([1, 2, 3]))
    for few in (1, 2):
        recorded.check(f"out.logits_first{few}", D(images[:few], None if c is None else c[:few]))
