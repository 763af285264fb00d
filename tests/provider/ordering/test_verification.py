"""A client believes an answer only where receipt, signature, hashes and pictures fit its order."""

import base64
import hashlib
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from chain.primitives.hexadecimal import to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import salted_prompt_hash
from chain.primitives.types import Address
from provider.ordering.errors import ProviderUnavailable, UntrustedAnswer
from provider.ordering.order import PictureOrder, PreparedOrder, Signing, prepare, prepare_signed
from provider.ordering.verification import Expected, Pictures, read_pictures
from provider.receipts.client_requests import signed_origin, verify_client_request
from provider.receipts.issuing import JobOrigin, Offer, ServedWork, direct_origin, issue_receipt

CHAIN_ID = 424_242
NOW_S = 1_790_000_000
PROVIDER = PrivateKey(b"\x51" * 32)
CLIENT = PrivateKey(b"\x52" * 32)
ORDER = PictureOrder("a red circle", negative_prompt="blue", width=64, height=32, seed=5, count=2)
SALT = b"\x07" * 32


def png(width: int = 64, height: int = 32, colour: int = 0) -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (width, height), (colour, 0, 0)).save(encoded, "PNG")
    return encoded.getvalue()


def data_url(picture: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(picture).decode()}"


def unsigned_origin(order: PictureOrder, salt: bytes) -> JobOrigin:
    return direct_origin(
        "2025-09-26-000123",
        "alice",
        provider=PROVIDER.address,
        chain_id=CHAIN_ID,
        prompt_hash=salted_prompt_hash(salt, order.prompt),
        parameters=order.parameters(salt),
    )


def answer(
    order: PictureOrder = ORDER,
    *,
    key: PrivateKey = PROVIDER,
    salt: bytes = SALT,
    origin: JobOrigin | None = None,
    price: int = 10**15,
    max_price: int | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """What an honest provider says, made by the provider's own code, and then changed."""
    pictures = [png(order.width, order.height, index) for index in range(order.count)]
    work = ServedWork(tuple(hashlib.sha256(each).digest() for each in pictures), 1_500_000, NOW_S, NOW_S + 2)
    signed = issue_receipt(
        key,
        Offer("aitbc/tiny-sd", "gpu_seconds", price, CHAIN_ID),
        origin or unsigned_origin(order, salt),
        work,
        prompt_hash=salted_prompt_hash(salt, order.prompt),
        max_price=max_price,
    )
    return {
        "status": "ok",
        "job_id": "2025-09-26-000123",
        "image_base64": data_url(pictures[0]),
        "images": [data_url(each) for each in pictures],
        "duration_ms": 1600,
        "gpu_seconds": 1.5,
        "seeds": [5 + index for index in range(order.count)],
        "scheduler": "default",
        "device": "cpu",
        "gpu": "AMD EPYC",
        "model": "aitbc/tiny-sd",
        "receipt": signed.receipt.to_object(),
        "receipt_hash": to_hex(signed.receipt_hash),
        "provider_signature": to_hex(signed.signature),
        "prompt_salt": to_hex(salt),
        **changes,
    }


def read(
    said: dict[str, Any],
    prepared: PreparedOrder | None = None,
    expected: Expected = Expected(),  # noqa: B008
) -> Pictures:
    return read_pictures(prepared or prepare(ORDER), json.dumps(said).encode(), expected)


def signed_order(max_price: int = 10**18) -> PreparedOrder:
    return prepare_signed(
        ORDER, Signing(CLIENT, max_price), provider=PROVIDER.address, chain_id=CHAIN_ID, now_s=NOW_S - 10
    )


def signed_answer(prepared: PreparedOrder, **options: Any) -> dict[str, Any]:
    assert prepared.claim is not None
    verified = verify_client_request(
        prepared.claim,
        prompt=ORDER.prompt,
        parameters=ORDER.parameters(prepared.claim.salt),
        provider=PROVIDER.address,
        chain_id=CHAIN_ID,
        now_s=NOW_S - 5,
    )
    origin = signed_origin("2025-09-26-000123", verified)
    return answer(origin=origin, salt=verified.salt, max_price=verified.max_price, **options)


# What is believed


def test_an_honest_answer() -> None:
    made = read(answer(), expected=Expected(PROVIDER.address, CHAIN_ID))
    assert (made.seeds, len(made.pictures), made.job_id) == ((5, 6), 2, "2025-09-26-000123")
    assert made.receipt.provider == PROVIDER.address
    assert made.claim is None


def test_a_signed_order() -> None:
    prepared = signed_order()
    made = read(signed_answer(prepared), prepared)
    assert made.claim == prepared.claim
    assert made.receipt.client_signature == prepared.claim.signature  # type: ignore[union-attr]


def test_chosen_seeds_and_a_single_picture() -> None:
    order = replace(ORDER, seed=None, count=1)
    said = answer(order, seeds=[2**63 - 1])
    del said["images"]
    assert read(said, prepare(order)).seeds == (2**63 - 1,)


# What is not


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"receipt_hash": "0x" + "11" * 32}, "hash"),
        ({"receipt_hash": "nonsense"}, "receipt_hash"),
        ({"provider_signature": "0x" + "11" * 65}, "sign"),
        ({"provider_signature": "0x"}, "provider_signature"),
        ({"prompt_salt": "0x" + "08" * 32}, "prompt_hash"),
        ({"prompt_salt": "0x08"}, "prompt_salt"),
        ({"model": "another/model"}, "model"),
        ({"images": [data_url(png())]}, "2 pictures were ordered, 1 came"),
        ({"images": [data_url(png()), data_url(png(colour=9))]}, "other pictures"),
        ({"images": [data_url(png(colour=1)), data_url(png())]}, "other pictures"),
        ({"images": [data_url(png(64, 40)), data_url(png(64, 40))]}, "another size"),
        ({"images": [data_url(b"GIF89a"), data_url(png())]}, "another size"),
        ({"images": [data_url(png(), "image/jpeg"), data_url(png())]}, "another format"),
        ({"images": ["data:image/png;base64,!!!", data_url(png())]}, "base64"),
        ({"images": ["data:image/png;base64,é", data_url(png())]}, "base64"),
        ({"seeds": [5, 7]}, "seeds"),
        ({"seeds": [6, 7]}, "seeds"),
        ({"seeds": []}, "seeds"),
    ],
)
def test_a_changed_answer(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UntrustedAnswer, match=complaint):
        read(answer(**changes))


