/** The last lines of a byte stream, cheap for any size of stream and any length of line. */
export class LogTail {
  /** Keeps at most `maxChars` characters. */
  constructor(private _maxChars: number) {}

  /** Takes the next bytes. */
  push(data: Uint8Array): void {
    this._append(this._decoder.decode(data, { stream: true }));
  }

  /** Begins anew in the middle of the stream, where the bytes before were not read. */
  skip(): void {
    this._decoder = new TextDecoder();
    this._text = '';
    this._cut = true;
  }

  /** Whether the beginning is not here. */
  get isCut(): boolean {
    return this._cut;
  }

  /** The last `count` lines, as a terminal would show them. */
  lines(count = Infinity): string[] {
    const lines = this._text.split('\n');
    if (lines[lines.length - 1] === '') {
      lines.pop();
    }
    if (this._cut && lines.length > 1) {
      lines.shift(); // its beginning is not there
    }
    return lines.slice(-count).map(shown);
  }

  private _append(text: string): void {
    this._text += text;
    if (this._text.length > this._maxChars) {
      this._text = this._text.slice(-this._maxChars);
      this._cut = true;
    }
  }

  private _decoder = new TextDecoder();
  private _text = '';
  private _cut = false;
}

/** A line after its carriage returns: each begins the line anew, as progress bars do. */
function shown(line: string): string {
  const parts = line.replace(/\r+$/, '').split('\r');
  return parts[parts.length - 1];
}
