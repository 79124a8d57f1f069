// A real browser looks at every page of the product, in every language. It goes through the journey below with the keyboard alone and
// scripts off, and hands each page that it comes to over to a second tab, where axe-core and the checks below look at it: at 320 and
// 1280 px, light and dark, with twice the size of text, and in forced colors.
//
// To add a page, add a row to journey: the name of the page, the key of its heading, that of its note about what was done, and how to get
// there from the row before. A row with seen is a page that looks like one before.
//
// In the environment: ISSUER; CLIENT_ID of an app with two domains, of which DOMAIN has the OpenID providers "Staff accounts" and "Guest
// accounts", and at the former the people below, each with the devices "Kitchen tablet", which has a credential, and "Phone", and an app that acts for them; TEXTS, the folder of the catalogue; PAGES, a folder of pages to look at that no journey leads to, NAME.LANGUAGE.html; SHOTS, the
// folder for pictures. Prints a line for each page, and what is wrong with it.
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import axe from 'axe-core'
import { launch } from './chromium.mjs'

const { ISSUER, CLIENT_ID, DOMAIN, TEXTS, PAGES, SHOTS } = process.env
const languages = ['en', 'de', 'ar'].map((tag) => ({ tag, ...JSON.parse(readFileSync(join(TEXTS, `${tag}.json`), 'utf8')) }))

// The app waits for its answer on loopback, as a native one does.
const app = createServer((req, res) => res.setHeader('content-type', 'text/html').end('<h1>The app</h1>')).listen(0, '127.0.0.1')
await once(app, 'listening')
const callback = `http://127.0.0.1:${app.address().port}/callback`

const authorize = (more) => `${ISSUER}/authorize?` + new URLSearchParams({
  response_type: 'code', client_id: CLIENT_ID, redirect_uri: callback, state: 'of-the-app',
  code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256', ...more,
})

// Each person is new to the issuer, so that each is asked for a handle.
const people = { en: 'erin', de: 'dora', ar: 'amal' }

