"""Files that do not belong together, and options that would be ignored, are refused before any work begins."""

from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

from atlas.cli import main
from atlas.errors import InputError
from atlas.files import sha256_path
from atlas.preset import BoundarySettings
from pipeline.boundaries.sources import Sources
from pipeline.commands.boundaries import parse_encoders
from pipeline.gan import Generator, save_network
from pipeline.gan.architecture import GeneratorArchitecture
from pipeline.inversion import read_latents, save_encoder, write_latents
from pipeline.inversion.encoders.architecture import EncoderArchitecture
from pipeline.inversion.encoders.encoder import Encoder


def make_generator(path, dim=16, seed=0):
    torch.manual_seed(seed)
    generator = Generator(GeneratorArchitecture(dim, 0, dim, 8, 3, 2, (8, 8))).eval()
    save_network(generator, path)
    return generator


@pytest.fixture(scope="module")
def files(few, tmp_path_factory):
    """Generators of the street's codes, encoders for them, and latents that say what they were made with."""
    folder = tmp_path_factory.mktemp("networks")
    generator = make_generator(folder / "own.safetensors")
    make_generator(folder / "another.safetensors", seed=1)
    make_generator(folder / "narrow.safetensors", dim=4)
    for method in ("e4e", "restyle"):
        torch.manual_seed(3)
        arch = EncoderArchitecture.made_for(method, "narrow", "e4e", generator.num_ws, generator.w_dim, 8, 2)
        save_encoder(Encoder(arch, generator.mapping.w_avg, generator).eval(), folder / f"{method}.encoder.safetensors")
    made_with = {
        "generator_sha256": sha256_path(folder / "own.safetensors"),
        "encoder_sha256": sha256_path(folder / "e4e.encoder.safetensors"),
    }
    every = read_latents(few.latents)
    write_latents(folder / "e4e.safetensors", every, {"method": "e4e", **made_with})
    write_latents(folder / "projector.safetensors", every, {"method": "projector", "start": "restyle"})
    return SimpleNamespace(folder=folder, data=few.data, plain=few.latents)


def boundaries(files, latents, *options, out="out"):
    command = ["boundaries", "--latents", str(latents), "--data", str(files.data), "--out", str(files.folder / out)]
    result = CliRunner().invoke(main, [*command, *(str(o) for o in options)])
    assert not (files.folder / out / "report.json").exists()
    return result


def refused(result, *words):
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--encoder", "e4e={encoder}"), "encoders can be used with a generator only"),
        (("--comparison", "{encoder}"), "a comparison can be used with a generator only"),
        (("--umap",), "UMAP can be used with a generator only"),
        (("--bases", "4"), "--bases is about rendered images: give --generator too"),
        (("--reinvert-steps", "4"), "--reinvert-steps is about rendered images"),
        (("--figures",), "--figures is about rendered images"),
    ],
)
def test_what_needs_images_needs_a_generator(files, options, words):
    encoder = files.folder / "e4e.encoder.safetensors"
    refused(boundaries(files, files.plain, *(o.format(encoder=encoder) for o in options)), words)


def with_generator(files, name, latents, *options):
    return boundaries(files, files.folder / latents, "--generator", files.folder / name, *options)


def test_an_encoder_of_a_method_that_was_not_given(files):
    encoder = f"nonsense={files.folder / 'e4e.encoder.safetensors'}"
    result = with_generator(files, "own.safetensors", "e4e.safetensors", "--encoder", encoder)
    refused(result, "an encoder of nonsense was given", "there are codes of e4e")


def test_an_encoder_of_another_method_or_another_encoder(files):
    wrong = f"e4e={files.folder / 'restyle.encoder.safetensors'}"
    refused(
        with_generator(files, "own.safetensors", "e4e.safetensors", "--encoder", wrong),
        "restyle.encoder.safetensors is an encoder of restyle and not of e4e",
    )
    torch.manual_seed(9)
    generator = make_generator(files.folder / "again.safetensors")
    arch = EncoderArchitecture.made_for("e4e", "narrow", "e4e", generator.num_ws, generator.w_dim, 8, 2)
    torch.manual_seed(9)
    save_encoder(Encoder(arch, generator.mapping.w_avg, generator).eval(), files.folder / "other.safetensors")
    refused(
        with_generator(
            files, "own.safetensors", "e4e.safetensors", "--encoder", f"e4e={files.folder}/other.safetensors"
        ),
        "e4e.safetensors were made with another encoder",
    )


def test_another_generator_is_refused_even_of_the_same_shape(files):
    refused(
        with_generator(files, "another.safetensors", "e4e.safetensors"),
        "e4e.safetensors were made with another generator",
    )
    refused(
        with_generator(files, "narrow.safetensors", "projector.safetensors"), "must be [4, 4] as the generator's are"
    )


def test_what_belongs_together_is_taken(files):
    encoders = {m: files.folder / f"{m}.encoder.safetensors" for m in ("e4e", "restyle")}
    latents = (files.folder / "e4e.safetensors", files.folder / "projector.safetensors")  # which started from ReStyle's
    sources = Sources(latents, files.data, files.folder / "own.safetensors", encoders, None, "cpu")
    sources.require_used(BoundarySettings())
    sources.require_belonging(make_generator(files.folder / "own.safetensors"))


def test_more_bases_inverted_again_than_walked(files):
    result = with_generator(files, "own.safetensors", "e4e.safetensors", "--bases", "4", "--reinverted", "5")
    refused(result, "of the 4 bases that are walked, 5 cannot be inverted again")


def test_umap_is_missed_before_the_evaluation(files, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = with_generator(files, "own.safetensors", "e4e.safetensors", "--umap")
    refused(result, "needs umap-learn, which is not installed")
    assert not (files.folder / "out" / "evidence.parts").exists()
    refused(with_generator(files, "own.safetensors", "e4e.safetensors", "--umap", "--no-figures"), "UMAP draws figures")


def test_validate_refuses_another_generator(files, tmp_path):
    from pipeline.photos.calibration.street import make_calibration
    from pipeline.photos.dataset import open_dataset

    make_calibration(tmp_path / "dataset.zip", photographs=20, size=8, seed=1, workers=1)
    names = open_dataset(tmp_path / "dataset.zip").files
    every = read_latents(files.plain)
    few = type(every)(every.w[:20], names)
    made_with = {"generator_sha256": sha256_path(files.folder / "own.safetensors")}
    write_latents(tmp_path / "projector.safetensors", few, {"method": "projector", **made_with})

    def validate(generator):
        command = ["validate", "--generator", str(files.folder / generator)]
        command += ["--latents", str(tmp_path / "projector.safetensors"), "--data", str(tmp_path / "dataset.zip")]
        return CliRunner().invoke(main, command)

    refused(validate("narrow.safetensors"), "projector.safetensors must be [4, 4] as the generator's are, got [4, 16]")
    refused(validate("another.safetensors"), "were made with another generator")


def test_encoders_by_method(tmp_path):
    (tmp_path / "a=b").write_text("")
    assert parse_encoders((f"e4e={tmp_path / 'a=b'}",)) == {"e4e": tmp_path / "a=b"}
    for text in ("e4e", f"={tmp_path / 'a=b'}", "e4e=", f"e4e={tmp_path}", f"e4e={tmp_path / 'absent'}"):
        with pytest.raises(InputError, match="--encoder must be METHOD=FILE with a file that exists, got"):
            parse_encoders((text,))
    with pytest.raises(InputError, match="--encoder gives two files for e4e"):
        parse_encoders((f"e4e={tmp_path / 'a=b'}", f"e4e={tmp_path / 'a=b'}"))
