/** Small ICC v2 profiles for the tests, so that no profile made by others is in the repository. */

type Space = "RGB " | "GRAY";

function text(value: string): Buffer {
  const body = Buffer.alloc(12 + value.length + 1 + 79);
  body.write("desc", 0, "latin1");
  body.writeUInt32BE(value.length + 1, 8);
  body.write(value, 12, "latin1");
  return body;
}

function xyz(x: number, y: number, z: number): Buffer {
  const body = Buffer.alloc(20);
  body.write("XYZ ", 0, "latin1");
  for (const [index, value] of [x, y, z].entries()) body.writeInt32BE(Math.round(value * 65536), 8 + 4 * index);
  return body;
}

function gamma(exponent: number): Buffer {
  const body = Buffer.alloc(16);
  body.write("curv", 0, "latin1");
  body.writeUInt32BE(1, 8);
  body.writeUInt16BE(Math.round(exponent * 256), 12);
  return body;
}

function profile(space: Space, tags: [string, Buffer][]): Buffer {
  const table = Buffer.alloc(4 + 12 * tags.length);
  table.writeUInt32BE(tags.length, 0);
  let offset = 128 + table.length;
  for (const [index, [name, body]] of tags.entries()) {
    table.write(name, 4 + 12 * index, "latin1");
    table.writeUInt32BE(offset, 8 + 12 * index);
    table.writeUInt32BE(body.length, 12 + 12 * index);
    offset += body.length;
  }
  const header = Buffer.alloc(128);
  header.writeUInt32BE(offset, 0);
  header.writeUInt32BE(0x02100000, 8);
  header.write("mntr", 12, "latin1");
  header.write(space, 16, "latin1");
  header.write("XYZ ", 20, "latin1");
  header.writeUInt16BE(2000, 24);
  header.writeUInt16BE(1, 26);
  header.writeUInt16BE(1, 28);
  header.write("acsp", 36, "latin1");
  xyz(0.9642, 1, 0.8249).copy(header, 68, 8);
  return Buffer.concat([header, table, ...tags.map(([, body]) => body)]);
}

/** A wide RGB space (the primaries of Adobe RGB, adapted to D50) with the exponent 2.2. */
export function wideProfile(): Buffer {
  return profile("RGB ", [
    ["desc", text("test wide RGB ")],
    ["wtpt", xyz(0.9642, 1, 0.8249)],
    ["rXYZ", xyz(0.60974, 0.31111, 0.01947)],
    ["gXYZ", xyz(0.20528, 0.62567, 0.06087)],
    ["bXYZ", xyz(0.14919, 0.06322, 0.74457)],
    ["rTRC", gamma(2.2)],
    ["gTRC", gamma(2.2)],
    ["bTRC", gamma(2.2)],
  ]);
}

/** A grey space with the exponent 1.8. */
export function greyProfile(): Buffer {
  return profile("GRAY", [
    ["desc", text("test grey 1.8   ")],
    ["wtpt", xyz(0.9642, 1, 0.8249)],
    ["kTRC", gamma(1.8)],
  ]);
}
