"""Addresses of this machine in all their forms."""

from __future__ import annotations

import socket

import pytest

from llm_magic.providers import loopback

OWN = (
    "localhost", "LocalHost:11434", "localhost.", "ollama.localhost", "127.0.0.1", "127.1.2.3", "127.1", "0x7f.1",
    "2130706433", "0.0.0.0", "[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]", "user:word@127.0.0.1:1",  # noqa: S104
)  # fmt: skip
OTHERS = (
    "", "[oops", "example.com", "localhost.example.com", "notlocalhost", "127.0.0.1.example.com", "10.0.0.1", "1.1.1.1",
    "[2606:4700::1111]", "[::ffff:10.0.0.1]", "128.0.0.1", "127.0.0.1@example.com",
)  # fmt: skip


@pytest.mark.parametrize("scheme", ["http", "HTTPS"])
def test_every_form_of_a_loopback_address_is_known(scheme: str) -> None:
    assert {host for host in OWN if loopback.is_loopback(f"{scheme}://{host}/v1")} == set(OWN)
    assert {host for host in OTHERS if loopback.is_loopback(f"{scheme}://{host}/v1")} == set()


NAMES = {"one.example": ["127.0.1.1", "::1"], "two.example": ["127.0.0.1", "10.0.0.1"], "three.example": ["10.0.0.1"]}


def test_a_name_of_this_machine_is_looked_up_if_a_proxy_would_get_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []

    def getaddrinfo(host: str, port: object) -> list[tuple[object, ...]]:
        looked_up.append(host)
        if host not in NAMES:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(0, 0, 0, "", (address, 0)) for address in NAMES[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert not loopback.is_loopback("http://one.example:8000/v1")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    own = [name for name in (*NAMES, "four.example") if loopback.is_loopback(f"http://{name}:8000/v1")]
    assert own == ["one.example"]
    assert not loopback.is_loopback("https://one.example/v1")
    assert looked_up == [*NAMES, "four.example"]
