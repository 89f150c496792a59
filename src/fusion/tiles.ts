import { SinterError } from "../errors.ts";
import { collectedAs, collectGraph, estimateGraph, globalLevels, grownBefore, innerColumns, innerRows, TILE_INPUTS, TILE_REGIONS, tileGraph } from "../graph/global.ts";
import { type Graph, GraphBuilder, type Tensor } from "../graph/graph.ts";
import type { Plan } from "../graph/plan.ts";
import type { Session } from "../graph/session.ts";
import { elementBytes, type Shape } from "../kernels/tensor.ts";
import { gather } from "../kernels/tile/gather.ts";
import { paste } from "../kernels/tile/paste.ts";

/** Allocates a plan. */
export type OpenSession = (plan: Plan) => Promise<Session>;

/** Runs a session. */
export type RunSession = (session: Session) => Promise<void>;

/** A network that can work in tiles. */
export interface TiledNetwork {
  /** Of the whole picture; multiples of `multiple`. */
  readonly height: number;
  readonly width: number;
  /** The network for a picture of another size, after all rewrites; its first output, the only one, has that size. */
  graph(height: number, width: number): Graph;
  /** Its inputs that are pictures, of that size; others are the same for all tiles. */
  readonly pictures: readonly string[];
  /** Those that change from run to run. */
  readonly changing: readonly string[];
  /** Sizes and places of tiles are multiples of it. */
  readonly multiple: number;
}

/** Tiles overlap by twice so many pixels at least. */
const MARGIN = 16;
/** Where two tiles meet, one fades into the other over twice so many pixels. */
const FADE = 8;
/** Passes over all tiles that collect what depends on pictures that change; see src/graph/global.ts. */
const COLLECTING_PASSES = 2;
/** The smallest edge of a tile. */
export const SMALLEST_TILE = 64;

/** A tile along one side of the picture. */
export interface Span {
  readonly start: number;
  /** Where the part begins and ends that is no other's. */
  readonly inner: readonly [begin: number, end: number];
}

/** Tiles along a side of a picture: equal in size, the parts that they do not share as equal as `multiple` lets them be. */
export function tileSpans(size: number, tile: number, multiple: number): Span[] {
  if (tile >= size) return [{ start: 0, inner: [0, size] }];
  const round = (x: number): number => Math.round(x / multiple) * multiple;
  for (let tiles = 2; ; tiles++) {
    const border = (i: number): number => (i === tiles ? size : round((size * i) / tiles));
    const spans = Array.from({ length: tiles }, (_, i): Span => {
      const inner = [border(i), border(i + 1)] as const;
      return { start: Math.min(size - tile, Math.max(0, Math.floor((inner[0] + inner[1] - tile) / 2 / multiple) * multiple)), inner };
    });
    const wideEnough = spans.every(({ start, inner: [begin, end] }) => (begin === 0 || begin - start >= MARGIN) && (end === size || start + tile - end >= MARGIN));
    if (wideEnough) return spans;
  }
}

/** Weight of each row of a tile: 1 inside, fading to 0 where another tile takes over; the weights of all tiles add up to 1. */
export function fadeWeights({ start, inner: [begin, end] }: Span, size: number, tile: number): Float32Array {
  const ramp = (x: number): number => Math.min(1, Math.max(0, (x + FADE) / (2 * FADE)));
  return Float32Array.from({ length: tile }, (_, i) => {
    const centre = start + i + 0.5;
    return (begin === 0 ? 1 : ramp(centre - begin)) * (end === size ? 1 : ramp(end - centre));
  });
}

interface Tile {
  readonly row: Span;
  readonly column: Span;
}

