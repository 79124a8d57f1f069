package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/imidentity/issuer/claims"
	"github.com/imidentity/issuer/internal/secretfile"
	"github.com/imidentity/issuer/keys"
)

// domains warns of what is allowed in development only.
func (e *examination) domains() {
	if !e.cfg.Development {
		e.ok("domains", "none is reserved, and nothing goes by plain http")
		return
	}
	var reserved []string
	for _, d := range e.cfg.Domains {
		if _, err := claims.CheckDomain(d.Name, false); err != nil {
			reserved = append(reserved, d.Name)
		}
	}
	text := "development: true lets plain http, reserved domains and a key-encryption key made on the spot pass"
	if len(reserved) > 0 {
		text += "; reserved here: " + strings.Join(reserved, ", ")
	}
	e.found(Warn, "domains", "for users other than yourself, use your own domain, https, and no development: true", "%s", text)
}

// files checks who has access to files: to secrets, and to files that decide what the issuer does and which issuers it trusts.
// Reading the settings has already refused secrets that others have access to. Here the service itself must be able to read
// them.
func (e *examination) files() {
	secrets := e.secrets()
	good := e.kek()
	if owner, ok := ownerOf(e.cfg.Data); ok && int(owner) != os.Geteuid() { // the present user has read them already
		for _, path := range secrets {
			if ok, err := secretfile.Readable(path, owner); err == nil && !ok {
				good = false
				e.found(Warn, "files", fmt.Sprintf("if the issuer runs as that user, run `chown root:%[1]s %[2]s; chmod 640 %[2]s`, "+
					"or hand the file over with LoadCredential= of systemd", name(owner), path),
					"%s cannot be read by user %s, who owns the data folder", path, name(owner))
			}
		}
	}
	// All users may read these, but none may write them: they decide what the issuer does and which keys it trusts.
	public := []string{e.cfg.File()}
	for _, path := range []string{e.cfg.TLS.CertFile, e.cfg.Outbound.CAFile} {
		if path != "" {
			public = append(public, path)
		}
	}
	for _, d := range e.cfg.Domains {
		if d.CA.CertFile != "" {
			public = append(public, d.CA.CertFile)
		}
	}
	for _, p := range e.cfg.Peers {
		if p.CAFile != "" && !slices.Contains(public, p.CAFile) {
			public = append(public, p.CAFile)
		}
		if p.JWKSFile != "" && !slices.Contains(public, p.JWKSFile) {
			public = append(public, p.JWKSFile)
		}
	}
	for _, path := range public {
		good = e.guarded(path, secretfile.MayWrite, "run `chmod go-w "+path+"`: everybody who can write it is an operator", "can write") &&
			good
	}
	for _, folder := range folders(slices.Concat(secrets, public, []string{cmp.Or(e.cfg.Database(), e.cfg.AdminSocket())})) {
		info, err := os.Stat(folder)
		if err != nil || info.Mode()&fs.ModeSticky != 0 { // in a sticky folder, only the owner of a file can replace it
			continue
		}
		good = e.guarded(folder, secretfile.MayWrite, "run `chmod go-w "+folder+"`", "can replace files in") && good
	}
	for _, f := range []struct{ path, why string }{
		{e.cfg.Database(), ""},
		{e.cfg.Database() + "-wal", ""}, // the newest transactions
		{e.cfg.Database() + "-shm", ""}, // the index of the log
		{e.cfg.AdminSocket(), ": everybody who can open it is an operator"},
	} {
		if e.cfg.Postgres() && f.path != e.cfg.AdminSocket() {
			continue
		}
		good = e.guarded(f.path, secretfile.MayRead|secretfile.MayWrite, "run `chmod 600 "+f.path+"`"+f.why, "can open") && good
	}
	if good {
		e.ok("files", "nobody but the issuer has access to secrets, database and admin socket, or can change the settings")
	}
}

// secrets returns the files of secrets that the settings name.
func (e *examination) secrets() []string {
	list := []string{e.cfg.StorageURLFile, e.cfg.RedisURLFile, e.cfg.TLS.KeyFile, e.cfg.KEKFile, e.cfg.KEKFileNew}
	for _, d := range e.cfg.Domains {
		list = append(list, d.CA.KeyFile)
		for _, p := range d.Providers {
			list = append(list, p.ClientSecretFile)
		}
	}
	return slices.DeleteFunc(list, func(path string) bool { return path == "" })
}

// kek checks that the key-encryption key can be used.
func (e *examination) kek() bool {
	switch _, err := keys.ReadKEK(e.cfg.KEKFile); {
	case err == nil, errors.Is(err, fs.ErrNotExist): // development makes one; otherwise reading the settings has reported it
		return true
	case errors.Is(err, fs.ErrPermission):
		e.found(Unknown, "files", "run doctor as the user that the issuer runs as", "%s cannot be read by this user", e.cfg.KEKFile)
	default:
		e.found(Fail, "files", "use the key-encryption key that the database was made with", "%v", err)
	}
	return false
}

