"""The OpenRPC document, and every method of it with missing, surplus, wrong, huge and negative parameters.

What the document says is compared with what the node does: parameters that its schemas do not allow are refused as
such, results are what its schemas say, and nothing whatever is an internal error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator, meta

from chain.primitives import modules
from chain.primitives.hexadecimal import to_hex

if TYPE_CHECKING:
    from tests.chain.api.rpc.conftest import RpcClient
    from tests.chain.conftest import RunningNode

CODES = {-32602, -32601, -32000, -32001, -32005, 3}
"""Errors that a call with any parameters may be answered with: never an internal one."""
UNUSUAL: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**53 + 1, 2**64, -(2**63), 10**70, 1.5, -0.0, 1e308),
    *("", " ", "0", "0x", "0x0", "0x00", "-0x1", "0x-1", "0xzz", "0x1 ", "latest", "Latest", "é\0", "\U0001f600"),
    *("0x" + "f" * 64, "0x" + "f" * 65, "0x" + "0" * 40, "0x" + "0" * 64, "0x" + "ab" * 40_000, "x" * 70_000),
    *([], [[]], [[[[]]]], ["0x1"] * 2_000, [None], {}, {"a": {"b": {"c": [1]}}}, {"to": 1}, {"blockHash": None}),
    *({"fromBlock": "0x0", "toBlock": "0xffffffffffffff"}, {str(n): n for n in range(2_000)}, {"": ""}),
]

Document = Mapping[str, Any]
ValidatorOf = Callable[[Mapping[str, Any]], Draft202012Validator]


@pytest.fixture(scope="module")
def node(node_in: Callable[[Path], RunningNode], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """One node for all of these; it must bear them all."""
    running = node_in(tmp_path_factory.mktemp("node") / "node")
    running.settle(running.people.mint("ann", 10**18, nonce=0), running.people.register("bob", nonce=0))
    running.settle(running.people.transfer("ann", "bob", 1, nonce=1))
    yield running
    assert running.node.fault is None
    assert running.client.account(running.people.address("ann")).balance == 10**18 - 1
    running.stop()


@pytest.fixture(scope="module")
def rpc(node: RunningNode, rpc_client: type[RpcClient]) -> Iterator[RpcClient]:
    """A client of that node."""
    client = rpc_client(node.url)
    yield client
    client.http.close()


@pytest.fixture(scope="module")
def document(rpc: RpcClient) -> Document:
    """What the node says of itself."""
    answer: Document = rpc.call("rpc.discover")
    return answer


@pytest.fixture(scope="module")
def validator_of(document: Document) -> ValidatorOf:
    """Validators of schemas that refer to the document's components."""
    components = document["components"]
    made: dict[int, Draft202012Validator] = {}

    def validator_of_schema(schema: Mapping[str, Any]) -> Draft202012Validator:
        if id(schema) not in made:
            made[id(schema)] = Draft202012Validator({**schema, "components": components})
        return made[id(schema)]

    return validator_of_schema


