// npm @sd-jwt/sd-jwt-vc issues, presents and verifies credentials beside package credential/sdjwt.
//
// INPUT in the environment is a JSON object: `issuer` and `holder` (private keys as PKCS #8 in base64, with their `alg`), `binding` (what
// a key binding says), `verify` (a list of { text, nonce } to verify), `present` (a credential to present with and without its handle),
// `issue` (claims to issue a credential of), `list` (the status list that every credential refers to, as a token) and `statuses` (to make
// a list of). Prints one JSON object: `verified` (for each text the claims, or the message of the error), `presented`, `issued` with
// its presentation, and `list`.
import { createPrivateKey, createPublicKey, createHash, randomBytes, sign, verify } from 'node:crypto'
import { SDJwtVcInstance } from '@sd-jwt/sd-jwt-vc'
import { StatusList, createHeaderAndPayload } from '@sd-jwt/jwt-status-list'

const input = JSON.parse(process.env.INPUT)

// A signature of JOSE by, and with, a key of node:crypto.
const hash = { ES256: 'sha256', EdDSA: null }
const parameters = (key) => ({ key, dsaEncoding: 'ieee-p1363' })
const signer = ({ alg, key }) => (data) => sign(hash[alg], Buffer.from(data), parameters(key)).toString('base64url')
const check = (alg, key, data, signature) =>
  verify(hash[alg], Buffer.from(data), parameters(key), Buffer.from(signature, 'base64url'))

const party = ({ alg, key }) => ({ alg, key: createPrivateKey({ key: Buffer.from(key, 'base64'), format: 'der', type: 'pkcs8' }) })
const issuer = party(input.issuer)
const holder = party(input.holder)
const issuerKey = createPublicKey(issuer.key)

const sdjwt = new SDJwtVcInstance({
  signer: signer(issuer),
  signAlg: issuer.alg,
  verifier: (data, signature) => check(issuer.alg, issuerKey, data, signature),
  hasher: (data, alg) => {
    if (alg !== 'sha-256') throw new Error(`hash ${alg}`)
    return createHash('sha256').update(typeof data === 'string' ? data : new Uint8Array(data)).digest()
  },
  hashAlg: 'sha-256',
  saltGenerator: () => randomBytes(16).toString('base64url'),
  kbSigner: signer(holder),
  kbSignAlg: holder.alg,
  kbVerifier: (data, signature, payload) =>
    check(holder.alg, createPublicKey({ key: payload.cnf.jwk, format: 'jwk' }), data, signature),
  statusListFetcher: () => input.list,
})

const verified = []
for (const { text, nonce } of input.verify) {
  try {
    const { payload, header, kb } = await sdjwt.verify(text, { keyBindingNonce: nonce })
    verified.push({ payload, header, kb: kb?.payload })
  } catch (error) {
    verified.push({ error: error.message })
  }
}

const kb = { payload: input.binding }
const presented = []
for (const frame of [{ handle: true }, {}]) presented.push(await sdjwt.present(input.present, frame, { kb }))

const header = { kid: input.issuer.kid }
const credential = await sdjwt.issue(input.issue, { _sd: ['handle'], _sd_decoy: 2 }, { header })
const issued = [credential]
for (const frame of [{ handle: true }, {}]) issued.push(await sdjwt.present(credential, frame, { kb }))
// Without anything that can be hidden.
const { handle, ...rest } = input.issue
issued.push(await sdjwt.present(await sdjwt.issue(rest, undefined, { header }), undefined, { kb }))

const { uri } = input.issue.status.status_list
const list = createHeaderAndPayload(
  new StatusList(input.statuses, 2),
  { iss: input.issue.iss, sub: uri, iat: input.issue.iat, exp: input.issue.iat + 3600, ttl: 300 },
  { alg: issuer.alg, kid: input.issuer.kid },
)
const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
const unsigned = `${part(list.header)}.${part(list.payload)}`
console.log(JSON.stringify({ verified, presented, issued, list: `${unsigned}.${signer(issuer)(unsigned)}` }))
