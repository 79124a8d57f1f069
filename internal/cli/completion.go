package cli

import (
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

func (*completionCmd) Help() string {
	return `The script completes commands, flags, values and file names. Put the line for bash in ~/.bashrc; run those for zsh and fish once:

    source <(issuer completion bash)
    issuer completion zsh > "${fpath[1]}/_issuer"
    issuer completion fish > ~/.config/fish/completions/issuer.fish`
}

func (c *completionCmd) Run(app *kong.Kong, s *streams) error {
	tree := completionOf(app.Model.Node)
	fmt.Fprint(s.out, map[string]func([]completion) string{
		"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion,
	}[c.Shell](tree))
	return nil
}

// The scripts are complete in themselves: a shell that completes a word does not run the program, and shows the help texts.

// A completion is the set of words that may follow one command.
type completion struct {
	path     string // "devices list", and "" for the program itself
	commands []choice
	flags    []value
	args     []value
}

// A choice is a word with its help text.
type choice struct{ name, help string }

// A value is a flag or an argument, with the kind of its values.
type value struct {
	choice
	kind  valueKind
	words []string // the allowed ones, for oneOf
	many  bool
}

type valueKind int

const (
	nothing valueKind = iota // a flag without a value
	anything
	oneOf
	file
	folder
)

// completionOf returns the completions of a command and of its subcommands, from the model of the command line.
func completionOf(n *kong.Node) []completion {
	c := completion{path: n.Path()}
	for _, group := range n.AllFlags(true) {
		for _, f := range group {
			c.flags = append(c.flags, valueOf(f.Value, f.PlaceHolder, f.IsBool() || f.IsCounter()))
		}
	}
	for _, p := range n.Positional {
		c.args = append(c.args, valueOf(p, strings.ToUpper(p.Name), false))
	}
	list := []completion{c}
	for _, child := range n.Children {
		if !child.Hidden {
			list[0].commands = append(list[0].commands, choice{child.Name, child.Help})
			list = append(list, completionOf(child)...)
		}
	}
	return list
}

func valueOf(v *kong.Value, placeholder string, bare bool) value {
	out := value{choice: choice{v.Name, v.Help}, kind: anything, many: v.IsCumulative()}
	switch {
	case bare:
		out.kind = nothing
	case v.Enum != "":
		out.kind = oneOf
		for _, word := range v.EnumSlice() {
			if word != "" {
				out.words = append(out.words, word)
			}
		}
	case strings.HasSuffix(placeholder, "FILE"):
		out.kind = file
	case placeholder == "DIR":
		out.kind = folder
	}
	return out
}

// flagsOf returns the flags of a command with values of the given kinds, as --NAME.
func (c completion) flagsOf(kinds ...valueKind) string {
	var list []string
	for _, f := range c.flags {
		if slices.Contains(kinds, f.kind) {
			list = append(list, "--"+f.name)
		}
	}
	return strings.Join(list, " ")
}

// quoted returns text in single quotes for a shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
