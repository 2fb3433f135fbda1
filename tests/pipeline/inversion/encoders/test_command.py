"""``atlas encoder train`` at the command line."""

import torch
from click.testing import CliRunner

from atlas.cli import main
from pipeline.inversion.encoders.files import read_facts
from pipeline.inversion.encoders.losses import MocoFeatures


def test_train_and_train_on(tiny_generator_path, tiny_dataset_path, tmp_path):
    arguments = ["encoder", "train", "--method", "e4e", "--generator", str(tiny_generator_path)]
    arguments += ["--data", str(tiny_dataset_path), "--out", str(tmp_path / "e4e.safetensors")]
    arguments += ["--batch", "2", "--generated", "0.5", "--half", "--checkpoint", "1"]
    for steps in (1, 2):
        done = CliRunner().invoke(main, [*arguments, "--steps", str(steps)])
        assert done.exit_code == 0, done.output
        assert read_facts(tmp_path / "e4e.safetensors")["steps"] == steps
    assert "going on from step 1" in done.output
    assert "up to date" in CliRunner().invoke(main, [*arguments, "--steps", "2"]).output


def test_moco_is_trained_with_as_soon_as_it_is_given(tiny_generator_path, tiny_dataset_path, tmp_path):
    state = {f"module.encoder_q.{name}": t for name, t in MocoFeatures().state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "moco.pth.tar")
    out = tmp_path / "e4e.safetensors"
    arguments = ["encoder", "train", "--method", "e4e", "--generator", str(tiny_generator_path), "--batch", "1"]
    arguments += ["--data", str(tiny_dataset_path), "--out", str(out), "--moco", str(tmp_path / "moco.pth.tar")]
    done = CliRunner().invoke(main, [*arguments, "--steps", "1"])
    assert done.exit_code == 0, done.output
    assert read_facts(out)["losses"].endswith("similarity: MoCo v2")


def test_bad_input_is_one_line_and_exit_code_2(tiny_generator_path, tiny_dataset_path, tmp_path):
    base = ["encoder", "train", "--generator", str(tiny_generator_path), "--data", str(tiny_dataset_path)]
    base += ["--out", str(tmp_path / "e4e.safetensors")]
    cases = [
        [*base, "--method", "projector"],
        [*base, "--method", "e4e", "--similarity", "moco"],
        [*base, "--method", "e4e", "--similarity", "off", "--moco", str(tmp_path / "moco.pth.tar")],
        [*base, "--method", "e4e", "--variant", "psp", "--iterations", "3"],
        [*base, "--method", "restyle", "--variant", "psp", "--stage-start", "5"],
        [*base, "--method", "e4e", "--generated", "2"],
        [*base, "--method", "e4e", "--lpips", str(tmp_path / "absent")],
        [*base, "--method", "e4e", "--device", "nowhere"],
    ]
    for arguments in cases:
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code == 2, (arguments, done.output)
        assert len(done.output.strip().splitlines()) <= 2
        assert "Traceback" not in done.output
    told = CliRunner().invoke(main, [*base, "--method", "e4e", "--variant", "e4e", "--iterations", "5"]).output
    assert "--variant, --iterations would change nothing with --method e4e: leave them out" in told
