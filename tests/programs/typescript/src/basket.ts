// SPDX-License-Identifier: Apache-2.0
import { type Line, total } from './line.ts';

export class Basket {
  readonly #lines: Line[] = [];
  readonly id: string;

  constructor(id: string) { this.id = id; }

  add(line: Line): this {
    this.#lines.push(line);
    return this;
  }

  toJSON(): { id: string; lines: readonly Line[]; total: number } {
    return { id: this.id, lines: this.#lines, total: total(this.#lines) };
  }
}
