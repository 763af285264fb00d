// What goes wrong between a person, their wallet, the page and its node: `node exchange_trouble.mjs SCENARIO`.

import { connect as dial, createServer } from "node:net";
import { run } from "../clients/scenario.mjs";
import { Person, SOON_MS, inBrowsers, report } from "./exchange_person.mjs";

const ORDER = { side: "Buy", quantity: "1", price: "0.05" };

/** Somebody who says no to their wallet: to the connection, to the network, to the signature; and in the end yes. */
async function declining(browser, { pageUrl, key }) {
  const person = await Person.arrive(browser, pageUrl, key);
  const { page, declined } = person;
  const outcomes = [];
  await person.fill(ORDER);
  for (const method of ["eth_requestAccounts", "wallet_addEthereumChain", "eth_sendTransaction"]) {
    declined.add(method);
    await person.submit();
    if (method === "eth_sendTransaction") {
      await person.told();
      await page.getByRole("button", { name: "Sign in wallet" }).click();
    }
    outcomes.push(await person.outcome(/declined/));
    declined.clear();
    await page.reload(); // Nothing of it stays.
    await person.fill(ORDER);
  }
  await person.submit();
  await person.told();
  outcomes.push(await person.sign());
  return { outcomes, ...report(person) };
}

/** Somebody whose wallet goes to another chain, to another account, and away, while the page is open. */
async function changing(browser, { pageUrl, key, otherKey }) {
  const person = await Person.arrive(browser, pageUrl, key);
  const { page, wallet } = person;
  const inWallet = (event, detail) => page.evaluate(([name, what]) => dispatchEvent(new CustomEvent(name, { detail: what })), [event, detail]);
  await person.connect();
  const first = await page.locator("#connected").getAttribute("title");
  await inWallet("wallet:chain", "0x1");
  await person.fill(ORDER);
  await person.submit();
  await person.told();
  const fromOtherChain = await person.sign();
  await person.rows("orders", "buy");

  await person.submit();
  await person.told();
  wallet.use(otherKey);
  const other = await page.evaluate(() => walletPrompt("eth_accounts", []));
  await inWallet("wallet:accounts", other);
  await page.getByRole("dialog").waitFor({ state: "hidden" });
  const changed = await person.outcome(/another account/);
  const second = await page.locator("#connected").getAttribute("title");
  await page.locator("#no-orders").waitFor({ timeout: SOON_MS });
  await inWallet("wallet:accounts", []);
  await page.getByRole("button", { name: "Connect wallet" }).waitFor();
  const isAnythingLeft = await page.locator("#balances li").count();
  return { first, second, fromOtherChain, changed, isAnythingLeft, ...report(person) };
}

/** Wallets that announce anything, and answer anything. */
async function wallets(browser, { pageUrl, chainId, reasons }) {
  const person = await Person.arrive(browser, pageUrl, null);
  const { page } = person;
  await page.evaluate((chain) => {
    const announce = (detail) => dispatchEvent(new CustomEvent("eip6963:announceProvider", { detail }));
    const answering = (answers) => ({ request: async ({ method }) => answers[method] });
    const named = (name, provider, icon = "") => announce({ info: { uuid: name, name, icon }, provider });
    const account = `0x${"12".repeat(20)}`;
    const provider = answering({});
    for (const detail of [null, 7, {}, { info: null, provider }, { info: { uuid: 1, name: "n" }, provider }, { info: { uuid: "u", name: {} }, provider }]) {
      announce(detail);
    }
    announce({ info: { uuid: "no provider", name: "no provider" }, provider: { request: "no function" } });
    named("<img src=x onerror=alert(1)>", answering({ eth_requestAccounts: ["<b>me</b>"] }), "javascript:alert(1)");
    named("silent", provider, "https://icons.example/a.png");
    named("stubborn", answering({ eth_requestAccounts: [account], eth_chainId: "0x1", wallet_switchEthereumChain: null }));
    named("garbled", answering({ eth_requestAccounts: [account], eth_chainId: "<b>one</b>" }));
    named("wordy", { request: () => Promise.reject({ code: -32603, message: `<b>${"no".repeat(9_999)}</b>` }) });
    named("wordless", { request: () => Promise.reject(null) });
    named("busy", { request: () => Promise.reject({ code: -32002, message: "" }) });
    named("odd", answering({ eth_requestAccounts: [account.toUpperCase().replace("X", "x")], eth_chainId: `0x000${chain.toUpperCase().slice(2)}` }));
    for (let number = 0; number < 40; number += 1) named(`wallet ${number} ${"W".repeat(9_999)}`, provider);
  }, chainId);
  const outcomes = {};
  let offered = [];
  for (const [name, expected] of Object.entries(reasons)) {
    await page.getByRole("button", { name: "Connect wallet" }).click();
    const list = page.locator("#wallet-list");
    offered = await list.locator("button").allTextContents();
    await list.getByRole("button", { name, exact: true }).click();
    outcomes[name] = await person.outcome(new RegExp(expected));
  }
  const pictures = await page.locator("#wallet-list img").count();
  const markup = await page.locator("#wallet-list b, #outcome b, #outcome img").count();
  await page.getByRole("button", { name: "Connect wallet" }).click();
  await page.locator("#wallet-list").getByRole("button", { name: "odd", exact: true }).click();
  await page.getByRole("button", { name: "Disconnect" }).waitFor({ timeout: SOON_MS });
  const connected = await page.locator("#connected").getAttribute("title");
  return { offered, outcomes, pictures, markup, connected, ...report(person) };
}

