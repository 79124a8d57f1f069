// A group of npm ts-mls whose members have our credentials. In the environment: SERVICE, the address of the authentication service of
// mls_test.go, and SUITE, the name of a cipher suite. Prints a line for each step.
import {
  createApplicationMessage, createCommit, createGroup, createGroupInfoWithExternalPubAndRatchetTree, decode, defaultCapabilities,
  defaultProposalTypes, encode, generateKeyPackageWithKey, getCiphersuiteImpl, joinGroup, joinGroupExternal, mlsMessageDecoder,
  mlsMessageEncoder, processMessage, protocolVersions, unsafeTestingAuthenticationService, wireformats,
} from 'ts-mls'

const { SERVICE, SUITE } = process.env
const cipherSuite = await getCiphersuiteImpl(SUITE)
const bytes = (text) => new Uint8Array(Buffer.from(text, 'base64'))
const base64 = (data) => Buffer.from(data).toString('base64')
const text = (data) => Buffer.from(data).toString()

async function ask(path, body) {
  const answer = await fetch(`${SERVICE}${path}`, { method: 'POST', body: JSON.stringify(body) })
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
  return answer.json()
}

// ts-mls takes what follows an unknown type for opaque<V>. So the structure of sd_jwt, which begins with a Bool, is put into such a vector,
// and taken out of it for the authentication service. The structure of sd_cwt is opaque<V> already.
const sdCWT = 5
const sdJWT = 6
const unknown = 7
const wrap = (credential) => ({ credentialType: sdJWT, data: credential.subarray(2) })
const bare = (credential) => ({ credentialType: sdCWT, data: credential.subarray(4) }) // its length has two bytes
function unwrap({ credentialType, data }) {
  const type = Buffer.from([credentialType >> 8, credentialType & 0xff])
  return Buffer.concat(credentialType === sdJWT ? [type, data] : [type, vector(data)])
}
function vector(data) {
  const n = data.length
  if (n < 64) return Buffer.concat([Buffer.from([n]), data])
  return Buffer.concat([Buffer.from([0x40 | (n >> 8), n & 0xff]), data])
}

const asked = []
const authService = {
  async validateCredential(credential, key) {
    const { good, answer } = await ask('/validate', { credential: base64(unwrap(credential)), key: base64(key) })
    asked.push(answer)
    return good
  },
}
const context = { cipherSuite, authService }
const careless = { cipherSuite, authService: unsafeTestingAuthenticationService }

// A client with a credential, and with a new key unless another one is given. Its credential is an SD-JWT; made tells what to use instead.
async function client(name, { room = '', key, made = (device) => wrap(bytes(device.credential)) } = {}) {
  const device = await ask('/device', { name, room, key })
  const { publicPackage, privatePackage } = await generateKeyPackageWithKey({
    cipherSuite, signatureKeyPair: { signKey: bytes(device.private), publicKey: bytes(device.public) },
    credential: made(device), capabilities: { ...defaultCapabilities(), credentials: [sdCWT, sdJWT, unknown] },
  })
  return { name, device, keyPackage: publicPackage, privateKeys: privatePackage }
}

// All messages pass as bytes.
const sent = (message) => decode(mlsMessageDecoder, encode(mlsMessageEncoder, message))
const keyPackageMessage = (keyPackage) => ({ keyPackage, wireformat: wireformats.mls_key_package, version: protocolVersions.mls10 })
const addOf = (member) => ({
  proposalType: defaultProposalTypes.add, add: { keyPackage: sent(keyPackageMessage(member.keyPackage)).keyPackage },
})

