// How fast a job gets on: the time that is left and the steps a second, smoothed, from the share that is done.

const SMOOTH = 0.75; // the weight of what was known, against the latest

export class Pace {
  /** ``steps``: those of all the job's pictures; 0 if that is not known. */
  constructor(steps) {
    this.steps = steps;
    this.restart();
  }

  restart() {
    this.last = null;
    this.speed = 0; // of the whole, a second
  }

  /** The share ``done``, 0 to 1, at this moment. */
  at(done) {
    const now = performance.now() / 1000;
    if (this.last && done < this.last.done) this.restart();
    if (this.last && now - this.last.now < 0.25) return; // too short to tell
    if (this.last && done > this.last.done) {
      const speed = (done - this.last.done) / (now - this.last.now);
      this.speed = this.speed ? SMOOTH * this.speed + (1 - SMOOTH) * speed : speed;
    }
    if (!this.last || done > this.last.done) this.last = { now, done };
  }

  left() {
    if (!this.speed) return "";
    const seconds = Math.max(0, (1 - this.last.done) / this.speed - (performance.now() / 1000 - this.last.now));
    if (seconds < 90) return `${Math.ceil(seconds)} s left`;
    return seconds < 5400 ? `${Math.round(seconds / 60)} min left` : `${(seconds / 3600).toFixed(1)} h left`;
  }

  rate() {
    const rate = this.speed * this.steps;
    return rate ? `${rate >= 10 ? Math.round(rate) : rate.toFixed(1)} steps/s` : "";
  }
}
