package cli

import (
	"fmt"
	"strings"
)

// zshCompletion returns a script for zsh: a function for each command, which calls those of its subcommands.
func zshCompletion(tree []completion) string {
	var b strings.Builder
	b.WriteString("#compdef issuer\n# Completion of issuer for zsh, as printed by \"issuer completion zsh\".\n")
	for _, c := range tree {
		fmt.Fprintf(&b, "\n%s() {\n", zshFunction(c.path))
		if len(c.commands) > 0 {
			b.WriteString("\tlocal context state state_descr line\n\tlocal -a commands\n\ttypeset -A opt_args\n")
		}
		b.WriteString("\t_arguments -C")
		for _, f := range c.flags {
			fmt.Fprintf(&b, " \\\n\t\t%s", quoted(zshFlag(f)))
		}
		if len(c.commands) == 0 {
			for i, a := range c.args {
				fmt.Fprintf(&b, " \\\n\t\t%s", quoted(fmt.Sprintf("%d:%s:%s", i+1, zshText(a.name), zshAction(a))))
			}
			b.WriteString("\n}\n")
			continue
		}
		b.WriteString(" \\\n\t\t'1: :->command' \\\n\t\t'*:: :->rest' && return\n\tcase $state in\n\tcommand)\n\t\tcommands=(\n")
		for _, k := range c.commands {
			fmt.Fprintf(&b, "\t\t\t%s\n", quoted(zshText(k.name)+":"+k.help))
		}
		b.WriteString("\t\t)\n\t\t_describe -t commands command commands\n\t\t;;\n\trest)\n\t\tcase $words[1] in\n")
		for _, k := range c.commands {
			fmt.Fprintf(&b, "\t\t%s) %s ;;\n", k.name, zshFunction(strings.TrimSpace(c.path+" "+k.name)))
		}
		b.WriteString("\t\tesac\n\t\t;;\n\tesac\n}\n")
	}
	b.WriteString("\nif [ \"$funcstack[1]\" = _issuer ]; then\n\t_issuer \"$@\"\nelse\n\tcompdef _issuer issuer\nfi\n")
	return b.String()
}

func zshFunction(path string) string {
	if path == "" {
		return "_issuer"
	}
	return "_issuer_" + strings.NewReplacer(" ", "_", "-", "_").Replace(path)
}

// zshFlag returns a flag for _arguments. A flag that may be repeated has a star before it.
func zshFlag(f value) string {
	spec := "--" + f.name
	if f.many {
		spec = "*" + spec
	}
	if f.kind == nothing {
		return spec + "[" + zshText(f.help) + "]"
	}
	return spec + "=[" + zshText(f.help) + "]:" + zshText(f.name) + ":" + zshAction(f)
}

func zshAction(v value) string {
	switch v.kind {
	case file:
		return "_files"
	case folder:
		return "_files -/"
	case oneOf:
		return "(" + strings.Join(v.words, " ") + ")"
	}
	return " "
}

// zshText escapes text for _arguments.
func zshText(text string) string {
	return strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, ":", `\:`).Replace(text)
}
