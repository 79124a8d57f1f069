// Looks up in the status lists of an issuer whether the session of an access token, or a credential, has ended. Runs in Node, Deno, Bun and
// browsers, without packages. Verify the token or the credential first: this does not.

// The algorithms of `signing.alg`, for WebCrypto.
const algorithms = {
  ES256: { key: { name: 'ECDSA', namedCurve: 'P-256' }, signature: { name: 'ECDSA', hash: 'SHA-256' } },
  EdDSA: { key: { name: 'Ed25519' }, signature: { name: 'Ed25519' } },
  RS256: { key: { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' }, signature: { name: 'RSASSA-PKCS1-v1_5' } },
}
const maxBytes = 4 << 20 // of a list that is unpacked
const statuses = { 0: 'valid', 1: 'invalid', 3: 'handle_ended' } // the last one: only the handle of a credential has ended

const bytes = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0))
const json = (part) => JSON.parse(new TextDecoder().decode(bytes(part)))

export class StatusLists {
  #lists = new Map() // by uri

  constructor(issuer, jwksUri = `${issuer}/jwks`) {
    this.issuer = issuer
    this.jwksUri = jwksUri
  }

  // status returns 'valid' or 'invalid' for the claims of a token or credential, and 'handle_ended' for a credential whose handle is not that
  // of its user any more. An error means that this cannot be known now: refuse it for now, and do not call it revoked.
  async status(claims) {
    const { idx, uri } = claims.status?.status_list ?? {}
    if (claims.iss !== this.issuer) throw new Error('the token is of another issuer')
    if (!Number.isSafeInteger(idx) || idx < 0 || typeof uri !== 'string') throw new Error('the token refers to no status list')
    const { bits, entries } = await this.#list(uri)
    const perByte = 8 / bits
    const byte = entries[Math.floor(idx / perByte)]
    if (byte === undefined) throw new Error('the index is outside the list')
    const status = statuses[(byte >> (idx % perByte) * bits) & ((1 << bits) - 1)]
    if (!status) throw new Error('the status has no meaning here')
    return status
  }

  async #list(uri) {
    const known = this.#lists.get(uri)
    const now = Date.now() / 1000
    if (known && now < known.until) return known
    const answer = await fetch(uri, { headers: { accept: 'application/statuslist+jwt' }, redirect: 'error' })
    if (answer.status !== 200) throw new Error(`the list answered ${answer.status}`)
    const list = await this.#verify(await answer.text())
    if (list.sub !== uri || list.iss !== this.issuer) throw new Error('the list is another one')
    if (!(list.iat <= now + 60 && now < list.exp)) throw new Error('the list is too old')
    if (known && list.iat < known.iat) throw new Error('the list is older than one seen before')
    const { bits, lst } = list.status_list
    if (bits !== 1 && bits !== 2) throw new Error('the list has entries of another size')
    const kept = { iat: list.iat, until: Math.min(now + (list.ttl ?? 60), list.exp), bits, entries: await unpack(lst) }
    this.#lists.set(uri, kept)
    return kept
  }

  // verify returns the claims of a list that a key of the issuer has signed.
  async #verify(token) {
    const [header, payload, signature] = token.split('.')
    const { typ, kid, crit } = json(header)
    if (typ !== 'statuslist+jwt' || crit) throw new Error('not a status list')
    const { keys } = await (await fetch(this.jwksUri, { redirect: 'error' })).json()
    const jwk = keys.find((k) => k.kid === kid)
    const algorithm = algorithms[jwk?.alg] // of the key, and not of the header
    if (!algorithm) throw new Error('the issuer has no such key')
    const { kty, crv, x, y, n, e } = jwk
    const key = await crypto.subtle.importKey('jwk', { kty, crv, x, y, n, e }, algorithm.key, false, ['verify'])
    const signed = new TextEncoder().encode(`${header}.${payload}`)
    if (!(await crypto.subtle.verify(algorithm.signature, key, bytes(signature), signed))) throw new Error('the signature does not verify')
    return json(payload)
  }
}

// unpack decompresses a list, and never more than maxBytes of it.
async function unpack(lst) {
  const chunks = []
  let size = 0
  for await (const chunk of new Blob([bytes(lst)]).stream().pipeThrough(new DecompressionStream('deflate'))) {
    if ((size += chunk.length) > maxBytes) throw new Error('the list is too large')
    chunks.push(chunk)
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer())
}
