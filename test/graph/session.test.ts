import { beforeAll, describe, expect, it } from "vitest";
import { GraphBuilder } from "../../src/graph/graph.ts";
import { compile, type Plan } from "../../src/graph/plan.ts";
import { ConstantStore, Session } from "../../src/graph/session.ts";
import { concat } from "../../src/kernels/concat/concat.ts";
import { elementwise } from "../../src/kernels/elementwise/elementwise.ts";
import type { Constant } from "../../src/kernels/kernel.ts";
import type { ElementType } from "../../src/kernels/tensor.ts";
import type { DeviceTraits } from "../../src/runtime/device.ts";
import { openNullGpu, openTestGpu, type TestGpu } from "../gpu.ts";

let gpu: TestGpu;
beforeAll(async () => {
  gpu = await openTestGpu();
});

function relu(traits: DeviceTraits, elementType: ElementType = "f32"): Plan {
  const builder = new GraphBuilder();
  const x = builder.input("x", { batch: 1, height: 1, width: 2, channels: 3 }, elementType);
  builder.output(builder.add("y", elementwise, [x], { operation: "activation", activation: { kind: "relu" } }));
  return compile(builder.build(), traits);
}

const open = ({ device, pipelines }: TestGpu, plan: Plan): Promise<Session> => Session.create(plan, device, pipelines, new ConstantStore(device));

describe("Session", () => {
  it.each(["f32", "f16"] as const)("runs as often as it is asked, in %s", async (type) => {
    const session = await open(gpu, relu(gpu.device.traits, type));
    for (const sign of [1, -1]) {
      session.write("x", Float32Array.of(0.5, -1, 2, -3, 4, -65504).map((value) => value * sign));
      session.run();
      expect([...(await session.read("y"))]).toEqual(sign === 1 ? [0.5, 0, 2, 0, 4, 0] : [0, 1, 0, 3, 0, 65504]);
    }
    session.dispose();
  });

  it("tells how many pipelines are compiled", async () => {
    const seen: [number, number][] = [];
    const session = await Session.create(relu(gpu.device.traits), gpu.device, gpu.pipelines, new ConstantStore(gpu.device), (done, total) => seen.push([done, total]));
    expect(seen).toEqual([[1, 1]]);
    session.dispose();
  });

  it("refuses names that the plan does not have and data of another size", async () => {
    const session = await open(gpu, relu(gpu.device.traits));
    expect(() => session.write("z", new Float32Array(6))).toThrow(expect.objectContaining({ code: "GRAPH", message: 'the plan has no input "z"' }));
    expect(() => session.write("x", new Float32Array(5))).toThrow(expect.objectContaining({ code: "SHAPE", where: "x", message: "x: expected 6 values, found 5" }));
    await expect(session.read("x")).rejects.toMatchObject({ code: "GRAPH", message: 'the plan has no output "x"' });
    session.dispose();
  });

  it("takes the GPU time of each dispatch where the device can", async () => {
    const session = await open(gpu, relu(gpu.device.traits));
    session.write("x", new Float32Array(6));
    if (gpu.device.traits.timestamps) {
      const [time] = await session.profile();
      expect(time?.dispatch.label).toBe("y");
      expect(time?.nanoseconds).toBeGreaterThanOrEqual(0);
    } else {
      await expect(session.profile()).rejects.toMatchObject({ code: "NO_TIMESTAMPS" });
    }
    session.dispose();
  });

  it("rejects with the compiler's words when a kernel does not compile", async () => {
    const plan = relu(gpu.device.traits);
    const broken = { ...plan, dispatches: plan.dispatches.map((dispatch) => ({ ...dispatch, code: `${dispatch.code}\nfn broken() -> u32 { return 1.5; }` })) };
    await expect(open(gpu, broken)).rejects.toMatchObject({ code: "SHADER_COMPILE", where: "elementwise", message: expect.stringMatching(/error: [^]*return 1\.5;/) });
  });

  it("rejects when an override of a kernel is missing", async () => {
    const plan = relu(gpu.device.traits);
    const broken = { ...plan, dispatches: plan.dispatches.map((dispatch) => ({ ...dispatch, constants: {} })) };
    await expect(open(gpu, broken)).rejects.toMatchObject({ code: "SHADER_INTERFACE", message: expect.stringContaining("overrides missing: OPERATION") });
  });

  it("says that the GPU was lost when it is gone before the result is read", async () => {
    const other = await openNullGpu();
    const session = await open(other, relu(other.device.traits));
    session.run();
    other.device.gpu.destroy();
    await expect(session.read("y")).rejects.toMatchObject({ code: "DEVICE_LOST" });
  });
});

