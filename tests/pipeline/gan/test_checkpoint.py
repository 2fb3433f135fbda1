"""Networks as files: round trips, and one clear error for what does not fit."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from atlas.errors import InputError
from pipeline.gan import Discriminator, Generator, checkpoint, load_discriminator, load_generator, save_network
from pipeline.gan.architecture import DiscriminatorArchitecture, GeneratorArchitecture
from pipeline.gan.rosinality import generator_entries

G_ARCH = GeneratorArchitecture(6, 0, 5, 16, 3, 2, (8, 7, 4))
D_ARCH = DiscriminatorArchitecture(0, 16, 3, (8, 7, 4), mbstd_group=2, conv_clamp=256.0)


@pytest.fixture
def generator_file(tmp_path):
    save_network(Generator(G_ARCH), tmp_path / "generator.safetensors")
    return tmp_path / "generator.safetensors"


def rewritten(path, change):
    """Save the file's tensors and metadata again after ``change(tensors, metadata)``."""
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        metadata = dict(file.metadata() or {})
    change(tensors, metadata)
    other = path.with_name("changed.safetensors")
    save_file(tensors, other, metadata=metadata)
    return other


def test_generator_round_trip(generator_file, tmp_path, rng):
    G = load_generator(generator_file)
    assert G.architecture == G_ARCH
    assert not G.training
    assert not any(p.requires_grad for p in G.parameters())
    again = tmp_path / "again.safetensors"
    save_network(G, again)
    assert again.read_bytes() == generator_file.read_bytes()
    assert list(tmp_path.glob(".*")) == []


def test_discriminator_round_trip_keeps_what_leaves_no_trace_in_tensors(tmp_path):
    save_network(Discriminator(D_ARCH), tmp_path / "d.safetensors")
    assert load_discriminator(tmp_path / "d.safetensors").architecture == D_ARCH


@pytest.mark.parametrize(
    "arch",
    [
        GeneratorArchitecture(6, 3, 5, 8, 3, 3, (4, 6)),
        GeneratorArchitecture(4, 0, 4, 4, 1, 1, (3,)),
        GeneratorArchitecture(512, 0, 512, 64, 3, 8, (16, 16, 8, 8, 4)),
    ],
)
def test_generator_is_inferred_from_names_and_shapes(arch):
    shapes = {name: tuple(t.shape) for name, t in Generator(arch).state_dict().items()}
    assert GeneratorArchitecture.infer(shapes, "x") == arch


@pytest.mark.parametrize(
    "arch",
    [
        DiscriminatorArchitecture(0, 8, 3, (4, 6)),
        DiscriminatorArchitecture(3, 32, 3, (4, 6, 5, 4), cmap_dim=4, mapping_layers=2),
        DiscriminatorArchitecture(0, 16, 1, (4, 6, 5), mbstd_channels=2),
    ],
)
def test_discriminator_is_inferred_from_names_and_shapes(arch):
    shapes = {name: tuple(t.shape) for name, t in Discriminator(arch).state_dict().items()}
    assert DiscriminatorArchitecture.infer(shapes, "x") == arch


def test_everything_that_is_wrong_is_listed_at_once(generator_file):
    def change(tensors, metadata):
        metadata.clear()
        del tensors["synthesis.b8.conv0.bias"]
        tensors["synthesis.b8.conv1.noise_const"] = torch.zeros(9, 9)
        tensors["synthesis.extra"] = torch.zeros(1)
        tensors["synthesis.b16.resample_filter"] = torch.full([4, 4], 1 / 16)

    with pytest.raises(InputError) as error:
        load_generator(rewritten(generator_file, change))
    text = str(error.value)
    assert "synthesis.b8.conv0.bias is missing" in text
    assert "synthesis.extra is unexpected" in text
    assert "synthesis.b8.conv1.noise_const must be [8, 8], got [9, 9]" in text
    assert "synthesis.b16.resample_filter must be the filter" in text


def test_a_description_that_contradicts_the_tensors_is_an_error(generator_file):
    def change(tensors, metadata):
        metadata["architecture"] = json.dumps({**json.loads(metadata["architecture"]), "mapping_layers": 8})

    with pytest.raises(InputError, match=r"mapping_layers is 8 against 2; .*fc2\.weight is missing; .*fc7\.bias is"):
        load_generator(rewritten(generator_file, change))