const journey = [
  { page: 'home', heading: 'home.title', reach: (tab) => tab.open('/') },
  { page: 'domain', heading: 'choose.domain.title', reach: (tab) => tab.open(authorize({ im_device_name: 'A phone' })) },
  { page: 'provider', heading: 'choose.provider.title', reach: (tab) => tab.press(DOMAIN) },
  { page: 'handle', heading: 'handle.title', reach: async (tab) => { await tab.press('Guest accounts'); await tab.signIn() } },
  { page: 'handle refused', heading: 'handle.title', reach: async (tab) => { await tab.fill('handle', 'admin'); await tab.press(tab.text('handle.take')) } },
  { page: 'consent', heading: 'consent.title', reach: async (tab) => { await tab.fill('handle', `${tab.person}.friend`); await tab.press(tab.text('handle.take')) } },
  { page: 'consent, details', heading: 'consent.title', reach: (tab) => tab.press(tab.text('consent.details')) },
  { page: 'over', heading: 'end.over.title', reach: async (tab) => {
    const asked = tab.page.url()
    await tab.press(tab.text('consent.deny'))
    if (!tab.page.url().startsWith(callback)) tab.faults.push(`the app is not told: ${tab.page.url()}`)
    await tab.open(asked)
  } },
  { page: 'error', heading: 'error.title', reach: (tab) => tab.open(authorize({ redirect_uri: 'https://elsewhere.example/' })) },
  { page: 'error, details', heading: 'error.title', reach: (tab) => tab.press(tab.text('frame.developer')) },
  { page: 'signed out', heading: 'account.out', reach: (tab) => tab.open('/account/signed-out?because=cancelled') },
  { page: 'account, domain', heading: 'choose.domain.title', reach: (tab) => tab.press(tab.text('account.sign_in')) },
  { page: 'account', heading: 'account.title', reach: async (tab) => { await tab.press(DOMAIN); await tab.press('Guest accounts'); await tab.signIn() } },
  { page: 'device, qr', heading: 'device.qr.title', reach: (tab) => tab.open('/device/qr?user_code=wdjbmjht') },
  { page: 'device', heading: 'device.title', reach: (tab) => tab.open('/device') },
  { page: 'device, wrong code', heading: 'device.title', reach: (tab) => tab.enterCode('BBBBBBBB') },
  { page: 'device, check', heading: 'device.check.title', reach: async (tab) => {
    const body = new URLSearchParams({ client_id: 'tv', im_device_name: 'Living room', im_device_platform: 'tv' })
    const { user_code } = await (await fetch(`${ISSUER}/device_authorization`, { method: 'POST', body })).json()
    await tab.enterCode(user_code.toLowerCase())
  } },
  { page: 'device, allowed', heading: 'device.allowed.title', reach: async (tab) => {
    await tab.press(tab.text('device.allow'))
    if (!tab.page.url().startsWith(ISSUER)) { // the provider did not say when the person signed in
      await tab.signIn()
      await tab.press(tab.text('device.allow'))
    }
  } },
  { page: 'account, signed out', seen: true, heading: 'account.out', reach: async (tab) => {
    await tab.open('/account')
    await tab.press(tab.text('account.sign_out'))
  } },
  { page: 'account with devices', heading: 'account.title', reach: async (tab) => {
    await tab.press(tab.text('account.sign_in'))
    await tab.press(DOMAIN)
    await tab.press('Staff accounts')
    await tab.signIn()
  } },
  { page: 'account, device', heading: 'account.device', reach: (tab) => tab.press('Kitchen tablet') },
  { page: 'account, device refused', heading: 'account.device', reach: async (tab) => {
    await tab.fill('field', 'x'.repeat(65))
    await tab.press(tab.text('account.device.rename'))
    await tab.isAt('field')
  } },
  { page: 'account, device renamed', heading: 'account.title', done: 'account.done.renamed', reach: async (tab) => {
    await tab.fill('field', 'Tablet by the stove')
    await tab.press(tab.text('account.device.rename'))
  } },
  { page: 'account, session', heading: 'account.session.end.title', reach: async (tab) => {
    await tab.press('Tablet by the stove')
    await tab.press(tab.text('account.session.end'))
  } },
  { page: 'account, session ended', seen: true, heading: 'account.title', done: 'account.done.session_ended', reach: (tab) => tab.press(tab.text('account.session.end.button')) },
  { page: 'account, credential', heading: 'account.credential.end.title', reach: async (tab) => {
    await tab.press('Tablet by the stove')
    await tab.press(tab.text('account.credential.end'))
  } },
  { page: 'account, credential ended', seen: true, heading: 'account.title', done: 'account.done.credential_ended', reach: (tab) => tab.press(tab.text('account.credential.end.button')) },
  { page: 'account, remove', heading: 'account.remove', reach: async (tab) => {
    await tab.press('Tablet by the stove')
    await tab.press(tab.text('account.device.remove'))
    if (tab.page.url().startsWith(ISSUER)) tab.faults.push('a device is removed without another sign-in')
    await tab.signIn()
  } },
  { page: 'account, removed', seen: true, heading: 'account.title', done: 'account.done.removed', reach: (tab) => tab.press(tab.text('account.remove.button')) },
  { page: 'account, party', heading: 'account.withdraw', reach: (tab) => tab.press('Meeting assistant') },
  { page: 'account, withdrawn', seen: true, heading: 'account.title', done: 'account.done.withdrawn', reach: (tab) => tab.press(tab.text('account.withdraw.button')) },
  { page: 'account, privacy', heading: 'account.privacy', reach: (tab) => tab.press(tab.text('account.privacy')) },
  { page: 'account, findable', seen: true, heading: 'account.title', done: 'account.done.findable', reach: (tab) => tab.press(tab.text('account.privacy.show')) },
  { page: 'account, browsers', heading: 'account.browsers', reach: (tab) => tab.open('/account/other-browsers') },
  { page: 'account, browsers ended', seen: true, heading: 'account.title', done: 'account.done.browsers_ended', reach: (tab) => tab.press(tab.text('account.browsers.button')) },
  { page: 'account, name', heading: 'account.name', reach: (tab) => tab.press(tab.text('account.name')) },
  { page: 'account, name refused', heading: 'account.name', reach: async (tab) => {
    await tab.fill('field', 'admin')
    await tab.press(tab.text('account.name.button'))
    await tab.isAt('field')
  } },
  { page: 'account, named', seen: true, heading: 'account.title', done: 'account.done.name', reach: async (tab) => {
    await tab.fill('field', `${tab.person}.anew`)
    await tab.press(tab.text('account.name.button'))
  } },
  { page: 'account, export', heading: 'account.export', reach: (tab) => tab.press(tab.text('account.export')) },
  { page: 'account, exported', seen: true, heading: 'account.export', reach: async (tab) => {
    if (!(await tab.download(tab.text('account.export.button'))).includes(`${tab.person}.anew`)) tab.faults.push('the file does not have the name')
  } },
  { page: 'account, remove all', heading: 'account.remove_all', reach: async (tab) => {
    await tab.press(tab.text('account.back'))
    await tab.press(tab.text('account.devices.remove'))
  } },
  { page: 'account, all removed', seen: true, heading: 'account.title', done: 'account.done.all_removed', reach: (tab) => tab.press(tab.text('account.remove_all.button')) },
  { page: 'account, leave', heading: 'account.leave', reach: (tab) => tab.press(tab.text('account.leave')) },
  { page: 'account, leave refused', heading: 'account.leave', reach: async (tab) => {
    await tab.fill('field', 'somebody else')
    await tab.press(tab.text('account.leave.button'))
    await tab.isAt('field')
  } },
  { page: 'account, left', heading: 'account.left', reach: async (tab) => {
    await tab.fill('field', `@${tab.person}.anew@${DOMAIN}`)
    await tab.press(tab.text('account.leave.button'))
  } },
  { page: 'account, gone', seen: true, heading: 'choose.domain.title', reach: (tab) => tab.open('/account') },
]

