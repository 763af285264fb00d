"""`POST /v1/generate-image` on a real socket with the real pipeline: what is answered, and every bad input."""

import base64
import hashlib
import io
import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt, combined_artifact_sha256, recover_provider
from chain.web.problems import PROBLEM_MEDIA_TYPE

AssertProblem = Callable[..., None]
PROMPT = "a red circle on a blue background"
GOOD = {"prompt": PROMPT, "steps": 5, "guidance": 2.5, "width": 256, "height": 256}


def decoded(data_url: str, media_type: str = "image/png") -> bytes:
    prefix, encoded = data_url.split(",")
    assert prefix == f"data:{media_type};base64"
    return base64.b64decode(encoded)


def picture_of(data_url: str, media_type: str = "image/png") -> Image.Image:
    return Image.open(io.BytesIO(decoded(data_url, media_type)))


def source_url(colour: tuple[int, int, int] = (0, 0, 255), size: tuple[int, int] = (300, 200)) -> str:
    encoded = io.BytesIO()
    Image.new("RGB", size, colour).save(encoded, "PNG")
    return "data:image/png;base64," + base64.b64encode(encoded.getvalue()).decode()


# What is answered


def test_a_picture_and_its_receipt(running: Any, provider_key: PrivateKey) -> None:
    answer = running.generate(seed=12345)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["status"], body["seed"], body["device"], body["model"]) == ("ok", 12345, "cpu", "aitbc/tiny-sd")
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}-\d{6}", body["job_id"])
    png = decoded(body["image_base64"])
    assert Image.open(io.BytesIO(png)).size == (256, 256)
    assert "images" not in body

    receipt = Receipt.from_object(body["receipt"])
    assert "0x" + receipt.hash.hex() == body["receipt_hash"]
    assert recover_provider(receipt, bytes.fromhex(body["provider_signature"][2:])) == provider_key.address
    assert receipt.artifact_sha256 == hashlib.sha256(png).hexdigest()
    assert (receipt.job_id, receipt.client, receipt.hub_id, receipt.chain_id) == (body["job_id"], "alice", "", 424_242)
    assert receipt.micro_units / 1e6 == body["gpu_seconds"] > 0
    assert body["duration_ms"] >= body["gpu_seconds"] * 1000 - 1
    salt = bytes.fromhex(body["prompt_salt"][2:])
    assert receipt.prompt_hash == "sha256:" + hashlib.sha256(salt + PROMPT.encode()).hexdigest()


def test_same_seed_same_picture_new_job(running: Any) -> None:
    first, second = running.generate(seed=7).json(), running.generate(seed=7).json()
    assert first["image_base64"] == second["image_base64"]
    assert first["job_id"] != second["job_id"]
    assert first["receipt_hash"] != second["receipt_hash"]


def test_an_omitted_seed_is_chosen_used_and_returned(running: Any) -> None:
    first, second = running.generate().json(), running.generate(seed=None).json()
    assert first["seed"] != second["seed"]
    assert max(first["seed"], second["seed"]) < 2**53
    assert running.generate(seed=first["seed"]).json()["image_base64"] == first["image_base64"]


def test_the_largest_seed_works(running: Any) -> None:
    assert running.generate(seed=2**63 - 1).json()["seed"] == 2**63 - 1


def test_several_pictures_have_one_receipt(running: Any) -> None:
    body = running.generate(seed=2**63 - 1, count=3).json()
    assert body["seeds"] == [2**63 - 1, 0, 1]
    assert body["count"] == len(body["images"]) == 3
    assert body["images"][0] == body["image_base64"]
    pictures = [decoded(image) for image in body["images"]]
    assert len(set(pictures)) == 3
    digests = [hashlib.sha256(picture).digest() for picture in pictures]
    assert body["receipt"]["artifact_sha256"] == combined_artifact_sha256(digests)


def test_a_negative_prompt_and_a_scheduler_change_the_picture(running: Any) -> None:
    plain = running.generate(seed=3).json()
    other = running.generate(seed=3, negative_prompt="a green square").json()
    euler = running.generate(seed=3, scheduler="euler").json()
    assert euler["scheduler"] == "euler"
    assert len({answer["image_base64"] for answer in (plain, other, euler)}) == 3


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_formats(running: Any, output_format: str) -> None:
    body = running.generate(seed=3, output_format=output_format, quality=70).json()
    picture = picture_of(body["image_base64"], f"image/{output_format}")
    assert (picture.format, picture.size) == (output_format.upper(), (256, 256))


def test_image_to_image_begins_with_the_source(running: Any) -> None:
    def colour(**fields: Any) -> tuple[int, ...]:
        answer = running.generate(seed=3, steps=10, prompt="a green background", **fields)
        assert answer.status_code == 200, answer.text
        pixel = picture_of(answer.json()["image_base64"]).resize((1, 1)).getpixel((0, 0))
        assert isinstance(pixel, tuple)
        return pixel

    red, green, blue = colour(init_image=source_url((0, 0, 255)), strength=0.1)
    assert blue > red + 60
    assert blue > green + 60
    assert colour(init_image=source_url((255, 0, 0)), strength=0.1) != (red, green, blue)


def test_the_model_may_be_named(running: Any, assert_problem: AssertProblem) -> None:
    assert running.generate(model="aitbc/tiny-sd").json()["model"] == "aitbc/tiny-sd"
    assert_problem(running.generate(model="dall-e-3"), 404, "unknown_model", "model")


# What is refused