@pytest.mark.parametrize("kind", ["generator", "discriminator"])
@pytest.mark.parametrize("described", [True, False])
def test_whatever_is_missing_is_listed_with_all_that_is(kind, described, generator_file, tmp_path):
    """Each tensor in turn, also those the architecture is read off, beside one that is not: both are named."""
    load, other = load_generator, "synthesis.b8.conv0.bias"
    whole = generator_file
    if kind == "discriminator":
        load, other, whole = load_discriminator, "b8.conv0.bias", tmp_path / "d.safetensors"
        save_network(Discriminator(D_ARCH), whole)
    names = [name for name in load_file(whole) if name != other]
    silent = []
    for name in names:

        def change(tensors, metadata, name=name):
            del tensors[name], tensors[other]
            if not described:
                metadata.clear()

        with pytest.raises(InputError) as error:
            load(rewritten(whole, change))
        if f"{name} is missing" not in str(error.value) or f"{other} is missing" not in str(error.value):
            silent.append(name)
    if described:
        assert silent == []
    else:  # nothing but the tensors says what there should be
        assert 0 < len(silent) < len(names) / 3


def test_a_description_of_more_than_a_file_could_hold_is_not_built(generator_file):
    """A network of 60,000 layers would take minutes to be laid out, only to list what a file does not have."""

    def change(tensors, metadata):
        metadata["architecture"] = json.dumps({**json.loads(metadata["architecture"]), "mapping_layers": 60_000})

    with pytest.raises(InputError, match=r"mapping_layers is 60000 against 2$"):
        load_generator(rewritten(generator_file, change))


@pytest.mark.parametrize("text", ["{", "[]", '{"z_dim": 4}', '{"colour": 1}'])
def test_a_description_that_cannot_be_read_is_an_error(generator_file, text):
    with pytest.raises(InputError, match="architecture in its metadata cannot be read"):
        load_generator(rewritten(generator_file, lambda tensors, metadata: metadata.update(architecture=text)))


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"conv_clamp": "wide"}, "its conv_clamp is wide"),
        ({"conv_clamp": -1}, "its conv_clamp is -1"),
        ({"channels": [8, 7, "4"]}, "channels is"),
        ({"channels": 8}, "channels is 8"),
        ({"channels": [8, 7]}, "its img_resolution is 16 with 2 widths"),
        ({"img_resolution": [16]}, "img_resolution is"),
        ({"w_dim": 1 << 40}, "w_dim is"),
    ],
)
def test_a_description_of_no_network(told, message, generator_file):
    def change(tensors, metadata):
        metadata["architecture"] = json.dumps({**json.loads(metadata["architecture"]), **told})

    with pytest.raises(InputError, match=message):
        load_generator(rewritten(generator_file, change))


def test_groups_of_nothing(tmp_path):
    save_network(Discriminator(D_ARCH), tmp_path / "d.safetensors")

    def change(tensors, metadata):
        metadata["architecture"] = json.dumps({**json.loads(metadata["architecture"]), "mbstd_group": 0})

    with pytest.raises(InputError, match="its mbstd_group is 0"):
        load_discriminator(rewritten(tmp_path / "d.safetensors", change))


def test_a_file_that_repeats_its_numbers_takes_no_memory(tmp_path):
    """Every tensor of a network of a thousand gigabytes is a view of one number."""
    with torch.device("meta"):
        huge = Generator(GeneratorArchitecture(1 << 15, 0, 1 << 15, 64, 3, 8, (1 << 15,) * 5))
    state = {e.theirs: torch.zeros(4, 4) if e.official is None else None for e in generator_entries(64, 8)}
    for entry in generator_entries(64, 8):
        if entry.official is not None:
            shape = entry.to_theirs(huge.state_dict()[entry.official]).shape
            state[entry.theirs] = torch.zeros([]).expand(shape)
    torch.save({"g_ema": state}, tmp_path / "g.pt")
    assert (tmp_path / "g.pt").stat().st_size < 100_000
    with pytest.raises(InputError, match="claims more numbers than it holds"):
        load_generator(tmp_path / "g.pt")


