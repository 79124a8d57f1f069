// Two OAuth clients that are not ours, npm openid-client and oauth4webapi, go through all that the issuer offers.
//
// In the environment: ISSUER, PEER_ID and PEER_SECRET (a client that may introspect), CLIENT_ID and REDIRECT_URI (a
// public one), AUDIENCE of the tokens, WEB_ID and SITE_ID (clients that sign assertions and push their requests) and
// WEB_KEYS (their private keys by algorithm, PKCS #8 in base64; the kid of each is its algorithm). Prints a line for each step, made of what the libraries found. For each login
// prints `LOGIN who url` and reads from standard input the URL that the browser was sent back to.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createInterface } from 'node:readline'
import * as oidc from 'openid-client'
import * as oauth from 'oauth4webapi'

const { ISSUER, PEER_ID, PEER_SECRET, CLIENT_ID, REDIRECT_URI, AUDIENCE, WEB_ID, SITE_ID, WEB_KEYS } = process.env
const issuer = new URL(ISSUER)
const typed = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

async function login(who, url) {
  console.log(`LOGIN ${who} ${url}`)
  return new URL((await typed.next()).value)
}

// counted is fetch, but that it counts how often a proof was refused for want of a nonce.
let refused = 0
async function counted(url, options) {
  const response = await fetch(url, options)
  if (response.status === 400 && (await response.clone().json()).error === 'use_dpop_nonce') refused++
  return response
}

// proving is fetch with a proof: neither library sends one to a revocation endpoint by itself.
const proving = (DPoP) => async (url, options) => {
  const headers = new Headers(options.headers)
  await DPoP.addProof(new URL(url), headers, options.method)
  const response = await counted(url, { ...options, headers: Object.fromEntries(headers) })
  DPoP.cacheNonce(response, new URL(url))
  return response
}

// step runs one step and prints what it returns.
async function step(name, run) {
  refused = 0
  const what = await run()
  console.log(`${name}: ${what}${refused ? ` (${refused} retry with a nonce)` : ''}`)
}

// altered is fetch, but that it changes the signature of a signed answer.
async function altered(url, options) {
  const response = await counted(url, options)
  if (!/introspection.*jwt/.test(response.headers.get('content-type'))) return response
  const [header, payload, signature] = (await response.text()).split('.')
  const other = signature.replace(/^./, (c) => (c === 'A' ? 'B' : 'A'))
  return new Response([header, payload, other].join('.'), { status: response.status, headers: response.headers })
}

const whose = (claims) => [claims.handle, claims.sub, claims.device, claims.cnf?.jkt].join()
const decode = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'))
const expectInvalidGrant = (err) => {
  if (err.error !== 'invalid_grant') throw err
  return 'the session has ended'
}

