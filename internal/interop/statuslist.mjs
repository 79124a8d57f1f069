// npm @sd-jwt/jwt-status-list reads a list of ours, and makes one for us; docs/status-list.mjs reads one that an issuer serves.
//
// In the environment: LIST (a status list token), TOKEN (a token that refers to it), KEY (a private key, PKCS #8 in base64), VALUES
// (a JSON array of statuses) with their BITS, and ISSUER, which serves the list at /status/1, with a JSON array of INDEXES. Prints one JSON
// object: `status` of the token, `ones`, the indexes of LIST that are not zero, `list`, a status list token of VALUES that KEY signed, and
// `served`, the statuses of INDEXES.
import { createPrivateKey, sign } from 'node:crypto'
import { StatusList, createHeaderAndPayload, getListFromStatusListJWT, getStatusListFromJWT } from '@sd-jwt/jwt-status-list'
import { StatusLists } from '../../docs/status-list.mjs'

const { LIST, TOKEN, KEY, VALUES, BITS, ISSUER, INDEXES } = process.env
const list = getListFromStatusListJWT(LIST)
const reference = getStatusListFromJWT(TOKEN)

const now = Math.floor(Date.now() / 1000)
const { header, payload } = createHeaderAndPayload(
  new StatusList(JSON.parse(VALUES), Number(BITS)),
  { iss: 'https://id.example.net', sub: 'https://id.example.net/status/1', iat: now, exp: now + 3600, ttl: 300 },
  { alg: 'ES256', kid: 'k1' },
)
const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
const input = `${part(header)}.${part(payload)}`
const key = createPrivateKey({ key: Buffer.from(KEY, 'base64'), format: 'der', type: 'pkcs8' })
const signature = sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })

const lists = new StatusLists(ISSUER)
const served = []
for (const idx of JSON.parse(INDEXES)) {
  const claims = { iss: ISSUER, status: { status_list: { idx, uri: `${ISSUER}/status/1` } } }
  served.push(await lists.status(claims).catch((error) => `unknown: ${error.message}`))
}

console.log(JSON.stringify({
  served,
  status: list.getStatus(reference.idx),
  uri: reference.uri,
  bits: list.getBitsPerStatus(),
  ones: list.statusList.flatMap((status, index) => (status ? [[index, status]] : [])),
  list: `${input}.${signature.toString('base64url')}`,
}))
