// Three screens without a browser log in by the device grant (RFC 8628) of npm openid-client: one is allowed by the user code, one is
// denied, and one shows a QR code, which is opened in a browser. The app of that one has registered itself.
//
// In the environment: ISSUER, CLIENT_ID and INITIAL_TOKEN. Prints {"allow": CODE, "deny": CODE, "page": URL, …}, and then a line for each.
import * as oidc from 'openid-client'

const insecure = { algorithm: 'oauth2', execute: [oidc.allowInsecureRequests] }
const known = await oidc.discovery(new URL(process.env.ISSUER), process.env.CLIENT_ID, undefined, oidc.None(), insecure)
const registered = await oidc.dynamicClientRegistration(new URL(process.env.ISSUER), {
  client_name: 'Registered television', token_endpoint_auth_method: 'none', dpop_bound_access_tokens: true, response_types: [],
  grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
}, oidc.None(), { ...insecure, initialAccessToken: process.env.INITIAL_TOKEN })
const decode = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'))
const ask = (name, config = known) => oidc.initiateDeviceAuthorization(config, { scope: 'im:handle im:device', im_device_name: name })
const poll = async (asked, config = known) => {
  const DPoP = oidc.getDPoPHandle(config, await oidc.randomDPoPKeyPair('ES256'))
  // A nonce beforehand saves the test an interval of five seconds.
  DPoP.cacheNonce(await fetch(new URL('nonce', process.env.ISSUER + '/')), new URL(config.serverMetadata().token_endpoint))
  try {
    const tokens = await oidc.pollDeviceAuthorizationGrant(config, asked, undefined, { DPoP })
    const next = await oidc.refreshTokenGrant(config, tokens.refresh_token, undefined, { DPoP })
    const same = decode(next.access_token).device === decode(tokens.access_token).device
    return `${tokens.token_type} token of ${decode(tokens.access_token).handle}, same device after a refresh ${same}`
  } catch (err) {
    return err.error ?? err
  }
}
const allow = await ask('Television')
const deny = await ask('Television of a stranger')
const scan = await ask('Television with a QR code', registered)
console.log(JSON.stringify({
  allow: allow.user_code, deny: deny.user_code, page: scan.verification_uri_complete, expires_in: allow.expires_in, interval: allow.interval,
}))
for (const line of await Promise.all([poll(allow), poll(deny), poll(scan, registered)])) console.log(line)
const { registration_client_uri, registration_access_token } = registered.clientMetadata()
await fetch(registration_client_uri, { method: 'DELETE', headers: { authorization: `Bearer ${registration_access_token}` } })
