// Wallets in this browser: found by EIP-6963, or as `window.ethereum` where they are older; spoken to by EIP-1193.
// Any extension and any script of theirs can announce itself: what they say is looked at before it is used.

const UNKNOWN_CHAIN = 4902;
const MAX_WALLETS = 20;
const MAX_REASON = 300;

const announced = []; // { info: { uuid, name, icon }, provider } each; it grows while the page is open.

addEventListener("eip6963:announceProvider", ({ detail }) => {
  const { info, provider } = detail ?? {};
  if (typeof info?.uuid !== "string" || typeof info.name !== "string" || typeof provider?.request !== "function") return;
  const isKnown = announced.some((each) => each.info.uuid === info.uuid);
  if (!isKnown && announced.length < MAX_WALLETS) announced.push(detail);
});

const askWho = () => dispatchEvent(new Event("eip6963:requestProvider"));
askWho();

export function wallets() {
  askWho(); // Those that came later answer now, before this goes on.
  if (announced.length > 0 || typeof window.ethereum?.request !== "function") return [...announced];
  return [{ info: { uuid: "injected", name: "Wallet of this browser", icon: "" }, provider: window.ethereum }];
}

/** Why a wallet did not: its person said no, or something is amiss. */
export function reasonOf(error) {
  if (error?.code === 4001) return "You declined it in your wallet.";
  if (error?.code === -32002) return "Your wallet has a question open already: look there.";
  return String(error?.data?.message ?? error?.message ?? "The wallet gave no reason.").slice(0, MAX_REASON);
}

/** As the wallet says it: `0x…`, in whatever case, with or without zeros before it. */
async function chainOf(provider) {
  const said = await provider.request({ method: "eth_chainId" });
  if (!/^0x[0-9a-f]{1,16}$/i.test(said)) throw new Error("The wallet does not say which chain it is on.");
  return BigInt(said);
}

function addition({ chainId, chainName }) {
  return {
    chainId,
    chainName,
    nativeCurrency: { name: "AIT", symbol: "AIT", decimals: 18 },
    rpcUrls: [`${location.origin}/rpc`],
    blockExplorerUrls: null,
  };
}

/** Has the wallet use the page's chain, adding it where the wallet does not know it. */
async function useChain(provider, network) {
  const wanted = BigInt(network.chainId);
  if ((await chainOf(provider)) === wanted) return;
  try {
    await provider.request({ method: "wallet_switchEthereumChain", params: [{ chainId: network.chainId }] });
  } catch (error) {
    // MetaMask's telephone app wraps the error.
    if (error?.code !== UNKNOWN_CHAIN && error?.data?.originalError?.code !== UNKNOWN_CHAIN) throw error;
    await provider.request({ method: "wallet_addEthereumChain", params: [addition(network)] });
  }
  const chosen = await chainOf(provider);
  if (chosen !== wanted) throw new Error(`The wallet stays on chain ${chosen}; this market is on ${wanted}.`);
}

/** The account that the person lets the page see, in lower case. */
export async function connect(provider, network) {
  const accounts = await provider.request({ method: "eth_requestAccounts" });
  if (!/^0x[0-9a-f]{40}$/i.test(accounts?.[0] ?? "")) throw new Error("The wallet named no account.");
  await useChain(provider, network);
  return accounts[0].toLowerCase();
}

/** The hash of a call that the person has signed. */
export async function send(provider, network, { from, to, data }) {
  await useChain(provider, network);
  const hash = await provider.request({ method: "eth_sendTransaction", params: [{ from, to, data, value: "0x0" }] });
  if (!/^0x[0-9a-f]{64}$/i.test(hash ?? "")) throw new Error("The wallet did not say what it sent.");
  return hash;
}
