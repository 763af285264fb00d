"""What a devnet draws for itself: a chain id of its own, and keys that nobody should ever trust.

They are written once, in plain text and for the owner's eyes only, so that a devnet can be stopped and started again.
"""

import json
import random
import re
import secrets
from pathlib import Path
from typing import Final, Self

import msgspec

from chain.primitives.hexadecimal import to_hex
from chain.primitives.keys import PrivateKey
from wallet.attester import AttesterNetwork, save_attester_key
from wallet.keystore import LIGHT_SCRYPT_N, replace_file, save_key, write_new_file

FILE_NAME: Final = "devnet-keys.json"
DEFAULT_VALIDATORS: Final = 4
"""The fewest that go on when one of them is lost."""
PROVIDER_NAMES: Final = ("provider-1", "provider-2")
HOLDER_NAMES: Final = ("alice", "bob")
"""People without a role, who begin with nothing like everybody else."""

ISSUER_NAME: Final = "issuer"
"""Who issues the asset that AIT is traded against."""

_OTHER_NAMES: Final = ("attester", *PROVIDER_NAMES, *HOLDER_NAMES, ISSUER_NAME)
_VALIDATOR: Final = re.compile(r"validator-[1-9][0-9]?")
# From a range that registers of chain ids do not reach, so that no devnet shares an id with a public chain.
_CHAIN_IDS: Final = (3_000_000_000, 2**32 - 1)
_WARNING: Final = "Keys of a devnet, in plain text. Never use them for anything of value."


class DevnetSecrets(msgspec.Struct, frozen=True):
    """A devnet's chain id, keys by account name, and API keys by the name of who they are for."""

    chain_id: int
    private_keys: dict[str, str]
    api_keys: dict[str, str]
    password: str
    """Of all keystores in the devnet's folder."""
    warning: str = _WARNING

    @classmethod
    def draw(cls, validators: int) -> Self:
        """Fresh ones, with keys for so many validators."""
        names = (*(f"validator-{number}" for number in range(1, validators + 1)), *_OTHER_NAMES)
        return cls(
            chain_id=random.SystemRandom().randint(*_CHAIN_IDS),
            private_keys={name: to_hex(PrivateKey.generate().secret) for name in names},
            api_keys={name: secrets.token_urlsafe(24) for name in ("hub", *PROVIDER_NAMES)},
            password=secrets.token_urlsafe(24),
        )

    @classmethod
    def load_or_draw(cls, folder: Path, *, validators: int | None = None) -> Self:
        """The folder's own, drawn now if it has none. `validators` None: as many as it has, or the default.

        Raises OSError with what to do where the file is damaged, or of a devnet of another size.
        """
        path = folder / FILE_NAME
        if not path.exists():
            drawn = cls.draw(validators or DEFAULT_VALIDATORS)
            write_new_file(path, json.dumps(msgspec.to_builtins(drawn), indent=2).encode() + b"\n")
            return drawn
        try:
            loaded = msgspec.json.decode(path.read_bytes(), type=cls)
            missing = set(_OTHER_NAMES) - loaded.private_keys.keys()
            if missing - {ISSUER_NAME} or not loaded.validator_names:
                raise msgspec.ValidationError("an account is missing")
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise OSError(
                f"{path} is damaged ({error}): choose another --dir, or remove this devnet's folder"
            ) from None
        if missing:
            loaded = loaded._with_issuer(path)
        if validators not in (None, len(loaded.validator_names)):
            raise OSError(
                f"{folder} holds a devnet of {len(loaded.validator_names)} validators: choose another --dir for one of "
                f"{validators}, or leave --validators out"
            )
        return loaded

    def _with_issuer(self, path: Path) -> Self:
        """The same with an issuer, written to the file: devnets of before the market have none."""
        keys = {**self.private_keys, ISSUER_NAME: to_hex(PrivateKey.generate().secret)}
        extended = msgspec.structs.replace(self, private_keys=keys)
        replace_file(path, json.dumps(msgspec.to_builtins(extended), indent=2).encode() + b"\n")
        return extended

    @property
    def account_names(self) -> tuple[str, ...]:
        """Of all keys that mean something here."""
        return (*self.validator_names, *_OTHER_NAMES)

    @property
    def validator_names(self) -> tuple[str, ...]:
        """In the order of the network file."""
        return tuple(name for name in self.private_keys if _VALIDATOR.fullmatch(name))

    def key(self, name: str) -> PrivateKey:
        """The private key of an account."""
        return PrivateKey(bytes.fromhex(self.private_keys[name][2:]))

    def write_files(self, folder: Path, attester: AttesterNetwork) -> None:
        """Keystores, their password, and the files of API keys that hub and providers read; what is there stays."""
        folder.mkdir(exist_ok=True, mode=0o700)
        _write_once(folder / "password", self.password)
        for name in self.account_names:
            path = folder / f"{name}.json"
            if path.exists():
                continue
            if name == "attester":
                save_attester_key(path, self.key(name), self.password, attester, scrypt_n=LIGHT_SCRYPT_N)
            else:
                save_key(path, self.key(name), self.password, scrypt_n=LIGHT_SCRYPT_N)
        _write_once(folder / "hub-clients.toml", f'[clients]\ndevnet = "{self.api_keys["hub"]}"\n')
        for name in PROVIDER_NAMES:
            _write_once(folder / f"{name}-api-keys.toml", f'[clients]\ndevnet = "{self.api_keys[name]}"\n')


def _write_once(path: Path, text: str) -> None:
    if not path.exists():
        write_new_file(path, text.encode())
