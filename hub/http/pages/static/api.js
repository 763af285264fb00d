// The hub's API as this page uses it: like any other client, with a key.

export const ENDS = new Set(["done", "failed", "cancelled"]);
const RETRY_MS = 1_000;
const MOST_CHARACTERS = 8 * 1024 * 1024; // Of an event.

export class Refusal extends Error {}

export class Hub {
  #key;

  constructor(key) {
    this.#key = key;
  }

  /** What the hub answers; Refusal where it says no, with its own words. */
  async ask(method, path, body, headers = {}) {
    const answer = await this.#fetch(path, {
      method,
      headers: { "Content-Type": "application/json", ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const said = await answer.json().catch(() => ({}));
    if (answer.status === 401) throw new Refusal("The hub does not know this API key.");
    if (!answer.ok) throw new Refusal(said.detail || `the hub answered ${answer.status}`);
    return said;
  }

  /**
   * A job's events until its end, or until `signal` aborts; taken up again where a connection breaks off.
   *
   * Server-sent events over fetch: EventSource cannot send a key. `onTrouble` hears of each break.
   */
  async *events(jobId, signal, onTrouble) {
    let last = 0;
    while (!signal.aborted) {
      try {
        for await (const event of this.#stream(jobId, last, signal)) {
          if (event.sequence) last = event.sequence;
          yield event;
          if (ENDS.has(event.kind)) return;
        }
        if (ENDS.has((await this.ask("GET", `/v1/jobs/${jobId}`)).status)) return;
      } catch (error) {
        if (signal.aborted || error instanceof Refusal) throw error;
        onTrouble(error);
      }
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  async *#stream(jobId, last, signal) {
    const answer = await this.#fetch(`/v1/jobs/${jobId}/events`, { headers: { "Last-Event-ID": String(last) }, signal });
    if (!answer.ok) throw new Refusal(`the hub answered ${answer.status}`);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      text += value;
      if (text.length > MOST_CHARACTERS) throw new Refusal("the hub sends an event without end");
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const data = text.slice(0, end).split("\n").find((line) => line.startsWith("data: "));
        text = text.slice(end + 2);
        if (data) yield JSON.parse(data.slice(6));
      }
    }
  }

  #fetch(path, { headers, ...options }) {
    return fetch(path, { ...options, headers: { Authorization: `Bearer ${this.#key}`, ...headers } });
  }
}
