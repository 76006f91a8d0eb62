// SPDX-License-Identifier: Apache-2.0
//
// What is more than types, and so takes a loader: an enum, a namespace, parameters that are properties.
import http from 'node:http';

enum Currency { Euro = 'EUR', Pound = 'GBP', Franc = 'CHF' }
namespace Rates {
  export const toEuro: Record<Currency, number> = { [Currency.Euro]: 1, [Currency.Pound]: 1.15, [Currency.Franc]: 1.04 };
}
class Money {
  constructor(readonly amount: number, private readonly currency: Currency) {}
  get euros(): number { return this.amount * Rates.toEuro[this.currency]; }
}

const version: number = 1;
http.createServer((request, response) => {
  const [, amount, currency] = request.url!.split('/');
  const known = Object.values(Currency).find((c) => c === currency);
  response.setHeader('content-type', 'application/json');
  if (amount === 'version') response.end(JSON.stringify({ version }));
  else if (known === undefined) response.writeHead(404).end(JSON.stringify({ error: `there is no currency ${currency}` }));
  else response.end(JSON.stringify({ euros: new Money(Number(amount), known).euros }));
}).listen(process.env.PORT ?? 3000);
