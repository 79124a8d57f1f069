// A group of npm ts-mls 1, which knows x509 and basic credentials, whose members have our certificates. In the environment: SERVICE, the
// address of the authentication service of mlscertificates_test.go. Prints a line for each step.
import {
  createApplicationMessage, createCommit, createGroup, decodeMlsMessage, defaultCapabilities, defaultLifetime, emptyPskIndex,
  encodeMlsMessage, generateKeyPackageWithKey, getCiphersuiteFromName, getCiphersuiteImpl, joinGroup, processMessage,
} from 'ts-mls-1'
import { defaultClientConfig } from 'ts-mls-1/clientConfig.js'
import { encodeCredential } from 'ts-mls-1/credential.js'

const { SERVICE } = process.env
const suite = await getCiphersuiteImpl(getCiphersuiteFromName('MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519'))
const bytes = (text) => new Uint8Array(Buffer.from(text, 'base64'))
const base64 = (data) => Buffer.from(data).toString('base64')

async function ask(path, body) {
  const answer = await fetch(`${SERVICE}${path}`, { method: 'POST', body: JSON.stringify(body) })
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  return answer.json()
}

const asked = new Set()
const config = {
  ...defaultClientConfig,
  authService: {
    async validateCredential(credential, key) {
      const { good, answer } = await ask('/validate', { credential: base64(encodeCredential(credential)), key: base64(key) })
      asked.add(answer)
      return good
    },
  },
}

// A client with a chain of certificates, of itself or of another.
async function client(name, certificates) {
  const device = await ask('/device', { name })
  certificates ??= device.certificates
  const { publicPackage, privatePackage } = await generateKeyPackageWithKey(
    { credentialType: 'x509', certificates: certificates.map(bytes) }, defaultCapabilities(), defaultLifetime, [],
    { signKey: bytes(device.private), publicKey: bytes(device.public) }, suite,
  )
  return { device, publicPackage, privatePackage }
}

// All messages pass as bytes.
const sent = (message) => decodeMlsMessage(encodeMlsMessage({ version: 'mls10', ...message }), 0)[0]

async function step(name, run) {
  asked.clear()
  let outcome
  try {
    outcome = await run()
  } catch (error) {
    outcome = `${error.constructor.name}: ${error.message}`
  }
  console.log(`${name}: ${outcome} [${[...asked].join('; ')}]`)
}

async function add(by, member) {
  const { keyPackage } = sent({ keyPackage: member.publicPackage, wireformat: 'mls_key_package' })
  return createCommit({ state: by.state, cipherSuite: suite }, {
    extraProposals: [{ proposalType: 'add', add: { keyPackage } }], ratchetTreeExtension: true,
  })
}

const [alice, bob] = [await client('alice'), await client('bob')]
alice.state = await createGroup(new Uint8Array([1]), alice.publicPackage, alice.privatePackage, [], suite, config)
await step('two clients form a group', async () => {
  const { newState, welcome } = await add(alice, bob)
  alice.state = newState
  bob.state = await joinGroup(
    sent({ welcome, wireformat: 'mls_welcome' }).welcome, bob.publicPackage, bob.privatePackage, emptyPskIndex, suite, undefined, undefined, config,
  )
  const { newState: after, privateMessage } = await createApplicationMessage(alice.state, Buffer.from('Hello Bob'), suite)
  alice.state = after
  const got = await processMessage(sent({ privateMessage, wireformat: 'mls_private_message' }), bob.state, emptyPskIndex, () => 'accept', suite)
  bob.state = got.newState
  return Buffer.from(got.message).toString()
})
await step('the certificate of another', async () => add(alice, await client('mallory', alice.device.certificates)))
await ask('/revoke', { name: 'carol' })
await step('a revoked certificate', async () => add(alice, await client('carol')))
