// Loads the exported distributor with OpenZeppelin's own library and verifies every proof of it.
//
// usage: node openzeppelin.mjs FILE.json NODE_MODULES

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const [file, modules] = process.argv.slice(2);
const require = createRequire(resolve(modules, 'here.js'));
const { StandardMerkleTree } = require('@openzeppelin/merkle-tree');

const dump = JSON.parse(readFileSync(file, 'utf8'));
const tree = StandardMerkleTree.load(dump);
tree.validate();
let proofs = 0;
for (const [index, value] of tree.entries()) {
  const proof = tree.getProof(index);
  if (!StandardMerkleTree.verify(tree.root, dump.leafEncoding, value, proof)) throw new Error(`proof of ${value}`);
  if (StandardMerkleTree.verify(tree.root, dump.leafEncoding, [value[0], String(BigInt(value[1]) + 1n)], proof)) {
    throw new Error(`a larger amount than ${value} verifies too`);
  }
  proofs += 1;
}
const again = StandardMerkleTree.of(dump.values.map(({ value }) => value), dump.leafEncoding);
if (again.root !== tree.root) throw new Error('the library builds another tree from the same values');
console.log(`${proofs} passed, 0 failed`);
