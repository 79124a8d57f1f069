// A real browser goes through every page that people see, twice: once on a telephone with scripts off, and once with
// scripts on, where npm axe-core looks at each page, light and dark.
//
// In the environment: ISSUER; CLIENT_ID of an app with two domains, of which DOMAIN has the OpenID providers PROVIDER and
// another one; WEB, the redirect URI of the app on the web, whose site sends people on to another host. If SHOTS names a
// folder, a picture of each page is put there. Prints a line for each page: its heading, and what is wrong with it.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { join } from 'node:path'
import axe from 'axe-core'
import { launch } from './chromium.mjs'

const { ISSUER, CLIENT_ID, DOMAIN, PROVIDER, WEB, SHOTS } = process.env
const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, ignoreHTTPSErrors: true }

// The app waits for its answer on loopback, as a native one does.
const app = createServer((req, res) => res.setHeader('content-type', 'text/html').end('<h1>The app</h1>')).listen(0, '127.0.0.1')
await once(app, 'listening')
const callback = `http://127.0.0.1:${app.address().port}/callback`

// An address of /authorize; RFC 7636, appendix B.
const authorize = (more) => `${ISSUER}/authorize?` + new URLSearchParams({
  response_type: 'code', client_id: CLIENT_ID, redirect_uri: callback, state: 'of-the-app',
  code_challenge: 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM', code_challenge_method: 'S256', ...more,
})

const browser = await launch()

// journey goes through all pages in one browser window: first with a person who is new here. look is called on each page.
async function journey(name, person, options, look) {
  const context = await browser.newContext({ ...phone, ...options })
  const page = await context.newPage()
  const say = (what) => console.log(`${name} ${what}`)
  page.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) say(message.text())
  })
  const see = async (what) => {
    const faults = await look(page, what)
    say(`${what}: ${await page.locator('h1').innerText()}${faults.length ? ` FAULTS ${faults.join('; ')}` : ''}`)
  }
  const press = (button) => page.getByRole('button', { name: button, exact: true }).click()
  const signIn = async (who) => { // at the provider, which knows her from the second time on
    while (!page.url().startsWith(ISSUER)) {
      if (await page.locator('[name=login]').count()) {
        await page.locator('[name=login]').fill(who)
        await page.locator('[name=password]').fill(who)
      }
      await Promise.all([page.waitForEvent('framenavigated'), page.locator('button[type=submit]').click()])
    }
  }
  const answered = () => {
    const q = new URL(page.url()).searchParams
    say(`app: ${page.url().split('?')[0].replace(callback, 'callback')} ${q.get('error') ?? (q.has('code') ? 'code' : 'nothing')} ${q.get('state')}`)
  }

  await page.goto(`${ISSUER}/`)
  await see('home')
  await page.goto(authorize({ im_device_name: `${name}’s phone` }))
  await press('Cancel')
  answered()
  await page.goto(authorize({ im_device_name: `${name}’s phone` }))
  await see('domain')
  await press(DOMAIN)
  await see('provider')
  await page.goBack()
  await press(DOMAIN)
  await press('Guest accounts')
  await signIn(person)
  await see('handle')
  await page.getByLabel('Name').fill('admin')
  await press('Take this name')
  await see('handle refused')
  await page.getByLabel('Name').fill(`${person}.friend`)
  await press('Take this name')
  await see('consent')
  await page.reload()
  await see('consent, loaded again')
  const asked = page.url()
  await press('Use another account')
  await page.waitForLoadState()
  say(`another account: ${page.url().startsWith(ISSUER) ? page.url() : 'at the provider'}`)
  await page.goto(asked)
  await press('Do not allow')
  answered()
  await page.goto(asked)
  await see('over')

  await page.goto(authorize({ im_domain: DOMAIN, im_provider: PROVIDER }))
  await signIn('bob')
  if (name === 'plain') { // at her first login
    await press('Take this name')
  }
  await see('consent, other person')
  await press('Allow')
  answered()

  await page.goto(authorize({ im_provider: PROVIDER, redirect_uri: WEB, prompt: 'consent' }))
  await signIn('bob')
  await see('consent, app on the web')
  await press('Allow')
  await page.waitForURL('**/done')
  say(`app: ${await page.locator('h1').innerText()}`)

  // A scheme that nobody here has registered: the browser may go there, and finds nobody.
  await page.goto(authorize({ im_provider: PROVIDER, redirect_uri: 'com.example.rooms:/callback' }))
  await signIn('bob')
  await see('consent, private-use scheme')
  const decision = page.waitForResponse((response) => response.request().method() === 'POST')
  await press('Allow')
  say(`app: ${(await (await decision).headerValue('location')).split('?')[0]}`)
  await page.waitForTimeout(500) // for what the browser would say against it

  await page.goto(authorize({ redirect_uri: 'https://elsewhere.example/' }))
  await see('error')
  await context.close()
}

// broad tells what is wider than the window.
const broad = async (page) =>
  (await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth)) ? ['wider than the window'] : []

// scrolled tells which buttons of the decision are not in sight on a small telephone, or on a laptop.
async function scrolled(page) {
  const faults = []
  for (const viewport of [{ width: 320, height: 568 }, { width: 1280, height: 800 }]) {
    await page.setViewportSize(viewport)
    const hidden = await page.locator('.decision button').evaluateAll((buttons) =>
      buttons.filter((b) => b.getBoundingClientRect().bottom > innerHeight || scrollY > 0).map((b) => b.innerText))
    for (const button of hidden) faults.push(`${viewport.width}: ${button} is out of sight`)
    if (SHOTS) await page.screenshot({ path: join(SHOTS, `${(await page.locator('h1').innerText()).replaceAll(/[^A-Za-z]+/g, '-')}-${viewport.width}.png`) })
  }
  await page.setViewportSize(phone.viewport)
  return faults
}

async function shoot(page, ...name) {
  if (SHOTS) await page.screenshot({ path: join(SHOTS, name.join('-').replaceAll(/[^a-z-]+/g, '-') + '.png'), fullPage: true })
}

await journey('plain', 'alice', { javaScriptEnabled: false }, async (page, what) => {
  await shoot(page, what, 'plain')
  return [...(await broad(page)), ...(await scrolled(page))]
})

await journey('axe', 'carol', {}, async (page, what) => {
  const faults = []
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme })
    await page.evaluate(axe.source) // as the tools of the browser do it: the policy of the page lets no script in
    const { violations } = await page.evaluate(() => globalThis.axe.run())
    for (const v of violations) faults.push(`${colorScheme} ${v.id} ${v.nodes.map((n) => n.target).join()}`)
    await shoot(page, what, colorScheme)
  }
  for (const width of [320, 390, 1280]) {
    await page.setViewportSize({ width, height: 844 })
    for (const fault of await broad(page)) faults.push(`${width}: ${fault}`)
    if (width > 390) await shoot(page, what, 'wide')
  }
  await page.setViewportSize(phone.viewport)
  return faults
})

await browser.close()
app.close()
app.closeAllConnections()