@pytest.mark.parametrize(
    ("name", "value"),
    [("amount", "1"), ("units", 99), ("chain_id", 1), ("client", "mallory"), ("model", "m"), ("surprise", 1)],
)
def test_a_changed_receipt(name: str, value: Any) -> None:
    said = answer()
    said["receipt"] = {**said["receipt"], name: value}
    with pytest.raises(UntrustedAnswer):
        read(said)


@pytest.mark.parametrize(
    "ordered",
    [
        replace(ORDER, prompt="a blue circle"),
        replace(ORDER, negative_prompt=""),
        replace(ORDER, steps=31),
        replace(ORDER, guidance=7.0),
        replace(ORDER, scheduler="euler"),
        replace(ORDER, seed=None),
        replace(ORDER, model="aitbc/tiny-sd"),
        replace(ORDER, model="another"),
        replace(ORDER, source=b"file"),
        replace(ORDER, output_format="webp"),
    ],
)
def test_a_receipt_for_another_order(ordered: PictureOrder) -> None:
    with pytest.raises(UntrustedAnswer):
        read(answer(), prepare(ordered))


@pytest.mark.parametrize(
    ("expected", "complaint"),
    [(Expected(provider=Address(b"\x01" * 20)), "not by"), (Expected(chain_id=1), "for chain")],
)
def test_another_provider_or_chain_than_expected(expected: Expected, complaint: str) -> None:
    with pytest.raises(UntrustedAnswer, match=complaint):
        read(answer(), expected=expected)


def test_a_signed_order_answered_as_if_it_were_not() -> None:
    with pytest.raises(UntrustedAnswer):
        read(answer(), signed_order())


def test_an_unsigned_order_answered_with_somebodys_signature() -> None:
    with pytest.raises(UntrustedAnswer):
        read(signed_answer(signed_order()))


def test_another_signed_order_of_the_same_client() -> None:
    with pytest.raises(UntrustedAnswer):
        read(signed_answer(signed_order()), signed_order())


def test_a_receipt_above_the_signed_maximum() -> None:
    prepared = signed_order(max_price=1000)
    said = signed_answer(prepared, price=10**15)
    assert int(said["receipt"]["amount"]) <= 1000, "an honest provider bills no more than that"
    greedy = {**said, "receipt": {**said["receipt"], "amount": "100000"}}
    with pytest.raises(UntrustedAnswer):
        read(greedy, prepared)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"<html>", b"[" * 100_000, b'{"job_id": 5}', b"\xff"])
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(ProviderUnavailable):
        read_pictures(prepare(ORDER), body, Expected())


@pytest.mark.parametrize("duration_ms", [-1, 10**400])
def test_a_time_that_nobody_could_show(duration_ms: int) -> None:
    with pytest.raises(ProviderUnavailable, match="duration_ms"):
        read(answer(duration_ms=duration_ms))
