"""What hosts carry and which headers they are asked to send. Plain tables.

The limits are those of the hosts' documentation pages as read in 2026; a host may change them any day.
"""

from __future__ import annotations

from dataclasses import dataclass

GB = 1_000_000_000
MIB = 1 << 20


@dataclass(frozen=True)
class Host:
    """A place that publishes a folder of files.

    Attributes:
        name: as given to ``--host``.
        title: as people call it.
        files: most files, None where no limit is documented.
        bytes: most bytes together, None likewise.
        file_bytes: most bytes of one file, None likewise.
        carries: "site", or "deposit" for a repository that takes the archive and the zipped site.
        note: where the limits come from and what else to know.
    """

    name: str
    title: str
    files: int | None
    bytes: int | None
    file_bytes: int | None
    carries: str
    note: str


HOSTS = {
    host.name: host
    for host in (
        Host(
            "github-pages",
            "GitHub Pages",
            None,
            GB,
            100 * MIB,
            "site",
            "Documentation: published sites up to 1 GB, 100 GB of traffic a month (soft), files in the repository up "
            "to 100 MiB. No headers can be set.",
        ),
        Host(
            "cloudflare-pages",
            "Cloudflare Pages (free)",
            20_000,
            None,
            25 * MIB,
            "site",
            "Documentation: 20,000 files on the free plan (100,000 on paid ones), 25 MiB a file; Range requests are "
            "answered with the whole file.",
        ),
        Host(
            "netlify",
            "Netlify (free)",
            None,
            None,
            10_000_000,
            "site",
            "No hard number is documented: deploys of 57,893 files have failed (netlify/cli#484) and files above 10 MB "
            'are called "not well supported".',
        ),
        Host(
            "gitlab-pages",
            "GitLab Pages",
            200_000,
            GB,
            None,
            "site",
            "Documentation: 1 GB and 200,000 entries on gitlab.com; lower caps per tier have been proposed "
            "(gitlab#500273).",
        ),
        Host(
            "zenodo",
            "Zenodo",
            100,
            50 * GB,
            50 * GB,
            "deposit",
            "Documentation: 100 files and 50 GB a record, more on request. Keeps files, shows no pages: the archive "
            "and the zipped site are deposited.",
        ),
    )
}

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"
)

HEADERS: dict[str, dict[str, str]] = {
    "/*": {
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    },
    # Names in this folder carry their content's hash, so that a file never changes under its name.
    "/a/*": {"Cache-Control": "public, max-age=31536000, immutable"},
}


def headers_file() -> str:
    """Return ``_headers`` as Cloudflare Pages and Netlify read it."""
    lines = []
    for pattern, values in HEADERS.items():
        lines += [pattern, *(f"  {name}: {value}" for name, value in values.items()), ""]
    return "\n".join(lines)


def netlify_toml() -> str:
    """Return ``netlify.toml``: the built folder is what is deployed, with the same headers."""
    lines = [
        "# Written from the table in atlas/hosts.py; a test holds the two together.",
        "# There is no build command: `atlas demo` or `atlas site` has built the folder that is deployed.",
        "[build]",
        '  publish = "site"',
    ]
    for pattern, values in HEADERS.items():
        lines += ["", "[[headers]]", f'  for = "{pattern}"', "  [headers.values]"]
        lines += [f'    {name} = "{value}"' for name, value in values.items()]
    return "\n".join(lines) + "\n"
