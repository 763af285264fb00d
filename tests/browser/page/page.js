// A page as somebody writes it who has read ethers' documentation: it knows a node's URL, and no line here is about AITBC
// but the names of a network and of a contract.

import { BrowserProvider, Contract, JsonRpcProvider, WebSocketProvider, hexlify, randomBytes } from "./ethers.js";

const settings = await (await fetch("settings.json")).json();
document.getElementById("payee").textContent = settings.payee;

// The page's own view of the chain, straight from the browser.
const reader = new JsonRpcProvider(settings.network.rpcUrls[0]);

const TRANSFER = {
  TransferWithAuthorization: [
    { name: "from", type: "address" },
    { name: "to", type: "address" },
    { name: "value", type: "uint256" },
    { name: "validAfter", type: "uint256" },
    { name: "validBefore", type: "uint256" },
    { name: "nonce", type: "bytes32" },
  ],
};

function injectedWallet() {
  return new Promise((resolve) => {
    addEventListener("eip6963:announceProvider", ({ detail }) => resolve(detail.provider), { once: true });
    dispatchEvent(new Event("eip6963:requestProvider"));
  });
}

/** Has the wallet switch to the network, adding it where it is unknown, and gives the person's account. */
async function connect() {
  const wallet = await injectedWallet();
  await wallet.request({ method: "eth_requestAccounts" });
  const { chainId } = settings.network;
  try {
    await wallet.request({ method: "wallet_switchEthereumChain", params: [{ chainId }] });
  } catch (error) {
    if (error.code !== 4902) throw error;
    await wallet.request({ method: "wallet_addEthereumChain", params: [settings.network] });
  }
  return new BrowserProvider(wallet).getSigner();
}

async function publishedToken(runner) {
  const { address, abi } = await (await fetch(`${settings.nodeUrl}/v1/abi/token`)).json();
  return new Contract(address, abi, runner);
}

/** Has the page's owner send what the person has signed; its receipt once it is final. */
async function relayed(payment) {
  const answer = await fetch("relay", { method: "POST", body: JSON.stringify(payment) });
  const { hash } = await answer.json();
  return reader.waitForTransaction(hash);
}

/** Why the chain would refuse a payment, without sending it. */
async function refusal(token, { from, to, value, validAfter, validBefore, nonce, signature }) {
  const transfer = token["transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"];
  const tried = transfer.staticCall(from, to, value, validAfter, validBefore, nonce, signature);
  return tried.then(() => null, (error) => error.reason);
}

/** A plain request, as `fetch` sends it across origins: the browser asks the node first whether it may. */
async function blockNumber(url) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "eth_blockNumber", params: [] }),
  });
  return (await answer.json()).result;
}

function opened(url) {
  const socket = new WebSocket(url);
  return new Promise((resolve, reject) => {
    socket.onopen = () => resolve(socket.close());
    socket.onerror = () => reject(new Error("no WebSocket"));
  });
}

const actions = {
  /** Who may read what this browser's owner reaches? */
  async look() {
    const { rpcUrls } = settings.network;
    const tried = [blockNumber(rpcUrls[0]), fetch(`${settings.nodeUrl}/v1/status`), opened(settings.webSocketUrl)];
    return (await Promise.allSettled(tried)).map(({ status }) => status);
  },

  /** The person signs, the page's owner sends: the person needs no transaction of their own. */
  async pay() {
    const signer = await connect();
    const token = await publishedToken(reader);
    const { name, version, chainId, verifyingContract } = await token.eip712Domain();
    const payment = {
      from: signer.address,
      to: settings.payee,
      value: settings.value,
      validAfter: 0,
      validBefore: Math.floor(Date.now() / 1000) + 600,
      nonce: hexlify(randomBytes(32)),
    };
    const signature = await signer.signTypedData({ name, version, chainId, verifyingContract }, TRANSFER, payment);
    const signed = { ...payment, signature };
    const before = {
      asSigned: await refusal(token, signed),
      raised: await refusal(token, { ...signed, value: BigInt(settings.value) + 1n }),
      late: await refusal(token, { ...signed, validBefore: 1 }),
    };
    const receipt = await relayed(signed);
    const balances = await Promise.all([payment.from, payment.to].map((each) => token.balanceOf(each)));
    return {
      before,
      hash: receipt.hash,
      status: receipt.status,
      events: receipt.logs.map((log) => token.interface.parseLog(log).name),
      balances,
      isUsed: await token.authorizationState(payment.from, payment.nonce),
      after: await refusal(token, signed),
      statusOfReplay: (await relayed(signed)).status,
    };
  },

  /** The person sends it, and pays whatever the network asks. */
  async send() {
    const signer = await connect();
    const message = `I pay ${settings.value} to ${settings.payee}`;
    const signature = await signer.signMessage(message);
    const sent = await signer.sendTransaction({ to: settings.payee, value: settings.value });
    const receipt = await sent.wait();
    const tooMuch = await signer.sendTransaction({ to: settings.payee, value: 10n ** 30n }).catch((error) => error);
    return { message, signature, hash: sent.hash, status: receipt.status, refusal: tooMuch.code ?? "none" };
  },

  /** Three payments, and what a WebSocket tells of them: the blocks and the token's events, without being asked. */
  async watch() {
    const signer = await connect();
    const socket = new WebSocketProvider(settings.webSocketUrl);
    const token = await publishedToken(socket);
    const heights = [];
    const values = [];
    await socket.on("block", (height) => heights.push(height));
    await token.on(token.filters.Transfer(signer.address), ({ args }) => values.push(args.value));
    for (const value of [1n, 2n, 3n]) {
      const sent = await signer.sendTransaction({ to: settings.payee, value });
      await sent.wait();
    }
    while (heights.length < 3 || values.length < 3) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await socket.destroy();
    return { heights, values };
  },
};

for (const [id, action] of Object.entries(actions)) {
  document.getElementById(id).onclick = async () => {
    const outcome = await action().catch((error) => ({ error: String(error.stack ?? error) }));
    const text = JSON.stringify(outcome, (_name, value) => (typeof value === "bigint" ? `${value}` : value), 2);
    document.getElementById("outcome").textContent = text;
  };
}
document.body.dataset.ready = "yes";
