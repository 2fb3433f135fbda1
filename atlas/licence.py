"""Whether a licence lets photographs, and what shows them, be published."""

from __future__ import annotations

import re

_RESERVED = re.compile(
    r"all rights reserved|not for (re)?(distribution|publication)|no (re)?(distribution|publication)"
    r"|(not|never) (to )?(be )?(re)?(distributed|published)|proprietary|confidential|unlicen[cs]ed"
    r"|^(unknown|none|no licen[cs]e|not stated|n/?a|-|–)\.?$"
)


def local_only(licence: str) -> bool:
    """Return whether pictures under a licence must stay where they are: it reserves all rights, or states none.

    A licence is free text, so this is a caution and no legal advice: whatever reserves a part of what it covers counts
    for all of it, and what is not known to be reserved counts as open.

    Args:
        licence: one line, such as "CC BY-SA 4.0"; "" where none was stated.

    Example:
        >>> local_only("CC0-1.0"), local_only(""), local_only("© A. Nobody, all rights reserved")
        (False, True, True)
    """
    words = " ".join(licence.lower().split())
    return not words or _RESERVED.search(words) is not None
