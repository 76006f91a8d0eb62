// The type Counter, by the name of its file. There is one for every key that anybody uses.
export default (self) => {
  self.state.n ??= 0; // saved before anything that a message caused can be seen
  self.on('add', (by = 1) => {
    self.state.n += by;
    self.emit('changed', self.state.n); // to every subscriber, anywhere
    return self.state.n; // answers an ask
  });
  self.on('get', () => self.state.n);
};
