"""The reproducibility profile as JSON: it comes back the same, and nothing else is taken for one."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from chain.primitives.profiles import profile_object, profiles_hash
from chain.primitives.rejection import Rejected
from provider.generation import ReproducibilityProfile
from provider.receipts.profiles import parse_profile

PROFILE = ReproducibilityProfile(
    weights_sha256="ab" * 32,
    scheduler="PNDMScheduler",
    dtype="float16",
    device_class="NVIDIA H200 sm_90",
    batch_rows=4,
    latent_shape=(4, 64, 64),
    versions={"torch": "2.13.0", "diffusers": "0.42.1"},
)


def test_it_travels_as_json() -> None:
    assert parse_profile(json.loads(json.dumps(profile_object(PROFILE)))) == PROFILE


@pytest.mark.parametrize(
    "change",
    [
        {"weights_sha256": "cd" * 32},
        {"scheduler": "DDIMScheduler"},
        {"dtype": "float32"},
        {"device_class": "cpu"},
        {"batch_rows": 1},
        {"latent_shape": (4, 64, 32)},
        {"versions": {"torch": "2.13.1", "diffusers": "0.42.1"}},
    ],
)
def test_every_field_is_in_the_hash(change: dict[str, Any]) -> None:
    assert profiles_hash([replace(PROFILE, **change)]) != profiles_hash([PROFILE])


def test_order_and_number_are_in_the_hash() -> None:
    other = replace(PROFILE, batch_rows=1)
    lists: Sequence[list[ReproducibilityProfile]] = (
        [PROFILE],
        [other],
        [PROFILE, other],
        [other, PROFILE],
        [PROFILE, PROFILE],
    )
    assert len({profiles_hash(profiles) for profiles in lists}) == len(lists)
    reordered = replace(PROFILE, versions={"diffusers": "0.42.1", "torch": "2.13.0"})
    assert profiles_hash([reordered]) == profiles_hash([PROFILE])


@pytest.mark.parametrize(
    "change",
    [
        *[{name: wrong} for name in profile_object(PROFILE) for wrong in (None, True, 1.5, "\n")],
        {"weights_sha256": "AB" * 32},
        {"dtype": "int8"},
        {"batch_rows": 0},
        {"batch_rows": 10**30},
        {"latent_shape": []},
        {"latent_shape": [0]},
        {"latent_shape": [4, 64, 2**17]},
        {"latent_shape": [1] * 5},
        {"latent_shape": "4x64x64"},
        {"versions": {"torch": 2}},
        {"versions": {str(number): "1" for number in range(33)}},
        {"scheduler": "x" * 201},
        {"scheduler": "\x1b[2J"},
        {"more": 1},
    ],
)
def test_what_is_no_profile(change: dict[str, Any]) -> None:
    with pytest.raises(Rejected) as caught:
        parse_profile(profile_object(PROFILE) | change)
    assert str(caught.value.values["field"]).startswith("profile")