async function commit(member, proposals = [], by = context) {
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

async function join(member, welcome) {
  member.state = await joinGroup({ context, welcome, keyPackage: member.keyPackage, privateKeys: member.privateKeys })
}

async function says(from, to, message) {
  const result = await createApplicationMessage({ context, state: from.state, message: Buffer.from(message) })
  from.state = result.newState
  return text((await receive(to, sent(result.message))).message)
}

const same = (...members) => new Set(members.map((m) => base64(m.state.keySchedule.epochAuthenticator))).size === 1

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

const [alice, bob, carol] = [await client('alice'), await client('bob'), await client('carol')]
alice.state = await createGroup({
  context, groupId: Buffer.from('clubhouse'), keyPackage: alice.keyPackage, privateKeyPackage: alice.privateKeys,
})

await step('two clients form a group', async () => {
  const { apply, welcome } = await commit(alice, [addOf(bob)])
  apply()
  await join(bob, welcome)
  return `${same(alice, bob)}, ${await says(alice, bob, 'Hello Bob')}, ${await says(bob, alice, 'Hello Alice')}`
})

await step('a third joins', async () => {
  const { apply, message, welcome } = await commit(bob, [addOf(carol)])
  apply()
  await receive(alice, message)
  await join(carol, welcome)
  return same(alice, bob, carol)
})

await step('a member has an SD-CWT', async () => {
  const grace = await client('grace', { made: ({ cwt }) => bare(bytes(cwt)) })
  const { apply, message, welcome } = await commit(alice, [addOf(grace)])
  apply()
  await receive(bob, message)
  await receive(carol, message)
  await join(grace, welcome)
  const framed = (member, credential) => (
    Buffer.from(encode(mlsMessageEncoder, keyPackageMessage(member.keyPackage))).includes(bytes(credential))
  )
  return [
    same(alice, bob, carol, grace), await says(grace, bob, 'Hello Bob'),
    framed(grace, grace.device.cwt) ? 'sd_cwt as in the draft' : 'sd_cwt in another form',
    framed(alice, alice.device.credential) ? 'sd_jwt as in the draft' : 'sd_jwt in another form',
  ].join(', ')
})

// Mallory has a key of their own, and Alice's credential.
const mallory = await client('mallory', { made: () => wrap(bytes(alice.device.credential)) })
await step('a wrong leaf key cannot be added', () => commit(alice, [addOf(mallory)]))
await step('a wrong leaf key in the commit of a careless member', async () => {
  const { message } = await commit(bob, [addOf(mallory)], careless)
  return receive(alice, message)
})

await step('an unknown type', async () => {
  return commit(alice, [addOf(await client('eve', { made: ({ cwt }) => ({ ...bare(bytes(cwt)), credentialType: unknown }) }))])
})

// A leaf that comes by a commit: its credential is bound to the room. With a key, it takes the place of the member's leaf.
async function external(name, room, key) {
  const member = await client(name, { room, key })
  const groupInfo = await createGroupInfoWithExternalPubAndRatchetTree(alice.state, [], cipherSuite)
  const message = { groupInfo, wireformat: wireformats.mls_group_info, version: protocolVersions.mls10 }
  const { publicMessage, newState } = await joinGroupExternal({
    context, groupInfo: sent(message).groupInfo, keyPackage: member.keyPackage, privateKeys: member.privateKeys, resync: key !== undefined,
  })
  member.state = newState
  return [member, sent({ publicMessage, wireformat: wireformats.mls_public_message, version: protocolVersions.mls10 })]
}
let dave
await step('a member joins by itself', async () => {
  let message
  ;[dave, message] = await external('dave', 'mimi://example.com/r/clubhouse')
  for (const member of [alice, bob, carol]) await receive(member, message)
  return `${same(alice, bob, carol, dave)}, ${await says(dave, alice, 'Hello all')}`
})

// ts-mls does not ask whether a credential is the successor of another one, so the members do.
const leafOf = ({ keyPackage: { leafNode } }) => ({
  credential: base64(unwrap(leafNode.credential)), key: base64(leafNode.signaturePublicKey),
})
await step('a member gets a new credential', async () => {
  const [again, message] = await external('dave', 'mimi://example.com/r/clubhouse', dave.device.private)
  const { good } = await ask('/successor', { old: leafOf(dave), new: leafOf(again) })
  for (const member of [alice, bob, carol]) await receive(member, message)
  const [was, now] = [leafOf(dave).credential, leafOf(again).credential]
  dave = again
  return `${good}, ${was !== now}, ${same(alice, bob, carol, dave)}, ${await says(dave, alice, 'Hello again')}`
})
await step('a successor that is another device', async () => {
  const { good, answer } = await ask('/successor', { old: leafOf(dave), new: leafOf(bob) })
  return `${good}, ${answer}`
})
await step('bound to another room', async () => {
  const [, message] = await external('erin', 'mimi://example.com/r/other')
  return receive(alice, message)
})

await ask('/status', { name: 'alice', status: 3 })
await step('a renamed person stays', async () => {
  const { apply, message } = await commit(alice)
  apply()
  await receive(bob, message)
  await receive(carol, message)
  return `${same(alice, bob, carol)}, ${await says(alice, bob, 'It is still me')}`
})

await ask('/status', { name: 'carol', status: 1 })
await step('the commit of a removed device', async () => {
  const { message } = await commit(carol)
  return receive(bob, message)
})
// A commit that adds somebody may have no path, and thus no leaf that ts-mls asks about. So a member asks about all members first.
await step('its commit without a path', async () => {
  const { message } = await commit(carol, [addOf(await client('frank'))])
  const over = new Set()
  for (const [index, node] of bob.state.ratchetTree.entries()) {
    const { leaf } = node ?? {}
    if (leaf && !(await authService.validateCredential(leaf.credential, leaf.signaturePublicKey))) over.add(index / 2)
  }
  const callback = ({ kind, senderLeafIndex }) => (kind === 'commit' && over.has(senderLeafIndex) ? 'reject' : 'accept')
  const { actionTaken } = await processMessage({ context, state: bob.state, message, callback })
  return `${[...over]}, ${actionTaken}`
})
await step('its member is removed', async () => {
  const { apply, message } = await commit(bob, [{ proposalType: defaultProposalTypes.remove, remove: { removed: 2 } }])
  apply()
  await receive(alice, message)
  return `${same(alice, bob)}, ${await says(bob, alice, 'Without Carol')}, ${same(bob, carol)}`
})
await step('it cannot be added again', () => commit(bob, [addOf(carol)]))
