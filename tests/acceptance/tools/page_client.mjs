// Opens a page in Chromium without a network, does what it is told, and prints what it found as JSON.
// usage: node page_client.mjs URL STEPS.json   (packages are looked for in TURNABOUT_NODE_MODULES)
// A step: {"size": [w, h]} | {"bare": true} (our bar does not show) | {"slide": [slider's label, value]} | {"tick": checkbox's label}
//         | {"number": [label in viser's panel, value]} | {"tab": times, tells what each stop is}
//         | {"press": key} | {"click": button's name} | {"choose": [label, option]}
//         | {"picture": file.png} (with "of": selector, of that element alone)
//         | {"download": button's or link's name, "to": file} | {"drag": [dx, dy]} | {"dark": true}
//         | {"moments": [file.png, ...]} (without waiting until nothing moves) | {"upload": file} | {"drop": file} | {"until": selector} | {"text": selector}
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';

const [url, script] = process.argv.slice(2);
const steps = JSON.parse(await readFile(script, 'utf8'));
const modules = path.resolve(process.env.TURNABOUT_NODE_MODULES);
const { chromium } = createRequire(path.join(modules, 'x.js'))('playwright-core');
const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(existsSync);
const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist'],
});
try {
  const dark = steps.some((step) => step.dark);
  const [width, height] = steps.find((step) => step.size)?.size ?? [640, 640];
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light' });
  if (url.startsWith('file:')) await context.setOffline(true);
  const page = await context.newPage();
  const problems = [], requests = [], texts = [], stops = [];
  page.on('console', (message) => { if (message.type() === 'error') problems.push(message.text()); });
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('request', (request) => requests.push(request.url().slice(0, 200)));
  await page.goto(url);
  if (!steps.some((step) => step.until)) {
    await page.waitForFunction(() => document.documentElement.dataset.turnabout === 'ready', null, { timeout: 120000 });
    // The client's warning that this machine draws in software lies over the picture.
    await page.addStyleTag({ content: '.mantine-Notifications-root { display: none !important; }' });
    if (steps.some((step) => step.bare)) await page.addStyleTag({ content: '#turnabout-bar { opacity: 0; }' });
  }
  for (const step of steps) {
    if (step.press) await page.keyboard.press(step.press);
    if (step.click) await page.getByRole('button', { name: step.click, exact: true }).click();
    if (step.choose) {
      await page.locator('.mantine-Select-input:visible').nth(step.choose[0]).click();
      await page.getByRole('option', { name: step.choose[1], exact: true }).click();
    }
    if (step.drag) {
      await page.mouse.move(width / 2, height / 2);
      await page.mouse.down();
      await page.mouse.move(width / 2 + step.drag[0], height / 2 + step.drag[1], { steps: 5 });
      await page.mouse.up();
    }
    if (step.download) {
      const [download] = await Promise.all([
        page.waitForEvent('download', { timeout: 120000 }),
        page.getByRole('button', { name: step.download, exact: true })
          .or(page.getByRole('link', { name: step.download, exact: true })).click(),
      ]);
      await download.saveAs(step.to);
    }
    if (step.upload) await page.locator('input[type=file]').setInputFiles(step.upload);
    if (step.drop) {
      const bytes = [...await readFile(step.drop)];
      const data = await page.evaluateHandle(({ bytes, name }) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([new Uint8Array(bytes)], name));
        return transfer;
      }, { bytes, name: path.basename(step.drop) });
      await page.dispatchEvent('#drop', 'drop', { dataTransfer: data });
    }
    if (step.until) await page.locator(step.until).first().waitFor({ state: 'attached', timeout: 540000 });
    if (step.slide) await page.getByRole('slider', { name: step.slide[0] }).first().fill(String(step.slide[1]));
    if (step.tab) stops.push(...await tabbed(page, step.tab));
    if (step.tick) await page.getByLabel(step.tick).click();
    if (step.number) await panelNumber(page, ...step.number);
    if (step.text) texts.push(await page.locator(step.text).first().innerText());
    if (step.picture) await settled(step.of ? page.locator(step.of).first() : page, step.picture);
    for (const file of step.moments ?? []) {
      await page.waitForTimeout(300);
      await page.screenshot({ path: file });
    }
  }
  const bar = await page.evaluate(() => {
    const box = document.getElementById('turnabout-bar')?.getBoundingClientRect();
    const pressed = [...document.querySelectorAll('#turnabout-bar button')]
      .filter((button) => button.getAttribute('aria-pressed') === 'true').map((button) => button.textContent);
    const style = box && getComputedStyle(document.getElementById('turnabout-bar'));
    const figures = document.getElementById('turnabout-figures');
    return {
      box: box ? [box.left, box.top, box.right, box.bottom] : null, pressed, background: style?.backgroundColor,
      figures: figures && !figures.hidden ? figures.innerText : '', focus: document.activeElement?.textContent,
    };
  });
  process.stdout.write(JSON.stringify({ problems, requests, texts, stops, bar }));
} finally {
  await browser.close();
}

// Goes on with Tab; each stop's kind, its name, whether it looks otherwise than without the focus, and its outline's colour.
async function tabbed(page, times) {
  const stops = [];
  for (let i = 0; i <= times; i++) {
    await page.keyboard.press('Tab');
    await page.waitForTimeout(200); // looks change gently
    const [left, reached] = await page.evaluate(() => {
      const looks = (element) => {
        const style = getComputedStyle(element);
        return [style.outlineStyle, style.outlineWidth, style.borderColor, style.boxShadow].join();
      };
      const left = window.turnaboutStop ? looks(window.turnaboutStop) : '';
      const on = window.turnaboutStop = document.activeElement;
      const name = on.getAttribute('aria-label') ?? on.labels?.[0]?.innerText ?? on.textContent ?? '';
      return [left, [on.tagName, name.trim().slice(0, 40), looks(on), getComputedStyle(on).outlineColor]];
    });
    if (i > 0) stops[i - 1][2] = stops[i - 1][2] !== left;
    stops.push(reached);
  }
  return stops.slice(0, times);
}

// Types into the number beside a slider of viser's panel.
async function panelNumber(page, label, value) {
  const row = page.locator('.mantine-Flex-root, .mantine-Box-root').filter({ has: page.getByText(label, { exact: true }) }).last();
  const box = row.locator('input:visible').last();
  await box.fill(String(value));
  await box.press('Enter');
}

// A screenshot once two in a row are the same: splats are sorted, and textures arrive, a while after they are asked for.
async function settled(shown, file) {
  let before = null;
  for (let i = 0; i < 40; i++) {
    await new Promise((resolve) => { setTimeout(resolve, 700); });
    const now = await shown.screenshot();
    if (before !== null && now.equals(before) && i > 3) break;
    before = now;
  }
  await shown.screenshot({ path: file });
}
