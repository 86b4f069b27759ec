// Khronos' glTF validator on one file. Prints its report's issues as JSON.
// usage: node validate.mjs FILE.glb   (NODE packages are looked for in TURNABOUT_NODE_MODULES)
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';

const require = createRequire(path.resolve(process.env.TURNABOUT_NODE_MODULES, 'x.js'));
const validator = require('gltf-validator');
const bytes = new Uint8Array(await readFile(process.argv[2]));
const report = await validator.validateBytes(bytes, { maxIssues: 0 });
process.stdout.write(JSON.stringify({ issues: report.issues, info: report.info }));
