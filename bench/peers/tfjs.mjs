// TensorFlow.js on its WebGPU backend, in a process of its own. It takes onnxruntime.mjs's messages, `release` aside, and
//   { type: "load", graph: { inputs, nodes, output }, inputs: { name: { data, dims } } }
// brings Sinter's graph before rewrites: each node { operator, attributes, inputs, output }, each input { name } or a slice of channels
// { name, firstChannel, channels }. Data and tensors are [batch][row][column][channel], as TensorFlow.js has them too.
import { createRequire } from "node:module";
import { create, globals } from "webgpu";

Object.assign(globalThis, globals);
// Kept reachable: the webgpu package ends the process when it is collected.
const gpu = create([...(process.platform === "linux" ? ["backend=vulkan"] : []), "disable-dawn-features=timestamp_quantization"]);
Object.defineProperty(globalThis, "navigator", { value: { gpu, userAgent: "node", hardwareConcurrency: 1 }, configurable: true });
const require = createRequire(import.meta.url);
const tf = require("@tensorflow/tfjs-core");
require("@tensorflow/tfjs-backend-webgpu");

const ACTIVATIONS = {
  relu: tf.relu,
  relu6: tf.relu6,
  sigmoid: tf.sigmoid,
  silu: (x) => tf.mul(x, tf.sigmoid(x)),
  gelu: (x) => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1)),
  leakyRelu: (x, { slope }) => tf.leakyRelu(x, slope),
};
const activate = (x, activation) => (activation ? ACTIVATIONS[activation.kind](x, activation) : x);

const pixels = ([, height, width]) => height * width;
const sum = (x, axis) => tf.sum(x, axis, true);

/** Functions from a node's tensors to its output; `weight` gives a weight as a tensor, made once. */
const OPERATORS = {
  conv2d([x, residual], { weight, bias, stride, padding, dilation, activation }, constant) {
    const y = tf.conv2d(x, constant(weight, ([o, i, h, w]) => [[o, i, h, w], [2, 3, 1, 0]]), stride, padding, "NHWC", dilation);
    const biased = bias ? tf.add(y, constant(bias)) : y;
    return residual ? tf.add(activate(biased, activation), residual) : activate(biased, activation);
  },
  depthwiseConv2d([x], { weight, stride, padding, dilation, activation }, constant) {
    const filter = constant(weight, ([o, i, h, w]) => [[o, i, h, w], [2, 3, 0, 1]]);
    return activate(tf.depthwiseConv2d(x, filter, stride, padding, "NHWC", dilation), activation);
  },
  layerNorm([x], { weight, bias, epsilon }, constant) {
    const { mean, variance } = tf.moments(x, -1, true);
    return tf.add(tf.mul(tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, epsilon))), constant(weight)), constant(bias));
  },
  groupNorm([x], { groups, weight, bias, epsilon, activation }, constant) {
    const channels = x.shape[3];
    const grouped = tf.reshape(x, [pixels(x.shape), groups, channels / groups]);
    const { mean, variance } = tf.moments(grouped, [0, 2], true);
    const normalised = tf.reshape(tf.mul(tf.sub(grouped, mean), tf.rsqrt(tf.add(variance, epsilon))), x.shape);
    return activate(tf.add(tf.mul(normalised, constant(weight)), constant(bias)), activation);
  },
  elementwise([a, b], { operation, activation }) {
    if (operation === "activation") return activate(a, activation);
    if (operation === "gatedGelu") return tf.mul(ACTIVATIONS.gelu(a), b);
    return operation === "add" ? tf.add(a, b) : tf.mul(a, b);
  },
  attention([q, k, v], { heads, scale }) {
    if (heads !== 1) throw new Error("attention of several heads is not made");
    const flat = (x) => tf.reshape(x, [pixels(x.shape), x.shape[3]]);
    const scores = tf.mul(tf.matMul(flat(q), flat(k), false, true), scale);
    return tf.reshape(tf.matMul(tf.softmax(scores), flat(v)), [...q.shape.slice(0, 3), v.shape[3]]);
  },
  // All pairs of channels as one product, those of different heads masked: one large product is faster than many tiny ones.
  channelAttentionWeights([q, k], { heads, temperature }) {
    const channels = q.shape[3];
    const flat = (x) => tf.reshape(x, [pixels(x.shape), channels]);
    const unit = (x) => tf.div(x, tf.maximum(tf.sqrt(sum(tf.square(x), 0)), 1e-12));
    const headOf = (channel) => Math.floor((channel * heads) / channels);
    const scale = tf.tensor(Float32Array.from({ length: channels }, (_, o) => temperature.data[headOf(o)]), [channels, 1]);
    const mask = tf.tensor(Float32Array.from({ length: channels * channels }, (_, i) => (headOf(Math.floor(i / channels)) === headOf(i % channels) ? 0 : -1e9)), [channels, channels]);
    const scores = tf.add(tf.mul(tf.matMul(unit(flat(q)), unit(flat(k)), true), scale), mask);
    return tf.reshape(tf.transpose(tf.softmax(scores)), [1, 1, channels, channels]);
  },
  applyMatrix([x, matrix, residual]) {
    const [, , inputs, outputs] = matrix.shape;
    const y = tf.reshape(tf.matMul(tf.reshape(x, [pixels(x.shape), inputs]), tf.reshape(matrix, [inputs, outputs])), [...x.shape.slice(0, 3), outputs]);
    return residual ? tf.add(y, residual) : y;
  },
  concat: (tensors) => tf.concat(tensors, 3),
  resize: ([x], { height, width, alignCorners }) => tf.image.resizeBilinear(x, [height, width], alignCorners, !alignCorners),
};

