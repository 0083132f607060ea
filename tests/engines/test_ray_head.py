"""A head of a Ray cluster that no longer answers ends what waits for it, with a sentence."""

from __future__ import annotations

import socket
import time

import pytest

from polytask.engines import ray_head
from polytask.engines.ray_head import HeadWatch, connecting


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_head, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(ray_head, "SILENT_SECONDS", 0.2)


@pytest.mark.usefixtures("quick")
def test_a_silent_head_ends_a_blocked_call_and_refuses_the_next() -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as head:
        port = head.getsockname()[1]
        watch = HeadWatch(f"127.0.0.1:{port}", lambda reason: f"gone ({reason})", said.append)
        with watch.call():
            time.sleep(0.4)
        assert said == []
    time.sleep(0.1)  # silent, but not for long enough
    with watch.call(), watch.call():
        until = time.monotonic() + 10
        while not said and time.monotonic() < until:
            time.sleep(0.01)
    assert said[0].startswith("gone (its head has not answered for 0 s: ")
    with pytest.raises(ConnectionError, match="its head has not answered"), watch.call():
        pass


@pytest.mark.usefixtures("quick")
def test_between_calls_and_without_an_address_nothing_ends() -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as head:
        port = head.getsockname()[1]
    watch = HeadWatch(f"127.0.0.1:{port}", str, said.append)
    time.sleep(0.5)
    assert said == []
    with HeadWatch("", str, said.append).call():
        time.sleep(0.3)
    assert said == []
    assert watch._calls == {}


def test_a_cluster_that_is_not_there_is_known_before_ray_asks_for_minutes(
        monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with connecting(f"ray://127.0.0.1:{port}", str, said.append):
            pass
        monkeypatch.setattr(ray_head, "CONNECT_SECONDS", 0.02)
        with connecting(f"127.0.0.1:{port}", lambda reason: f"no answer ({reason})", said.append):
            time.sleep(0.3)
    assert said == ["no answer (what listens there is no head of Ray's)"]
    with pytest.raises(ConnectionError, match="refused"), connecting(f"127.0.0.1:{port}", str, said.append):
        raise AssertionError("Ray is asked all the same")
    with connecting("auto", str, said.append):
        pass
