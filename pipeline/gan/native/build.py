"""Compiles the native operators into the user's cache, once for each version of what they depend on.

A compile runs in a folder of its own and its result is renamed into place, so a killed one leaves nothing that is
taken for whole. Processes that start together wait for the first: it holds a file lock, which the system releases
when its holder ends, however it ends. There is no lock that could become stale.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from atlas.faults import fault_point

SOURCES = Path(__file__).resolve().parent
CPU_SOURCES = ("winograd.cpp", "weights.cpp", "activation.cpp", "resample.cpp")
CUDA_SOURCES = ("operators.cu",)
HEADERS = ("layout.h", "memory.h", "winograd.h")
# OpenMP is compiled in and not linked: PyTorch brings the runtime, and there must be one pool of threads only.
CPU_FLAGS = ("-std=c++20", "-O3", "-march=native", "-fopenmp", "-fPIC", "-Wall")
CUDA_FLAGS = ("-std=c++20", "-O3", "--expt-relaxed-constexpr", "-Xcompiler", "-fPIC")
COMPILE_SECONDS, WAIT_SECONDS = 600, 900


class BuildError(Exception):
    """The operators cannot be compiled here; the message says why in a few words."""


@dataclass(frozen=True)
class Recipe:
    """How one library is made.

    Attributes:
        name: of the library.
        sources: files beside this module.
        compiler: the command that turns them into objects and links them: a program, perhaps with words of its own.
        flags: its options.
    """

    name: str
    sources: tuple[str, ...]
    compiler: tuple[str, ...]
    flags: tuple[str, ...]

    def key(self) -> str:
        """Return a digest of everything the library depends on: sources, PyTorch, compiler, options, processor.

        Raises:
            BuildError: the compiler cannot be run, or a source not be read.
        """
        try:
            version = subprocess.run([*self.compiler, "--version"], capture_output=True, text=True, check=False).stdout
            facts = [self.name, metadata.version("torch"), *self.compiler, version, *self.flags, _processor()]
            digest = hashlib.sha256("\0".join(facts).encode())
            for file in (*self.sources, *HEADERS):
                digest.update((SOURCES / file).read_bytes())
        except OSError as error:
            raise BuildError(f"{error.filename or self.compiler[0]} cannot be used ({error.strerror})") from error
        return digest.hexdigest()[:24]

    def ninja(self) -> str:
        """Return the build file."""
        base = _torch_folder()
        includes = [f"-I{base / 'include'}", f"-I{base / 'include/torch/csrc/api/include'}", f"-I{SOURCES}"]
        compile_line = " ".join(map(_quoted, [*self.compiler, *self.flags, *includes]))
        libraries = [f"-L{base / 'lib'}", "-lc10", "-ltorch_cpu", "-ltorch"]
        if self.compiler[-1].endswith("nvcc"):
            libraries += ["-lc10_cuda", "-ltorch_cuda"]
        objects = [f"{Path(source).stem}.o" for source in self.sources]
        link_line = f"{' '.join(map(_quoted, self.compiler))} -shared $in {' '.join(map(_quoted, libraries))}"
        lines = [
            f"rule compile\n  command = {compile_line} -c $in -o $out",
            f"rule link\n  command = {link_line} -o $out",
            *(f"build {o}: compile {_path(SOURCES / s)}" for o, s in zip(objects, self.sources, strict=True)),
            f"build {self.name}.so: link {' '.join(objects)}",
        ]
        return "\n".join(lines) + "\n"


def cpu_recipe() -> Recipe:
    """Return how the operators for processors are made; $CXX may name the compiler, with options of its own.

    Raises:
        BuildError: there is no compiler.
    """
    try:
        named = shlex.split(os.environ.get("CXX", ""))
    except ValueError as error:
        raise BuildError(f"CXX cannot be read as a command ({error})") from error
    for program, *words in [named] if named else [["c++"], ["g++"], ["clang++"]]:
        path = shutil.which(program)
        if path:
            return Recipe("atlas_native", CPU_SOURCES, (path, *words), CPU_FLAGS)
    raise BuildError(f"there is no C++ compiler{f' {named[0]}, which CXX names' if named else ''}")


def cuda_recipe() -> Recipe:
    """Return how the operators for NVIDIA GPUs are made.

    Raises:
        BuildError: there is no nvcc.
    """
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    compiler = shutil.which(str(Path(home) / "bin" / "nvcc") if home else "nvcc")
    if not compiler:
        raise BuildError("there is no nvcc")
    import torch  # here, so that everything else can be done, and tested, without it

    major, minor = torch.cuda.get_device_capability()
    architecture = f"-gencode=arch=compute_{major}{minor},code=sm_{major}{minor}"
    return Recipe("atlas_native_cuda", CUDA_SOURCES, (compiler,), (*CUDA_FLAGS, architecture))


def cache_folder() -> Path:
    """Return the folder of compiled operators: under $XDG_CACHE_HOME, else under ~/.cache.

    Raises:
        BuildError: there is no home.
    """
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise BuildError("there is no home folder to keep them in: set XDG_CACHE_HOME") from error
    return caches / "inequality-atlas" / "native"


def build(recipe: Recipe, say: Callable[[str], None], again: bool = False) -> Path:
    """Return the library, compiled now if it is not in the cache.

    Args:
        recipe: what to compile.
        say: told, in one line, that a compile begins, or that another process's is waited for.
        again: compile even if it is there: it could not be loaded.

    Raises:
        BuildError: it cannot be compiled, or another process has been at it for too long.
    """
    ninja = _ninja()
    folder, key = cache_folder(), recipe.key()
    library = folder / f"{recipe.name}-{key}.so"
    if library.exists() and not again:
        return library
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(folder / f"{recipe.name}-{key}.lock", say):
            if library.exists() and not again:
                return library
            for leftover in folder.glob(f"{key}.*.partial"):  # of killed compiles: whoever made them is gone
                shutil.rmtree(leftover, ignore_errors=True)
            say(f"compiling {recipe.name}, once, into {folder}")
            _compile(recipe, ninja, folder, key, library)
    except OSError as error:
        raise BuildError(f"{folder} cannot be written ({error.strerror or error})") from error
    return library


def _compile(recipe: Recipe, ninja: str, folder: Path, key: str, library: Path) -> None:
    place = Path(tempfile.mkdtemp(prefix=f"{key}.", suffix=".partial", dir=folder))
    try:
        (place / "build.ninja").write_text(recipe.ninja())
        fault_point("native.compile")
        done = subprocess.run(
            [ninja, "-C", str(place)], capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False
        )
        if done.returncode:
            wrong = next((line for line in done.stdout.splitlines() if "error" in line), done.stdout[-200:])
            raise BuildError(f"the compiler failed: {wrong.strip()}")
        fault_point("native.compiled")
        (place / f"{recipe.name}.so").replace(library)
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"the compiler took more than {COMPILE_SECONDS} s") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _locked(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock at ``path``, waiting for whoever has it.

    Raises:
        BuildError: it was not released in time, or this system has no such locks.
    """
    try:
        import fcntl  # here, because Windows has none, and the plain operators need none
    except ImportError:
        raise BuildError("this system has no file locks that are released with their holder") from None

    with path.open("w") as stream:  # children do not inherit it, so no compiler that outlives us keeps it
        begun = time.monotonic()
        waiting = False
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if not waiting:
                    say(f"another process is compiling the native operators: waiting for it, {WAIT_SECONDS} s at most")
                waiting = True
                if time.monotonic() > begun + WAIT_SECONDS:
                    raise BuildError(f"another process has held {path} for {WAIT_SECONDS} s") from error
                time.sleep(0.1)
        yield


def _torch_folder() -> Path:
    """Return the folder of PyTorch, whose headers and libraries the operators are compiled against."""
    found = util.find_spec("torch")
    if found is None or found.origin is None:
        raise BuildError("there is no PyTorch")
    return Path(found.origin).resolve().parent


def _ninja() -> str:
    found = shutil.which("ninja")
    if found is None:
        try:
            from ninja import BIN_DIR
        except ImportError:
            raise BuildError("there is no ninja") from None
        found = shutil.which("ninja", path=BIN_DIR)
    if found is None:
        raise BuildError("there is no ninja")
    return found


def _processor() -> str:
    """Return what tells processors with different instructions apart: -march=native compiles for this one."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    return "\n".join(next((line for line in lines if line.startswith(n)), "") for n in ("model name", "flags"))


def _quoted(word: str) -> str:
    """Quote a word for the shell that ninja calls, and its dollars for ninja itself."""
    return shlex.quote(word).replace("$", "$$")


def _path(path: Path) -> str:
    """Escape a path in a build line of ninja."""
    return str(path).replace("$", "$$").replace(" ", "$ ").replace(":", "$:")
