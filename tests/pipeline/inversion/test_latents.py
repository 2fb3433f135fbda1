"""The file of latent codes: a round trip, the same bytes, and what is refused."""

import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from atlas.errors import InputError
from pipeline.inversion import Latents, read_latents, write_latents


def latents(n=4, layers=3, dim=5, seed=0):
    w = np.random.default_rng(seed).standard_normal((n, layers, dim), dtype=np.float32)
    files = tuple(f"00000/ïmg{i}.png" for i in range(n))
    return Latents(w, files, {"l2": np.arange(n, dtype=np.float32)}, {"method": "projector", "mean": {"l2": 1.5}})


def test_round_trip(tmp_path):
    given, path = latents(), tmp_path / "latents" / "projector.safetensors"
    write_latents(path, given)
    found = read_latents(path)
    np.testing.assert_array_equal(found.w, given.w)
    np.testing.assert_array_equal(found.measures["l2"], given.measures["l2"])
    assert found.files == given.files
    assert found.metadata == {"format": 1, "method": "projector", "mean": {"l2": 1.5}}


def test_same_codes_same_bytes_in_every_process(tmp_path):
    program = (
        "import sys, numpy as np; from pathlib import Path; from pipeline.inversion.latents import *\n"
        "w = np.ones((2, 2, 2), np.float32)\n"
        "m = {k: np.zeros(2) for k in ('l2', 'ssim', 'perceptual')}\n"
        "write_latents(Path(sys.argv[1]), Latents(w, ('a', 'b'), m, {'b': 1, 'a': 2, 'method': 'projector'}))\n"
    )
    paths = [tmp_path / f"{i}.safetensors" for i in range(3)]
    for i, path in enumerate(paths):
        subprocess.run([sys.executable, "-c", program, path], check=True, env={**os.environ, "PYTHONHASHSEED": str(i)})
    assert len({path.read_bytes() for path in paths}) == 1


def test_w_and_w_plus():
    plus = latents()
    assert not plus.broadcast
    assert plus.codes().shape == (4, 15)
    w = Latents(np.repeat(plus.w[:, :1], 3, 1), plus.files)
    assert w.broadcast
    np.testing.assert_array_equal(w.codes(), plus.w[:, 0])


def test_rows_that_do_not_fit_are_refused(tmp_path):
    given = latents()
    with pytest.raises(ValueError, match="4 in w, 3 in files"):
        write_latents(tmp_path / "x.safetensors", Latents(given.w, given.files[:3]))
    save_file({"w": given.w, "files": np.frombuffer(b'["a"]', np.uint8)}, tmp_path / "y.safetensors")
    with pytest.raises(InputError, match="4 in w, 1 in files"):
        read_latents(tmp_path / "y.safetensors")


def test_a_code_that_is_no_number_is_refused(tmp_path):
    given = latents()
    given.w[2, 1, 1] = np.nan
    write_latents(tmp_path / "x.safetensors", given)
    with pytest.raises(InputError, match=r"ïmg2\.png is not finite"):
        read_latents(tmp_path / "x.safetensors")


def test_what_is_no_file_of_latents_is_refused(tmp_path):
    with pytest.raises(InputError, match="no latents at"):
        read_latents(tmp_path / "absent.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    save_file({"normals": np.zeros(3)}, tmp_path / "other.safetensors")
    write_latents(tmp_path / "whole.safetensors", latents())
    (tmp_path / "half.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:-9])
    for name in ("text", "other", "half"):
        with pytest.raises(InputError, match="not a whole file of latents"):
            read_latents(tmp_path / f"{name}.safetensors")
