"""Job files: read strictly, whatever came by disk."""

import json
from typing import Any

import pytest

from chain.primitives.rejection import Rejected, RejectionReason
from provider.receipts.job_file import JobFile, read_job_file


def read(fields: object) -> JobFile:
    return read_job_file(json.dumps(fields).encode())


def test_whole_file(make_job: Any) -> None:
    job = make_job()
    found = read(job.file())
    assert found.document.receipt == job.sign(None).receipt
    assert found.profiles == job.profiles
    assert found.picture_names == ("0.png", "1.png")
    assert found.asked_for is not None
    request = found.asked_for.image_request("aitbc/tiny-sd")
    assert request == job.request


@pytest.mark.parametrize("wrap", [False, True])
def test_bare_receipt_and_answer(make_job: Any, wrap: bool) -> None:
    fields = make_job().file()
    answer = {name: fields[name] for name in ("receipt", "receipt_hash", "provider_signature", "prompt_salt")}
    found = read(answer if wrap else fields["receipt"])
    assert found.asked_for is None
    assert (found.document.provider_signature is not None) is wrap


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, RejectionReason.MALFORMED),
        ({"version": True}, RejectionReason.MALFORMED),
        ({"more": 1}, RejectionReason.UNKNOWN_FIELD),
        ({"request": None}, RejectionReason.MALFORMED),
        ({"request": {"prompt": "x", "seed": -1}}, RejectionReason.MALFORMED),
        ({"request": {"prompt": "x", "seed": 2**63}}, RejectionReason.MALFORMED),
        ({"request": {"prompt": "x", "seed": 1.5}}, RejectionReason.MALFORMED),
        ({"request": {"prompt": 5, "seed": 1}}, RejectionReason.MALFORMED),
        ({"request": {"prompt": "x" * 200_000, "seed": 1}}, RejectionReason.MALFORMED),
        ({"parameters": {}}, RejectionReason.MISSING_FIELD),
        ({"parameters": []}, RejectionReason.MALFORMED),
        ({"prompt_salt": "0x00"}, RejectionReason.MALFORMED),
        ({"receipt": {}}, RejectionReason.MISSING_FIELD),
        ({"receipt": []}, RejectionReason.MALFORMED),
        ({"receipt_hash": "latest"}, RejectionReason.MALFORMED),
        ({"provider_signature": "0x"}, RejectionReason.MALFORMED),
        ({"client_request": {}}, RejectionReason.MISSING_FIELD),
        ({"profiles": {}}, RejectionReason.MALFORMED),
        ({"profiles": [1]}, RejectionReason.MALFORMED),
        ({"profiles": [1] * 17}, RejectionReason.MALFORMED),
        ({"pictures": {}}, RejectionReason.MALFORMED),
        ({"pictures": ["out.png"]}, RejectionReason.MALFORMED),
        *[
            ({"pictures": [{"file": name}]}, RejectionReason.MALFORMED)
            for name in ("/etc/passwd", "../out.png", "..", ".", "", "a\0b", "a\\b", "x" * 300, None, 5)
        ],
    ],
)
def test_faulty_files(make_job: Any, change: dict[str, Any], reason: RejectionReason) -> None:
    with pytest.raises(Rejected) as caught:
        read(make_job().file(**change))
    assert caught.value.reason is reason


def test_every_field_but_the_source_is_needed(make_job: Any) -> None:
    fields = make_job().file()
    for name in fields.keys() - {"source", "parameters"}:
        with pytest.raises(Rejected):
            read({other: value for other, value in fields.items() if other != name})


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"{" * 100_000,
        b'{"parameters":' * 500,
        b'{"parameters": 1, "parameters": 2}',
        b'{"parameters": 1e99999999999999999999}',
        b'{"units": 1e99999999999999999999}',
        b'{"parameters": ' + b"9" * 10_000 + b"}",
    ],
)
def test_what_is_no_job_file(text: bytes) -> None:
    with pytest.raises(Rejected):
        read_job_file(text)


def test_parameters_that_no_provider_would_take(make_job: Any) -> None:
    fields = make_job().file()
    for change in ({"width": 257}, {"count": 17}, {"scheduler": "nobodys"}):
        asked = read({**fields, "parameters": fields["parameters"] | change}).asked_for
        assert asked is not None
        with pytest.raises(Rejected):
            asked.image_request("aitbc/tiny-sd")
