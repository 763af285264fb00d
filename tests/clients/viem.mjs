// viem, as its documentation uses it.
import {
  createPublicClient,
  createWalletClient,
  defineChain,
  getContract,
  http,
  parseEther,
  parseEventLogs,
  parseSignature,
  webSocket,
} from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { published, refusal, run, seconds, until } from "./scenario.mjs";

// The chain as a person describes it once; its id is what the node says.
async function chainAt(rpcUrl) {
  const id = await createPublicClient({ transport: http(rpcUrl) }).getChainId();
  return defineChain({
    id,
    name: "AITBC",
    nativeCurrency: { name: "AIT", symbol: "AIT", decimals: 18 },
    rpcUrls: { default: { http: [rpcUrl] } },
  });
}

async function clients({ rpcUrl, privateKey }, transport = http(rpcUrl)) {
  const chain = await chainAt(rpcUrl);
  const reader = createPublicClient({ chain, transport, pollingInterval: 200 });
  const account = privateKeyToAccount(privateKey);
  return { reader, writer: createWalletClient({ chain, account, transport }), account };
}

async function connect(inputs) {
  const { reader, account } = await clients(inputs);
  const number = await reader.getBlockNumber({ cacheTime: 0 });
  const latest = await reader.getBlock();
  const full = await reader.getBlock({ blockNumber: BigInt(inputs.height), includeTransactions: true });
  const fees = await reader.estimateFeesPerGas();
  const history = await reader.getFeeHistory({ blockCount: 4, rewardPercentiles: [20] });
  return {
    chainId: await reader.getChainId(),
    number,
    latest: { number: latest.number, hash: latest.hash, parentHash: latest.parentHash, timestamp: latest.timestamp },
    finalized: (await reader.getBlock({ blockTag: "finalized" })).number,
    genesis: (await reader.getBlock({ blockNumber: 0n })).hash,
    full: { hash: full.hash, senders: full.transactions.map((each) => each.from), baseFee: full.baseFeePerGas },
    same: (await reader.getBlock({ blockHash: full.hash })).hash,
    none: await refusal(() => reader.getBlock({ blockNumber: 10_000_000n })),
    fees,
    history: { oldest: history.oldestBlock, baseFees: history.baseFeePerGas, ratios: history.gasUsedRatio.length },
    gasPrice: await reader.getGasPrice(),
    balance: await reader.getBalance(account),
    earlier: await reader.getBalance({ address: account.address, blockNumber: BigInt(inputs.height - 1) }),
    nonce: await reader.getTransactionCount(account),
    code: (await reader.getCode(account)) ?? null,
  };
}

async function transfer(inputs) {
  const { reader, writer } = await clients(inputs);
  const hash = await writer.sendTransaction({ to: inputs.to, value: BigInt(inputs.value) });
  const receipt = await reader.waitForTransactionReceipt({ hash });
  const read = await reader.getTransaction({ hash });
  return {
    hash,
    type: read.type,
    receipt: { status: receipt.status, blockNumber: receipt.blockNumber, gasUsed: receipt.gasUsed, logs: receipt.logs.length },
    read: { from: read.from, to: read.to, value: read.value, nonce: read.nonce, blockHash: read.blockHash },
    balance: await reader.getBalance({ address: inputs.to }),
    unknown: await refusal(() => reader.getTransactionReceipt({ hash: `0x${"ab".repeat(32)}` })),
  };
}

