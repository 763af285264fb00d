"""Calls to endpoints that are none: a fault of the provider, never an exception of another kind."""

from collections.abc import AsyncIterator

import pytest

from hub.errors import FaultReason, ProviderFault
from hub.provider_client import ProviderClient


@pytest.fixture
async def client() -> AsyncIterator[ProviderClient]:
    opened = ProviderClient(connect_timeout_s=1, answer_timeout_s=2)
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "http://",
        "http:///path",
        "http://[::1",
        "http://two words",
        "http://\x00",
        "http://ümläut.invalid\udc80",
        "http://xn--.invalid",
        "http://" + "a" * 300,
        "http://127.0.0.1:99999",
        "http://127.0.0.1:9",
        "http://user:p@ss@127.0.0.1:9",
        "https://127.0.0.1:9",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "127.0.0.1:9",
    ],
)
async def test_endpoint_that_is_none(client: ProviderClient, endpoint: str) -> None:
    with pytest.raises(ProviderFault) as caught:
        await client.generate(endpoint, {}, max_bytes=1000, timeout_s=2)
    assert caught.value.reason is FaultReason.UNREACHABLE
    with pytest.raises(ProviderFault):
        await client.deliver(endpoint, "key-0123456789", receipt_hash="0x", attestation="0x", timeout_s=2)
