// Builds dist/ from src/: `npm run dist`.
import { fileURLToPath } from 'node:url';
import { makeDist } from './bundle.js';

const root = fileURLToPath(new URL('..', import.meta.url));
for (const { name, size } of await makeDist(`${root}/src`, `${root}/dist`)) {
  console.log(`dist/${name}  ${size} bytes`);
}
