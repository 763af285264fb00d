// Somebody at the exchange, with a browser and a wallet of their own. What they do, they do by the names that a screen reader
// would say.

import { mkdirSync } from "node:fs";
import { chromium } from "playwright-core";
import { CHROMIUM, walletOf } from "./keyed_wallet.mjs";

export const SOON_MS = 60_000;
export const PHONE = { width: 390, height: 844 };
export const DESKTOP = { width: 1280, height: 900 };

export class Person {
  constructor(page, seen) {
    Object.assign(this, seen, { page });
  }

  /** Somebody with a browser; `key` null: with no wallet; `isReady`: the page is one that has scripts. */
  static async arrive(browser, url, key, { viewport = DESKTOP, isReady = true, ...options } = {}) {
    const seen = { prompts: [], said: [], asked: new Set(), declined: new Set(), wallet: null };
    const context = await browser.newContext({ viewport, ...options });
    if (key !== null) {
      seen.wallet = walletOf(key, seen.prompts, seen.declined);
      await context.exposeFunction("walletPrompt", seen.wallet);
      await context.addInitScript({ path: "injected_provider.js" });
    }
    const page = await context.newPage();
    page.on("console", (message) => seen.said.push(message.text()));
    page.on("pageerror", (error) => seen.said.push(String(error)));
    page.on("request", (request) => seen.asked.add(new URL(request.url()).origin));
    await page.goto(url);
    if (isReady && options.javaScriptEnabled !== false) await page.waitForSelector("body[data-ready]", { timeout: SOON_MS });
    return new Person(page, seen);
  }

  async connect() {
    await this.page.getByRole("button", { name: "Connect wallet" }).click();
    await this.page.getByRole("button", { name: "Disconnect" }).waitFor({ timeout: SOON_MS });
  }

  async fill({ side, kind, quantity, price, expiry }) {
    const { page } = this;
    if (side) await page.getByRole("radio", { name: side }).check();
    if (kind) await page.getByLabel("Kind").selectOption({ label: kind });
    if (quantity) await page.getByRole("textbox", { name: "Quantity" }).fill(quantity);
    if (price) await page.getByRole("textbox", { name: /^(Worst )?price/i }).fill(price);
    if (expiry) await page.getByRole("textbox", { name: "Last block" }).fill(expiry);
  }

  submit() {
    return this.page.locator("#place").click();
  }

  /** What the page says the wallet will sign, by label; null where it asks nothing. */
  async told() {
    const dialog = this.page.getByRole("dialog", { name: "Check before you sign" });
    await dialog.waitFor({ timeout: SOON_MS });
    const [labels, texts] = [await dialog.locator("dt").allTextContents(), await dialog.locator("dd").allTextContents()];
    return Object.fromEntries(labels.map((label, at) => [label, texts[at]]));
  }

  async sign() {
    await this.page.getByRole("button", { name: "Sign in wallet" }).click();
    return this.outcome(/^(Done|Failed)|declined/);
  }

  async outcome(form) {
    const newest = this.page.locator("#outcome p").first();
    await newest.filter({ hasText: form }).waitFor({ timeout: SOON_MS });
    return newest.textContent();
  }

  /** Rows of a table's body as texts, once one of them has this text. */
  async rows(id, containing) {
    if (containing) await this.page.locator(`#${id} tr`).filter({ hasText: containing }).first().waitFor({ timeout: SOON_MS });
    const rows = await this.page.locator(`#${id} tr`).all();
    return Promise.all(rows.map((row) => row.locator("td, th").allTextContents()));
  }

  async isWiderThanScreen() {
    return this.page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
  }

  async picture(folder, name) {
    if (!folder) return;
    mkdirSync(folder, { recursive: true });
    await this.page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
  }
}

function atBrowser(scenario) {
  return async (inputs) => {
    const browser = await chromium.launch({ executablePath: inputs.chromiumPath, headless: true, ...CHROMIUM });
    try {
      return await scenario(browser, inputs);
    } finally {
      await browser.close();
    }
  };
}

export const report = ({ prompts, said, asked }) => ({ prompts, said, asked: [...asked] });

/** Has each of the scenarios run in a browser of its own. */
export function inBrowsers(scenarios) {
  return Object.fromEntries(Object.entries(scenarios).map(([name, scenario]) => [name, atBrowser(scenario)]));
}
