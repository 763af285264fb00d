"""The modules' ABI as JSON files, one for each module and one for all assets, for tools that read
a file: `chain/abi/minter.json`.

`make abi` writes them from `chain.primitives.contract_abi`, and a test compares; a node serves the same at `/v1/abi`.
"""
