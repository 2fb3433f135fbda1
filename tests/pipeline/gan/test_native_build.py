"""Compiling: once, in whatever way it is interrupted; and the plain operators wherever it cannot be done."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from pipeline.gan.native import build as native_build
from pipeline.gan.native.build import BuildError, cpu_recipe

LOAD = "import torch; from pipeline.gan.native import operators; print(operators(torch.device('cpu')) is not None)"
# Computes something that a native operator would do, and says whether the plain version did it right.
USE = (
    "import torch, torch.nn.functional as F; from pipeline.gan import ops;"
    "x, w = torch.ones(1, 32, 128, 128), torch.ones(32, 32, 3, 3);"
    "print(torch.allclose(ops.conv2d_resample(x, w, padding=1), F.conv2d(x, w, padding=1)))"
)
try:
    cpu_recipe()
    COMPILER = True
except BuildError:
    COMPILER = False
needs_compiler = pytest.mark.skipif(not COMPILER, reason="no C++ compiler on this machine")
# A compiler that is quick and leaves a file that is no library.
FAKE = """#!/bin/sh
case "$*" in *--version*) echo fake 1; exit;; esac
echo run >> "$FAKE_LOG"
sleep "${FAKE_SLEEP:-0}"
while [ $# -gt 1 ]; do [ "$1" = -o ] && echo nonsense > "$2"; shift; done
exit "${FAKE_STATUS:-0}"
"""


@pytest.fixture
def fake_compiler(tmp_path):
    path = tmp_path / "bin" / "fake-c++"
    path.parent.mkdir()
    path.write_text(FAKE)
    path.chmod(0o755)
    return path


def environment(tmp_path, **more):
    kept = {k: v for k, v in os.environ.items() if k != "ATLAS_NATIVE"}
    return {**kept, "XDG_CACHE_HOME": str(tmp_path / "cache"), "FAKE_LOG": str(tmp_path / "log"), **more}


def start(code, env):
    return subprocess.Popen([sys.executable, "-c", code], env=env, stdout=-1, stderr=-1, text=True)


def run(code, env):
    process = start(code, env)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out.strip(), err


def test_without_a_compiler_the_plain_operators_run_and_a_line_says_so(tmp_path):
    env = environment(tmp_path, PATH=str(tmp_path))
    env.pop("CXX", None)
    out, err = run(USE, env)
    assert out == "True"
    assert err.count("\n") == 1
    assert "native operators for cpu are not used: there is no C++ compiler" in err


def test_they_can_be_switched_off_without_a_word(tmp_path):
    out, err = run(LOAD, environment(tmp_path, ATLAS_NATIVE="0"))
    assert (out, err) == ("False", "")
    assert not (tmp_path / "cache").exists()


def test_a_failing_compiler(tmp_path, fake_compiler):
    out, err = run(USE, environment(tmp_path, CXX=str(fake_compiler), FAKE_STATUS="1"))
    assert out == "True"
    assert "the compiler failed" in err
    assert not list((tmp_path / "cache").rglob("*.partial"))


def test_a_library_that_cannot_be_loaded_is_compiled_again_and_then_given_up(tmp_path, fake_compiler):
    out, err = run(USE, environment(tmp_path, CXX=str(fake_compiler)))
    assert out == "True"
    assert "cannot be loaded" in err
    assert err.count("compiling atlas_native") == 2


def test_a_cache_that_cannot_be_written(tmp_path, fake_compiler):
    (tmp_path / "cache").write_text("a file in its place")
    out, err = run(USE, environment(tmp_path, CXX=str(fake_compiler)))
    assert out == "True"
    assert "cannot be written" in err


def test_two_processes_at_once_compile_once(tmp_path, fake_compiler):
    code = "from pipeline.gan.native.build import build, cpu_recipe; print(build(cpu_recipe(), print))"
    env = environment(tmp_path, CXX=str(fake_compiler), FAKE_SLEEP="1")
    both = [start(code, env) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert all(process.returncode == 0 for process in both)
    assert sorted(o.count("compiling atlas_native") for o in outputs) == [0, 1]
    assert sum(o.count("another process is compiling the native operators") for o in outputs) == 1
    assert len({o.splitlines()[-1] for o in outputs}) == 1
    sources = len(cpu_recipe().sources)
    assert (tmp_path / "log").read_text().count("run") == sources + 1


@pytest.mark.parametrize("point", ["native.compile", "native.compiled"])
def test_a_killed_compile_leaves_nothing_that_is_taken_for_whole(tmp_path, fake_compiler, point):
    code = "from pipeline.gan.native.build import build, cpu_recipe; print(build(cpu_recipe(), print))"
    env = environment(tmp_path, CXX=str(fake_compiler))
    killed = start(code, {**env, "ATLAS_FAULT": point})
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert not list((tmp_path / "cache" / "inequality-atlas" / "native").glob("*.so"))
    out, _ = run(code, env)
    library = out.splitlines()[-1]
    assert library.endswith(".so")
    left = [p.name for p in (tmp_path / "cache" / "inequality-atlas" / "native").iterdir()]
    assert len(left) == 2  # the library and its lock
    assert not any(name.endswith(".partial") for name in left)


def test_one_that_is_killed_while_another_waits_lets_it_go_on(tmp_path, fake_compiler):
    code = "from pipeline.gan.native.build import build, cpu_recipe; print(build(cpu_recipe(), print), flush=True)"
    first = start(code, environment(tmp_path, CXX=str(fake_compiler), FAKE_SLEEP="60"))
    until = time.monotonic() + 60
    while not (tmp_path / "log").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    second = start(code, environment(tmp_path, CXX=str(fake_compiler)))
    first.kill()
    first.communicate(timeout=60)
    out, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    assert out.splitlines()[-1].endswith(".so")


@needs_compiler
def test_operators_that_fail_their_check_are_not_used(tmp_path):
    code = (
        "import torch; from pipeline.gan.native import loader;"
        "loader.plain_conv = lambda *given, plain=loader.plain_conv: 1.01 * plain(*given);" + USE
    )
    cached = os.environ.get("XDG_CACHE_HOME")
    env = environment(tmp_path)
    env.pop("XDG_CACHE_HOME") if cached is None else env.update(XDG_CACHE_HOME=cached)
    out, err = run(code, env)
    assert out == "True"
    assert "native operators for cpu are not used: conv (same) is off by" in err
    assert "plain PyTorch runs in their place" in err


def test_the_key_hangs_on_all_that_matters(monkeypatch, fake_compiler):
    import dataclasses

    monkeypatch.setenv("CXX", str(fake_compiler))
    monkeypatch.setenv("FAKE_LOG", os.devnull)
    recipe = cpu_recipe()
    keys = {recipe.key(), dataclasses.replace(recipe, flags=("-O0",)).key()}
    monkeypatch.setattr("pipeline.gan.native.build.metadata.version", lambda name: "0.0")
    keys.add(recipe.key())
    monkeypatch.setattr("pipeline.gan.native.build._processor", lambda: "another")
    keys.add(recipe.key())
    assert len(keys) == 4


def test_a_missing_compiler_is_told(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BuildError, match=r"no C\+\+ compiler"):
        cpu_recipe()


def test_the_compiler_may_be_a_command(monkeypatch, tmp_path, fake_compiler):
    """CXX="ccache g++", CXX="g++ -pthread": the words stand first in every call."""
    monkeypatch.setenv("FAKE_LOG", os.devnull)
    monkeypatch.setenv("CXX", f"'{fake_compiler}' -pthread")
    recipe = cpu_recipe()
    assert recipe.compiler == (str(fake_compiler), "-pthread")
    commands = [line for line in recipe.ninja().splitlines() if "command = " in line]
    assert len(commands) == 2
    assert all(f"{fake_compiler} -pthread -" in command for command in commands)
    assert recipe.key() != native_build.Recipe(recipe.name, recipe.sources, recipe.compiler[:1], recipe.flags).key()
    monkeypatch.setenv("CXX", "g++ '")
    with pytest.raises(BuildError, match="CXX cannot be read as a command"):
        cpu_recipe()
    monkeypatch.setenv("CXX", "no-such-compiler -pthread")
    with pytest.raises(BuildError, match="no C\\+\\+ compiler no-such-compiler, which CXX names"):
        cpu_recipe()


@pytest.mark.parametrize("content", [b"\x7fELF nonsense", b"#!/no/such/shell\n"])
def test_a_compiler_that_cannot_be_run(tmp_path, fake_compiler, content):
    fake_compiler.write_bytes(content)
    out, err = run(USE, environment(tmp_path, CXX=str(fake_compiler)))
    assert out == "True"
    assert "native operators for cpu are not used: " in err
    assert "cannot be used" in err


@pytest.mark.parametrize("error", ["RuntimeError('first line\\nsecond')", "AttributeError('no such operator')"])
def test_a_check_that_breaks_off_is_a_check_that_fails(tmp_path, error):
    code = (
        "from pipeline.gan.native import loader\n"
        f"def fail(native): raise {error}\n"
        "loader._load, loader._KINDS['cpu'] = lambda recipe: None, (lambda: None, fail)\n" + USE
    )
    out, err = run(code, environment(tmp_path))
    assert out == "True"
    assert err.count("\n") == 1
    assert "plain PyTorch runs in their place" in err


def test_a_system_without_such_locks(tmp_path, fake_compiler):
    """Windows has no fcntl; the plain operators must not need it."""
    code = "import sys; sys.modules['fcntl'] = None;" + USE
    out, err = run(code, environment(tmp_path, CXX=str(fake_compiler)))
    assert out == "True"
    assert "this system has no file locks" in err


def test_a_missing_home_is_told(monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("pathlib.Path.home", nowhere)
    with pytest.raises(BuildError, match="no home folder"):
        native_build.cache_folder()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc on this machine")
def test_the_cuda_sources_compile(tmp_path):
    """Also without a GPU, and against a PyTorch that was built without CUDA (whose configuration header is absent)."""
    torch_folder = native_build._torch_folder()
    includes = [f"-I{torch_folder / 'include'}", f"-I{torch_folder / 'include/torch/csrc/api/include'}"]
    options = [*native_build.CUDA_FLAGS, "-gencode=arch=compute_80,code=sm_80", "-DC10_CUDA_NO_CMAKE_CONFIGURE_FILE"]
    for source in native_build.CUDA_SOURCES:
        command = ["nvcc", *options, *includes, "-c", str(native_build.SOURCES / source), "-o", str(tmp_path / "out.o")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "out.o").stat().st_size > 10_000
