"""Losses and their gradients against values recorded from the official implementation."""

import pytest
import torch

from pipeline.gan import load_discriminator, load_generator
from pipeline.gan.loss import Losses, path_gradients, path_lengths


@pytest.fixture
def networks(network_files, device):
    G = load_generator(network_files("generator_a"), device).train().requires_grad_(True)
    D = load_discriminator(network_files("discriminator_a"), device).train().requires_grad_(True)
    return G, D


def losses_of(networks, **given):
    return Losses(*networks, lambda x: x, torch.Generator(), gamma=1.0, style_mixing=0.0, noise_mode="const", **given)


def check_gradients(recorded, phase, network, order):
    gradients = {name: p.new_zeros([]) if p.grad is None else p.grad for name, p in network.named_parameters()}
    recorded.check(f"out.{phase}.grad_norms", torch.stack([gradients[name].norm() for name in order]))
    prefix = f"out.{phase}.grad."
    names = [name for name in recorded.tensors if name.startswith(prefix)]
    assert names
    for name in names:
        recorded.check(name, gradients[name.removeprefix(prefix)])


def test_generator(recording, networks, device):
    recorded = recording("loss").on(device)
    loss = losses_of(networks).generator(recorded.tensors["in.z"])
    loss.mean().backward()
    recorded.check("out.Gmain.loss", loss)
    recorded.check("out.Gmain.fake_logits", -loss.double().expm1().log().float())  # softplus of −D undone
    check_gradients(recorded, "Gmain", networks[0], recorded.entry["g_param_order"])
    recorded.check("out.w_avg_after_one_mapping_call", networks[0].mapping.w_avg)


@pytest.mark.parametrize(("phase", "mean", "gain"), [("Gpl", 0.0, 1), ("Gpl_mean0.8_gain4", 0.8, 4)])
def test_path_length(phase, mean, gain, recording, networks, device, monkeypatch):
    recorded = recording("loss").on(device)
    losses = losses_of(networks, pl_mean=torch.tensor(mean, device=device))
    monkeypatch.setattr(losses, "normal", lambda shape: recorded.tensors["in.pl_noise"].reshape(shape))
    loss = losses.path_length(recorded.tensors["in.z"])
    (loss.mean() * gain).backward()
    recorded.check(f"out.{phase}.loss", loss)
    recorded.check(f"out.{phase}.pl_mean_after", losses.pl_mean)
    check_gradients(recorded, phase, networks[0], recorded.entry["g_param_order"])


def test_gradients_and_lengths_of_paths(recording, networks, device):
    recorded = recording("loss").on(device)
    losses = losses_of(networks, pl_mean=torch.zeros([], device=device))
    noise = recorded.tensors["in.pl_noise"]
    images, ws = losses.render(recorded.tensors["in.z"][: len(noise)])
    grads = path_gradients(images, ws, noise)
    recorded.check("out.Gpl.pl_grads", grads)
    recorded.check("out.Gpl.pl_lengths", path_lengths(grads))
    recorded.check("out.Gpl.penalty", losses.path_penalty(images, ws, noise) / losses.pl_weight)


def test_discriminator(recording, networks, device):
    recorded = recording("loss").on(device)
    losses = losses_of(networks)
    fake, real, real_logits = losses.discriminator(recorded.tensors["in.z"], recorded.tensors["in.real"])
    (fake.mean() + real.mean()).backward()
    recorded.check("out.Dmain.loss", fake + real)
    recorded.check("out.Dmain.fake_logits", fake.expm1().log())  # softplus undone
    recorded.check("out.Dmain.real_logits", real_logits)
    check_gradients(recorded, "Dmain", networks[1], recorded.entry["d_param_order"])


def test_r1(recording, networks, device):
    recorded = recording("loss").on(device)
    loss, _ = losses_of(networks).r1(recorded.tensors["in.real"])
    loss.mean().backward()
    recorded.check("out.Dr1.loss", loss)
    recorded.check("out.Dr1.penalty", 2 * loss)
    check_gradients(recorded, "Dr1", networks[1], recorded.entry["d_param_order"])


def test_main_and_r1_together(recording, networks, device):
    recorded = recording("loss").on(device)
    losses = losses_of(networks)
    real = recorded.tensors["in.real"]
    fake_loss, real_loss, _ = losses.discriminator(recorded.tensors["in.z"], real)
    (fake_loss + real_loss).mean().backward()
    losses.r1(real)[0].mean().backward()
    recorded.check("out.Dboth.loss", fake_loss + real_loss)  # as recorded: without what R1 adds
    check_gradients(recorded, "Dboth", networks[1], recorded.entry["d_param_order"])
