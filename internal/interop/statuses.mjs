// Redeems a code and looks up the status of the session, by docs/status-list.mjs and by npm @sd-jwt/jwt-status-list; ends the session, and
// looks again. In the environment: ISSUER, CLIENT_ID, CODE, CODE_VERIFIER and REDIRECT_URI. Prints a line for each step.
import { getListFromStatusListJWT, getStatusListFromJWT } from '@sd-jwt/jwt-status-list'
import { newKey, withProofs } from '../../docs/dpop-client.mjs'
import { StatusLists } from '../../docs/status-list.mjs'

const { ISSUER, CLIENT_ID, CODE, CODE_VERIFIER, REDIRECT_URI } = process.env
const send = withProofs(await newKey())

async function post(path, parameters) {
  const answer = await send(`${ISSUER}${path}`, { method: 'POST', body: new URLSearchParams({ client_id: CLIENT_ID, ...parameters }) })
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  return answer
}

const tokens = await (await post('/token', {
  grant_type: 'authorization_code', code: CODE, code_verifier: CODE_VERIFIER, redirect_uri: REDIRECT_URI,
})).json()
const claims = JSON.parse(Buffer.from(tokens.access_token.split('.')[1], 'base64url'))

async function look(when) {
  const { idx, uri } = getStatusListFromJWT(tokens.access_token)
  const list = await (await fetch(uri)).text()
  console.log(when, await new StatusLists(ISSUER).status(claims), getListFromStatusListJWT(list).getStatus(idx))
}

await look('before:')
await post('/revoke', { token: tokens.refresh_token })
await look('after:')

// What cannot be known is an error.
const { idx, uri } = claims.status.status_list
const other = (change) => ({ ...claims, status: { status_list: { idx, uri, ...change } } })
for (const [name, wrong, jwks] of [
  ['index', other({ idx: 1 << 17 })],
  ['list', other({ uri: `${uri.slice(0, -11)}00000000001` })],
  ['address', other({ uri: `${uri}?` })],
  ['issuer', { ...claims, iss: 'https://id.example.net' }],
  ['status', { ...claims, status: undefined }],
  ['keys', claims, `${ISSUER}/nonce`],
]) {
  try {
    console.log(name, await new StatusLists(ISSUER, jwks).status(wrong))
  } catch (error) {
    console.log(name, 'unknown')
  }
}
