// SPDX-License-Identifier: Apache-2.0
//
// When a cron expression comes next. Loaded when a script first sets such a timer, or one fires (actors/v8/schedule.cc).
import { Cron } from 'croner';

/** The first time after `after`, both in ms since 1970; 0: there is none. Throws what is wrong with the expression. */
export function next(expression, timezone, after) {
  const time = new Cron(expression, { timezone, paused: true }).nextRun(new Date(after));
  return time === null ? 0 : time.getTime();
}