// guarded checks that other users do not have a permission on a file or folder. A missing file is fine.
func (e *examination) guarded(path string, p secretfile.Permission, remedy, can string) bool {
	var open *secretfile.OpenError
	if err := secretfile.Check(path, p); !errors.As(err, &open) {
		return true
	}
	e.found(Fail, "files", remedy, "%s %s %s (mode %04o)", open.Who, can, path, open.Mode.Perm())
	return false
}

// folders returns the folders of files, and the folders of the targets of symbolic links.
func folders(files []string) (list []string) {
	for _, file := range files {
		paths := []string{file}
		if target, err := filepath.EvalSymlinks(file); err == nil {
			paths = append(paths, target)
		}
		for _, path := range paths {
			if dir := filepath.Dir(path); !slices.Contains(list, dir) {
				list = append(list, dir)
			}
		}
	}
	return list
}

func ownerOf(path string) (uid uint32, ok bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return stat.Uid, true
}

// name returns the name of a user, or the number of a user without one.
func name(uid uint32) string {
	number := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(number); err == nil {
		return u.Username
	}
	return number
}

// Limits of free space: a warning below the first, an error below the second.
const (
	lowSpace  = 1 << 30
	leastFree = 64 << 20
)

// volumes lists the file systems, by their magic numbers (statfs(2)), on which a database in WAL mode does not work or should not
// be.
var volumes = map[uint32]struct {
	status       Status
	name, remedy string
}{
	0x6969:     {Fail, "NFS", "put data on a disk of this machine: SQLite's log needs shared memory"},
	0xff534d42: {Fail, "CIFS", "put data on a disk of this machine: SQLite's log needs shared memory"},
	0xfe534d42: {Fail, "SMB", "put data on a disk of this machine: SQLite's log needs shared memory"},
	0x517b:     {Fail, "SMB", "put data on a disk of this machine: SQLite's log needs shared memory"},
	0x01021997: {Fail, "9p", "put data on a disk of this machine: SQLite's log needs shared memory"},
	0x00c36400: {Fail, "Ceph", "put data on a disk of this machine: SQLite's log needs shared memory"},
	0x5346414f: {Fail, "AFS", "put data on a disk of this machine: SQLite's log needs shared memory"},
	0x65735546: {Warn, "FUSE", "put data on a local disk, unless you know that this file system honours fsync"},
	0x01021994: {Warn, "tmpfs, in memory", "put data on a disk, if it is to outlive this machine's next start"},
	0x794c7630: {Warn, "overlayfs, as in a container", "put data on a volume, if it is to outlive the container"},
}

// data checks the folder of the database, and the disk that holds it.
func (e *examination) data() {
	folder := e.cfg.Data
	if path := e.cfg.Database(); path != "" {
		folder = filepath.Dir(path)
	}
	info, err := os.Stat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist) && folder == e.cfg.Data:
		e.found(Warn, "data", "", "%s does not exist: the first start creates it", folder)
		return
	case err != nil:
		e.found(Fail, "data", "create it for the user that the issuer runs as", "%v", err)
		return
	case !info.IsDir():
		e.found(Fail, "data", "name a folder", "%s is not a folder", folder)
		return
	}
	probe, err := os.CreateTemp(folder, ".doctor-*")
	if err != nil {
		e.found(Fail, "data", "run doctor as the user that the issuer runs as; if you did, `chown` the folder to it, "+
			"and check whether the disk is full or mounted read-only", "%s cannot be written to: %v", folder, err)
		return
	}
	_, err = probe.Write(make([]byte, 4096))
	err = errors.Join(err, probe.Sync(), probe.Close(), os.Remove(probe.Name()))
	if err != nil {
		e.found(Fail, "data", "check whether the disk is full", "%s cannot be written to: %v", folder, err)
		return
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(folder, &disk); err != nil {
		e.found(Unknown, "data", "", "the disk of %s cannot be checked: %v", folder, err)
		return
	}
	if v, ok := volumes[uint32(disk.Type)]; ok {
		e.found(v.status, "data", v.remedy, "%s is on %s", folder, v.name)
	}
	free := disk.Bavail * uint64(disk.Bsize)
	switch {
	case free < leastFree:
		e.found(Fail, "data", "free some space: otherwise nothing can be issued", "%s has %d MiB left", folder, free>>20)
	case free < lowSpace:
		e.found(Warn, "data", "free some space before it is full", "%s has %d MiB left", folder, free>>20)
	default:
		e.ok("data", "%s can be written to and has %d GiB left", folder, free>>30)
	}
}