BAD_FIELDS = [
    ("prompt", ""),
    ("prompt", "   "),
    ("prompt", "a\x00b"),
    ("prompt", "a\x1bb"),
    ("prompt", "x" * 1001),
    ("prompt", "x" * 10_001),
    ("prompt", 5),
    ("prompt", None),
    ("prompt", ["a"]),
    ("negative_prompt", "a\x00b"),
    ("negative_prompt", "x" * 1001),
    ("negative_prompt", None),
    ("steps", 4),
    ("steps", 101),
    ("steps", -1),
    ("steps", 2**70),
    ("steps", "30"),
    ("steps", 30.5),
    ("steps", True),
    ("steps", None),
    ("guidance", -0.1),
    ("guidance", 25.1),
    ("guidance", "7.5"),
    ("guidance", True),
    ("guidance", 1e308),
    ("width", 255),
    ("width", 1032),
    ("width", 257),
    ("width", 260),
    ("height", 1025),
    ("height", 0),
    ("height", "512"),
    ("height", 512.5),
    ("height", False),
    ("seed", -1),
    ("seed", 2**63),
    ("seed", 1.5),
    ("seed", "1"),
    ("seed", True),
    ("count", 0),
    ("count", 5),
    ("count", 17),
    ("count", "2"),
    ("scheduler", "magic"),
    ("scheduler", 5),
    ("model", "a b"),
    ("model", ""),
    ("output_format", "gif"),
    ("quality", 0),
    ("quality", 101),
    ("init_image", ""),
    ("init_image", "not base64!"),
    ("init_image", "é"),
    ("init_image", base64.b64encode(b"no picture at all").decode()),
    ("init_image", "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(100)).decode()),
    ("init_image", "https://example.com/a.png"),
    ("init_image", 5),
    ("job", {}),
    ("client_request", {}),
    ("surprise", 1),
]


@pytest.mark.parametrize(("field", "value"), BAD_FIELDS)
def test_bad_fields_are_named(running: Any, assert_problem: AssertProblem, field: str, value: Any) -> None:
    answer = running.generate(**{field: value})
    assert_problem(answer, 422)
    assert answer.json()["field"].split(".")[0] == field


def test_strength_needs_a_source_and_bounds(running: Any, assert_problem: AssertProblem) -> None:
    assert_problem(running.generate(strength=0.5), 422)
    for strength in (0, -1, 1.01, "1", True):
        assert_problem(running.generate(init_image=source_url(), strength=strength), 422, None, "strength")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b'{"prompt": "\\ud800"}', 400),
        (b"[]", 422),
        (b"null", 422),
        (b'"text"', 422),
        (b"\xff\xfe", 400),
        (b'{"guidance": NaN}', 400),
        (b'{"guidance": Infinity}', 400),
        (b'{"guidance": 1e999}', 422),
        (b'{"steps": 1, "steps": 2}', 400),
        (b'{"steps": ' + b"9" * 5000 + b"}", 413),
        (b"[" * 100_000, 413),
        (b"[" * 20_000, 413),
        (b'{"prompt": "' + b"x" * 2**20 + b'"}', 422),
        (b'{"prompt": "' + b"x" * (17 * 2**20) + b'"}', 413),
    ],
)
def test_bodies_that_are_no_order(running: Any, body: bytes, status: int) -> None:
    headers = {"Content-Type": "application/json"}
    answer = httpx.post(running.url + "/v1/generate-image", content=body, headers=headers, timeout=60)
    assert answer.status_code == status
    assert answer.headers["content-type"] == PROBLEM_MEDIA_TYPE
    assert len(answer.content) < 2_000


def test_other_methods_paths_and_types(running: Any, assert_problem: AssertProblem) -> None:
    assert_problem(running.get("/v1/generate-image"), 405, "method_not_allowed")
    assert_problem(running.get("/v1/nothing"), 404, "not_found")
    plain = httpx.post(running.url + "/v1/generate-image", content=b"{}", headers={"Content-Type": "text/plain"})
    assert_problem(plain, 415, "unsupported_media_type")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=40),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)
# Only what leads to no picture, so that the test is quick: one field at least is wrong.
FIELD_NAMES = st.sampled_from(["prompt", "steps", "guidance", "width", "height", "seed", "job", "init_image", "other"])


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.dictionaries(FIELD_NAMES, JSON_VALUES, min_size=1, max_size=4))
def test_whatever_is_sent_is_no_fault_of_ours(running: Any, changes: dict[str, Any]) -> None:
    body = {"api_key": running.client_secret, **GOOD, "width": 257, **changes}
    if body["width"] != 257:
        body["height"] = 257
    answer = running.post("/v1/generate-image", body)
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == PROBLEM_MEDIA_TYPE


# The plan's words


def test_the_openapi_document_says_what_the_plan_says(running: Any) -> None:
    document = running.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    schema = document["components"]["schemas"]["GenerateRequest"]["properties"]
    assert (schema["steps"]["minimum"], schema["steps"]["maximum"], schema["steps"]["default"]) == (5, 100, 30)
    assert (schema["guidance"]["minimum"], schema["guidance"]["maximum"], schema["guidance"]["default"]) == (0, 25, 7.5)
    for side in ("width", "height"):
        assert (schema[side]["minimum"], schema[side]["maximum"], schema[side]["default"]) == (256, 1024, 512)
    described = json.dumps(document["paths"]["/v1/generate-image"]["post"]["responses"])
    assert PROBLEM_MEDIA_TYPE in described
