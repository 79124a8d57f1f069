package deployment

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestContainerfile carries out packaging/Containerfile without an engine: the instructions of each stage in a folder, the first with
// Debian's base system from debootstrap and the Go of this machine. Then it starts the image: read-only, as its user, with a volume and
// settings, until /readyz is 200; and stops it. Nothing is in the image but the program and three files.
func TestContainerfile(t *testing.T) {
	t.Parallel()
	text := read(t, "Containerfile")
	list, err := stages(text)
	if err != nil {
		t.Fatal(err)
	}
	commands, err := script(list)
	if err != nil {
		t.Fatal(err)
	}
	last := make(map[string]string) // the instructions that say how the image is run
	for _, s := range list[len(list)-1].steps {
		last[s.op] = s.args
	}
	if last["USER"] != "65532:65532" {
		t.Errorf("USER %s, want 65532:65532", last["USER"])
	}
	run := append(words(t, last["ENTRYPOINT"]), words(t, last["CMD"])...)
	volumes := words(t, last["VOLUME"])
	if len(run) < 2 || !slices.Equal(volumes, []string{"/var/lib/issuer"}) {
		t.Fatalf("the image runs %q with the volumes %q", run, volumes)
	}

	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	base := filepath.Join(cache, "issuer", "bookworm.tar")
	if _, err := os.Stat(base); err != nil {
		t.Fatalf("%v: `make setup` makes it", err)
	}
	sources, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	folder, work := t.TempDir(), t.TempDir()
	if err := os.Chmod(work, 0o755); err != nil {
		t.Fatal(err)
	}
	ignored, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		"ignore": "./" + strings.Join(strings.Fields(string(ignored)), "\n./") + "\n",
		"issuer.yaml": "issuer: http://127.0.0.1:8080\nlisten: 127.0.0.1:8080\ndata: /var/lib/issuer\ndevelopment: true\n" +
			"domains: [{name: example.com, providers: [{id: corp, issuer: \"http://127.0.0.1:1\", client_id: issuer}]}]\n",
		"script": "mount --make-rprivate /\nip link set lo up\n" + commands + started(run),
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	arguments := []string{"-n", "-m", "bash", "-eu", "-o", "pipefail", filepath.Join(folder, "script")}
	asRoot := "yes"
	if os.Geteuid() != 0 {
		arguments, asRoot = append([]string{"-r"}, arguments...), "no"
	}
	cmd := exec.CommandContext(t.Context(), "unshare", arguments...)
	cmd.Env = append(os.Environ(), "WORK="+work, "BASE="+base, "CONTEXT="+sources, "IGNORE="+filepath.Join(folder, "ignore"), "ROOT="+asRoot,
		"SETTINGS="+filepath.Join(folder, "issuer.yaml"), "GOROOT="+goEnv(t, "GOROOT"), "GOMODCACHE="+goEnv(t, "GOMODCACHE"), "GOCACHE="+goEnv(t, "GOCACHE"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with what it leaves running
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	_ = cmd.Cancel()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
	for _, want := range []string{
		"files: ./etc/group ./etc/passwd ./etc/ssl/certs/ca-certificates.crt ./usr/local/bin/issuer\n", "issuer 0.", `{"status":"ready"}`, "ended with 0\n",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q", want)
		}
	}
}

// started returns the shell commands that start the image as an engine does, and stop it: with a root that is read-only, a volume with the
// owner that it has in the image, and the settings.
func started(run []string) string {
	return `
cd $WORK/image
echo files: $(find . -type f -o -type l | sort)
test -z "$(find . -perm /022 -o -perm /6000)" || { echo "others can write, or a program gets rights"; exit 1; }
mkdir -p $WORK/volume etc/issuer
cp -a var/lib/issuer/. $WORK/volume
chown --reference=var/lib/issuer $WORK/volume
cp $SETTINGS etc/issuer/issuer.yaml
cd /
mount --bind $WORK/image $WORK/image
mount -o remount,bind,ro $WORK/image
mount --bind $WORK/volume $WORK/image/var/lib/issuer
user=(); [ $ROOT = no ] || user=(--userspec=65532:65532 --groups=)
as=(env -i HOME=/var/lib/issuer "$(command -v chroot)" "${user[@]}" $WORK/image)
"${as[@]}" ` + run[0] + ` version
"${as[@]}" ` + strings.Join(run, " ") + ` &
for i in $(seq 600); do
	answer=$(curl -s http://127.0.0.1:8080/readyz || true)
	case $answer in *ready*) break;; esac
	kill -0 $!
	sleep 0.1
done
echo "$answer"
kill $!
wait $! && echo "ended with 0"
`
}

// words reads the JSON form of an instruction.
func words(t *testing.T, text string) (list []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return list
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}