/** A node, or what stands before it, that answers anything. The page says that it is not up to date, and goes on. */
async function answers(browser, { pageUrl, key }) {
  const hostile = '<img src="x" onerror="alert(1)">';
  const person = await Person.arrive(browser, pageUrl, key);
  const { page } = person;
  await page.locator("#live").filter({ hasText: /^Live$/ }).waitFor({ timeout: SOON_MS });
  const bodies = [
    "",
    "null",
    "[]",
    "{",
    JSON.stringify({ detail: hostile }),
    JSON.stringify({ bids: [{ price: hostile, lots: "1", order_count: hostile }], asks: [], height: hostile }),
    JSON.stringify({ items: [{ id: hostile, price: "1e9", lots: -1, taker_side: hostile, time_ms: hostile }], status: hostile }),
    JSON.stringify({ candles: [{ time_ms: "now", open: hostile }], last: hostile, status: {}, maker_fee: hostile }),
  ];
  const told = [];
  for (const body of bodies) {
    for (const status of [200, 503]) {
      await page.route(/\/v1\/(markets|accounts|orders)/, (route) => route.fulfill({ status, contentType: "application/json", body }));
      await page.route(/\/rpc$/, (route) => route.fulfill({ status, contentType: "application/json", body }));
      // Each stream ends at once, comes again, and each time everything is asked for anew.
      await page.route(/\/v1\/stream/, (route) =>
        route.fulfill({ status: 200, contentType: "text/event-stream", body: `retry: 50\nevent: trade\ndata: ${body}\n\nevent: block\ndata: {\n\n` }),
      );
      await page.goto(pageUrl);
      const live = page.locator("#live").filter({ hasText: "Not up to date" });
      await live.waitFor({ timeout: SOON_MS });
      told.push(await live.textContent());
      await person.connect();
      await person.fill(ORDER);
      await person.submit();
      await page.locator("#outcome p.failed").waitFor({ timeout: SOON_MS });
      told.push(await page.locator("#outcome p.failed").first().textContent());
      await page.unrouteAll({ behavior: "wait" });
    }
  }
  const images = await page.locator("main img").count();
  await page.goto(pageUrl);
  await page.locator("#live").filter({ hasText: /^Live$/ }).waitFor({ timeout: SOON_MS });
  return { told, images, ...report(person) };
}

/** A cable that can be pulled out: carries what comes to its port to the node's. */
class Cable {
  #sockets = new Set();
  #server = null;
  #port = 0;

  constructor(url) {
    this.target = Number(new URL(url).port);
  }

  async plugIn() {
    this.#server = createServer((near) => {
      const far = dial(this.target, "127.0.0.1");
      for (const [from, to] of [[near, far], [far, near]]) {
        this.#sockets.add(from);
        from.on("error", () => to.destroy());
        from.on("close", () => this.#sockets.delete(from));
        from.pipe(to);
      }
    });
    await new Promise((resolve) => this.#server.listen(this.#port, "127.0.0.1", resolve));
    this.#port = this.#server.address().port;
    return `http://127.0.0.1:${this.#port}`;
  }

  async pull() {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}

/** Somebody whose connection breaks, while another, who has one, places an order. */
async function disconnected(browser, { pageUrl, key, otherKey }) {
  const cable = new Cable(pageUrl);
  const near = await cable.plugIn();
  const person = await Person.arrive(browser, near + new URL(pageUrl).pathname, key);
  const other = await Person.arrive(browser, pageUrl, otherKey);
  const live = person.page.locator("#live");
  await person.connect();
  await live.filter({ hasText: /^Live$/ }).waitFor({ timeout: SOON_MS });
  await cable.pull();
  await live.filter({ hasText: /^Not / }).waitFor({ timeout: SOON_MS });
  await person.fill(ORDER);
  await person.submit();
  const refused = await person.outcome(/reached/);
  await other.fill({ ...ORDER, side: "Sell", price: "0.099" });
  await other.submit();
  await other.told();
  const placed = await other.sign();
  const before = await person.page.locator("#asks").textContent();
  await cable.plugIn();
  await live.filter({ hasText: /^Live$/ }).waitFor({ timeout: SOON_MS });
  const after = await person.rows("asks", "0.099");
  return { refused, placed, before, after };
}

/** Somebody for whom the node has no stream left: the page asks now and then instead. */
async function crowded(browser, { pageUrl, key }) {
  const person = await Person.arrive(browser, pageUrl, key);
  await person.page.locator("#live").filter({ hasText: /^Not live/ }).waitFor({ timeout: SOON_MS });
  await person.fill({ ...ORDER, price: "0.031" });
  await person.submit();
  await person.told();
  const placed = await person.sign();
  return { placed, bids: await person.rows("bids", "0.031"), ...report(person) };
}

await run(inBrowsers({ declining, changing, wallets, answers, disconnected, crowded }));
