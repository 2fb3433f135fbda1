"""NVIDIA's .pkl: read number by number, checked against what it says of itself, and never run."""

import contextlib
import copy
import io
import os
import pickle
import pickletools
import random
import re
import struct

import pytest
import torch

from atlas.errors import InputError
from pipeline.gan import Discriminator, load_discriminator, load_generator
from pipeline.gan.architecture import DiscriminatorArchitecture, GeneratorArchitecture
from pipeline.gan.nvidia import PickledModule, read_nvidia

G_ARCH = GeneratorArchitecture(6, 0, 6, 16, 3, 2, (8, 8, 4), conv_clamp=256.0)
D_ARCH = DiscriminatorArchitecture(0, 16, 3, (8, 8, 4), mbstd_group=2, conv_clamp=256.0)


@pytest.fixture
def networks(make_generator, official_arguments):
    D = Discriminator(D_ARCH)
    return {
        "G": (make_generator(G_ARCH, 5), official_arguments(G_ARCH)),
        "D": (D, official_arguments(D_ARCH)),
        "G_ema": (make_generator(G_ARCH, 1), official_arguments(G_ARCH)),
    }


@pytest.fixture
def write(tmp_path, pickle_networks):
    """Write networks, or bytes, to a .pkl and give its path."""

    def write(content, *arguments, **further):
        path = tmp_path / "network.pkl"
        path.write_bytes(content if isinstance(content, bytes) else pickle_networks(content, *arguments, **further))
        return path

    return write


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_the_same_networks_come_back(protocol, networks, write, rng):
    path = write(networks, protocol)
    G, D = load_generator(path), load_discriminator(path)
    original, judge = networks["G_ema"][0], networks["D"][0]
    assert (G.architecture, D.architecture) == (G_ARCH, D_ARCH)
    for mine, theirs in ((G, original), (D, judge)):
        for (name, mine_t), theirs_t in zip(mine.state_dict().items(), theirs.state_dict().values(), strict=True):
            assert torch.equal(mine_t, theirs_t), name
    z = torch.randn(2, 6, generator=rng)
    images = G.synthesis(G.mapping(z, truncation_psi=0.7), noise_mode="const")
    assert torch.equal(images, original.synthesis(original.mapping(z, truncation_psi=0.7), noise_mode="const"))
    assert torch.equal(D(images), judge(images))


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_the_test_s_files_name_what_the_official_program_s_name(protocol, networks, pickle_networks, layouts):
    """What is read here is what the official program writes: the same globals, in files of every protocol."""
    data = pickle_networks(networks, protocol)
    named = set()
    texts = []
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name == "GLOBAL":
            named.add(tuple(argument.split(" ")))
        elif "UNICODE" in opcode.name:
            texts.append(argument)
    expected = {tuple(g) for g in layouts["nvidia_pkl"]["globals"]["by_pickle_protocol"][str(protocol)]}
    if protocol < 4:
        assert named == expected
    else:
        assert all(part in texts for pair in expected for part in pair)


def test_the_official_layout(layouts, pickle_networks, official_arguments, make_generator, write):
    """Names, shapes and order as recorded; the architecture from the recorded arguments."""
    recorded = layouts["nvidia_pkl"]["nets"]
    arch = GeneratorArchitecture(64, 0, 64, 32, 3, 2, (64, 64, 64, 32), conv_clamp=256.0)
    judge = DiscriminatorArchitecture(0, 32, 3, (64, 64, 64, 32), conv_clamp=256.0)
    assert official_arguments(arch) == recorded["G_ema"]["init_kwargs"]
    assert official_arguments(judge) == recorded["D"]["init_kwargs"]
    path = write(
        {
            "D": (Discriminator(judge), recorded["D"]["init_kwargs"]),
            "G_ema": (make_generator(arch), recorded["G_ema"]["init_kwargs"]),
        }
    )
    for name, module in read_nvidia(path).items():
        found = [[n, list(t.shape), str(t.dtype).removeprefix("torch.")] for n, t in module.tensors().items()]
        assert found == recorded[name]["state_dict"]
    assert (load_generator(path).architecture, load_discriminator(path).architecture) == (arch, judge)


