// Redeems an authorization code, shows the token to a resource, refreshes, and shows the new one. In the environment:
// ISSUER, CLIENT_ID, CODE, CODE_VERIFIER, REDIRECT_URI and RESOURCE.
import { newKey, thumbprint, withProofs } from './dpop-client.mjs'

const { ISSUER, CLIENT_ID, CODE, CODE_VERIFIER, REDIRECT_URI, RESOURCE } = process.env
const key = await newKey()
const send = withProofs(key)

async function token(parameters) {
  const answer = await send(`${ISSUER}/token`, {
    method: 'POST',
    body: new URLSearchParams({ client_id: CLIENT_ID, ...parameters }),
  })
  const tokens = await answer.json()
  if (!answer.ok) throw new Error(`${answer.status} ${tokens.error}: ${tokens.error_description}`)
  return tokens
}

async function call(accessToken) {
  const answer = await send(RESOURCE, { accessToken })
  console.log(answer.status, (await answer.text()).trim())
}

const first = await token({
  grant_type: 'authorization_code', code: CODE, code_verifier: CODE_VERIFIER, redirect_uri: REDIRECT_URI,
})
console.log(first.token_type, 'token for the key', await thumbprint(key))
await call(first.access_token)

const second = await token({ grant_type: 'refresh_token', refresh_token: first.refresh_token })
await call(second.access_token)
