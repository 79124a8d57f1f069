// Debian's Chromium, driven by npm playwright-core: the browser of the tests that need a real one. `make setup` installs
// both.
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { chromium } from 'playwright-core'

// launch starts a headless Chromium with a profile of its own. The caller closes it.
export function launch() {
  const args = process.getuid() === 0 ? ['--no-sandbox'] : [] // Chromium's sandbox refuses to be root's
  return chromium.launch({ executablePath: onPath('chromium'), args })
}

function onPath(name) {
  for (const folder of process.env.PATH.split(delimiter)) {
    const file = join(folder, name)
    try {
      accessSync(file, constants.X_OK)
      return file
    } catch {
      // it is in none of the folders so far
    }
  }
  throw new Error(`${name} is not on the path; make setup installs it`)
}