/** The compiled graphs of a network in tiles. */
export interface TilePlans {
  readonly network: TiledNetwork;
  readonly tiles: readonly Tile[];
  /** Of a tile. */
  readonly size: Pick<Shape, "height" | "width">;
  /** Holds the whole pictures; cuts tiles out of them and reduces them. */
  readonly source: Plan;
  /** The network's inputs that are the same for all tiles. */
  readonly given: Plan;
  /** Holds what is known of the whole picture. */
  readonly known: Plan;
  /** See src/graph/global.ts. The last two only where something depends on pictures that change. */
  readonly levels: readonly Plan[];
  readonly estimate: Plan | undefined;
  readonly collect: Plan | undefined;
  readonly tile: Plan;
  /** Puts the tiles together to the network's output, `output`. */
  readonly canvas: Plan;
}

const cutOut = (name: string): string => `${name} of a tile`;
const reduced = (name: string): string => `${name} reduced`;

/**
 * @param edge longest side of a tile
 * @throws SinterError `TILE_SIZE` when tiles would be smaller than `SMALLEST_TILE`; what `compile` throws
 */
export function compileTiles(network: TiledNetwork, edge: number, compile: (graph: Graph) => Plan): TilePlans {
  const { height, width, pictures, multiple } = network;
  const longest = Math.floor(edge / multiple) * multiple;
  if (longest < SMALLEST_TILE) {
    throw new SinterError("TILE_SIZE", `Tiles of ${edge} pixels are too small; the smallest are ${SMALLEST_TILE}.`, { where: "--tile", fix: `Use --tile ${SMALLEST_TILE} or more.` });
  }
  const size = { height: Math.min(longest, height), width: Math.min(longest, width) };
  const tiles = tileSpans(height, size.height, multiple).flatMap((row) => tileSpans(width, size.width, multiple).map((column): Tile => ({ row, column })));
  const extent = (spans: readonly Span[]): number => spans.reduce((most, { inner: [begin, end] }) => Math.max(most, end - begin), 0);
  const inner = { height: extent(tiles.map(({ row }) => row)), width: extent(tiles.map(({ column }) => column)) };
  const sizes = { count: tiles.length, picture: { height, width }, inner };
  const small = reducedSize(network, size);
  const graph = network.graph(size.height, size.width);
  const { levels, rest } = globalLevels(graph, pictures, network.changing);
  const [output] = graph.outputs;
  const isPicture = ({ name }: Tensor): boolean => pictures.includes(name);
  const given = graph.inputs.filter((tensor) => !isPicture(tensor));
  const tile = tileGraph(graph, pictures);
  const collect = rest.length > 0 ? collectGraph(graph, pictures, sizes, rest, levels.flat()) : undefined;
  const estimate = rest.length > 0 ? estimateGraph(network.graph(small.height, small.width), pictures, tiles.length, rest) : undefined;
  const fromOutside = new Set(graph.inputs.map(({ name }) => name));
  const known = new Map([...(estimate?.outputs ?? []), ...tile.inputs.filter(({ name }) => !fromOutside.has(name))].map((tensor) => [tensor.name, tensor]));
  const hold = (tensors: readonly Tensor[]): Plan => {
    // They come from several graphs, each of which counts from 0.
    const renumbered = tensors.map(({ name, shape, elementType }, id): Tensor => ({ id, name, shape, elementType }));
    return compile({ inputs: renumbered, nodes: [], outputs: renumbered });
  };
  return {
    network,
    tiles,
    size,
    source: compile(sourceGraph(network, graph.inputs.filter(isPicture), size, small)),
    given: hold(given),
    known: hold([...known.values()]),
    levels: levels.map((wanted, i) => compile(collectGraph(graph, pictures, sizes, wanted, levels.slice(0, i).flat()))),
    estimate: estimate && compile(estimate),
    collect: collect && compile(collect),
    tile: compile(tile),
    canvas: compile(canvasGraph(network, output)),
  };
}

/** The size of the whole picture reduced to about a tile's, in its proportions. */
function reducedSize({ height, width, multiple }: TiledNetwork, tile: Pick<Shape, "height" | "width">): Pick<Shape, "height" | "width"> {
  const factor = Math.max(height / tile.height, width / tile.width);
  const reduce = (size: number): number => Math.max(1, Math.round(size / factor / multiple)) * multiple;
  return { height: reduce(height), width: reduce(width) };
}

