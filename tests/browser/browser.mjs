// A person with a browser and a wallet: `node browser.mjs BUTTON` opens a page in Chromium, clicks, and prints what it says.

import { chromium } from "playwright-core";
import { Wallet, getBytes } from "ethers";
import { run } from "../clients/scenario.mjs";
import { checkedChainParameter } from "./chain_parameters.mjs";

// Longer than a heartbeat: ethers sometimes waits for one more block, and without transactions that is the next.
const OUTCOME_MS = 100_000;

const CHROMIUM = {
  args: [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox", // The tests may run as root, where Chromium has no other way.
  ],
};

/** The part of a wallet that holds the key. Its person agrees to everything, and `prompts` is what they saw. */
function walletOf(privateKey, prompts) {
  const wallet = new Wallet(privateKey);
  const answers = {
    eth_accounts: () => [wallet.address],
    eth_requestAccounts: () => [wallet.address],
    eth_sendTransaction: ([transaction]) => wallet.signTransaction(transaction),
    eth_signTypedData_v4([, text]) {
      const { domain, types, message } = JSON.parse(text);
      delete types.EIP712Domain; // ethers makes it from the domain.
      return wallet.signTypedData(domain, types, message);
    },
    personal_sign: ([message]) => wallet.signMessage(getBytes(message)),
    wallet_addEthereumChain: ([parameter]) => checkedChainParameter(parameter),
  };
  return (method, params) => {
    if (method !== "eth_accounts") prompts.push(method);
    return answers[method](params);
  };
}

async function press(button, { chromiumPath, pageUrl, privateKey }) {
  const prompts = [];
  const asked = new Set(); // Every origin that the page talked to.
  const browser = await chromium.launch({ executablePath: chromiumPath, headless: true, ...CHROMIUM });
  try {
    const context = await browser.newContext();
    await context.exposeFunction("walletPrompt", walletOf(privateKey, prompts));
    await context.addInitScript({ path: "injected_provider.js" });
    const page = await context.newPage();
    const said = [];
    page.on("console", (message) => said.push(message.text()));
    page.on("pageerror", (error) => said.push(String(error)));
    page.on("request", (request) => asked.add(new URL(request.url()).origin));
    await page.goto(pageUrl);
    await page.waitForSelector("body[data-ready]", { timeout: 20_000 });
    await page.click(`#${button}`);
    await page.waitForFunction(() => document.getElementById("outcome").textContent !== "", null, { timeout: OUTCOME_MS });
    const outcome = JSON.parse(await page.textContent("#outcome"));
    return { asked: [...asked], prompts, said, outcome };
  } finally {
    await browser.close();
  }
}

const BUTTONS = ["look", "pay", "send", "watch"];
await run(Object.fromEntries(BUTTONS.map((button) => [button, (inputs) => press(button, inputs)])));
