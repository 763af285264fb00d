"""The files of API keys: closed to others, strict, and never shown."""

from pathlib import Path

import pytest

from hub.errors import HubConfigurationError
from hub.secret_files import ClientKeys, read_client_keys, read_provider_keys

KEY = "k" * 20


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "keys.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_clients(tmp_path: Path) -> None:
    keys = read_client_keys(written(tmp_path, f'[clients]\nalice = "{KEY}"\n"b.ob-2" = "{KEY}2"\n'))
    assert keys.name_of(KEY) == "alice"
    assert keys.name_of(KEY + "2") == "b.ob-2"
    assert keys.name_of(KEY + "3") is None
    assert keys.name_of("") is None
    assert keys.name_of("\udc80") is None


def test_keys_are_not_kept() -> None:
    assert KEY not in repr(vars(ClientKeys({"alice": KEY})))


def test_providers(tmp_path: Path) -> None:
    keys = read_provider_keys(written(tmp_path, f'[providers]\n"0x{"11" * 20}" = "{KEY}"\n'))
    assert keys == {b"\x11" * 20: KEY}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[clients",
        'alice = "kkkkkkkkkkkkkkkkkkkk"',
        "[clients]\nalice = 5",
        '[clients]\nalice = "short"',
        f'[clients]\nalice = "{"k" * 257}"',
        f'[clients]\nalice = "{"k" * 20} "',
        f'[clients]\n"two words" = "{KEY}"',
        f'[clients]\n"0x{"11" * 20}" = "{KEY}"',
        f'[clients]\n"" = "{KEY}"',
        f'[clients]\nalice = "{KEY}"\nbob = "{KEY}"',
        f'[clients]\nalice = "{KEY}"\n[more]',
        "clients = 5",
    ],
)
def test_refused_client_files(tmp_path: Path, text: str) -> None:
    with pytest.raises(HubConfigurationError, match=r"keys\.toml") as caught:
        read_client_keys(written(tmp_path, text))
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f'[providers]\nalice = "{KEY}"',
        f'[providers]\n"0x{"aB" * 20}" = "{KEY}"',
        f'[providers]\n"0x{"ab" * 20}" = "{KEY}"\n"0x{"AB" * 20}" = "{KEY}"',
    ],
)
def test_refused_provider_files(tmp_path: Path, text: str) -> None:
    with pytest.raises(HubConfigurationError, match=r"keys\.toml"):
        read_provider_keys(written(tmp_path, text))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o606])
def test_file_open_to_others(tmp_path: Path, mode: int) -> None:
    with pytest.raises(HubConfigurationError, match="chmod 600"):
        read_client_keys(written(tmp_path, f'[clients]\nalice = "{KEY}"', mode))


def test_missing_and_huge_files(tmp_path: Path) -> None:
    with pytest.raises(HubConfigurationError, match="cannot read"):
        read_client_keys(tmp_path / "none.toml")
    with pytest.raises(HubConfigurationError, match="larger"):
        read_client_keys(written(tmp_path, "#" * 2_000_000))
