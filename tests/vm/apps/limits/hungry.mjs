// SPDX-License-Identifier: Apache-2.0
// Takes as much memory as it is told, beside V8's heap.
import { service } from 'isola';

const kept = [];
service().on('eat', (mb) => {
  for (let i = 0; i < mb; i++) kept.push(Buffer.alloc(1 << 20, 1));
  return kept.length;
});
