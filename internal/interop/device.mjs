// Three screens without a browser log in by the device grant (RFC 8628) of npm openid-client: one is allowed by the user code, one is
// denied, and one shows a QR code, which is opened in a browser.
//
// In the environment: ISSUER and CLIENT_ID. Prints {"allow": CODE, "deny": CODE, "page": URL, …}, and then a line for each.
import * as oidc from 'openid-client'

const config = await oidc.discovery(new URL(process.env.ISSUER), process.env.CLIENT_ID, undefined, oidc.None(), {
  algorithm: 'oauth2', execute: [oidc.allowInsecureRequests],
})
const decode = (token) => JSON.parse(Buffer.from(token.split('.')[1], 'base64url'))
const ask = (name) => oidc.initiateDeviceAuthorization(config, { scope: 'im:handle im:device', im_device_name: name })
const poll = async (asked) => {
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
const scan = await ask('Television with a QR code')
console.log(JSON.stringify({
  allow: allow.user_code, deny: deny.user_code, page: scan.verification_uri_complete, expires_in: allow.expires_in, interval: allow.interval,
}))
for (const line of await Promise.all([poll(allow), poll(deny), poll(scan)])) console.log(line)
