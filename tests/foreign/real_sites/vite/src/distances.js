// Finds the two places that are farthest apart, in a worker.
self.onmessage = ({ data: places }) => {
  let best = { apart: -1, names: [] };
  for (const a of places) {
    for (const b of places) {
      const apart = Math.hypot(a.at[0] - b.at[0], a.at[1] - b.at[1]);
      if (apart > best.apart) best = { apart, names: [a.name, b.name].sort() };
    }
  }
  self.postMessage(best.names);
};
