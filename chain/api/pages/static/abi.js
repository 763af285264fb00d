// Call data of functions whose parameters are integers, addresses and truth values: what the market's calls take.
// `described` is { name, selector, parameters: [{ name, type }] }, as the page's settings have it; values are BigInts,
// 0x texts, booleans.

const WORD_DIGITS = 64;

function wordOf(type, value) {
  if (type === "bool" && typeof value === "boolean") {
    return (value ? 1n : 0n).toString(16);
  }
  if (type === "address" && /^0x[0-9a-f]{40}$/i.test(value)) {
    return value.slice(2).toLowerCase();
  }
  const bits = bitsOf(type);
  if (bits !== null && typeof value === "bigint" && value >= 0n && value >> BigInt(bits) === 0n) {
    return value.toString(16);
  }
  throw new RangeError(`${String(value)} is no ${type}`);
}

function bitsOf(type) {
  const match = /^uint(\d{1,3})$/.exec(type);
  const bits = match === null ? 0 : Number(match[1]);
  return bits >= 8 && bits <= 256 && bits % 8 === 0 ? bits : null;
}

function valueOf(type, word) {
  const number = BigInt(`0x${word}`);
  if (type === "bool" && number < 2n) {
    return number === 1n;
  }
  if (type === "address" && number >> 160n === 0n) {
    return `0x${word.slice(24)}`;
  }
  const bits = bitsOf(type);
  if (bits !== null && number >> BigInt(bits) === 0n) {
    return number;
  }
  throw new RangeError(`the call data has no ${type} where it should have one`);
}

/** The 0x text of a call. Throws RangeError for a value outside its type, or too few or many. */
export function encodeCall(described, values) {
  if (values.length !== described.parameters.length) {
    throw new RangeError(`${described.name} takes ${described.parameters.length} values`);
  }
  const words = described.parameters.map(({ type }, at) => wordOf(type, values[at]).padStart(WORD_DIGITS, "0"));
  return described.selector + words.join("");
}

/** A call's values by their names. Throws RangeError where the data is not exactly a call of that function. */
export function decodeCall(described, data) {
  const { selector, parameters } = described;
  const length = selector.length + parameters.length * WORD_DIGITS;
  if (data.length !== length || !data.startsWith(selector) || !/^0x[0-9a-f]*$/.test(data)) {
    throw new RangeError(`this is no call of ${described.name}`);
  }
  return Object.fromEntries(
    parameters.map(({ name, type }, at) => {
      const from = selector.length + at * WORD_DIGITS;
      return [name, valueOf(type, data.slice(from, from + WORD_DIGITS))];
    }),
  );
}
