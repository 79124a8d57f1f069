// A person manages her account in a real browser: by keyboard alone with scripts off, and then npm axe-core looks at each page, light
// and dark, narrow and wide, from left to right and from right to left.
//
// In the environment: ISSUER; PERSON, who has two devices and an app that acts for her in DOMAIN. If SHOTS names a folder, a picture of
// each page is put there. Prints a line for each page: its heading, and what is wrong with it.
import { join } from 'node:path'
import axe from 'axe-core'
import { launch } from './chromium.mjs'

const { ISSUER, PERSON, DOMAIN, SHOTS } = process.env
const browser = await launch()

// open opens a window. What its pages may not do by their policy is printed.
async function open(options) {
  const context = await browser.newContext({ viewport: { width: 390, height: 844 }, ...options })
  const page = await context.newPage()
  page.on('console', (message) => {
    if (message.text().includes('Content Security Policy')) console.log(message.text())
  })
  return page
}

async function shoot(page, ...name) {
  if (SHOTS) await page.screenshot({ path: join(SHOTS, `account-${name.join('-')}.png`), fullPage: true })
}

const broad = (page) => page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth)

// focused is what a person reads where the keyboard is.
const focused = (page) => page.evaluate(() => {
  const e = document.activeElement
  return (e?.labels?.[0]?.innerText || e?.innerText || e?.name || '').trim()
})

// tab goes to what begins with that text, as by the keyboard alone.
async function tab(page, text) {
  for (let i = 0; i < 60; i++) {
    await page.keyboard.press('Tab')
    if ((await focused(page)).startsWith(text)) {
      const seen = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle !== 'none')
      if (!seen) console.log(`${text}: the focus is not to be seen`)
      return
    }
  }
  throw new Error(`the keyboard does not come to ${text} on ${page.url()}`)
}

// enter presses a link or a button, and waits for the page behind it.
async function enter(page, text) {
  await tab(page, text)
  await Promise.all([page.waitForEvent('framenavigated'), page.keyboard.press('Enter')])
  await page.waitForLoadState()
}

// signIn goes from a page of the issuer to the provider and back.
async function signIn(page) {
  if (await page.getByRole('button', { name: DOMAIN, exact: true }).count()) await enter(page, DOMAIN)
  while (!page.url().startsWith(ISSUER)) {
    if (await page.locator('[name=login]').count()) {
      await page.locator('[name=login]').focus()
      await page.keyboard.type(PERSON)
      await page.locator('[name=password]').focus()
      await page.keyboard.type(PERSON)
    } else {
      await page.locator('button[type=submit]').focus()
    }
    await Promise.all([page.waitForEvent('framenavigated'), page.keyboard.press('Enter')])
    await page.waitForLoadState()
  }
}

async function byKeyboard() {
  const page = await open({ javaScriptEnabled: false })
  const see = async (what) => {
    await shoot(page, 'keyboard', what)
    const done = page.locator('[role=status]')
    const note = (await done.count()) ? `, ${await done.innerText()}` : ''
    console.log(`${what}: ${await page.locator('h1').innerText()}${note}${(await broad(page)) ? ' WIDER THAN THE WINDOW' : ''}`)
  }
  await page.goto(`${ISSUER}/account`)
  await see('domain')
  await signIn(page)
  await see('account')
  await enter(page, 'Kitchen tablet')
  await see('device')
  await tab(page, 'Name of the device')
  await page.keyboard.press('Control+A')
  await page.keyboard.type('x'.repeat(65))
  await Promise.all([page.waitForEvent('framenavigated'), page.keyboard.press('Enter')])
  await see('name refused')
  console.log(`focus: ${await focused(page)}`)
  await page.keyboard.press('Control+A')
  await page.keyboard.type('Tablet by the stove')
  await Promise.all([page.waitForEvent('framenavigated'), page.keyboard.press('Enter')])
  await see('renamed')
  await enter(page, 'Tablet by the stove')
  await enter(page, 'Remove this device')
  console.log(`sign in again: ${page.url().startsWith(ISSUER) ? page.url() : 'at the provider'}`) // which did not say when she signed in
  await signIn(page)
  await see('remove')
  await enter(page, 'Back to your account')
  await enter(page, 'Tablet by the stove')
  await enter(page, 'Remove this device')
  await enter(page, 'Remove the device')
  await see('removed')
  await enter(page, 'bot')
  await see('withdraw')
  await enter(page, 'End it')
  await see('withdrawn')
  await enter(page, 'Who can find you')
  await see('privacy')
  await enter(page, 'Let others find me')
  await see('findable')
  await enter(page, 'Sign out of this browser')
  await see('out')
  await enter(page, 'Sign in')
  await see('domain again')
  await page.context().close()
}

async function byAxe(locale, looks) {
  const page = await open({ locale })
  await page.goto(`${ISSUER}/account`)
  await signIn(page)
  const links = await page.locator('.rows a').evaluateAll((list) => list.map((a) => a.href))
  const device = links.find((href) => href.includes('/devices/'))
  const pages = [`${ISSUER}/account?done=renamed`, device, `${device}/remove`, ...links.filter((href) => !href.includes('/devices/')),
    `${ISSUER}/account/remove-devices`, `${ISSUER}/account/signed-out`, `${ISSUER}/account/devices/none`]
  let violations = 0
  for (const [i, address] of pages.entries()) {
    await page.goto(address)
    await signIn(page) // for a dangerous act
    await page.evaluate(axe.source) // as the tools of the browser do it: the policy of the page lets no script in
    for (const [colorScheme, width] of looks) {
      await page.emulateMedia({ colorScheme })
      await page.setViewportSize({ width, height: 844 })
      const found = (await page.evaluate(() => globalThis.axe.run())).violations
      for (const v of found) console.log(`${locale} ${address} ${colorScheme} ${width}: ${v.id} ${v.nodes.map((n) => n.target).join()}`)
      violations += found.length
      if (await broad(page)) console.log(`${locale} ${address} ${width}: wider than the window`)
      await shoot(page, locale, i, colorScheme, width)
    }
  }
  const { dir, lang } = await page.evaluate(() => ({ dir: document.documentElement.dir, lang: document.documentElement.lang }))
  console.log(`axe ${lang} ${dir}: ${pages.length > 6 ? 'all pages' : pages.length}, ${violations} violations`)
  await page.context().close()
}

await byKeyboard()
await byAxe('en', [['light', 320], ['dark', 320], ['light', 1280], ['dark', 1280]])
await byAxe('de', [['light', 320]])
await byAxe('ar', [['light', 320], ['dark', 1280]])
await browser.close()
