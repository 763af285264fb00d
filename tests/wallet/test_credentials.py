"""Which secret files count as closed: those of mode 0600, and what systemd hands to a service."""

from pathlib import Path

import pytest

from chain.primitives.keys import PrivateKey
from hub.errors import HubConfigurationError
from hub.secret_files import read_client_keys
from provider.api_keys import load_api_keys
from provider.errors import ConfigurationError
from wallet.credentials import CREDENTIALS_VARIABLE, is_closed
from wallet.keystore import LIGHT_SCRYPT_N, KeystoreError, load_key, save_key


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a service sees it: its files can be read by the group, as far as their modes tell."""
    folder = tmp_path / "credentials"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv(CREDENTIALS_VARIABLE, str(folder))
    return folder


def test_a_credential_may_be_read_by_a_group_and_by_nobody_else(credentials: Path, tmp_path: Path) -> None:
    assert is_closed(credentials / "key.json", 0o100440)
    assert is_closed(credentials / "key.json", 0o100400)
    for mode in (0o100444, 0o100460, 0o100641):
        assert not is_closed(credentials / "key.json", mode)
    assert is_closed(tmp_path / "key.json", 0o100600)
    assert not is_closed(tmp_path / "key.json", 0o100640)
    assert not is_closed(credentials / "deeper" / "key.json", 0o100440)


def test_without_the_variable_no_folder_is_special(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CREDENTIALS_VARIABLE, raising=False)
    assert not is_closed(tmp_path / "key.json", 0o100440)
    monkeypatch.setenv(CREDENTIALS_VARIABLE, "")
    assert not is_closed(Path("key.json"), 0o100440)


def test_keystores_and_files_of_api_keys_are_read_as_credentials(credentials: Path, tmp_path: Path) -> None:
    key = PrivateKey.generate()
    save_key(credentials / "key.json", key, "a password", scrypt_n=LIGHT_SCRYPT_N)
    keys = '[clients]\nalice = "a-secret-of-24-characters"\n'
    for folder in (credentials, tmp_path):
        (folder / "keys.toml").write_text(keys)
        (folder / "keys.toml").chmod(0o440)
    (credentials / "key.json").chmod(0o440)
    assert load_key(credentials / "key.json", "a password").address == key.address
    assert load_api_keys(credentials / "keys.toml", None).find("a-secret-of-24-characters") is not None
    assert read_client_keys(credentials / "keys.toml").name_of("a-secret-of-24-characters") == "alice"
    with pytest.raises(ConfigurationError, match="open to other users"):
        load_api_keys(tmp_path / "keys.toml", None)
    with pytest.raises(HubConfigurationError, match="open to other users"):
        read_client_keys(tmp_path / "keys.toml")
    (credentials / "key.json").chmod(0o444)
    with pytest.raises(KeystoreError, match="open to other users"):
        load_key(credentials / "key.json", "a password")
