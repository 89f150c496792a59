const never = new Int32Array(new SharedArrayBuffer(4));
const NAP_MILLISECONDS = 1;

let waits = 0;
let napping = false;

function nap(): void {
  napping = waits > 0;
  if (!napping) return;
  Atomics.wait(never, 0, 0, NAP_MILLISECONDS);
  setImmediate(nap);
}

/**
 * Waits for a promise of Dawn's. Its Node binding asks for news in every turn of the event loop and so keeps a core busy, which a software
 * adapter needs for itself: on two cores it is nearly twice as fast when the loop naps for a millisecond a turn. Timers and input are
 * still served in every turn.
 */
export async function waitQuietly<T>(work: Promise<T>): Promise<T> {
  waits++;
  if (!napping) {
    napping = true;
    setImmediate(nap);
  }
  try {
    return await work;
  } finally {
    waits--;
  }
}
