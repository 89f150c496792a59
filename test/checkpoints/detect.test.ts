import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { detectModel } from "../../src/checkpoints/detect.ts";
import { expectedMaskDifuserTensors, maskDifuserFormat, type MaskDifuserConfig } from "../../src/checkpoints/mask-difuser-format.ts";
import { readCheckpoint } from "../../src/checkpoints/read.ts";
import { expectedRefusionTensors } from "../../src/checkpoints/refusion-format.ts";
import type { RefusionConfig } from "../../src/checkpoints/refusion-format.ts";
import { elementCount } from "../../src/checkpoints/tensor.ts";
import type { StoredTensor } from "../../src/checkpoints/tensor.ts";
import type { MaskDifuserConfig as NetworkConfig } from "../../src/models/mask-difuser/network.ts";
import { syntheticCheckpoint, withConvolutionAliases } from "./synthetic.ts";

const published: RefusionConfig = { dim: 16, encoderBlocks: 2, decoderBlocks: 2, heads: 8, expansion: 2, bias: false };
const official = join(process.cwd(), "../shared/data/weights/refusion");
const maskDifuser = join(process.cwd(), "../shared/golden/mask_difuser");

const parameters = (tensors: ReadonlyMap<string, StoredTensor>): number =>
  [...tensors.values()].reduce((sum, { shape }) => sum + elementCount(shape), 0);

/** One variant of the state_keys.json of the goldens. */
interface StateKeys {
  config: { T: number; ch: number; ch_mult: number[]; attn: number[]; num_res_blocks: number };
  keys: Record<string, { shape: number[]; kind: string }>;
}

