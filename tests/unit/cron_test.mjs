// SPDX-License-Identifier: Apache-2.0
//
// When cron expressions come next, also where clocks are put forward and back.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { next } from '../../actors/lib/runtime/cron.js';

/** The times after `from`, without what all of them end with. */
const following = (expression, zone, from, n = 3) => {
  const times = [];
  for (let at = Date.parse(from); times.length < n;) times.push(new Date(at = next(expression, zone, at)).toISOString().replace(/:00\.000Z$/, 'Z'));
  return times;
};

const CASES = [
  ['on working days, by the clock of the place', '0 9 * * 1-5', 'Europe/Vienna', '2027-03-25T12:00Z', ['2027-03-26T08:00Z', '2027-03-29T07:00Z', '2027-03-30T07:00Z']],
  ['a time that the clocks leave out comes when it would be over, once', '30 2 * * *', 'Europe/Vienna', '2027-03-26T12:00Z', ['2027-03-27T01:30Z', '2027-03-28T01:00Z', '2027-03-29T00:30Z']],
  ['one they have twice comes the first time', '30 2 * * *', 'Europe/Vienna', '2027-10-29T12:00Z', ['2027-10-30T00:30Z', '2027-10-31T00:30Z', '2027-11-01T01:30Z']],
  ['what comes each half hour does so in an hour there is twice', '*/30 * * * *', 'Europe/Vienna', '2027-10-30T23:40Z', ['2027-10-31T00:00Z', '2027-10-31T00:30Z', '2027-10-31T01:00Z']],
  ['and goes on behind one that is left out', '*/30 * * * *', 'Europe/Vienna', '2027-03-28T00:10Z', ['2027-03-28T00:30Z', '2027-03-28T01:00Z', '2027-03-28T01:30Z']],
  ['midnight where it is left out', '0 0 * * *', 'America/Sao_Paulo', '2018-11-03T12:00Z', ['2018-11-04T03:00Z', '2018-11-05T02:00Z', '2018-11-06T02:00Z']],
  ['where clocks move by half an hour', '15 2 * * *', 'Australia/Lord_Howe', '2027-10-01T12:00Z', ['2027-10-01T15:45Z', '2027-10-02T15:30Z', '2027-10-03T15:15Z']],
  ['the last day of the month', '0 0 L * *', 'UTC', '2027-01-31T12:00Z', ['2027-02-28T00:00Z', '2027-03-31T00:00Z', '2027-04-30T00:00Z']],
  ['leap days', '0 0 29 2 *', 'UTC', '2027-03-01T00:00Z', ['2028-02-29T00:00Z', '2032-02-29T00:00Z', '2036-02-29T00:00Z']],
  ['the second Friday', '0 0 * * 5#2', 'Asia/Kolkata', '2027-01-31T12:00Z', ['2027-02-11T18:30Z', '2027-03-11T18:30Z', '2027-04-08T18:30Z']],
  ['a day of the month or of the week, as crontab has it', '0 0 13 * 5', 'UTC', '2027-02-06T00:00Z', ['2027-02-12T00:00Z', '2027-02-13T00:00Z', '2027-02-19T00:00Z']],
  ['names', '@monthly', 'UTC', '2027-02-06T00:00Z', ['2027-03-01T00:00Z', '2027-04-01T00:00Z', '2027-05-01T00:00Z']],
];
for (const [name, expression, zone, from, times] of CASES) test(`${name}: ${expression} in ${zone}`, () => assert.deepEqual(following(expression, zone, from), times));

test('with seconds', () => assert.equal(next('15 30 * * * *', 'UTC', Date.parse('2027-01-31T12:30:15Z')), Date.parse('2027-01-31T13:30:15Z')));
test('never', () => assert.equal(next('0 0 31 2 *', 'UTC', Date.now()), 0));
test('what is none', () => {
  for (const expression of ['', 'x', '* * * *', '60 * * * *', '* * * 13 *', '*/0 * * * *', '5-1 * * * *']) assert.throws(() => next(expression, 'UTC', Date.now()), expression);
});
