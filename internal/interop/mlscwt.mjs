// A group of npm ts-mls whose members have our SD-CWTs. In the environment: SERVICE, the address of the authentication service of
// mlscwt_test.go. Prints a line for each step. ts-mls takes what follows an unknown type for opaque<V>, which is what sd_cwt (5) is.
import {
  createApplicationMessage, createCommit, createGroup, decode, defaultCapabilities, defaultProposalTypes, encode,
  generateKeyPackageWithKey, getCiphersuiteImpl, joinGroup, mlsMessageDecoder, mlsMessageEncoder, processMessage, protocolVersions,
  unsafeTestingAuthenticationService, wireformats,
} from 'ts-mls'

const { SERVICE } = process.env
const cipherSuite = await getCiphersuiteImpl('MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519')
const bytes = (text) => new Uint8Array(Buffer.from(text, 'base64'))
const base64 = (data) => Buffer.from(data).toString('base64')
const sdCWT = 5

async function ask(path, body) {
  const answer = await fetch(`${SERVICE}${path}`, { method: 'POST', body: JSON.stringify(body) })
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  return answer.json()
}

const asked = []
const authService = {
  async validateCredential({ credentialType, data }, key) {
    const { good, answer } = await ask('/validate', { type: credentialType, cwt: base64(data), key: base64(key) })
    asked.push(answer)
    return good
  },
}
const context = { cipherSuite, authService }
const careless = { cipherSuite, authService: unsafeTestingAuthenticationService }

async function client(name, credential) {
  const device = await ask('/device', { name })
  const { publicPackage, privatePackage } = await generateKeyPackageWithKey({
    cipherSuite, signatureKeyPair: { signKey: bytes(device.private), publicKey: bytes(device.public) },
    credential: { credentialType: sdCWT, data: credential ?? bytes(device.cwt) },
    capabilities: { ...defaultCapabilities(), credentials: [sdCWT] },
  })
  return { device, keyPackage: publicPackage, privateKeys: privatePackage }
}

// All messages pass as bytes.
const sent = (message) => decode(mlsMessageDecoder, encode(mlsMessageEncoder, message))
const message = (keyPackage) => ({ keyPackage, wireformat: wireformats.mls_key_package, version: protocolVersions.mls10 })
const addOf = ({ keyPackage }) => ({
  proposalType: defaultProposalTypes.add, add: { keyPackage: sent(message(keyPackage)).keyPackage },
})

async function commit(member, proposals, by = context) {
  const { newState, commit, welcome } = await createCommit({
    context: by, state: member.state, extraProposals: proposals, ratchetTreeExtension: true,
  })
  return { apply: () => { member.state = newState }, message: sent(commit), welcome: welcome && sent(welcome).welcome }
}

async function receive(member, message) {
  const result = await processMessage({ context, state: member.state, message })
  member.state = result.newState
  return result
}

async function says(from, to, text) {
  const result = await createApplicationMessage({ context, state: from.state, message: Buffer.from(text) })
  from.state = result.newState
  return Buffer.from((await receive(to, sent(result.message))).message).toString()
}

// step prints what the authentication service answered, each answer once, and the outcome.
async function step(name, run) {
  asked.length = 0
  let outcome
  try {
    outcome = await run()
  } catch (error) {
    outcome = `${error.constructor.name}: ${error.message}`
  }
  console.log(`${name}: ${outcome} [${[...new Set(asked)].join('; ')}]`)
}

const [alice, bob] = [await client('alice'), await client('bob')]
alice.state = await createGroup({
  context, groupId: Buffer.from('clubhouse'), keyPackage: alice.keyPackage, privateKeyPackage: alice.privateKeys,
})
await step('the key package holds the structure of the draft', () => {
  const wire = Buffer.from(encode(mlsMessageEncoder, message(alice.keyPackage)))
  return wire.includes(bytes(alice.device.credential))
})
await step('two clients form a group', async () => {
  const { apply, welcome } = await commit(alice, [addOf(bob)])
  apply()
  bob.state = await joinGroup({ context, welcome, keyPackage: bob.keyPackage, privateKeys: bob.privateKeys })
  const same = base64(alice.state.keySchedule.epochAuthenticator) === base64(bob.state.keySchedule.epochAuthenticator)
  return `${same}, ${await says(alice, bob, 'Hello Bob')}, ${await says(bob, alice, 'Hello Alice')}`
})
// Mallory has a key of their own, and Alice's credential.
const mallory = await client('mallory', bytes(alice.device.cwt))
await step('a wrong leaf key cannot be added', () => commit(alice, [addOf(mallory)]))
await step('a wrong leaf key in the commit of a careless member', async () => {
  const { message } = await commit(bob, [addOf(mallory)], careless)
  return receive(alice, message)
})
const carol = await client('carol')
await ask('/remove', { name: 'carol' })
await step('a removed device cannot be added', () => commit(alice, [addOf(carol)]))