def test_loading_draws_no_chance_of_the_caller_s(generator_file):
    before = torch.random.get_rng_state()
    load_generator(generator_file)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_other_networks_and_files(generator_file, tmp_path):
    save_network(Discriminator(D_ARCH), tmp_path / "d.safetensors")
    with pytest.raises(InputError, match=r"d\.safetensors does not hold the network"):
        load_generator(tmp_path / "d.safetensors")
    with pytest.raises(InputError, match=r"generator\.safetensors does not hold the network"):
        load_discriminator(generator_file)
    with pytest.raises(InputError, match="no checkpoint at"):
        load_generator(tmp_path / "absent.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(generator_file.read_bytes()[:-5])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        load_generator(tmp_path / "cut.safetensors")
    (tmp_path / "network.exe").write_bytes(b"")
    with pytest.raises(InputError, match=r"its name must end in \.safetensors"):
        load_generator(tmp_path / "network.exe")


def test_devices_and_precisions(generator_file):
    with pytest.raises(InputError, match="fp16 needs a GPU"):
        load_generator(generator_file, precision="fp16")
    with pytest.raises(InputError, match="precision must be one of fp32, bf16, fp16, fp64, got 'fp8'"):
        load_generator(generator_file, precision="fp8")
    with pytest.raises(InputError, match="device 'toaster' cannot be used"):
        load_generator(generator_file, device="toaster")


def test_float32_of_a_gpu_is_float32(monkeypatch):
    """PyTorch's default rounds the inputs of convolutions there to 10 bits."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = (cudnn.allow_tf32, matmul.allow_tf32)
    try:
        cudnn.allow_tf32 = matmul.allow_tf32 = True
        checkpoint.check_device("cpu")
        assert (cudnn.allow_tf32, matmul.allow_tf32) == (True, True)
        monkeypatch.setattr(checkpoint.torch, "empty", lambda *size, device: None)  # as if there were a GPU
        checkpoint.check_device("cuda")
        assert (cudnn.allow_tf32, matmul.allow_tf32) == (False, False)
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


def test_a_network_says_what_it_computes_in(generator_file, tmp_path, monkeypatch):
    save_network(Discriminator(D_ARCH), tmp_path / "d.safetensors")
    for load, path in ((load_generator, generator_file), (load_discriminator, tmp_path / "d.safetensors")):
        for native in (True, False):
            monkeypatch.setattr(checkpoint, "bf16_is_native", lambda device, native=native: native)
            found = [load(path, precision=p).precision for p in ("fp32", "bf16", "fp64")]
            assert found == ["fp32", "bf16" if native else "fp32", "fp64"]


def test_bf16_is_close_to_fp32(network_files, recording, monkeypatch):
    monkeypatch.setattr(checkpoint, "bf16_is_native", lambda device: True)
    ws = recording("generator_b").tensors["in.wplus"]
    exact = load_generator(network_files("generator_b")).synthesis(ws, noise_mode="const")
    fast = load_generator(network_files("generator_b"), precision="bf16").synthesis(ws, noise_mode="const")
    assert fast.dtype == torch.float32
    error = ((fast - exact).square().mean().sqrt() / (exact.max() - exact.min())).item()
    assert 0 < error < 10 ** (-45 / 20)


def test_bf16_is_fp32_where_it_would_be_emulated(network_files, recording, monkeypatch):
    monkeypatch.setattr(checkpoint, "bf16_is_native", lambda device: False)
    ws = recording("generator_b").tensors["in.wplus"]
    images = [
        load_generator(network_files("generator_b"), precision=p).synthesis(ws, noise_mode="const")
        for p in ("fp32", "bf16")
    ]
    assert torch.equal(*images)


def test_noise_modes(generator_file, rng):
    G = load_generator(generator_file)
    for name, parameter in G.named_parameters():
        if name.endswith("noise_strength"):
            parameter.fill_(0.5)
    ws = G.mapping(torch.randn(2, 6, generator=rng))

    def render(mode, seed=None):
        return G.synthesis(ws, noise_mode=mode, rng=None if seed is None else torch.Generator().manual_seed(seed))

    assert torch.equal(render("const"), render("const"))
    assert torch.equal(render("random", 1), render("random", 1))
    assert not torch.equal(render("random", 1), render("random", 2))
    assert not torch.equal(render("const"), render("none"))
    with pytest.raises(ValueError, match="noise_mode must be one of"):
        render("loud")


def test_the_running_mean_moves_only_when_asked(generator_file, rng):
    G = load_generator(generator_file)
    z = torch.randn(64, 6, generator=rng)
    before = G.mapping.w_avg.clone()
    ws = G.mapping(z)
    assert torch.equal(G.mapping.w_avg, before)
    G.mapping(z, update_w_avg=True)
    assert torch.allclose(G.mapping.w_avg, 0.995 * before + 0.005 * ws[:, 0].mean(0), atol=1e-6)
