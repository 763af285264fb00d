// The node that serves the page: its REST API, its JSON-RPC and its stream. Nobody else is asked for anything.

const FINAL_MS = 120_000;
const ASK_AGAIN_MS = 500;
const QUIET_MS = 180_000; // Far more than blocks are apart: a connection this quiet is dead, and EventSource cannot tell.
const LOOK_MS = 5_000;

export const UNREADABLE = "The node's answer cannot be read.";

/** The node refused, or is not there; the message is a sentence for people. */
export class NodeError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

async function asked(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new NodeError("The node cannot be reached.");
  }
  return [answer, await answer.json().catch(() => null)];
}

export async function get(path) {
  const [answer, body] = await asked(path, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new NodeError(body?.detail ?? `The node answered ${answer.status}.`, answer.status);
  if (body === null) throw new NodeError(UNREADABLE);
  return body;
}

/** Reads anew what governance may have changed of a market: its fees, and whether it takes orders. */
export async function renewTerms(market) {
  const { maker_fee, taker_fee, status } = await get(`/v1/markets/${market.market}`);
  if (!Number.isInteger(maker_fee) || !Number.isInteger(taker_fee) || typeof status !== "string") throw new NodeError(UNREADABLE);
  Object.assign(market, { maker_fee, taker_fee, status });
}

let requests = 0;

export async function rpc(method, ...params) {
  const body = JSON.stringify({ jsonrpc: "2.0", id: ++requests, method, params });
  const [answer, said] = await asked("/rpc", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  if (said?.error) throw new NodeError(String(said.error.message).replace(/^execution reverted: /, "This cannot be done: "));
  if (said?.result === undefined) throw new NodeError(said?.detail ?? `The node answered ${answer.status}.`);
  return said.result;
}

/** What a transaction would need at most, in atoms of the chain's coin; throws NodeError with the reason where it would fail. */
export async function highestFee(transaction) {
  const [gas, price] = await Promise.all([rpc("eth_estimateGas", transaction), rpc("eth_gasPrice")]);
  return BigInt(gas) * BigInt(price);
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A transaction once it is final; throws NodeError where it is not for two minutes. */
export async function finalTransaction(hash) {
  const end = Date.now() + FINAL_MS;
  while (Date.now() < end) {
    try {
      const found = await get(`/v1/transactions/${hash}`);
      if (found.finalized) return found;
    } catch (error) {
      // The wallet's own node may have it before this one, and this one may come back.
      if (error.status !== 404 && error.status !== 0) throw error;
    }
    await pause(ASK_AGAIN_MS);
  }
  throw new NodeError("The transaction is not final yet; it may still become so. Its hash is in your wallet.");
}

/** Calls `on.trade`, `on.order`, `on.block`, `on.reset`; `on.state(isLive)` as the connection comes and goes. For good. */
export function follow(market, on) {
  let source = null;
  let heardAt = 0;
  const open = () => {
    heardAt = Date.now();
    source = new EventSource(`/v1/stream?market=${market}`);
    source.onopen = () => on.state(true);
    source.onerror = () => on.state(false);
    for (const event of ["trade", "order", "block", "reset"]) {
      source.addEventListener(event, ({ data }) => {
        heardAt = Date.now();
        try {
          on[event](JSON.parse(data));
        } catch {
          on.reset(); // Something was told that cannot be understood: what is so is asked for instead.
        }
      });
    }
  };
  open();
  // EventSource gives up for good where a node says that it is crowded; until it is not, the page asks now and then.
  setInterval(() => {
    if (source.readyState !== EventSource.CLOSED && Date.now() - heardAt < QUIET_MS) return;
    source.close();
    on.reset();
    open();
  }, LOOK_MS);
}
