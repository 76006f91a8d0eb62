// SPDX-License-Identifier: Apache-2.0
//
// The man pages, from what says the same already: ctl(1) from `ctl help`, node-agent(8) from `node-agent --help`, isola.json(5) from docs/manifest.md.
//   node man.mjs CTL NODE-AGENT MANIFEST.md DIR
// It knows the two formats that it reads and nothing else, and ends with an error over what it does not know.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const [ctl, agent, manifest, dir] = process.argv.slice(2);
const output = (program, ...args) => execFileSync(program, args, { encoding: 'utf8' });
const version = output(ctl, '--version').trim().split(' ')[1];

/** As text of roff: nothing in it is a request, an escape or a hyphen that is none. */
const text = (s) => s.replaceAll('\\', '\\e').replaceAll('-', '\\-').replace(/^([.'])/gm, '\\&$1');
const bold = (s) => `\\fB${text(s)}\\fR`;
const verbatim = (lines) => ['.PP', '.nf', '.RS 4', ...lines.map((line) => text(line) || '.sp'), '.RE', '.fi'];
const head = (name, section, what) => [`.TH "${name.toUpperCase()}" ${section} "" "Isola ${version}" "Isola"`, '.nh', '.ad l', '.SH NAME', `${text(name)} \\- ${text(what)}`];

// --- help texts: paragraphs, and lists whose entries are indented by two, what is said of them in a column of its own ---

/** The entries of such a list, [term, what is said of it]. */
function entries(lines) {
  const out = [];
  for (const line of lines) {
    const entry = /^ {2}(\S.*?)(?: {2,}(.*))?$/.exec(line);
    // A long term leaves no room for two blanks before what is said of it, or none at all.
    if (entry !== null) out.push([entry[1], entry[2] ? [entry[2]] : []]);
    else if (/^ {3,}\S/.test(line) && out.length > 0) out.at(-1)[1].push(line.trim());
    else throw new Error(`not an entry of a list: ${JSON.stringify(line)}`);
  }
  return out.map(([term, said]) => [term, said.join(' ')]);
}
const list = (lines) => entries(lines).flatMap(([term, said]) => ['.TP', bold(term), text(said) || '\\&']);

/** The blocks of a help text, by their titles; what stands before the first title is under ''. */
function blocks(help) {
  const out = new Map([['', []]]);
  let at = '';
  for (const line of help.trimEnd().split('\n')) {
    const title = /^([A-Z][^.]*):$/.exec(line);
    if (title === null) out.get(at).push(line);
    else out.set(at = title[1], []);
  }
  for (const lines of out.values()) while (lines.at(-1) === '') lines.pop();
  return out;
}
const paragraphs = (lines) => lines.join('\n').split(/\n{2,}/).filter(Boolean).flatMap((p) => (/^ {2}/.test(p) ? verbatim(p.split('\n').map((l) => l.slice(2))) : ['.PP', text(p)]));
const examples = (lines) => verbatim(lines.map((line) => line.slice(2)));

function ctlPage() {
  const all = blocks(output(ctl, '--help'));
  const general = all.get('Options of all commands, before or after them');
  const status = /Exit status: (.*)/.exec(general.at(-1));
  if (status !== null) general.pop();
  while (general.at(-1) === '') general.pop();
  const commands = entries(all.get('Commands')).map(([term]) => term.split(' ')[0]).filter((name) => name !== 'help');
  const page = [...head('ctl', 1, 'the command line of Isola'), '.SH SYNOPSIS', `${bold('ctl')} [OPTION…] COMMAND [ARGUMENT…]`,
    '.SH DESCRIPTION', ...paragraphs(all.get('').slice(1)), '.SH OPTIONS', ...list(general), '.SH COMMANDS'];
  for (const name of commands) {
    const help = blocks(output(ctl, 'help', name));
    const [usage, ...about] = help.get('');
    page.push(`.SS ${bold(usage.replace(/^Usage: /, ''))}`, ...paragraphs(about));
    if (help.has('Options')) page.push(...list(help.get('Options')));
    page.push('.PP', 'Examples:', ...examples(help.get('Examples')));
  }
  return [...page, '.SH EXIT STATUS', text(status?.[1] ?? '0 done, 1 it failed, 2 wrong usage.'), '.SH EXAMPLES', ...examples(all.get('Examples')),
    '.SH SEE ALSO', `${bold('node-agent')}(8), ${bold('isola.json')}(5)`];
}

function agentPage() {
  const help = blocks(output(agent, '--help'));
  const [usage, what, ...rest] = help.get('');
  const first = rest.findIndex((line) => line.startsWith('  -'));
  const end = rest.findIndex((line, i) => i > first && line === '');
  return [...head('node-agent', 8, 'one node of Isola'), '.SH SYNOPSIS', text(usage.replace(/^Usage: /, '')), '.SH DESCRIPTION', ...paragraphs([what]), '.SH OPTIONS',
    ...list(rest.slice(first, end)), ...paragraphs(rest.slice(end)), '.SH EXAMPLES', ...blockOf(help.get('Examples')),
    '.SH FILES', ...list(['  /etc/default/isola    options of the node that systemd runs (isola.service)', '  /var/lib/isola        its data', '  /run/isola/agent.sock  its socket']),
    '.SH SEE ALSO', `${bold('ctl')}(1), ${bold('isola.json')}(5), ${bold('systemd.service')}(5)`];
}
/** Examples, and paragraphs after them. */
function blockOf(lines) {
  const end = lines.indexOf('');
  return end < 0 ? examples(lines) : [...examples(lines.slice(0, end)), ...paragraphs(lines.slice(end))];
}

// --- what docs/manifest.md has of Markdown: headings, paragraphs, tables, code ---

const inline = (s) => s.split(/(`[^`]*`|\*\*[^*]+\*\*|\*[^*]+\*)/).map((part) => {
  if (/^`.*`$/.test(part)) return bold(part.slice(1, -1));
  if (/^\*\*.*\*\*$/.test(part)) return bold(part.slice(2, -2));
  return /^\*.*\*$/.test(part) ? `\\fI${text(part.slice(1, -1))}\\fR` : text(part);
}).join('');
const cells = (row) => row.replace(/^\|/, '').replace(/\|\s*$/, '').split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll('\\|', '|'));

/** A table as a list: what is in the first column, then the others. */
function table(rows) {
  const [titles, , ...body] = rows.map(cells);
  const out = titles[0] ? ['.PP', `${inline(titles[0])}:`] : [];
  for (const [term, ...said] of body) {
    // Of three, the one in the middle is what holds when nothing is said.
    const middle = said.length > 1 ? said.shift() : '';
    out.push('.TP', `\\fB${inline(term).replaceAll('\\fR', '\\fB')}\\fR`, `${middle && `(${/required/.test(middle) ? '' : 'default: '}${inline(middle)}) `}${said.map(inline).join('. ')}`);
  }
  return out;
}

function markdown(source) {
  const out = [];
  const lines = source.split('\n');
  const take = (test) => {
    const from = i;
    while (i < lines.length && test(lines[i])) i++;
    return lines.slice(from, i);
  };
  let i = 0;
  while (i < lines.length) {
    const line = lines[i];
    const title = /^(#+) (.*)$/.exec(line);
    if (line === '') i++;
    else if (title !== null) {
      out.push(title[1].length === 1 ? '.SH DESCRIPTION' : `.${title[1].length === 2 ? 'SH' : 'SS'} "${inline(title[2]).replaceAll('"', '\\(dq')}"`);
      i++;
    } else if (line.startsWith('```')) {
      i++;
      out.push(...verbatim(take((l) => !l.startsWith('```'))));
      i++;
    } else if (line.startsWith('    ')) out.push(...verbatim(take((l) => l.startsWith('    ')).map((l) => l.slice(4))));
    else if (line.startsWith('|')) out.push(...table(take((l) => l.startsWith('|'))));
    else if (/^[*-] /.test(line)) for (const item of take((l) => l !== '' && !/^(#|\||```)/.test(l)).join('\n').split(/\n?^[*-] /m).filter(Boolean)) out.push('.IP \\(bu 2', inline(item));
    else out.push('.PP', inline(take((l) => l !== '' && !/^(#|\||```| {4}|[*-] )/.test(l)).join('\n')));
  }
  return out;
}

function manifestPage() {
  return [...head('isola.json', 5, 'the manifest of an app of Isola'), ...markdown(readFileSync(manifest, 'utf8')), '.SH SEE ALSO', `${bold('ctl')}(1), ${bold('node-agent')}(8)`];
}

for (const [file, page] of [['man1/ctl.1', ctlPage()], ['man8/node-agent.8', agentPage()], ['man5/isola.json.5', manifestPage()]]) {
  const path = join(dir, file);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, `.\\" From cmake/man.mjs\n${page.join('\n')}\n`);
}
