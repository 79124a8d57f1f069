// npm @auth0/cose and cbor2 make and verify CWTs beside package credential/cwt.
//
// INPUT in the environment is a JSON object: `verify` (a list of messages in base64 with the `key` that signed each, and the `holder` who
// signed a key binding, both as JWKs), and for messages that are made here `issuer` and `holder` (private keys as PKCS #8 in base64 with
// their `alg`, and the `kid`), `claims` (names and times) and `binding`. Prints one JSON object: `verified` (for each message what it says,
// or the message of the error; with a `proof`, the JWK of a proof, its thumbprints too), and `access` and `bound`, an access token and a key
// binding token in base64, if there is an `issuer`.
import { createHash, createPrivateKey, createPublicKey } from 'node:crypto'
import { Sign1 } from '@auth0/cose'
import { Tag, cdeDecodeOptions, cdeEncodeOptions, decode, encode } from 'cbor2'

const input = JSON.parse(process.env.INPUT)
const bytes = (text, form = 'base64') => new Uint8Array(Buffer.from(text, form))
const sha256 = (data) => new Uint8Array(createHash('sha256').update(data).digest())
const read = (data) => decode(data, { ...cdeDecodeOptions, rejectDuplicateKeys: true, preferMap: true })
const write = (value) => encode(value, cdeEncodeOptions)

// plain returns CBOR as JSON: labels as text, and byte strings in hexadecimal.
const plain = (value) => {
  if (value instanceof Map) return Object.fromEntries([...value].map(([k, v]) => [String(k), plain(v)]))
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex')
  if (Array.isArray(value)) return value.map(plain)
  if (value instanceof Tag) return { tag: Number(value.tag), value: plain(value.contents) }
  return value
}

// A COSE_Key and both thumbprints of a JWK.
const coordinate = (text) => bytes(text, 'base64url')
const coseKey = ({ kty, x, y }) =>
  kty === 'EC' ? new Map([[1, 2], [-1, 1], [-2, coordinate(x)], [-3, coordinate(y)]]) : new Map([[1, 1], [-1, 6], [-2, coordinate(x)]])
const ckt = (jwk) => sha256(write(coseKey(jwk)))
const jkt = ({ crv, kty, x, y }) => sha256(JSON.stringify({ crv, kty, x, y }))

const verified = []
for (const { data, key, holder, proof } of input.verify) {
  try {
    // cbor2 reads the message and what is in its byte strings, and refuses everything but deterministic encoding.
    const { tag, contents: [header, unprotected, payload] } = read(bytes(data))
    const inner = read(header).get(13)
    const said = { tag: Number(tag), header: plain(read(header)), unprotected: plain(unprotected), claims: plain(read(payload)) }
    const message = Sign1.decode(bytes(data))
    const signer = holder ?? key
    await message.verify(createPublicKey({ key: signer, format: 'jwk' }))
    said.ckt = plain(ckt(signer))
    if (proof) said.proof = { ckt: plain(ckt(proof)), jkt: plain(jkt(proof)) }
    if (inner) {
      const credential = Sign1.decode(new Uint8Array(write(inner)))
      await credential.verify(createPublicKey({ key, format: 'jwk' }))
      said.inner = { header: plain(read(inner.contents[0])), claims: plain(read(inner.contents[2])) }
    }
    verified.push(said)
  } catch (error) {
    verified.push({ error: error.message })
  }
}

if (!input.issuer) {
  console.log(JSON.stringify({ verified }))
  process.exit()
}

// Header parameters are written in the order of the map, which is sorted.
const numbers = { ES256: -7, EdDSA: -8 }
const party = ({ key }) => createPrivateKey({ key: Buffer.from(key, 'base64'), format: 'der', type: 'pkcs8' })
const { issuer, claims, binding } = input
const holder = createPublicKey(party(input.holder)).export({ format: 'jwk' })
const kid = new TextEncoder().encode(issuer.kid)
const id = new TextEncoder().encode('c1')
const sign = (header, payload, by) =>
  Sign1.sign(new Map([[1, numbers[by.alg]], ...header]), new Map(), new Uint8Array(write(new Map(payload))), party(by))

const access = await sign([[4, kid], [16, 'application/at+cwt']], [
  [1, claims.iss], [2, claims.user], [3, claims.aud], [4, claims.iat + 600], [6, claims.iat], [7, id], [8, new Map([[5, ckt(holder)]])],
  ['client_id', 'im-app'], ['sid', 's1'], ['gen', 3], ['device', claims.device], ['jkt', jkt(holder)],
], issuer)
const credential = await sign([[4, kid], [16, 293]], [
  [1, claims.iss], [2, claims.device], [4, claims.iat + 86400], [6, claims.iat], [7, id], [8, new Map([[1, coseKey(holder)]])],
  [11, claims.vct], ['user', claims.user], ['handle', claims.handle],
], issuer)
const bound = await sign([[13, credential], [16, 294]], [
  [3, binding.aud], [6, claims.iat], [39, bytes(binding.nonce)],
], input.holder)
const text = (message) => Buffer.from(message.encode()).toString('base64')

console.log(JSON.stringify({ verified, access: text(access), bound: text(bound) }))
