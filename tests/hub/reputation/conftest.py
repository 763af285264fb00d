"""The network of the attestation's tests serves these, too."""

from tests.hub.attestation.conftest import network

__all__ = ["network"]
