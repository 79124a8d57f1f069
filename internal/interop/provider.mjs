// An OpenID provider that is not ours: npm oidc-provider on a free loopback port, as it comes. Its ID tokens hold
// nothing of the person but `sub`; what she is called is told at userinfo alone. Its forms take any password.
//
// In the environment: CLIENT_ID, CLIENT_SECRET and REDIRECT_URI of its one client, and LOGOUT_URI if it is told of logouts. Prints {"issuer": URL} when ready. With
// ISSUER it is at that https URL, with the certificate and key in TLS_CERT and TLS_KEY. With REFRESH it gives refresh tokens and replaces
// each at its use; SIGUSR2 removes bob.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import Provider from 'oidc-provider'

console.info = console.warn = console.error // Standard output is for the one line that is waited for.

const people = {
  alice: { preferred_username: 'alice.liddell' },
  bob: { preferred_username: 'bob' },
  carol: { preferred_username: 'carol' },
  dora: { preferred_username: 'dora' },
  erin: { preferred_username: 'erin' },
  dora: { preferred_username: 'dora' },
  amal: { preferred_username: 'amal' },
  greta: { preferred_username: 'greta' },
  frank: { preferred_username: 'frank' },
}

const { ISSUER, TLS_CERT, TLS_KEY } = process.env
const server = ISSUER
  ? createSecureServer({ cert: readFileSync(TLS_CERT), key: readFileSync(TLS_KEY) }).listen(443, new URL(ISSUER).hostname)
  : createServer().listen(0, '127.0.0.1')
await once(server, 'listening')
const issuer = ISSUER || `http://127.0.0.1:${server.address().port}`

const provider = new Provider(issuer, {
  clients: [{
    client_id: process.env.CLIENT_ID,
    client_secret: process.env.CLIENT_SECRET,
    redirect_uris: [process.env.REDIRECT_URI],
    ...(process.env.REFRESH && { grant_types: ['authorization_code', 'refresh_token'] }),
    ...(process.env.LOGOUT_URI && { backchannel_logout_uri: process.env.LOGOUT_URI, backchannel_logout_session_required: true }),
  }],
  ...(process.env.REFRESH && { rotateRefreshToken: true }),
  features: { backchannelLogout: { enabled: true } },
  // The issuer is at a loopback address, which the dispatcher of oidc-provider refuses.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  claims: { openid: ['sub'], profile: ['preferred_username'] },
  findAccount: (_, id) => people[id] && { accountId: id, claims: () => ({ sub: id, ...people[id] }) },
})
provider.on('backchannel.error', (_, err) => console.error(`back-channel logout: ${err.message}`))
server.on('request', provider.callback())
process.on('SIGUSR2', () => { delete people.bob })
process.on('SIGTERM', () => process.exit())
console.log(JSON.stringify({ issuer }))