const row = (channels: number): Shape => ({ batch: 1, height: 1, width: 1, channels });

function sourceGraph({ height, width }: TiledNetwork, pictures: readonly Tensor[], tile: Pick<Shape, "height" | "width">, small: Pick<Shape, "height" | "width">): Graph {
  const builder = new GraphBuilder();
  const tables = (prefix: string, size: Pick<Shape, "height" | "width">): [Tensor, Tensor] => [builder.input(`${prefix}rows`, row(size.height)), builder.input(`${prefix}columns`, row(size.width))];
  const [cutTables, reducedTables] = [tables("", tile), tables("reduced ", small)];
  for (const { name, shape, elementType } of pictures) {
    const picture = builder.input(name, { ...shape, height, width }, elementType);
    builder.output(builder.add(cutOut(name), gather, [picture, ...cutTables], {}));
    builder.output(builder.add(reduced(name), gather, [picture, ...reducedTables], {}));
  }
  const graph = builder.build();
  return { ...graph, kept: graph.inputs };
}

function canvasGraph({ height, width }: TiledNetwork, output: Tensor | undefined): Graph {
  const builder = new GraphBuilder();
  const shape = output?.shape ?? row(1);
  const tile = builder.input("tile", shape, output?.elementType);
  const before = builder.input("before", { ...shape, height, width });
  const place = [builder.input("place", row(4)), builder.input("row weights", row(shape.height)), builder.input("column weights", row(shape.width))];
  builder.output(builder.add("output", paste, [before, tile, ...place], {}));
  return builder.build();
}

/** The sessions of a network in tiles that are open from run to run. */
export interface OpenTiles {
  readonly source: Session;
  readonly given: Session;
  readonly known: Session;
  readonly canvas: Session;
  dispose(): void;
}

/** What happens beside a run in tiles. */
export interface TileHooks {
  readonly open: OpenSession;
  readonly run: RunSession;
  /** Called before each tile, and at last with `done` = `total`; what it throws ends the run. */
  readonly onTile?: (done: number, total: number) => void;
}

/** Opens what a run needs: then the pictures go into `source`, the network's other inputs into `given`; the result is the output of `canvas`. */
export async function openTiles(plans: TilePlans, open: OpenSession): Promise<OpenTiles> {
  const sessions: Session[] = [];
  const opened = async (plan: Plan): Promise<Session> => {
    const session = await open(plan);
    sessions.push(session);
    return session;
  };
  const dispose = (): void => sessions.forEach((session) => session.dispose());
  try {
    return { source: await opened(plans.source), given: await opened(plans.given), known: await opened(plans.known), canvas: await opened(plans.canvas), dispose };
  } catch (error) {
    dispose();
    throw error;
  }
}

/** Finds what depends on pictures that stay the same from run to run; `runTiles` needs it. */
export async function prepareTiles(plans: TilePlans, tiles: OpenTiles, hooks: TileHooks): Promise<void> {
  await firstCut(plans, tiles, hooks);
  for (const [i, plan] of plans.levels.entries()) await collectAll(plans, plan, tiles, hooks, i * plans.tiles.length, plans.levels.length * plans.tiles.length);
}

/**
 * Runs a network once over all tiles, without reading anything back (see src/graph/global.ts). Plans are allocated one after the other, so that
 * they need the memory of one. The result is the output of `canvas`.
 */
