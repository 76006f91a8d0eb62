// SPDX-License-Identifier: Apache-2.0
//
// internalBinding('url'): Ada (actors/v8/node_url.cc) with the errors Node.js throws.
export function urlBinding(ada, load) {
  const urlComponents = new Uint32Array(9);

  function parse(input, base, raise) {
    const href = ada.parse(urlComponents, input, base);
    if (href === undefined && raise) {
      const { ERR_INVALID_URL } = load('internal/errors').codes;
      throw base === undefined ? new ERR_INVALID_URL(input) : new ERR_INVALID_URL(input, base);
    }
    return href;
  }

  return {
    urlComponents,
    parse,
    canParse: ada.canParse,
    update: (href, action, value) => ada.update(urlComponents, href, action, value),
    domainToASCII: ada.domainToASCII,
    domainToUnicode: ada.domainToUnicode,
    getOrigin: ada.getOrigin,
    format(href, hash, unicode, search, auth) {
      const text = ada.format(href, hash, search, auth);
      if (!unicode) return text;
      ada.parse(urlComponents, text, undefined);
      const [, , start, end] = urlComponents;
      const from = text[start] === '@' ? start + 1 : start;
      return text.slice(0, from) + ada.domainToUnicode(text.slice(from, end)) + text.slice(end);
    },
    pathToFileURL(path, windows, base) {
      const escape = (c) => `%${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
      return parse(`file://${path.replace(windows ? /[\0\t\n\r "#%?[\]^|~]/g : /[\0\t\n\r "#%?[\\\]^|~]/g, escape)}`, base, true);
    },
  };
}
