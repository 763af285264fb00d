"""Which addresses webhooks may reach."""

import ipaddress

import pytest

from hub.delivery.addresses import is_open, read_networks


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "198.18.0.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%1",
        "fc00::1",
        "fd12:3456::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
    ],
)
def test_inner_addresses(address: str) -> None:
    assert not is_open(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_the_open_internet(address: str) -> None:
    assert is_open(ipaddress.ip_address(address))


def test_networks_that_the_operator_names() -> None:
    allowed = read_networks(["10.1.0.0/16", "::1/128"])
    assert is_open(ipaddress.ip_address("10.1.2.3"), allowed)
    assert is_open(ipaddress.ip_address("::ffff:10.1.2.3"), allowed)
    assert is_open(ipaddress.ip_address("::1"), allowed)
    assert not is_open(ipaddress.ip_address("10.2.0.1"), allowed)
    assert not is_open(ipaddress.ip_address("127.0.0.1"), allowed)
