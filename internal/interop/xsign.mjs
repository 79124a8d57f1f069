// npm jose verifies the statements of cross signing of package xsign, and makes such statements.
//
// NOW in the environment is a time in ms. Reads the vectors of the package, and prints one JSON object: `verified` (how many of the
// accepted statements of each type are verified), `failed` (the names of those that are not), `refused` (of those with a wrong signature
// or type how many are refused), `passed` (the names of those that are not), and `made` (the `text` of statements with their `type` and
// the public `key`).
import { readFileSync } from 'node:fs'
import { calculateJwkThumbprint, decodeProtectedHeader, exportJWK, generateKeyPair, importJWK, jwtVerify, SignJWT } from 'jose'

const file = new URL('../../xsign/testdata/vectors.json', import.meta.url)
const { statements } = JSON.parse(readFileSync(file, 'utf8'))
const algorithms = ['ES256', 'EdDSA']

async function verify({ type, text, key }) {
  const header = decodeProtectedHeader(text)
  const jwk = key ?? header.jwk
  if (header.kid !== (await calculateJwkThumbprint(jwk))) throw new Error('kid')
  const currentDate = new Date(Number(process.env.NOW))
  return jwtVerify(text, await importJWK(jwk, header.alg), { typ: type, algorithms, currentDate, requiredClaims: ['iss', 'sub', 'jti', 'iat'] })
}

const out = { verified: {}, failed: [], refused: 0, passed: [], made: [] }
for (const s of statements) {
  const wrong = ['signature', 'type', 'algorithm'].includes(s.code)
  if (s.code && !wrong) continue
  try {
    await verify(s)
    if (wrong) out.passed.push(s.name)
    else out.verified[s.type] = (out.verified[s.type] ?? 0) + 1
  } catch {
    if (wrong) out.refused++
    else out.failed.push(s.name)
  }
}

const alice = 'im:3h3aNq0mWk2o1c8vXfYJrg@example.com;id-type=user'
const bob = 'im:b0bb0bb0bb0bb0bb0bb0bg@example.org;id-type=user'
const iat = Math.floor(Number(process.env.NOW) / 1000)
const pair = async (alg) => {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true })
  const jwk = await exportJWK(publicKey)
  return { alg, privateKey, jwk, kid: await calculateJwkThumbprint(jwk) }
}
async function make(type, by, master, claims) {
  const { alg, kid, jwk, privateKey } = by
  const header = { typ: type, alg, kid, ...(master && { jwk }) }
  const text = await new SignJWT({ iss: alice, sub: alice, jti: type, iat, ...claims }).setProtectedHeader(header).sign(privateKey)
  out.made.push({ type, text, key: jwk })
  return text
}
for (const [one, two] of [['ES256', 'EdDSA'], ['EdDSA', 'ES256']]) {
  const [former, master, device, user] = [await pair(two), await pair(one), await pair(two), await pair(one)]
  const exp = iat + 90 * 86400
  const succeeds = await make('im-succession+jwt', former, true, { master: master.kid })
  await make('im-keys+jwt', master, true, { exp, seq: 3, keys: { device_signing: device.jwk, user_signing: user.jwk }, succeeds })
  const phone = { device: 'im:3h3aNq0mWk2o1c8vXfYJrg/072b@example.com', keys: [(await pair(one)).kid] }
  await make('im-devices+jwt', device, false, { exp, seq: 7, devices: [phone] })
  await make('im-vouch+jwt', user, false, { sub: bob, exp, master: former.kid, how: 'qr', public: true })
  await make('im-distrust+jwt', user, false, { sub: bob, master: former.kid, public: false })
}
console.log(JSON.stringify(out))
