"""Messages between hub and provider: what was encoded is decoded, and nothing but Rejected comes out of the rest."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chain.primitives.rejection import Rejected
from chain.primitives.worker_fields import PictureRun
from chain.primitives.worker_message import Message
from chain.primitives.worker_messages import (
    MAX_PROVIDER_TEXT_BYTES,
    MAX_TEXT_BYTES,
    decode_from_hub,
    decode_from_provider,
    encode,
)
from tests.chain.primitives.worker_examples import HASH, HUB_MESSAGES, PLAIN_RUN, PROVIDER_MESSAGES, RUN

DECODERS = (decode_from_hub, decode_from_provider)
EXAMPLES = [(decode_from_hub, message) for message in HUB_MESSAGES] + [
    (decode_from_provider, message) for message in PROVIDER_MESSAGES
]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(HASH)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=10
)


@pytest.mark.parametrize(("decode", "message"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_what_was_encoded_is_decoded(decode: Any, message: Message) -> None:
    assert decode(encode(message)) == message


@pytest.mark.parametrize(("decode", "message"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_an_unknown_field_is_refused(decode: Any, message: Message) -> None:
    fields = json.loads(encode(message)) | {"surprise": 1}
    with pytest.raises(Rejected):
        decode(json.dumps(fields))


@pytest.mark.parametrize(("decode", "message"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_each_field_is_bounded(decode: Any, message: Message) -> None:
    """A value of another type, or far out of any bound, is refused in every field."""
    fields = json.loads(encode(message))
    for name in fields:
        wrongs: tuple[object, ...] = ("x" * 400_000, -1, [[[]]], {"a": {}}, True, 1e300)
        for wrong in wrongs:
            changed = json.dumps(fields | {name: wrong})
            is_receipt = name == "receipt" and len(changed) < MAX_PROVIDER_TEXT_BYTES
            if is_receipt or (wrong is True and fields[name] is True):
                continue  # The one is read by `chain.primitives.receipt`, the other is right.
            with pytest.raises(Rejected):
                decode(changed)


@pytest.mark.parametrize("decode", DECODERS)
@given(text=st.binary(max_size=200))
def test_random_bytes_are_rejected(decode: Any, text: bytes) -> None:
    with pytest.raises(Rejected):
        decode(text)


@settings(max_examples=300)
@given(data=st.data())
def test_a_message_with_anything_in_its_fields_is_decoded_or_rejected(data: st.DataObject) -> None:
    decode, message = data.draw(st.sampled_from(EXAMPLES))
    fields = json.loads(encode(message))
    for name in data.draw(st.lists(st.sampled_from(sorted(fields)), max_size=3)):
        fields[name] = data.draw(VALUES)
    try:
        found = decode(json.dumps(fields))
    except Rejected:
        return
    assert decode(encode(found)) == found


@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_message_is_decoded_or_rejected(data: st.DataObject) -> None:
    decode, message = data.draw(st.sampled_from(EXAMPLES))
    text = bytearray(encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(text)))
    for damaged in (bytes(text), bytes(text[:cut]), bytes(text[cut:])):
        try:
            decode(damaged)
        except Rejected:
            continue


@pytest.mark.parametrize(
    ("decode", "text"),
    [
        (decode_from_hub, b" " * (MAX_TEXT_BYTES + 1)),
        (decode_from_provider, b" " * (MAX_PROVIDER_TEXT_BYTES + 1)),
        (decode_from_hub, b'{"type":"welcome","leases":' + b"[" * 100_000),
        (decode_from_provider, b'{"type":"result","receipt":' + b"[" * 90_000),
        (decode_from_provider, b'{"type":"refused","reason":"x","detail":"\\ud800"}'),
        (decode_from_provider, b'{"type":"refused","reason":"x","detail":"\xff"}'),
        (decode_from_provider, encode(HUB_MESSAGES[3])),
        (decode_from_hub, encode(PROVIDER_MESSAGES[3])),
    ],
)
def test_hostile_texts_are_rejected(decode: Any, text: bytes) -> None:
    with pytest.raises(Rejected):
        decode(text)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"prompts": ("a", "b", "c")}, "run.prompts"),
        ({"prompts": ("a", " ")}, "run.prompts"),
        ({"prompts": ("a", "b\x00")}, "run.prompts"),
        ({"negative_prompt": "\x1b[2J"}, "run.negative_prompt"),
    ],
)
def test_a_run_that_cannot_be_is_rejected(changes: dict[str, Any], field: str) -> None:
    from msgspec.structs import replace

    with pytest.raises(Rejected) as caught:
        replace(RUN, **changes).checked()
    assert caught.value.values["field"] == field


def test_seeds_go_around() -> None:
    assert [RUN.seed_of(0), RUN.seed_of(1)] == [2**63 - 1, 0]


def test_a_signed_request_names_an_address_as_client() -> None:
    fields = json.loads(encode(HUB_MESSAGES[5])) | {"client": "alice"}
    with pytest.raises(Rejected):
        decode_from_hub(json.dumps(fields))


def test_the_prompt_hash_of_one_prompt_is_that_of_a_list_of_it() -> None:
    one = PLAIN_RUN.prompt_hash(bytes(32))
    two = PictureRun(model="m", prompts=("a red circle", "x"), steps=1, guidance=1, width=8, height=8, seed=0, count=2)
    assert one.startswith("sha256:")
    assert two.prompt_hash(bytes(32)) != one


def test_attachments_are_in_the_order_of_the_fields() -> None:
    assert HUB_MESSAGES[5].attachments == ()