def test_conditional_networks(make_generator, official_arguments, write):
    arch = GeneratorArchitecture(6, 3, 5, 8, 3, 3, (6, 4))
    judge = DiscriminatorArchitecture(3, 8, 3, (6, 4), cmap_dim=6, mapping_layers=4)
    G, D = make_generator(arch), Discriminator(judge)
    path = write({"G_ema": (G, official_arguments(arch)), "D": (D, official_arguments(judge))})
    assert load_generator(path).architecture == arch
    assert load_discriminator(path).architecture == judge


def test_a_later_version_gives_the_options_at_the_top(networks, write):
    _, arguments = networks["G_ema"]
    flat = {**arguments, **arguments["synthesis_kwargs"], "fused_modconv_default": "inference_only"}
    del flat["synthesis_kwargs"]
    networks["G_ema"] = (networks["G_ema"][0], flat)
    assert load_generator(write(networks)).architecture == G_ARCH


def test_networks_that_came_from_tensorflow_say_more(networks, write):
    """The official converter of older networks spells out what is usual."""
    G, D = networks["G_ema"], networks["D"]
    G[1]["mapping_kwargs"].update(
        embed_features=None, layer_features=6, activation="lrelu", lr_multiplier=0.01, w_avg_beta=0.995
    )
    G[1]["synthesis_kwargs"].update(
        channel_base=64.0, architecture="skip", resample_filter=(1, 3, 3, 1), use_noise=True, activation="lrelu"
    )
    D[1].update(
        cmap_dim=512,
        block_kwargs={"activation": "lrelu", "resample_filter": [1, 3, 3, 1], "freeze_layers": 0},
        mapping_kwargs={"num_layers": 0, "embed_features": 512, "layer_features": None, "lr_multiplier": 0.1},
        epilogue_kwargs={"mbstd_group_size": None, "mbstd_num_channels": 1, "activation": "lrelu"},
    )
    path = write(networks)
    assert load_generator(path).architecture == G_ARCH
    D = load_discriminator(path)
    images = torch.randn(6, 3, 16, 16)
    assert torch.equal(D(images), with_groups_of(networks["D"][0], 6)(images))


def with_groups_of(D, group):
    D = copy.deepcopy(D)
    D.b4.group = group
    return D


def test_frozen_layers_are_buffers_and_half_precision_is_channels_last(networks, write):
    D, arguments = networks["D"]
    D = copy.deepcopy(D)
    for layer in (D.b16.fromrgb, D.b16.conv0):
        weight = layer.weight.detach()
        del layer.weight
        layer.register_buffer("weight", weight.to(memory_format=torch.channels_last))
    arguments["block_kwargs"] = {"freeze_layers": 2, "fp16_channels_last": True}
    loaded = load_discriminator(write({**networks, "D": (D, arguments)}))
    for name, tensor in networks["D"][0].state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_everything_that_is_wrong_is_listed_at_once(networks, write):
    G = copy.deepcopy(networks["G_ema"][0])
    del G.synthesis.b8.conv0.bias
    G.synthesis.b8.conv1.noise_const = torch.zeros(9, 9)
    G.synthesis.register_buffer("extra", torch.zeros(1))
    with pytest.raises(InputError) as error:
        load_generator(write({"G_ema": (G, networks["G_ema"][1])}))
    for part in (
        "synthesis.b8.conv0.bias is missing",
        "synthesis.b8.conv1.noise_const must be [8, 8], got [9, 9]",
        "synthesis.extra is unexpected",
    ):
        assert part in str(error.value)


def test_arguments_that_contradict_the_tensors(networks, write):
    networks["G_ema"][1]["mapping_kwargs"] = {}  # that would be eight layers
    with pytest.raises(InputError, match=r"description contradicts its tensors: mapping_layers is 8 against 2"):
        load_generator(write(networks))


