// A program that is not ours, npm openid-client, registers itself with the issuer and uses the client that it got.
//
// In the environment: ISSUER and INITIAL_TOKEN. Prints a line for each step.
import * as oidc from 'openid-client'

const { ISSUER, INITIAL_TOKEN } = process.env
const insecure = { execute: [oidc.allowInsecureRequests] }
const key = await oidc.randomDPoPKeyPair()

for (const [name, metadata] of [
  ['secret', { grant_types: ['client_credentials'], response_types: [], scope: 'introspect', client_name: 'Foreign service' }],
  ['app', { redirect_uris: ['com.example.foreign:/callback'], token_endpoint_auth_method: 'none', application_type: 'native' }],
]) {
  const config = await oidc.dynamicClientRegistration(new URL(ISSUER), { dpop_bound_access_tokens: true, ...metadata }, undefined, {
    ...insecure, algorithm: 'oauth2', initialAccessToken: INITIAL_TOKEN,
  })
  const client = config.clientMetadata()
  console.log(`${name}: ${client.token_endpoint_auth_method} ${client.grant_types} ${client.scope}, secret ${'client_secret' in client}`)
  if (name === 'secret') {
    const tokens = await oidc.clientCredentialsGrant(config, {}, { DPoP: oidc.getDPoPHandle(config, key) })
    console.log(`${name}: ${tokens.token_type} token with scope ${tokens.scope}`)
  } else {
    const url = oidc.buildAuthorizationUrl(config, {
      redirect_uri: client.redirect_uris[0], code_challenge: await oidc.calculatePKCECodeChallenge(oidc.randomPKCECodeVerifier()),
      code_challenge_method: 'S256',
    })
    const answer = await fetch(url, { redirect: 'manual' })
    console.log(`${name}: authorization request ${answer.status}`)
  }
  const manage = async (method, body) => {
    const answer = await fetch(client.registration_client_uri, {
      method, body, headers: { authorization: `Bearer ${client.registration_access_token}`, 'content-type': 'application/json' },
    })
    const said = answer.status === 204 ? {} : await answer.json()
    console.log(`${name}: ${method} ${answer.status} ${said.client_name ?? ''}${said.error ?? ''}`)
  }
  await manage('GET')
  await manage('PUT', JSON.stringify({ ...metadata, client_id: client.client_id, client_name: 'Another name' }))
  await manage('DELETE')
  await manage('GET')
}
try {
  await oidc.dynamicClientRegistration(new URL(ISSUER), {}, undefined, { ...insecure, algorithm: 'oauth2' })
} catch (error) {
  console.log(`no initial token: ${error.cause?.status ?? error.status}`)
}
