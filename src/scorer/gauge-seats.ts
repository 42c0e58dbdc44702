// Who has gauges when only so many series may have them. The choice depends on the claims and on nothing else: not on the
// order in which they are made, nor on who sat before, except as the claims say it. It holds as many claims as there are
// seats, in a heap whose root is the lowest: of a hundred thousand series nearly all are compared once and left.
//
//   flag up  >  seated, and its time is not over  >  the others          then by score, then by fingerprint

/** What a claim says first. */
export const STANDING = { other: 0, seated: 1, flagged: 2 } as const;

export interface Claim {
  standing: number;
  score: number;
  /** Halves of the fingerprint: they decide between equals. */
  high: number;
  low: number;
  partition: number;
  entry: number;
}

export class Seats {
  readonly #count: number;
  readonly #heap: Claim[] = [];

  constructor(count: number) {
    this.#count = count;
  }

  offer(claim: Claim): void {
    const heap = this.#heap;
    if (heap.length < this.#count) {
      heap.push(claim);
      this.#rise(heap.length - 1);
      return;
    }
    const lowest = heap[0];
    if (lowest === undefined || !isAbove(claim, lowest)) return;
    heap[0] = claim;
    this.#sink();
  }

  /** The highest first. */
  taken(): Claim[] {
    return [...this.#heap].sort((a, b) => (isAbove(a, b) ? -1 : 1));
  }

  #rise(from: number): void {
    const heap = this.#heap;
    const claim = heap[from] as Claim;
    let at = from;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isAbove(heap[parent] as Claim, claim)) break;
      heap[at] = heap[parent] as Claim;
      at = parent;
    }
    heap[at] = claim;
  }

  #sink(): void {
    const heap = this.#heap;
    const claim = heap[0] as Claim;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      const right = child + 1;
      if (right < heap.length && isAbove(heap[child] as Claim, heap[right] as Claim)) child = right;
      if (!isAbove(claim, heap[child] as Claim)) break;
      heap[at] = heap[child] as Claim;
      at = child;
    }
    heap[at] = claim;
  }
}

function isAbove(a: Claim, b: Claim): boolean {
  if (a.standing !== b.standing) return a.standing > b.standing;
  if (a.score !== b.score) return a.score > b.score;
  return a.high === b.high ? a.low < b.low : a.high < b.high;
}