def endless():
    """A list that would take a billion lines to print."""
    laughs: list = []
    for _ in range(40):
        laughs = [laughs, laughs]
    return laughs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": "orig"}, "architecture must be skip, got orig"),
        ({"resample_filter": [1, 2, 1]}, r"resample_filter must be \[1, 3, 3, 1\]"),
        ({"use_noise": False}, "use_noise must be True, got False"),
        ({"magic": 1}, "synthesis_kwargs.magic is an unknown option"),
        ({"channel_base": "wide"}, "channel_base must be a whole number below 2³¹, got wide"),
        ({"channel_max": 10**5000}, "channel_max must be a whole number below 2³¹, got something of type int"),
        ({"architecture": endless()}, "architecture must be skip, got something of type list"),
        ({"channel_base": endless()}, "channel_base must be a whole number below 2³¹, got something of type list"),
        ({"conv_clamp": float("nan")}, "describes no network: its conv_clamp is nan"),
    ],
)
def test_options_that_are_not_stylegan2s_are_errors(change, message, networks, write):
    networks["G_ema"][1]["synthesis_kwargs"].update(change)
    with pytest.raises(InputError, match=message):
        load_generator(write(networks))


def test_files_of_another_kind(write, networks, tmp_path):
    with pytest.raises(InputError, match="must hold a network named G_ema"):
        load_generator(write({"D": networks["D"]}))
    with pytest.raises(InputError, match="does not hold the network that was asked for, a discriminator"):
        load_discriminator(write({"G_ema": networks["G_ema"]}))
    with pytest.raises(InputError, match="older TensorFlow kind"):
        load_generator(write(b"\x80\x03cdnnlib.tflib.network\nNetwork\n)\x81}b."))
    with pytest.raises(InputError, match="no checkpoint at"):
        load_generator(tmp_path / "absent.pkl")
    for content in (b"", b"not a pickle", pickle.dumps([1])):
        with pytest.raises(InputError, match=r"network\.pkl"):
            load_generator(write(content))


class Call:
    def __init__(self, function, *arguments):
        self.parts = (function, arguments)

    def __reduce__(self):
        return self.parts