async function token(inputs) {
  const { reader, writer, account } = await clients(inputs);
  const { address, abi } = await published(inputs.url, "token");
  const spender = createWalletClient({ ...writer, account: privateKeyToAccount(inputs.spenderKey), transport: http(inputs.rpcUrl) });
  const contract = getContract({ address, abi, client: { public: reader, wallet: writer } });
  const done = async (hash) => reader.waitForTransactionReceipt({ hash });
  const { result } = await contract.simulate.transfer([inputs.to, 5n], { account });
  const transferred = await done(await contract.write.transfer([inputs.to, parseEther("2")]));
  await done(await contract.write.approve([spender.account.address, parseEther("3")]));
  const allowance = await contract.read.allowance([account.address, spender.account.address]);
  const terms = [account.address, inputs.to, parseEther("1")];
  const taken = await done(await spender.writeContract({ address, abi, functionName: "transferFrom", args: terms }));
  const found = await contract.getEvents.Transfer(
    { from: account.address, to: inputs.to },
    { fromBlock: transferred.blockNumber },
  );
  return {
    name: await contract.read.name(),
    symbol: await contract.read.symbol(),
    decimals: await contract.read.decimals(),
    supply: await contract.read.totalSupply(),
    balance: await contract.read.balanceOf([inputs.to]),
    answered: result,
    event: parseEventLogs({ abi, logs: transferred.logs }).map(({ eventName, args }) => [eventName, args.from, args.to, args.value]),
    allowance,
    left: await contract.read.allowance([account.address, spender.account.address]),
    found: found.map((log) => [log.transactionHash, log.args.value]),
    hashes: [transferred.transactionHash, taken.transactionHash],
  };
}

async function mint(inputs) {
  const [provider, units, receiptHash, attesterSig] = inputs.arguments;
  const { reader, writer } = await clients(inputs);
  const { address, abi } = await published(inputs.url, "minter");
  const contract = getContract({ address, abi, client: { public: reader, wallet: writer } });
  const terms = [provider, BigInt(units), receiptHash, attesterSig];
  const before = await contract.read.usedReceipt([receiptHash]);
  const forged = [provider, BigInt(units) + 1n, receiptHash, attesterSig];
  const called = await refusal(() => contract.simulate.mintWithReceipt(forged));
  const gas = await contract.estimateGas.mintWithReceipt(terms);
  const hash = await contract.write.mintWithReceipt(terms);
  const receipt = await reader.waitForTransactionReceipt({ hash });
  const named = ({ args }) => [args.provider, args.units, args.receiptHash];
  const logs = await contract.getEvents.Minted({ provider }, { fromBlock: 0n });
  return {
    before,
    after: await contract.read.usedReceipt([receiptHash]),
    attester: await contract.read.attester(),
    gas,
    gasUsed: receipt.gasUsed,
    status: receipt.status,
    minted: parseEventLogs({ abi, logs: receipt.logs, eventName: "Minted" }).map(named),
    logs: logs.map((log) => [log.blockNumber, log.transactionHash, ...named(log)]),
    hash,
    again: await refusal(() => contract.write.mintWithReceipt(terms)),
    called,
  };
}

async function refusals(inputs) {
  const { reader, writer, account } = await clients(inputs);
  const { to } = inputs;
  const { address, abi } = await published(inputs.url, "token");
  const contract = getContract({ address, abi, client: { public: reader, wallet: writer } });
  const balance = await reader.getBalance(account);
  const nonce = await reader.getTransactionCount(account);
  await reader.waitForTransactionReceipt({ hash: await writer.sendTransaction({ to, value: 1n, nonce }) });
  // With a gas limit of one's own nothing is asked before: the failed call is in a block.
  const failed = await contract.write.transfer([to, balance * 2n], { gas: 200_000n });
  const failure = async (action) => {
    const told = await refusal(action);
    return { refused: told.refused, name: told.name, message: told.message };
  };
  return {
    funds: await failure(() => writer.sendTransaction({ to, value: balance * 2n })),
    nonce: await failure(() => writer.sendTransaction({ to, value: 2n, nonce })),
    call: await failure(() => contract.simulate.transfer([to, balance * 2n], { account })),
    estimate: await failure(() => contract.estimateGas.transfer([to, balance * 2n], { account })),
    deployment: await failure(() => writer.sendTransaction({ data: "0x6000" })),
    receipt: (await reader.waitForTransactionReceipt({ hash: failed })).status,
  };
}

