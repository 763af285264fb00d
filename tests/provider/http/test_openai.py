"""OpenAI's images API, spoken by OpenAI's own SDK to a whole provider on a loopback socket."""

import base64
import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI
from PIL import Image, ImageChops, ImageStat

from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt, combined_artifact_sha256, recover_provider

PROMPT = "a red circle on a blue background"
QUICK: dict[str, Any] = {"steps": 5, "guidance": 2.5}
"""Ours, through the SDK's extra_body."""


@pytest.fixture
def client(running: Any) -> Iterator[OpenAI]:
    """The SDK, which gives up at once instead of trying again."""
    with sdk(running) as opened:
        yield opened


def sdk(running: Any, api_key: str | None = None, **options: Any) -> OpenAI:
    options = {"max_retries": 0, "timeout": 120} | options
    return OpenAI(base_url=f"{running.url}/v1", api_key=api_key or running.client_secret, **options)


def make(client: OpenAI, **fields: Any) -> Any:
    extra = QUICK | fields.pop("extra", {})
    return client.images.generate(**{"prompt": PROMPT, "size": "256x256", "extra_body": extra, **fields})


def details_of(made: Any) -> dict[str, Any]:
    """Our own member of the answer, which the SDK's types do not know."""
    details: dict[str, Any] = made.model_extra["aitbc"]
    return details


def opened(b64_json: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(b64_json)))


def check_receipt(details: dict[str, Any], pictures: list[bytes], provider_key: PrivateKey) -> Receipt:
    """That the receipt under `aitbc` is this provider's, for these pictures."""
    receipt = Receipt.from_object(details["receipt"])
    assert "0x" + receipt.hash.hex() == details["receipt_hash"]
    assert recover_provider(receipt, bytes.fromhex(details["provider_signature"][2:])) == provider_key.address
    digests = [hashlib.sha256(picture).digest() for picture in pictures]
    assert receipt.artifact_sha256 == combined_artifact_sha256(digests)
    return receipt


# Pictures


def test_two_pictures_in_base64_with_one_receipt(client: OpenAI, provider_key: PrivateKey) -> None:
    made = make(client, n=2, model="aitbc/tiny-sd", response_format="b64_json", extra={"seed": 7})
    assert [opened(each.b64_json).size for each in made.data] == [(256, 256), (256, 256)]
    assert made.data[0].b64_json != made.data[1].b64_json
    assert (made.size, made.output_format, made.background) == ("256x256", "png", "opaque")
    assert made.created > 1_700_000_000
    details = details_of(made)
    assert details["seeds"] == [7, 8]
    receipt = check_receipt(details, [base64.b64decode(each.b64_json) for each in made.data], provider_key)
    assert (receipt.model, receipt.client) == ("aitbc/tiny-sd", "alice")


def test_a_url_that_needs_no_key(client: OpenAI, running: Any, provider_key: PrivateKey) -> None:
    made = make(client, response_format="url")
    assert made.data[0].b64_json is None
    fetched = httpx.get(made.data[0].url)
    assert fetched.status_code == 200
    assert fetched.headers["content-type"] == "image/png"
    check_receipt(details_of(made), [fetched.content], provider_key)
    assert httpx.get(made.data[0].url.replace("artifacts/0", "artifacts/1")).status_code == 403


@pytest.mark.parametrize(("output_format", "pillow_format"), [("jpeg", "JPEG"), ("webp", "WEBP"), ("png", "PNG")])
def test_output_formats(client: OpenAI, output_format: str, pillow_format: str) -> None:
    quality = {} if output_format == "png" else {"output_compression": 40}
    made = make(client, output_format=output_format, **quality)
    assert opened(made.data[0].b64_json).format == pillow_format
    assert made.output_format == output_format


def test_what_a_seed_and_other_extras_change(client: OpenAI) -> None:
    first = make(client, extra={"seed": 3}).data[0].b64_json
    assert make(client, extra={"seed": 3}).data[0].b64_json == first
    assert make(client, extra={"seed": 4}).data[0].b64_json != first
    assert make(client, extra={"seed": 3, "negative_prompt": "blue"}).data[0].b64_json != first
    assert make(client, extra={"seed": 3, "scheduler": "euler_a"}).data[0].b64_json != first


