"""Automatic1111's API, called as Open WebUI, SillyTavern and scripts call it, on a whole provider's socket."""

import base64
import hashlib
import io
import json
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from PIL import Image

from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt, recover_provider

PROMPT = "a red circle on a blue background"
QUICK: dict[str, Any] = {"prompt": PROMPT, "steps": 5, "cfg_scale": 2.5, "width": 256, "height": 256}
SLOW: dict[str, Any] = {**QUICK, "steps": 100, "width": 1024, "height": 1024}


class Caller:
    """Speaks for one API key, by HTTP Basic as `--api-auth name:secret` wants it."""

    def __init__(self, url: str, name: str, secret: str) -> None:
        self._url = url
        self._auth = (name, secret)

    def get(self, path: str, **options: Any) -> Any:
        answer = httpx.get(f"{self._url}/sdapi/v1/{path}", auth=self._auth, timeout=60, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def try_post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return httpx.post(f"{self._url}/sdapi/v1/{path}", json=body, auth=self._auth, timeout=120, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> Any:
        answer = self.try_post(path, body, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def alice(running: Any) -> Caller:
    return Caller(running.url, "alice", running.client_secret)


@pytest.fixture(scope="module")
def two_models(start_provider: Callable[..., Any]) -> Any:
    """A provider with two names for the embedded model."""
    return start_provider(
        model=("aitbc/tiny-sd", "aitbc/second=aitbc/tiny-sd"), rate_limit="10000/minute", max_batch_rows=1
    )


def other_of(running: Any) -> Caller:
    """Another caller of the same provider."""
    return Caller(running.url, "bob", running.other_secret)


def opened(encoded: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(encoded)))


def assert_error(answer: httpx.Response, status: int, reason: str | None = None) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert set(body) == {"error", "detail", "body", "errors"}
    assert body["detail"]
    assert body["body"] == ""
    if reason is not None:
        assert body["errors"] == reason
    return body


# Pictures


def test_a_picture_with_its_parameters_info_and_receipt(alice: Caller, provider_key: PrivateKey) -> None:
    made = alice.post("txt2img", {**QUICK, "seed": 42, "negative_prompt": "noise", "sampler_name": "Euler a"})
    assert len(made["images"]) == 1
    picture = opened(made["images"][0])
    assert (picture.format, picture.size) == ("PNG", (256, 256))
    assert made["parameters"]["prompt"] == PROMPT
    info = json.loads(made["info"])
    assert (info["seed"], info["all_seeds"], info["sampler_name"]) == (42, [42], "Euler a")
    assert (info["prompt"], info["negative_prompt"], info["steps"], info["cfg_scale"]) == (PROMPT, "noise", 5, 2.5)
    lines = info["infotexts"][0].split("\n")
    assert lines[:2] == [PROMPT, "Negative prompt: noise"]
    assert lines[2].startswith(
        "Steps: 5, Sampler: Euler a, Schedule type: Automatic, CFG scale: 2.5, Seed: 42, Size: 256x256"
    )
    receipt = Receipt.from_object(made["aitbc"]["receipt"])
    signature = bytes.fromhex(made["aitbc"]["provider_signature"][2:])
    assert recover_provider(receipt, signature) == provider_key.address
    assert receipt.artifact_sha256 == hashlib.sha256(base64.b64decode(made["images"][0])).hexdigest()
    assert picture.info == {}, "no prompt in the picture's metadata"


def test_open_webui_as_it_asks(alice: Caller) -> None:
    """It checks `options`, lists `sd-models`, posts all options back, then asks for a batch."""
    options = alice.get("options")
    assert options["sd_model_checkpoint"] == "aitbc/tiny-sd"
    assert [(model["title"], model["model_name"]) for model in alice.get("sd-models")] == [("aitbc/tiny-sd",) * 2]
    options["sd_model_checkpoint"] = "aitbc/tiny-sd"
    assert alice.post("options", options) is None
    made = alice.post(
        "txt2img",
        {
            "prompt": PROMPT,
            "batch_size": 2,
            "width": 256,
            "height": 256,
            "steps": 5,
            "negative_prompt": None,
            "cfg_scale": "2.5",
            "sampler_name": "DPM++ 2M",
            "scheduler": "Karras",
        },
    )
    assert [opened(image).size for image in made["images"]] == [(256, 256)] * 2
    info = json.loads(made["info"])
    assert info["all_seeds"] == [info["seed"], info["seed"] + 1]
    assert made["aitbc"]["scheduler"] == "dpmpp_2m_karras"


def test_sillytavern_as_it_asks(running: Any, alice: Caller) -> None:
    """It pings, fills its menus, sends its own URL and password along, and expects none of them back."""
    password = f"alice:{running.client_secret}"
    assert alice.get("upscalers")[0]["name"] == "None"
    assert alice.get("latent-upscale-modes") == []
    assert alice.get("sd-vae") == []
    assert {"Euler a", "DPM++ 2M", "DDIM"} <= {sampler["name"] for sampler in alice.get("samplers")}
    assert {"automatic", "karras"} <= {scheduler["name"] for scheduler in alice.get("schedulers")}
    idle = alice.get("progress")
    assert (idle["progress"], idle["state"]["job_count"]) == (0.0, 0)
    made = alice.try_post(
        "txt2img",
        {
            "url": running.url,
            "auth": password,
            **QUICK,
            "negative_prompt": "",
            "sampler_name": "Euler a",
            "scheduler": "automatic",
            "restore_faces": True,
            "enable_hr": False,
            "hr_upscaler": "Latent",
            "hr_scale": 2,
            "hr_additional_modules": [],
            "denoising_strength": 0.7,
            "hr_second_pass_steps": 0,
            "override_settings": {"CLIP_stop_at_last_layers": 1},
            "override_settings_restore_afterwards": True,
            "clip_skip": 1,
            "save_images": True,
            "send_images": True,
            "do_not_save_grid": False,
            "do_not_save_samples": False,
        },
    )
    assert made.status_code == 200, made.text
    assert opened(made.json()["images"][0]).size == (256, 256)
    assert password not in made.text
    assert "auth" not in made.json()["parameters"]


def test_a_seed_of_minus_one_is_chosen_and_told(alice: Caller) -> None:
    first, second = (json.loads(alice.post("txt2img", {**QUICK, "seed": -1})["info"])["seed"] for _ in range(2))
    assert first != second
    assert 0 <= first <= 2**53


def test_a_seed_gives_the_same_picture_as_the_plans_api(alice: Caller, running: Any) -> None:
    made = alice.post("txt2img", {**QUICK, "seed": 10})
    assert made["images"][0] == running.generate(seed=10).json()["image_base64"].partition(",")[2]


def test_no_prompt_in_the_log(alice: Caller, capfd: pytest.CaptureFixture[str]) -> None:
    made = alice.post("txt2img", {**QUICK, "prompt": "a zweihorn", "negative_prompt": "a dreihorn"})
    assert_error(alice.try_post("txt2img", {**QUICK, "prompt": "a zweihorn" * 500}), 422)
    logged = "".join(capfd.readouterr())
    assert made["aitbc"]["job_id"] in logged
    assert "horn" not in logged


def test_no_pictures_where_none_are_wanted(alice: Caller) -> None:
    assert alice.post("txt2img", {**QUICK, "send_images": False})["images"] == []


def test_a_picture_drawn_anew(alice: Caller) -> None:
    encoded = io.BytesIO()
    Image.new("RGB", (320, 200), (20, 200, 20)).save(encoded, "PNG")
    source = base64.b64encode(encoded.getvalue()).decode()
    asked = {**QUICK, "init_images": [f"data:image/png;base64,{source}"], "denoising_strength": 0.5, "seed": 3}
    made = alice.post("img2img", asked)
    assert opened(made["images"][0]).size == (256, 256)
    assert made["parameters"]["init_images"] is None
    assert json.loads(made["info"])["denoising_strength"] == 0.5
    bare = alice.post("img2img", {**asked, "init_images": [source]})
    assert bare["images"] == made["images"], "with and without the data URL's head"


# Progress


def test_progress_and_interrupt_of_the_own_job_only(two_models: Any, eventually: Callable[..., None]) -> None:
    alice = Caller(two_models.url, "alice", two_models.client_secret)
    bob = other_of(two_models)
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(alice.try_post("txt2img", SLOW)))
    thread.start()

    def has_a_picture() -> bool:
        return alice.get("progress")["current_image"] is not None

    eventually(has_a_picture, timeout_s=90)
    seen = alice.get("progress")
    assert 0 < seen["progress"] < 1
    assert seen["eta_relative"] > 0
    assert seen["state"]["job_count"] == 1
    assert 1 <= seen["state"]["sampling_step"] <= seen["state"]["sampling_steps"] == 100
    assert opened(seen["current_image"]).format == "JPEG"
    assert alice.get("progress", params={"skip_current_image": True})["current_image"] is None

    assert bob.get("progress")["state"]["job_count"] == 0
    assert bob.post("interrupt") == {}
    assert alice.get("progress")["state"]["job_count"] == 1, "a stranger's interrupt ends nothing"
    assert alice.post("interrupt") == {}
    thread.join(60)
    assert_error(answers[0], 409, "generation_cancelled")
    assert alice.get("progress")["state"]["job_count"] == 0


def test_a_job_of_another_api_is_not_this_ones(two_models: Any, eventually: Callable[..., None]) -> None:
    alice = Caller(two_models.url, "alice", two_models.client_secret)
    asked = {"steps": 100, "width": 1024, "height": 1024}
    thread = threading.Thread(target=lambda: two_models.generate(**asked))
    thread.start()

    def running_jobs() -> list[dict[str, Any]]:
        jobs: list[dict[str, Any]] = two_models.mine("/v1/jobs").json()["items"]
        return [job for job in jobs if job["state"] == "running"]

    eventually(lambda: bool(running_jobs()), timeout_s=60)
    assert alice.get("progress")["progress"] == 0.0
    alice.post("interrupt")
    jobs = running_jobs()
    assert len(jobs) == 1
    two_models.mine(f"/v1/jobs/{jobs[0]['job_id']}/cancel", "POST")
    thread.join(60)


def test_skip_without_a_job_is_no_error(alice: Caller) -> None:
    assert alice.post("skip") == {}


# Options and menus


def test_each_caller_has_a_model_of_its_own(two_models: Any) -> None:
    alice = Caller(two_models.url, "alice", two_models.client_secret)
    bob = other_of(two_models)
    assert [model["title"] for model in alice.get("sd-models")] == ["aitbc/tiny-sd", "aitbc/second"]
    alice.post("options", {"sd_model_checkpoint": "aitbc/second", "CLIP_stop_at_last_layers": 2})
    assert alice.get("options")["sd_model_checkpoint"] == "aitbc/second"
    assert bob.get("options")["sd_model_checkpoint"] == "aitbc/tiny-sd"
    assert alice.post("txt2img", QUICK)["aitbc"]["model"] == "aitbc/second"
    override = {"override_settings": {"sd_model_checkpoint": "aitbc/tiny-sd"}}
    assert alice.post("txt2img", {**QUICK, **override})["aitbc"]["model"] == "aitbc/tiny-sd"
    assert bob.post("txt2img", QUICK)["aitbc"]["model"] == "aitbc/tiny-sd"
    alice.post("options", {"sd_model_checkpoint": None})
    assert_error(alice.try_post("options", {"sd_model_checkpoint": "dreamshaper"}), 404, "unknown_model")
    assert_error(alice.try_post("options", {"sd_model_checkpoint": ["a"]}), 404)
    assert alice.get("options")["sd_model_checkpoint"] == "aitbc/second", "refused changes change nothing"
    unknown = {**QUICK, "override_settings": {"sd_model_checkpoint": "dreamshaper"}}
    assert_error(alice.try_post("txt2img", unknown), 404, "unknown_model")


def test_what_clients_fill_menus_with(alice: Caller, running: Any) -> None:
    empty = ("loras", "hypernetworks", "face-restorers", "realesrgan-models", "prompt-styles", "extensions")
    assert [alice.get(path) for path in empty] == [[]] * len(empty)
    assert alice.get("script-info") == []
    assert alice.get("embeddings") == {"loaded": {}, "skipped": {}}
    assert alice.get("scripts") == {"txt2img": [], "img2img": []}
    assert alice.get("cmd-flags")["api"] is True
    assert alice.post("refresh-checkpoints") is None
    assert running.get("/internal/ping").json() == {}


def test_every_sampler_that_is_listed_draws(alice: Caller) -> None:
    for sampler in alice.get("samplers"):
        made = alice.post("txt2img", {**QUICK, "sampler_name": sampler["name"], "seed": 1})
        assert json.loads(made["info"])["sampler_name"] == sampler["name"]


# Refusals


def test_who_may_ask(running: Any, alice: Caller) -> None:
    url = f"{running.url}/sdapi/v1/txt2img"
    refused = httpx.post(url, json=QUICK)
    assert_error(refused, 401, "missing_api_key")
    assert refused.headers["www-authenticate"].startswith("Basic")
    assert_error(httpx.post(url, json=QUICK, auth=("alice", "wrong-secret-0123456789")), 401, "invalid_api_key")
    wrong_name = httpx.post(url, json=QUICK, auth=("bob", running.client_secret))
    assert_error(wrong_name, 401, "invalid_api_key")
    assert_error(httpx.get(f"{running.url}/sdapi/v1/options", auth=("alice", "")), 401)
    bearer = {"Authorization": f"Bearer {running.client_secret}"}
    assert httpx.post(url, json=QUICK, headers=bearer, timeout=60).status_code == 200


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        ({"sampler_name": "DPM adaptive"}, 404, "sampler_not_found"),
        ({"sampler_name": "Euler", "scheduler": "Karras"}, 404, "scheduler_not_found"),
        ({"sampler_name": "DPM++ 2M", "scheduler": "Beta"}, 404, "scheduler_not_found"),
        ({"sampler_index": "nonsense"}, 404, "sampler_not_found"),
        ({"prompt": ""}, 422, None),
        ({"prompt": None}, 422, "missing_field"),
        ({"prompt": "x" * 5000}, 422, "too_large"),
        ({"prompt": "a\x07b"}, 422, None),
        ({"steps": 4}, 422, "out_of_range"),
        ({"steps": 150}, 422, "out_of_range"),
        ({"steps": "many"}, 422, None),
        ({"cfg_scale": 30}, 422, "out_of_range"),
        ({"cfg_scale": "nan"}, 422, None),
        ({"width": 2048}, 422, "out_of_range"),
        ({"width": 64}, 422, "out_of_range"),
        ({"height": 260}, 422, None),
        ({"seed": 2**63}, 422, "out_of_range"),
        ({"batch_size": 0}, 422, "out_of_range"),
        ({"batch_size": 5}, 422, "too_large"),
        ({"batch_size": 16, "n_iter": 16}, 422, "too_large"),
        ({"enable_hr": True}, 422, None),
        ({"tiling": True}, 422, None),
        ({"script_name": "x/y/z plot"}, 422, None),
        ({"alwayson_scripts": {"ADetailer": {"args": []}}}, 422, None),
        ({"override_settings": []}, 422, None),
    ],
)
def test_bad_fields(alice: Caller, fields: dict[str, Any], status: int, reason: str | None) -> None:
    refused = alice.try_post("txt2img", {**QUICK, **fields})
    body = assert_error(refused, status, reason)
    assert "x" * 100 not in body["detail"]


@pytest.mark.parametrize(
    "init_images",
    [[], ["no base64 !"], ["aGVsbG8="], ["http://127.0.0.1:9/picture.png"], ["", ""], [5], "aGVsbG8=", None],
)
def test_init_images_that_are_none(alice: Caller, init_images: Any) -> None:
    assert_error(alice.try_post("img2img", {**QUICK, "init_images": init_images}), 422)


def test_a_mask_is_refused(alice: Caller) -> None:
    encoded = io.BytesIO()
    Image.new("RGB", (64, 64)).save(encoded, "PNG")
    picture = base64.b64encode(encoded.getvalue()).decode()
    assert_error(alice.try_post("img2img", {**QUICK, "init_images": [picture], "mask": picture}), 422)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"a": 1, "a": 2}', b"\xff\xfe", b'{"prompt": "\\ud800"}']
)
def test_bodies_that_are_no_requests(running: Any, body: bytes) -> None:
    auth = ("alice", running.client_secret)
    url = f"{running.url}/sdapi/v1/txt2img"
    answer = httpx.post(url, content=body, headers={"Content-Type": "application/json"}, auth=auth)
    assert answer.status_code in (400, 422)
    assert_error(answer, answer.status_code)
