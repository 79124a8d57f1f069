// npm @sd-jwt/jwt-status-list reads a list of ours, and makes one for us.
//
// In the environment: LIST (a status list token), TOKEN (a token that refers to it), KEY (a private key, PKCS #8 in base64) and VALUES
// (a JSON array of statuses) with their BITS. Prints one JSON object: `status` of the token, `ones`, the indexes of LIST that are not
// zero, and `list`, a status list token of VALUES that KEY signed.
import { createPrivateKey, sign } from 'node:crypto'
import { StatusList, createHeaderAndPayload, getListFromStatusListJWT, getStatusListFromJWT } from '@sd-jwt/jwt-status-list'

const { LIST, TOKEN, KEY, VALUES, BITS } = process.env
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

console.log(JSON.stringify({
  status: list.getStatus(reference.idx),
  uri: reference.uri,
  bits: list.getBitsPerStatus(),
  ones: list.statusList.flatMap((status, index) => (status ? [[index, status]] : [])),
  list: `${input}.${signature.toString('base64url')}`,
}))