def test_no_prompt_in_the_log(client: OpenAI, capfd: pytest.CaptureFixture[str]) -> None:
    events = list(make(client, prompt="a zweihorn", stream=True, extra={"negative_prompt": "a dreihorn"}))
    with pytest.raises(openai.BadRequestError):
        make(client, prompt="a zweihorn" * 500)
    logged = "".join(capfd.readouterr())
    assert details_of(events[-1])["job_id"] in logged
    assert "horn" not in logged


def test_defaults_are_the_plans_and_quality_is_steps(client: OpenAI) -> None:
    low = client.images.generate(prompt=PROMPT, size="256x256", quality="low", user="somebody", style="vivid")
    assert (low.quality, details_of(low)["steps"]) == ("low", 15)
    plain = client.images.generate(prompt=PROMPT, n=None, size=None, quality=None, moderation="low")
    assert (plain.quality, details_of(plain)["steps"], plain.size) == (None, 30, "512x512")


def test_a_picture_drawn_anew(client: OpenAI, provider_key: PrivateKey) -> None:
    drawn = base64.b64decode(make(client, prompt="a green square on a white background").data[0].b64_json)
    inverted = io.BytesIO()
    ImageChops.invert(Image.open(io.BytesIO(drawn)).convert("RGB")).save(inverted, "PNG")

    def anew(source: bytes, strength: float) -> Image.Image:
        made = client.images.edit(
            image=("source.png", source),
            prompt=PROMPT,
            size="256x256",
            extra_body=QUICK | {"seed": 5, "steps": 10, "strength": strength},
        )
        assert made.data is not None
        encoded = made.data[0].b64_json or ""
        check_receipt(details_of(made), [base64.b64decode(encoded)], provider_key)
        return opened(encoded).convert("RGB")

    def difference(strength: float) -> float:
        pictures = (anew(drawn, strength), anew(inverted.getvalue(), strength))
        return sum(ImageStat.Stat(ImageChops.difference(*pictures)).mean)

    assert difference(0.1) > difference(1.0) + 10, "the lower the strength, the more the source matters"


def test_an_upload_of_another_size_and_format(client: OpenAI) -> None:
    upload = io.BytesIO()
    Image.new("RGB", (300, 200), (255, 0, 0)).save(upload, "JPEG")
    made = client.images.edit(
        image=[("photo.jpg", upload.getvalue())], prompt=PROMPT, size="256x320", n=2, extra_body=QUICK
    )
    assert made.data is not None
    assert [opened(each.b64_json or "").size for each in made.data] == [(256, 320)] * 2


# Streams


def test_a_stream_with_partial_images(client: OpenAI, provider_key: PrivateKey) -> None:
    events = list(make(client, stream=True, partial_images=2, extra={"steps": 9, "seed": 5}))
    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert [event.partial_image_index for event in events[:2]] == [0, 1]
    for event in events[:2]:
        assert opened(event.b64_json).format == "JPEG"
        assert event.output_format == "jpeg"
    last = events[-1]
    assert (last.size, last.quality, last.background, last.output_format) == ("256x256", "auto", "opaque", "png")
    assert last.usage.total_tokens == 0
    check_receipt(details_of(last), [base64.b64decode(last.b64_json)], provider_key)
    still = make(client, extra={"steps": 9, "seed": 5})
    assert still.data[0].b64_json == last.b64_json, "the same picture as without a stream"


def test_a_stream_of_two_pictures_without_partial_images(client: OpenAI, provider_key: PrivateKey) -> None:
    events = list(make(client, stream=True, n=2))
    assert [(event.type, event.image_index) for event in events] == [
        ("image_generation.completed", 0),
        ("image_generation.completed", 1),
    ]
    check_receipt(events[1].aitbc, [base64.b64decode(event.b64_json) for event in events], provider_key)


