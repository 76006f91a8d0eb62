// SPDX-License-Identifier: Apache-2.0
//
// The hub of a namespace: it passes messages on to all processes, in one order, and remembers for a while what was said, and who has lost their connection.
const KEPT = 120_000; // ms
const MOST = 10_000; // messages

export default (self) => {
  const born = Date.now().toString(36); // it remembers nothing of the time before
  const said = []; // { at, offset, message }
  const left = new Map(); // pid: { at, session }
  let n = 0;

  const forget = () => {
    const now = Date.now();
    let old = Math.max(0, said.length - MOST);
    while (old < said.length && said[old].at < now - KEPT) old++;
    said.splice(0, old);
    for (const [pid, { at }] of left) if (at < now - KEPT) left.delete(pid);
  };

  self.on('publish', (message, keep) => {
    const offset = `${born}-${++n}`;
    if (keep) said.push({ at: Date.now(), offset, message });
    forget();
    self.emit('message', message, offset);
    return offset;
  });
  self.on('left', (session) => { left.set(session.pid, { at: Date.now(), session }); });
  self.on('back', (pid, offset) => {
    forget();
    const found = left.get(pid), at = said.findIndex((one) => one.offset === offset);
    if (found === undefined || at < 0) return undefined;
    left.delete(pid);
    return { session: found.session, missed: said.slice(at + 1) };
  });
};