export async function runTiles(plans: TilePlans, tiles: OpenTiles, hooks: TileHooks): Promise<void> {
  const { network, estimate, collect } = plans;
  const { source, given, known, canvas } = tiles;
  const { open, run, onTile } = hooks;
  const count = plans.tiles.length;
  const total = (1 + (collect ? COLLECTING_PASSES : 0)) * count;
  if (estimate && collect) {
    const session = await open(estimate);
    try {
      await firstCut(plans, tiles, hooks);
      source.copyTo(session, picturesOf(plans, session, reduced));
      copyShared(given, session);
      const { height, width } = network;
      const regions = plans.tiles.flatMap(({ row: r, column: c }) => [r.inner[0] / height, r.inner[1] / height, c.inner[0] / width, c.inner[1] / width]);
      if (sizeOf(estimate, TILE_REGIONS) > 0) session.write(TILE_REGIONS, Float32Array.from(regions));
      await run(session);
      copyShared(session, known);
    } finally {
      session.dispose();
    }
    for (let pass = 0; pass < COLLECTING_PASSES; pass++) await collectAll(plans, collect, tiles, hooks, pass * count, total);
  }
  const session = await open(plans.tile);
  try {
    copyShared(known, session);
    copyShared(given, session);
    const [output] = plans.tile.outputs;
    for (const [k, tile] of plans.tiles.entries()) {
      await session.finished();
      onTile?.(total - count + k, total);
      await cutTile(plans, tile, tiles, session, run);
      await run(session);
      session.copyTo(canvas, { [output?.tensor.name ?? ""]: "tile" });
      canvas.write("place", Float32Array.of(tile.row.start, tile.column.start, k === 0 ? 1 : 0, 0));
      canvas.write("row weights", fadeWeights(tile.row, network.height, sizeOf(plans.canvas, "row weights")));
      canvas.write("column weights", fadeWeights(tile.column, network.width, sizeOf(plans.canvas, "column weights")));
      await run(canvas);
      if (k < count - 1) canvas.copyTo(canvas, { output: "before" });
    }
    onTile?.(total, total);
  } finally {
    session.dispose();
  }
}

/** Runs a graph of `collectGraph` over all tiles; what it finds is in `known` then. */
async function collectAll(plans: TilePlans, plan: Plan, tiles: OpenTiles, { open, run, onTile }: TileHooks, done: number, total: number): Promise<void> {
  const { size } = plans;
  const { height, width } = plans.network;
  const session = await open(plan);
  try {
    copyShared(tiles.known, session);
    copyShared(tiles.given, session);
    const write = (name: string, data: (length: number) => Float32Array): void => {
      const length = sizeOf(plan, name);
      if (length > 0) session.write(name, data(length));
    };
    const ones = (length: number): Float32Array => new Float32Array(length).fill(1);
    write(TILE_INPUTS.one, ones);
    write(TILE_INPUTS.ones, ones);
    const takesRegion = sizeOf(plan, TILE_INPUTS.region) > 0;
    const outputs = plan.outputs.map(({ tensor }) => tensor.name);
    const naming = (rename: (name: string) => string | undefined): Record<string, string> =>
      Object.fromEntries(outputs.flatMap((name) => {
        const renamed = rename(name);
        return renamed === undefined ? [] : [[name, renamed]];
      }));
    for (const [k, tile] of plans.tiles.entries()) {
      await session.finished();
      onTile?.(done + k, total);
      await cutTile(plans, tile, tiles, session, run);
      const [tall, wide] = [tile.row, tile.column].map(({ inner: [begin, end] }) => end - begin) as [number, number];
      const isFirst = k === 0 ? 1 : 0;
      write(TILE_INPUTS.part, () => Float32Array.of(k));
      if (takesRegion) session.write(TILE_INPUTS.region, regionIn(tile, size));
      write(TILE_INPUTS.share, () => Float32Array.of((tall * wide) / (height * width), isFirst, 0, 0));
      write(TILE_INPUTS.place, () => Float32Array.of(k, 0, isFirst, 0));
      for (let factor = 1; factor <= Math.max(height, width); factor *= 2) {
        for (const fill of ["zeros", "copies"] as const) {
          write(innerRows(factor, fill), (length) => innerIndices(tile.row, factor, length, fill));
          write(innerColumns(factor, fill), (length) => innerIndices(tile.column, factor, length, fill));
        }
      }
      await run(session);
      if (k < plans.tiles.length - 1) session.copyTo(session, naming(grownBefore));
    }
    const wanted = new Set(plans.known.inputs.map(({ tensor }) => tensor.name));
    session.copyTo(tiles.known, naming((name) => {
      const input = collectedAs(name, outputs);
      return input !== undefined && wanted.has(input) ? input : undefined;
    }));
  } finally {
    session.dispose();
  }
}

