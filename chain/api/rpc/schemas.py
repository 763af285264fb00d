"""JSON schemas of what is answered, made from the structs themselves."""

from typing import Any, Final

from chain.answers import CertificateView, ParametersView, StatusView, answer_schemas
from chain.api.rpc.methods import Schema
from chain.api.rpc.objects import RpcBlock, RpcLog, RpcReceipt, RpcTransaction
from chain.governance_answers import FinalityView, StateProofView

_ANSWERS: Final[tuple[type, ...]] = (
    RpcBlock,
    RpcLog,
    RpcReceipt,
    RpcTransaction,
    CertificateView,
    FinalityView,
    ParametersView,
    StateProofView,
    StatusView,
)
_SCHEMAS, COMPONENTS = answer_schemas(list(_ANSWERS))
_SCHEMA_OF: Final[dict[type, Schema]] = dict(zip(_ANSWERS, _SCHEMAS, strict=True))


def schema_of(answer: type) -> Schema:
    """A reference to the schema of an answer, among the document's components."""
    return _SCHEMA_OF[answer]


def nullable(schema: Schema) -> dict[str, Any]:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


BLOCK_SCHEMA: Final = schema_of(RpcBlock)
LOG_SCHEMA: Final = schema_of(RpcLog)
TRANSACTION_SCHEMA: Final = schema_of(RpcTransaction)
RECEIPT_SCHEMA: Final = schema_of(RpcReceipt)
