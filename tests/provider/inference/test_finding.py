"""Models from the hub: a small one on a loopback socket that speaks its HTTP, and none at all."""

import json
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants, hf_api

from provider.errors import ModelUnavailable
from provider.generation import EMBEDDED_MODEL, EMBEDDED_MODEL_FOLDER
from provider.inference.finding import find_folder
from provider.inference.weights import weights_sha256

COMMIT = "a" * 40
MODEL = "someone/a-model"


class Hub(ThreadingHTTPServer):
    """Publishes one folder under one id."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.folder = folder
        self.asked: list[str] = []

    def names(self) -> list[str]:
        """Of the published files."""
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())


class HubHandler(BaseHTTPRequestHandler):
    """What huggingface_hub asks: about the model, for its list of files, for each file."""

    server: Hub

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        body, status = self._answer(path)
        self.send_response(status)
        if status == 404:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{sha256(body).hexdigest()}"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the name that http.server asks for

    def _answer(self, path: str) -> tuple[bytes, int]:
        files = f"/{MODEL}/resolve/{COMMIT}/"
        if path.startswith(f"/api/models/{MODEL}/tree/"):
            tree = [
                {"type": "file", "path": name, "size": (self.server.folder / name).stat().st_size, "oid": "0" * 40}
                for name in self.server.names()
            ]
            return json.dumps(tree).encode(), 200
        if path.startswith(f"/api/models/{MODEL}"):
            siblings = [{"rfilename": name} for name in self.server.names()]
            return json.dumps({"_id": "1", "id": MODEL, "sha": COMMIT, "siblings": siblings, "tags": []}).encode(), 200
        if path.replace("/resolve/main/", f"/resolve/{COMMIT}/").startswith(files):
            name = path.partition("/resolve/")[2].partition("/")[2]
            if name in self.server.names():
                return (self.server.folder / name).read_bytes(), 200
        return b"", 404

    def log_message(self, *_ignored: object) -> None:
        """Says nothing."""


@pytest.fixture
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody listens on port 9, and nothing is in the cache."""
    _point_at(monkeypatch, "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def _point_at(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(hf_api.api, "endpoint", url)
    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


@pytest.fixture
def hub(empty_cache: None, monkeypatch: pytest.MonkeyPatch, copied_model: Path) -> Iterator[Hub]:
    """The embedded model's files, to be found at the hub."""
    with Hub(copied_model) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        _point_at(monkeypatch, f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()
        thread.join()


def error_of(source: str) -> ModelUnavailable:
    with pytest.raises(ModelUnavailable) as caught:
        find_folder(source)
    return caught.value


def test_a_published_model_is_downloaded_and_kept(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    (hub.folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    folder = find_folder(MODEL)
    assert weights_sha256(folder) == weights_sha256(EMBEDDED_MODEL_FOLDER)
    assert not any(path.suffix == ".bin" for path in folder.rglob("*"))
    _point_at(monkeypatch, "http://127.0.0.1:9")
    assert find_folder(MODEL) == folder


def test_a_model_that_the_hub_does_not_have(hub: Hub) -> None:
    error = error_of("someone/another")
    assert error.reason == "model_not_found"
    assert "someone/another" in error.message
    assert hub.asked


def test_another_kind_of_model_is_refused_before_it_is_downloaded(hub: Hub) -> None:
    index = hub.folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"_class_name": "StableDiffusionXLPipeline"}))
    error = error_of(MODEL)
    assert error.reason == "model_not_supported"
    assert "StableDiffusionXLPipeline" in error.message
    assert not any(path.endswith(".safetensors") for path in hub.asked)


def test_a_model_published_as_pickles_is_refused(hub: Hub) -> None:
    for path in hub.folder.rglob("*.safetensors"):
        path.rename(path.with_suffix(".bin"))
    assert error_of(MODEL).reason == "model_not_supported"


def test_without_the_hub_the_message_says_what_to_do(empty_cache: None) -> None:
    error = error_of("runwayml/stable-diffusion-v1-5")
    assert error.reason == "model_hub_unreachable"
    assert "--model" in error.message


def test_the_embedded_model_needs_no_hub(empty_cache: None) -> None:
    assert find_folder(EMBEDDED_MODEL) == EMBEDDED_MODEL_FOLDER
