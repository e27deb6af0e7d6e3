// Runs the public HTTP cache test suite against one cache and compares the outcome with the written list.
//
//   node run.mjs SUITE BASE EXPECTED TITLE
//
// SUITE is the suite's directory (the npm package or a checkout of its repository), BASE the cache's URL, EXPECTED a
// JSON file that maps each test that may fail to the reason. Prints every failure, then the counts; the last line is
// `N passed, N failed`. A test that fails without being listed is a failure, and so is one that is listed and passes.

import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const [suite, base, expectedFile, title] = process.argv.slice(2)
const load = path => import(pathToFileURL(resolve(path)).href)
const engine = existsSync(join(suite, 'test-engine')) ? join(suite, 'test-engine') : suite

const sets = (await load(join(suite, 'tests', 'index.mjs'))).default
const runner = await load(join(engine, 'client', 'runner.mjs'))
const tests = sets.flatMap(set => set.tests).filter(test => test.browser_only !== true)
const expected = JSON.parse(readFileSync(expectedFile, 'utf8'))
// One test by its id, with the exchange shown, for whoever looks into a failure.
const only = process.env.CACHE_TEST
for (const set of sets) {
  if (only) set.tests = set.tests.filter(test => test.id === only)
  for (const test of set.tests) test.dump = only !== undefined
}

if (runner.runTests.length > 3 || !existsSync(join(suite, 'test-engine'))) {
  // The released package is given its fetch; it starts a hundred tests at a time.
  await runner.runTests(sets, createRequire(import.meta.url)('node-fetch'), false, base)
} else {
  await runner.runTests(sets, false, base)
}
const results = runner.getResults()

const kindOf = test => test.kind ?? 'required'
const byId = new Map(tests.map(test => [test.id, test]))
// As the suite counts: what stands on a failed test says nothing by itself.
const holds = id => results[id] === true && (byId.get(id)?.depends_on ?? []).every(holds)
const counts = { required: [0, 0], optimal: [0, 0], check: [0, 0] }
let passed = 0
let failed = 0
for (const test of tests) {
  if (only && test.id !== only) continue
  const kind = kindOf(test)
  const good = only ? results[test.id] === true : holds(test.id)
  counts[kind][good ? 0 : 1] += 1
  if (kind === 'check') continue
  const reason = expected[test.id]
  if (good === (reason === undefined)) {
    passed += 1
  } else {
    failed += 1
  }
  if (good) {
    if (reason !== undefined) console.log(`LISTED, BUT PASSES  ${test.id}`)
    continue
  }
  const why = results[test.id] === true ? ['depends on a failed test'] : results[test.id] ?? ['did not run']
  console.log(`${reason === undefined ? 'FAILED' : 'listed'}  ${kind} ${test.id}: ${why.join(': ')}${reason ? ` (${reason})` : ''}`)
}
if (process.env.CACHE_TEST_CHECKS) {
  for (const test of tests) if (kindOf(test) === 'check') console.log(`check  ${holds(test.id) ? 'yes' : 'no '}  ${test.id}`)
}
for (const id of Object.keys(expected)) {
  if (byId.has(id) || only) continue
  failed += 1
  console.log(`LISTED, BUT NO TEST  ${id}`)
}
const of = ([good, bad]) => `${good} of ${good + bad}`
console.log(`${title}: required ${of(counts.required)}, optimal ${of(counts.optimal)}, checks answered yes ${of(counts.check)}`)
console.log(`${passed} passed, ${failed} failed`)
process.exit(failed === 0 ? 0 : 1)
