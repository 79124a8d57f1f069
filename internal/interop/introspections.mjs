// Asks the issuer about tokens by docs/introspection.mjs, in all its ways, and sends requests to the web service of docs/introspection.md.
// The test copies this script beside them. In the environment: ISSUER, CLIENT_ID, CODE, CODE_VERIFIER and REDIRECT_URI for a login; PEER_ID
// and PEER_SECRET, and WEB_ID and WEB_KEY (PKCS #8 in base64, an EdDSA key), for clients that ask; ORIGIN and SERVICE, the public and the
// real URL of the service. Prints a line for each step.
import * as oauth from 'oauth4webapi'
import { newKey, proof, withProofs } from './dpop-client.mjs'
import { Introspection, Unknown } from './introspection.mjs'

const { ISSUER, CLIENT_ID, CODE, CODE_VERIFIER, REDIRECT_URI, PEER_ID, PEER_SECRET, WEB_ID, WEB_KEY, ORIGIN, SERVICE } = process.env
const key = await newKey()
const thiefs = await newKey()
const send = withProofs(key)

async function post(path, parameters) {
  const answer = await send(`${ISSUER}${path}`, { method: 'POST', body: new URLSearchParams({ client_id: CLIENT_ID, ...parameters }) })
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  return answer
}

let requests = 0
let clock = Date.now()
let instead // of the issuer's answer
const counted = async (url, options) => {
  if (!url.endsWith('/introspect')) return fetch(url, options)
  requests++
  const response = await fetch(url, options)
  return instead ? instead(response) : response
}
const asker = (auth, more) => new Introspection({
  issuer: ISSUER, clientId: PEER_ID, auth, now: () => clock, ...more,
  options: { [oauth.allowInsecureRequests]: true, [oauth.customFetch]: counted },
})
const secret = oauth.ClientSecretBasic(PEER_SECRET)
const privateKey = await crypto.subtle.importKey('pkcs8', Buffer.from(WEB_KEY, 'base64'), { name: 'Ed25519' }, false, ['sign'])
const byKey = oauth.PrivateKeyJwt({ key: privateKey, kid: 'EdDSA' })

const tokens = await (await post('/token', {
  grant_type: 'authorization_code', code: CODE, code_verifier: CODE_VERIFIER, redirect_uri: REDIRECT_URI,
})).json()
const token = tokens.access_token
const claims = JSON.parse(Buffer.from(token.split('.')[1], 'base64url'))

// said tells what an answer is, or which error there was instead.
async function said(answer) {
  try {
    const { active, sub, holder } = await answer
    return active ? `active ${sub === claims.sub} ${holder}` : 'inactive'
  } catch (error) {
    if (error instanceof Unknown) return `unknown, again in ${error.retryAfter} s`
    if (error instanceof oauth.WWWAuthenticateChallengeError) return `refused ${error.status}`
    if (error instanceof oauth.ResponseBodyError) return `refused ${error.status} ${error.error}`
    throw error
  }
}
async function step(name, ...answers) {
  requests = 0
  const list = []
  for (const answer of answers) list.push(await said(answer()))
  console.log(`${name}: ${list.join(', ')} (${requests} requests)`)
}

for (const [name, auth, more] of [
  ['secret', secret], ['secret, signed', secret, { signed: true }],
  ['key', byKey, { clientId: WEB_ID }], ['key, signed', byKey, { clientId: WEB_ID, signed: true }],
]) {
  const issuer = asker(auth, more)
  await step(name, () => issuer.ask(token), () => issuer.ask(token), () => issuer.ask('never-issued'), () => issuer.ask('never-issued'))
}

const issuer = asker(secret)
await step('at once', () => Promise.all([issuer.ask(token), issuer.ask(token), issuer.ask(token)]).then(([first]) => first))
clock += 4000
await step('within max_age', () => issuer.ask(token))
clock += 1000
await step('after max_age', () => issuer.ask(token))
clock = 1000 * claims.exp - 1
await step('at its end', () => issuer.ask(token))
clock += 1
await step('after its end', () => issuer.ask(token))
clock = Date.now()

// What is no answer is neither kept nor a "no".
const answering = (status, body, headers) => () => new Response(body, { status, headers: { 'content-type': 'application/json', ...headers } })
for (const [name, answer, more] of [
  ['unavailable', answering(503, '{"error":"temporarily_unavailable"}', { 'retry-after': '7' })],
  ['too many', answering(429, '{"error":"temporarily_unavailable"}', { 'retry-after': '3' })],
  ['broken', answering(500, '')],
  ['a page', answering(200, '<html>', { 'content-type': 'text/html' })],
  ['no verdict', answering(200, '{}')],
  ['cut off', () => { throw new TypeError('fetch failed') }],
  ['not signed', (response) => new Response('{"active":false}', { headers: { 'content-type': 'application/json' } }), { signed: true }],
  ['another signature', async (response) => {
    const [header, payload, signature] = (await response.text()).split('.')
    const other = signature.replace(/^./, (c) => (c === 'A' ? 'B' : 'A'))
    return new Response([header, payload, other].join('.'), { headers: response.headers })
  }, { signed: true }],
]) {
  const asked = asker(secret, more)
  instead = answer
  await step(name, () => asked.ask(token))
  instead = undefined
  await step(`${name}, later`, () => asked.ask(token))
}
await step('wrong secret', () => asker(oauth.ClientSecretBasic('wrong')).ask(token))
await step('another issuer', () => new Introspection({ issuer: 'http://127.0.0.1:1', clientId: PEER_ID, auth: secret,
  options: { [oauth.allowInsecureRequests]: true } }).ask(token))

// Who holds the token: each proof once, by the key of the token, for this service.
const url = `${ORIGIN}/hello`
const shown = async (by, change) => ({ proof: await proof(by, { method: 'GET', url, accessToken: token }), method: 'GET', url, ...change })
// An issuer that has just started cannot know for a while whether a proof was used before.
for (;;) {
  try {
    await issuer.askHolder(token, await shown(key))
    break
  } catch (error) {
    if (!(error instanceof Unknown)) throw error
    await new Promise((resolve) => setTimeout(resolve, 1000 * error.retryAfter))
  }
}
const good = await shown(key)
const thief = await shown(thiefs)
await step('holder', () => issuer.askHolder(token, good), () => issuer.askHolder(token, good), () => issuer.askHolder(token, thief))
const elsewhere = await shown(key, { url: 'https://elsewhere.example.net/hello' })
await step('elsewhere', () => issuer.askHolder(token, elsewhere))
const ignored = await shown(key)
instead = (response) => response.json().then((answer) => Response.json({ ...answer, holder: 'unverified' }))
await step('proof ignored', () => issuer.askHolder(token, ignored))
instead = undefined

// The service of the document.
async function call(by, headers) {
  const { proof: dpop } = await shown(by)
  const answer = await fetch(`${SERVICE}/hello?a=b`, { headers: { authorization: `DPoP ${token}`, dpop, ...headers } })
  return [answer.status, answer.headers.get('www-authenticate'), (await answer.text()).trim()].filter(Boolean).join(' ')
}
console.log('service:', await call(key))
console.log('service, thief:', await call(thiefs))
console.log('service, no token:', await call(key, { authorization: '' }))
console.log('service, bearer:', await call(key, { authorization: `Bearer ${token}` }))

await post('/revoke', { token: tokens.refresh_token })
await step('revoked', () => asker(secret).ask(token))
console.log('service, revoked:', await call(key))
