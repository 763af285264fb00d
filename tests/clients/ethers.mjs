// ethers v6, as its documentation uses it.
import { Contract, JsonRpcProvider, Signature, Wallet, WebSocketProvider, parseEther } from "ethers";
import { published, refusal, run, seconds, until } from "./scenario.mjs";

async function connect({ rpcUrl, privateKey, height }) {
  const provider = new JsonRpcProvider(rpcUrl);
  const { address } = new Wallet(privateKey);
  const network = await provider.getNetwork();
  const number = await provider.getBlockNumber();
  const latest = await provider.getBlock("latest");
  const genesis = await provider.getBlock(0);
  const full = await provider.getBlock(height, true);
  const same = await provider.getBlock(full.hash, true);
  const fees = await provider.getFeeData();
  return {
    chainId: network.chainId,
    number,
    latest: { number: latest.number, hash: latest.hash, parentHash: latest.parentHash, timestamp: latest.timestamp },
    finalized: (await provider.getBlock("finalized")).number,
    genesis: { number: genesis.number, hash: genesis.hash, transactions: genesis.transactions },
    full: { hash: full.hash, senders: full.prefetchedTransactions.map((each) => each.from) },
    same: same.hash,
    none: await provider.getBlock(10_000_000),
    fees: { gasPrice: fees.gasPrice, maxFeePerGas: fees.maxFeePerGas, maxPriorityFeePerGas: fees.maxPriorityFeePerGas },
    balance: await provider.getBalance(address),
    earlier: await provider.getBalance(address, height - 1),
    nonce: await provider.getTransactionCount(address),
    code: await provider.getCode(address),
  };
}

async function transfer({ rpcUrl, privateKey, to, value }) {
  const wallet = new Wallet(privateKey, new JsonRpcProvider(rpcUrl));
  const sent = await wallet.sendTransaction({ to, value });
  const receipt = await sent.wait();
  const read = await wallet.provider.getTransaction(sent.hash);
  return {
    hash: sent.hash,
    type: sent.type,
    receipt: { status: receipt.status, blockNumber: receipt.blockNumber, gasUsed: receipt.gasUsed, logs: receipt.logs.length },
    read: { from: read.from, to: read.to, value: read.value, nonce: read.nonce, blockHash: read.blockHash, type: read.type },
    balance: await wallet.provider.getBalance(to),
    unknown: await wallet.provider.getTransactionReceipt("0x" + "ab".repeat(32)),
  };
}

async function token({ url, rpcUrl, privateKey, to, spenderKey }) {
  const { address, abi } = await published(url, "token");
  const provider = new JsonRpcProvider(rpcUrl);
  const wallet = new Wallet(privateKey, provider);
  const spender = new Wallet(spenderKey, provider);
  const contract = new Contract(address, abi, wallet);
  const answered = await contract.transfer.staticCall(to, 5n);
  const transferred = await (await contract.transfer(to, parseEther("2"))).wait();
  await (await contract.approve(spender.address, parseEther("3"))).wait();
  const allowance = await contract.allowance(wallet.address, spender.address);
  const taken = await contract.connect(spender).transferFrom(wallet.address, to, parseEther("1"));
  await taken.wait();
  const found = await contract.queryFilter(contract.filters.Transfer(wallet.address, to), transferred.blockNumber);
  return {
    name: await contract.name(),
    symbol: await contract.symbol(),
    decimals: await contract.decimals(),
    supply: await contract.totalSupply(),
    balance: await contract.balanceOf(to),
    answered,
    event: transferred.logs.map((log) => [log.eventName, ...log.args]),
    allowance,
    left: await contract.allowance(wallet.address, spender.address),
    found: found.map((log) => [log.transactionHash, log.args.value]),
    hashes: [transferred.hash, taken.hash],
  };
}

async function mint({ url, rpcUrl, privateKey, arguments: [provider, units, receiptHash, attesterSig] }) {
  const { address, abi } = await published(url, "minter");
  const contract = new Contract(address, abi, new Wallet(privateKey, new JsonRpcProvider(rpcUrl)));
  const before = await contract.usedReceipt(receiptHash);
  const forged = [provider, BigInt(units) + 1n, receiptHash, attesterSig];
  const called = await refusal(() => contract.mintWithReceipt.staticCall(...forged));
  const gas = await contract.mintWithReceipt.estimateGas(provider, units, receiptHash, attesterSig);
  const receipt = await (await contract.mintWithReceipt(provider, units, receiptHash, attesterSig)).wait();
  const logs = await contract.queryFilter(contract.filters.Minted(provider));
  return {
    before,
    after: await contract.usedReceipt(receiptHash),
    attester: await contract.attester(),
    gas,
    gasUsed: receipt.gasUsed,
    status: receipt.status,
    minted: receipt.logs.filter((log) => log.eventName === "Minted").map((log) => [...log.args]),
    logs: logs.map((log) => [log.blockNumber, log.transactionHash, ...log.args]),
    hash: receipt.hash,
    again: await refusal(() => contract.mintWithReceipt(provider, units, receiptHash, attesterSig)),
    called,
  };
}

