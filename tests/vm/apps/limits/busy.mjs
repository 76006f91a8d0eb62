// SPDX-License-Identifier: Apache-2.0
// Takes all the time that it gets, once it is told to.
import { service } from 'isola';

function spin() {
  const end = performance.now() + 5;
  while (performance.now() < end);
  setImmediate(spin);
}
service().on('spin', spin);
