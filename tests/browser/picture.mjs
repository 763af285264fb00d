// A person with a browser who wants a picture: `node picture.mjs draw` opens a page in Chromium, clicks, and prints what came.

import { chromium } from "playwright-core";
import { run } from "../clients/scenario.mjs";

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

async function draw({ chromiumPath, pageUrl }) {
  const browser = await chromium.launch({ executablePath: chromiumPath, headless: true, ...CHROMIUM });
  try {
    const page = await browser.newPage();
    const said = [];
    page.on("console", (message) => said.push(message.text()));
    page.on("pageerror", (error) => said.push(String(error)));
    await page.goto(pageUrl);
    await page.waitForSelector("body[data-ready]", { timeout: 20_000 });
    await page.click("#draw");
    await page.waitForFunction(() => document.getElementById("outcome").textContent !== "", null, { timeout: OUTCOME_MS });
    const outcome = JSON.parse(await page.textContent("#outcome"));
    const drawn = await page.getAttribute("#picture", "src");
    return { said, outcome, drawn };
  } finally {
    await browser.close();
  }
}

await run({ draw });
