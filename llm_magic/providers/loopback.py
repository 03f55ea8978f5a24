"""Addresses of this machine, which no proxy can reach."""

from __future__ import annotations

import socket
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies


def is_loopback(url: str) -> bool:
    """Return True if a URL leads to this machine.

    A name is looked up only if the URL is without TLS and a proxy is set: a server of this machine hardly ever has a
    certificate, and behind a proxy a look-up can take seconds.
    """
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return False
    if not host or host == "localhost" or host.endswith(".localhost"):
        return bool(host)
    if (address := _address(host)) is not None:
        return _is_own(address)
    return parts.scheme == "http" and bool(getproxies()) and _resolves_to_loopback(host)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))  # 127.1, 0x7f.1, 2130706433
    except (OSError, UnicodeError):
        return None


def _is_own(address: IPv4Address | IPv6Address) -> bool:
    own = getattr(address, "ipv4_mapped", None) or address
    return own.is_loopback or own.is_unspecified


@lru_cache(maxsize=64)
def _resolves_to_loopback(host: str) -> bool:
    try:
        found = {str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(host, None)}
    except Exception:  # noqa: BLE001 - a name that is unknown, too long, or not a name
        return False
    return bool(found) and all(_is_own(ip_address(address)) for address in found)
