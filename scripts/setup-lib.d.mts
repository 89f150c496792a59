export interface AptSource {
  uri: string;
  suite: string;
  components: string[];
  options: string;
}
export interface MesaPlan {
  packages?: string[];
  suite?: string;
  sourceLine?: string;
  problem?: string;
}
interface Lock {
  packages: Record<string, { version?: string; optional?: boolean; devOptional?: boolean }>;
}
export function parseOsRelease(text: string): Record<string, string>;
export function parseSources(files: { name: string; text: string }[]): AptSource[];
export function mesaPlan(osRelease: Record<string, string>, sources: AptSource[]): MesaPlan;
export function installedMatches(lock: Lock, installed: Lock): boolean;
export function nodeIsEnough(version: string, minimum: [major: number, minor: number]): boolean;
