"""Own signatures, made in threads of their own: a signer that hangs keeps only other signatures waiting."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from chain.primitives.client_request import ClientRequest
from chain.primitives.receipt import Receipt
from chain.primitives.types import Address
from hub.attestation.forms import NO_FEE, Fee, sign
from hub.store.receipts import Form
from wallet.attester import AttesterSigner

_THREADS: Final = 4
"""At one time: each waits for the log's disk, or for a remote signer. Event loops' own threads take pictures in."""


class SigningThreads:
    """Of one attester. The process's end waits for what is being signed, for a remote signer's timeout at most."""

    def __init__(self, attester: AttesterSigner) -> None:
        self._attester = attester
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="hub-attester")

    @property
    def address(self) -> Address:
        """Of the attester."""
        return self._attester.address

    async def sign(self, form: Form, receipt: Receipt, request: ClientRequest, fee: Fee = NO_FEE) -> bytes:
        """The attester's 65 bytes. Raises what `hub.attestation.forms.sign` does."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, sign, self._attester, form, receipt, request, fee)
