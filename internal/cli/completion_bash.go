package cli

import (
	"fmt"
	"strings"
)

// bashCompletion returns a script for bash 4 and later. One function sets the words that may follow a command. Another reads the
// words before the cursor to find the command. Readline splits words at =.
func bashCompletion(tree []completion) string {
	var at, words strings.Builder
	for _, c := range tree {
		var commands, args []string
		for _, k := range c.commands {
			commands = append(commands, k.name)
		}
		for _, a := range c.args {
			args = append(args, quoted(bashKind(a)))
		}
		fmt.Fprintf(&at, "\t%s)\n", quoted(c.path))
		fmt.Fprintf(&at, "\t\tcommands=%s flags=%s\n", quoted(strings.Join(commands, " ")),
			quoted(c.flagsOf(nothing, anything, oneOf, file, folder)))
		fmt.Fprintf(&at, "\t\tvalues=%s files=%s folders=%s args=(%s) ;;\n",
			quoted(c.flagsOf(anything, oneOf, file, folder)), quoted(c.flagsOf(file)), quoted(c.flagsOf(folder)), strings.Join(args, " "))
		for _, f := range c.flags {
			if f.kind == oneOf {
				fmt.Fprintf(&words, "\t%s) echo %s ;;\n", quoted(c.path+" --"+f.name), quoted(strings.Join(f.words, " ")))
			}
		}
	}
	return strings.NewReplacer("@AT@", at.String(), "@WORDS@", words.String()).Replace(bashScript)
}

// bashKind is the name in the script for the kind of an argument.
func bashKind(v value) string {
	switch v.kind {
	case file:
		return "file"
	case folder:
		return "folder"
	case oneOf:
		return strings.Join(append([]string{"words"}, v.words...), " ")
	}
	return ""
}

const bashScript = `# Completion of issuer for bash, as printed by "issuer completion bash".

# _issuer_at COMMAND: what may follow it.
_issuer_at() {
	case $1 in
@AT@	esac
}

# _issuer_words COMMAND --FLAG: the values that the flag may have.
_issuer_words() {
	case "$1 $2" in
@WORDS@	esac
}

_issuer() {
	local commands flags values files folders args
	local cur=${COMP_WORDS[COMP_CWORD]} path='' flag='' kind='' n=0 i word
	_issuer_at ''
	for ((i = 1; i < COMP_CWORD; i++)); do
		word=${COMP_WORDS[i]}
		case $word in
		=) continue ;;
		--*=*) flag='' ;;
		-?*)
			flag=''
			[[ " $values " == *" $word "* ]] && flag=$word
			;;
		*)
			if [[ $flag ]]; then
				flag=''
			elif [[ " $commands " == *" $word "* ]]; then
				path=${path:+$path }$word
				_issuer_at "$path"
			else
				((n++))
			fi
			;;
		esac
	done
	if [[ $cur == = ]]; then
		cur=''
	fi
	COMPREPLY=()
	if [[ $flag ]]; then
		if [[ " $files " == *" $flag "* ]]; then
			kind=file
		elif [[ " $folders " == *" $flag "* ]]; then
			kind=folder
		else
			kind="words $(_issuer_words "$path" "$flag")"
		fi
	elif [[ $cur == -* ]]; then
		kind="words $flags"
	elif [[ $commands ]]; then
		kind="words $commands"
	elif ((${#args[@]})); then
		kind=${args[n < ${#args[@]} ? n : ${#args[@]} - 1]}
	fi
	case $kind in
	file)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		;;
	folder)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -d -- "$cur")
		;;
	words*)
		mapfile -t COMPREPLY < <(compgen -W "${kind#words}" -- "$cur")
		;;
	esac
}

complete -F _issuer issuer
`
