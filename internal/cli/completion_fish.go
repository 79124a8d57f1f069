package cli

import (
	"fmt"
	"strings"
)

// fishCompletion returns a script for fish: a line for each word that may follow a command, with the condition that the words
// before the cursor name that command.
func fishCompletion(tree []completion) string {
	var rules strings.Builder
	var commands, values []string
	for _, c := range tree {
		commands = append(commands, fishQuoted(c.path))
		at := fmt.Sprintf("complete -c issuer -n %s", fishQuoted("__issuer_at "+fishQuoted(c.path)))
		for _, k := range c.commands {
			fmt.Fprintf(&rules, "%s -a %s -d %s\n", at, fishQuoted(k.name), fishQuoted(k.help))
		}
		for _, f := range c.flags {
			fmt.Fprintf(&rules, "%s -l %s%s -d %s\n", at, f.name, fishValue(f), fishQuoted(f.help))
			if f.kind != nothing {
				values = append(values, fishQuoted(c.path+" --"+f.name))
			}
		}
		for _, a := range c.args {
			switch a.kind {
			case file:
				fmt.Fprintf(&rules, "%s -F\n", at)
			case folder:
				fmt.Fprintf(&rules, "%s -a '(__fish_complete_directories)'\n", at)
			case oneOf:
				fmt.Fprintf(&rules, "%s -a %s\n", at, fishQuoted(strings.Join(a.words, " ")))
			}
		}
	}
	return strings.NewReplacer("@COMMANDS@", strings.Join(commands, " "), "@VALUES@", strings.Join(values, " "),
		"@RULES@", rules.String()).Replace(fishScript)
}

// fishValue returns the arguments of complete for the values of a flag.
func fishValue(f value) string {
	switch f.kind {
	case nothing:
		return ""
	case file:
		return " -r -F"
	case folder:
		return " -x -a '(__fish_complete_directories)'"
	case oneOf:
		return " -x -a " + fishQuoted(strings.Join(f.words, " "))
	}
	return " -x"
}

func fishQuoted(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(text) + "'"
}

const fishScript = `# Completion of issuer for fish, as printed by "issuer completion fish".

set -g __issuer_commands @COMMANDS@
set -g __issuer_values @VALUES@

# __issuer_at COMMAND succeeds if that is the command before the cursor.
function __issuer_at
    set -l words (commandline -opc)
    set -e words[1]
    set -l path ''
    set -l skip no
    for word in $words
        if test $skip = yes
            set skip no
            continue
        end
        switch $word
            case '--*=*'
            case '-*'
                contains -- "$path $word" $__issuer_values
                and set skip yes
            case '*'
                set -l longer (string trim -- "$path $word")
                contains -- $longer $__issuer_commands
                and set path $longer
        end
    end
    test "$path" = "$argv[1]"
end

complete -c issuer -f
@RULES@`