async function batch(inputs) {
  const bodies = [];
  const onFetchRequest = async (request) => {
    const body = await request.clone().json();
    bodies.push(Array.isArray(body) ? body.length : 1);
  };
  const transport = http(inputs.rpcUrl, { batch: { batchSize: 100 }, onFetchRequest });
  const { reader, writer, account } = await clients(inputs, transport);
  const nonce = await reader.getTransactionCount(account);
  const fields = { to: inputs.to, value: 1n, gas: 21_000n, maxFeePerGas: 0n, maxPriorityFeePerGas: 0n, type: "eip1559" };
  const signed = await Promise.all(
    Array.from({ length: inputs.count }, (_, index) => writer.signTransaction({ ...fields, nonce: nonce + index })),
  );
  const sent = await Promise.all(signed.map((serializedTransaction) => writer.sendRawTransaction({ serializedTransaction })));
  const receipts = await Promise.all(sent.map((hash) => reader.waitForTransactionReceipt({ hash })));
  const balances = await Promise.all(sent.map(() => reader.getBalance({ address: inputs.to })));
  return {
    bodies,
    statuses: receipts.map((each) => each.status),
    balances,
    nonce: await reader.getTransactionCount(account),
  };
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

async function relay(inputs) {
  const { to, nonce } = inputs;
  const { reader, writer } = await clients({ ...inputs, privateKey: inputs.relayerKey });
  const { address, abi } = await published(inputs.url, "token");
  const signer = privateKeyToAccount(inputs.privateKey); // It never talks to the node, and never pays.
  const { salt, ...domain } = (await reader.getEip712Domain({ address })).domain; // `fields` says that there is no salt.
  const [value, validAfter, validBefore] = [BigInt(inputs.value), 0n, BigInt(inputs.validBefore)];
  const message = { from: signer.address, to, value, validAfter, validBefore, nonce };
  const primaryType = "TransferWithAuthorization";
  const signature = await signer.signTypedData({ domain, types: authorizationTypes, primaryType, message });
  const { v, r, s } = parseSignature(signature);
  const terms = [signer.address, to, value, validAfter, validBefore, nonce, Number(v), r, s];
  const submission = { address, abi, functionName: "transferWithAuthorization", args: terms, account: writer.account };
  const forged = await refusal(() => reader.simulateContract({ ...submission, args: terms.with(2, value + 1n) }));
  const receipt = await reader.waitForTransactionReceipt({ hash: await writer.writeContract(submission) });
  return {
    domain,
    forged,
    status: receipt.status,
    events: parseEventLogs({ abi, logs: receipt.logs }).map(({ eventName, args }) => [eventName, ...Object.values(args)]),
    used: await reader.readContract({ address, abi, functionName: "authorizationState", args: [signer.address, nonce] }),
    again: await refusal(() => reader.simulateContract(submission)),
  };
}

async function watch(inputs) {
  return observed(inputs, await clients(inputs));
}

async function subscribe(inputs) {
  return observed(inputs, await clients(inputs, webSocket(inputs.webSocketUrl)));
}

// A mint, as those see it who asked to hear of blocks, of the contract's events and of pending transactions.
async function observed(inputs, { reader, writer }) {
  const [provider, units, receiptHash, attesterSig] = inputs.arguments;
  const { address, abi } = await published(inputs.url, "minter");
  const blocks = [];
  const minted = [];
  const pending = [];
  const errors = [];
  const onError = (error) => errors.push(error.message);
  const stop = [
    reader.watchBlocks({ onBlock: (block) => blocks.push(block.number), onError }),
    reader.watchPendingTransactions({ onTransactions: (hashes) => pending.push(...hashes), onError }),
    reader.watchContractEvent({
      address,
      abi,
      eventName: "Minted",
      args: { provider },
      onLogs: (logs) => minted.push(...logs.map(({ blockNumber, transactionHash, args }) =>
        [blockNumber, transactionHash, args.provider, args.units, args.receiptHash])),
      onError,
    }),
  ];
  await seconds(0.5); // Nobody says when a client has begun to watch.
  const terms = [provider, BigInt(units), receiptHash, attesterSig];
  const hash = await writer.writeContract({ address, abi, functionName: "mintWithReceipt", args: terms });
  const receipt = await reader.waitForTransactionReceipt({ hash });
  await until(() => minted.length > 0 && blocks.includes(receipt.blockNumber) && pending.includes(hash), "events");
  stop.forEach((each) => each());
  const after = await reader.getBlockNumber({ cacheTime: 0 });
  return { hash, blockNumber: receipt.blockNumber, blocks, minted, pending, errors, after };
}

await run({ connect, transfer, token, mint, refusals, batch, relay, watch, subscribe });
