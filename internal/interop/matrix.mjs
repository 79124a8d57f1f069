// The cryptography of the Matrix clients (matrix-sdk-crypto, Rust) makes keys and devices, and judges answers about them.
//
// Prints one JSON object: `user` and `verifier` (Matrix ids), `userSigning` (the verifier's own key), and `answers`: each with a `name`,
// the `answer` to /keys/query about the user, `devices` (isCrossSignedByOwner of each; null for one that it does not accept), and
// `verified` (whether the verifier has verified the user).
import { DeviceId, initAsync, KeysUploadRequest, OlmMachine, UserId } from '@matrix-org/matrix-sdk-crypto-wasm'

await initAsync()
const alice = '@alice:example.com'
const bob = '@bob:example.org'
const machine = (user, device) => OlmMachine.initialize(new UserId(user), new DeviceId(device))

async function deviceKeys(of) {
  for (const request of await of.outgoingRequests()) {
    if (request instanceof KeysUploadRequest) return JSON.parse(request.body).device_keys
  }
  throw new Error('no device keys')
}

async function person(user, device) {
  const own = await machine(user, device)
  const made = await own.bootstrapCrossSigning(true)
  const keys = JSON.parse(made.uploadSigningKeysRequest.body)
  return { own, keys, device: JSON.parse(made.uploadKeysRequest.body).device_keys }
}

const her = await person(alice, 'PHONE')
const laptop = await deviceKeys(await machine(alice, 'LAPTOP'))
const his = await person(bob, 'DESK')

const answer = (devices, master = her.keys.master_key) => ({
  device_keys: { [alice]: devices },
  failures: {},
  master_keys: { [alice]: master },
  self_signing_keys: { [alice]: her.keys.self_signing_key },
  user_signing_keys: {},
})

async function ask(verifier, content) {
  const query = verifier.queryKeysForUsers([new UserId(alice)])
  await verifier.markRequestAsSent(query.id, query.type, JSON.stringify(content))
}

const answers = []
async function judge(name, content, verifier) {
  if (!verifier) {
    verifier = (await person(bob, 'DESK')).own // without memory of devices
  }
  await ask(verifier, content)
  const devices = {}
  for (const id of Object.keys(content.device_keys[alice])) {
    const device = await verifier.getDevice(new UserId(alice), new DeviceId(id))
    devices[id] = device ? device.isCrossSignedByOwner() : null
  }
  const identity = await verifier.getIdentity(new UserId(alice))
  answers.push({ name, answer: JSON.stringify(content), devices, verified: identity?.isVerified() ?? false })
}

await judge('a signed and an unsigned device', answer({ PHONE: her.device, LAPTOP: laptop }))
const change = (of, fn) => {
  const copy = structuredClone(of)
  fn(copy)
  return copy
}
const selfSigning = Object.keys(her.keys.self_signing_key.keys)[0]
await judge('an altered device', answer({ PHONE: change(her.device, (d) => d.algorithms.pop()) }))
await judge('a device with the signature of another', answer({
  LAPTOP: change(laptop, (d) => { d.signatures[alice][selfSigning] = her.device.signatures[alice][selfSigning] }),
}))
await judge('a device without its own signature', answer({ PHONE: change(her.device, (d) => { delete d.signatures[alice]['ed25519:PHONE'] }) }))
await judge('a device of another user', answer({ PHONE: change(her.device, (d) => { d.user_id = bob }) }))
await judge('a device with text that is not signed', answer({
  PHONE: change(her.device, (d) => { d.unsigned = { device_display_name: 'Alice’s "phone"\n' } }),
}))

// Bob compares her master key, and signs it.
await ask(his.own, answer({ PHONE: her.device }))
const identity = await his.own.getIdentity(new UserId(alice))
const signed = Object.values(JSON.parse((await identity.verify()).body)[alice])[0]
const master = change(her.keys.master_key, (m) => Object.assign(m.signatures, signed.signatures))
await judge('a user that the verifier has signed', answer({ PHONE: her.device, LAPTOP: laptop }, master), his.own)

console.log(JSON.stringify({ user: alice, verifier: bob, userSigning: Object.values(his.keys.user_signing_key.keys)[0], answers }))