describe("ReFusion", () => {
  it("has 86 tensors and 59,856 parameters as published", () => {
    const shapes = [...expectedRefusionTensors(published).values()];
    expect(shapes.length).toBe(86);
    expect(shapes.reduce((sum, shape) => sum + elementCount(shape), 0)).toBe(59_856);
  });

  it.each<RefusionConfig>([
    published,
    { dim: 8, encoderBlocks: 1, decoderBlocks: 3, heads: 2, expansion: 1.5, bias: false },
    { dim: 24, encoderBlocks: 11, decoderBlocks: 1, heads: 4, expansion: 4, bias: true },
  ])("the configuration is inferred from shapes: %j", (config) => {
    const expected = expectedRefusionTensors(config);
    const detected = detectModel(withConvolutionAliases(syntheticCheckpoint(expected)), "x.pth");
    expect(detected).toMatchObject({ model: "refusion", config });
    expect([...detected.tensors.keys()]).toEqual([...expected.keys()]);
    expect(detected.aliases["encoder1.0.attn.qkv.conv.weight"]).toBe("encoder1.0.attn.qkv.weight");
    expect(Object.keys(detected.aliases).length).toBe([...expected.values()].filter((shape) => shape.length === 4).length);
  });

  it("loads when convolutions are stored once, under either name", () => {
    const once = syntheticCheckpoint(expectedRefusionTensors(published));
    expect(detectModel(once, "x")).toMatchObject({ model: "refusion", aliases: {} });
    const inner = withConvolutionAliases(once);
    for (const [name, { shape }] of once.tensors) if (shape.length === 4) inner.tensors.delete(name);
    expect([...detectModel(inner, "x").tensors.keys()]).toEqual([...once.tensors.keys()]);
  });

  it("one error lists what is missing, unexpected, of the wrong shape, and stored twice with different values", () => {
    const checkpoint = withConvolutionAliases(syntheticCheckpoint(expectedRefusionTensors(published)));
    const { tensors } = checkpoint;
    tensors.delete("FM.temperature2");
    tensors.set("head.weight", { elementType: "F32", shape: [1], bytes: new Uint8Array(4) });
    tensors.set("FM.temperature1", { elementType: "F32", shape: [4, 1, 1], bytes: new Uint8Array(16) });
    tensors.set("project_out_1.conv.weight", { elementType: "F32", shape: [1, 16, 3, 3], bytes: new Uint8Array(576) });
    expect(() => detectModel(checkpoint, "mine.pth")).toThrow(
      expect.objectContaining({
        code: "WEIGHTS_MISMATCH",
        where: "mine.pth",
        message: expect.stringMatching(
          /1 missing: FM\.temperature2; 1 unexpected: head\.weight; 1 of the wrong shape: FM\.temperature1 \(expected \[8, 1, 1\], found \[4, 1, 1\]\); 1 stored twice with different values: project_out_1\.weight and project_out_1\.conv\.weight/,
        ),
      }),
    );
  });

  it("the configuration in the metadata is used and checked", () => {
    const config = { ...published, encoderBlocks: 1 };
    const { tensors } = syntheticCheckpoint(expectedRefusionTensors(config));
    const stating = (text: string) => () => detectModel({ tensors, metadata: { model: "refusion", config: text } }, "x");
    expect(stating(JSON.stringify(config))()).toMatchObject({ model: "refusion", config });
    expect(stating(JSON.stringify(published))).toThrow(/22 missing: encoder1\.1\.norm1/);
    for (const text of ["{", "[]", '{"dim":16}', JSON.stringify({ ...config, encoderBlocks: 1e9 }), JSON.stringify({ ...config, heads: 3 })]) {
      expect(stating(text)).toThrow(expect.objectContaining({ code: "WEIGHTS_MISMATCH" }));
    }
    expect(() => detectModel({ tensors, metadata: { model: "u-net" } }, "x")).toThrow(
      expect.objectContaining({ code: "UNKNOWN_MODEL", message: expect.stringContaining('"u-net"') }),
    );
  });

  it("weights of another model are refused with the list of what is accepted", () => {
    const name = "test/fixtures/checkpoints/other_model.pth";
    expect(() => detectModel(readCheckpoint(readFileSync(name), name), name)).toThrow(
      expect.objectContaining({
        code: "UNKNOWN_MODEL",
        message: expect.stringContaining("2 tensors (weight, bias"),
        fix: expect.stringMatching(/ReFusion.*Mask-DiFuser/),
      }),
    );
  });

  it("tensors without elements do not pass for a model without channels", () => {
    const shapes = expectedRefusionTensors({ ...published, dim: 0 });
    expect(() => detectModel(syntheticCheckpoint(shapes), "x")).toThrow(expect.objectContaining({ code: "WEIGHTS_MISMATCH" }));
  });

  it.skipIf(!existsSync(official)).each(["IVIF", "MIF", "MFIF", "MEIF"])("the official checkpoint of %s (needs ../shared/data)", (task) => {
    const name = `ReFusion_${task}.pth`;
    const checkpoint = readCheckpoint(readFileSync(join(official, name)), name);
    expect(checkpoint.tensors.size).toBe(140);
    const { model, config, tensors, aliases } = detectModel(checkpoint, name);
    expect({ model, config }).toEqual({ model: "refusion", config: published });
    expect(parameters(tensors)).toBe(59_856);
    expect(Object.keys(aliases).length).toBe(54);
  });
});

