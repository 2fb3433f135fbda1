"""Imports flow one way; each outside library has its home. Read from the source, so lazy imports count too."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted([*ROOT.glob("atlas/**/*.py"), *ROOT.glob("pipeline/**/*.py")])

# room → rooms of the pipeline it may import besides itself
ALLOWED = {
    "photos": {"features"},
    "gan": {"photos", "processes", "torchfile"},
    "features": set(),
    "processes": {"torchrun"},
    "torchfile": set(),
    "torchrun": set(),
    "weights": {"gan", "torchfile"},
    "lpips": {"features", "weights"},
    "inversion": {"photos", "gan", "features", "lpips", "processes", "weights", "torchfile"},
    "metrics": {"photos", "gan", "features", "lpips", "weights", "inversion"},
    "boundaries": {"photos", "gan", "inversion", "features"},
    "render": {"photos", "gan", "inversion", "boundaries"},
}
# outside library → the only files that may import it
HOMES = {
    "zarr": {"atlas/archive.py"},
    "jinja2": {"atlas/site.py"},
    "matplotlib": {"pipeline/boundaries/figures/canvas.py"},
    "httpx": {"pipeline/photos/fetch/web.py"},
    "PIL": {
        *("atlas/codec.py", "atlas/doctor.py", "pipeline/photos/", "pipeline/gan/samples.py"),
        "pipeline/inversion/encoders/sheets.py",
    },
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", FILES, ids=name)
def test_the_artefact_never_imports_the_pipeline_or_torch(path):
    if name(path).startswith("atlas/"):
        assert not [m for m in imports(path) if m.partition(".")[0] in {"pipeline", "torch", "sklearn", "shapely"}]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_only_commands_know_the_command_line(path):
    if "/commands/" in name(path) or name(path) in {"atlas/cli.py", "atlas/__main__.py"}:
        return
    assert not [m for m in imports(path) if m.partition(".")[0] == "click" or ".commands" in m or m == "atlas.cli"]


@pytest.mark.parametrize("path", FILES, ids=name)
def test_rooms_import_only_what_stands_before_them(path):
    parts = path.relative_to(ROOT).parts
    room = Path(parts[1]).stem if parts[0] == "pipeline" else None
    if room not in ALLOWED:
        return
    used = {m.split(".")[1] for m in imports(path) if m.startswith("pipeline.")} - {room}
    assert used <= ALLOWED[room], f"{room} imports {used - ALLOWED[room]}"


def test_the_rooms_are_all_known():
    rooms = {p.stem for p in (ROOT / "pipeline").iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert rooms - {"__init__", "__pycache__", "commands", "run"} == set(ALLOWED)


@pytest.mark.parametrize("library", HOMES)
def test_each_outside_library_has_its_home(library):
    users = {name(p) for p in FILES if library in {m.partition(".")[0] for m in imports(p)}}
    strangers = {u for u in users if not any(u == home or u.startswith(home) for home in HOMES[library])}
    assert not strangers


def test_nothing_unpickles_or_executes():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert called not in {"eval", "exec", "pickle.load", "pickle.loads", "numpy.load", "np.load"}, name(path)
            if called == "torch.load":
                assert "weights_only=True" in ast.unparse(node), f"{name(path)}: torch.load without weights_only"
