"""Every setting of the server is a flag, an environment variable, a key of a TOML file, and documented."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from polytask.cli import main
from polytask.core.errors import ConfigError, PolytaskError, RunError
from polytask.serve import server
from polytask.serve.settings import ServeSettings, api_keys, read_settings, variable

PAGE = Path(__file__).parents[2] / "docs" / "serving.md"
# A value of each that is not the default, and how an environment variable writes it.
CHOSEN: dict[str, tuple[Any, str]] = {
    "host": ("0.0.0.0", "0.0.0.0"), "port": (9001, "9001"), "engine": ("int8", "int8"), "threads": (3, "3"),
    "max_batch_tokens": (512, "512"), "max_wait_ms": (7.5, "7.5"), "max_queue": (77, "77"),
    "max_inputs": (9, "9"), "max_requests": (21, "21"), "max_connections": (44, "44"),
    "max_bytes": (9000, "9000"), "max_characters": (123, "123"), "truncate": (False, "no"),
    "timeout": (2.5, "2.5"), "read_timeout": (1.5, "1.5"), "api_keys_file": ("keys.txt", "keys.txt"),
    "allow_origin": ("https://a.example", "https://a.example"), "root_path": ("/models", "/models"),
    "page": (False, "false"), "log": ("text", "text"), "reload_seconds": (0.5, "0.5"),
}
ALL = {name: value for name, (value, _) in CHOSEN.items()}


def test_every_setting_has_a_value_here_that_is_not_its_default() -> None:
    assert set(CHOSEN) == {field.name for field in fields(ServeSettings)}
    usual = asdict(ServeSettings())
    assert [name for name in CHOSEN if ALL[name] == usual[name]] == []


def test_every_setting_is_an_environment_variable() -> None:
    environment = {variable(name): text for name, (_, text) in CHOSEN.items()}
    assert {name for name in CHOSEN if variable(name) != f"POLYTASK_{name.upper()}"} == {"log"}
    assert asdict(read_settings(None, {}, environment)) == ALL


def test_how_much_all_commands_log_is_another_variable_than_the_format_of_the_servers_log() -> None:
    assert read_settings(None, {}, {"POLYTASK_LOG": "info"}).log == "json"


def test_a_variable_that_a_flag_overrides_is_not_read() -> None:
    # Kubernetes sets it in every pod beside a service called polytask.
    environment = {"POLYTASK_PORT": "tcp://10.0.0.1:8000"}
    assert read_settings(None, {"port": 8000}, environment).port == 8000
    with pytest.raises(ConfigError, match=r"POLYTASK_PORT: found 'tcp:.*', expected a number"):
        read_settings(None, {}, environment)


def test_every_setting_is_a_key_of_a_toml_file(tmp_path: Path) -> None:
    for name, table in (("table.toml", {"serve": ALL}), ("plain.toml", ALL)):
        (tmp_path / name).write_text(tomli_w.dumps(table))
        assert asdict(read_settings(tmp_path / name, {}, {})) == ALL


@pytest.mark.parametrize("named", [True, False], ids=["as its own flag", "by --set"])
def test_every_setting_is_a_flag(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, named: bool) -> None:
    (tmp_path / "keys.txt").write_text("one\n")
    served: list[Any] = []
    monkeypatch.setattr(server, "serve", lambda runs, *given: served.append(given[:2]))
    monkeypatch.setenv("POLYTASK_MAX_QUEUE", "5")  # flags go before
    monkeypatch.chdir(tmp_path)
    own = {"host", "port", "engine", "threads"} if named else set()
    words = [word for name, (_, text) in CHOSEN.items() for word in (
        [f"--{name}", text] if name in own else
        ["--set", f"{name}={str(ALL[name]).lower() if isinstance(ALL[name], bool) else text}"])]
    monkeypatch.setattr(sys, "argv", ["polytask", "serve", "run", "-q", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    assert [(asdict(settings), keys) for settings, keys in served] == [(ALL, (b"one",))]


def test_every_setting_is_on_the_page_with_its_default() -> None:
    page = PAGE.read_text(encoding="utf-8").partition("## Settings")[2].partition("\n## ")[0]
    shown: dict[str, str] = {}
    for line in page.splitlines():
        if line.startswith("| `"):
            names, defaults = (cell.strip() for cell in line.split("|")[1:3])
            shown |= dict(zip(re.findall(r"`([a-z_]+)`", names), defaults.split(", "), strict=False))
    assert set(CHOSEN) == set(shown)
    for name, value in asdict(ServeSettings()).items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        assert float(shown[name].replace(",", "")) == value, name


def test_a_mistake_is_named_where_it_was_made(tmp_path: Path) -> None:
    for name, text in (("MAX_INPUTS", "many"), ("TIMEOUT", "5s"), ("TRUNCATE", "2"), ("MAX_BYTES", "")):
        with pytest.raises(ConfigError, match=f"POLYTASK_{name}: found '{text}', expected"):
            read_settings(None, {}, {f"POLYTASK_{name}": text})
    for text in ("nan", "inf", "-1"):
        with pytest.raises(ConfigError, match="timeout"):
            read_settings(None, {}, {"POLYTASK_TIMEOUT": text})
    (tmp_path / "serve.toml").write_text("serve = 3\n")
    with pytest.raises(ConfigError, match="serve: found 3, expected a table"):
        read_settings(tmp_path / "serve.toml", {}, {})
    (tmp_path / "serve.toml").write_text("prot = 3\n")
    with pytest.raises(ConfigError, match=r'serve\.toml: serve: prot .*did you mean "port"'):
        read_settings(tmp_path / "serve.toml", {"port": 1}, {})
    (tmp_path / "serve.toml").write_text('port = 9\n[serve]\nhost = "0.0.0.0"\n')
    with pytest.raises(ConfigError, match=r"serve\.toml: port: is outside \[serve\], expected every"):
        read_settings(tmp_path / "serve.toml", {}, {})
    (tmp_path / "run.toml").write_text("seed = 1\n[tasks.a]\n[serve]\nport = 9\n")
    assert read_settings(tmp_path / "run.toml", {}, {}).port == 9


def test_a_file_of_keys_from_windows_has_the_keys_that_it_shows(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_bytes("\ufefffirst\r\n\r\nsecond \r\n".encode())
    assert api_keys(ServeSettings(api_keys_file=str(file)), {}) == (b"first", b"second")


@pytest.mark.parametrize(("environment", "said"), [
    ({"POLYTASK_HOST": ""}, "host found '', expected an address such as 127.0.0.1; 0.0.0.0 is every"),
    ({"POLYTASK_HOST": "a b"}, "host found 'a b'"), ({"POLYTASK_HOST": "a\0"}, "host found 'a"),
    ({"POLYTASK_ROOT_PATH": "../.."}, "root_path found '../..', expected a path such as /models"),
    ({"POLYTASK_ROOT_PATH": "/"}, "root_path found '/'"), ({"POLYTASK_ROOT_PATH": "/a?b"}, "root_path"),
    ({"POLYTASK_ROOT_PATH": "/a/../b"}, "root_path"),
])
def test_no_empty_address_listens_on_every_interface_and_paths_are_paths(
        environment: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_settings(None, {}, environment)
    assert said in str(refused.value)
    for path in ("", "/a", "/a/v1.2", "/~me/b-c_d"):
        assert read_settings(None, {"root_path": path}, {}).root_path == path


def test_keys_that_were_not_filled_in_open_no_server(tmp_path: Path) -> None:
    for text in ("", " ", ",", " , "):
        with pytest.raises(ConfigError, match="POLYTASK_API_KEYS: holds no API key; unset it"):
            api_keys(ServeSettings(), {"POLYTASK_API_KEYS": text})
    assert api_keys(ServeSettings(), {}) == ()


def test_a_file_of_keys_that_never_ends_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "huge").write_bytes(b"a" * ((1 << 20) + 1))
    for name, said in (("/dev/zero", "is a device or a pipe"), (tmp_path / "pipe", "is a device or a pipe"),
                       (tmp_path / "huge", "is longer than"), (tmp_path, "cannot be read"),
                       ("~nobody-here/keys", "names a home folder that cannot be found")):
        with pytest.raises(PolytaskError, match=said):
            api_keys(ServeSettings(api_keys_file=str(name)), {})


def test_names_that_can_be_no_folder_and_hosts_that_are_not_found_are_a_sentence() -> None:
    for name in ("a\0b", "x" * 5000):
        with pytest.raises(RunError, match="cannot be read"):
            server.named_folders([name], "torch")
    with pytest.raises(RunError, match=r"cannot listen there \((?!Unknown error)"):
        server._bound(ServeSettings(host="no.such.host.invalid"))
