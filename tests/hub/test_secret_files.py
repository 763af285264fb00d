"""The files of API keys: closed to others, strict, and never shown."""

from pathlib import Path

import pytest

from hub.errors import HubConfigurationError
from hub.orders.signers import SignerLimits
from hub.secret_files import ClientKeys, read_client_keys
from hub.store.quotas import QuotaLimits

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


def test_quotas_are_a_clients_own(tmp_path: Path) -> None:
    text = f'[clients]\nalice = "{KEY}"\nbob = "{KEY}2"\n[quotas]\nalice = {{ jobs = 5, pictures = 0 }}\n'
    keys = read_client_keys(written(tmp_path, text))
    assert keys.limits_of("alice") == QuotaLimits(jobs=5, pictures=0)
    assert keys.limits_of("bob") == QuotaLimits()


@pytest.mark.parametrize(
    "entry", ["carol = { jobs = 1 }", "alice = 5", "alice = { cats = 1 }", "alice = { jobs = -1 }"]
)
def test_refused_quotas(tmp_path: Path, entry: str) -> None:
    with pytest.raises(HubConfigurationError, match=r"keys\.toml"):
        read_client_keys(written(tmp_path, f'[clients]\nalice = "{KEY}"\n[quotas]\n{entry}\n'))


def test_signers_have_bounds_that_the_file_may_change(tmp_path: Path) -> None:
    assert read_client_keys(written(tmp_path, f'[clients]\nalice = "{KEY}"\n')).signers == SignerLimits()
    text = f'[clients]\nalice = "{KEY}"\n[signers]\neach = {{ jobs = 1 }}\n'
    assert read_client_keys(written(tmp_path, text)).signers == SignerLimits(each=QuotaLimits(jobs=1))
    for limits in (SignerLimits().each, SignerLimits().together):
        assert limits.jobs and limits.pictures  # Nobody who is unknown is without bound.


@pytest.mark.parametrize(
    "text",
    [
        "",
        f'signers = 5\n[clients]\nalice = "{KEY}"',
        f'[clients]\nalice = "{KEY}"\n[signers]\neach = 5',
        f'[clients]\nalice = "{KEY}"\n[signers]\nall = {{ jobs = 1 }}',
        f'[clients]\nalice = "{KEY}"\n[signers]\neach = {{ cats = 1 }}',
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


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o606])
def test_file_open_to_others(tmp_path: Path, mode: int) -> None:
    with pytest.raises(HubConfigurationError, match="chmod 600"):
        read_client_keys(written(tmp_path, f'[clients]\nalice = "{KEY}"', mode))


def test_missing_and_huge_files(tmp_path: Path) -> None:
    with pytest.raises(HubConfigurationError, match="cannot read"):
        read_client_keys(tmp_path / "none.toml")
    with pytest.raises(HubConfigurationError, match="larger"):
        read_client_keys(written(tmp_path, "#" * 2_000_000))
