"""`polytask serve`: models of runs behind HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polytask.core.errors import MissingExtra
from polytask.core.terminal import tell


def serve_runs(runs: Sequence[str | Path], config: Path | None, options: Mapping[str, Any],
               quiet: bool = False) -> None:
    """Serve runs, model folders or models on the hub until a signal ends it.

    `options` are settings of `ServeSettings`; they override the environment's (`POLYTASK_PORT`) and the
    file's. Raises `MissingExtra` without the extra "serve", and one sentence for anything that cannot be
    served.
    """
    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError:
        raise MissingExtra("polytask serve", "serve") from None
    from polytask.serve.engines import loader
    from polytask.serve.server import serve
    from polytask.serve.settings import api_keys, read_settings

    settings = read_settings(config, options)
    keys = api_keys(settings)

    def started(address: str) -> None:
        if not quiet:
            tell(f"serving {', '.join(map(str, runs))} at {address} (Ctrl-C to stop)")

    serve(runs, settings, keys, loader(settings), started)