describe("Session.runChecked", () => {
  const shape = { batch: 2, height: 20, width: 8, channels: 8 };
  const values = shape.batch * shape.height * shape.width * shape.channels;

  /** Doubles x, squares that, and writes the square beside another tensor in one buffer, which starts with NaN. */
  function squares(elementType: ElementType, traits: DeviceTraits): Plan {
    const builder = new GraphBuilder();
    const x = builder.input("x", shape, elementType);
    const doubled = builder.add("doubled", elementwise, [x, x], { operation: "add" });
    const squared = builder.add("squared", elementwise, [doubled, doubled], { operation: "multiply" });
    const joined = builder.add("joined", concat, [squared, builder.add("again", elementwise, [doubled, doubled], { operation: "add" })], {});
    builder.output(builder.add("y", elementwise, [joined], { operation: "activation", activation: { kind: "relu" } }));
    return compile(builder.build(), traits);
  }

  it.each([
    ["f32", 1e30, false],
    ["f32", 1e30, true],
    ["f16", 1000, false],
    ["f16", 1000, true],
  ] as const)("finds the first operator whose output is not finite: %s, %d, in bands: %s", async (elementType, large, banded) => {
    const { traits } = gpu.device;
    const bytes = values * (elementType === "f16" ? 2 : 4);
    const plan = squares(elementType, banded ? { ...traits, maxStorageBufferBindingSize: bytes / 2 } : traits);
    expect(plan.dispatches.length > 4).toBe(banded);
    const session = await open(gpu, plan);
    const x = Float32Array.from({ length: values }, (_, i) => (i % 97) / 97);
    session.write("x", x);
    expect(await session.runChecked()).toBeUndefined();
    const checked = await session.read("y");
    session.write("x", x);
    session.run();
    expect(await session.read("y")).toEqual(checked);
    session.write("x", x.with(15, large).with(x.length - 1, -large));
    expect(await session.runChecked()).toMatchObject({ dispatch: { label: "squared", operator: "elementwise" }, notFinite: 2, values: x.length });
    session.dispose();
  });
});

describe("ConstantStore", () => {
  it("uploads a constant once", () => {
    let packed = 0;
    const constants = new ConstantStore(gpu.device);
    const constant = { key: "k", elementType: "f16" as const, length: 1, pack: () => void packed++ };
    expect(constants.get(constant)).toBe(constants.get({ ...constant }));
    expect(packed).toBe(1);
    expect(constants.get(constant).size).toBe(8);
    constants.dispose();
  });

  it("uploads many in portions, each once, and lets the GPU take one before it writes the next", async () => {
    const order: string[] = [];
    const { wait } = gpu.device;
    const constants = new ConstantStore({ ...gpu.device, wait: (work) => (order.push("wait"), wait(work)) });
    const constant = (key: string): Constant => ({ key, elementType: "f32", length: 2 ** 21, pack: () => void order.push(key) });
    expect(await constants.upload(["a", "b", "c"].map(constant))).toBeNull();
    expect(await constants.upload(["c", "d"].map(constant))).toBeNull();
    expect(order).toEqual(["a", "b", "wait", "c", "d"]);
    constants.dispose();
  });
});
