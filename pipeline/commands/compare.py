"""``atlas compare``: what each method of inversion keeps and loses."""

from __future__ import annotations

from pathlib import Path

import click

from atlas.commands.settings import device_option, seed_option, settings_options
from atlas.commands.terminal import echo_json, progress_bar, say
from atlas.files import read_json
from atlas.preset import InvertSettings
from atlas.stage import run_stage
from pipeline.boundaries import OwnCodes
from pipeline.inversion.comparison import Sources
from pipeline.inversion.comparison_report import table_lines
from pipeline.inversion.stages import compare_stage, seconds_per_photograph

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("latents", nargs=-1, required=True, type=_file)
@click.option("--generator", required=True, type=_file, help="generator.safetensors of `atlas train`.")
@click.option("--data", required=True, type=_file, help="The dataset, dataset.zip.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The numbers, comparison.json.")
@settings_options(
    InvertSettings,
    compared="At most so many photographs.",
    lpips="Folder with LPIPS's own files (VGG16); EfficientNet-Lite0 stands for it without.",
)
@seed_option
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def compare(
    latents: tuple[Path, ...],
    generator: Path,
    data: Path,
    out: Path,
    settings: InvertSettings,
    seed: int,
    device: str,
    as_json: bool,
) -> None:
    """Compare methods of inversion on the same photographs.

    LATENTS are files of `atlas invert`, one per method. Photographs that no encoder is trained on are rendered from
    each method's codes, and from the mean code, and measured: L2, perceptual distance, SSIM, PSNR, and how far the
    codes are from the generator's own. On the calibration street also whether the planted attributes are still there.
    A sheet of photographs, reconstructions and differences is written beside the numbers.

    \b
    Example:
        atlas compare latents/e4e.safetensors latents/restyle.safetensors latents/projector.safetensors \\
            --generator train/generator.safetensors --data dataset.zip --out latents/comparison.json
    """
    if out.suffix != ".json":
        raise click.UsageError(f"--out must end in .json, got {out}")
    record = out.with_name(f"{out.stem}.stage.json")
    sources = Sources(generator, data, latents, settings.lpips)
    with progress_bar("compare") as progress:
        # The table is printed below, where a script can read it, and also when the comparison was up to date.
        stage, work = compare_stage(
            sources, OwnCodes.sample, settings.compared, seed, device, out, record, lambda _line: None, progress
        )
        run_stage(stage, work, log=say)
    report = read_json(out)
    if as_json:
        echo_json(report)
    else:
        for line in table_lines(report, seconds_per_photograph(latents)):
            click.echo(line)