def storage_of(numbers: torch.Tensor) -> bytes:
    """A storage as the file holds it."""
    buffer = io.BytesIO()
    torch.save(numbers._typed_storage(), buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


class Blob:
    """Pickles as a storage whose bytes are given."""

    def __init__(self, data):
        self.data = data

    def __reduce__(self):
        return torch.storage._load_from_bytes, (self.data,)


class TestPayloads:
    """Each leaves a mark if it runs. None may."""

    @pytest.fixture
    def payload(self, tmp_path):
        self.marker = tmp_path / "ran"
        return Call(os.system, f"touch {self.marker}")

    def refused(self, path):
        for load in (load_generator, load_discriminator):
            with pytest.raises(InputError) as error:
                load(path)
            assert "\n" not in str(error.value)
            assert str(path) in str(error.value)
            assert not self.marker.exists()
        return str(error.value)

    def test_at_the_top(self, payload, networks, write):
        assert "system" in self.refused(write(networks, training_set_kwargs=payload))

    def test_within_a_module(self, payload, networks, write, pickle_networks):
        data = pickle_networks(networks, 2)
        inner = pickle.dumps(payload, 2)[2:-1]
        # In place of the text "Generator" as a class's name stands the call.
        assert "system" in self.refused(write(data.replace(b"X\t\x00\x00\x00Generator", inner, 1)))

    def test_in_the_bytes_of_a_storage(self, payload, networks, write):
        assert "system" in self.refused(write(networks, extra=Blob(pickle.dumps(payload, 2))))

    @pytest.mark.parametrize("place", range(5))
    def test_in_each_pickle_of_a_storage(self, place, payload, networks, write):
        data = storage_of(torch.arange(3.0))
        stream, parts = io.BytesIO(data), []
        for _ in range(5):
            start = stream.tell()
            list(pickletools.genops(stream))
            parts.append(data[start : stream.tell()])
        parts[place] = pickle.dumps(payload, 2)
        assert "system" in self.refused(write(networks, extra=Blob(b"".join(parts) + data[stream.tell() :])))

    def test_the_source_code_that_every_official_file_carries(self, networks, write, tmp_path):
        self.marker = tmp_path / "ran"
        data = write(networks).read_bytes()
        source = f"open({str(self.marker)!r}, 'w')".encode()
        old = b"\x8c\x10raise SystemExit"
        assert old in data
        path = write(data.replace(old, b"X" + struct.pack("<I", len(source)) + source))
        assert load_generator(path).architecture == G_ARCH  # read, and the source left alone
        assert not self.marker.exists()


def bad_storages():
    good = storage_of(torch.arange(6.0))
    number = struct.pack("<q", 6)
    at = good.rindex(number)
    yield "cut", good[:-1]
    yield "longer", good + b"\0"
    yield "more are declared than there are", good[:at] + struct.pack("<q", 2**40) + good[at + 8 :]
    yield "a negative number", good[:at] + struct.pack("<q", -1) + good[at + 8 :]
    described = re.search(rb"K\x06", good)
    yield "described as larger", good[: described.start()] + b"J\xff\xff\xff\x7f" + good[described.end() :]
    yield "of another type", good.replace(b"FloatStorage", b"DoubleStorag")
    yield "no storage at all", pickle.dumps(5)
    yield "empty", b""


@pytest.mark.parametrize(("what", "data"), list(bad_storages()), ids=[what for what, _ in bad_storages()])
def test_storages_that_are_not_as_declared(what, data, networks, write):
    with pytest.raises(InputError, match=r"network\.pkl is (damaged|not read)"):
        load_generator(write(networks, extra=Blob(data)))


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [
        (0, (2**30, 2**30), (0, 0)),  # repeats one number
        (0, (7,), (1,)),  # one more than there are
        (4, (3,), (1,)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2,), (2**70,)),
        (0, (2, 3), (1,)),
        (0, (1,), (2**70,)),
    ],
)
def test_tensors_that_reach_beyond_their_storage(offset, size, stride, networks, write):
    tensor = Call(torch._utils._rebuild_tensor_v2, Blob(storage_of(torch.arange(6.0))), offset, size, stride, False, {})
    with pytest.raises(InputError, match=r"network\.pkl is damaged"):
        load_generator(write(networks, extra=tensor))


def test_modules_that_stand_in_themselves_or_in_two_places():
    def module(tensors=(), modules=()):
        return PickledModule("Layer", {"_parameters": dict(tensors), "_buffers": {}, "_modules": dict(modules)})

    storage = torch.arange(64.0)
    assert list(module({"w": storage[:32]}, {"m": module({"v": storage[32:]})}).tensors()) == ["w", "m.v"]
    loop, twice = module(), module()
    loop.state["_modules"]["m"] = loop
    deep = module()
    for _ in range(40):
        deep = module((), {"m": deep})
    wide = module((), {f"m{i}": module(dict.fromkeys(map(str, range(200)))) for i in range(60)})
    for wrong in (loop, module((), {"a": twice, "b": twice}), deep, wide):
        with pytest.raises(ValueError, match=r"module stands within|more tensors and modules"):
            wrong.tensors()


def test_a_file_cut_anywhere_is_one_clear_line(networks, write):
    data = write(networks).read_bytes()
    for length in range(0, len(data) - 1, max(1, len(data) // 60)):
        with pytest.raises(InputError, match=r"network\.pkl"):
            load_generator(write(data[:length]))


def test_files_changed_at_random_end_in_networks_or_one_error(
    pickle_networks, official_arguments, make_generator, write
):
    arch = GeneratorArchitecture(2, 0, 2, 8, 3, 1, (2, 2))
    whole = pickle_networks({"G_ema": (make_generator(arch), official_arguments(arch))})
    places = [place for _, _, place in pickletools.genops(whole)]
    chance = random.Random(1)
    for _ in range(60):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 3)):
            data[chance.choice(places) + chance.randint(0, 3)] = data[chance.choice(places)]
        with contextlib.suppress(InputError):
            load_generator(write(bytes(data)))
