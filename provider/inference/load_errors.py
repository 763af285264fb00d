"""What the libraries raise while a model loads, turned into a sentence that says whose fault it is."""

from pathlib import Path

from provider.errors import ModelUnavailable
from provider.inference.devices import is_out_of_memory


def folder_error(folder: Path, error: BaseException) -> ModelUnavailable:
    """The folder is there, but something in it is missing, cut off or of another kind."""
    if is_out_of_memory(error):
        return too_large(str(folder), "memory")
    message = f"the model folder {folder} cannot be loaded: {first_line(error)}"
    return ModelUnavailable(message, reason="model_folder_incomplete")


def hub_error(model: str, error: BaseException) -> ModelUnavailable:
    """The hub has no such model, or cannot be reached."""
    types = _types(error)
    if types & {"RepositoryNotFoundError", "GatedRepoError", "RevisionNotFoundError", "HFValidationError"}:
        message = f"the model hub has no public model {model} (nor is there a folder of that name)"
        return ModelUnavailable(message, reason="model_not_found")
    if "safetensors" in str(error):
        return not_supported(model, "has its weights as pickles only")
    if types & {"EntryNotFoundError", "ValueError", "KeyError"} and "LocalEntryNotFoundError" not in types:
        message = f"{model} is not a Stable Diffusion pipeline: {first_line(error)}"
        return ModelUnavailable(message, reason="model_not_found")
    message = (
        f"{model} is not in the local cache and the model hub cannot be reached; "
        f"pass --model with a folder, or leave it out for the embedded model ({first_line(error)})"
    )
    return ModelUnavailable(message, reason="model_hub_unreachable")


def too_large(model: str, where: str) -> ModelUnavailable:
    """`where` is the device's name, or "memory"."""
    return ModelUnavailable(f"{model} does not fit into the memory of {where}", reason="model_too_large")


def not_supported(model: str, why: str) -> ModelUnavailable:
    """A pipeline, but none that the loop of this package computes."""
    message = f"{model} {why}; this provider serves Stable Diffusion 1.x and 2.x in diffusers' layout"
    return ModelUnavailable(message, reason="model_not_supported")


def unet_not_prepared(error: BaseException) -> ModelUnavailable:
    """`torch.compile` or a capture failed, which they do for want of a compiler or of kernels that can be captured."""
    message = f"the UNet cannot be compiled or captured here ({type(error).__name__}: {first_line(error)})"
    return ModelUnavailable(f"{message}; it works without both", reason="unet_not_prepared")


def first_line(error: BaseException) -> str:
    """At most 200 characters of what the library says, which names files and classes, never a prompt."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]


def _types(error: BaseException) -> set[str]:
    """Names of the exception's type and of those that caused it, at most ten deep."""
    names: set[str] = set()
    current: BaseException | None = error
    for _ in range(10):
        if current is None:
            break
        names.add(type(current).__name__)
        current = current.__cause__ or current.__context__
    return names