/** Cuts a tile out of all pictures and gives it to a session. */
async function cutTile(plans: TilePlans, { row: { start: top }, column: { start: left } }: Tile, { source }: OpenTiles, target: Session, run: RunSession): Promise<void> {
  source.write("rows", count(sizeOf(plans.source, "rows"), (i) => top + i));
  source.write("columns", count(sizeOf(plans.source, "columns"), (i) => left + i));
  await run(source);
  source.copyTo(target, picturesOf(plans, target, cutOut));
}

/** Makes the reduced pictures. */
async function firstCut({ network: { height, width }, source: plan }: TilePlans, { source }: OpenTiles, { run }: TileHooks): Promise<void> {
  const write = (name: string, at: (i: number, size: number) => number): void => {
    const size = sizeOf(plan, name);
    source.write(name, count(size, (i) => at(i, size)));
  };
  write("rows", (i) => i);
  write("columns", (i) => i);
  write("reduced rows", (i, size) => Math.floor(((i + 0.5) * height) / size));
  write("reduced columns", (i, size) => Math.floor(((i + 0.5) * width) / size));
  await run(source);
}

/** What `source` calls each picture that a session takes. */
function picturesOf({ network: { pictures } }: TilePlans, { plan }: Session, name: (picture: string) => string): Record<string, string> {
  const taken = new Set(plan.inputs.map(({ tensor }) => tensor.name));
  return Object.fromEntries(pictures.filter((picture) => taken.has(picture)).map((picture) => [name(picture), picture]));
}

/** How many numbers an input of one row has, 0 where there is no such input. */
const sizeOf = ({ inputs }: Plan, name: string): number => inputs.find(({ tensor }) => tensor.name === name)?.tensor.shape.channels ?? 0;

const count = (length: number, at: (i: number) => number): Float32Array => Float32Array.from({ length }, (_, i) => at(i));

/** Rows of a tensor at 1/`factor` of the resolution that are the tile's own, and then −1 or the last again. */
function innerIndices({ start, inner: [begin, end] }: Span, factor: number, length: number, fill: "zeros" | "copies"): Float32Array {
  const [first, last] = [(begin - start) / factor, (end - start) / factor - 1];
  return count(length, (i) => (first + i <= last ? first + i : fill === "zeros" ? -1 : last));
}

/** The part that is the tile's own, as shares of the tile. */
const regionIn = ({ row: r, column: c }: Tile, { height, width }: Pick<Shape, "height" | "width">): Float32Array =>
  Float32Array.of((r.inner[0] - r.start) / height, (r.inner[1] - r.start) / height, (c.inner[0] - c.start) / width, (c.inner[1] - c.start) / width);

/** Copies the outputs of a session that are inputs of another. */
function copyShared(from: Session, to: Session): void {
  const wanted = new Set(to.plan.inputs.map(({ tensor }) => tensor.name));
  from.copyTo(to, Object.fromEntries(from.plan.outputs.flatMap(({ tensor: { name } }) => (wanted.has(name) ? [[name, name]] : []))));
}

/** How a model that is one network fuses in tiles. */
export interface TiledRecipe {
  /** From `first` and `second`, as in `Recipe`, to the network's pictures, its outputs. */
  readonly prepare: Graph;
  readonly network: TiledNetwork;
  /** From the network's `output`, and what it wants of `first` and `second`, to the outputs of a `Recipe`. */
  readonly finish: Graph;
}

export interface TiledRecipePlans {
  readonly prepare: Plan;
  readonly tiles: TilePlans;
  readonly finish: Plan;
}

