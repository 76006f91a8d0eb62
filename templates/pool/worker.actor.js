// The type Worker: one job at a time. This one counts primes, which takes a while; put your own work in its place.
export default (self) => {
  self.on('work', (from, to) => {
    let primes = 0;
    for (let n = Math.max(2, from); n < to; n++) {
      let prime = true;
      for (let d = 2; d * d <= n && prime; d++) prime = n % d !== 0;
      if (prime) primes++;
    }
    return { primes, worker: self.key };
  });
};
