// Amounts are whole atoms, 10^18 to an AIT, and never floating-point numbers.

const DIGITS = 18;

/** Atoms as AIT. */
export function ait(atoms) {
  const digits = String(BigInt(atoms)).padStart(DIGITS + 1, "0");
  const fraction = digits.slice(-DIGITS).replace(/0+$/, "");
  return digits.slice(0, -DIGITS) + (fraction ? `.${fraction}` : "");
}

/** AIT as atoms; RangeError for what is no amount. */
export function atoms(text) {
  const found = /^(\d{1,30})(?:\.(\d{1,18}))?$/.exec(text.trim());
  if (!found) throw new RangeError("an amount is a number such as 1.5, with at most 18 decimal places");
  return String(BigInt(found[1] + (found[2] ?? "").padEnd(DIGITS, "0")));
}