def allowed(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a schema allows, as far as our schemas go."""
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return st.one_of([allowed(choice) for choice in choices])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "string":
            return st.from_regex(schema["pattern"], fullmatch=True) if "pattern" in schema else st.text()
        case "integer":
            return st.integers(schema.get("minimum"), schema.get("maximum"))
        case "number":
            return st.floats(schema.get("minimum"), schema.get("maximum"), allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            return st.lists(allowed(schema.get("items", {"type": "null"})), max_size=min(schema.get("maxItems", 4), 4))
        case "object":
            properties = {name: allowed(each) for name, each in schema.get("properties", {}).items()}
            required = set(schema.get("required", ()))
            return st.fixed_dictionaries(
                {name: each for name, each in properties.items() if name in required},
                optional={name: each for name, each in properties.items() if name not in required},
            )
    raise AssertionError(f"a schema that the document did not have before: {schema}")


@st.composite
def calls(draw: st.DrawFn, document: Document) -> tuple[Mapping[str, Any], list[Any]]:
    """A method and parameters for it: some as they should be, some not, too few or too many."""
    method = draw(st.sampled_from(document["methods"]))
    parameters = [
        draw(allowed(each["schema"]) if draw(st.integers(0, 3)) else st.sampled_from(UNUSUAL))
        for each in method["params"]
    ]
    match draw(st.integers(0, 9)):
        case 0:
            parameters = parameters[: draw(st.integers(0, len(parameters)))]
        case 1:
            parameters += draw(st.lists(st.sampled_from(UNUSUAL), min_size=1, max_size=3))
    return method, parameters


def _without_nulls(value: Any) -> Any:
    """A member that is null counts as absent, as a parameter does."""
    return {name: each for name, each in value.items() if each is not None} if isinstance(value, dict) else value


def is_allowed(
    method: Mapping[str, Any],
    parameters: list[Any],
    validator_of: ValidatorOf,
) -> bool:
    declared = method["params"]
    if len(parameters) > len(declared):
        return False
    for index, parameter in enumerate(declared):
        value = parameters[index] if index < len(parameters) else None
        if value is None:
            if parameter["required"]:
                return False
        elif not validator_of(parameter["schema"]).is_valid(_without_nulls(value)):
            return False
    return True


def test_the_document_has_what_openrpc_asks_for(rpc: RpcClient, document: Document) -> None:
    assert rpc.http.get("/v1/openrpc").json() == document
    assert document["openrpc"].startswith("1.")
    assert {"title", "version"} <= document["info"].keys()
    names = [method["name"] for method in document["methods"]]
    assert len(set(names)) == len(names) > 40
    for method in document["methods"]:
        assert method["summary"]
        assert len({parameter["name"] for parameter in method["params"]}) == len(method["params"])
        required = [parameter["required"] for parameter in method["params"]]
        assert required == sorted(required, reverse=True)  # By position: nothing required after what is not.
        for schema in (method["result"]["schema"], *(each["schema"] for each in method["params"])):
            meta.validate(schema)


def test_every_method_that_clients_were_seen_to_need_is_there(document: Document) -> None:
    assert {method["name"] for method in document["methods"]} >= {
        *("eth_chainId", "net_version", "web3_clientVersion", "eth_syncing", "eth_accounts", "eth_blockNumber"),
        *("eth_getBalance", "eth_getTransactionCount", "eth_getBlockByNumber", "eth_getBlockByHash", "eth_gasPrice"),
        *("eth_maxPriorityFeePerGas", "eth_feeHistory", "eth_estimateGas", "eth_getCode", "eth_call"),
        *("eth_sendRawTransaction", "eth_getTransactionByHash", "eth_getTransactionReceipt", "eth_getLogs"),
        *("eth_getStorageAt", "eth_getTransactionByBlockHashAndIndex", "eth_getTransactionByBlockNumberAndIndex"),
        *("eth_getBlockTransactionCountByHash", "eth_getBlockTransactionCountByNumber"),
    }


def test_methods_without_parameters(rpc: RpcClient, document: Document, validator_of: ValidatorOf) -> None:
    for method in document["methods"]:
        if not any(parameter["required"] for parameter in method["params"]):
            validator_of(method["result"]["schema"]).validate(rpc.call(method["name"]))
        else:
            assert rpc.error(method["name"]) == {"code": -32602, "message": "missing value for required argument 0"}
        surplus = [None] * (len(method["params"]) + 1)
        assert rpc.error(method["name"], *surplus)["message"].startswith("too many arguments")


def test_results_of_what_is_there_are_what_the_document_says(
    node: RunningNode,
    rpc: RpcClient,
    document: Document,
    validator_of: ValidatorOf,
) -> None:
    schemas = {method["name"]: method["result"]["schema"] for method in document["methods"]}
    block = next(
        found
        for height in range(int(rpc.call("eth_blockNumber"), 16), 0, -1)
        if (found := rpc.call("eth_getBlockByNumber", hex(height), False))["transactions"]
    )
    ann, transaction_hash = to_hex(node.people.address("ann")), block["transactions"][0]
    transfer = {"from": ann, "to": to_hex(modules.TOKEN), "data": to_hex(modules.TOKEN_TOTAL_SUPPLY.encode())}
    for name, *parameters in (
        ("eth_getBalance", ann, block["number"]),
        ("eth_getTransactionCount", ann, "pending"),
        ("eth_getBlockByHash", block["hash"], True),
        ("eth_getBlockByNumber", block["number"], False),
        ("eth_getBlockReceipts", block["hash"]),
        ("eth_getTransactionByHash", transaction_hash),
        ("eth_getTransactionReceipt", transaction_hash),
        ("eth_getTransactionByBlockHashAndIndex", block["hash"], "0x0"),
        ("eth_getLogs", {"fromBlock": "0x0"}),
        ("eth_call", transfer, "latest"),
        ("eth_feeHistory", "0x3", "latest", [1, 50]),
        ("aitbc_getFinalityProof", block["number"]),
        ("aitbc_getFinalityCertificate", block["number"]),
        ("aitbc_getProof", "account", ann),
    ):
        answer = rpc.call(name, *parameters)
        assert answer not in (None, [], "0x")
        validator_of(schemas[name]).validate(answer)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_parameters_of_any_method(
    rpc: RpcClient,
    document: Document,
    validator_of: ValidatorOf,
    data: st.DataObject,
) -> None:
    method, parameters = data.draw(calls(document))
    response = rpc.request(method["name"], *parameters)
    if "result" in response:
        validator_of(method["result"]["schema"]).validate(response["result"])
    else:
        error = response["error"]
        assert error["code"] in CODES, error
        assert len(json.dumps(error)) < 4_000  # Whatever was sent is not sent back.
    if not is_allowed(method, parameters, validator_of):
        assert response.get("error", {}).get("code") == -32602, response


@settings(max_examples=150)
@given(body=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes(rpc: RpcClient, body: bytes) -> None:
    answer = rpc.post(body)
    assert answer.status_code in (200, 204)
    assert answer.status_code == 204 or b"-32603" not in answer.content


@settings(max_examples=150)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["id", "jsonrpc", "method", "params"]), inner),
    )
)
def test_any_json(rpc: RpcClient, value: Any) -> None:
    answer = rpc.post(json.dumps(value))
    assert answer.status_code in (200, 204)
    if answer.status_code == 200:
        responses = answer.json() if isinstance(answer.json(), list) else [answer.json()]
        assert all(response["error"]["code"] in (-32600, -32601, -32602, -32700) for response in responses)
