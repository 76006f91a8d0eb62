// SPDX-License-Identifier: Apache-2.0
export interface Identified { readonly id: string }

export class Store<T extends Identified> {
  readonly #all = new Map<string, T>();
  readonly #make: (id: string) => T;

  constructor(make: (id: string) => T) { this.#make = make; }

  get(id: string): T {
    const found = this.#all.get(id) ?? this.#make(id);
    this.#all.set(found.id, found);
    return found;
  }
}