def test_a_streamed_edit(client: OpenAI) -> None:
    source = io.BytesIO()
    Image.new("RGB", (256, 256)).save(source, "PNG")
    stream = client.images.edit(
        image=("a.png", source.getvalue()), prompt=PROMPT, size="256x256", stream=True, extra_body=QUICK
    )
    assert [event.type for event in stream] == ["image_edit.completed"]


def test_a_stream_that_its_client_leaves_ends_the_job(
    client: OpenAI, running: Any, eventually: Callable[..., None]
) -> None:
    stream = make(client, stream=True, partial_images=3, size="1024x1024", extra={"steps": 100})
    next(iter(stream))
    stream.close()

    def last_state() -> str:
        state: str = running.mine("/v1/jobs?limit=1").json()["items"][0]["state"]
        return state

    eventually(lambda: last_state() == "cancelled", timeout_s=60)


def test_an_error_in_the_middle_of_a_stream(client: OpenAI, running: Any) -> None:
    stream = make(client, stream=True, partial_images=3, size="1024x1024", extra={"steps": 100})
    next(iter(stream))
    job_id = running.mine("/v1/jobs?limit=1").json()["items"][0]["job_id"]
    assert running.mine(f"/v1/jobs/{job_id}/cancel", "POST").status_code == 200
    with pytest.raises(openai.APIError) as error:
        list(stream)
    assert error.value.code == "generation_cancelled"


# Idempotency


def test_the_same_key_draws_once(client: OpenAI) -> None:
    header = {"Idempotency-Key": "openai-test-1"}
    first = make(client, extra_headers=header)
    again = make(client, extra_headers=header)
    assert first.data[0].b64_json == again.data[0].b64_json
    assert details_of(first)["receipt_hash"] == details_of(again)["receipt_hash"]
    with pytest.raises(openai.ConflictError) as error:
        make(client, prompt="another", extra_headers=header)
    assert error.value.response.headers["x-should-retry"] == "false", "the SDK must not ask again"


# Models


def test_models(client: OpenAI, provider_key: PrivateKey) -> None:
    models = list(client.models.list())
    assert [model.id for model in models] == ["aitbc/tiny-sd"]
    one = client.models.retrieve("aitbc/tiny-sd")
    assert (one.id, one.object) == ("aitbc/tiny-sd", "model")
    assert one.owned_by.lower() == "0x" + provider_key.address.hex()
    with pytest.raises(openai.NotFoundError) as error:
        client.models.retrieve("dall-e-3")
    assert error.value.code == "model_not_found"


# Refusals, as the SDK's exceptions


def test_an_unknown_model_names_those_that_there_are(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="aitbc/tiny-sd") as error:
        make(client, model="gpt-image-1")
    assert (error.value.code, error.value.param, error.value.type) == (
        "model_not_found",
        "model",
        "invalid_request_error",
    )


@pytest.mark.parametrize("api_key", ["wrong-secret-0123456789", "x"])
def test_a_wrong_key(running: Any, api_key: str) -> None:
    with sdk(running, api_key) as stranger:
        with pytest.raises(openai.AuthenticationError) as error:
            make(stranger)
        assert error.value.code == "invalid_api_key"
        with pytest.raises(openai.AuthenticationError):
            stranger.models.list()


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"prompt": ""}, "prompt", None),
        ({"prompt": "  "}, "prompt", None),
        ({"prompt": "a\x00b"}, "prompt", None),
        ({"prompt": "x" * 5000}, "prompt", "too_large"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": 11}, "n", "invalid_value"),
        ({"n": 10}, "n", "too_large"),
        ({"size": "1536x1024"}, "size", None),
        ({"size": "500x500"}, "size", None),
        ({"size": "512"}, "size", None),
        ({"size": "99999999999999999999x8"}, "size", None),
        ({"response_format": "hex"}, "response_format", None),
        ({"output_format": "gif"}, "output_format", None),
        ({"output_format": "svg"}, "output_format", None),
        ({"output_compression": 50}, "output_compression", None),
        ({"background": "transparent"}, "background", None),
        ({"quality": "ultra"}, "quality", None),
        ({"partial_images": 4, "stream": True}, "partial_images", None),
        ({"extra": {"steps": 4}}, "steps", "invalid_value"),
        ({"extra": {"steps": "10"}}, "steps", None),
        ({"extra": {"guidance": 26}}, "guidance", "invalid_value"),
        ({"extra": {"seed": -1}}, "seed", "invalid_value"),
        ({"extra": {"seed": 2**63}}, "seed", "invalid_value"),
        ({"extra": {"scheduler": "magic"}}, "scheduler", None),
        ({"extra": {"colour": "red"}}, "colour", "unknown_parameter"),
    ],
)
def test_bad_parameters(client: OpenAI, fields: dict[str, Any], param: str, code: str | None) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        make(client, **fields)
    assert error.value.param == param
    assert code is None or error.value.code == code
    assert "x" * 100 not in str(error.value), "what was sent is not sent back"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"prompt": NaN}', b'{"prompt": "a", "prompt": "b"}', b"\xff"])