// A resource server: it answers with the claims of the access token that oauth4webapi found good, and proven.
async function resourceServer(as) {
  const server = createServer(async (req, res) => {
    try {
      const request = new Request(new URL(req.url, resource), { method: req.method, headers: req.headers })
      const options = { requireDPoP: true, [oauth.allowInsecureRequests]: true, [oauth.customFetch]: counted }
      const claims = await oauth.validateJwtAccessToken(as, request, AUDIENCE, options)
      res.setHeader('content-type', 'application/json').end(JSON.stringify(claims))
    } catch (err) {
      console.error(err)
      res.writeHead(401).end()
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const resource = new URL(`http://127.0.0.1:${server.address().port}/messages`)
  return { resource, close: () => { server.closeAllConnections(); server.close() } }
}

async function openidClient() {
  const execute = [oidc.allowInsecureRequests]
  const options = { algorithm: 'oauth2', execute, [oidc.customFetch]: counted }
  let app, peer, tokens, claims
  await step('openid-client discovery', async () => {
    app = await oidc.discovery(issuer, CLIENT_ID, undefined, oidc.None(), options)
    peer = await oidc.discovery(issuer, PEER_ID, undefined, oidc.ClientSecretBasic(PEER_SECRET), options)
    return `PKCE ${app.serverMetadata().supportsPKCE()}`
  })
  const DPoP = oidc.getDPoPHandle(app, await oidc.randomDPoPKeyPair('ES256'))

  await step('openid-client code', async () => {
    const pkceCodeVerifier = oidc.randomPKCECodeVerifier()
    const url = oidc.buildAuthorizationUrl(app, {
      redirect_uri: REDIRECT_URI,
      code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
    })
    const back = await login('alice', url)
    tokens = await oidc.authorizationCodeGrant(app, back, { pkceCodeVerifier }, undefined, { DPoP })
    claims = decode(tokens.access_token)
    return `${tokens.token_type} token of ${claims.handle} with scope ${tokens.scope}`
  })
  await step('openid-client refresh', async () => {
    const next = await oidc.refreshTokenGrant(app, tokens.refresh_token, undefined, { DPoP })
    const same = whose(decode(next.access_token)) === whose(claims)
    const fresh = next.refresh_token !== tokens.refresh_token && next.access_token !== tokens.access_token
    tokens = next
    return `${next.token_type} token, same identity ${same}, new tokens ${fresh}`
  })
  await step('openid-client client_credentials', async () => {
    const handle = oidc.getDPoPHandle(peer, await oidc.randomDPoPKeyPair('EdDSA'))
    const service = await oidc.clientCredentialsGrant(peer, undefined, { DPoP: handle })
    return `${service.token_type} token of ${decode(service.access_token).sub}`
  })
  await step('openid-client introspection', async () => {
    const answer = await oidc.tokenIntrospection(peer, tokens.access_token)
    return `active ${answer.active}, same identity ${whose(answer) === whose(claims)}`
  })
  await step('openid-client signed introspection', async () => {
    const metadata = { introspection_signed_response_alg: app.serverMetadata().introspection_signing_alg_values_supported[0] }
    const signed = await oidc.discovery(issuer, PEER_ID, metadata, oidc.ClientSecretBasic(PEER_SECRET), {
      ...options, execute: [...execute, oidc.enableNonRepudiationChecks],
    })
    const answer = await oidc.tokenIntrospection(signed, tokens.access_token)
    const none = await oidc.tokenIntrospection(signed, 'never-issued')
    signed[oidc.customFetch] = altered
    const changed = await oidc.tokenIntrospection(signed, tokens.access_token).then(() => 'accepted', (err) => err.code)
    return `active ${answer.active}, same identity ${whose(answer) === whose(claims)}, no token ${JSON.stringify(none)}, another signature ${changed}`
  })
  await step('openid-client resource', async () => {
    const { resource, close } = await resourceServer(app.serverMetadata())
    const response = await oidc.fetchProtectedResource(app, tokens.access_token, resource, 'GET', null, undefined, { DPoP })
    const seen = await response.json()
    close()
    return `validateJwtAccessToken, same identity ${whose(seen) === whose(claims)}`
  })
  await step('openid-client revocation', async () => {
    const bare = await oidc.tokenRevocation(app, tokens.access_token).then(() => 'revoked', (err) => err.error)
    app[oidc.customFetch] = proving(DPoP)
    await oidc.tokenRevocation(app, tokens.access_token, { token_type_hint: 'access_token' })
    app[oidc.customFetch] = counted
    return `without a proof ${bare}, active ${(await oidc.tokenIntrospection(peer, tokens.access_token)).active}`
  })
  await step('openid-client end of session', async () => {
    await oidc.tokenRevocation(app, tokens.refresh_token)
    return oidc.refreshTokenGrant(app, tokens.refresh_token, undefined, { DPoP }).then(() => 'it goes on', expectInvalidGrant)
  })
}

async function oauth4webapi() {
  const app = { client_id: CLIENT_ID }
  const peer = { client_id: PEER_ID }
  const secret = oauth.ClientSecretPost(PEER_SECRET)
  const options = { [oauth.allowInsecureRequests]: true, [oauth.customFetch]: counted }
  let as, tokens, claims
  await step('oauth4webapi discovery', async () => {
    const response = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...options })
    as = await oauth.processDiscoveryResponse(issuer, response)
    return `PKCE ${as.code_challenge_methods_supported}`
  })
  const DPoP = oauth.DPoP(app, await oauth.generateKeyPair('ES256'))

  // withNonce sends a request, and once more if the first answer to it brought a nonce.
  async function withNonce(send, process) {
    try {
      return await process(await send())
    } catch (err) {
      if (!oauth.isDPoPNonceError(err)) throw err
      return process(await send())
    }
  }
  const refresh = () => withNonce(
    () => oauth.refreshTokenGrantRequest(as, app, oauth.None(), tokens.refresh_token, { DPoP, ...options }),
    (response) => oauth.processRefreshTokenResponse(as, app, response),
  )
  async function introspect() {
    const response = await oauth.introspectionRequest(as, peer, secret, tokens.access_token, options)
    return oauth.processIntrospectionResponse(as, peer, response)
  }

  await step('oauth4webapi code', async () => {
    const verifier = oauth.generateRandomCodeVerifier()
    const state = oauth.generateRandomState()
    const url = new URL(as.authorization_endpoint)
    url.search = new URLSearchParams({
      client_id: CLIENT_ID,
      redirect_uri: REDIRECT_URI,
      response_type: 'code',
      scope: 'im:handle im:device',
      state,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
      code_challenge_method: 'S256',
      dpop_jkt: await DPoP.calculateThumbprint(),
      im_device_name: 'Telephone',
    })
    const answer = oauth.validateAuthResponse(as, app, await login('bob', url), state)
    tokens = await withNonce(
      () => oauth.authorizationCodeGrantRequest(as, app, oauth.None(), answer, REDIRECT_URI, verifier, { DPoP, ...options }),
      (response) => oauth.processAuthorizationCodeResponse(as, app, response),
    )
    claims = decode(tokens.access_token)
    return `${tokens.token_type} token of ${claims.handle} with scope ${tokens.scope}`
  })
  await step('oauth4webapi refresh', async () => {
    const next = await refresh()
    const same = whose(decode(next.access_token)) === whose(claims)
    const fresh = next.refresh_token !== tokens.refresh_token && next.access_token !== tokens.access_token
    tokens = next
    return `${next.token_type} token, same identity ${same}, new tokens ${fresh}`
  })
  await step('oauth4webapi client_credentials', async () => {
    const handle = oauth.DPoP(peer, await oauth.generateKeyPair('EdDSA'))
    const service = await withNonce(
      () => oauth.clientCredentialsGrantRequest(as, peer, secret, {}, { DPoP: handle, ...options }),
      (response) => oauth.processClientCredentialsResponse(as, peer, response),
    )
    return `${service.token_type} token of ${decode(service.access_token).sub}`
  })
  await step('oauth4webapi introspection', async () => {
    const answer = await introspect()
    return `active ${answer.active}, same identity ${whose(answer) === whose(claims)}`
  })
  await step('oauth4webapi signed introspection', async () => {
    const signed = { ...peer, introspection_signed_response_alg: as.introspection_signing_alg_values_supported[0] }
    const ask = async (token, fetch) => {
      const response = await oauth.introspectionRequest(as, signed, secret, token, { ...options, [oauth.customFetch]: fetch })
      const answer = await oauth.processIntrospectionResponse(as, signed, response)
      await oauth.validateApplicationLevelSignature(as, response, options)
      return answer
    }
    const answer = await ask(tokens.access_token, counted)
    const none = await ask('never-issued', counted)
    const changed = await ask(tokens.access_token, altered).then(() => 'accepted', (err) => err.code)
    return `active ${answer.active}, same identity ${whose(answer) === whose(claims)}, no token ${JSON.stringify(none)}, another signature ${changed}`
  })
  await step('oauth4webapi resource', async () => {
    const { resource, close } = await resourceServer(as)
    const response = await oauth.protectedResourceRequest(tokens.access_token, 'GET', resource, undefined, null, { DPoP, ...options })
    const seen = await response.json()
    close()
    return `validateJwtAccessToken, same identity ${whose(seen) === whose(claims)}`
  })
  await step('oauth4webapi revocation', async () => {
    const revoke = async (fetch) =>
      oauth.processRevocationResponse(
        await oauth.revocationRequest(as, app, oauth.None(), tokens.access_token, { ...options, [oauth.customFetch]: fetch }),
      )
    const bare = await revoke(counted).then(() => 'revoked', (err) => err.error)
    await revoke(proving(DPoP))
    return `without a proof ${bare}, active ${(await introspect()).active}`
  })
  await step('oauth4webapi end of session', async () => {
    await oauth.processRevocationResponse(await oauth.revocationRequest(as, app, oauth.None(), tokens.refresh_token, options))
    return refresh().then(() => 'it goes on', expectInvalidGrant)
  })
}

// clientKey is the private key for an algorithm, as both libraries take it.
async function clientKey(alg) {
  const algorithm = {
    ES256: { name: 'ECDSA', namedCurve: 'P-256' },
    EdDSA: { name: 'Ed25519' },
    RS256: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  }[alg]
  const pkcs8 = Buffer.from(JSON.parse(WEB_KEYS)[alg], 'base64')
  return { key: await crypto.subtle.importKey('pkcs8', pkcs8, algorithm, false, ['sign']), kid: alg }
}

// A service that has no secret: it signs an assertion for each request.
async function openidClientByKey() {
  const options = { algorithm: 'oauth2', execute: [oidc.allowInsecureRequests], [oidc.customFetch]: counted }
  const { key, kid } = await clientKey('ES256')
  const config = await oidc.discovery(issuer, WEB_ID, undefined, oidc.PrivateKeyJwt({ key, kid }), options)
  const DPoP = oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair('ES256'))
  let url, tokens, claims
  const pkceCodeVerifier = oidc.randomPKCECodeVerifier()
  await step('openid-client with a key push', async () => {
    url = await oidc.buildAuthorizationUrlWithPAR(config, {
      redirect_uri: REDIRECT_URI,
      code_challenge: await oidc.calculatePKCECodeChallenge(pkceCodeVerifier),
      code_challenge_method: 'S256',
    }, { DPoP })
    return [...url.searchParams.keys()].sort()
  })
  await step('openid-client with a key code', async () => {
    const back = await login('alice', url)
    tokens = await oidc.authorizationCodeGrant(config, back, { pkceCodeVerifier }, undefined, { DPoP })
    claims = decode(tokens.access_token)
    return `${tokens.token_type} token of ${claims.handle}`
  })
  await step('openid-client with a key refresh', async () => {
    tokens = await oidc.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP })
    return `${tokens.token_type} token, same identity ${whose(decode(tokens.access_token)) === whose(claims)}`
  })
  for (const alg of ['EdDSA', 'RS256']) {
    await step(`openid-client with a key client_credentials by ${alg}`, async () => {
      const service = await oidc.discovery(issuer, WEB_ID, undefined, oidc.PrivateKeyJwt(await clientKey(alg)), options)
      const handle = oidc.getDPoPHandle(service, await oidc.randomDPoPKeyPair('ES256'))
      const token = await oidc.clientCredentialsGrant(service, undefined, { DPoP: handle })
      return `${token.token_type} token of ${decode(token.access_token).sub}`
    })
  }
  await step('openid-client with a key introspection', async () => {
    const answer = await oidc.tokenIntrospection(config, tokens.access_token)
    return `active ${answer.active}, same identity ${whose(answer) === whose(claims)}`
  })
  await step('openid-client with a key revocation', async () => {
    await oidc.tokenRevocation(config, tokens.refresh_token)
    return oidc.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP }).then(() => 'it goes on', expectInvalidGrant)
  })
}

