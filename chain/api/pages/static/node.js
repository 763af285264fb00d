// The node that serves the page: its REST API, its JSON-RPC and its stream. Nobody else is asked for anything.

const FINAL_MS = 120_000;
const ASK_AGAIN_MS = 500;
const QUIET_MS = 45_000; // Three of the stream's heartbeats.

/** The node, or a wallet through it, refused; the message is a sentence for people. */
export class NodeError extends Error {}

export async function get(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  const body = await answer.json().catch(() => null);
  if (!answer.ok) {
    const error = new NodeError(body?.detail ?? `The node answered ${answer.status}.`);
    error.status = answer.status;
    throw error;
  }
  return body;
}

let requests = 0;

export async function rpc(method, ...params) {
  const answer = await fetch("/rpc", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ jsonrpc: "2.0", id: ++requests, method, params }),
  });
  const { error, result } = await answer.json();
  if (error) throw new NodeError(error.message);
  return result;
}

/** What a transaction would need at most, in atoms of the chain's coin; throws NodeError with the reason where it would fail. */
export async function highestFee(transaction) {
  const [gas, price] = await Promise.all([rpc("eth_estimateGas", transaction), rpc("eth_gasPrice")]);
  return BigInt(gas) * BigInt(price);
}

/** A transaction once it is final; throws NodeError where it is not for two minutes. */
export async function finalTransaction(hash) {
  const end = Date.now() + FINAL_MS;
  while (Date.now() < end) {
    try {
      const found = await get(`/v1/transactions/${hash}`);
      if (found.finalized) return found;
    } catch (error) {
      if (error.status !== 404) throw error; // The wallet's own node may have it before this one.
    }
    await new Promise((resolve) => setTimeout(resolve, ASK_AGAIN_MS));
  }
  throw new NodeError("The transaction is not final yet; it may still become so. Its hash is in your wallet.");
}

/** Calls `on.trade`, `on.order`, `on.block`, `on.reset`; `on.state(isLive)` as the connection comes and goes. For good. */
export function follow(market, on) {
  let source = null;
  let heardAt = Date.now();
  const open = () => {
    heardAt = Date.now();
    source = new EventSource(`/v1/stream?market=${market}`);
    source.onopen = () => on.state(true);
    source.onerror = () => on.state(false);
    for (const event of ["trade", "order", "block", "reset"]) {
      source.addEventListener(event, ({ data }) => {
        heardAt = Date.now();
        on[event](JSON.parse(data));
      });
    }
  };
  open();
  // EventSource gives up where the node says that it is crowded, and cannot tell a dead connection from a quiet one.
  setInterval(() => {
    if (source.readyState === EventSource.CLOSED || Date.now() - heardAt > 4 * QUIET_MS) {
      source.close();
      on.reset({ height: 0 });
      open();
    }
  }, 5_000);
}
