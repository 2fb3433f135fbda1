"""``atlas serve``: a local preview."""

from __future__ import annotations

from pathlib import Path

import click

from atlas.serve import ADDRESS, site_server


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("site"))
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes any free one.")
def serve(folder: Path, port: int) -> None:
    """Show a built site on this machine.

    Only this machine can reach it. Ctrl-C ends it.

    \b
    Example:
        atlas serve site --port 8000
    """
    with site_server(folder, port) as server:
        click.echo(f"http://{ADDRESS}:{server.server_address[1]}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo("")
