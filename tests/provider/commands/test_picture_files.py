"""The names of what `aitbc provider generate` writes are settled before anything is ordered."""

from pathlib import Path

import pytest

from provider.commands.picture_files import PictureFiles
from provider.errors import ConfigurationError


def test_a_link_that_leads_nowhere_is_a_name_that_is_taken(tmp_path: Path) -> None:
    output = tmp_path / "out.png"
    output.symlink_to(tmp_path / "gone.png")
    with pytest.raises(ConfigurationError) as refused:
        PictureFiles.plan(output, 1, None, replaces=False)
    assert refused.value.reason == "file_exists"
    assert PictureFiles.plan(output, 1, None, replaces=True).pictures == (output,)


@pytest.mark.parametrize("receipt_name", ["out-2.png", "out.png.job.json", "../files/out-1.png"])
def test_no_file_takes_the_place_of_another(tmp_path: Path, receipt_name: str) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    with pytest.raises(ConfigurationError) as refused:
        PictureFiles.plan(folder / "out.png", 2, folder / receipt_name, replaces=True)
    assert refused.value.reason == "bad_output"
    assert PictureFiles.plan(folder / "out.png", 2, folder / "receipt.json", replaces=True).receipt_file is not None
