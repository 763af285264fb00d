"""Where pictures lie: a folder, and a bucket of a real S3 server; whole files or none."""

import http.server
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from provider.errors import ConfigurationError, StorageError
from provider.storage.artifact_places import ArtifactPlace, open_place

BUCKET_NUMBERS = iter(range(1000))


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactPlace:
    if request.param == "folder":
        opened = open_place(str(tmp_path / "pictures"))
    else:
        server = request.getfixturevalue("s3_environment")
        bucket = f"bucket-{next(BUCKET_NUMBERS)}"
        server.make_bucket(bucket)
        opened = open_place(f"s3://{bucket}/some/prefix")
    opened.prepare()
    return opened


def test_what_is_written_is_there_and_what_is_deleted_is_not(place: ArtifactPlace) -> None:
    assert place.files() == []
    place.write("a.png", b"one", "image/png")
    place.write("b.png", b"two!", "image/png")
    assert {(file.name, file.size_bytes) for file in place.files()} == {("a.png", 3), ("b.png", 4)}
    assert place.read("a.png") == b"one"
    assert place.read("c.png") is None
    place.write("a.png", b"other", "image/png")
    assert place.read("a.png") == b"other"
    for _ in range(2):
        place.delete("a.png")
    assert [file.name for file in place.files()] == ["b.png"]


def test_files_say_when_they_were_written(place: ArtifactPlace) -> None:
    place.write("a.png", b"one", "image/png")
    (file,) = place.files()
    assert abs(file.stored_s - time.time()) < 3600


def test_a_presigned_link_opens_for_anybody_for_a_while(s3_environment: Any) -> None:
    s3_environment.make_bucket("links")
    place = open_place("s3://links/p")
    place.write("a.png", b"one", "image/png")
    url = place.link("a.png", 60)
    assert url is not None
    answer = httpx.get(url)
    assert (answer.content, answer.headers["content-type"]) == (b"one", "image/png")
    assert "X-Amz-Expires=60" in url or "Expires=" in url


def test_a_folder_has_no_links_of_its_own(tmp_path: Path) -> None:
    assert open_place(str(tmp_path)).link("a.png", 60) is None


def test_half_written_files_go_at_the_start_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "abc.part").write_bytes(b"half")
    (tmp_path / "note.txt").write_bytes(b"mine")
    open_place(str(tmp_path)).prepare()
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    place = open_place(str(tmp_path))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(StorageError) as caught:
            place.write("a.png", b"x" * 5000, "image/png")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.reason == "storage_full"
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_down_is_named_and_keeps_nothing(
    start_s3: Callable[[], Any], s3_environment: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dying = start_s3()
    monkeypatch.setenv("AWS_ENDPOINT_URL", dying.url)
    dying.make_bucket("kept")
    place = open_place("s3://kept/p")
    place.write("a.png", b"one", "image/png")
    dying.kill()
    for attempt in (
        lambda: place.write("b.png", b"two", "image/png"),
        lambda: place.read("a.png"),
        place.files,
        place.prepare,
        lambda: place.delete("a.png"),
    ):
        with pytest.raises(StorageError, match=r"s3://kept/p cannot be used") as caught:
            attempt()
        assert caught.value.reason == "artifact_store_unavailable"
        assert "testing-secret" not in caught.value.message


class Broken(http.server.BaseHTTPRequestHandler):
    """Sends half of a picture, and as a list of pictures what no S3 server would."""

    def do_HEAD(self) -> None:
        """A picture is there."""
        self.send_response(200)
        length = "1000" if self.path.endswith(".png") else "4"
        self.send_header("Content-Length", length)
        self.send_header("Content-Type", "image/png")
        self.send_header("ETag", '"0123"')
        self.send_header("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT")
        self.end_headers()

    def do_GET(self) -> None:
        """The beginning of it."""
        self.do_HEAD()
        self.wfile.write(b"half")

    def log_message(self, *_arguments: Any) -> None:
        """Not into the test's output."""


def test_answers_that_are_cut_off_or_are_none_of_s3(s3_environment: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        place = open_place("s3://kept/p")
        for attempt in (lambda: place.read("a.png"), place.files):
            with pytest.raises(StorageError) as caught:
                attempt()
            assert caught.value.reason == "artifact_store_unavailable"
        server.shutdown()


def test_a_bucket_that_is_not_there_is_said(s3_environment: Any) -> None:
    place = open_place("s3://nowhere/p")
    with pytest.raises(StorageError, match="no bucket nowhere"):
        place.prepare()
    with pytest.raises(StorageError):
        place.write("a.png", b"one", "image/png")


@pytest.mark.parametrize("location", ["ftp://host/x", "gs://bucket/x", "s3://", "s3:///prefix"])
def test_locations_that_can_never_work(location: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_place(location)
    assert caught.value.reason == "bad_artifact_store"


def test_without_the_extra_it_is_named() -> None:
    program = """
import sys
sys.modules["s3fs"] = None  # As if it were not installed.
from provider.errors import ConfigurationError
from provider.storage.artifact_places import open_place
try:
    open_place("s3://bucket/prefix")
except ConfigurationError as error:
    print(error.message)
"""
    ended = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert "aitbc[s3]" in ended.stdout
