"""The chain of stages: what a preset says reaches the stage that it is said for."""

from atlas.preset import load_preset
from atlas.progress import silent
from pipeline.run import Chain, RunFolder

PRESET = """
name = "london"
title = "London"
[encoder]
lpips = "networks"
moco = "moco.pth.tar"
[invert]
methods = ["e4e", "projector"]
lpips = "networks"
[render]
method = "e4e"
"""


def test_the_user_s_networks_are_looked_up_in_the_data_folder(tmp_path):
    (tmp_path / "london.toml").write_text(PRESET)
    data = tmp_path / "data"
    chain = Chain(load_preset(tmp_path / "london.toml"), RunFolder(tmp_path, "london"), data, "cpu", print)
    stages = [part.build(silent)[0] for name in ("encoder", "invert", "compare") for part in chain.parts(name)]
    assert [stage.name for stage in stages] == ["encoder e4e", "invert e4e", "invert projector", "compare"]
    assert [stage.inputs["lpips"] for stage in stages] == [data / "networks"] * 4
    assert stages[0].inputs["moco"] == data / "moco.pth.tar"
    assert not any(str(tmp_path) in str(dict(stage.settings)) for stage in stages)
