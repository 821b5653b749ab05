/**
 * Numbers as they were typed: pure.
 *
 * A browser has one kind of number, so that `1.0` and `1e5` become whole and 9007199254740993 another. Where that would change one,
 * it is kept as marked text and written out as it was typed when it is sent.
 */
const MARK = '\u0000number ';
const WRITTEN = /"\\u0000number (-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"/g;

/** A JSON number, exactly as it is written. */
export function exact(digits: string): number | string {
  return String(Number(digits)) === digits ? Number(digits) : MARK + digits;
}

/** What {@link exact} made of it, in JSON. */
export function sentAs(value: unknown): string {
  return JSON.stringify(value).replace(WRITTEN, '$1');
}
