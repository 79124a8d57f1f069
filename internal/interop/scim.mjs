// What an OpenID provider does by SCIM, with the messages and schemas of npm scimmy: it builds each request, and reads each answer, by the
// rules of RFC 7643 and 7644.
//
// In the environment: ISSUER and TOKEN. Reads commands, one a line, and prints what came of each as one line.
import { createInterface } from 'node:readline'
import SCIMMY from 'scimmy'

const { ISSUER, TOKEN } = process.env
const { Messages, Schemas, Types } = SCIMMY
const base = `${ISSUER}/scim/v2`

// send sends a request and returns the answer, or throws its error as scimmy reads it.
async function send(method, path, body, headers = {}) {
  const response = await fetch(base + path, {
    method,
    headers: { Authorization: `Bearer ${TOKEN}`, ...(body && { 'Content-Type': 'application/scim+json' }), ...headers },
    body: body && JSON.stringify(body),
  })
  if (response.status === 204 || response.status === 304) return { status: response.status }
  if (response.headers.get('Content-Type') !== 'application/scim+json') throw new Error(`type ${response.headers.get('Content-Type')}`)
  const json = await response.json()
  if (!response.ok) throw new Messages.ErrorResponse(json)
  return { status: response.status, json, etag: response.headers.get('ETag'), location: response.headers.get('Location') }
}

const user = (json) => new Schemas.User(json, 'out')

async function find(filter) {
  new Types.Filter(filter) // is one by the rules
  const { json } = await send('GET', `/Users?filter=${encodeURIComponent(filter)}`)
  const list = new Messages.ListResponse(json)
  return list.Resources.map(user)
}

const patch = (...Operations) => new Messages.PatchOp({ schemas: [Messages.PatchOp.id], Operations })
const words = (u) => `${u.userName} ${u.externalId} ${u.active ? 'active' : 'inactive'}`

const commands = {
  async discover() {
    const { json: config } = await send('GET', '/ServiceProviderConfig')
    const types = new Messages.ListResponse((await send('GET', '/ResourceTypes')).json)
    const { json: type } = await send('GET', '/ResourceTypes/User')
    const schemas = new Messages.ListResponse((await send('GET', '/Schemas')).json)
    const { json: schema } = await send('GET', `/Schemas/${type.schema}`)
    return `patch ${config.patch.supported}, ${types.totalResults} type at ${type.endpoint}, ${schemas.totalResults} schema ${schema.id === Schemas.User.definition.id} ` +
      `with ${schema.attributes.map((a) => a.name).join(' and ')}`
  },
  async provision(name, subject, active) {
    const body = new Schemas.User({
      userName: name, externalId: subject, active: active !== 'inactive', name: { givenName: 'D', familyName: 'E' },
      emails: [{ value: name, type: 'work', primary: true }],
    }, 'in')
    const { status, json, etag, location } = await send('POST', '/Users', body)
    return `${status} ${words(user(json))} ${location === json.meta.location && etag === json.meta.version}`
  },
  async find(attribute, value) {
    return (await find(`${attribute} eq "${value}"`)).map(words).join(', ') || 'nobody'
  },
  async set(subject, active) {
    const [found] = await find(`externalId eq "${subject}" and active eq ${active === 'inactive'}`)
    const { json, etag } = await send('GET', `/Users/${found.id}`)
    const changed = await send('PATCH', `/Users/${found.id}`, patch({ op: 'replace', path: 'active', value: active !== 'inactive' }), { 'If-Match': etag })
    const again = await send('GET', `/Users/${found.id}`, undefined, { 'If-None-Match': changed.etag })
    return `${words(user(json))}, then ${words(user(changed.json))}, then ${again.status}`
  },
  async put(subject, name) {
    const [found] = await find(`externalId eq "${subject}"`)
    const { json } = await send('PUT', `/Users/${found.id}`, new Schemas.User({ ...found, userName: name, displayName: 'changed' }, 'in'))
    return words(user(json))
  },
  async remove(subject) {
    const [found] = await find(`externalId eq "${subject}"`)
    const { status } = await send('DELETE', `/Users/${found.id}`)
    return String(status)
  },
  async count() {
    const { json } = await send('GET', '/Users?startIndex=1&count=1&attributes=userName')
    const list = new Messages.ListResponse(json)
    return `${list.Resources.length}, and all of them are there: ${list.totalResults >= 1}`
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...args] = line.split(' ')
  try {
    console.log(await commands[name](...args))
  } catch (e) {
    console.log(`${e.status ?? ''} ${e.scimType ?? ''} ${e.detail ?? e.message}`.trim())
  }
}
