"""``atlas metrics``: a generator against the photographs."""

from __future__ import annotations

from pathlib import Path

import click

from atlas.commands.settings import device_option, seed_option, settings_options
from atlas.commands.terminal import echo_json, progress_bar, say
from atlas.files import read_json
from atlas.stage import run_stage
from pipeline.metrics.evaluation import REPORT, FeatureFiles
from pipeline.metrics.settings import MetricsSettings
from pipeline.metrics.stages import metrics_stage

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("generator", type=_file)
@click.option("--data", required=True, type=_file, help="The dataset.zip that the generator was trained on.")
@click.option("--held-out", type=_file, help="A dataset.zip of photographs that it never saw, to be compared with.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of the result.")
@settings_options(
    MetricsSettings,
    samples="How many images of the generator.",
    photographs="How many photographs they are compared with, 0 for all.",
    pairs="Pairs of images of the path length, 0 for none.",
    sampling="Where on a path they lie: at its ends, or anywhere.",
    truncation="ψ of the samples.",
)
@click.option("--inception", type=_file, help="Weights of FID's Inception-v3 (a state dictionary), for FID and KID.")
@click.option("--vgg", type=_file, help="Weights of ImageNet's VGG16, for precision and recall.")
@click.option("--lpips", type=_file, help="LPIPS 0.1's linear layers for VGG16, for the path length.")
@seed_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print metrics.json.")
def metrics(
    generator: Path,
    data: Path,
    held_out: Path | None,
    out: Path,
    settings: MetricsSettings,
    inception: Path | None,
    vgg: Path | None,
    lpips: Path | None,
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """Compare a generator with photographs: FID, KID, precision, recall, copies.

    Writes metrics.json, 64 uncurated samples, the photograph nearest to each sample (nearest.csv), and the ten nearest
    pairs side by side. Without files of the usual feature networks, EfficientNet-Lite0 stands for them; such numbers
    are named after it and are not to be compared with published ones.

    Of --inception, --vgg and --lpips the tensors by name are taken: a state dictionary (.pt, .pth) or .safetensors.
    NVIDIA's own files of Inception-v3 and VGG16 are TorchScript archives: programs, which are not run, so not those.

    With --held-out, samples are compared with photographs that the generator never saw, and their distances to those
    of --data with the distances of these. Without it, they are compared with what it was trained on, and say so.

    A training keeps the generator of every snapshot in its folder (snapshots/000080000.safetensors after 80 kimg): one
    call for each gives KID against kimg.

    \b
    Example:
        atlas dataset calibration --seed 2 --photographs 4000 --out unseen.zip
        atlas metrics train/generator.safetensors --data dataset.zip --held-out unseen.zip --out metrics
    """
    with progress_bar("metrics") as progress:
        files = FeatureFiles(inception, vgg, lpips)
        stage, work = metrics_stage(generator, data, settings, seed, device, out, files, say, progress, held_out)
        run_stage(stage, work, log=say)
    if as_json:
        echo_json(read_json(out / REPORT))
