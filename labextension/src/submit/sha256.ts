/** SHA-256. Browsers have it only on pages that came over https or from the same machine. */

const ROUNDS = 64;

/** `sha256:` and 64 hex digits. */
export async function digestOf(data: Uint8Array<ArrayBuffer>): Promise<string> {
  const { subtle } = globalThis.crypto ?? {};
  const hash = subtle ? new Uint8Array(await subtle.digest('SHA-256', data)) : sha256(data);
  return `sha256:${[...hash].map(byte => byte.toString(16).padStart(2, '0')).join('')}`;
}

/** The same in plain arithmetic (FIPS 180-4), some 50 MB a second. */
export function sha256(data: Uint8Array): Uint8Array {
  const k = constants(3);
  const state = constants(2).slice(0, 8);
  const blocks = new Uint8Array(Math.ceil((data.length + 9) / 64) * 64);
  blocks.set(data);
  blocks[data.length] = 0x80;
  const view = new DataView(blocks.buffer);
  view.setUint32(blocks.length - 8, Math.floor(data.length / 2 ** 29));
  view.setUint32(blocks.length - 4, (data.length << 3) >>> 0);
  const w = new Uint32Array(ROUNDS);
  for (let at = 0; at < blocks.length; at += 64) {
    block(view, at, w, k, state);
  }
  const out = new DataView(new ArrayBuffer(32));
  state.forEach((word, index) => out.setUint32(index * 4, word));
  return new Uint8Array(out.buffer);
}

function block(view: DataView, at: number, w: Uint32Array, k: Uint32Array, state: Uint32Array): void {
  const turn = (x: number, n: number) => (x >>> n) | (x << (32 - n));
  for (let i = 0; i < ROUNDS; i++) {
    if (i < 16) {
      w[i] = view.getUint32(at + i * 4);
    } else {
      const s0 = turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ (w[i - 15] >>> 3);
      const s1 = turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ (w[i - 2] >>> 10);
      w[i] = w[i - 16] + s0 + w[i - 7] + s1;
    }
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let i = 0; i < ROUNDS; i++) {
    const s1 = turn(e, 6) ^ turn(e, 11) ^ turn(e, 25);
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + k[i] + w[i]) | 0;
    const s0 = turn(a, 2) ^ turn(a, 13) ^ turn(a, 22);
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((word, index) => (state[index] = (state[index] + word) | 0));
}

/** 32 bits of the fractions of the square (2) or cube (3) roots of the first primes. */
function constants(root: 2 | 3): Uint32Array {
  const found = new Uint32Array(ROUNDS);
  for (let candidate = 2, count = 0; count < ROUNDS; candidate++) {
    let prime = true;
    for (let factor = 2; factor * factor <= candidate; factor++) {
      prime &&= candidate % factor !== 0;
    }
    if (prime) {
      const value = root === 2 ? Math.sqrt(candidate) : Math.cbrt(candidate);
      found[count++] = Math.floor((value - Math.floor(value)) * 2 ** 32);
    }
  }
  return found;
}
