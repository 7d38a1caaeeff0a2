"""Where the API server asks nobody, whatever a webhook's configuration or an EndpointSlice says."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from stark.apiserver.callbacks import CallFailed, Endpoint
from stark.apiserver.proxy.callbacks import Callbacks, Guarded, is_barred


@pytest.mark.parametrize(
    ("address", "barred"),
    [
        ("169.254.169.254", True),
        ("::ffff:169.254.169.254", True),
        ("fe80::1%eth0", True),
        ("0.0.0.0", True),
        ("::", True),
        ("224.0.0.1", True),
        ("127.0.0.1", False),
        ("10.0.0.7", False),
        ("2001:db8::1", False),
        ("hooks.example.org", False),
    ],
)
def test_link_local_and_nobodys_addresses_are_barred(address: str, barred: bool) -> None:
    assert is_barred(address) is barred


class Told(AbstractResolver):
    """Answers with these addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=each, port=port, family=family, proto=0, flags=0)
            for each in self.addresses
        ]

    async def close(self) -> None:
        pass


async def test_a_name_leads_to_no_barred_address() -> None:
    found = await Guarded(Told("169.254.169.254", "10.0.0.7")).resolve("hooks.example.org")
    assert [one["host"] for one in found] == ["10.0.0.7"]
    with pytest.raises(OSError, match="must not be at"):
        await Guarded(Told("169.254.169.254")).resolve("hooks.example.org")


class NoObjects:
    """A cluster without services."""

    async def get(self, group: str, plural: str, namespace: str, name: str) -> Mapping[str, Any] | None:
        return None

    async def list(self, group: str, plural: str, namespace: str = "") -> list[Mapping[str, Any]]:
        return []


@pytest.mark.parametrize("host", ["169.254.169.254", "[::ffff:a9fe:a9fe]", "0.0.0.0", "2852039166", "0xa9fea9fe"])
async def test_a_webhook_at_a_barred_address_is_not_asked_however_it_is_written(host: str) -> None:
    callbacks = Callbacks(NoObjects())
    try:
        with pytest.raises(CallFailed, match=r"must not be at|not a canonical IPv4 address"):
            await callbacks.post(Endpoint(f"https://{host}/latest/meta-data"), b"{}", 5.0)
    finally:
        await callbacks.close()
