"""Native operators: C++ for processors and CUDA for GPUs, compiled when first needed; all of them optional.

`operators` gives the compiled operators of a device, or None where there are none: then the plain PyTorch versions in
`pipeline.gan.ops` are what runs. Nothing here is imported, compiled or looked for before the first call.
"""

from __future__ import annotations

from typing import Any

__all__ = ["operators", "times_given"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'pipeline.gan.native' has no attribute {name!r}")
    from pipeline.gan.native import loader

    return getattr(loader, name)
