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
@click.option("--data", required=True, type=_file, help="A dataset.zip.")
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

    Writes metrics.json, 64 uncurated samples, and the ten samples that are nearest to a photograph beside it. Without
    files of the usual feature networks, EfficientNet-Lite0 stands for them; such numbers are named after it and are
    not to be compared with published ones.

    \b
    Example:
        atlas metrics train/generator.safetensors --data dataset.zip --out metrics --samples 5000
    """
    with progress_bar("metrics") as progress:
        files = FeatureFiles(inception, vgg, lpips)
        stage, work = metrics_stage(generator, data, settings, seed, device, out, files, say, progress)
        run_stage(stage, work, log=say)
    if as_json:
        echo_json(read_json(out / REPORT))
