// A deadline that is moved again and again.

// Calls `late` unless it is told to expect something else before.
export class Watch {
  wasLate = false;
  #late;
  #timer = 0;

  constructor(late) {
    this.#late = late;
  }

  expect(within) {
    this.end();
    this.#timer = setTimeout(() => {
      this.wasLate = true;
      this.#late();
    }, within);
  }

  end() {
    clearTimeout(this.#timer);
  }
}
