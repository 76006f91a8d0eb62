// The type Cart, by the name of its file. There is one for every key that anybody uses.
import { Actor } from 'isola';

export interface Line {
  item: string;
  price: number;
  count: number;
}

interface State {
  lines?: Map<string, Line>;
}

// What it emits, with the arguments of each. Methods are what it answers.
interface Emitted {
  changed: [total: number];
}

export default class Cart extends Actor<State, Emitted> {
  put(item: string, price: number, count = 1): number {
    const lines = (this.state.lines ??= new Map());
    const before = lines.get(item)?.count ?? 0;
    lines.set(item, { item, price, count: before + count });
    this.emit('changed', this.total());
    return this.total();
  }

  lines(): Line[] {
    return [...(this.state.lines?.values() ?? [])];
  }

  total(): number {
    return this.lines().reduce((sum, { price, count }) => sum + price * count, 0);
  }
}
