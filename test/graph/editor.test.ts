import { describe, expect, it } from "vitest";
import { GraphEditor } from "../../src/graph/editor.ts";
import { formatGraph, type Graph, GraphBuilder } from "../../src/graph/graph.ts";
import { elementwise } from "../../src/kernels/elementwise/elementwise.ts";

const shape = { batch: 1, height: 2, width: 3, channels: 8 };
const ADD = { operation: "add" } as const;
const MULTIPLY = { operation: "multiply" } as const;

/** sum = x + y, product = sum × x. */
function graph(): Graph {
  const builder = new GraphBuilder();
  const [x, y] = [builder.input("x", shape), builder.input("y", shape)];
  builder.output(builder.add("product", elementwise, [builder.add("sum", elementwise, [x, y], ADD), x], MULTIPLY));
  return builder.build();
}

describe("GraphEditor", () => {
  it("puts what is added before the first node that needs it, and drops what nothing reads", () => {
    const before = graph();
    const editor = new GraphEditor(before);
    const [product] = before.outputs;
    const [x, y] = before.inputs;
    if (!product || !x || !y) throw new Error("the graph is empty");
    const squared = editor.add("squared", elementwise, [y, y], MULTIPLY);
    editor.replace(product, elementwise, [editor.add("doubled", elementwise, [squared, squared], ADD), x], MULTIPLY);
    const after = editor.finish();
    expect(formatGraph(after)).toBe(
      ["squared 1×2×3×8 = elementwise(y, y) operation=multiply", "doubled 1×2×3×8 = elementwise(squared, squared) operation=add", "product 1×2×3×8 = elementwise(doubled, x) operation=multiply"].join("\n"),
    );
    expect(after.outputs).toEqual(before.outputs);
    expect(formatGraph(before)).toContain("sum");
  });

  it("adds a node once for each name, also where the graph has it already", () => {
    const before = graph();
    const editor = new GraphEditor(before);
    const [x, y] = before.inputs;
    if (!x || !y) throw new Error("the graph is empty");
    const squared = editor.add("squared", elementwise, [y, y], MULTIPLY);
    expect(editor.add("squared", elementwise, [y, y], MULTIPLY)).toBe(squared);
    expect(editor.add("sum", elementwise, [x, y], ADD)).toBe(before.nodes[0]?.output);
    expect(editor.slice(squared, 4, 4)).toBe(editor.slice(squared, 4, 4));
    expect(editor.slice(squared, 4, 4).slice).toEqual({ of: squared, firstChannel: 4 });
  });

  it("finds the node of a whole tensor by its operator, and counts how often it is read", () => {
    const before = graph();
    const editor = new GraphEditor(before);
    const [sum, product] = before.nodes;
    expect(editor.producer(sum?.output, elementwise)?.attributes).toEqual(ADD);
    expect(editor.producer(before.inputs[0], elementwise)).toBeUndefined();
    expect([sum, product].map((node) => node && editor.uses(node.output))).toEqual([1, 1]);
    expect(before.inputs.map((input) => editor.uses(input))).toEqual([2, 1]);
  });

  it("refuses slices that do not fit, and to replace what no node makes", () => {
    const before = graph();
    const editor = new GraphEditor(before);
    const [x] = before.inputs;
    if (!x) throw new Error("the graph is empty");
    expect(() => editor.slice(x, 2, 4)).toThrow("cannot take channels 2–6 of x");
    expect(() => editor.slice(x, 4, 8)).toThrow("cannot take channels 4–12 of x");
    expect(() => editor.slice(editor.slice(x, 0, 4), 0, 4)).toThrow("cannot take channels 0–4 of x[0:4]");
    expect(() => editor.replace(x, elementwise, [x, x], ADD)).toThrow("no node makes x");
  });
});