describe("Mask-DiFuser", () => {
  const config: MaskDifuserConfig = { ...maskDifuserFormat.published, timesteps: 100, channels: 32, multipliers: [1, 3], attentionLevels: [0], crossAttentionLevels: [0, 1] };
  /** Every field that shapes tell is another than the published one. */
  const small: MaskDifuserConfig = {
    ...config,
    channels: 16,
    multipliers: [1, 2, 3],
    attentionLevels: [2],
    crossAttentionLevels: [1, 2],
    residualBlocks: 1,
    groups: 4,
    contentChannels: 16,
    semanticChannels: 32,
    semanticLayers: 2,
    semanticHeads: 4,
    feedForwardChannels: 64,
    prediction: "x0",
    output: "blend",
    steps: 3,
  };

  it("has 172.3 million parameters as published, with the layer that nothing uses", () => {
    const shapes = [...expectedMaskDifuserTensors(maskDifuserFormat.published).values()];
    expect(shapes.reduce((sum, shape) => sum + elementCount(shape), 0) / 1e6).toBeCloseTo(172.3, 1);
  });

  it("a small network says in its metadata what shapes do not tell, and may lack the layer that nothing uses", () => {
    const { tensors } = syntheticCheckpoint(expectedMaskDifuserTensors(small));
    for (const name of tensors.keys()) if (name.startsWith("encoder.transformer_encoder.layers.")) tensors.delete(name);
    const metadata = { model: "mask-difuser", config: JSON.stringify(small) };
    expect(detectModel({ tensors, metadata }, "x")).toMatchObject({ model: "mask-difuser", config: small });
    for (const change of [{ groups: 3 }, { semanticHeads: 3 }, { prediction: "noise" }, { output: "mean" }, { steps: 101 }, { crossAttentionLevels: [3] }, { contentChannels: 4 }]) {
      const stated = { ...metadata, config: JSON.stringify({ ...small, ...change }) };
      expect(() => detectModel({ tensors, metadata: stated }, "x"), JSON.stringify(change)).toThrow("the config in its metadata is none of");
    }
    const shapes = new Map([...tensors].map(([name, { shape }]) => [name, shape]));
    const { groups, semanticHeads, prediction, steps } = maskDifuserFormat.published;
    expect(maskDifuserFormat.inferConfig(shapes)).toEqual({ ...small, groups, semanticHeads, prediction, steps });
  });

  it("a configuration from before there were others is the published one", () => {
    const { timesteps, channels, multipliers, attentionLevels, residualBlocks } = config;
    expect(maskDifuserFormat.parseConfig({ timesteps, channels, multipliers, attentionLevels, residualBlocks })).toEqual(config);
  });

  it("the network's configuration is the file's", () => {
    const ofNetwork: NetworkConfig = config;
    const ofFile: MaskDifuserConfig = ofNetwork;
    expect(ofFile).toBe(config);
  });

  it("the configuration is inferred from shapes, and the second name of proj_in is an alias", () => {
    const checkpoint = syntheticCheckpoint(expectedMaskDifuserTensors(config));
    for (const part of ["0.weight", "0.bias", "1.weight", "1.bias"]) {
      const tensor = checkpoint.tensors.get(`proj_in.${part}`);
      if (tensor !== undefined) checkpoint.tensors.set(`conbine.${part}`, tensor);
    }
    const detected = detectModel(checkpoint, "x.pth");
    expect(detected).toMatchObject({ model: "mask-difuser", config });
    expect(Object.keys(detected.aliases)).toHaveLength(4);
  });

  const keysFile = join(maskDifuser, "state_keys.json");
  it.skipIf(!existsSync(keysFile)).each(["tiny", "c4"])("the tensors of the configuration %s (needs ../shared/golden)", (variant) => {
    const variants = JSON.parse(readFileSync(keysFile, "utf8")) as Record<string, StateKeys>;
    const { config: original, keys } = variants[variant] ?? expect.fail(`no ${variant}`);
    const built = expectedMaskDifuserTensors({
      ...maskDifuserFormat.published,
      timesteps: original.T,
      channels: original.ch,
      multipliers: original.ch_mult,
      attentionLevels: original.attn,
      crossAttentionLevels: original.ch_mult.map((_, level) => level),
      residualBlocks: original.num_res_blocks,
    });
    const stored = Object.entries(keys).filter(([, { kind }]) => !kind.startsWith("alias of proj_in"));
    expect(Object.fromEntries(built)).toEqual(Object.fromEntries(stored.map(([name, { shape }]) => [name, shape])));
  });

  const tiny = join(maskDifuser, "mask_difuser_tiny.pth");
  it.skipIf(!existsSync(tiny))("a checkpoint as PyTorch writes it (needs ../shared/golden)", () => {
    const detected = detectModel(readCheckpoint(readFileSync(tiny), tiny), tiny);
    expect(detected).toMatchObject({
      model: "mask-difuser",
      config: { ...maskDifuserFormat.published, channels: 32, multipliers: [1, 2, 2], attentionLevels: [1], crossAttentionLevels: [0, 1, 2], residualBlocks: 1 },
    });
    expect(detected.tensors.size).toBe(453);
  });
});
