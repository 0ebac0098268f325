/**
 * `holdfast completion bash|zsh|fish`: the script for a shell. It asks `holdfast __complete` at each Tab, so that it
 * never knows less than the command line itself.
 */
import type { Command } from "commander";
import { candidates } from "../complete.ts";
import type { Terminal } from "../terminal.ts";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

const BASH = `# bash completion for holdfast: source <(holdfast completion bash)
_holdfast() {
  local line word files=0
  COMPREPLY=()
  while IFS= read -r line; do
    word=\${line%%$'\\t'*}
    if [ "$word" = ":files" ]; then files=1; else COMPREPLY+=("$word"); fi
  done < <("\${COMP_WORDS[0]}" __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  if [ "$files" = 1 ]; then
    # For files alone: a name that a folder here has too is no folder.
    compopt -o filenames
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "\${COMP_WORDS[COMP_CWORD]}")
  fi
}
complete -F _holdfast holdfast ./holdfast
`;

const ZSH = `#compdef holdfast
# zsh completion for holdfast: source <(holdfast completion zsh)
_holdfast() {
  local line word files=0
  local -a found
  while IFS= read -r line; do
    word=\${line%%$'\\t'*}
    if [[ $word == :files ]]; then files=1
    elif [[ $line == *$'\\t'* ]]; then found+=("\${word//:/\\\\:}:\${line#*$'\\t'}")
    else found+=("\${word//:/\\\\:}"); fi
  done < <("\${words[1]}" __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)
  (( \${#found} )) && _describe 'holdfast' found
  (( files )) && _files
}
compdef _holdfast holdfast ./holdfast
`;

const FISH = `# fish completion for holdfast: holdfast completion fish | source
function __holdfast_complete
  set -l words (commandline -opc)
  set -l found ($words[1] __complete -- $words[2..-1] (commandline -ct) 2>/dev/null)
  for line in $found
    if test "$line" = ":files"
      __fish_complete_path (commandline -ct)
    else
      echo $line
    end
  end
end
complete -c holdfast -f -a '(__holdfast_complete)'
`;

const SCRIPTS: Readonly<Record<Shell, string>> = { bash: BASH, zsh: ZSH, fish: FISH };

export function completion(terminal: Terminal, shell: Shell): void {
  terminal.out(SCRIPTS[shell]);
}

export async function complete(
  terminal: Terminal,
  program: Command,
  words: readonly string[],
): Promise<void> {
  const found = await candidates(terminal, program, words.length === 0 ? [""] : words);
  terminal.out(found.map((each) => `${each}\n`).join(""));
}