async function refusals({ url, rpcUrl, privateKey, to }) {
  const provider = new JsonRpcProvider(rpcUrl);
  const wallet = new Wallet(privateKey, provider);
  const { address, abi } = await published(url, "token");
  const contract = new Contract(address, abi, wallet);
  const balance = await provider.getBalance(wallet.address);
  const spent = await wallet.sendTransaction({ to, value: 1n });
  await spent.wait();
  // With a gas limit of one's own nothing is asked before: the failed call is in a block.
  const failed = await contract.transfer(to, balance * 2n, { gasLimit: 200_000 });
  return {
    funds: await refusal(() => wallet.sendTransaction({ to, value: balance * 2n })),
    nonce: await refusal(() => wallet.sendTransaction({ to, value: 2n, nonce: spent.nonce })),
    call: await refusal(() => contract.transfer.staticCall(to, balance * 2n)),
    estimate: await refusal(() => contract.transfer.estimateGas(to, balance * 2n)),
    deployment: await refusal(() => wallet.sendTransaction({ data: "0x6000" })),
    failed: await refusal(() => failed.wait()),
    receipt: (await provider.getTransactionReceipt(failed.hash)).status,
  };
}

async function batch({ rpcUrl, privateKey, to, count }) {
  const bodies = [];
  const provider = new JsonRpcProvider(rpcUrl, undefined, { staticNetwork: true });
  provider.on("debug", ({ action, payload }) => {
    if (action === "sendRpcPayload") bodies.push(Array.isArray(payload) ? payload.length : 1);
  });
  const wallet = new Wallet(privateKey, provider);
  const nonce = await wallet.getNonce();
  const { chainId } = await provider.getNetwork();
  const fields = { to, value: 1n, chainId, gasLimit: 21_000, maxFeePerGas: 0, maxPriorityFeePerGas: 0, type: 2 };
  const signed = await Promise.all(
    Array.from({ length: count }, (_, index) => wallet.signTransaction({ ...fields, nonce: nonce + index })),
  );
  const sent = await Promise.all(signed.map((raw) => provider.broadcastTransaction(raw)));
  const receipts = await Promise.all(sent.map((each) => each.wait()));
  const balances = await Promise.all(sent.map(() => provider.getBalance(to)));
  return { bodies, statuses: receipts.map((each) => each.status), balances, nonce: await wallet.getNonce() };
}

const authorizationTypes = {
  TransferWithAuthorization: [
    { name: "from", type: "address" },
    { name: "to", type: "address" },
    { name: "value", type: "uint256" },
    { name: "validAfter", type: "uint256" },
    { name: "validBefore", type: "uint256" },
    { name: "nonce", type: "bytes32" },
  ],
};

async function relay({ url, rpcUrl, privateKey, relayerKey, to, value, nonce, validBefore }) {
  const { address, abi } = await published(url, "token");
  const provider = new JsonRpcProvider(rpcUrl);
  const signer = new Wallet(privateKey); // It never talks to the node, and never pays.
  const contract = new Contract(address, abi, new Wallet(relayerKey, provider));
  const [, name, version, chainId, verifyingContract] = await contract.eip712Domain();
  const message = { from: signer.address, to, value, validAfter: 0, validBefore, nonce };
  const signature = await signer.signTypedData({ name, version, chainId, verifyingContract }, authorizationTypes, message);
  const { v, r, s } = Signature.from(signature);
  const submit = contract["transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,uint8,bytes32,bytes32)"];
  const terms = [signer.address, to, value, 0, validBefore, nonce];
  const forged = await refusal(() => submit.staticCall(signer.address, to, BigInt(value) + 1n, 0, validBefore, nonce, v, r, s));
  const receipt = await (await submit(...terms, v, r, s)).wait();
  return {
    domain: { name, version, chainId, verifyingContract },
    forged,
    status: receipt.status,
    events: receipt.logs.map((log) => [log.eventName, ...log.args]),
    used: await contract.authorizationState(signer.address, nonce),
    again: await refusal(() => submit.staticCall(...terms, v, r, s)),
  };
}

async function watch({ url, rpcUrl, privateKey, arguments: mintArguments }) {
  const { address, abi } = await published(url, "minter");
  const provider = new JsonRpcProvider(rpcUrl);
  provider.pollingInterval = 200;
  return observed(provider, new Contract(address, abi, new Wallet(privateKey, provider)), mintArguments);
}

async function subscribe({ url, webSocketUrl, privateKey, arguments: mintArguments }) {
  const { address, abi } = await published(url, "minter");
  const provider = new WebSocketProvider(webSocketUrl);
  return observed(provider, new Contract(address, abi, new Wallet(privateKey, provider)), mintArguments);
}

// A mint, as those see it who asked to hear of blocks, of the contract's events and of pending transactions.
async function observed(provider, contract, mintArguments) {
  const blocks = [];
  const minted = [];
  const pending = [];
  await provider.on("block", (number) => blocks.push(number));
  await provider.on("pending", (hash) => pending.push(hash));
  await contract.on(contract.filters.Minted(mintArguments[0]), ({ log, args }) =>
    minted.push([log.blockNumber, log.transactionHash, ...args]),
  );
  await seconds(0.5); // Nobody says when a client has begun to watch.
  const receipt = await (await contract.mintWithReceipt(...mintArguments)).wait();
  await until(() => minted.length > 0 && blocks.includes(receipt.blockNumber) && pending.includes(receipt.hash), "events");
  await contract.removeAllListeners();
  await provider.removeAllListeners();
  const after = await provider.getBlockNumber();
  provider.destroy();
  return { hash: receipt.hash, blockNumber: receipt.blockNumber, blocks, minted, pending, after };
}

await run({ connect, transfer, token, mint, refusals, batch, relay, watch, subscribe });