function report(tag, page, faults) {
  console.log(`${tag} ${page}: ${faults.length ? faults.join('; ') : 'ok'}`)
}

// travel goes through the journey in one language. The pages that it comes to are looked at meanwhile.
async function travel(language) {
  const context = await browser.newContext({ viewport: { width: 390, height: 844 }, javaScriptEnabled: false, locale: language.tag })
  const tab = new Tab(await context.newPage(), language)
  const schemes = language.tag === 'de' ? none : both // German is laid out like English: only its texts are longer
  let looked = Promise.resolve()
  for (const { page, heading, done, seen, reach } of journey) {
    await reach(tab)
    const faults = tab.faults.splice(0)
    const said = (await tab.page.locator('h1').innerText()).replaceAll(/[⁨⁩]/g, '')
    const wanted = new RegExp('^' + language.texts[heading].replaceAll(/[?.]/g, '\\$&').replaceAll(/\{\w+\}/g, '.+') + '$')
    if (!wanted.test(said)) faults.push(`the heading is ${said}`)
    const [lang, dir] = await tab.page.evaluate(() => [document.documentElement.lang, document.documentElement.dir])
    if (lang !== language.tag || dir !== language.direction) faults.push(`the page is in ${lang} from ${dir}`)
    const note = tab.page.locator('[role=status]')
    const noted = (await note.count()) ? await note.innerText() : ''
    if (noted !== (done ? language.texts[done] : '')) faults.push(`the note is ${noted || 'missing'}`)
    if (seen) {
      looked = looked.then(() => report(language.tag, page, faults))
      continue
    }
    const content = await tab.page.content()
    looked = looked.then(async () => report(language.tag, page, [...faults, ...(await look(content, `${language.tag}-${page}`, schemes))]))
  }
  await looked
  await context.close()
}

const none = { 320: [], 1280: [] }
const both = { 320: ['light', 'dark'], 1280: ['light', 'dark'] }

// Only these rules of axe depend on colors: they are all that is new in the dark.
const ofColors = ['color-contrast', 'link-in-text-block']

// look returns what is wrong with a page. schemes are the color schemes for each width.
async function look(content, name, schemes) {
  return (await Promise.all(mirrors.map((m) => m(content, name, schemes)))).flat()
}

// pictured is the color scheme of the picture for each width.
const pictured = { 320: 'light', 1280: 'dark' }

// mirror opens a tab of a width, and returns a function that looks at a page in it.
async function mirror(width) {
  const context = await browser.newContext({ viewport: { width, height: 800 } })
  const tab = await context.newPage()
  return async (content, name, schemes) => {
    const faults = []
    const shoot = (how) => SHOTS && tab.screenshot({ path: join(SHOTS, `${name.replaceAll(/\W+/g, '-')}-${width}-${how}.png`), fullPage: true })
    const fits = async (how) => {
      const broad = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
      if (broad > 0) faults.push(`${width} ${how}: ${broad} px wider than the window`)
    }
    await tab.setContent(content)
    await fits('text of 100 %')
    if (schemes[width].length && !(await tab.evaluate(() => 'axe' in globalThis))) await tab.evaluate(axe.source) // it stays with the tab
    for (const colorScheme of schemes[width]) {
      await tab.emulateMedia({ colorScheme })
      const { violations } = await tab.evaluate((options) => globalThis.axe.run(options), {
        resultTypes: ['violations'], ...(colorScheme === 'dark' && { runOnly: ofColors }),
      })
      for (const v of violations) faults.push(`${width} ${colorScheme}: ${v.id} ${v.nodes.map((n) => n.target).join()}`)
      if (pictured[width] === colorScheme) await shoot(colorScheme)
    }
    if (width === 320 && !schemes[width].length) await shoot('light')
    if (width === 320) {
      // A color alone disappears in forced colors: all that can be pressed has a border or is underlined.
      await tab.emulateMedia({ colorScheme: 'light', forcedColors: 'active' })
      faults.push(...(await tab.evaluate(() => [...document.querySelectorAll('a, button, input:not([type=hidden], [type=checkbox])')].filter((e) => {
        const of = getComputedStyle(e), inside = [e, ...e.querySelectorAll('*')].map((part) => getComputedStyle(part))
        return (of.borderTopStyle === 'none' || of.borderTopWidth === '0px') && !inside.some((s) => s.textDecorationLine.includes('underline'))
      }).map((e) => `forced colors: ${e.innerText || e.name} has neither border nor line`))))
      await tab.emulateMedia({ forcedColors: 'none' })
      await tab.evaluate(() => { document.documentElement.style.fontSize = '200%' }) // WCAG 2.2, 1.4.4
      await fits('text of 200 %')
    }
    return faults
  }
}

