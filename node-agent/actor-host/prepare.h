/* SPDX-License-Identifier: Apache-2.0
 *
 * What an actor-host and the process that prepares a module for it say to each other. On its stdin
 * the process finds a msgpack map {type str, file str, code bin, env bin, secrets bin, heap uint,
 * external uint, image bool}, and the end. On its stdout it writes parts: one of the letters below,
 * the length of what follows (4 bytes, the machine's order), and that.
 */
#ifndef ISOLA_ACTOR_HOST_PREPARE_H
#define ISOLA_ACTOR_HOST_PREPARE_H

#define PREPARE_HEAD     5
#define PREPARE_KEY      'k' /* isola_v8_key, first */
#define PREPARE_CACHE    'c'
#define PREPARE_IMAGE    'i'
#define PREPARE_NO_IMAGE 'n' /* why there is none */

#endif
