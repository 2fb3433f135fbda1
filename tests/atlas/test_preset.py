import pytest

from atlas.errors import InputError
from atlas.preset import Preset, RenderSettings, TrainSettings, find_preset, load_preset, located, override
from atlas.resources import resource_folder

HEAD = 'name = "x"\ntitle = "X"\n'


def load(tmp_path, text):
    path = tmp_path / "preset.toml"
    path.write_text(text)
    return load_preset(path)


@pytest.mark.parametrize("path", sorted(resource_folder("presets").glob("*.toml")), ids=lambda p: p.stem)
def test_shipped_presets_load_and_are_named_like_their_file(path):
    preset = load_preset(path)
    assert preset.name == path.stem
    assert find_preset(path.stem).name == path.name


def test_the_paper_s_preset_is_the_paper_s_scale():
    preset = load_preset(find_preset("paper"))
    assert (preset.dataset.size, preset.dataset.photographs) == (512, 14_564)
    assert (preset.render.bases, preset.render.steps) == ("random:60", 12)


def test_defaults_fill_what_is_not_said(tmp_path):
    assert load(tmp_path, HEAD) == Preset(name="x", title="X")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "colour = 1", "unknown key colour: the keys here are name, title"),
        (HEAD + "[render]\nstep = 1", "unknown key render.step"),
        (HEAD + "[render]\nsteps = 0", r"render\.steps must be 1 … 50, got 0"),
        (HEAD + "[render]\nsteps = true", r"render\.steps must be a whole number, got True"),
        (HEAD + "[render]\nsteps = 1.5", r"render\.steps must be a whole number, got 1\.5"),
        (HEAD + "[invert]\nmethods = []", r"invert\.methods must be a list of one or more of e4e, restyle, projector"),
        (HEAD + '[invert]\nmethods = "e4e"', r"invert\.methods must be a list .* got 'e4e'"),
        (HEAD + '[invert]\nmethods = ["e4e", "e4e"]', r"invert\.methods must be a list .* each once"),
        (HEAD + '[invert]\nmethods = ["pti"]', r"invert\.methods must hold only e4e, restyle, projector, got 'pti'"),
        (HEAD + "[invert]\nmethods = [[1]]", r"invert\.methods must hold only .* got \[1\]"),
        (HEAD + '[invert]\nmethods = ["e4e"]', r"render\.method must be one of invert\.methods, e4e, got 'projector'"),
        (HEAD + '[invert]\nstart = "e4e"', r"invert\.start must be one of invert\.methods, projector, got 'e4e'"),
        (HEAD + '[train]\nprecision = "fp8"', r"train\.precision must be one of fp32, bf16, fp16, fp64, got 'fp8'"),
        (HEAD + "render = 3", "render must be a table, got 3"),
        ('title = "X"', "name is missing"),
        ('name = "../x"\ntitle = "X"', "name must be lower-case letters"),
        ("name = = 1", r"preset\.toml is not valid TOML: .*line 1"),
        (HEAD + "[train]\ngamma = nan", r"train\.gamma must be"),
    ],
)
def test_each_mistake_is_named(tmp_path, text, message):
    with pytest.raises(InputError, match=message) as error:
        load(tmp_path, text)
    assert "preset.toml" in str(error.value)


def test_whole_numbers_serve_as_numbers(tmp_path):
    assert load(tmp_path, HEAD + "[train]\nkimg = 3").train.kimg == 3.0


def test_several_methods_and_the_one_that_is_rendered(tmp_path):
    text = HEAD + '[invert]\nmethods = ["e4e", "restyle", "projector"]\nstart = "e4e"\n[render]\nmethod = "restyle"'
    preset = load(tmp_path, text)
    assert preset.invert.methods == ("e4e", "restyle", "projector")
    assert preset.render.method == "restyle"
    assert override(preset.invert, steps=3).methods == preset.invert.methods


def test_options_override_and_are_checked():
    assert override(RenderSettings(), steps=None, batch=4) == RenderSettings(batch=4)
    with pytest.raises(InputError, match="steps must be 1 … 50, got 99"):
        override(RenderSettings(), steps=99)


def test_files_that_a_preset_names_are_looked_up_in_the_data_folder(tmp_path):
    given = TrainSettings(init="runs/first")
    assert located(given, tmp_path, "init").init == str(tmp_path / "runs" / "first")
    assert located(given, None, "init") == given
    assert located(TrainSettings(), tmp_path, "init") == TrainSettings()
    assert located(TrainSettings(init="/elsewhere/g.pkl"), tmp_path, "init").init == "/elsewhere/g.pkl"


def test_an_unknown_preset_lists_the_shipped_ones(tmp_path):
    with pytest.raises(InputError, match="calibration, london, paper"):
        find_preset(str(tmp_path / "nowhere.toml"))
