// A group of npm ts-mls whose members have CWTs that a running issuer gave them. In the environment: SERVICE, the address of the
// authentication service of issuedcwts_test.go. Prints a line for each step.
import {
  createApplicationMessage, createCommit, createGroup, decode, defaultCapabilities, defaultProposalTypes, encode, generateKeyPackageWithKey,
  getCiphersuiteImpl, joinGroup, mlsMessageDecoder, mlsMessageEncoder, processMessage, protocolVersions, wireformats,
} from 'ts-mls'

const { SERVICE } = process.env
const cipherSuite = await getCiphersuiteImpl('MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519')
const bytes = (text) => new Uint8Array(Buffer.from(text, 'base64'))
const base64 = (data) => Buffer.from(data).toString('base64')

async function ask(path, body) {
  const answer = await fetch(`${SERVICE}${path}`, { method: 'POST', body: JSON.stringify(body) })
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  return answer.json()
}

// The library takes what follows an unknown type for opaque<V>, and the structure of sd_cwt is that: its type and its length have two bytes each.
const sdCWT = 5
const bare = (credential) => ({ credentialType: sdCWT, data: credential.subarray(4) })
const whole = ({ data }) => Buffer.concat([Buffer.from([0, sdCWT, 0x40 | (data.length >> 8), data.length & 0xff]), data])

const asked = new Set()
const authService = {
  async validateCredential(credential, key) {
    const { good, answer } = await ask('/validate', { credential: base64(whole(credential)), key: base64(key) })
    asked.add(answer)
    return good
  },
}
const context = { cipherSuite, authService }

// A client with the credential of itself or of another.
async function client(name, credential) {
  const device = await ask('/device', { name })
  credential ??= device.credential
  const { publicPackage, privatePackage } = await generateKeyPackageWithKey({
    cipherSuite, signatureKeyPair: { signKey: bytes(device.private), publicKey: bytes(device.public) },
    credential: bare(bytes(credential)), capabilities: { ...defaultCapabilities(), credentials: [sdCWT] },
  })
  return { device, keyPackage: publicPackage, privateKeys: privatePackage }
}

// All messages pass as bytes.
const sent = (message) => decode(mlsMessageDecoder, encode(mlsMessageEncoder, message))

async function add(by, member) {
  const message = { keyPackage: member.keyPackage, wireformat: wireformats.mls_key_package, version: protocolVersions.mls10 }
  const { newState, welcome } = await createCommit({
    context, state: by.state, ratchetTreeExtension: true,
    extraProposals: [{ proposalType: defaultProposalTypes.add, add: { keyPackage: sent(message).keyPackage } }],
  })
  return { newState, welcome: sent(welcome).welcome }
}

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

const [alice, bob] = [await client('alice'), await client('bob')]
alice.state = await createGroup({
  context, groupId: Buffer.from('clubhouse'), keyPackage: alice.keyPackage, privateKeyPackage: alice.privateKeys,
})
await step('two clients form a group', async () => {
  const { newState, welcome } = await add(alice, bob)
  alice.state = newState
  bob.state = await joinGroup({ context, welcome, keyPackage: bob.keyPackage, privateKeys: bob.privateKeys })
  const said = await createApplicationMessage({ context, state: alice.state, message: Buffer.from('Hello Bob') })
  alice.state = said.newState
  const got = await processMessage({ context, state: bob.state, message: sent(said.message) })
  bob.state = got.newState
  return Buffer.from(got.message).toString()
})
await step('the credential of another', async () => add(alice, await client('mallory', alice.device.credential)))
await ask('/revoke', { name: 'carol' })
await step('a removed device', async () => add(alice, await client('carol')))
