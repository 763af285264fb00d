"""A model's folder, on this machine or from the model hub, and what can be told before it is loaded.

Weights are read as safetensors only. The older `.bin` and `.ckpt` files are pickles, which can run any code when they
are read, and a provider's operator may load whatever a stranger has published.
"""

import json
import re
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import StableDiffusionPipeline
from huggingface_hub import model_info

from provider.errors import ModelUnavailable
from provider.generation import EMBEDDED_MODEL, EMBEDDED_MODEL_FOLDER
from provider.inference import load_errors, weights
from provider.inference.libraries import quieten_libraries

LEFT_OUT: Final = {"safety_checker": None, "feature_extractor": None, "image_encoder": None}
"""Parts that no request uses; the safety checker's weights alone are larger than the text encoder's."""

_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]{0,95}(/[\w.-]{1,96})?")
_PIPELINE_CLASS: Final = "StableDiffusionPipeline"
_TOKENIZER_FILES: Final = ({"tokenizer.json"}, {"vocab.json", "merges.txt"})
_MAX_INDEX_BYTES: Final = 65_536
_HUB_TIMEOUT_S: Final = 10.0


def find_folder(source: str) -> Path:
    """The folder of a model: the package's, one on this machine, or the hub's snapshot, downloaded where it must be.

    Raises ModelUnavailable: model_folder_missing, model_folder_incomplete, model_not_found, model_hub_unreachable,
    model_not_supported.
    """
    if source == EMBEDDED_MODEL:
        return EMBEDDED_MODEL_FOLDER
    folder = Path(source).expanduser()
    if not folder.is_dir():
        if folder.is_absolute() or source.startswith((".", "~")) or not _HUB_ID.fullmatch(source):
            raise ModelUnavailable(f"there is no model folder {source}", reason="model_folder_missing")
        folder = _download(source)
    _check_folder(folder, source)
    return folder


def _download(hub_id: str) -> Path:
    """The index alone first: other kinds of models can be very large."""
    quieten_libraries()
    try:
        _check_class(_hub_index(hub_id), hub_id)
        return Path(StableDiffusionPipeline.download(hub_id, use_safetensors=True, **LEFT_OUT))
    except ModelUnavailable:
        raise
    except Exception as error:  # The libraries raise many types here; each means that this model is not to be had.
        raise load_errors.hub_error(hub_id, error) from error


def _hub_index(hub_id: str) -> dict[str, Any]:
    """From the cache, or from the hub, which is asked about the model first: for a file it would be asked six times."""
    try:
        index: dict[str, Any] = StableDiffusionPipeline.load_config(hub_id, local_files_only=True)
    except OSError:
        model_info(hub_id, timeout=_HUB_TIMEOUT_S)
        index = StableDiffusionPipeline.load_config(hub_id)
    return index


def _check_folder(folder: Path, source: str) -> None:
    """What can be told from the folder before seconds are spent on loading it."""
    _check_class(_read_index(folder), source)
    with_weights = {path.relative_to(folder).parts[0] for path in weights.weight_files(folder)}
    for part in weights.COMPONENTS:
        if part in with_weights:
            continue
        if list((folder / part).glob("*.bin")):
            raise load_errors.not_supported(source, f"has the weights of its {part} as a pickle only")
        message = f"the model folder {folder} has no safetensors weights in {part}"
        raise ModelUnavailable(message, reason="model_folder_incomplete")
    _check_tokenizer(folder)


def _check_class(index: dict[str, Any], source: str) -> None:
    class_name = index.get("_class_name")
    if not isinstance(class_name, str):
        message = f"the model_index.json of {source} names no pipeline"
        raise ModelUnavailable(message, reason="model_folder_incomplete")
    if class_name != _PIPELINE_CLASS:
        raise load_errors.not_supported(source, f"is a {class_name[:60]}")


def _check_tokenizer(folder: Path) -> None:
    """Without these files transformers makes an empty tokenizer and says nothing: every prompt would mean the same."""
    present = {path.name for path in (folder / "tokenizer").glob("*")}
    if not any(needed <= present for needed in _TOKENIZER_FILES):
        message = f"the model folder {folder} has no tokenizer.json (nor vocab.json and merges.txt) in tokenizer"
        raise ModelUnavailable(message, reason="model_folder_incomplete")


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / "model_index.json"
    try:
        with path.open("rb") as file:
            index = json.loads(file.read(_MAX_INDEX_BYTES))
    except FileNotFoundError as error:
        message = f"the model folder {folder} has no model_index.json, so it is not a diffusers pipeline"
        raise ModelUnavailable(message, reason="model_folder_incomplete") from error
    except (OSError, ValueError, RecursionError) as error:
        raise load_errors.folder_error(folder, error) from error
    return index if isinstance(index, dict) else {}


def estimate_bytes(folder: Path, dtype: torch.dtype) -> int:
    """What the model's weights will take; raises ModelUnavailable(model_folder_incomplete) for a damaged file."""
    try:
        return weights.estimate_bytes(folder, dtype.itemsize)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise load_errors.folder_error(folder, error) from error
