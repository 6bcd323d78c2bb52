// Serves better-auth in two workers.
import cluster from 'node:cluster';
import { createServer } from 'node:http';

if (cluster.isPrimary) {
  for (let worker = 0; worker < 2; worker += 1) cluster.fork();
  process.on('SIGTERM', () => {
    for (const worker of Object.values(cluster.workers)) worker.kill();
  });
} else {
  const { auth } = await import('./auth.js');
  const { toNodeHandler } = await import('better-auth/node');
  const server = createServer(toNodeHandler(auth));
  server.keepAliveTimeout = 0;
  server.listen(Number(process.env.PEER_PORT), '127.0.0.1');
}
