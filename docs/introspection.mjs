// Asks an issuer about access tokens (RFC 7662), for a web service. Runs in Node, Deno, Bun and workers, with npm oauth4webapi.
import * as oauth from 'oauth4webapi'

const refusalAge = 1000 // ms for which the answer is kept that a token is not active

// Unknown means that it cannot be known now whether a token is active. That is not a "no": answer 503 with Retry-After.
export class Unknown extends Error {
  constructor(message, { retryAfter, cause } = {}) {
    super(message, { cause })
    this.retryAfter = retryAfter > 0 ? Math.min(retryAfter, 3600) : 1 // seconds
  }
}

// An Introspection asks one issuer as one client. Its answers are { active: false }, or the members of an active answer. Other errors than
// Unknown mean that the issuer refuses this client: its credentials, scope or parameters are wrong.
export class Introspection {
  #answers = new Map() // by the hash of the token, oldest first
  #pending = new Map() // the questions that are being asked, likewise
  #server // a promise of the metadata of the issuer
  #until = 0 // when it is fetched again

  // auth is oauth.ClientSecretBasic(secret) or oauth.PrivateKeyJwt({ key, kid }). signed demands signed answers (RFC 9701). entries is how
  // many answers are kept. options are those of oauth4webapi for each request.
  constructor({ issuer, clientId, auth, signed = false, entries = 10_000, options = {}, now = Date.now }) {
    this.issuer = new URL(issuer)
    this.client = { client_id: clientId }
    this.options = { signal: () => AbortSignal.timeout(10_000), ...options }
    Object.assign(this, { auth, signed, entries, now })
  }

  // ask asks about a token. Its answer does not say who showed the token: verify a proof by the key in cnf.jkt yourself. Answers are kept
  // for their max_age and never past the end of the token, and equal questions at the same time are asked once.
  async ask(token) {
    const id = await hash(token)
    const kept = this.#answers.get(id)
    const now = this.now()
    if (kept && kept.asked <= now && now < kept.until) return { ...kept.answer, ...left(kept.answer, now - kept.asked) }
    if (!this.#pending.has(id)) {
      this.#pending.set(id, this.#askAndKeep(id, token).finally(() => this.#pending.delete(id)))
    }
    return this.#pending.get(id)
  }

  // askHolder has the issuer verify the DPoP proof of a request, too: an active answer says that the holder of the token sent it. url is that
  // of the request, under one of the `resources` of this client; nonce is the one that the service gave, if any. A proof counts once.
  async askHolder(token, { proof, method, url, nonce }) {
    const parameters = { proof, proof_htm: method, proof_htu: url, ...(nonce && { proof_nonce: nonce }) }
    const answer = await this.#ask(token, parameters)
    if (answer.active && answer.holder !== 'verified') throw new Unknown('the issuer did not verify the proof')
    return answer
  }

  async #askAndKeep(id, token) {
    const asked = this.now()
    const answer = await this.#ask(token)
    const { max_age, expires_in, exp = Infinity } = answer
    const until = answer.active ? Math.min(asked + 1000 * Math.min(max_age, expires_in), 1000 * exp) : asked + refusalAge
    this.#answers.delete(id)
    this.#answers.set(id, { answer, asked, until })
    if (this.#answers.size > this.entries) this.#answers.delete(this.#answers.keys().next().value)
    return answer
  }

  async #ask(token, additionalParameters = {}) {
    try {
      const as = await this.#discover()
      const options = { ...this.options, additionalParameters, requestJwtResponse: this.signed }
      const response = await oauth.introspectionRequest(as, this.client, this.auth, token, options)
      if (response.status === 429 || response.status >= 500) {
        throw new Unknown(`the issuer answered ${response.status}`, { retryAfter: Number(response.headers.get('retry-after')) })
      }
      const answer = await oauth.processIntrospectionResponse(as, this.client, response)
      if (/^application\/token-introspection\+jwt\b/.test(response.headers.get('content-type'))) {
        await oauth.validateApplicationLevelSignature(as, response, this.options)
      } else if (this.signed) {
        throw new Unknown('the answer is not signed')
      }
      return answer
    } catch (error) {
      const refused = error instanceof oauth.ResponseBodyError || error instanceof oauth.WWWAuthenticateChallengeError
      if (refused || error instanceof Unknown) throw error
      throw new Unknown('the issuer cannot be asked, or its answer cannot be used', { cause: error })
    }
  }

  // discover returns the metadata of the issuer, and fetches it every five minutes. The keys of the issuer are cached with it.
  #discover() {
    if (this.now() < this.#until) return this.#server
    this.#until = this.now() + 300_000
    this.#server = oauth
      .discoveryRequest(this.issuer, { ...this.options, algorithm: 'oauth2' })
      .then((response) => oauth.processDiscoveryResponse(this.issuer, response))
    this.#server.catch(() => (this.#until = 0)) // the next question asks again
    return this.#server
  }
}

// left returns the members of an answer that count down, after some milliseconds.
function left({ active, max_age, expires_in }, passed) {
  const seconds = Math.ceil(passed / 1000)
  return active ? { max_age: max_age - seconds, expires_in: expires_in - seconds } : {}
}

// hash keeps the tokens themselves out of memory.
async function hash(token) {
  const sum = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(token))
  return btoa(String.fromCharCode(...new Uint8Array(sum)))
}
