// SPDX-License-Identifier: Apache-2.0
//
// An airport: an actor whose key is its code. It is told of each flight that leaves it, and tells the destination.
//
// Messages may be repeated: when an actor-host dies, nobody knows which of its asks were carried out. So a flight has a number, an
// origin's flights come in order, and whatever was counted already is not counted again. The destination goes first: if anything
// fails after it, the repeat finds the arrival counted and counts the departure. Each flight thus counts exactly once at both ends.
//
// "reentrant" (isola.json): two airports may tell each other at the same time, and neither could answer while it waits itself.
import { actor } from 'isola';

export default (self) => {
  self.state.departures ??= 0;
  self.state.arrivals ??= 0;
  self.state.delay ??= 0; // minutes, of departures
  self.state.distance ??= 0; // miles flown from here
  self.state.worst ??= null; // { delay, flight, destination }
  self.state.routes ??= {}; // destination → flights
  self.state.last ??= -1; // the last departure counted
  self.state.from ??= {}; // origin → the last arrival counted

  self.on('departure', async (i, { destination, delay, distance }) => {
    if (i <= self.state.last) return;
    await actor('airports/Airport', destination).ask('arrival', i, self.key);

    const state = self.state; // from here on in one step: all of it is saved, or nothing
    if (i <= state.last) return;
    state.last = i;
    state.departures++;
    state.delay += delay;
    state.distance += distance;
    state.routes[destination] = (state.routes[destination] ?? 0) + 1;
    if (state.worst === null || delay > state.worst.delay) state.worst = { delay, flight: i, destination };
  });

  self.on('arrival', (i, origin) => {
    if (i <= (self.state.from[origin] ?? -1)) return;
    self.state.from[origin] = i;
    self.state.arrivals++;
  });

  self.on('summary', () => {
    const { departures, arrivals, delay, distance, worst, routes } = self.state;
    let busiest = null;
    for (const [destination, flights] of Object.entries(routes).sort())
      if (busiest === null || flights > busiest.flights) busiest = { destination, flights };
    return { departures, arrivals, meanDelay: departures > 0 ? delay / departures : null, worst, busiest, distance };
  });
};
