import { describe, expect, it } from "vitest";
import { philox4x32, type PhiloxBlock, philoxKey, type PhiloxKey } from "../../src/diffusion/philox.ts";

describe("philox4x32", () => {
  // The known answers of the Random123 library for philox4x32, 10 rounds.
  const ones = 0xffffffff;
  const knownAnswers: [PhiloxBlock, PhiloxKey, PhiloxBlock][] = [
    [[0, 0, 0, 0], [0, 0], [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]],
    [[ones, ones, ones, ones], [ones, ones], [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd]],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ];
  it.each(knownAnswers)("counter %o, key %o gives %o", (counter, key, expected) => {
    expect(philox4x32(counter, key)).toEqual(expected);
  });

  it("agrees with the definition in whole-number arithmetic on other counters", () => {
    const word = 2n ** 32n;
    const definition = (counter: PhiloxBlock, key: PhiloxKey): number[] => {
      let [a, b, c, d] = counter.map(BigInt) as [bigint, bigint, bigint, bigint];
      let [k0, k1] = key.map(BigInt) as [bigint, bigint];
      for (let round = 0; round < 10; round++) {
        const first = 0xd2511f53n * a;
        const second = 0xcd9e8d57n * c;
        [a, b, c, d] = [(second / word) ^ b ^ k0, second % word, (first / word) ^ d ^ k1, first % word];
        [k0, k1] = [(k0 + 0x9e3779b9n) % word, (k1 + 0xbb67ae85n) % word];
      }
      return [a, b, c, d].map(Number);
    };
    let counter: PhiloxBlock = [1, 2, 3, 4];
    for (let i = 0; i < 500; i++) {
      const key: PhiloxKey = [counter[3], counter[0]];
      const next = philox4x32(counter, key);
      expect(next).toEqual(definition(counter, key));
      counter = next;
    }
  });
});

describe("philoxKey", () => {
  it("splits a seed into its low and high words", () => {
    expect(philoxKey(0)).toEqual([0, 0]);
    expect(philoxKey(0xffffffff)).toEqual([0xffffffff, 0]);
    expect(philoxKey(2 ** 32 + 7)).toEqual([7, 1]);
    expect(philoxKey(Number.MAX_SAFE_INTEGER)).toEqual([0xffffffff, 0x1fffff]);
  });

  it.each([-1, 0.5, NaN, Infinity, 2 ** 53])("refuses the seed %d", (seed) => {
    expect(() => philoxKey(seed)).toThrow(
      expect.objectContaining({ code: "INVALID_SEED", message: expect.stringContaining(String(seed)) as string }),
    );
  });
});
