import { SinterError } from "../errors.ts";

/**
 * A reader of Python pickles (protocols 2 to 5, the binary opcodes) that executes nothing. Python's own reader calls
 * whatever function a pickle names; here a name is first looked up by the caller, who either refuses it or gives a
 * harmless stand-in. Python values become: None null, bool boolean, int number or bigint, float number, str string,
 * bytes Uint8Array, list array, tuple `PickleTuple`, dict Map, set Set.
 */

/** A Python tuple; arrays are lists. */
export class PickleTuple {
  readonly items: readonly unknown[];

  constructor(items: readonly unknown[]) {
    this.items = items;
  }
}

/** A Python function or class that a pickle names, with the stand-in that is called in its place. */
export class PickleGlobal {
  readonly module: string;
  readonly name: string;
  readonly call: (args: readonly unknown[]) => unknown;

  constructor(module: string, name: string, call: (args: readonly unknown[]) => unknown) {
    this.module = module;
    this.name = name;
    this.call = call;
  }
}

/** What the reader asks its caller. */
export interface PickleHost {
  /** For messages: the file, and the part of it. */
  readonly where: string;
  /** Gives the stand-in for `module.name`, or throws. */
  findGlobal(module: string, name: string): PickleGlobal;
  /** Gives the object for a persistent id (PyTorch: a storage), or throws. */
  loadPersistent(id: unknown): unknown;
}

/**
 * Reads the pickle that begins at byte `start`.
 * @returns the value, and the byte after the pickle.
 * @throws SinterError `CORRUPT_CHECKPOINT` for anything malformed, and whatever the host throws.
 */
