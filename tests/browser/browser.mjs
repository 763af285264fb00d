// A person with a browser and a wallet: `node browser.mjs BUTTON` opens a page in Chromium, clicks, and prints what it says.

import { chromium } from "playwright-core";
import { run } from "../clients/scenario.mjs";
import { CHROMIUM, walletOf } from "./keyed_wallet.mjs";

// Longer than a heartbeat: ethers sometimes waits for one more block, and without transactions that is the next.
const OUTCOME_MS = 100_000;

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
