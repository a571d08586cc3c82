"""What every test shares: no network, and a fixed seed."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from typing import Any

# Set here, not in a fixture: the hub libraries read these once, when they are imported.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

import numpy as np
import pytest
import torch


class NetworkForbidden(RuntimeError):
    """A test tried to leave this machine. Not an ``OSError``, so no library takes it for being offline."""


def _is_local(address: Any) -> bool:
    """Whether a socket address is on this machine: loopback, or not an internet address at all."""
    if not isinstance(address, tuple):
        return True
    host = str(address[0])
    return host in {"", "localhost", "::1"} or host.startswith("127.")


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """Connections to anything but loopback raise ``NetworkForbidden``."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def refuse(address: Any) -> None:
        if not _is_local(address):
            raise NetworkForbidden(f"a test tried to connect to {address}; tests run without a network")

    def guarded_connect(self: socket.socket, address: Any) -> None:
        refuse(address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        refuse(address)
        return connect_ex(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        yield


@pytest.fixture(autouse=True)
def seed() -> int:
    """Seeds Python, NumPy and torch before every test; the seed itself, for generators made inside one."""
    value = 0
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)
    return value
