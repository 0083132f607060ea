"""`polytask serve`: models of runs behind HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from polytask.core.errors import MissingExtra
from polytask.core.terminal import tell
from polytask.core.user_modules import trusting


def serve(runs: str | Path | Sequence[str | Path], trust: bool = False, quiet: bool = False,
          **settings: Any) -> None:
    """Serve trained models over HTTP, as `polytask serve` does: blocks until SIGTERM or Ctrl-C.

    runs: run folders, model folders or models on the hub, "hf://user/name"; several, or one alone.

    settings: those of `polytask serve` (docs/serving.md), which override the variables POLYTASK_*:

        pk.serve("runs/first", port=8000, engine="int8")
        pk.serve(["runs/first", "hf://me/reviews"], host="0.0.0.0", api_keys_file="keys.txt")

    trust: import the modules that the folders name for components of someone's own.

    Open requests are answered before it returns. Call it in the main thread: Python delivers signals to no
    other. Raises `ConfigError` for an unknown setting or an impossible value, `RunError` or
    `CheckpointError` for a folder that cannot be served, `RunError` for a port that is taken,
    `MissingExtra` without the extra "serve"; all before the port opens.
    """
    with trusting(trust):
        serve_runs([runs] if isinstance(runs, str | Path) else runs, None, settings, quiet)


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
    from polytask.serve import server
    from polytask.serve.engines import loader
    from polytask.serve.settings import api_keys, read_settings

    settings = read_settings(config, options)
    keys = api_keys(settings)

    def started(address: str) -> None:
        if not quiet:
            tell(f"serving {', '.join(map(str, runs))} at {address} (Ctrl-C to stop)")

    server.serve(runs, settings, keys, loader(settings), started)
