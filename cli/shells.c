/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/shells.h"

#include "cli/call.h"
#include "cli/commands.h"

/* clang-format off */
static const char bash[] =
    "# Completes ctl's words in bash: source <(ctl completion bash)\n"
    "_ctl() {\n"
    "    local - line words cur before last i\n"
    "    set -f\n"
    "    line=${COMP_LINE:0:COMP_POINT}\n"
    "    words=($line)\n"
    "    while ((${#words[@]} > 1)) && [[ ${words[0]} != \"${COMP_WORDS[0]}\" ]]; do words=(\"${words[@]:1}\"); done\n"
    "    [[ $line == *[[:space:]] ]] && words+=(\"\")\n"
    "    cur=${words[-1]}\n"
    "    COMPREPLY=()\n"
    "    mapfile -t lines < <(\"${words[0]}\" __complete \"${words[@]:1}\" 2>/dev/null)\n"
    "    ((${#lines[@]} > 0)) || return\n"
    "    case ${lines[-1]} in\n"
    "    :files) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); return ;;\n"
    "    :dirs) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$cur\"); return ;;\n"
    "    esac\n"
    "    # Of a word that bash takes for several, at : and =, it wants the rest alone.\n"
    "    last=${COMP_WORDS[COMP_CWORD]}\n"
    "    before=${cur%\"$last\"}\n"
    "    [[ $last == [:=] ]] && before=$cur\n"
    "    for i in \"${lines[@]:0:${#lines[@]}-1}\"; do\n"
    "        i=${i%%$'\\t'*}\n"
    "        COMPREPLY+=(\"${i#\"$before\"}\")\n"
    "    done\n"
    "}\n"
    "complete -F _ctl ctl\n";

static const char zsh[] =
    "#compdef ctl\n"
    "# Completes ctl's words in zsh: source <(ctl completion zsh), or as _ctl in a directory of $fpath\n"
    "_ctl() {\n"
    "    local -a lines found\n"
    "    local line\n"
    "    lines=(\"${(@f)$(\"${words[1]}\" __complete \"${(@)words[2,CURRENT-1]}\" \"$PREFIX\" 2>/dev/null)}\")\n"
    "    case \"${lines[-1]}\" in\n"
    "    :files) _files; return ;;\n"
    "    :dirs) _files -/; return ;;\n"
    "    esac\n"
    "    for line in \"${(@)lines[1,-2]}\"; do\n"
    "        if [[ \"$line\" == *$'\\t'* ]]; then\n"
    "            found+=(\"${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}\")\n"
    "        else\n"
    "            found+=(\"${line//:/\\\\:}\")\n"
    "        fi\n"
    "    done\n"
    "    _describe ctl found\n"
    "}\n"
    "if [[ \"${funcstack[1]}\" == _ctl ]]; then _ctl \"$@\"; else compdef _ctl ctl; fi\n";

static const char fish[] =
    "# Completes ctl's words in fish: ctl completion fish | source\n"
    "function __ctl_complete\n"
    "    set -l words (commandline -opc)\n"
    "    set -l word (commandline -ct)\n"
    "    set -l lines ($words[1] __complete $words[2..-1] \"$word\" 2>/dev/null)\n"
    "    switch \"$lines[-1]\"\n"
    "        case :files\n"
    "            __fish_complete_path \"$word\"\n"
    "        case :dirs\n"
    "            __fish_complete_directories \"$word\"\n"
    "        case '*'\n"
    "            if test (count $lines) -gt 1\n"
    "                printf '%s\\n' $lines[1..-2]\n"
    "            end\n"
    "    end\n"
    "end\n"
    "complete -c ctl -f -a '(__ctl_complete)'\n";
/* clang-format on */

const struct isola__shell isola__shells[ISOLA__NSHELLS] = {
    {"bash", bash},
    {"zsh", zsh},
    {"fish", fish},
};

void isola__run_completion(struct isola__cli *cli)
{
    const char *name = cli->options.operands[0];
    for (size_t i = 0; i < ISOLA__NSHELLS; i++) {
        if (strcmp(isola__shells[i].name, name) != 0)
            continue;
        struct isola_buf text = {0};
        if (cli->options.json) {
            json_t *document = json_pack("{s:s}", "script", isola__shells[i].script);
            (void)isola__out_json(cli, document, false);
            json_decref(document);
            return;
        }
        isola_buf_puts(&text, isola__shells[i].script);
        (void)isola__out(cli, &text);
        return;
    }
    isola__fail_usage(cli, "there is no completion for '%.60s': bash, zsh or fish", name);
}
