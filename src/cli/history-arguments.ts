// What the commands that read history share: durations as arguments, and the one line that shows how far they are.

export const DURATION = /^[0-9]+(ms|s|m|h|d|w)$/;

/** On standard error, written over, and only where a person looks at it. */
export function progressLine(): { draw: (share: number) => void; end: () => void } {
  const { stderr } = process;
  if (stderr.isTTY !== true) return { draw() {}, end() {} };
  return {
    draw: (share) => {
      stderr.write(`\r${Math.floor(100 * share)} % of the history read\u001b[K`);
    },
    end: () => {
      stderr.write('\r\u001b[K');
    },
  };
}
