"""Reproducibility profiles: their JSON, the hash by which a trajectory commits to them, and when two are of one run."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import rfc8785

from chain.primitives.hashing import sha256
from chain.primitives.types import Hash32


class Profile(Protocol):
    """What one must know to compute the same latents again, and what makes the last bits differ."""

    @property
    def weights_sha256(self) -> str: ...
    @property
    def scheduler(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def device_class(self) -> str: ...
    @property
    def batch_rows(self) -> int: ...
    @property
    def latent_shape(self) -> tuple[int, ...]: ...
    @property
    def versions(self) -> Mapping[str, str]: ...


def profile_object(profile: Profile) -> dict[str, Any]:
    """As it stands in answers, messages and job files."""
    return {
        "batch_rows": profile.batch_rows,
        "device_class": profile.device_class,
        "dtype": profile.dtype,
        "latent_shape": list(profile.latent_shape),
        "scheduler": profile.scheduler,
        "versions": dict(profile.versions),
        "weights_sha256": profile.weights_sha256,
    }


def profiles_hash(profiles: Sequence[Profile]) -> Hash32:
    """SHA-256 over the RFC 8785 form of the list, one profile per picture."""
    return sha256(rfc8785.dumps([profile_object(profile) for profile in profiles]))


def are_of_one_run(profiles: Sequence[Profile]) -> bool:
    """Whether they differ at most in where and with how many others each picture of a job was computed.

    All pictures of a job are of one request, so whatever else differs is made up: one picture's precision, say, that
    its latents are read in, and another's, that they are judged by.
    """
    return len({(each.weights_sha256, each.scheduler, each.dtype, tuple(each.latent_shape)) for each in profiles}) <= 1
