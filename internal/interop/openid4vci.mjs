// A wallet that is not ours, npm @openid4vc/openid4vci, gets credentials from an offer.
//
// In the environment: OFFER (a credential offer), CLIENT_ID and REDIRECT_URI (a public client). Prints a line for each step. For the login
// prints `LOGIN url` and reads from standard input the URL that the browser was sent back to. The last line is a JSON object with
// `credentials` and their private `keys` (PKCS #8, PEM).
import { createHash, createPublicKey, generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto'
import { createInterface } from 'node:readline'
import { clientAuthenticationNone, setGlobalConfig } from '@openid4vc/oauth2'
import { Openid4vciClient, extractScopesForCredentialConfigurationIds } from '@openid4vc/openid4vci'
import { withProofs } from '../../docs/dpop-client.mjs'
import { StatusLists } from '../../docs/status-list.mjs'

const { OFFER, CLIENT_ID, REDIRECT_URI } = process.env
setGlobalConfig({ allowInsecureUrls: true }) // an issuer on this machine

// The keys of the wallet, by the x of their JWK: one for its device, and two for credentials.
const privateKeys = new Map()
function newSigner(alg) {
  const { publicKey, privateKey } = alg === 'ES256' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('ed25519')
  const publicJwk = publicKey.export({ format: 'jwk' })
  privateKeys.set(publicJwk.x, privateKey)
  return { method: 'jwk', alg, publicJwk }
}
const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
const wallet = new Openid4vciClient({
  callbacks: {
    hash: (data, alg) => createHash(alg.replace('-', '')).update(data).digest(),
    generateRandom: (length) => randomBytes(length),
    signJwt: ({ alg, publicJwk }, { header, payload }) => {
      const input = `${part(header)}.${part(payload)}`
      const key = privateKeys.get(publicJwk.x)
      const signature = sign(alg === 'ES256' ? 'sha256' : null, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' })
      return { jwt: `${input}.${signature.toString('base64url')}`, signerJwk: publicJwk }
    },
    clientAuthentication: clientAuthenticationNone({ clientId: CLIENT_ID }),
    fetch,
  },
})

const credentialOffer = await wallet.resolveCredentialOffer(OFFER)
const [credentialConfigurationId] = credentialOffer.credential_configuration_ids
console.log(`offer: ${credentialConfigurationId}, ${Object.keys(credentialOffer.grants)}`)

const issuerMetadata = await wallet.resolveIssuerMetadata(credentialOffer.credential_issuer)
const configuration = issuerMetadata.knownCredentialConfigurations[credentialConfigurationId]
console.log(`metadata: ${issuerMetadata.originalDraftVersion}, ${configuration.format} of ${configuration.vct}`)

const device = newSigner('ES256')
const authorization = await wallet.initiateAuthorization({
  clientId: CLIENT_ID, credentialOffer, issuerMetadata, redirectUri: REDIRECT_URI, dpop: { signer: device },
  scope: extractScopesForCredentialConfigurationIds({
    credentialConfigurationIds: [credentialConfigurationId], issuerMetadata, throwOnConfigurationWithoutScope: true,
  }).join(' '),
})
console.log(`authorization: ${[...new URL(authorization.authorizationRequestUrl).searchParams.keys()].sort()}`)

console.log(`LOGIN ${authorization.authorizationRequestUrl}`)
const typed = createInterface({ input: process.stdin })
const back = new URL((await typed[Symbol.asyncIterator]().next()).value)
typed.close()
const { accessTokenResponse, dpop } = await wallet.retrieveAuthorizationCodeAccessTokenFromOffer({
  issuerMetadata, credentialOffer, authorizationCode: back.searchParams.get('code'), pkceCodeVerifier: authorization.pkce.codeVerifier,
  redirectUri: REDIRECT_URI, dpop: authorization.dpop ?? { signer: device },
})
console.log(`token: ${accessTokenResponse.token_type}, ${accessTokenResponse.scope}`)

const { c_nonce: nonce } = await wallet.requestNonce({ issuerMetadata })
const signers = [newSigner('ES256'), newSigner('EdDSA')]
const jwt = []
for (const signer of signers) {
  jwt.push((await wallet.createCredentialRequestJwtProof({ issuerMetadata, credentialConfigurationId, signer, nonce, clientId: CLIENT_ID })).jwt)
}
const request = { issuerMetadata, credentialConfigurationId, accessToken: accessTokenResponse.access_token, dpop, proofs: { jwt } }
const { credentialResponse } = await wallet.retrieveCredentials(request)
console.log(`credentials: ${credentialResponse.credentials.length}`)

// The key of the issuer, as an SD-JWT VC verifier finds it.
const vcIssuer = await (await fetch(new URL('/.well-known/jwt-vc-issuer', credentialOffer.credential_issuer))).json()
const { keys } = vcIssuer.jwks ?? await (await fetch(vcIssuer.jwks_uri)).json()
const verified = credentialResponse.credentials.every(({ credential }) => {
  const [header, payload, signature] = credential.split('~')[0].split('.')
  const { kid } = JSON.parse(Buffer.from(header, 'base64url'))
  const key = createPublicKey({ key: keys.find((key) => key.kid === kid), format: 'jwk' })
  return verify('sha256', Buffer.from(`${header}.${payload}`), { key, dsaEncoding: 'ieee-p1363' }, Buffer.from(signature, 'base64url'))
})
console.log(`signatures of ${vcIssuer.issuer === credentialOffer.credential_issuer ? 'the issuer' : vcIssuer.issuer}: ${verified}`)

const again = await wallet.retrieveCredentials(request).catch((error) => error.response.credentialErrorResponseResult.data.error)
console.log(`the same proofs again: ${again}`)

// With the same token, the wallet ends a credential that it does not need any more.
const spare = newSigner('ES256')
const { c_nonce: fresh } = await wallet.requestNonce({ issuerMetadata })
const last = await wallet.createCredentialRequestJwtProof({ issuerMetadata, credentialConfigurationId, signer: spare, nonce: fresh, clientId: CLIENT_ID })
const more = await wallet.retrieveCredentials({ ...request, proofs: { jwt: [last.jwt] } })
const claims = JSON.parse(Buffer.from(more.credentialResponse.credentials[0].credential.split('.')[1], 'base64url'))
const look = () => new StatusLists(credentialOffer.credential_issuer).status(claims)
const before = await look()
const jwk = privateKeys.get(device.publicJwk.x).export({ format: 'jwk' })
const imported = (jwk, usage) => crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: 'P-256' }, true, [usage])
const send = withProofs({ privateKey: await imported(jwk, 'sign'), publicKey: await imported(device.publicJwk, 'verify') })
const accessToken = accessTokenResponse.access_token
const own = await (await send(`${credentialOffer.credential_issuer}/me/credentials`, { accessToken })).json()
const ended = await send(`${credentialOffer.credential_issuer}/me/credentials/${claims.jti}`, { accessToken, method: 'DELETE' })
console.log(`one of ${own.length} ends: ${ended.status}, ${before} before, ${await look()} after`)

console.log(JSON.stringify({
  credentials: credentialResponse.credentials.map(({ credential }) => credential),
  keys: signers.map(({ publicJwk }) => privateKeys.get(publicJwk.x).export({ type: 'pkcs8', format: 'pem' })),
}))