/** @param edge longest side of a tile */
export function compileTiledRecipe({ prepare, network, finish }: TiledRecipe, edge: number, compile: (graph: Graph) => Plan): TiledRecipePlans {
  return { prepare: compile(prepare), tiles: compileTiles(network, edge, compile), finish: compile(finish) };
}

/** Fuses two pictures; the caller reads the session that it gets, and disposes of it. */
export async function runTiledRecipe({ prepare, tiles: plans, finish }: TiledRecipePlans, pictures: Readonly<Record<string, Float32Array>>, hooks: TileHooks): Promise<Session> {
  const { open, run, onTile } = hooks;
  const writePictures = (session: Session): void => {
    for (const { tensor: { name } } of session.plan.inputs) {
      const data = pictures[name];
      if (data) session.write(name, data);
    }
  };
  const tiles = await openTiles(plans, open);
  try {
    const first = await open(prepare);
    try {
      writePictures(first);
      await run(first);
      copyShared(first, tiles.source);
    } finally {
      first.dispose();
    }
    const passes = plans.levels.length;
    const total = (passes + 1) * plans.tiles.length;
    const part = (offset: number): TileHooks => ({ open, run, onTile: (done) => onTile?.(offset + done, total) });
    await prepareTiles(plans, tiles, part(0));
    await runTiles(plans, tiles, part(passes * plans.tiles.length));
    const last = await open(finish);
    writePictures(last);
    copyShared(tiles.canvas, last);
    await run(last);
    return last;
  } finally {
    tiles.dispose();
  }
}

/** As `joinTilePlans`, of a whole fusion. */
export function joinTiledRecipe({ prepare, tiles, finish }: TiledRecipePlans): Plan {
  const { preparing, ...joined } = joinTilePlans(tiles, []);
  const around = Math.max(prepare.peakBytes + tiles.source.peakBytes + tiles.canvas.peakBytes, finish.peakBytes + tiles.source.peakBytes + tiles.canvas.peakBytes);
  return {
    ...joined,
    dispatches: [...prepare.dispatches, ...joined.dispatches, ...finish.dispatches],
    inputs: prepare.inputs,
    outputs: finish.outputs,
    peakBytes: Math.max(joined.peakBytes, around),
    operations: prepare.operations + preparing + joined.operations + finish.operations,
  };
}

/**
 * The plans of a run in tiles as one: what `--dry-run` shows, with the work of all tiles and the memory of those needed together.
 *
 * @param beside plans that are allocated and run beside it
 */
export function joinTilePlans({ tiles, source, given, known, canvas, levels, estimate, collect, tile }: TilePlans, beside: readonly Plan[]): Plan & { readonly preparing: number } {
  const [whole, changing] = [[source, given, known, canvas, ...beside], [estimate, collect, tile].filter((plan) => plan !== undefined)];
  const plans = [...whole, ...levels, ...changing];
  const constants = new Map(plans.flatMap((plan) => plan.constants).map((constant) => [constant.key, constant]));
  const constantBytes = [...constants.values()].reduce((sum, { length, elementType }) => sum + length * 4 * elementBytes(elementType), 0);
  const bytes = ({ peakBytes, constantBytes: own }: Plan): number => peakBytes - own;
  const sum = (of: readonly Plan[], value: (plan: Plan) => number): number => of.reduce((total, plan) => total + value(plan), 0);
  const work = (of: readonly (Plan | undefined)[]): number => of.reduce((total, plan) => total + (plan?.operations ?? 0), 0);
  return {
    dispatches: plans.flatMap((plan) => plan.dispatches),
    inputs: source.inputs,
    outputs: canvas.outputs,
    buffers: plans.flatMap((plan) => plan.buffers),
    constants: [...constants.values()],
    constantBytes,
    peakBytes: constantBytes + sum(whole, bytes) + [...levels, ...changing].reduce((most, plan) => Math.max(most, bytes(plan)), 0),
    operations: work([estimate, ...beside]) + tiles.length * (COLLECTING_PASSES * work([collect]) + work([tile, canvas])),
    preparing: tiles.length * work(levels),
  };
}