export function readPickle(bytes: Uint8Array, start: number, host: PickleHost): { value: unknown; end: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let position = start;
  let stack: unknown[] = [];
  const outerStacks: unknown[][] = [];
  const memo = new Map<number, unknown>();

  const corrupt = (message: string, cause?: unknown): SinterError =>
    new SinterError("CORRUPT_CHECKPOINT", `${host.where}: the pickle is damaged at byte ${position}: ${message}`, {
      where: host.where,
      ...(cause === undefined ? {} : { cause }),
    });
  const advance = (count: number): number => {
    if (count > bytes.byteLength - position) throw corrupt("it ends in the middle of a value.");
    const at = position;
    position += count;
    return at;
  };
  const readUint8 = (): number => view.getUint8(advance(1));
  const readUint32 = (): number => view.getUint32(advance(4), true);
  const readLength64 = (): number => {
    const length = view.getBigUint64(advance(8), true);
    if (length > BigInt(bytes.byteLength)) throw corrupt(`a value is declared as ${length} bytes long.`);
    return Number(length);
  };
  const readBytes = (length: number): Uint8Array => {
    const at = advance(length);
    return bytes.subarray(at, at + length);
  };
  const readText = (length: number): string => {
    const text = readBytes(length);
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(text);
    } catch (cause) {
      throw corrupt("a string is not UTF-8.", cause);
    }
  };
  const readLine = (): string => {
    const end = bytes.indexOf(0x0a, position);
    if (end < 0) throw corrupt("a line has no end.");
    const line = readText(end - position);
    position = end + 1;
    return line;
  };
  /** A two's complement little-endian integer; longer ones than weights ever need would only cost time. */
  const readLong = (length: number): number | bigint => {
    if (length > 1024) throw corrupt(`an integer is declared as ${length} bytes long.`);
    let value = 0n;
    for (const byte of readBytes(length).toReversed()) value = (value << 8n) | BigInt(byte);
    value = BigInt.asIntN(8 * length, value);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  };

  const pop = (): unknown => {
    if (stack.length === 0) throw corrupt("it takes a value from an empty stack.");
    return stack.pop();
  };
  const top = (): unknown => {
    if (stack.length === 0) throw corrupt("it reads an empty stack.");
    return stack.at(-1);
  };
  const popTuple = (): PickleTuple => {
    const value = pop();
    if (!(value instanceof PickleTuple)) throw corrupt("arguments are not a tuple.");
    return value;
  };
  const popMark = (): unknown[] => {
    const outer = outerStacks.pop();
    if (outer === undefined) throw corrupt("a mark is missing.");
    const items = stack;
    stack = outer;
    return items;
  };
  const popTupleOf = (count: number): PickleTuple => {
    if (stack.length < count) throw corrupt("a tuple takes more values than there are.");
    return new PickleTuple(stack.splice(stack.length - count));
  };
  const setItems = (items: unknown[]): void => {
    const target = top();
    if (!(target instanceof Map)) throw corrupt("items are set on what is not a dict.");
    if (items.length % 2 !== 0) throw corrupt("a key has no value.");
    for (let i = 0; i < items.length; i += 2) target.set(items[i], items[i + 1]);
  };
  const appendItems = (items: unknown[]): void => {
    const target = top();
    if (!Array.isArray(target)) throw corrupt("items are appended to what is not a list.");
    for (const item of items) target.push(item);
  };
  const addItems = (items: unknown[]): void => {
    const target = top();
    if (!(target instanceof Set)) throw corrupt("items are added to what is not a set.");
    for (const item of items) target.add(item);
  };
  const recall = (index: number): unknown => {
    if (!memo.has(index)) throw corrupt(`it recalls value ${index}, which was never stored.`);
    return memo.get(index);
  };
  const callGlobal = (args: PickleTuple): unknown => {
    const callee = pop();
    if (!(callee instanceof PickleGlobal)) throw corrupt("it calls what is not a function.");
    return callee.call(args.items);
  };

  for (;;) {
    const opcode = readUint8();
    switch (opcode) {
      case 0x80: { // PROTO
        const protocol = readUint8();
        if (protocol > 5) throw corrupt(`pickle protocol ${protocol} is unknown.`);
        break;
      }
      case 0x95: // FRAME: a hint for buffering
        readLength64();
        break;
      case 0x2e: // STOP
        return { value: pop(), end: position };
      case 0x28: // MARK
        outerStacks.push(stack);
        stack = [];
        break;
      case 0x30: // POP
        if (stack.length > 0) stack.pop();
        else popMark();
        break;
      case 0x31: // POP_MARK
        popMark();
        break;
      case 0x32: // DUP
        stack.push(top());
        break;

      case 0x4e: // NONE
        stack.push(null);
        break;
      case 0x88: // NEWTRUE
        stack.push(true);
        break;
      case 0x89: // NEWFALSE
        stack.push(false);
        break;
      case 0x4a: // BININT
        stack.push(view.getInt32(advance(4), true));
        break;
      case 0x4b: // BININT1
        stack.push(readUint8());
        break;
      case 0x4d: // BININT2
        stack.push(view.getUint16(advance(2), true));
        break;
      case 0x8a: // LONG1
        stack.push(readLong(readUint8()));
        break;
      case 0x8b: // LONG4
        stack.push(readLong(readUint32()));
        break;
      case 0x47: // BINFLOAT, big-endian
        stack.push(view.getFloat64(advance(8), false));
        break;

      case 0x58: // BINUNICODE
      case 0x54: // BINSTRING, from Python 2
        stack.push(readText(readUint32()));
        break;
      case 0x8c: // SHORT_BINUNICODE
      case 0x55: // SHORT_BINSTRING, from Python 2
        stack.push(readText(readUint8()));
        break;
      case 0x8d: // BINUNICODE8
        stack.push(readText(readLength64()));
        break;
      case 0x42: // BINBYTES
        stack.push(readBytes(readUint32()));
        break;
      case 0x43: // SHORT_BINBYTES
        stack.push(readBytes(readUint8()));
        break;
      case 0x8e: // BINBYTES8
      case 0x96: // BYTEARRAY8
        stack.push(readBytes(readLength64()));
        break;

      case 0x5d: // EMPTY_LIST
        stack.push([]);
        break;
      case 0x61: // APPEND
        appendItems([pop()]);
        break;
      case 0x65: // APPENDS
        appendItems(popMark());
        break;
      case 0x6c: // LIST
        stack.push(popMark());
        break;
      case 0x29: // EMPTY_TUPLE
        stack.push(new PickleTuple([]));
        break;
      case 0x85: // TUPLE1
        stack.push(popTupleOf(1));
        break;
      case 0x86: // TUPLE2
        stack.push(popTupleOf(2));
        break;
      case 0x87: // TUPLE3
        stack.push(popTupleOf(3));
        break;
      case 0x74: { // TUPLE
        const items = popMark();
        stack.push(new PickleTuple(items));
        break;
      }
      case 0x7d: // EMPTY_DICT
        stack.push(new Map());
        break;
      case 0x64: { // DICT
        const items = popMark();
        stack.push(new Map());
        setItems(items);
        break;
      }
      case 0x73: { // SETITEM
        const value = pop();
        setItems([pop(), value]);
        break;
      }
      case 0x75: // SETITEMS
        setItems(popMark());
        break;
      case 0x8f: // EMPTY_SET
        stack.push(new Set());
        break;
      case 0x90: // ADDITEMS
        addItems(popMark());
        break;
      case 0x91: { // FROZENSET
        const items = popMark();
        stack.push(new Set(items));
        break;
      }

      case 0x71: // BINPUT
        memo.set(readUint8(), top());
        break;
      case 0x72: // LONG_BINPUT
        memo.set(readUint32(), top());
        break;
      case 0x94: // MEMOIZE
        memo.set(memo.size, top());
        break;
      case 0x68: // BINGET
        stack.push(recall(readUint8()));
        break;
      case 0x6a: // LONG_BINGET
        stack.push(recall(readUint32()));
        break;

      case 0x63: { // GLOBAL
        const module = readLine();
        stack.push(host.findGlobal(module, readLine()));
        break;
      }
      case 0x93: { // STACK_GLOBAL
        const name = pop();
        const module = pop();
        if (typeof module !== "string" || typeof name !== "string") throw corrupt("a function's name is not text.");
        stack.push(host.findGlobal(module, name));
        break;
      }
      case 0x69: { // INST: names a class and makes an instance of it
        const module = readLine();
        const found = host.findGlobal(module, readLine());
        stack.push(found.call(popMark()));
        break;
      }
      case 0x52: // REDUCE
      case 0x81: // NEWOBJ
        stack.push(callGlobal(popTuple()));
        break;
      case 0x92: // NEWOBJ_EX: the keyword arguments on top matter to no stand-in
        pop();
        stack.push(callGlobal(popTuple()));
        break;
      case 0x62: // BUILD: an object's attributes; no value here has any
        pop();
        top();
        break;
      case 0x51: // BINPERSID
        stack.push(host.loadPersistent(pop()));
        break;

      default:
        throw corrupt(`opcode 0x${opcode.toString(16).padStart(2, "0")} is unknown or not used for weights.`);
    }
  }
}
