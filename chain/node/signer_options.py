"""The options of `aitbc node run` that say where a validator's key is, if not in its folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chain.node.key_file import SetupError
from chain.primitives.hexadecimal import parse_hex

if TYPE_CHECKING:
    from chain.remote_signer import SignerSettings

SignerUrl = Annotated[
    str | None,
    typer.Option(
        "--signer-url",
        envvar="AITBC_NODE_SIGNER_URL",
        help="Web3Signer, or `aitbc wallet signer`, that holds the validator's key. Kept in the folder for later runs.",
    ),
]
SignerPublicKey = Annotated[
    str | None,
    typer.Option("--signer-public-key", envvar="AITBC_NODE_SIGNER_PUBLIC_KEY", help="Which of the signer's keys."),
]
SignerCertificate = Annotated[
    Path | None,
    typer.Option("--signer-certificate", envvar="AITBC_NODE_SIGNER_CERTIFICATE", help="PEM file to show it in TLS."),
]
SignerCertificateKey = Annotated[
    Path | None,
    typer.Option("--signer-certificate-key", envvar="AITBC_NODE_SIGNER_CERTIFICATE_KEY", help="Its key, if elsewhere."),
]
SignerCa = Annotated[
    Path | None,
    typer.Option("--signer-ca", envvar="AITBC_NODE_SIGNER_CA", help="PEM file of who vouches for its certificate."),
]
SignerTimeoutS = Annotated[
    float,
    typer.Option(
        "--signer-timeout-s",
        envvar="AITBC_NODE_SIGNER_TIMEOUT_S",
        min=0.05,
        max=10,
        help="How long the node waits for a signature.",
    ),
]


def signer_settings(
    url: str | None,
    public_key: str | None,
    *,
    certificate: Path | None,
    certificate_key: Path | None,
    ca: Path | None,
    timeout_s: float,
) -> "SignerSettings | None":
    """None without a URL. Raises SetupError where half of it is missing, Rejected for a bad public key."""
    if url is None or public_key is None:
        if (url, public_key, certificate, certificate_key, ca) != (None,) * 5:
            raise SetupError("a remote signer needs both --signer-url and --signer-public-key")
        return None
    from chain.remote_signer import SignerSettings

    return SignerSettings(
        url=url,
        public_key=parse_hex(public_key, field="--signer-public-key"),
        certificate=certificate,
        certificate_key=certificate_key,
        ca=ca,
        timeout_s=timeout_s,
    )
