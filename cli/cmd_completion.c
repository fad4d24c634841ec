/* completion: scripts that have the program itself say what may come next. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/output.h"

static const char bash[] =
    "# bash completion of net-mesh\n"
    "_net_mesh() {\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} line\n"
    "    COMPREPLY=()\n"
    "    while IFS= read -r line; do\n"
    "        case $line in\n"
    "        :files) compopt -o filenames; while IFS= read -r line; do COMPREPLY+=(\"$line\"); done < <(compgen -f -- "
    "\"$cur\") ;;\n"
    "        :dirs) compopt -o filenames; while IFS= read -r line; do COMPREPLY+=(\"$line\"); done < <(compgen -d -- "
    "\"$cur\") ;;\n"
    "        *) line=${line%%$'\\t'*}; COMPREPLY+=(\"$line\"); [[ $line != *[=:] ]] || compopt -o nospace ;;\n"
    "        esac\n"
    "    done < <(\"${COMP_WORDS[0]}\" completion words -- \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
    "}\n"
    "complete -F _net_mesh net-mesh\n";

static const char zsh[] =
    "#compdef net-mesh\n"
    "# zsh completion of net-mesh\n"
    "_net_mesh() {\n"
    "    local -a lines plain open\n"
    "    local line word about\n"
    "    lines=(\"${(@f)$(\"${(Q)words[1]}\" completion words -- \"${(@Q)words[2,CURRENT]}\" 2>/dev/null)}\")\n"
    "    for line in $lines; do\n"
    "        word=${line%%$'\\t'*} about=${line#*$'\\t'}\n"
    "        [[ $word == $line ]] && about=\n"
    "        case $line in\n"
    "        :files) compset -P '--*='; _files ;;\n"
    "        :dirs) compset -P '--*='; _files -/ ;;\n"
    "        *[=:]$'\\t'*|*[=:]) open+=(\"${word//:/\\\\:}:$about\") ;;\n"
    "        *) plain+=(\"${word//:/\\\\:}:$about\") ;;\n"
    "        esac\n"
    "    done\n"
    "    (( $#plain )) && _describe -t words 'net-mesh' plain\n"
    "    (( $#open )) && _describe -t words 'net-mesh' open -S ''\n"
    "}\n"
    "if [[ $funcstack[1] == _net_mesh || $funcstack[1] == _net-mesh ]]; then\n"
    "    _net_mesh \"$@\"\n"
    "else\n"
    "    compdef _net_mesh net-mesh\n"
    "fi\n";

static const char fish[] =
    "# fish completion of net-mesh\n"
    "function __net_mesh_complete\n"
    "    set -l words (commandline -opc)\n"
    "    set -l current (commandline -ct)\n"
    "    for line in ($words[1] completion words -- $words[2..-1] \"$current\" 2>/dev/null)\n"
    "        switch $line\n"
    "            case ':files'\n"
    "                __fish_complete_path (string replace -r '^--[^=]*=' '' -- \"$current\")\n"
    "            case ':dirs'\n"
    "                __fish_complete_directories (string replace -r '^--[^=]*=' '' -- \"$current\")\n"
    "            case '*'\n"
    "                echo $line\n"
    "        end\n"
    "    end\n"
    "end\n"
    "complete -c net-mesh -f -a '(__net_mesh_complete)'\n";

int command_completion(const struct cli_args *args)
{
    static const struct cli_note scripts[] = {{"bash", bash}, {"zsh", zsh}, {"fish", fish}};
    if (strcmp(args->words[0], "words") == 0 && args->word_count > 1) { /* what the scripts call */
        complete_words(args->words + 1, args->word_count - 1);
        return output_flush();
    }
    for (size_t i = 0; args->word_count == 1 && i < sizeof scripts / sizeof scripts[0]; i++)
        if (strcmp(args->words[0], scripts[i].name) == 0)
            return output_error(output_bytes(scripts[i].text, strlen(scripts[i].text)));
    return cli_error(CLI_USAGE, "completion: found %.100s, allowed: bash, zsh or fish",
                     args->words[args->word_count - 1]);
}
