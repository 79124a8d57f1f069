// What runs in the page of page.mjs. Everything that it asks of the issuer is cross-origin, and Chromium hides from it
// whatever the issuer does not share. It logs a line for each step, made of what it could read.
import * as oauth from 'oauth4webapi'

const settings = JSON.parse(document.getElementById('settings').textContent)
const issuer = new URL(settings.issuer)
const app = { client_id: settings.app }
const redirect = `${location.origin}/callback`

// counted is fetch, but that it counts how often a proof was refused for want of a nonce.
let refused = 0
async function counted(url, options) {
  const response = await fetch(url, options)
  if (response.status === 400 && (await response.clone().json()).error === 'use_dpop_nonce') refused++
  return response
}
const options = { [oauth.allowInsecureRequests]: true, [oauth.customFetch]: counted }

async function step(name, run) {
  refused = 0
  const what = await run()
  console.log(`${name}: ${what}${refused ? ` (${refused} retry with a nonce)` : ''}`)
}

// withNonce sends a request, and once more if the first answer to it brought a nonce.
async function withNonce(send, process) {
  try {
    return await process(await send())
  } catch (err) {
    if (!oauth.isDPoPNonceError(err)) throw err
    return process(await send())
  }
}

// The device's key, which no script can read, outlives the page in IndexedDB.
function keys(mode, run) {
  return new Promise((resolve, reject) => {
    const open = indexedDB.open('app')
    open.onupgradeneeded = () => open.result.createObjectStore('keys')
    open.onerror = () => reject(open.error)
    open.onsuccess = () => {
      const asked = run(open.result.transaction('keys', mode).objectStore('keys'))
      asked.onsuccess = () => resolve(asked.result)
      asked.onerror = () => reject(asked.error)
    }
  })
}

const decode = (token) => JSON.parse(new TextDecoder().decode(Uint8Array.fromBase64(token.split('.')[1], { alphabet: 'base64url' })))
const whose = (claims) => [claims.handle, claims.sub, claims.device, claims.cnf?.jkt].join()

const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...options }))

async function begin() {
  await step('discovery', () => `PKCE ${as.code_challenge_methods_supported}`)
  await step('keys', async () => {
    const { keys } = await (await fetch(as.jwks_uri)).json()
    return `${keys.length} of type ${keys[0].kty}`
  })
  await step('nonce', async () => {
    const response = await fetch(new URL('/nonce', issuer))
    return `${response.status}, readable ${Boolean(response.headers.get('dpop-nonce'))}`
  })
  await step('authorize', () => fetch(as.authorization_endpoint).then(() => 'read by a page', (err) => `hidden from pages (${err.name})`))

  const pair = await oauth.generateKeyPair('ES256')
  await keys('readwrite', (store) => store.put(pair, 'device'))
  const DPoP = oauth.DPoP(app, pair)
  const verifier = oauth.generateRandomCodeVerifier()
  const state = oauth.generateRandomState()
  sessionStorage.setItem('login', JSON.stringify({ verifier, state }))
  let pushed
  await step('push', async () => {
    const parameters = {
      redirect_uri: redirect, response_type: 'code', state,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
    }
    pushed = await withNonce(
      () => oauth.pushedAuthorizationRequest(as, app, oauth.None(), parameters, { DPoP, ...options }),
      (response) => oauth.processPushedAuthorizationResponse(as, app, response),
    )
    return `for ${pushed.expires_in} s`
  })
  const url = new URL(as.authorization_endpoint)
  url.search = new URLSearchParams({ client_id: app.client_id, request_uri: pushed.request_uri })
  location.assign(url)
}

async function finish() {
  const { verifier, state } = JSON.parse(sessionStorage.getItem('login'))
  const DPoP = oauth.DPoP(app, await keys('readonly', (store) => store.get('device')))
  const answer = oauth.validateAuthResponse(as, app, new URL(location), state)
  let tokens, claims
  await step('code', async () => {
    tokens = await withNonce(
      () => oauth.authorizationCodeGrantRequest(as, app, oauth.None(), answer, redirect, verifier, { DPoP, ...options }),
      (response) => oauth.processAuthorizationCodeResponse(as, app, response),
    )
    claims = decode(tokens.access_token)
    return `${tokens.token_type} token of ${claims.handle}`
  })
  const refresh = () => withNonce(
    () => oauth.refreshTokenGrantRequest(as, app, oauth.None(), tokens.refresh_token, { DPoP, ...options }),
    (response) => oauth.processRefreshTokenResponse(as, app, response),
  )
  await step('refresh', async () => {
    const next = await refresh()
    const same = whose(decode(next.access_token)) === whose(claims)
    const fresh = next.refresh_token !== tokens.refresh_token && next.access_token !== tokens.access_token
    tokens = next
    return `${next.token_type} token, same identity ${same}, new tokens ${fresh}`
  })
  const introspect = async (secret) => oauth.introspectionRequest(
    as, { client_id: settings.peer }, oauth.ClientSecretBasic(secret), tokens.access_token, options)
  await step('introspection', async () => {
    const { active } = await oauth.processIntrospectionResponse(as, { client_id: settings.peer }, await introspect(settings.secret))
    return `active ${active}`
  })
  await step('wrong secret', async () => {
    const response = await introspect('wrong')
    return `${response.status} with ${response.headers.get('www-authenticate')?.split(' ')[0]} challenge`
  })
  await step('too many', async () => {
    for (let i = 0; i < 100; i++) {
      try {
        tokens = await refresh()
      } catch (err) {
        const wait = Number(err.response.headers.get('retry-after'))
        return `${err.status} ${err.error}, in ${wait > 0 && wait <= 180 ? 'some' : wait} seconds again`
      }
    }
    return 'never'
  })
  await step('revocation', async () => {
    await oauth.processRevocationResponse(await oauth.revocationRequest(as, app, oauth.None(), tokens.refresh_token, options))
    return refresh().then(() => 'it goes on', (err) => err.error)
  })
  globalThis.finished = true
}

await (new URL(location).pathname === '/callback' ? finish() : begin())
