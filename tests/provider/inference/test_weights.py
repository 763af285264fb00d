"""The digest of a model's weights, and their size from the headers alone."""

import hashlib
import os
from pathlib import Path

import pytest
from safetensors import safe_open

from provider.generation import EMBEDDED_MODEL_FOLDER
from provider.inference.weights import estimate_bytes, weight_files, weights_sha256


def test_only_what_is_loaded_counts(copied_model: Path) -> None:
    before = weights_sha256(copied_model)
    for name in ("unet/diffusion_pytorch_model.fp16.safetensors", "unet/notes.txt", "v1-5.safetensors"):
        (copied_model / name).write_bytes(b"not loaded")
    assert weights_sha256(copied_model) == before == weights_sha256(EMBEDDED_MODEL_FOLDER)
    names = [path.relative_to(copied_model).as_posix() for path in weight_files(copied_model)]
    assert names == [
        "text_encoder/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
    ]


def test_the_digest_is_what_its_docstring_says() -> None:
    digest = hashlib.sha256()
    for path in weight_files(EMBEDDED_MODEL_FOLDER):
        name = path.relative_to(EMBEDDED_MODEL_FOLDER).as_posix()
        digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    assert weights_sha256(EMBEDDED_MODEL_FOLDER) == digest.hexdigest()


def test_a_changed_file_is_read_again(copied_model: Path) -> None:
    before = weights_sha256(copied_model)
    path = weight_files(copied_model)[0]
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    os.utime(path, ns=(1, 1))
    assert weights_sha256(copied_model) != before


def test_the_size_is_that_of_all_values() -> None:
    count = 0
    for path in weight_files(EMBEDDED_MODEL_FOLDER):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a dict
                count += file.get_tensor(name).numel()
    assert estimate_bytes(EMBEDDED_MODEL_FOLDER, 4) == 4 * count


@pytest.mark.parametrize("raw", [b"", b"\xff" * 8, b"\x08" + b"\0" * 7 + b"[[[[[[[["])
def test_a_file_of_another_kind_is_refused(copied_model: Path, raw: bytes) -> None:
    weight_files(copied_model)[0].write_bytes(raw)
    with pytest.raises(ValueError, match=r"not a whole safetensors file|Expecting"):
        estimate_bytes(copied_model, 4)
