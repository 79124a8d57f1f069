package deployment

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// A stage is a stage of a Containerfile: the image that it begins with, and its instructions.
type stage struct {
	from, name string
	steps      []step
}

// A step is an instruction with its flags (--from=build) and the rest of its line.
type step struct {
	op    string
	flags []string
	args  string
}

// flag returns the values of a flag.
func (s step) flag(name string) (values []string) {
	for _, f := range s.flags {
		if value, ok := strings.CutPrefix(f, "--"+name+"="); ok {
			values = append(values, value)
		}
	}
	return values
}

// understood are the instructions that the test carries out, each with its flags.
var understood = map[string][]string{
	"FROM": nil, "WORKDIR": nil, "COPY": {"from", "chown"}, "RUN": {"mount"}, "USER": nil, "VOLUME": nil, "EXPOSE": nil, "ENTRYPOINT": nil, "CMD": nil,
}

// stages reads a Containerfile. It refuses instructions and flags that the test does not carry out.
func stages(text string) (list []stage, err error) {
	text = strings.ReplaceAll(withoutComments(text), "\\\n", "")
	for _, line := range strings.Split(text, "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		op, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		flags, known := understood[op]
		if !known {
			return nil, fmt.Errorf("instruction %s", op)
		}
		s := step{op: op}
		for rest = strings.TrimSpace(rest); strings.HasPrefix(rest, "--"); rest = strings.TrimSpace(rest) {
			var flag string
			flag, rest, _ = strings.Cut(rest, " ")
			name, _, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
			if !slices.Contains(flags, name) {
				return nil, fmt.Errorf("%s with %s", op, flag)
			}
			s.flags = append(s.flags, flag)
		}
		s.args = rest
		if op == "FROM" {
			words := strings.Fields(rest)
			next := stage{from: words[0]}
			if len(words) == 3 && words[1] == "AS" {
				next.name = words[2]
			} else if len(words) != 1 {
				return nil, fmt.Errorf("FROM %s", rest)
			}
			list = append(list, next)
			continue
		}
		if len(list) == 0 {
			return nil, fmt.Errorf("%s before FROM", op)
		}
		last := &list[len(list)-1]
		last.steps = append(last.steps, s)
	}
	return list, nil
}

func withoutComments(text string) string {
	lines := strings.SplitAfter(text, "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(strings.TrimSpace(l), "#") }), "")
}

// script returns the shell commands that carry out the stages: $WORK is a folder for their roots, $BASE the archive of the base system,
// $CONTEXT the sources, without what is in $IGNORE, and the caches are those of Go. The root of the last stage is $WORK/image.
func script(list []stage) (string, error) {
	var b strings.Builder
	roots := make(map[string]string)
	for i, s := range list {
		root := fmt.Sprintf("$WORK/stage%d", i)
		if i == len(list)-1 {
			root = "$WORK/image"
		}
		roots[s.name] = root
		fmt.Fprintf(&b, "mkdir -m 755 %[1]s\n", root)
		switch {
		case s.from == "golang:1.26-bookworm":
			fmt.Fprintf(&b, "tar -x --no-same-owner -C %[1]s -f $BASE\nmkdir -p %[1]s/usr/local/go %[1]s/dev %[1]s/proc\n"+
				"mount --rbind $GOROOT %[1]s/usr/local/go\nmount --rbind /dev %[1]s/dev\nmount --rbind /proc %[1]s/proc\n", root)
		case s.from == "scratch":
		default:
			return "", fmt.Errorf("there is no image %s here", s.from)
		}
		dir := "/"
		for _, step := range s.steps {
			switch step.op {
			case "WORKDIR":
				dir = path.Join(dir, step.args)
				fmt.Fprintf(&b, "mkdir -p %s%s\n", root, dir)
			case "COPY":
				words := strings.Fields(step.args)
				if len(words) != 2 {
					return "", fmt.Errorf("COPY %s", step.args)
				}
				to, owner := words[1], "0:0"
				if !path.IsAbs(to) {
					to = path.Join(dir, to)
				}
				if chown := step.flag("chown"); len(chown) > 0 {
					owner = chown[0]
				}
				from, options := "$CONTEXT/"+words[0], "--exclude-from=$IGNORE"
				if stage := step.flag("from"); len(stage) > 0 {
					if from, options = roots[stage[0]]+words[0], ""; roots[stage[0]] == "" {
						return "", fmt.Errorf("COPY --from=%s", stage[0])
					}
				}
				// As root alone other owners can be given.
				fmt.Fprintf(&b, "[ $ROOT = yes ] && owner=%s || owner=0:0\nmkdir -p %[2]s%[3]s\nchown $owner %[2]s%[3]s\n"+
					"tar -c -C %[4]s %[5]s --owner=${owner%%:*} --group=${owner#*:} . | tar -x -C %[2]s%[3]s\n", owner, root, to, from, options)
			case "RUN":
				for _, m := range step.flag("mount") {
					target, cache := strings.CutPrefix(m, "type=cache,target=")
					host := map[string]string{"/go/pkg/mod": "$GOMODCACHE", "/root/.cache/go-build": "$GOCACHE"}[target]
					if !cache || host == "" {
						return "", fmt.Errorf("RUN --mount=%s", m)
					}
					fmt.Fprintf(&b, "mkdir -p %[1]s%[2]s\nmount --bind %[3]s %[1]s%[2]s\n", root, target, host)
				}
				fmt.Fprintf(&b, "env -i GOPROXY=off GOTOOLCHAIN=local GOPATH=/go HOME=/root PATH=/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin "+
					"chroot %s /bin/sh -e -c %s\n", root, quote("cd "+dir+" && "+step.args))
				for _, m := range step.flag("mount") {
					_, target, _ := strings.Cut(m, "target=")
					fmt.Fprintf(&b, "umount %s%s\n", root, target)
				}
			}
		}
	}
	return b.String(), nil
}

// quote quotes a word for a shell.
func quote(word string) string { return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'" }
