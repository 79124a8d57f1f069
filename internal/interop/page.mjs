// A browser client of the issuer: npm oauth4webapi in a page of another origin, in Chromium.
//
// In the environment: ISSUER, CLIENT_ID (a public client that may use any port of http://127.0.0.1/callback), PEER_ID and
// PEER_SECRET (a client that may introspect). Serves the page, lets carol log in there as a person would, with whatever
// forms come, and prints what the page says: see spa.mjs.
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { launch } from './chromium.mjs'

const { ISSUER, CLIENT_ID, PEER_ID, PEER_SECRET } = process.env

const modules = { '/spa.mjs': 'spa.mjs', '/oauth4webapi.js': 'node_modules/oauth4webapi/build/index.js' }
const settings = JSON.stringify({ issuer: ISSUER, app: CLIENT_ID, peer: PEER_ID, secret: PEER_SECRET })
const page = `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>A page of another origin</title>
<script type="application/json" id="settings">${settings.replaceAll('<', '\\u003c')}</script>
<script type="importmap">{"imports": {"oauth4webapi": "/oauth4webapi.js"}}</script>
<script type="module" src="/spa.mjs"></script>
</html>`

const server = createServer(async (req, res) => {
  const { pathname } = new URL(req.url, 'http://127.0.0.1')
  if (modules[pathname]) {
    res.setHeader('content-type', 'text/javascript').end(await readFile(modules[pathname]))
  } else {
    res.setHeader('content-type', 'text/html').end(page)
  }
}).listen(0, '127.0.0.1')
await once(server, 'listening')
const origin = `http://127.0.0.1:${server.address().port}`

const browser = await launch()
try {
  const tab = await browser.newPage()
  const failed = new Promise((_, reject) => tab.on('pageerror', reject))
  tab.on('console', (message) => (message.type() === 'log' ? console.log : console.error)(message.text()))
  await Promise.race([failed, use(tab)])
} finally {
  await browser.close()
  server.closeAllConnections()
  server.close()
}

async function use(tab) {
  await tab.goto(origin)
  await tab.waitForURL((url) => url.origin !== origin) // the page sends her to log in
  while (new URL(tab.url()).origin !== origin) {
    await tab.waitForLoadState()
    for (const field of await tab.locator('input:visible').all()) {
      if (await field.inputValue() === '') await field.fill('carol')
    }
    const moved = tab.waitForEvent('framenavigated')
    await tab.locator('button[type=submit]:visible').first().click()
    await moved
  }
  await tab.waitForFunction(() => globalThis.finished)
}