let loaded;

async function load({ graph, inputs }) {
  await tf.setBackend("webgpu");
  await tf.ready();
  loaded = { graph, inputs, constants: new Map(), result: undefined };
  return {};
}

/** @returns the output as a tensor */
function evaluate({ graph, inputs, constants }) {
  const constant = ({ name, shape, data }, order) => {
    const key = `${name} ${shape.join()} ${order ? "ordered" : ""}`;
    let tensor = constants.get(key);
    if (!tensor) {
      const [from, permutation] = order ? order(shape) : [shape];
      tensor = tf.keep(permutation ? tf.transpose(tf.tensor(data, from), permutation) : tf.tensor(data, from));
      constants.set(key, tensor);
    }
    return tensor;
  };
  const values = new Map(Object.entries(inputs).map(([name, { data, dims }]) => [name, tf.tensor(data, dims)]));
  const read = ({ name, firstChannel, channels }) => {
    const tensor = values.get(name);
    return firstChannel === undefined ? tensor : tf.slice(tensor, [0, 0, 0, firstChannel], [...tensor.shape.slice(0, 3), channels]);
  };
  for (const node of graph.nodes) {
    const operator = OPERATORS[node.operator];
    if (!operator) throw new Error(`there is no ${node.operator}`);
    values.set(node.output, operator(node.inputs.map(read), node.attributes, constant));
  }
  return values.get(graph.output);
}

async function run() {
  const before = process.cpuUsage();
  const started = performance.now();
  const output = tf.tidy(() => evaluate(loaded));
  loaded.result = { data: await output.data(), dims: output.shape };
  const milliseconds = performance.now() - started;
  const { user, system } = process.cpuUsage(before);
  output.dispose();
  return { milliseconds, processorMilliseconds: (user + system) / 1000 };
}

const output = async () => loaded.result;

const HANDLERS = { load, run, output };

process.on("message", async (message) => {
  // Dawn's promises settle only while the event loop turns.
  const turning = setInterval(() => {}, 1);
  try {
    process.send({ ok: await HANDLERS[message.type](message) });
  } catch (error) {
    process.send({ error: String(error?.message ?? error) });
  } finally {
    clearInterval(turning);
  }
});
process.on("disconnect", () => process.exit());
