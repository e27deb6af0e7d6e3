// The suite's own origin at a free port: node serve.mjs SUITE. Prints the port on a line of its own.

import { existsSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const suite = process.argv[2]
const engine = existsSync(join(suite, 'test-engine')) ? join(suite, 'test-engine') : suite

// The suite listens at the port that its environment names, and cannot be told to take any.
const port = await new Promise(resolve => {
  const probe = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = probe.address()
    probe.close(() => resolve(port))
  })
})
Object.assign(process.env, {
  npm_config_protocol: 'http',
  npm_config_port: String(port),
  npm_config_pidfile: process.argv[3] ?? '/dev/null'
})
const listen = http.Server.prototype.listen
http.Server.prototype.listen = function (port) {
  return listen.call(this, port, '127.0.0.1', () => process.stdout.write(`port ${port}\n`))
}
await import(pathToFileURL(resolve(join(engine, 'server', 'server.mjs'))).href)
