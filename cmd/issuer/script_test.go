package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/imidentity/issuer/claims"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"issuer": main})
}

// usualAddresses is held by tests of programs that listen at their default addresses.
var usualAddresses sync.Mutex

// TestScripts runs the program as its users do. Beside the commands of testscript, a script has those of scriptCommands.
func TestScripts(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(scripts) == 0 {
		t.Fatalf("Glob = %v, %v, want scripts", scripts, err)
	}
	testscript.Run(t, testscript.Params{
		Files:               scripts,
		Cmds:                scriptCommands,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", os.Getenv("GORACE")) // of the programs that a script starts, too
			if filepath.Base(env.WorkDir) == "script-demo" {
				usualAddresses.Lock()
				env.Defer(usualAddresses.Unlock)
			}
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("no such condition: %s", cond)
		},
	})
}

// A scriptCommand never has an opposite; "!" before one fails the script.
type scriptCommand = func(ts *testscript.TestScript, neg bool, args []string)

var scriptCommands = map[string]scriptCommand{
	// exits N PROGRAM ARGS...: the program ends with that code.
	"exits": command(2, func(ts *testscript.TestScript, args []string) error {
		got := 0
		if err := ts.Exec(args[1], args[2:]...); err != nil {
			var e *exec.ExitError
			if !errors.As(err, &e) {
				return err
			}
			got = e.ExitCode()
		}
		if want, err := strconv.Atoi(args[0]); err != nil || got != want {
			return fmt.Errorf("exit code %d, want %s", got, args[0])
		}
		return nil
	}),
	// waitfor FILE: the issuer has written its addresses, which become ISSUER, LISTEN, ADMIN and IDP.
	"waitfor": command(1, func(ts *testscript.TestScript, args []string) error {
		addr, err := readAddresses(ts.MkAbs(args[0]))
		if err != nil {
			return err
		}
		for name, value := range addr {
			ts.Setenv(strings.ToUpper(name), value)
		}
		return nil
	}),
	// source FILE: what the file assigns is in the environment.
	"source": command(1, func(ts *testscript.TestScript, args []string) error {
		for line := range strings.Lines(ts.ReadFile(args[0])) {
			name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
			if !ok {
				return fmt.Errorf("%q assigns nothing", line)
			}
			ts.Setenv(name, value)
		}
		return nil
	}),
	// login PERSON: a new device of hers has tokens of $ISSUER: TOKEN and REFRESH, and DEVICE_URI, DEVICE and USER.
	"login": command(1, func(ts *testscript.TestScript, args []string) error {
		app, err := newApp(ts.Getenv("ISSUER"))
		if err != nil {
			return err
		}
		tokens, err := app.login(args[0])
		if err != nil {
			return err
		}
		set, err := readToken(tokens.AccessToken)
		if err != nil {
			return err
		}
		device, err := claims.Parse(set.Device)
		if err != nil {
			return err
		}
		ts.Setenv("TOKEN", tokens.AccessToken)
		ts.Setenv("REFRESH", tokens.RefreshToken)
		ts.Setenv("DEVICE_URI", set.Device)
		ts.Setenv("DEVICE", device.Device())
		ts.Setenv("USER", device.Local())
		return nil
	}),
	// enter PERSON FILE DECISION: the person enters the user code that the file holds in the page that it names, and allows or denies; the
	// last page is on stdout.
	"enter": command(3, func(ts *testscript.TestScript, args []string) error {
		page, err := enter(args[0], ts.MkAbs(args[1]), args[2])
		if err == nil {
			fmt.Fprint(ts.Stdout(), page)
		}
		return err
	}),
	// visit PERSON FILE: the person opens the URL that the file holds, signs in, and goes where she is sent, to the page
	// on stdout.
	"visit": command(2, func(ts *testscript.TestScript, args []string) error {
		page, err := visit(args[0], ts.MkAbs(args[1]))
		fmt.Fprint(ts.Stdout(), page)
		return err
	}),
	// typed SHELL SCRIPT FILE: the lines of the file, typed into a shell that has loaded the completion script; what each
	// issuer was then given is on stdout.
	"typed": command(3, func(ts *testscript.TestScript, args []string) error { return typed(ts, args[0], args[1], args[2]) }),
	// get PATH, post PATH NAME=VALUE...: the answer is on stdout: the status, and the body as it came. Post speaks as
	// the peer.
	"get": command(1, func(ts *testscript.TestScript, args []string) error {
		return request(ts, http.MethodGet, args[0], nil)
	}),
	"post": command(1, func(ts *testscript.TestScript, args []string) error {
		form := url.Values{}
		for _, arg := range args[1:] {
			name, value, _ := strings.Cut(arg, "=")
			form.Add(name, value)
		}
		return request(ts, http.MethodPost, args[0], form)
	}),
	// web FOLDER FRONT HOST...: the hosts are on loopback, see web.
	"web": command(3, web),
	// mode OCTAL FILE: the file has these permissions.
	"mode": command(2, func(ts *testscript.TestScript, args []string) error {
		info, err := os.Stat(ts.MkAbs(args[1]))
		if err != nil {
			return err
		}
		if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
			return fmt.Errorf("mode %s, want %s", got, args[0])
		}
		return nil
	}),
}

// command makes a script's command of fn, which has at least that many arguments.
func command(least int, fn func(*testscript.TestScript, []string) error) scriptCommand {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg || len(args) < least {
			ts.Fatalf("usage: %d arguments or more, and no !", least)
		}
		ts.Check(fn(ts, args))
	}
}

func request(ts *testscript.TestScript, method, path string, form url.Values) error {
	req, err := http.NewRequest(method, "http://"+ts.Getenv("LISTEN")+path, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.SetBasicAuth(url.QueryEscape(ts.Getenv("PEER_ID")), url.QueryEscape(ts.Getenv("PEER_SECRET")))
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	fmt.Fprintln(ts.Stdout(), resp.StatusCode)
	_, err = io.Copy(ts.Stdout(), resp.Body)
	return err
}

// readAddresses waits for an address file and reads it.
func readAddresses(file string) (map[string]string, error) {
	for range 3000 {
		text, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			time.Sleep(10 * time.Millisecond)
			continue
		} else if err != nil {
			return nil, err
		}
		var addr map[string]string
		return addr, json.Unmarshal(text, &addr)
	}
	return nil, fmt.Errorf("%s does not come", file)
}

// readToken returns the claims of an access token of the issuer's, as a device sees them: it does not ask for the key.
func readToken(token string) (claims.Set, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return claims.Set{}, errors.New("the access token is not a signed JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return claims.Set{}, err
	}
	return claims.ParseSet(payload)
}
