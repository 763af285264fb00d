"""aitbc_*: what this chain has and Ethereum's interface has no place for. The same answers as over REST."""

from enum import StrEnum
from typing import Any, Final

import msgspec

from chain.answers import Answer, CertificateView, ParametersView, StatusView, encode_answer
from chain.api.governed import parameters_view
from chain.api.proofs import finality_view
from chain.api.reading import certificate_view
from chain.api.rpc.block_ids import BLOCK_ID, BlockId, BlockTag
from chain.api.rpc.errors import INVALID_PARAMETERS, NOT_FOUND, SERVER_ERROR, RpcError
from chain.api.rpc.methods import Kind, Method, Parameter
from chain.api.rpc.schemas import nullable, schema_of
from chain.api.rpc.served_chain import ServedChain
from chain.api.rpc.values import DATA_SCHEMA, UINT64, malformed, parse_data
from chain.api.state_proofs import prove_at, prove_newest
from chain.api.status import status_view
from chain.governance_answers import FinalityView, StateProofView
from chain.primitives.records import Domain, state_key
from chain.primitives.rejection import Rejected
from chain.storage.errors import HistoryPruned

_MAX_KEY_BYTES: Final = 32
_BLOCK: Final = Parameter("block", BLOCK_ID, BlockTag.LATEST)


class _Provable(StrEnum):
    """What aitbc_getProof proves."""

    ACCOUNT = "account"
    RECEIPT = "receipt"


_DOMAINS: Final = {_Provable.ACCOUNT: (Domain.ACCOUNT, 20), _Provable.RECEIPT: (Domain.RECEIPT, 32)}


def aitbc_methods(chain: ServedChain) -> tuple[Method, ...]:
    """Status, parameters and proofs of one chain."""
    ledger = chain.node.ledger

    def certificate(block: BlockId) -> msgspec.Raw | None:
        view = chain.view()
        height = chain.height_of(view, block)
        if height is None:
            return None
        covering = view.certificate_covering(height)
        return None if covering is None else _raw(certificate_view(*covering))

    def finality_proof(block: BlockId, known_epoch: int) -> msgspec.Raw:
        view = chain.view()
        height = chain.height_of(view, block)
        if height is None:
            raise RpcError(NOT_FOUND, "no block has this height or hash")
        if height == 0:
            raise RpcError(INVALID_PARAMETERS, "invalid argument 0: the genesis block needs no proof")
        try:
            return _raw(finality_view(view, height, known_epoch))
        except Rejected as rejected:
            raise RpcError(INVALID_PARAMETERS, f"invalid argument 1: {rejected}") from None

    def proof(provable: _Provable, key: bytes, block: BlockId) -> msgspec.Raw:
        domain, key_bytes = _DOMAINS[provable]
        if len(key) != key_bytes:
            raise RpcError(INVALID_PARAMETERS, f"invalid argument 1: the key of this proof has {key_bytes} bytes")
        if isinstance(block, BlockTag) and block is not BlockTag.EARLIEST:
            return _raw(prove_newest(ledger, state_key(domain, key)))
        try:
            return _raw(prove_at(ledger, chain.existing_height(block), state_key(domain, key)))
        except HistoryPruned as pruned:
            raise RpcError(SERVER_ERROR, f"historical state is not available: {pruned}") from None

    return (
        Method(
            name="aitbc_getStatus",
            summary="The network, and how far this node is: as GET /v1/status",
            result=schema_of(StatusView),
            handler=lambda: _raw(status_view(chain.node, chain.version)),
        ),
        Method(
            name="aitbc_networkParameters",
            summary="What governance has set: as GET /v1/parameters",
            result=schema_of(ParametersView),
            handler=lambda: _raw(parameters_view(chain.view())),
        ),
        Method(
            name="aitbc_getFinalityCertificate",
            summary="The certificate over a block, or over its nearest descendant that has one",
            parameters=(_BLOCK,),
            result=nullable(schema_of(CertificateView)),
            handler=certificate,
            is_heavy=True,
        ),
        Method(
            name="aitbc_getFinalityProof",
            summary="Why a block is final, from an epoch on whose validators you know: as GET /v1/proofs/finality",
            parameters=(_BLOCK, Parameter("knownEpoch", UINT64, 0)),
            result=schema_of(FinalityView),
            handler=finality_proof,
            is_heavy=True,
        ),
        Method(
            name="aitbc_getProof",
            summary="What the state holds of an account or a receipt hash, with the proof against a block's state root",
            parameters=(Parameter("kind", _PROVABLE), Parameter("key", _KEY), _BLOCK),
            result=schema_of(StateProofView),
            handler=proof,
            is_heavy=True,
        ),
    )


def _raw(answer: Answer) -> msgspec.Raw:
    return msgspec.Raw(encode_answer(answer))


def _parse_provable(value: Any) -> _Provable:
    if value not in list(_Provable):
        raise malformed(f"one of {', '.join(_Provable)} is expected")
    return _Provable(value)


def _parse_key(value: Any) -> bytes:
    return parse_data(value, _MAX_KEY_BYTES)


_PROVABLE: Final = Kind(_parse_provable, {"type": "string", "enum": list(_Provable)})
_KEY: Final = Kind(_parse_key, {**DATA_SCHEMA, "maxLength": 2 + 2 * _MAX_KEY_BYTES})
