import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";

const TYPES: Readonly<Record<string, string>> = { ".html": "text/html", ".js": "text/javascript" };

export interface TestServer {
  /** `http://127.0.0.1:PORT`; a secure context, so that WebGPU is there. */
  readonly origin: string;
  readonly server: Server;
}

/**
 * Serves this folder's files at the root, with `dist/` and `weights/` of the repository beside them, under a content security
 * policy that allows nothing but files of the server: no inline script, no `eval`.
 */
export async function startServer(): Promise<TestServer> {
  const root = process.cwd();
  const server = createServer(async (request, response) => {
    const path = normalize(new URL(request.url ?? "/", "http://localhost").pathname);
    // Browsers ask for it by themselves, and complain where there is none.
    if (path === "/favicon.ico") return response.writeHead(204).end();
    const file = /^\/(dist|weights)\//.test(path) ? join(root, path) : join(root, "test/browser", path);
    try {
      const body = await readFile(file);
      response.writeHead(200, {
        "Content-Type": TYPES[extname(file)] ?? "application/octet-stream",
        "Content-Security-Policy": "default-src 'self'; script-src 'self'",
      });
      return response.end(body);
    } catch {
      return response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return { origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}