// A Tab is used with the keyboard alone.
class Tab {
  faults = []

  constructor(page, language) {
    this.page = page
    this.language = language
    this.person = people[language.tag]
    page.on('console', (message) => { if (message.text().includes('Content Security Policy')) this.faults.push(message.text()) })
  }

  text(key) { return this.language.texts[key] }

  async open(address) { await this.page.goto(new URL(address, ISSUER).href) }

  // focus goes on by the Tab key until something has the focus that is called as wanted. Whatever has it on the way must show it.
  async focus(wanted) {
    for (let i = 0; i < 60; i++) {
      await this.page.keyboard.press('Tab')
      const at = await this.page.evaluate(() => {
        const e = document.activeElement, style = getComputedStyle(e)
        const { width, height } = e.getBoundingClientRect()
        return {
          name: e.id || e.innerText.trim(), body: e === document.body, size: Math.min(width, height),
          shown: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
        }
      })
      if (at.body) continue // around the end of the page
      if (!at.shown) this.faults.push(`the focus on ${at.name} cannot be seen`)
      if (at.size < 24) this.faults.push(`${at.name} is ${at.size} px small`) // WCAG 2.2, 2.5.8
      if (at.name === wanted || at.name.split('\n')[0] === wanted) return
    }
    throw new Error(`no way to ${wanted} by the keyboard on ${this.page.url()}`)
  }

  async press(wanted) {
    await this.focus(wanted)
    const stays = await this.page.evaluate(() => document.activeElement.tagName === 'SUMMARY')
    const loaded = stays ? null : this.page.waitForEvent('domcontentloaded')
    await this.page.keyboard.press('Enter')
    await loaded
  }

  async fill(field, value) {
    await this.focus(field)
    await this.page.keyboard.press('Control+A')
    await this.page.keyboard.type(value)
  }

  // isAt holds that the page has put the focus on a field.
  async isAt(field) {
    const focused = this.page.locator(`#${field}:focus`) // a moment after the page is read
    await focused.waitFor({ state: 'attached', timeout: 10_000 }).catch(() => this.faults.push(`the focus is not on ${field}`))
  }

  // download presses a button that sends a file, and returns its text.
  async download(wanted) {
    await this.focus(wanted)
    const [file] = await Promise.all([this.page.waitForEvent('download'), this.page.keyboard.press('Enter')])
    return readFileSync(await file.path(), 'utf8')
  }

  async enterCode(code) {
    await this.fill('user_code', code)
    await this.press(this.text('device.next'))
  }

  // signIn goes through the forms of the OpenID provider, which are not ours.
  async signIn() {
    while (!this.page.url().startsWith(ISSUER)) {
      if (await this.page.locator('[name=login]').count()) {
        await this.page.locator('[name=login]').fill(this.person)
        await this.page.locator('[name=password]').fill(this.person)
      }
      await Promise.all([this.page.waitForEvent('framenavigated'), this.page.locator('button[type=submit]').click()])
    }
    await this.page.waitForLoadState()
  }
}

const browser = await launch()
const mirrors = await Promise.all([320, 1280].map(mirror)) // the tabs that look
for (const language of languages) {
  await travel(language)
}
for (const file of readdirSync(PAGES).filter((name) => name.endsWith('.html')).sort()) {
  const [name, tag] = file.split('.')
  const schemes = tag === 'de' ? none : /limit|removal/.test(name) ? both : { 320: ['light'], 1280: [] }
  report(tag, name, await look(readFileSync(join(PAGES, file), 'utf8'), `${tag}-${name}`, schemes))
}
await browser.close()
app.close()
app.closeAllConnections()
