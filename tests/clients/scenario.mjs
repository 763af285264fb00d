// How a script here is run: `node ethers.mjs transfer` takes its inputs as JSON from standard input, and prints as JSON what
// the scenario saw. Nothing here or in the scenarios knows this chain: they are what its users would write.
import process from "node:process";
import { text } from "node:stream/consumers";

export async function run(scenarios) {
  // The stack alone: a client's errors carry whole ABIs, which Node.js would print.
  process.on("uncaughtException", (error) => process.stderr.write(error.stack + "\n", () => process.exit(1)));
  console.log = console.error; // ethers remarks there on requests that its own end has cancelled.
  const inputs = JSON.parse(await text(process.stdin));
  const seen = await scenarios[process.argv[2]](inputs);
  const printed = JSON.stringify(seen, (_name, value) => (typeof value === "bigint" ? value.toString() : value));
  process.stdout.write(printed, () => process.exit(0)); // Timers and sockets of a client do not keep it alive.
}

// A module as the node publishes it: { module, address, abi }.
export async function published(url, module) {
  const answer = await fetch(`${url}/v1/abi/${module}`);
  if (!answer.ok) throw new Error(`${answer.status} for the ABI of ${module}`);
  return answer.json();
}

// What an error of a client says, for the tests to judge.
export async function refusal(action) {
  try {
    return { refused: false, result: await action() };
  } catch (error) {
    return { refused: true, code: error.code, name: error.name, reason: error.reason, message: error.message };
  }
}

export const seconds = (count) => new Promise((resolve) => setTimeout(resolve, count * 1000));

// Resolves once `condition` holds; fails after so many seconds.
export async function until(condition, what, limit = 90) {
  const end = Date.now() + limit * 1000;
  while (!condition()) {
    if (Date.now() > end) throw new Error(`${what}: not within ${limit} s`);
    await seconds(0.02);
  }
}