// The same, of a service that publishes its keys.
async function oauth4webapiByKey() {
  const site = { client_id: SITE_ID }
  const options = { [oauth.allowInsecureRequests]: true, [oauth.customFetch]: counted }
  const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...options }))
  const byKey = oauth.PrivateKeyJwt(await clientKey('RS256'))
  const DPoP = oauth.DPoP(site, await oauth.generateKeyPair('ES256'))
  const withNonce = async (send, process) => {
    try {
      return await process(await send())
    } catch (err) {
      if (!oauth.isDPoPNonceError(err)) throw err
      return process(await send())
    }
  }
  const verifier = oauth.generateRandomCodeVerifier()
  const state = oauth.generateRandomState()
  let pushed, tokens, claims
  await step('oauth4webapi with a key push', async () => {
    const parameters = {
      redirect_uri: REDIRECT_URI, response_type: 'code', state,
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
    }
    pushed = await withNonce(
      () => oauth.pushedAuthorizationRequest(as, site, byKey, parameters, { DPoP, ...options }),
      (response) => oauth.processPushedAuthorizationResponse(as, site, response),
    )
    return `for ${pushed.expires_in} s`
  })
  await step('oauth4webapi with a key code', async () => {
    const url = new URL(as.authorization_endpoint)
    url.search = new URLSearchParams({ client_id: SITE_ID, request_uri: pushed.request_uri })
    const answer = oauth.validateAuthResponse(as, site, await login('bob', url), state)
    tokens = await withNonce(
      () => oauth.authorizationCodeGrantRequest(as, site, byKey, answer, REDIRECT_URI, verifier, { DPoP, ...options }),
      (response) => oauth.processAuthorizationCodeResponse(as, site, response),
    )
    claims = decode(tokens.access_token)
    return `${tokens.token_type} token of ${claims.handle}`
  })
  const refresh = () => withNonce(
    () => oauth.refreshTokenGrantRequest(as, site, byKey, tokens.refresh_token, { DPoP, ...options }),
    (response) => oauth.processRefreshTokenResponse(as, site, response),
  )
  await step('oauth4webapi with a key refresh', async () => {
    tokens = await refresh()
    return `${tokens.token_type} token, same identity ${whose(decode(tokens.access_token)) === whose(claims)}`
  })
  for (const alg of ['EdDSA', 'ES256']) {
    await step(`oauth4webapi with a key client_credentials by ${alg}`, async () => {
      const handle = oauth.DPoP(site, await oauth.generateKeyPair('ES256'))
      const key = oauth.PrivateKeyJwt(await clientKey(alg))
      const token = await withNonce(
        () => oauth.clientCredentialsGrantRequest(as, site, key, {}, { DPoP: handle, ...options }),
        (response) => oauth.processClientCredentialsResponse(as, site, response),
      )
      return `${token.token_type} token of ${decode(token.access_token).sub}`
    })
  }
  await step('oauth4webapi with a key introspection', async () => {
    const response = await oauth.introspectionRequest(as, site, byKey, tokens.access_token, options)
    const answer = await oauth.processIntrospectionResponse(as, site, response)
    return `active ${answer.active}, same identity ${whose(answer) === whose(claims)}`
  })
  await step('oauth4webapi with a key revocation', async () => {
    await oauth.processRevocationResponse(await oauth.revocationRequest(as, site, byKey, tokens.refresh_token, options))
    return refresh().then(() => 'it goes on', expectInvalidGrant)
  })
}

await openidClient()
await oauth4webapi()
await openidClientByKey()
await oauth4webapiByKey()
process.stdin.destroy()
