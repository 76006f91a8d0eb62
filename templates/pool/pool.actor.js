// The type Pool: hands each job to the worker that has the fewest. It is reentrant (isola.json), so that jobs can wait for each other's end at the same time.
const WORKERS = 4;

export default (self) => {
  // Children of this actor, each in an isolate of its own: one that crashes is started again.
  const workers = Array.from({ length: WORKERS }, (_, i) => ({ ref: self.spawn('Worker', `${self.key}-${i + 1}`), jobs: 0 }));

  self.on('run', async (...job) => {
    const worker = workers.reduce((least, one) => (one.jobs < least.jobs ? one : least));
    worker.jobs++;
    try {
      return await worker.ref.ask('work', ...job, { timeout: 60_000 });
    } finally {
      worker.jobs--;
    }
  });
  self.on('jobs', () => workers.map((worker) => worker.jobs));
};
