// An OpenID provider that is not ours: npm oidc-provider on a free loopback port. At it sign in the users of the issuer, and those who prove
// to step-ca who they are: it copies keyauth and acme_aud from the parameter claims into the ID token, as providers do that Wire works with.
//
// In the environment: SECRET and REDIRECT_URI of the client issuer, and WIRE_URI, the redirect URI of the public client wireapp. Prints
// {"issuer": URL} when ready. Its forms take any password.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const require = createRequire(pathToFileURL(process.env.MODULES + '/package.json'))
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')))

console.info = console.warn = console.error // Standard output is for the one line that is waited for.

const people = { alice: { preferred_username: 'alice', name: 'alice' }, bob: { preferred_username: 'bob', name: 'bob' } }
const server = createServer().listen(0, '127.0.0.1')
await once(server, 'listening')
const issuer = `http://127.0.0.1:${server.address().port}`

const provider = new Provider(issuer, {
  clients: [
    { client_id: 'issuer', client_secret: process.env.SECRET, redirect_uris: [process.env.REDIRECT_URI] },
    {
      client_id: 'wireapp', token_endpoint_auth_method: 'none', application_type: 'native', redirect_uris: [process.env.WIRE_URI],
      response_types: ['code'], grant_types: ['authorization_code'],
    },
  ],
  features: { claimsParameter: { enabled: true } },
  claims: { openid: ['sub'], profile: ['preferred_username', 'name'], acme: ['keyauth', 'acme_aud'] },
  findAccount: (_, id) => people[id] && {
    accountId: id,
    claims: (use, scope, asked) => ({
      sub: id, ...people[id],
      ...(asked.keyauth?.value && { keyauth: asked.keyauth.value, acme_aud: asked.acme_aud?.value }),
    }),
  },
})
server.on('request', provider.callback())
process.on('SIGTERM', () => process.exit())
console.log(JSON.stringify({ issuer }))
