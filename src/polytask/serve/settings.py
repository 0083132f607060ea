"""The server's settings: each is a flag, an environment variable and a key of a TOML file."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from polytask.core.errors import ConfigError
from polytask.core.safe_paths import expanded, refuse_special
from polytask.core.settings import from_table, settings
from polytask.core.toml import read_toml

PREFIX = "POLYTASK_"
# POLYTASK_LOG is how much every command logs.
_VARIABLES = {"log": f"{PREFIX}SERVE_LOG"}
_HOST, _ROOT_PATH = re.compile(r"[^\s\0]+"), re.compile(r"(/[\w.~-]*[\w~-])*")
_MOST_KEY_BYTES = 1 << 20


@settings
class ServeSettings:
    """The settings of `polytask serve`."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for every interface."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on; 0 for any free one."""
    engine: Literal["auto", "torch", "onnx", "int8"] = "auto"
    """The engine: torch, or ONNX Runtime in fp32 or int8; auto: the fastest exact one available."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Threads of the engine; absent: the cores available to this process."""
    max_batch_tokens: Annotated[int, Field(ge=16, le=1 << 20)] = 2048
    """The most tokens in a batch; a longer text is a batch of its own."""
    max_wait_ms: Annotated[float, Field(ge=0, le=1000)] = 3.0
    """How long a batch waits for more texts while several clients ask; a single client never waits."""
    max_queue: Annotated[int, Field(ge=1, le=1 << 20)] = 512
    """The most texts waiting; beyond that, requests are refused with 429 at once."""
    max_inputs: Annotated[int, Field(ge=1, le=1 << 20)] = 32
    """The most texts in a request."""
    max_requests: Annotated[int, Field(ge=1, le=1 << 20)] = 512
    """The most requests answered at the same time."""
    max_connections: Annotated[int, Field(ge=1, le=1 << 20)] = 1000
    """The most connections open at the same time; /health and /ready answer beyond that."""
    max_bytes: Annotated[int, Field(ge=64, le=1 << 30)] = 2_000_000
    """The most bytes in a request's body."""
    max_characters: Annotated[int, Field(ge=1, le=1 << 24)] = 20_000
    """The most characters in a text; more are cut and reported, or refused where `truncate` is false."""
    truncate: bool = True
    """Whether texts that are too long are cut and reported; otherwise they are refused."""
    timeout: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Seconds within which a request is answered, or given up with 504."""
    read_timeout: Annotated[float, Field(gt=0, le=3600)] = 10.0
    """Seconds within which a request's head must arrive, and then its body."""
    api_keys_file: str | None = None
    """File of API keys, one per line; absent: those of POLYTASK_API_KEYS, comma separated, or none."""
    allow_origin: str | None = None
    """Origin that browsers may call from (CORS); absent: only the server's own page."""
    root_path: str = ""
    """Path under which a proxy shows the server."""
    page: bool = True
    """Whether / shows a page to try the tasks."""
    log: Literal["json", "text", "none"] = "json"
    """Format of the log: one line per request, without the texts."""
    reload_seconds: Annotated[float, Field(ge=0, le=3600)] = 2.0
    """How often the run folder is checked for a new model; 0: never."""


def read_settings(config: Path | None, options: Mapping[str, Any],
                  environment: Mapping[str, str] | None = None) -> ServeSettings:
    """Return the settings: `options` override the environment, which overrides the file's `[serve]` table.

    Raises `ConfigError` with a sentence for each mistake.
    """
    table: dict[str, Any] = {}
    if config is not None:
        whole = read_toml(config)
        inner = whole.get("serve", whole)
        beside = [key for key in whole if key != "serve"] if "serve" in whole else []
        if beside and "tasks" not in whole:  # a run's config has settings of its own
            raise ConfigError(f"{config}: {beside[0]}: is outside [serve], expected every setting of the "
                              "server in that table")
        if not isinstance(inner, dict):
            raise ConfigError(f"{config}: serve: found {inner!r}, expected a table")
        from_table(ServeSettings, inner, f"{config}: serve")  # its mistakes are told with its name
        table |= inner
    options = {key: value for key, value in options.items() if value is not None}
    environment = os.environ if environment is None else environment
    for field in fields(ServeSettings):
        text = environment.get(variable(field.name))
        if text is not None and field.name not in options:
            table[field.name] = _typed(field.name, text, str(field.type))
    chosen = from_table(ServeSettings, table | options, "serve")
    if problems := [*_problems(chosen)]:
        raise ConfigError(problems)
    return chosen


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return _VARIABLES.get(name, PREFIX + name.upper())


def _problems(chosen: ServeSettings) -> Iterator[str]:
    # The system takes an empty name for every interface.
    if not _HOST.fullmatch(chosen.host):
        yield (f"serve: host found {chosen.host!r}, expected an address such as 127.0.0.1; 0.0.0.0 is "
               "every interface")
    if not _ROOT_PATH.fullmatch(chosen.root_path):
        yield f"serve: root_path found {chosen.root_path!r}, expected a path such as /models"


def _typed(name: str, text: str, annotation: str) -> Any:
    """Return the text of an environment variable as the type of its setting."""
    where = variable(name)
    if annotation == "bool":
        if text.casefold() not in ("0", "1", "true", "false", "yes", "no"):
            raise ConfigError(f"{where}: found {text!r}, expected true or false")
        return text.casefold() in ("1", "true", "yes")
    for kind in (int, float):
        if f"Annotated[{kind.__name__}" in annotation:
            try:
                return kind(text)
            except ValueError:
                raise ConfigError(f"{where}: found {text!r}, expected a number") from None
    return text


def api_keys(chosen: ServeSettings, environment: Mapping[str, str] | None = None) -> tuple[bytes, ...]:
    """Return the API keys, one of which a client must send; if there are none, everybody may ask."""
    environment = os.environ if environment is None else environment
    name = PREFIX + "API_KEYS"
    text = environment.get(name, "").replace(",", "\n")
    if chosen.api_keys_file is not None:
        text = _key_file(expanded(chosen.api_keys_file, "serve: api_keys_file"))
    elif name in environment and not text.strip():  # a secret that was not filled in opens no server
        raise ConfigError(f"{name}: holds no API key; unset it to let everybody ask")
    return tuple(line.strip().encode() for line in text.splitlines() if line.strip())


def _key_file(path: Path) -> str:
    refuse_special(path, ConfigError)
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_KEY_BYTES + 1)
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the API keys cannot be read ({error})") from None
    if len(content) > _MOST_KEY_BYTES:
        raise ConfigError(f"{path}: is longer than {_MOST_KEY_BYTES:,} bytes, expected an API key per line")
    if not text.strip():
        raise ConfigError(f"{path}: holds no API key, expected one per line")
    return text
