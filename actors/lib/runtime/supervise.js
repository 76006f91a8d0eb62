// SPDX-License-Identifier: Apache-2.0
//
// monitor, demonitor and spawn of an actor. A monitor is a subscription to an event of a name that scripts do not use (actors/monitor.c);
// what it brings is handled as the event `down`, which nobody else can send to an actor that monitors.
// Loaded when a script first asks for one of them (main.js).
import { actor, callAll, codeError, currentActor, innerOf, listen, rare, SafeMap, unlisten } from 'isola:born';

export const methods = (() => {
  const DOWN = '\x01down';
  const MODES = { __proto__: null, transient: 0, permanent: 1, temporary: 2 }; // enum isola_child_mode

  /** What is behind `self`, whose code must be running: C takes the subscriber from the frame. */
  function own(self) {
    const i = innerOf(self);
    if (currentActor() !== i.serial) throw codeError('EINVAL', 'only the actor itself can do this');
    return i;
  }

  const refOf = (to) => (typeof to === 'string' ? actor(to) : to);

  return {
    /** `down` events ({ address, reason, message }) whenever an activation of that actor crashes, fails, stops, or is lost. */
    monitor(to) {
      const i = own(this);
      const { address } = refOf(to);
      i.monitors ??= new SafeMap();
      if (i.monitors.has(address)) return;
      i.monitors.set(address, listen(i, actor(address).address, DOWN, (args) => callAll(i, 'down', args)));
    },

    demonitor(to) {
      const i = own(this);
      const { address } = refOf(to);
      const id = i.monitors?.get(address);
      if (id === undefined) return false;
      i.monitors.delete(address);
      unlisten(id, address, DOWN);
      return true;
    },

    /** Makes an actor a child of this one and starts it: `self.spawn('Worker', 'w1', { restart: 'permanent' })`. */
    spawn(type, key, options) {
      const i = own(this);
      if (typeof type !== 'string' || typeof key !== 'string') throw new TypeError('spawn(type, key): both are strings');
      const ref = actor(type.includes('/') ? type : `${i.app}/${type}`, key);
      const mode = MODES[options?.restart ?? 'transient'];
      if (mode === undefined) throw codeError('EINVAL', `restart is 'transient', 'permanent' or 'temporary', not ${String(options.restart)}`);
      rare().spawn(ref.address, mode);
      return ref;
    },
  };
})();
