"""A request's parameters: one object, one hash, every field in it."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.hashing import keccak256
from chain.primitives.rejection import RejectionReason
from chain.primitives.request_parameters import MAX_SEED, RequestParameters

ReasonOf = Callable[..., RejectionReason | None]

PLAIN = RequestParameters(width=512, height=256, steps=20, guidance=7.5)
FULL = RequestParameters(
    width=768,
    height=512,
    steps=30,
    guidance=2.5,
    seed=MAX_SEED,
    model="aitbc/tiny-sd",
    scheduler="euler_a",
    count=4,
    negative_prompt_hash="sha256:" + "ab" * 32,
    source_sha256="cd" * 32,
    strength=0.75,
    image_format="webp",
    quality=80,
)

parameters = st.builds(
    RequestParameters,
    width=st.integers(1, 2**16),
    height=st.integers(1, 2**16),
    steps=st.integers(1, 1_000),
    guidance=st.floats(0, 1_000),
    seed=st.none() | st.integers(0, MAX_SEED),
    model=st.none() | st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=256),
    scheduler=st.from_regex(r"[a-z0-9_]{1,64}", fullmatch=True),
    count=st.integers(1, 1_024),
    strength=st.none() | st.floats(0, 1),
    image_format=st.sampled_from(("png", "jpeg", "webp")),
    quality=st.none() | st.integers(1, 100),
)


def test_golden_object() -> None:
    text = (
        '{"count":4,"guidance":2.5,"height":512,"image_format":"webp","model":"aitbc/tiny-sd",'
        '"negative_prompt_hash":"sha256:' + "ab" * 32 + '","quality":80,"scheduler":"euler_a",'
        '"seed":"9223372036854775807","source_sha256":"' + "cd" * 32 + '","steps":30,"strength":0.75,"version":1,'
        '"width":768}'
    )
    assert rfc8785.dumps(FULL.checked().to_object()).decode() == text
    assert FULL.hash == keccak256(text.encode())


@settings(max_examples=200)
@given(parameters)
def test_they_travel_as_json(given_parameters: RequestParameters) -> None:
    again = RequestParameters.from_object(json.loads(json.dumps(given_parameters.checked().to_object())))
    assert again.hash == given_parameters.hash
    assert RequestParameters.from_object(json.loads(rfc8785.dumps(given_parameters.to_object()))) == again


@pytest.mark.parametrize(
    "change",
    [
        {"width": 520},
        {"height": 264},
        {"steps": 21},
        {"guidance": 7.500000000000001},
        {"seed": 0},
        {"model": "m"},
        {"scheduler": "ddim"},
        {"count": 2},
        {"negative_prompt_hash": "sha256:" + "00" * 32},
        {"source_sha256": "00" * 32},
        {"strength": 1.0},
        {"image_format": "jpeg"},
        {"quality": 90},
    ],
)
def test_every_field_changes_the_hash(change: dict[str, Any]) -> None:
    assert set(change) < set(RequestParameters.__struct_fields__)
    assert msgspec.structs.replace(PLAIN, **change).checked().hash != PLAIN.hash


def test_a_number_has_one_hash_however_it_is_written() -> None:
    for guidance in ("7", "7.0", "70e-1"):
        text = json.dumps(PLAIN.to_object()).replace("7.5", guidance)
        again = RequestParameters.from_object(json.loads(text))
        assert again.hash == msgspec.structs.replace(PLAIN, guidance=7.0).hash
    assert msgspec.structs.replace(PLAIN, guidance=-0.0).hash == msgspec.structs.replace(PLAIN, guidance=0.0).hash


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        *[({name: []}, RejectionReason.MALFORMED) for name in FULL.to_object()],
        *[({name: True}, RejectionReason.MALFORMED) for name in FULL.to_object()],
        *[
            ({name: None}, RejectionReason.MALFORMED)
            for name in ("version", "width", "height", "steps", "guidance", "scheduler", "count", "image_format")
        ],
        *[
            ({name: 1.0}, RejectionReason.MALFORMED)
            for name in ("width", "height", "steps", "count", "quality", "seed")
        ],
        *[({name: 0}, RejectionReason.OUT_OF_RANGE) for name in ("width", "height", "steps", "count", "quality")],
        *[({name: 10**30}, RejectionReason.OUT_OF_RANGE) for name in ("width", "height", "steps", "count", "quality")],
        ({"version": 2}, RejectionReason.MALFORMED),
        ({"seed": 7}, RejectionReason.MALFORMED),
        ({"seed": "07"}, RejectionReason.NON_CANONICAL),
        ({"seed": "-1"}, RejectionReason.MALFORMED),
        ({"seed": str(MAX_SEED + 1)}, RejectionReason.OUT_OF_RANGE),
        ({"guidance": -0.1}, RejectionReason.OUT_OF_RANGE),
        ({"guidance": float("nan")}, RejectionReason.OUT_OF_RANGE),
        ({"guidance": float("inf")}, RejectionReason.OUT_OF_RANGE),
        ({"guidance": 10**400}, RejectionReason.OUT_OF_RANGE),
        ({"guidance": "7.5"}, RejectionReason.MALFORMED),
        ({"strength": 1.1}, RejectionReason.OUT_OF_RANGE),
        ({"strength": float("nan")}, RejectionReason.OUT_OF_RANGE),
        ({"scheduler": "Euler"}, RejectionReason.MALFORMED),
        ({"scheduler": ""}, RejectionReason.MALFORMED),
        ({"model": "two words"}, RejectionReason.MALFORMED),
        ({"model": "m" * 257}, RejectionReason.MALFORMED),
        ({"image_format": "gif"}, RejectionReason.MALFORMED),
        ({"negative_prompt_hash": "ab" * 32}, RejectionReason.MALFORMED),
        ({"source_sha256": "CD" * 32}, RejectionReason.MALFORMED),
        ({"more": 1}, RejectionReason.UNKNOWN_FIELD),
    ],
)
def test_faulty_objects(change: dict[str, Any], reason: RejectionReason, reason_of: ReasonOf) -> None:
    assert reason_of(RequestParameters.from_object, FULL.to_object() | change) is reason


@pytest.mark.parametrize("name", FULL.to_object())
def test_every_field_is_needed(name: str, reason_of: ReasonOf) -> None:
    fields = FULL.to_object()
    del fields[name]
    assert reason_of(RequestParameters.from_object, fields) is RejectionReason.MISSING_FIELD


@pytest.mark.parametrize("wrong", [None, [], "{}", 1])
def test_other_json(wrong: object, reason_of: ReasonOf) -> None:
    assert reason_of(RequestParameters.from_object, wrong) is RejectionReason.MALFORMED
