// A DPoP client (RFC 9449) on Web Crypto and fetch alone: for browsers, Node.js, Deno and workers.

const webcrypto = globalThis.crypto ?? (await import('node:crypto')).webcrypto // Node.js 18 and older
const { subtle } = webcrypto

const base64url = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
const utf8 = (text) => new TextEncoder().encode(text)
const sha256 = async (text) => base64url(await subtle.digest('SHA-256', utf8(text)))

// newKey makes a key that no script can read. Browsers keep it in IndexedDB as it is.
export const newKey = () => subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign', 'verify'])

const publicJWK = async (key) => {
  const { crv, kty, x, y } = await subtle.exportKey('jwk', key.publicKey)
  return { crv, kty, x, y } // nothing else, and in the order of RFC 7638
}

// thumbprint is what dpop_jkt, and cnf.jkt in tokens, say about the key.
export const thumbprint = async (key) => sha256(JSON.stringify(await publicJWK(key)))

// proof is the value of a DPoP header, for one request.
export async function proof(key, { method, url, nonce, accessToken }) {
  const header = { typ: 'dpop+jwt', alg: 'ES256', jwk: await publicJWK(key) }
  const claims = {
    jti: base64url(webcrypto.getRandomValues(new Uint8Array(16))),
    htm: method,
    htu: url.split(/[?#]/)[0],
    iat: Math.floor(Date.now() / 1000),
    ...(nonce && { nonce }),
    ...(accessToken && { ath: await sha256(accessToken) }),
  }
  const input = [header, claims].map((part) => base64url(utf8(JSON.stringify(part)))).join('.')
  const signature = await subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, key.privateKey, utf8(input))
  return `${input}.${base64url(signature)}`
}

// withProofs returns a fetch that proves the key with each request, shows the access token if there is one, remembers
// the newest nonce of each origin, and sends a request once more when it wanted for a nonce.
export function withProofs(key) {
  const nonces = new Map()
  return async function send(url, { accessToken, ...options } = {}, retry = true) {
    const { origin } = new URL(url)
    const method = options.method ?? 'GET'
    const headers = new Headers(options.headers)
    headers.set('DPoP', await proof(key, { method, url, accessToken, nonce: nonces.get(origin) }))
    if (accessToken) headers.set('Authorization', `DPoP ${accessToken}`)
    const response = await fetch(url, { ...options, method, headers })
    const nonce = response.headers.get('DPoP-Nonce')
    if (nonce) nonces.set(origin, nonce)
    return retry && nonce && (await errorOf(response)) === 'use_dpop_nonce'
      ? send(url, { accessToken, ...options }, false)
      : response
  }
}

// errorOf tells the error code of an answer: a resource puts it in its challenge, an authorization server in the body.
async function errorOf(response) {
  if (response.status !== 400 && response.status !== 401) return undefined
  const challenge = /error="([^"]*)"/.exec(response.headers.get('WWW-Authenticate') ?? '')
  if (challenge) return challenge[1]
  return response.clone().json().then((body) => body.error, () => undefined)
}
