// npm doipjs, the library of Keyoxide, reads profiles of package places and verifies their places.
//
// Reads one JSON object from standard input: `profiles` (each with the `text` of a profile and its `address`), `refused` (the same, of
// profiles that must be refused), `claims` (for profiles to make), `port` (of a server on loopback that is every host), and `dns` (the address of a DNS server on loopback).
// Prints one JSON object: `profiles`, for each its `fingerprint`, `name` and `claims`, and for each claim that is a place whether it is
// `verified`; `passed`, the names of those that were not refused; and `made`, profiles that npm jose has signed, with their fingerprints.
import dns from 'node:dns'
import https from 'node:https'
import net from 'node:net'
import tls from 'node:tls'
import axios from 'axios'
import { asp, enums } from 'doipjs'
import { CompactSign, exportJWK, generateKeyPair } from 'jose'

const input = JSON.parse(await new Promise((resolve) => {
  let text = ''
  process.stdin.on('data', (part) => { text += part }).on('end', () => resolve(text))
}))

dns.setServers([input.dns])
// Each host is the server on loopback. Its certificate is checked, for the host.
const agent = new https.Agent()
agent.createConnection = (options) => tls.connect({ ...options, socket: net.connect(input.port, '127.0.0.1'), servername: options.servername ?? options.host })
axios.defaults.httpsAgent = agent
axios.defaults.proxy = false
// doipjs also asks which software a server has, and without an answer does not say. That does not go through axios.
globalThis.fetch = () => Promise.reject(new Error('no network'))

const out = { profiles: [], passed: [], made: [] }
for (const { text, address } of input.profiles) {
  const profile = await asp.parseProfileJws(text, address)
  const persona = profile.personas[0]
  const verified = {}
  for (const claim of persona.claims) {
    claim.match()
    if (claim.status !== enums.ClaimStatus.MATCHED) continue
    await claim.verify({ proxy: { policy: 'never' } })
    verified[claim.uri] = claim.status === enums.ClaimStatus.VERIFIED
  }
  out.profiles.push({ fingerprint: profile.publicKey.fingerprint, name: persona.name, claims: persona.claims.map((c) => c.uri), verified })
}
for (const { name, text, address } of input.refused) {
  try {
    await asp.parseProfileJws(text, address)
    out.passed.push(name)
  } catch {}
}
for (const alg of ['EdDSA', 'ES256']) {
  const { publicKey, privateKey } = await generateKeyPair(alg)
  const jwk = await exportJWK(publicKey)
  const kid = await asp.computeJwkFingerprint(jwk)
  const payload = { 'http://ariadne.id/version': 0, 'http://ariadne.id/type': 'profile', 'http://ariadne.id/name': 'Alice', 'http://ariadne.id/claims': input.claims }
  const text = await new CompactSign(new TextEncoder().encode(JSON.stringify(payload))).setProtectedHeader({ typ: 'JWT', kid, jwk, alg }).sign(privateKey)
  out.made.push({ text, fingerprint: kid })
}
console.log(JSON.stringify(out))
process.exit(0) // doipjs leaves timers behind
