// SPDX-License-Identifier: Apache-2.0
//
// The memory that C and JavaScript hand messages over in (ring.js): fields of 32 bits; as in actors/v8/ring.hh.

// The header.
export const AT = 0; // the record that runs
export const SENT = 1; // records in the list of what is sent
export const EPOCH = 2; // of the numbers refs have
export const CROWDED = 3; // some mailbox is full
export const ACTOR = 4, TURN = 5; // whose code runs, while it is known without asking V8; 0: it is not
export const OFFSET = 6, LENGTH = 7; // of what native.encodeNext has encoded
export const EVENT_LENGTH = 8; // of the name before it
export const WAITS = 9; // what [OFFSET] says is in no record yet
export const BURST = 10; // emits, and each 2 KB of them, since C has seen to all that was sent before
export const LEARN = 11; // C calls handlers itself, and is told of those it does not know
export const HANDLERS = 12; // those it knows are the actor's still
export const HEADER = 16;

// What comes.
export const IN = 8; // fields
export const KIND = 0, TAG = 1, SERIAL = 2, SLOT = 2, NUMBER = 3, VALUE = 4, NAME = 6;
export const ASKED = 2, REPLIED = 3, REFUSED = 4; // kinds
export const FINISHED = 5; // what JavaScript makes of a message whose turn has ended: with the value, and in place of [NAME] what [SENT] was

// What goes: KIND, TAG and VALUE as above.
export const OUT = 12;
export const FROM = 2, IN_TURN = 3, TO = 6, EVENT = 7, ASK_SLOT = 8, ASK_NUMBER = 9, TIMEOUT = 10, NAME_LENGTH = 11;
export const ASK = 1, EMIT = 2, DONE = 3, FAILED = 4; // kinds

// Values.
export const NONE = 0, UNDEFINED = 1, NULL = 2, FALSE = 3, TRUE = 4, INTEGER = 5, DOUBLE = 6, ENCODED = 7;
export const BYTES = 8; // so many of them are in the record's place
export const ENCODED1 = 9; // of what comes: one value
export const PLACE = 64; // bytes for each record, behind all of them: of what comes, then of what goes

// What native.encodeNext is given: so many arguments, or one of these.
export const ERROR = -1, RETURNED = -2;

export const TURNS = 2097152; // what a frame is made with (actors/v8/internal.hh)

