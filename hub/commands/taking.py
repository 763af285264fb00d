"""Where a job's pictures are written: one file, or for several its name with their numbers."""

from pathlib import Path
from typing import Any

import typer


def check_folder(out: Path) -> None:
    """Before anything is ordered, for a job that is paid and cannot be written helps nobody. Raises BadParameter."""
    if not out.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {out.parent}", param_hint="--out")
    if out.is_dir():
        raise typer.BadParameter(
            f"{out} is a folder: name a file in it, such as {out / 'image.png'}", param_hint="--out"
        )


def picture_files(job: dict[str, Any], out: Path) -> list[Path]:
    """One for each picture that is there, in their order."""
    if job["pictures_asked"] == 1:
        return [out for _ in job["pictures"]]
    return [out.with_stem(f"{out.stem}-{picture['number']}") for picture in job["pictures"]]


def write_pictures(paths: list[Path], contents: list[bytes]) -> list[str]:
    """What was written."""
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    return [str(path) for path in paths]
