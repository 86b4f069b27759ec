// Opens a .glb with three.js in Chromium, draws it, and prints what it found as JSON. A camera that says how many seconds
// to play is told the frames a second, too.
// usage: node three_client.mjs FILE.glb CAMERA.json OUT.png   (packages are looked for in TURNABOUT_NODE_MODULES)
import { createReadStream, existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const [glb, camera, picture] = process.argv.slice(2);
const modules = path.resolve(process.env.TURNABOUT_NODE_MODULES);
const { chromium } = createRequire(path.join(modules, 'x.js'))('playwright-core');
const here = path.dirname(fileURLToPath(import.meta.url));
const types = { '.html': 'text/html', '.js': 'text/javascript', '.json': 'application/json', '.glb': 'model/gltf-binary' };
const fixed = { '/': path.join(here, 'three.html'), '/model.glb': glb, '/camera.json': camera };

const server = createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost').pathname;
  const three = path.join(modules, 'three') + path.sep;
  const file = fixed[url] ?? path.join(modules, url);
  if (!(url in fixed) && (!file.startsWith(three) || !existsSync(file))) {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, { 'content-type': types[path.extname(file)] ?? 'application/octet-stream' });
  createReadStream(file).pipe(response);
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(existsSync);
const browser = await chromium.launch({
  executablePath,
  args: ['--no-sandbox', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist'],
});
try {
  const page = await browser.newPage();
  const problems = [];
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) problems.push(message.text()); });
  page.on('pageerror', (error) => problems.push(String(error)));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.waitForFunction(() => window.draw !== undefined);
  const { picture: data, ...description } = await page.evaluate(() => window.draw());
  await writeFile(picture, Buffer.from(data.split(',')[1], 'base64'));
  const { play } = JSON.parse(await readFile(camera));
  const fps = play === undefined ? null : await page.evaluate((seconds) => window.play(seconds), play);
  process.stdout.write(JSON.stringify({ ...description, fps, problems }));
} finally {
  await browser.close();
  server.close();
}