def test_bodies_that_are_no_requests(running: Any, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = running.mine("/v1/images/generations", "POST", content=body, headers=headers)
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b"{}", 415),
        ("multipart/form-data", b"", 415),
        ("multipart/form-data; boundary=x", b"", 400),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n", 400),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="n"\r\n\r\n1\r\n--x--', 400),
    ],
)
def test_forms_that_are_none(running: Any, content_type: str, body: bytes, status: int) -> None:
    answer = running.mine("/v1/images/edits", "POST", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("files", "param"),
    [
        ({"image": b"no picture"}, "image"),
        ({"image": b"\x89PNG\r\n\x1a\n"}, "image"),
        ({}, "image"),
        ({"image": b"", "mask": b""}, "mask"),
    ],
)
def test_uploads_that_are_no_pictures(running: Any, files: dict[str, bytes], param: str) -> None:
    form: dict[str, Any] = {name: (f"{name}.png", content) for name, content in files.items()}
    answer = running.mine("/v1/images/edits", "POST", data={"prompt": PROMPT}, files=form | {"n": (None, "1")})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


def test_the_rate_limit_says_when_to_come_back(start_provider: Callable[..., Any]) -> None:
    hurried = start_provider(rate_limit="2/hour")
    with sdk(hurried) as client:
        make(client, n=2)
        with pytest.raises(openai.RateLimitError) as error:
            make(client)
    assert error.value.code == "rate_limit_exceeded"
    assert int(error.value.response.headers["retry-after"]) > 0


def test_a_full_queue_is_a_503_that_the_sdk_tries_again(
    start_provider: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    crowded = start_provider(rate_limit="1000/minute", queue_limit=1, max_batch_rows=1)
    slow = {"size": "1024x1024", "extra": {"steps": 60}}
    refusals: list[openai.InternalServerError] = []
    ends: list[Any] = []

    def ask(max_retries: int) -> None:
        with sdk(crowded, max_retries=max_retries) as client:
            try:
                ends.append(make(client, **slow))
            except openai.InternalServerError as error:
                refusals.append(error)
            except openai.ConflictError as error:  # Those that found a place are cancelled below.
                ends.append(error.code)

    threads = [threading.Thread(target=ask, args=(0,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(refusals) >= 1, timeout_s=60)
    refused = refusals[0]
    for job in crowded.mine("/v1/jobs").json()["items"]:
        crowded.mine(f"/v1/jobs/{job['job_id']}/cancel", "POST")
    for thread in threads:
        thread.join(60)
    assert len(refusals) + len(ends) == len(threads)
    assert "generation_cancelled" in ends
    assert refused.status_code == 503
    assert refused.code == "queue_full"
    assert int(refused.response.headers["retry-after"]) > 0
    assert "x-should-retry" not in refused.response.headers


def test_the_document_describes_these_routes(running: Any) -> None:
    document = running.get("/openapi.json").json()
    generations = document["paths"]["/v1/images/generations"]["post"]
    assert set(generations["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    edits = document["paths"]["/v1/images/edits"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert {"image", "prompt"} <= set(edits["schema"]["properties"])
    json.dumps(document)
